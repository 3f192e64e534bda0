//! Which delivery settings and which grouping a row has, from what is known of it.
//!
//! Some fields are known when the row is queued, the rest when its host and source address are. A
//! condition on a field without a value does not match, so the same question can be asked at any
//! time and gets more precise.

use std::net::IpAddr;

use config::delivery::DeliverySettings;
use queue::message::QueuedMessage;
use queue::{Field, PerField};

use crate::context::Core;
use crate::outbound::plan::Target;
use crate::queue_service::rules::Snapshot;

/// The settings for an attempt at a target from a source address.
pub(crate) fn settings_at(
    core: &Core,
    row: &QueuedMessage,
    target: &Target,
    local: Option<IpAddr>,
) -> DeliverySettings {
    let rules = core.queue.rules();
    let remoteip = target.address.ip();
    let mut values = queued_values(row);
    values.set(Field::RemoteMx, Some(target.host.to_ascii_lowercase().into()));
    values.set(Field::RemoteIp, Some(remoteip.to_string().into()));
    values.set(Field::LocalIp, local.map(|ip| ip.to_string().into()));
    let grouping = grouping(&rules, row, Some(&target.host), Some(remoteip));
    values.set(Field::Grouping, grouping.map(Into::into));
    rules.delivery.find(&values, &rules.lists).clone()
}

/// The settings for a row as it stands; `local` is the source address it used, if it did.
pub(crate) fn settings(
    core: &Core,
    row: &QueuedMessage,
    local: Option<IpAddr>,
) -> DeliverySettings {
    let rules = core.queue.rules();
    let mut values = queued_values(row);
    values.set(Field::RemoteMx, row.remotemx.as_ref().map(|mx| mx.to_ascii_lowercase().into()));
    values.set(Field::RemoteIp, row.remoteip.map(|ip| ip.to_string().into()));
    values.set(Field::LocalIp, local.or(row.localip).map(|ip| ip.to_string().into()));
    values.set(Field::Grouping, row.grouping.as_ref().map(|grouping| grouping.as_str().into()));
    rules.delivery.find(&values, &rules.lists).clone()
}

/// The set of remote hosts that a row belongs to, with its `&`.
pub(crate) fn grouping(
    rules: &Snapshot,
    row: &QueuedMessage,
    remotemx: Option<&str>,
    remoteip: Option<IpAddr>,
) -> Option<String> {
    rules.groupings.of(row.recipient.domain(), remotemx, remoteip, &rules.lists)
}

/// What is known when a row is queued.
fn queued_values(row: &QueuedMessage) -> PerField<Box<str>> {
    let mut values = PerField::default();
    values.set(Field::TransportId, Some(row.transportid.as_str().into()));
    values.set(Field::JobId, row.jobid.as_ref().map(|jobid| jobid.as_str().into()));
    values.set(Field::TenantId, row.tenantid.as_ref().map(|tenant| tenant.as_str().into()));
    let domain = row.recipient.domain().to_ascii_lowercase();
    values.set(Field::RecipientDomain, Some(domain.into()));
    values
}
