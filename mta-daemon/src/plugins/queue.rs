//! The queue as plugins reach it: suspends, policies, lists (`HalonMTA_queue_*`).
//!
//! Plugins call this from their first initialisation on, before there is a daemon, so it holds the
//! queue alone.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use plugin_host::QueueServices;
use plugin_host::services::{
    PluginPolicy, PluginSuspend, PolicyKind, PolicyUpdate, QueueCondition, QueueField,
    RateAlgorithm, ServiceError,
};
use queue::policy::dynamic::{DynamicKind, DynamicUpdate, NewDynamic};
use queue::policy::{Limits, Properties, Property};
use queue::suspend::NewSuspend;
use queue::window::{Algorithm, Rate};
use queue::{Field, FieldSet, Pattern, PerField};

use crate::queue_service::QueueService;

/// What answers the plugins.
pub(crate) struct PluginQueue(pub(crate) Arc<QueueService>);

impl QueueServices for PluginQueue {
    fn suspend_add(&self, suspend: PluginSuspend) -> Result<String, ServiceError> {
        let new = NewSuspend {
            id: suspend.id.map(Into::into),
            matches: patterns(&suspend.condition)?,
            ttl: suspend.ttl,
            tag: suspend.tag.map(Into::into),
            properties: properties(suspend.properties),
            ..NewSuspend::default()
        };
        self.0.add_suspend(new).map(Into::into).map_err(|error| refused(&error))
    }

    fn suspend_delete(&self, id: &str) -> bool {
        self.0.delete_suspend(id)
    }

    fn policy_add(&self, policy: PluginPolicy) -> Result<String, ServiceError> {
        let fields: FieldSet = policy.fields.iter().map(|it| field(*it)).collect();
        let limits = policy.limits;
        let new = NewDynamic {
            id: policy.id.map(Into::into),
            fields,
            kind: match policy.kind {
                PolicyKind::Dynamic => DynamicKind::Dynamic,
                PolicyKind::Warmup => DynamicKind::WarmUp,
                PolicyKind::Backoff => DynamicKind::BackOff,
            },
            matches: patterns(&policy.condition)?,
            then: Limits {
                concurrency: concurrency(limits.concurrency),
                rate: rate(limits.tokens, limits.interval)?,
                algorithm: algorithm(limits.rate_algorithm)
                    .unwrap_or_else(|| self.0.rate_algorithm(fields)),
                connectinterval: interval(limits.connect_interval),
                tag: limits.tag.map(Into::into),
                stop: limits.stop.unwrap_or_default(),
                cluster: limits.cluster.unwrap_or_default(),
                properties: properties(limits.properties.unwrap_or_default()),
            },
            ttl: limits.ttl,
            ..NewDynamic::default()
        };
        self.0.add_policy(new).map(Into::into).map_err(|error| refused(&error))
    }

    fn policy_update(&self, id: &str, update: PolicyUpdate) -> bool {
        let rate = match rate(update.tokens, update.interval) {
            Ok(rate) => rate,
            Err(error) => {
                tracing::warn!(%error, "plugin.queue_call_refused");
                return false;
            }
        };
        let changes = DynamicUpdate {
            concurrency: Some(concurrency(update.concurrency)),
            rate: Some(rate),
            algorithm: algorithm(update.rate_algorithm),
            connectinterval: update.connect_interval.map(|it| interval(Some(it))),
            tag: Some(update.tag.map(Into::into)),
            stop: update.stop,
            cluster: update.cluster,
            properties: update.properties.map(properties),
            ttl: Some(update.ttl),
        };
        self.0.update_policy(id, changes)
    }

    fn policy_delete(&self, id: &str) -> bool {
        self.0.delete_policy(id)
    }

    fn policy_divide(&self, hosts: usize) {
        let hosts = u32::try_from(hosts).unwrap_or(u32::MAX);
        self.0.set_hosts(NonZeroU32::new(hosts).unwrap_or(NonZeroU32::MIN));
    }

    fn list_add(&self, of: QueueField, list: &str) -> bool {
        self.0.add_list(field(of), list);
        true
    }

    fn list_item_add(&self, of: QueueField, list: &str, value: &str) -> bool {
        let added = self.0.add_list_item(field(of), list, value);
        if let Err(error) = &added {
            tracing::warn!(list, value, %error, "plugin.queue_call_refused");
        }
        added.is_ok()
    }

    fn list_item_delete(&self, of: QueueField, list: &str, value: &str) -> bool {
        self.0.delete_list_item(field(of), list, value)
    }

    fn list_reload(&self, of: Option<QueueField>, list: Option<&str>) -> bool {
        self.0.reload_lists(of.map(field), list);
        true
    }
}

fn refused(error: &dyn std::fmt::Display) -> ServiceError {
    ServiceError(error.to_string())
}

const fn field(field: QueueField) -> Field {
    match field {
        QueueField::TransportId => Field::TransportId,
        QueueField::LocalIp => Field::LocalIp,
        QueueField::RemoteIp => Field::RemoteIp,
        QueueField::RemoteMx => Field::RemoteMx,
        QueueField::RecipientDomain => Field::RecipientDomain,
        QueueField::JobId => Field::JobId,
        QueueField::Grouping => Field::Grouping,
        QueueField::TenantId => Field::TenantId,
    }
}

fn patterns(condition: &QueueCondition) -> Result<PerField<Pattern>, ServiceError> {
    let mut out = PerField::default();
    for of in ALL {
        if let Some(text) = condition.text(of) {
            let pattern = Pattern::parse(field(of), text).map_err(|error| refused(&error))?;
            out.set(field(of), Some(pattern));
        }
    }
    Ok(out)
}

/// A limit on concurrency; 0 is none.
fn concurrency(limit: usize) -> Option<NonZeroU32> {
    NonZeroU32::new(u32::try_from(limit).unwrap_or(u32::MAX))
}

/// A rate; without tokens there is none.
fn rate(tokens: usize, interval: Duration) -> Result<Option<Rate>, ServiceError> {
    if tokens == 0 {
        return Ok(None);
    }
    let count = u32::try_from(tokens).unwrap_or(u32::MAX);
    let rate = Rate::new(count, interval);
    let wrong = || ServiceError(format!("{tokens} tokens in {interval:?} is no rate"));
    rate.map(Some).ok_or_else(wrong)
}

fn interval(given: Option<Duration>) -> Option<Duration> {
    given.filter(|interval| !interval.is_zero())
}

fn algorithm(given: Option<RateAlgorithm>) -> Option<Algorithm> {
    match given? {
        RateAlgorithm::Default => None,
        RateAlgorithm::FixedWindow => Some(Algorithm::FixedWindow),
        RateAlgorithm::TokenBucket => Some(Algorithm::TokenBucket),
    }
}

fn properties(pairs: Vec<(String, String)>) -> Properties {
    pairs.into_iter().map(|(key, value)| (key.into(), Property::Text(value.into()))).collect()
}

const ALL: [QueueField; 8] = [
    QueueField::TransportId,
    QueueField::LocalIp,
    QueueField::RemoteIp,
    QueueField::RemoteMx,
    QueueField::RecipientDomain,
    QueueField::JobId,
    QueueField::Grouping,
    QueueField::TenantId,
];
