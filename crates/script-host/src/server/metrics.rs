//! Metrics that scripts move: those that `monitor.metrics` names, one series for each set of labels.
//!
//! They are shown by `process-stats` and outlive a reload; one whose type or buckets change begins
//! anew.

use std::collections::BTreeMap;
use std::sync::Arc;

use config::running::{CustomMetric, MetricKind};
use control::pb::process_stats_response as stats;
use parking_lot::Mutex;

/// All metrics.
#[derive(Debug, Default)]
pub struct Metrics {
    /// The lock is held for one step of one series, or to read them all.
    families: Mutex<BTreeMap<Arc<str>, Family>>,
    /// Whether a name that nobody defined is a gauge.
    is_open: bool,
}

/// Label names with their values, in the order of the names.
pub type Labels = BTreeMap<String, String>;

/// One metric.
#[derive(Debug)]
struct Family {
    definition: CustomMetric,
    series: BTreeMap<Labels, Series>,
}

impl Family {
    fn gauge(name: &str) -> Self {
        let definition = CustomMetric {
            name: name.into(),
            kind: MetricKind::Gauge,
            help: None,
            buckets: Vec::new(),
        };
        Self { definition, series: BTreeMap::new() }
    }
}

/// One metric with one set of labels.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Series {
    /// The value; of a histogram the sum of all values.
    pub value: f64,
    /// How many values a histogram has.
    pub count: u64,
    /// How many values of a histogram are at most so much, by the bounds in their order.
    pub buckets: Vec<(f64, u64)>,
}

/// What a script does to a metric.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Move {
    /// Counters and gauges.
    Increment(f64),
    /// Gauges.
    Decrement(f64),
    /// Sets a gauge, raises a counter, adds a value to a histogram.
    Set(f64),
}

impl Metrics {
    /// Metrics of whatever name, each a gauge: where no configuration says otherwise.
    #[must_use]
    pub fn open() -> Self {
        Self { is_open: true, ..Self::default() }
    }

    /// Takes the metrics of a configuration.
    pub fn define(&self, wanted: &[CustomMetric]) {
        let mut families = self.families.lock();
        let mut old = std::mem::take(&mut *families);
        for definition in wanted {
            let is_same = |family: &Family| {
                let known = &family.definition;
                known.kind == definition.kind && known.buckets == definition.buckets
            };
            let kept = old.remove(&definition.name).filter(is_same);
            let series = kept.map(|family| family.series).unwrap_or_default();
            let family = Family { definition: definition.clone(), series };
            families.insert(Arc::clone(&definition.name), family);
        }
    }

    /// Moves a series. False when there is no such metric, it does not move that way, or it has too
    /// many series.
    pub fn apply(&self, name: &str, labels: Labels, step: Move) -> bool {
        let mut families = self.families.lock();
        if self.is_open && !families.contains_key(name) {
            families.insert(name.into(), Family::gauge(name));
        }
        let Some(family) = families.get_mut(name) else { return false };
        let kind = family.definition.kind;
        let known = family.series.get(&labels);
        let before = known.map_or(0.0, |series| series.value);
        let value = match (kind, step) {
            (MetricKind::Counter, Move::Increment(by)) if by >= 0.0 => before + by,
            (MetricKind::Counter, Move::Set(value)) if value >= before => value,
            (MetricKind::Gauge, Move::Increment(by)) => before + by,
            (MetricKind::Gauge, Move::Decrement(by)) => before - by,
            (MetricKind::Gauge, Move::Set(value)) => value,
            (MetricKind::Histogram, Move::Set(value)) => before + value,
            _ => return false,
        };
        if !value.is_finite() || (known.is_none() && family.series.len() >= MAX_SERIES) {
            return false;
        }
        let bounds = &family.definition.buckets;
        let series = family.series.entry(labels).or_insert_with(|| Series {
            buckets: bounds.iter().map(|bound| (*bound, 0)).collect(),
            ..Series::default()
        });
        series.value = value;
        if let (MetricKind::Histogram, Move::Set(observed)) = (kind, step) {
            series.count += 1;
            for (bound, count) in &mut series.buckets {
                *count += u64::from(observed <= *bound);
            }
        }
        true
    }

    /// A series as it is now, with the type of its metric.
    pub fn get(&self, name: &str, labels: &Labels) -> Option<(MetricKind, Series)> {
        let families = self.families.lock();
        let family = families.get(name)?;
        Some((family.definition.kind, family.series.get(labels)?.clone()))
    }

