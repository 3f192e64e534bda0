//! The chapter *Queue and server* of the standard library: functions that need a daemon. Those of `hsh`
//! keep to what that process knows.

use std::sync::{Arc, Weak};

use hsl::host::Registry;
use hsl::{Array, Value};

use crate::hooks::shared::put;
use crate::services::CoreSlot;

/// Registers the functions.
pub(crate) fn register(registry: &mut Registry, slot: &CoreSlot) {
    let core = Arc::clone(slot);
    registry.function(
        "queue_quota(string name) -> array",
        "Count and bytes of the messages queued under a quota's name.",
        move |_, args| {
            let mut out = Array::new();
            if let Some(core) = core.get().and_then(Weak::upgrade) {
                let name = args.first().and_then(Value::as_text).unwrap_or_default();
                let usage = core.queue.lock().quota(name);
                put(&mut out, "count", usage.count as f64);
                put(&mut out, "bytes", usage.bytes as f64);
            }
            Value::Array(out)
        },
    );
    let core = Arc::clone(slot);
    registry.function(
        "server_concurrency(string serverid [, string address]) -> number or none",
        "Connections open on a server now.",
        move |_, args| -> Value {
            let server = args.first().and_then(Value::as_text).unwrap_or_default();
            let count = core
                .get()
                .and_then(Weak::upgrade)
                .and_then(|core| core.stats.servers.get(server).map(|s| s.connections.read()));
            count.map_or(Value::None, |count| Value::Number(count as f64))
        },
    );
}
