//! Policies, suspensions, delivery settings, lists and groupings: from their files to what the queue
//! takes.
//!
//! The crate `config` has checked syntax and values; here patterns become the queue's, and what
//! cannot become one is told with file, line, column and key, as every fault of a configuration is.

use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;

use config::delivery::DeliverySettings;
use config::policy::{PolicyLimits, RateAlgorithm};
use config::running::GroupingDefault as ConfiguredDefault;
use config::value::{Field as ConfiguredField, Matcher};
use config::{Diagnostic, KeyPath, Loaded, Running, Severity, Startup};
use queue::grouping::{GroupingDefault, GroupingRule, Groupings};
use queue::list::NamedLists;
use queue::policy::{Condition, Counter, Limits, Policies, Property, RollUp};
use queue::suspend::StaticSuspend;
use queue::window::{Algorithm, Rate};
use queue::{Field, Pattern, PerField};

use crate::generation::GenerationError;
use crate::reload;

/// The delivery settings file; without one, nothing is set.
#[derive(Clone, Debug, Default)]
pub(crate) struct DeliveryRules {
    conditions: Vec<(PerField<Vec<Pattern>>, DeliverySettings)>,
    default: DeliverySettings,
}

impl DeliveryRules {
    /// The settings of the first condition whose fields all match; a field without a value matches
    /// nothing.
    pub(crate) fn find(
        &self,
        values: &PerField<Box<str>>,
        lists: &NamedLists,
    ) -> &DeliverySettings {
        let fits = |(field, patterns): (Field, &Vec<Pattern>)| {
            values
                .get(field)
                .is_some_and(|value| patterns.iter().any(|p| p.is_match(field, value, lists)))
        };
        let found = self.conditions.iter().find(|(when, _)| when.iter().all(fits));
        found.map_or(&self.default, |(_, settings)| settings)
    }
}

/// Reads the pickup policies.
///
/// # Errors
///
/// Everything that is wrong with the file.
pub(crate) fn read_policies(
    startup: &Loaded<Startup>,
) -> Result<(Policies, Option<Loaded<config::Policy>>), GenerationError> {
    let file = &startup.config.environment.policyconf;
    let named = config::check::is_named(startup, "policyconf");
    let Some(loaded) = optional(file, named, |text, name| config::load_policy(text, name))? else {
        return Ok((Policies::default(), None));
    };
    let mut faults = Faults::of(&loaded);
    let algorithm = match loaded.config.rate_algorithm {
        RateAlgorithm::FixedWindow => Algorithm::FixedWindow,
        RateAlgorithm::TokenBucket => Algorithm::TokenBucket,
    };
    let top = KeyPath::root().key("policies");
    let counters = loaded.config.policies.iter().enumerate();
    let counters = counters
        .map(|(index, counter)| {
            let path = top.index(index);
            let mut rollups = Vec::new();
            for (place, field) in counter.fields.iter().enumerate() {
                let at = path.key("fields").index(place).key(field.field.as_str());
                for (name, matchers) in &field.rollups {
                    let patterns = faults.patterns(field.field, matchers, &at.key(name));
                    let name = Box::from(&**name);
                    rollups.push(RollUp { field: self::field(field.field), name, patterns });
                }
            }
            let mut conditions = Vec::new();
            for (place, condition) in counter.conditions.iter().enumerate() {
                let at = path.key("conditions").index(place);
                conditions.push(Condition {
                    matches: faults.when(&condition.when, &at.key("if")),
                    then: faults.limits(&condition.then, algorithm, &at.key("then")),
                });
            }
            let at = path.key("default");
            Counter {
                fields: counter.fields.iter().map(|it| self::field(it.field)).collect(),
                rollups,
                conditions,
                default: counter.default.as_ref().map_or_else(
                    // The algorithm is also that of conditions added at run time.
                    || Limits { algorithm, ..Limits::default() },
                    |limits| faults.limits(limits, algorithm, &at),
                ),
            }
        })
        .collect();
    faults.result()?;
    Ok((Policies { counters }, Some(loaded)))
}

