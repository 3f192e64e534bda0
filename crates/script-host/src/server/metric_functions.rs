//! `metrics_increment` and its kin: scripts move the metrics that the configuration names.

use std::sync::Arc;

use config::running::MetricKind;
use hsl::host::{Registry, Thrown};
use hsl::{Array, Value};

use super::metrics::{Labels, Metrics, Move};
use crate::hooks::values::{put, text_pairs};

/// Registers the functions.
pub fn register(registry: &mut Registry, metrics: &Arc<Metrics>) {
    type Step = fn(f64) -> Move;
    let moves: [(&str, &str, Step); 3] = [
        (
            "metrics_increment(string name, array labels, number value = 1) -> boolean or none",
            "Raises a counter or a gauge.",
            Move::Increment,
        ),
        (
            "metrics_decrement(string name, array labels, number value = 1) -> boolean or none",
            "Lowers a gauge.",
            Move::Decrement,
        ),
        (
            "metrics_set(string name, array labels, number value) -> boolean or none",
            "Sets a gauge, raises a counter to a value, or adds a value to a histogram.",
            Move::Set,
        ),
    ];
    for (signature, doc, step) in moves {
        let metrics = Arc::clone(metrics);
        registry.function(signature, doc, move |_, args| -> Result<Value, Thrown> {
            let name = args.first().and_then(Value::as_text).unwrap_or_default();
            let labels = labels(args.get(1))?;
            let value = args.get(2).and_then(Value::as_number).unwrap_or(1.0);
            let is_done = metrics.apply(name, labels, step(value));
            Ok(if is_done { Value::Bool(true) } else { Value::None })
        });
    }
    let metrics = Arc::clone(metrics);
    registry.function(
        "metrics_get(string name, array labels) -> array or none",
        "The value of a counter or gauge; count, sum and buckets of a histogram.",
        move |_, args| -> Result<Value, Thrown> {
            let name = args.first().and_then(Value::as_text).unwrap_or_default();
            let labels = labels(args.get(1))?;
            let Some((kind, series)) = metrics.get(name, &labels) else {
                return Ok(Value::None);
            };
            let mut out = Array::new();
            if kind == MetricKind::Histogram {
                put(&mut out, "count", series.count as f64);
                put(&mut out, "sum", series.value);
                let buckets = series.buckets.iter().map(|(bound, count)| {
                    Value::map([("le", Value::from(*bound)), ("count", Value::from(*count as f64))])
                });
                put(&mut out, "buckets", Value::list(buckets));
            } else {
                put(&mut out, "value", series.value);
            }
            Ok(Value::Array(out))
        },
    );
}

/// Labels by name, as the OpenMetrics text format takes them.
fn labels(given: Option<&Value>) -> Result<Labels, Thrown> {
    let Some(Value::Array(given)) = given else { return Ok(Labels::new()) };
    let pairs = text_pairs(given);
    for (name, _) in &pairs {
        let is_start = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
        let is_rest = name.bytes().all(|octet| octet.is_ascii_alphanumeric() || octet == b'_');
        if !is_start || !is_rest {
            return Err(Thrown::new(format!("{name:?} is no name of a label")));
        }
    }
    Ok(pairs.into_iter().collect())
}
