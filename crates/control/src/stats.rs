//! Statistics as people and collectors read them: dotted names, and OpenMetrics.
//!
//! Both walk the descriptor of [`ProcessStatsResponse`], so a number that is added to the schema shows
//! up without a change here. Elements of lists are named by their id (`servers.in.connections.…`), or
//! by position where they have none.

use std::fmt::Write as _;

use prost_reflect::{DynamicMessage, FieldDescriptor, ReflectMessage, Value};

use crate::pb::ProcessStatsResponse;

mod custom;

/// One number or text of the statistics.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The dotted name with ids of list elements: `servers.in.scripts.eod.errors`.
    pub dotted: String,
    /// The dotted name without them: `servers.scripts.eod.errors`.
    pub family: String,
    /// The ids, by the name of the label.
    pub labels: Vec<(&'static str, String)>,
    /// The value, printed.
    pub value: String,
    /// Whether the value is a number.
    pub numeric: bool,
}

/// The statistics in the order of the schema. Texts that are empty are left out.
pub fn samples(stats: &ProcessStatsResponse) -> Vec<Sample> {
    let mut walk = Walk::default();
    // What scripts move has names and labels of its own.
    let fixed = ProcessStatsResponse { metrics: Vec::new(), ..stats.clone() };
    walk.message(&crate::json::to_dynamic(&fixed));
    walk.samples
}

/// The statistics as lines `name: value`.
pub fn dotted(stats: &ProcessStatsResponse) -> String {
    samples(stats).iter().fold(String::new(), |mut out, sample| {
        // Writing to a string cannot fail.
        let _ = writeln!(out, "{}: {}", sample.dotted, sample.value);
        out
    }) + &custom::dotted(&stats.metrics)
}

/// The statistics in the OpenMetrics text format.
///
/// # Compatibility
///
/// Names and labels are those of the reference product, so counters have no `_total` at the end.
/// Levels are gauges: sizes and running as there, and pending, concurrent, active and suspended too.
pub fn openmetrics(stats: &ProcessStatsResponse) -> String {
    // All samples of a family must stand together; families keep the order of the schema.
    let mut families: Vec<(String, Vec<Sample>)> = Vec::new();
    let mut positions = std::collections::HashMap::new();
    for sample in samples(stats).into_iter().filter(|sample| sample.numeric) {
        let position = *positions.entry(sample.family.clone()).or_insert_with(|| {
            families.push((sample.family.clone(), Vec::new()));
            families.len() - 1
        });
        if let Some((_, samples)) = families.get_mut(position) {
            samples.push(sample);
        }
    }
    let mut out = String::new();
    for (family, samples) in &families {
        let name = format!("halon_{}", family.replace('.', "_"));
        let last = family.rsplit('.').next().unwrap_or(family);
        let kind = if GAUGES.contains(&last) { "gauge" } else { "counter" };
        // Writing to a string cannot fail.
        let _ = writeln!(out, "# TYPE {name} {kind}");
        if SECONDS.contains(&last) {
            let _ = writeln!(out, "# UNIT {name} seconds");
        }
        let _ = writeln!(out, "# HELP {name} {family}");
        for sample in samples {
            let _ = writeln!(out, "{name}{} {}", Labels(&sample.labels), sample.value);
        }
    }
    out.push_str(&custom::openmetrics(&stats.metrics));
    out.push_str("# EOF\n");
    out
}

const GAUGES: &[&str] =
    &["size", "running", "pending", "concurrent", "active", "suspended", "bytes", "maxbytes"];
const SECONDS: &[&str] = &["runtime", "elapsed"];

struct Labels<'a>(&'a [(&'static str, String)]);

impl std::fmt::Display for Labels<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write_labels(f, self.0.iter().map(|(name, value)| (*name, value.as_str())))
    }
}

/// Writes `{name="value",…}`; nothing when there are none.
fn write_labels<'a>(
    out: &mut impl std::fmt::Write,
    labels: impl Iterator<Item = (&'a str, &'a str)>,
) -> std::fmt::Result {
    let mut separator = '{';
    for (name, value) in labels {
        let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        write!(out, "{separator}{name}=\"{value}\"")?;
        separator = ',';
    }
    if separator == '{' { Ok(()) } else { out.write_char('}') }
}