/// Reads the static suspensions.
///
/// # Errors
///
/// Everything that is wrong with the file.
pub(crate) fn read_suspends(
    startup: &Loaded<Startup>,
) -> Result<(Vec<StaticSuspend>, Option<Loaded<config::Suspend>>), GenerationError> {
    let file = &startup.config.environment.suspendconf;
    let named = config::check::is_named(startup, "suspendconf");
    let Some(loaded) = optional(file, named, |text, name| config::load_suspend(text, name))? else {
        return Ok((Vec::new(), None));
    };
    let mut faults = Faults::of(&loaded);
    let top = KeyPath::root().key("suspends");
    let mut suspends = Vec::new();
    for (index, suspension) in loaded.config.suspends.iter().enumerate() {
        let path = top.index(index);
        let when = faults.when(&suspension.when, &path);
        let Some(combinations) = combinations(&when) else {
            faults.add(&path, format!("more than {MAX_COMBINATIONS} combinations; use a @list"));
            continue;
        };
        suspends.extend(combinations.into_iter().map(|matches| StaticSuspend {
            matches,
            tag: suspension.tag.as_deref().map(Into::into),
            properties: properties(&suspension.properties),
        }));
    }
    faults.result()?;
    Ok((suspends, Some(loaded)))
}

/// Reads the delivery settings.
///
/// # Errors
///
/// Everything that is wrong with the file.
pub(crate) fn read_delivery(
    startup: &Loaded<Startup>,
) -> Result<(DeliveryRules, Option<Loaded<config::Delivery>>), GenerationError> {
    let file = &startup.config.environment.deliveryconf;
    let named = config::check::is_named(startup, "deliveryconf");
    let loaded = optional(file, named, |text, name| config::load_delivery(text, name))?;
    let Some(loaded) = loaded else { return Ok((DeliveryRules::default(), None)) };
    let mut faults = Faults::of(&loaded);
    let top = KeyPath::root().key("delivery").key("conditions");
    let conditions = loaded.config.conditions.iter().enumerate();
    let conditions = conditions
        .map(|(index, condition)| {
            let path = top.index(index).key("if");
            (faults.when(&condition.when, &path), condition.then.clone())
        })
        .collect();
    faults.result()?;
    let default = loaded.config.default.clone();
    Ok((DeliveryRules { conditions, default }, Some(loaded)))
}

/// The named lists of a running configuration.
///
/// # Errors
///
/// Values that are no pattern for their field.
pub(crate) fn lists(running: &Loaded<Running>) -> Result<NamedLists, GenerationError> {
    let mut faults = Faults::of(running);
    let mut lists = NamedLists::default();
    let top = KeyPath::root().key("lists");
    for (configured, named) in &running.config.lists {
        let field = field(*configured);
        for (name, matchers) in named {
            lists.add_list(field, name);
            let path = top.key(configured.as_str()).key(name);
            for (index, matcher) in matchers.iter().enumerate() {
                if let Err(error) = lists.add(field, name, &matcher.to_string()) {
                    faults.add(&path.index(index), error.to_string());
                }
            }
        }
    }
    faults.result()?;
    Ok(lists)
}

/// The groupings of a running configuration.
///
/// # Errors
///
/// Values that are no pattern for their field.
pub(crate) fn groupings(running: &Loaded<Running>) -> Result<Groupings, GenerationError> {
    let mut faults = Faults::of(running);
    let top = KeyPath::root().key("queues").key("grouping").key("groupings");
    let queues = &running.config.queues;
    let rules = queues.groupings.iter().enumerate();
    let rules = rules
        .map(|(index, rule)| {
            let path = top.index(index);
            let mut read = |field: ConfiguredField, matchers: &[Matcher]| {
                faults.patterns(field, matchers, &path.key(field.as_str()))
            };
            GroupingRule {
                id: Box::from(&*rule.id),
                remotemx: read(ConfiguredField::RemoteMx, &rule.remotemx),
                recipientdomain: read(ConfiguredField::RecipientDomain, &rule.recipientdomain),
                remoteip: read(ConfiguredField::RemoteIp, &rule.remoteip),
            }
        })
        .collect();
    faults.result()?;
    let default = match queues.grouping_default {
        ConfiguredDefault::Empty => GroupingDefault::None,
        ConfiguredDefault::RecipientDomain => GroupingDefault::RecipientDomain,
        ConfiguredDefault::RemoteMx => GroupingDefault::RemoteMx,
    };
    Ok(Groupings { rules, default })
}

