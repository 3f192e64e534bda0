//! Decisions of the queue, suspends, policies, lists.
//!
//! The numbered variants of a call differ in what they can say; all end in one specification.

use std::ffi::{c_char, c_double, c_int, c_void};
use std::ptr::null_mut;
use std::sync::Arc;
use std::time::Duration;

use plugin_abi::HalonQueueContext;
use plugin_abi::constants::*;

use super::exports;
use crate::decision::Decision;
use crate::door::door;
use crate::services::{
    PluginPolicy, PluginSuspend, PolicyKind, PolicyUpdate, QueueCondition, QueueField,
    QueueServices, RateAlgorithm, ServiceError,
};
use crate::text;

type Text = *const c_char;

/// The condition parameters of a call, in the order of the header. NULL is no part of it.
struct RawCondition {
    transportid: Text,
    localip: Text,
    remoteip: Text,
    remotemx: Text,
    recipientdomain: Text,
    jobid: Text,
    grouping: Text,
    tenantid: Text,
}

impl RawCondition {
    /// # Safety
    ///
    /// Every member is NULL or terminated text.
    unsafe fn read(&self) -> QueueCondition {
        // SAFETY: the caller keeps the contract.
        unsafe {
            QueueCondition {
                transportid: text::string(self.transportid),
                localip: text::string(self.localip),
                remoteip: text::string(self.remoteip),
                remotemx: text::string(self.remotemx),
                recipientdomain: text::string(self.recipientdomain),
                jobid: text::string(self.jobid),
                grouping: text::string(self.grouping),
                tenantid: text::string(self.tenantid),
            }
        }
    }
}

fn queue() -> Option<Arc<dyn QueueServices>> {
    door().services().queue
}

/// Reads a flat list of keys and values; `count` counts strings.
///
/// # Safety
///
/// `list` is NULL or has `count` pointers to terminated text.
unsafe fn properties(list: *mut Text, count: usize) -> Vec<(String, String)> {
    if list.is_null() {
        return Vec::new();
    }
    // SAFETY: the caller keeps the contract.
    let texts = unsafe { std::slice::from_raw_parts(list, count) };
    texts
        .chunks_exact(2)
        .filter_map(|pair| match pair {
            // SAFETY: the caller keeps the contract.
            [key, value] => unsafe {
                Some((text::string(*key)?, text::string(*value).unwrap_or_default()))
            },
            _ => None,
        })
        .collect()
}

/// Reads seconds. What is no length of time is none at all.
fn seconds(seconds: c_double) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

/// Reads a time to live: 0 is without end.
fn ttl(value: c_double) -> Option<Duration> {
    let value = seconds(value);
    (!value.is_zero()).then_some(value)
}

/// The fields of which `bits` has the bit, in the order of the bits; `None` if a bit is of no field.
fn fields(bits: c_int) -> Option<Vec<QueueField>> {
    let known = FIELDS.iter().fold(0, |known, (bit, _)| known | bit);
    if bits & !known != 0 {
        return None;
    }
    Some(FIELDS.iter().filter(|(bit, _)| bits & bit != 0).map(|(_, field)| *field).collect())
}

/// The field that `bit` alone names.
fn field(bit: c_int) -> Option<QueueField> {
    FIELDS.iter().find(|(known, _)| *known == bit).map(|(_, field)| *field)
}

fn algorithm(number: c_int) -> Option<RateAlgorithm> {
    match number {
        HALONMTA_RATE_ALGORITHM_DEFAULT => Some(RateAlgorithm::Default),
        HALONMTA_RATE_ALGORITHM_FIXEDWINDOW => Some(RateAlgorithm::FixedWindow),
        HALONMTA_RATE_ALGORITHM_TOKENBUCKET => Some(RateAlgorithm::TokenBucket),
        _ => None,
    }
}