    /// All metrics for the statistics.
    pub fn list(&self) -> Vec<stats::Metric> {
        let families = self.families.lock();
        let metric = |family: &Family| stats::Metric {
            name: family.definition.name.to_string(),
            r#type: kind_name(family.definition.kind).to_owned(),
            help: family.definition.help.as_deref().unwrap_or_default().to_owned(),
            series: family
                .series
                .iter()
                .map(|(labels, series)| of_series(labels, series))
                .collect(),
        };
        families.values().map(metric).collect()
    }
}

fn of_series(labels: &Labels, series: &Series) -> stats::metric::Series {
    let buckets = series.buckets.iter();
    stats::metric::Series {
        labels: labels.clone().into_iter().collect(),
        value: series.value,
        count: series.count,
        buckets: buckets
            .map(|(le, count)| stats::metric::Bucket { le: *le, count: *count })
            .collect(),
    }
}

const fn kind_name(kind: MetricKind) -> &'static str {
    match kind {
        MetricKind::Counter => "counter",
        MetricKind::Gauge => "gauge",
        MetricKind::Histogram => "histogram",
    }
}

/// Series of one metric; a script that makes a label of what peers send gets no further.
const MAX_SERIES: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn metric(name: &str, kind: MetricKind, buckets: &[f64]) -> CustomMetric {
        CustomMetric { name: name.into(), kind, help: None, buckets: buckets.to_vec() }
    }

    fn labels(value: &str) -> Labels {
        [("l".to_owned(), value.to_owned())].into()
    }

    #[test]
    fn each_type_moves_in_its_own_ways() {
        let metrics = Metrics::default();
        metrics.define(&[
            metric("c", MetricKind::Counter, &[]),
            metric("g", MetricKind::Gauge, &[]),
            metric("h", MetricKind::Histogram, &[1.0, 5.0]),
        ]);
        let apply = |name: &str, step| metrics.apply(name, labels("x"), step);
        let value = |name: &str| metrics.get(name, &labels("x")).map(|(_, series)| series.value);
        assert!(apply("c", Move::Increment(2.0)) && apply("c", Move::Set(3.0)));
        for step in [Move::Increment(-1.0), Move::Decrement(1.0), Move::Set(1.0)] {
            assert!(!apply("c", step), "{step:?}");
        }
        assert_eq!(value("c"), Some(3.0));
        assert!(apply("g", Move::Set(5.0)) && apply("g", Move::Decrement(7.0)));
        assert_eq!(value("g"), Some(-2.0));
        assert!(!apply("g", Move::Increment(f64::INFINITY)));
        assert!(!apply("h", Move::Increment(1.0)));
        assert!([1.0, 2.0, 9.0].into_iter().all(|value| apply("h", Move::Set(value))));
        let (_, series) = metrics.get("h", &labels("x")).unwrap();
        let wanted = Series { value: 12.0, count: 3, buckets: vec![(1.0, 1), (5.0, 2)] };
        assert_eq!(series, wanted);
        assert!(!apply("none", Move::Set(1.0)));
        assert_eq!(metrics.get("g", &labels("y")), None);
    }

    #[test]
    fn without_a_configuration_every_name_is_a_gauge() {
        let metrics = Metrics::open();
        assert!(metrics.apply("any", labels("x"), Move::Decrement(2.0)));
        let (kind, series) = metrics.get("any", &labels("x")).unwrap();
        assert_eq!((kind, series.value), (MetricKind::Gauge, -2.0));
        assert_eq!(metrics.get("other", &labels("x")), None);
    }

    #[test]
    fn a_reload_keeps_what_stays_the_same_and_series_are_bounded() {
        let metrics = Metrics::default();
        let counter = metric("c", MetricKind::Counter, &[]);
        metrics.define(&[counter.clone(), metric("g", MetricKind::Gauge, &[])]);
        for n in 0..=MAX_SERIES {
            let taken = metrics.apply("c", labels(&n.to_string()), Move::Increment(1.0));
            assert_eq!(taken, n < MAX_SERIES);
        }
        assert!(metrics.apply("c", labels("0"), Move::Increment(1.0)), "known series go on");
        metrics.apply("g", labels("x"), Move::Set(1.0));
        metrics.define(&[counter, metric("g", MetricKind::Counter, &[])]);
        assert_eq!(metrics.get("c", &labels("0")).unwrap().1.value, 2.0);
        assert_eq!(metrics.get("g", &labels("x")), None);
        metrics.define(&[]);
        assert!(metrics.list().is_empty());
    }
}