/// Reads a file that may be missing unless the startup configuration names it.
fn optional<T>(
    file: &Path,
    named: bool,
    load: impl FnOnce(&str, &str) -> Result<Loaded<T>, Vec<Diagnostic>>,
) -> Result<Option<Loaded<T>>, GenerationError> {
    if !named && !file.exists() {
        return Ok(None);
    }
    reload::read(file, load).map(Some)
}

/// What is wrong with one file, gathered.
struct Faults<'a, T> {
    loaded: &'a Loaded<T>,
    found: Vec<String>,
}

impl<'a, T> Faults<'a, T> {
    fn of(loaded: &'a Loaded<T>) -> Self {
        Self { loaded, found: Vec::new() }
    }

    fn add(&mut self, path: &KeyPath, message: String) {
        self.found.push(self.loaded.diagnostic(Severity::Error, path, message).to_string());
    }

    fn result(self) -> Result<(), GenerationError> {
        if self.found.is_empty() {
            return Ok(());
        }
        Err(GenerationError { findings: self.found })
    }

    fn patterns(
        &mut self,
        configured: ConfiguredField,
        matchers: &[Matcher],
        path: &KeyPath,
    ) -> Vec<Pattern> {
        let mut patterns = Vec::with_capacity(matchers.len());
        for matcher in matchers {
            match Pattern::parse(field(configured), &matcher.to_string()) {
                Ok(pattern) => patterns.push(pattern),
                Err(error) => self.add(path, error.to_string()),
            }
        }
        patterns
    }

    fn when(
        &mut self,
        when: &[(ConfiguredField, Vec<Matcher>)],
        path: &KeyPath,
    ) -> PerField<Vec<Pattern>> {
        when.iter()
            .map(|(configured, matchers)| {
                let at = path.key(configured.as_str());
                (field(*configured), self.patterns(*configured, matchers, &at))
            })
            .collect()
    }

    fn limits(&mut self, limits: &PolicyLimits, algorithm: Algorithm, path: &KeyPath) -> Limits {
        let rate = limits.rate.and_then(|rate| {
            let count = u32::try_from(rate.count).ok();
            let read = count.and_then(|count| Rate::new(count, rate.interval));
            if read.is_none() {
                self.add(&path.key("rate"), format!("the rate {rate} is out of range"));
            }
            read
        });
        // More than four thousand million connections is no limit.
        let concurrency = limits.concurrency.and_then(|limit| u32::try_from(limit).ok());
        Limits {
            concurrency: concurrency.and_then(NonZeroU32::new),
            rate,
            algorithm,
            connectinterval: limits.connectinterval,
            tag: limits.tag.as_deref().map(Into::into),
            stop: limits.stop,
            cluster: limits.cluster,
            properties: properties(&limits.properties),
        }
    }
}

/// Every combination of one pattern for each field; `None` when there are too many.
fn combinations(when: &PerField<Vec<Pattern>>) -> Option<Vec<PerField<Pattern>>> {
    let mut all = vec![PerField::default()];
    for (field, patterns) in when.iter() {
        if all.len().saturating_mul(patterns.len()) > MAX_COMBINATIONS {
            return None;
        }
        all = all
            .iter()
            .flat_map(|one| patterns.iter().map(|p| one.clone().with(field, p.clone())))
            .collect();
    }
    Some(all)
}

/// Suspensions that one entry of the file may stand for.
const MAX_COMBINATIONS: usize = 1000;

fn properties(
    configured: &indexmap::IndexMap<Arc<str>, config::policy::Property>,
) -> queue::policy::Properties {
    use config::policy::Property as Configured;
    let read = |property: &Configured| match property {
        Configured::Bool(flag) => Property::Boolean(*flag),
        Configured::Number(number) => Property::Number(*number),
        Configured::Text(text) => Property::Text(Box::from(&**text)),
    };
    configured.iter().map(|(key, value)| (Box::from(&**key), read(value))).collect()
}