fn policy_kind(number: c_int) -> Option<PolicyKind> {
    match number {
        HALONMTA_POLICY_TYPE_DYNAMIC => Some(PolicyKind::Dynamic),
        HALONMTA_POLICY_TYPE_WARMUP => Some(PolicyKind::Warmup),
        HALONMTA_POLICY_TYPE_BACKOFF => Some(PolicyKind::Backoff),
        _ => None,
    }
}

/// Gives an id to C, or logs why there is none.
fn id(function: &'static str, result: Result<String, ServiceError>) -> *mut c_char {
    match result {
        Ok(id) => text::to_malloc(id.as_bytes()),
        Err(error) => {
            tracing::warn!(function, %error, "plugin.queue_call_refused");
            null_mut()
        }
    }
}

fn refused(reason: &str) -> ServiceError {
    ServiceError(reason.to_owned())
}

fn tag(tag: Option<String>) -> Result<Option<String>, ServiceError> {
    match tag {
        Some(tag) if tag.chars().count() > MAX_TAG => {
            Err(refused("a tag has at most 32 characters"))
        }
        tag => Ok(tag),
    }
}

fn suspend_add(suspend: PluginSuspend) -> *mut c_char {
    let add = || {
        let suspend = PluginSuspend { tag: tag(suspend.tag)?, ..suspend };
        queue().ok_or_else(|| refused("there is no queue"))?.suspend_add(suspend)
    };
    id("HalonMTA_queue_suspend_add", add())
}

fn policy_add(
    given: Option<String>,
    bits: c_int,
    kind: c_int,
    condition: QueueCondition,
    limits: Option<PolicyUpdate>,
) -> *mut c_char {
    let add = || {
        let limits = limits.ok_or_else(|| refused("there is no such rate algorithm"))?;
        let limits = PolicyUpdate { tag: tag(limits.tag)?, ..limits };
        let policy = PluginPolicy {
            id: given,
            fields: fields(bits).ok_or_else(|| refused("there is no such field"))?,
            kind: policy_kind(kind).ok_or_else(|| refused("there is no such type of policy"))?,
            condition,
            limits,
        };
        if policy.kind == PolicyKind::Warmup
            && !policy.fields.iter().all(|field| policy.condition.text(*field).is_some())
        {
            return Err(refused("a warmup policy needs a condition for every field"));
        }
        queue().ok_or_else(|| refused("there is no queue"))?.policy_add(policy)
    };
    id("HalonMTA_queue_policy_add", add())
}

fn policy_update(id: Option<String>, limits: Option<PolicyUpdate>) -> bool {
    let (Some(id), Some(limits), Some(queue)) = (id, limits, queue()) else { return false };
    match tag(limits.tag.clone()) {
        Ok(_) => queue.policy_update(&id, limits),
        Err(error) => {
            tracing::warn!(%error, "plugin.queue_call_refused");
            false
        }
    }
}

impl QueueCondition {
    /// The text for a field.
    #[must_use]
    pub fn text(&self, field: QueueField) -> Option<&str> {
        match field {
            QueueField::TransportId => self.transportid.as_deref(),
            QueueField::LocalIp => self.localip.as_deref(),
            QueueField::RemoteIp => self.remoteip.as_deref(),
            QueueField::RemoteMx => self.remotemx.as_deref(),
            QueueField::RecipientDomain => self.recipientdomain.as_deref(),
            QueueField::JobId => self.jobid.as_deref(),
            QueueField::Grouping => self.grouping.as_deref(),
            QueueField::TenantId => self.tenantid.as_deref(),
        }
    }
}

