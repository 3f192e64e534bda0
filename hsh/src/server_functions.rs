//! The functions of scripts that are about a server, where there is none: they keep to what this
//! process knows.
//!
//! Metrics are kept here, whatever their names, each as a gauge. No message is queued under a quota,
//! and no server has connections. Rules for deliveries are an error: to lose one without a word would
//! be worse. Tests have rules that hold nothing back, so that what a script does with ids can be
//! tested.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use hsl::Value;
use hsl::host::{Registry, Thrown};
use parking_lot::Mutex;

/// What the process knows.
#[derive(Default)]
struct State {
    /// By name and labels.
    metrics: BTreeMap<(String, String), f64>,
    given: u64,
    policies: HashSet<String>,
}

/// Registers the functions; `is_test` says whether rules have ids here.
pub(crate) fn register(registry: &mut Registry, is_test: bool) {
    let state = Arc::new(Mutex::new(State::default()));
    metrics(registry, &state);
    let suspends = Arc::clone(&state);
    registry.function(
        "queue_suspend(array fields, number ttl, array options = []) -> array or none",
        "Stops the pickup of messages; needs a server.",
        move |_, args| rule("queue_suspend", is_test, &suspends, args.get(2)).map(added),
    );
    let policies = Arc::clone(&state);
    registry.function(
        "queue_policy(array fields, array condition, array policy, number ttl, array options = []) \
         -> array or none",
        "Sets limits on deliveries; needs a server.",
        move |_, args| -> Result<Value, Thrown> {
            let id = rule("queue_policy", is_test, &policies, args.get(4))?;
            policies.lock().policies.insert(id.clone());
            Ok(added(id))
        },
    );
    registry.function(
        "queue_policy_delete(string id) -> boolean or none",
        "Deletes what queue_policy added; true when it was there.",
        move |_, args| -> Result<Value, Thrown> {
            if !is_test {
                return Err(no_server("queue_policy_delete"));
            }
            Ok(Value::Bool(state.lock().policies.remove(&text(args.first()))))
        },
    );
    registry.function(
        "queue_quota(string name) -> array",
        "Count and bytes of the messages queued under a quota's name; none here.",
        |_, _| Value::map([("count", Value::Number(0.0)), ("bytes", Value::Number(0.0))]),
    );
    registry.function(
        "server_concurrency(string serverid [, string address]) -> number or none",
        "Connections open on a server now; there is no server here.",
        |_, _| Value::None,
    );
}

fn metrics(registry: &mut Registry, state: &Arc<Mutex<State>>) {
    type Step = fn(f64, f64) -> f64;
    let steps: [(&str, Step); 3] = [
        (
            "metrics_increment(string name, array labels, number value = 1) -> boolean or none",
            |old, by| old + by,
        ),
        (
            "metrics_decrement(string name, array labels, number value = 1) -> boolean or none",
            |old, by| old - by,
        ),
        ("metrics_set(string name, array labels, number value) -> boolean or none", |_, value| {
            value
        }),
    ];
    for (signature, step) in steps {
        let state = Arc::clone(state);
        registry.function(signature, "Moves a metric of this process.", move |_, args| -> Value {
            let by = args.get(2).and_then(Value::as_number).unwrap_or(1.0);
            let mut state = state.lock();
            let value = state.metrics.entry(series(args)).or_default();
            let moved = step(*value, by);
            if !moved.is_finite() {
                return Value::None;
            }
            *value = moved;
            Value::Bool(true)
        });
    }
    let state = Arc::clone(state);
    registry.function(
        "metrics_get(string name, array labels) -> array or none",
        "The value of a metric of this process.",
        move |_, args| -> Value {
            let value = state.lock().metrics.get(&series(args)).copied();
            value.map_or(Value::None, |value| Value::map([("value", Value::Number(value))]))
        },
    );
}

/// Name and labels; the order of the labels says nothing.
fn series(args: &[Value]) -> (String, String) {
    let mut labels = BTreeMap::new();
    if let Some(Value::Array(given)) = args.get(1) {
        for (name, value) in given.iter() {
            labels.insert(text(Some(&name.to_value())), text(Some(value)));
        }
    }
    (text(args.first()), format!("{labels:?}"))
}

/// The id of a new rule: the one given, or one of our own.
fn rule(
    function: &str,
    is_test: bool,
    state: &Mutex<State>,
    options: Option<&Value>,
) -> Result<String, Thrown> {
    if !is_test {
        return Err(no_server(function));
    }
    let mut state = state.lock();
    state.given += 1;
    let wanted = match options {
        Some(Value::Array(options)) => options.get_text("id").cloned(),
        _ => None,
    };
    Ok(wanted.map_or_else(|| format!("test-{}", state.given), |id| text(Some(&id))))
}

fn added(id: String) -> Value {
    Value::map([("id", Value::from(id))])
}

fn text(value: Option<&Value>) -> String {
    value.map(script_host::hooks::values::text).unwrap_or_default()
}

fn no_server(function: &str) -> Thrown {
    Thrown::new(format!("{function}: there is no server in this program"))
}