const fn field(field: ConfiguredField) -> Field {
    match field {
        ConfiguredField::TransportId => Field::TransportId,
        ConfiguredField::LocalIp => Field::LocalIp,
        ConfiguredField::RemoteIp => Field::RemoteIp,
        ConfiguredField::RemoteMx => Field::RemoteMx,
        ConfiguredField::RecipientDomain => Field::RecipientDomain,
        ConfiguredField::JobId => Field::JobId,
        ConfiguredField::Grouping => Field::Grouping,
        ConfiguredField::TenantId => Field::TenantId,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn startup(dir: &Path, named: &str) -> Loaded<Startup> {
        let at = |name: &str| dir.join(name).display().to_string();
        let text = format!(
            "version: \"5.6\"\nservers:\n  - id: a\n    listeners:\n      - port: 25\n\
             environment:\n  {named}: {}\n",
            at("rules.yaml")
        );
        config::load_startup(text, "smtpd.yaml").unwrap()
    }

    fn suspends(text: &str) -> Result<Vec<StaticSuspend>, GenerationError> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("rules.yaml"), text).unwrap();
        read_suspends(&startup(dir.path(), "suspendconf")).map(|(suspends, _)| suspends)
    }

    #[test]
    fn several_patterns_of_a_field_are_as_many_suspensions() {
        let read = suspends(
            "version: \"5.6\"\nsuspends:\n  - localip: [192.0.2.1, 192.0.2.2]\n    \
             remotemx: ['*.a.example', b.example]\n    tag: t\n  - {}\n",
        )
        .unwrap();
        assert_eq!(read.len(), 5);
        let texts: Vec<_> =
            read[1].matches.iter().map(|(f, p)| format!("{f}={}", p.as_str())).collect();
        assert_eq!(texts, ["localip=192.0.2.1", "remotemx=b.example"]);
        assert!(read[4].matches.fields().is_empty());
    }

    #[test]
    fn a_named_file_must_be_there_and_faults_name_their_place() {
        let dir = tempfile::tempdir().unwrap();
        let missing = read_suspends(&startup(dir.path(), "suspendconf")).unwrap_err();
        assert!(missing.to_string().contains("rules.yaml"), "{missing}");
        let many: Vec<_> = (0..40).map(|n| format!("d{n}.example")).collect();
        let many = many.join(", ");
        let error = suspends(&format!(
            "version: \"5.6\"\nsuspends:\n  - remotemx: [{many}]\n    recipientdomain: [{many}]\n"
        ))
        .unwrap_err();
        assert!(error.to_string().contains("suspends[0]"), "{error}");
        assert!(error.to_string().contains("rules.yaml:3:"), "{error}");
    }

    #[test]
    fn policies_keep_rollups_limits_and_their_algorithm() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(
            dir.path().join("rules.yaml"),
            "version: \"5.6\"\nrate:\n  algorithm: tokenbucket\npolicies:\n  - fields:\n      \
             - localip\n      - remotemx:\n          gsuite: ['*.google.com', '@gsuite']\n    \
             conditions:\n      - if:\n          remotemx: '#gsuite'\n        then:\n          \
             concurrency: 10\n          rate: 1000/60\n          tag: g\n          properties:\n            \
             backoff: true\n    default:\n      concurrency: 5\n",
        )
        .unwrap();
        let (policies, _) = read_policies(&startup(dir.path(), "policyconf")).unwrap();
        let counter = &policies.counters[0];
        assert_eq!(counter.fields.iter().collect::<Vec<_>>(), [Field::LocalIp, Field::RemoteMx]);
        assert_eq!(counter.rollups[0].patterns.len(), 2);
        let then = &counter.conditions[0].then;
        assert_eq!(then.concurrency.map(NonZeroU32::get), Some(10));
        assert_eq!(then.rate.map(|rate| rate.to_string()).as_deref(), Some("1000/60"));
        assert_eq!(then.algorithm, Algorithm::TokenBucket);
        assert_eq!(then.properties[0].1, Property::Boolean(true));
        assert_eq!(counter.default.concurrency.map(NonZeroU32::get), Some(5));
    }
}