exports! {
    /// Gives the message, the return slot or the source addresses of a decision. Since 5.12. Borrowed
    /// during the callback. The out pointer is always written.
    fn HalonMTA_queue_getinfo(
        context: *mut HalonQueueContext,
        selector: c_int,
        _input: *const c_void,
        _input_len: usize,
        out: *mut c_void,
        out_len: *mut usize,
    ) -> bool, or false => {
        // SAFETY: the decision of the callback that is under way.
        let decision = unsafe { Decision::from_raw(context) };
        let mut len = 0;
        let pointer: Option<*mut c_void> = decision.and_then(|decision| match selector {
            HALONMTA_INFO_MESSAGE => Some(decision.message.as_ptr().cast()),
            HALONMTA_INFO_RETURN => decision.return_slot().map(|cell| cell.as_ptr().cast()),
            HALONMTA_INFO_LOCALIPS => decision.show_localips().map(|(list, count)| {
                len = count;
                list.cast_mut().cast()
            }),
            _ => None,
        });
        // SAFETY: every selector writes a pointer; the length is wanted with the addresses only.
        unsafe {
            text::write(out.cast(), pointer.unwrap_or(null_mut()));
            if selector == HALONMTA_INFO_LOCALIPS {
                text::write(out_len, len);
            }
        }
        pointer.is_some()
    }

    /// Replaces the source addresses of a decision. Since 6.5. Copied.
    fn HalonMTA_queue_setinfo(
        context: *mut HalonQueueContext,
        selector: c_int,
        data: *const c_void,
        len: usize,
    ) -> bool, or false => {
        // SAFETY: the decision of the callback that is under way.
        let Some(decision) = (unsafe { Decision::from_raw(context) }) else { return false };
        if selector != HALONMTA_INFO_LOCALIPS || (data.is_null() && len > 0) {
            return false;
        }
        let texts: &[Text] = if data.is_null() {
            &[]
        } else {
            // SAFETY: an array of that many texts.
            unsafe { std::slice::from_raw_parts(data.cast(), len) }
        };
        // SAFETY: terminated text or NULL.
        let copy = |text: &Text| unsafe { text::terminated(*text) }.map(<[u8]>::to_vec);
        decision.set_localips(texts.iter().filter_map(copy))
    }

    /// Adds a suspend. Since 5.6. The caller frees the id; NULL on failure.
    fn HalonMTA_queue_suspend_add(
        transportid: Text, localip: Text, remoteip: Text, remotemx: Text, recipientdomain: Text,
        jobid: Text, tag: Text, time: c_double,
    ) -> *mut c_char, or null_mut() => {
        let (grouping, tenantid) = (std::ptr::null(), std::ptr::null());
        let condition = RawCondition {
            transportid, localip, remoteip, remotemx, recipientdomain, jobid, grouping, tenantid,
        };
        // SAFETY: terminated text or NULL.
        let (condition, tag) = unsafe { (condition.read(), text::string(tag)) };
        suspend_add(PluginSuspend { condition, tag, ttl: ttl(time), ..Default::default() })
    }

    /// Adds a suspend, with grouping. Since 5.12.
    fn HalonMTA_queue_suspend_add2(
        transportid: Text, localip: Text, remoteip: Text, remotemx: Text, recipientdomain: Text,
        jobid: Text, grouping: Text, tag: Text, time: c_double,
    ) -> *mut c_char, or null_mut() => {
        let tenantid = std::ptr::null();
        let condition = RawCondition {
            transportid, localip, remoteip, remotemx, recipientdomain, jobid, grouping, tenantid,
        };
        // SAFETY: terminated text or NULL.
        let (condition, tag) = unsafe { (condition.read(), text::string(tag)) };
        suspend_add(PluginSuspend { condition, tag, ttl: ttl(time), ..Default::default() })
    }

    /// Adds a suspend, with id, tenant and properties. Since 6.7.
    fn HalonMTA_queue_suspend_add5(
        wanted: Text, transportid: Text, localip: Text, remoteip: Text, remotemx: Text,
        recipientdomain: Text, jobid: Text, grouping: Text, tenantid: Text, tag: Text,
        propv: *mut Text, propl: usize, time: c_double,
    ) -> *mut c_char, or null_mut() => {
        let condition = RawCondition {
            transportid, localip, remoteip, remotemx, recipientdomain, jobid, grouping, tenantid,
        };
        // SAFETY: terminated text or NULL, and a list of it.
        suspend_add(unsafe {
            PluginSuspend {
                id: text::string(wanted),
                condition: condition.read(),
                tag: text::string(tag),
                properties: properties(propv, propl),
                ttl: ttl(time),
            }
        })
    }

    /// Deletes a suspend. Since 5.6. False if there is none of that id.
    fn HalonMTA_queue_suspend_delete(id: Text) -> bool, or false => {
        // SAFETY: terminated text or NULL.
        let id = unsafe { text::string(id) };
        queue().zip(id).is_some_and(|(queue, id)| queue.suspend_delete(&id))
    }

    /// Adds a policy. Since 5.6. The caller frees the id; NULL on failure.
    fn HalonMTA_queue_policy_add(
        fields: c_int, transportid: Text, localip: Text, remoteip: Text, remotemx: Text,
        recipientdomain: Text, jobid: Text, concurrency: usize, tokens: usize, interval: c_double,
        tag: Text, time: c_double,
    ) -> *mut c_char, or null_mut() => {
        let (grouping, tenantid) = (std::ptr::null(), std::ptr::null());
        let condition = RawCondition {
            transportid, localip, remoteip, remotemx, recipientdomain, jobid, grouping, tenantid,
        };
        // SAFETY: terminated text or NULL.
        let (condition, tag) = unsafe { (condition.read(), text::string(tag)) };
        let interval = seconds(interval);
        let limits =
            PolicyUpdate { concurrency, tokens, interval, tag, ttl: ttl(time), ..Default::default() };
        policy_add(None, fields, HALONMTA_POLICY_TYPE_DYNAMIC, condition, Some(limits))
    }

    /// Adds a policy, with grouping, properties and stop. Since 5.12.
    fn HalonMTA_queue_policy_add3(
        fields: c_int, transportid: Text, localip: Text, remoteip: Text, remotemx: Text,
        recipientdomain: Text, jobid: Text, grouping: Text, concurrency: usize, tokens: usize,
        interval: c_double, tag: Text, propv: *mut Text, propl: usize, stop: bool, time: c_double,
    ) -> *mut c_char, or null_mut() => {
        let tenantid = std::ptr::null();
        let condition = RawCondition {
            transportid, localip, remoteip, remotemx, recipientdomain, jobid, grouping, tenantid,
        };
        // SAFETY: terminated text or NULL, and a list of it.
        let (condition, tag, properties) = unsafe {
            (condition.read(), text::string(tag), Some(properties(propv, propl)))
        };
        let interval = seconds(interval);
        let limits = PolicyUpdate {
            concurrency, tokens, interval, tag, properties, stop: Some(stop), ttl: ttl(time),
            ..Default::default()
        };
        policy_add(None, fields, HALONMTA_POLICY_TYPE_DYNAMIC, condition, Some(limits))
    }

    /// Adds a policy, with tenant. Since 6.5.
    fn HalonMTA_queue_policy_add4(
        fields: c_int, transportid: Text, localip: Text, remoteip: Text, remotemx: Text,
        recipientdomain: Text, jobid: Text, grouping: Text, tenantid: Text, concurrency: usize,
        tokens: usize, interval: c_double, tag: Text, propv: *mut Text, propl: usize, stop: bool,
        time: c_double,
    ) -> *mut c_char, or null_mut() => {
        let condition = RawCondition {
            transportid, localip, remoteip, remotemx, recipientdomain, jobid, grouping, tenantid,
        };
        // SAFETY: terminated text or NULL, and a list of it.
        let (condition, tag, properties) = unsafe {
            (condition.read(), text::string(tag), Some(properties(propv, propl)))
        };
        let interval = seconds(interval);
        let limits = PolicyUpdate {
            concurrency, tokens, interval, tag, properties, stop: Some(stop), ttl: ttl(time),
            ..Default::default()
        };
        policy_add(None, fields, HALONMTA_POLICY_TYPE_DYNAMIC, condition, Some(limits))
    }

    /// Adds a policy, with everything. Since 6.8. With a given id, that id is returned.
    fn HalonMTA_queue_policy_add6(
        wanted: Text, fields: c_int, kind: c_int, transportid: Text, localip: Text, remoteip: Text,
        remotemx: Text, recipientdomain: Text, jobid: Text, grouping: Text, tenantid: Text,
        concurrency: usize, tokens: usize, interval: c_double, ratealgorithm: c_int,
        connectinterval: c_double, tag: Text, propv: *mut Text, propl: usize, stop: bool,
        cluster: bool, time: c_double,
    ) -> *mut c_char, or null_mut() => {
        let condition = RawCondition {
            transportid, localip, remoteip, remotemx, recipientdomain, jobid, grouping, tenantid,
        };
        // SAFETY: terminated text or NULL, and a list of it.
        let (wanted, condition, tag, properties) = unsafe {
            (
                text::string(wanted),
                condition.read(),
                text::string(tag),
                Some(properties(propv, propl)),
            )
        };
        let limits = algorithm(ratealgorithm).map(|algorithm| PolicyUpdate {
            concurrency,
            tokens,
            interval: seconds(interval),
            rate_algorithm: Some(algorithm),
            connect_interval: Some(seconds(connectinterval)),
            tag,
            properties,
            stop: Some(stop),
            cluster: Some(cluster),
            ttl: ttl(time),
        });
        policy_add(wanted, fields, kind, condition, limits)
    }

    /// Changes a policy. Since 5.6. False if there is none of that id.
    fn HalonMTA_queue_policy_update(
        id: Text, concurrency: usize, tokens: usize, interval: c_double, tag: Text, time: c_double,
    ) -> bool, or false => {
        // SAFETY: terminated text or NULL.
        let (id, tag) = unsafe { (text::string(id), text::string(tag)) };
        let interval = seconds(interval);
        policy_update(id, Some(PolicyUpdate {
            concurrency, tokens, interval, tag, ttl: ttl(time), ..Default::default()
        }))
    }

    /// Changes a policy, with properties. Since 6.5.
    fn HalonMTA_queue_policy_update2(
        id: Text, concurrency: usize, tokens: usize, interval: c_double, tag: Text,
        propv: *mut Text, propl: usize, time: c_double,
    ) -> bool, or false => {
        // SAFETY: terminated text or NULL, and a list of it.
        let (id, tag, properties) =
            unsafe { (text::string(id), text::string(tag), Some(properties(propv, propl))) };
        let interval = seconds(interval);
        policy_update(id, Some(PolicyUpdate {
            concurrency, tokens, interval, tag, properties, ttl: ttl(time), ..Default::default()
        }))
    }

    /// Changes a policy, with connect interval and cluster. Since 6.5.
    fn HalonMTA_queue_policy_update3(
        id: Text, concurrency: usize, tokens: usize, interval: c_double,
        connectinterval: c_double, tag: Text, propv: *mut Text, propl: usize, cluster: bool,
        time: c_double,
    ) -> bool, or false => {
        // SAFETY: terminated text or NULL, and a list of it.
        let (id, tag, properties) =
            unsafe { (text::string(id), text::string(tag), Some(properties(propv, propl))) };
        policy_update(id, Some(PolicyUpdate {
            concurrency,
            tokens,
            interval: seconds(interval),
            connect_interval: Some(seconds(connectinterval)),
            tag,
            properties,
            cluster: Some(cluster),
            ttl: ttl(time),
            ..Default::default()
        }))
    }

    /// Changes a policy, with everything. Since 6.8.
    fn HalonMTA_queue_policy_update4(
        id: Text, concurrency: usize, tokens: usize, interval: c_double, ratealgorithm: c_int,
        connectinterval: c_double, tag: Text, propv: *mut Text, propl: usize, stop: bool,
        cluster: bool, time: c_double,
    ) -> bool, or false => {
        // SAFETY: terminated text or NULL, and a list of it.
        let (id, tag, properties) =
            unsafe { (text::string(id), text::string(tag), Some(properties(propv, propl))) };
        policy_update(id, algorithm(ratealgorithm).map(|algorithm| PolicyUpdate {
            concurrency,
            tokens,
            interval: seconds(interval),
            rate_algorithm: Some(algorithm),
            connect_interval: Some(seconds(connectinterval)),
            tag,
            properties,
            stop: Some(stop),
            cluster: Some(cluster),
            ttl: ttl(time),
        }))
    }

    /// Deletes a policy. Since 5.6. False if there is none of that id.
    fn HalonMTA_queue_policy_delete(id: Text) -> bool, or false => {
        // SAFETY: terminated text or NULL.
        let id = unsafe { text::string(id) };
        queue().zip(id).is_some_and(|(queue, id)| queue.policy_delete(&id))
    }

    /// Sets by how many hosts limits of cluster-wide policies are divided. Since 6.5.
    fn HalonMTA_queue_policy_divide(hosts: usize) => {
        if let Some(queue) = queue() {
            queue.policy_divide(hosts.max(1));
        }
    }

    /// Adds a list of values of a field. Since 5.8. Adding one again changes nothing.
    fn HalonMTA_queue_list_add(bit: c_int, list: Text) -> bool, or false => {
        // SAFETY: terminated text or NULL.
        let list = unsafe { text::string(list) };
        let (Some(queue), Some(field), Some(list)) = (queue(), field(bit), list) else {
            return false;
        };
        queue.list_add(field, &list)
    }

    /// Adds a value to a list, in effect after a reload. Since 5.8.
    fn HalonMTA_queue_list_item_add(bit: c_int, list: Text, value: Text) -> bool, or false => {
        // SAFETY: terminated text or NULL.
        let (list, value) = unsafe { (text::string(list), text::string(value)) };
        let (Some(queue), Some(field), Some(list), Some(value)) =
            (queue(), field(bit), list, value)
        else {
            return false;
        };
        queue.list_item_add(field, &list, &value)
    }

    /// Removes a value from a list, in effect after a reload. Since 5.8.
    fn HalonMTA_queue_list_item_delete(bit: c_int, list: Text, value: Text) -> bool, or false => {
        // SAFETY: terminated text or NULL.
        let (list, value) = unsafe { (text::string(list), text::string(value)) };
        let (Some(queue), Some(field), Some(list), Some(value)) =
            (queue(), field(bit), list, value)
        else {
            return false;
        };
        queue.list_item_delete(field, &list, &value)
    }

    /// Makes changes to lists take effect. Since 5.8. Field 0 is every field, NULL every list.
    fn HalonMTA_queue_list_reload(bit: c_int, list: Text) -> bool, or false => {
        // SAFETY: terminated text or NULL.
        let list = unsafe { text::string(list) };
        let Some(queue) = queue() else { return false };
        if bit == 0 {
            return queue.list_reload(None, list.as_deref());
        }
        field(bit).is_some_and(|field| queue.list_reload(Some(field), list.as_deref()))
    }
}

/// Bits of fields, ascending.
const FIELDS: [(c_int, QueueField); 8] = [
    (HALONMTA_QUEUE_TRANSPORTID, QueueField::TransportId),
    (HALONMTA_QUEUE_LOCALIP, QueueField::LocalIp),
    (HALONMTA_QUEUE_REMOTEIP, QueueField::RemoteIp),
    (HALONMTA_QUEUE_REMOTEMX, QueueField::RemoteMx),
    (HALONMTA_QUEUE_RECIPIENTDOMAIN, QueueField::RecipientDomain),
    (HALONMTA_QUEUE_JOBID, QueueField::JobId),
    (HALONMTA_QUEUE_GROUPING, QueueField::Grouping),
    (HALONMTA_QUEUE_TENANTID, QueueField::TenantId),
];

/// Characters of a tag, as in the configuration of suspends.
const MAX_TAG: usize = 32;