#[derive(Default)]
struct Walk {
    dotted: Vec<String>,
    family: Vec<String>,
    labels: Vec<(&'static str, String)>,
    samples: Vec<Sample>,
}

impl Walk {
    fn message(&mut self, message: &DynamicMessage) {
        // A script's thread pool is a label of its numbers, not a number.
        let threadid = text_of(message, "threadid");
        let labels = self.labels.len();
        self.labels.extend(threadid.map(|id| ("threadid", id)));
        for field in message.descriptor().fields() {
            if field.supports_presence() && !message.has_field(&field) {
                continue;
            }
            self.field(message, &field);
        }
        self.labels.truncate(labels);
    }

    fn field(&mut self, message: &DynamicMessage, field: &FieldDescriptor) {
        let value = message.get_field(field);
        self.family.push(field.name().to_owned());
        self.dotted.push(field.name().to_owned());
        match value.as_ref() {
            Value::List(items) => {
                for (position, item) in items.iter().enumerate() {
                    let Some(item) = item.as_message() else { continue };
                    let (label, id) = list_id(item, position);
                    self.dotted.push(id.clone());
                    self.labels.push((label, id));
                    self.message(item);
                    self.labels.pop();
                    self.dotted.pop();
                }
            }
            Value::Message(inner) => self.message(inner),
            // The id of a list element is its name already.
            Value::String(_) if LIST_IDS.contains(&field.name()) => {}
            Value::String(text) if text.is_empty() => {}
            Value::String(text) => self.push(text.clone(), false),
            Value::U64(number) => self.push(number.to_string(), true),
            Value::U32(number) => self.push(number.to_string(), true),
            Value::F64(number) => self.push(number.to_string(), true),
            // The schema has no other kinds in the statistics.
            _ => {}
        }
        self.dotted.pop();
        self.family.pop();
    }

    fn push(&mut self, value: String, numeric: bool) {
        self.samples.push(Sample {
            dotted: self.dotted.join("."),
            family: self.family.join("."),
            labels: self.labels.clone(),
            value,
            numeric,
        });
    }
}

/// The fields that name an element of a list.
const LIST_IDS: &[&str] = &["serverid", "id"];

fn list_id(item: &DynamicMessage, position: usize) -> (&'static str, String) {
    LIST_IDS
        .iter()
        .find_map(|name| text_of(item, name).map(|id| (*name, id)))
        // Only the priorities of the active queue have no id: their position is the priority.
        .unwrap_or_else(|| ("priority", position.to_string()))
}

fn text_of(message: &DynamicMessage, field: &str) -> Option<String> {
    let value = message.get_field_by_name(field)?;
    value.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pb::process_stats_response::{self as stats, queue, server};

    fn example() -> ProcessStatsResponse {
        let server = |id: &str, eod| stats::Server {
            serverid: id.to_owned(),
            connections: None,
            scripts: Some(server::Scripts {
                eod: Some(stats::Script {
                    errors: eod,
                    threadid: "t".into(),
                    ..Default::default()
                }),
                ..Default::default()
            }),
        };
        let priority = |size| queue::queues::active::Priority { size };
        ProcessStatsResponse {
            process: Some(stats::Process { pid: 145, runtime: 60, ..Default::default() }),
            servers: vec![server("in", 1), server("o\"ut", 2)],
            queue: Some(stats::Queue {
                queue: Some(queue::Queues {
                    active: Some(queue::queues::Active {
                        size: 3,
                        priorities: vec![priority(1), priority(2)],
                    }),
                    ..Default::default()
                }),
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    #[test]
    fn dotted_names_hold_the_ids_of_list_elements() {
        let text = dotted(&example());
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[..2], ["process.pid: 145", "process.runtime: 60"]);
        assert!(lines.contains(&"servers.in.scripts.eod.errors: 1"), "{text}");
        assert!(lines.contains(&"queue.queue.active.priorities.1.size: 2"), "{text}");
        assert!(!text.contains("serverid"), "{text}");
    }

    #[test]
    fn openmetrics_families_stand_together_with_their_labels() {
        let text = openmetrics(&example());
        let family = "# TYPE halon_servers_scripts_eod_errors counter\n\
            # HELP halon_servers_scripts_eod_errors servers.scripts.eod.errors\n\
            halon_servers_scripts_eod_errors{serverid=\"in\",threadid=\"t\"} 1\n\
            halon_servers_scripts_eod_errors{serverid=\"o\\\"ut\",threadid=\"t\"} 2\n";
        assert!(text.contains(family), "{text}");
        assert!(text.contains("# TYPE halon_queue_queue_active_size gauge\n"), "{text}");
        assert!(text.contains("halon_queue_queue_active_priorities_size{priority=\"1\"} 2\n"));
        assert!(text.contains("# UNIT halon_process_runtime seconds\n"), "{text}");
        assert!(text.ends_with("# EOF\n"));
    }
}
