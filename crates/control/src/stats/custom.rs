//! Metrics that scripts move, as text.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::write_labels;
use crate::pb::process_stats_response::Metric;
use crate::pb::process_stats_response::metric::Series;

/// Lines `metrics.NAME{label="value"}: value`; of a histogram its `count` and `sum`.
pub(super) fn dotted(metrics: &[Metric]) -> String {
    let mut out = String::new();
    for metric in metrics {
        for series in &metric.series {
            let labels = labels(series, None);
            let name = &metric.name;
            // Writing to a string cannot fail.
            let _ = if metric.r#type == HISTOGRAM {
                writeln!(out, "metrics.{name}.count{labels}: {}", series.count)
                    .and_then(|()| writeln!(out, "metrics.{name}.sum{labels}: {}", series.value))
            } else {
                writeln!(out, "metrics.{name}{labels}: {}", series.value)
            };
        }
    }
    out
}

/// The families in the OpenMetrics text format, under the names of the configuration.
pub(super) fn openmetrics(metrics: &[Metric]) -> String {
    let mut out = String::new();
    for metric in metrics {
        let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':');
        let name = metric.name.replace(|c: char| !is_allowed(c), "_");
        // Writing to a string cannot fail.
        let _ = writeln!(out, "# TYPE {name} {}", metric.r#type);
        if !metric.help.is_empty() {
            let help = metric.help.replace('\\', "\\\\").replace('\n', "\\n");
            let _ = writeln!(out, "# HELP {name} {help}");
        }
        for series in &metric.series {
            let own = labels(series, None);
            if metric.r#type != HISTOGRAM {
                let _ = writeln!(out, "{name}{own} {}", series.value);
                continue;
            }
            let bounds = series.buckets.iter().map(|bucket| (bucket.le.to_string(), bucket.count));
            for (bound, count) in bounds.chain([("+Inf".to_owned(), series.count)]) {
                let _ = writeln!(out, "{name}_bucket{} {count}", labels(series, Some(&bound)));
            }
            let _ = writeln!(out, "{name}_count{own} {}", series.count);
            let _ = writeln!(out, "{name}_sum{own} {}", series.value);
        }
    }
    out
}

/// The labels of a series, with the bound of a bucket.
fn labels(series: &Series, bound: Option<&str>) -> String {
    let mut out = String::new();
    let sorted: BTreeMap<&str, &str> =
        series.labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    // Writing to a string cannot fail.
    let _ = write_labels(&mut out, sorted.into_iter().chain(bound.map(|bound| ("le", bound))));
    out
}

const HISTOGRAM: &str = "histogram";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pb::process_stats_response::metric::Bucket;

    #[test]
    fn custom_metrics_keep_their_names_and_labels() {
        let series = |labels: &[(&str, &str)], value| Series {
            labels: labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            value,
            ..Series::default()
        };
        let metrics = [
            Metric {
                name: "my.mails".into(),
                r#type: "counter".into(),
                help: "Mails\nseen".into(),
                series: vec![series(&[("b", "\"2\""), ("a", "1")], 3.0), series(&[], 0.5)],
            },
            Metric {
                name: "took".into(),
                r#type: "histogram".into(),
                help: String::new(),
                series: vec![Series {
                    count: 3,
                    buckets: vec![Bucket { le: 0.5, count: 1 }],
                    ..series(&[("a", "1")], 7.0)
                }],
            },
        ];
        assert_eq!(
            openmetrics(&metrics),
            "# TYPE my_mails counter\n# HELP my_mails Mails\\nseen\n\
             my_mails{a=\"1\",b=\"\\\"2\\\"\"} 3\nmy_mails 0.5\n# TYPE took histogram\n\
             took_bucket{a=\"1\",le=\"0.5\"} 1\ntook_bucket{a=\"1\",le=\"+Inf\"} 3\n\
             took_count{a=\"1\"} 3\ntook_sum{a=\"1\"} 7\n"
        );
        let text = dotted(&metrics);
        assert!(text.starts_with("metrics.my.mails{a=\"1\",b=\"\\\"2\\\"\"}: 3\n"), "{text}");
        assert!(text.ends_with("metrics.took.count{a=\"1\"}: 3\nmetrics.took.sum{a=\"1\"}: 7\n"));
    }
}
