//! The chapter *Queue and server* of the standard library: functions that need a mail server.
//!
//! [`register`] reads their arguments and makes their values; what they ask for goes to a [`Server`]:
//! `smtpd` is one itself, `hsh` calls one over its control socket, and its tests have one of their own.
//! [`metrics`] are those that scripts move.

pub mod metric_functions;
pub mod metrics;
mod rules;

use std::net::IpAddr;
use std::sync::Arc;

use control::pb;
use hsl::host::{NativeStep, Registry, Thrown};
use hsl::{Array, Value};
use hsl_std::services::BoxFuture;
use queue::policy::dynamic::NewDynamic;
use queue::quota::Usage;
use queue::suspend::NewSuspend;
use queue::{Field, FieldSet};

use crate::hooks::values::put;

/// A set of fields for the control protocol, which has no flag for a tenant.
pub fn fields(set: FieldSet) -> pb::Fields {
    pb::Fields {
        transportid: set.contains(Field::TransportId),
        localip: set.contains(Field::LocalIp),
        remoteip: set.contains(Field::RemoteIp),
        remotemx: set.contains(Field::RemoteMx),
        recipientdomain: set.contains(Field::RecipientDomain),
        jobid: set.contains(Field::JobId),
        grouping: set.contains(Field::Grouping),
    }
}

/// A mail server, as scripts ask it. What it refuses, and what it does not know, is `None`.
pub trait Server: Send + Sync {
    /// Adds a suspension, or updates an equal one; returns its id.
    fn add_suspend(&self, new: NewSuspend) -> Reply<Option<Box<str>>>;

    /// Adds a dynamic condition, or updates an equal one; returns its id.
    fn add_policy(&self, new: NewDynamic) -> Reply<Option<Box<str>>>;

    /// Deletes a dynamic condition; tells whether it was there.
    fn delete_policy(&self, id: &str) -> Reply<Option<bool>>;

    /// What is queued under a quota's name.
    fn quota(&self, name: &str) -> Reply<Option<Usage>>;

    /// Connections open on a virtual server now, of a peer if one is named.
    fn connections(&self, serverid: &str, remote: Option<IpAddr>) -> Reply<Option<u64>>;
}

/// An answer that is there, or that has to be waited for.
pub enum Reply<T> {
    /// It is there.
    Now(Result<T, Thrown>),
    /// It comes.
    Later(BoxFuture<Result<T, Thrown>>),
}

impl<T> Reply<T> {
    /// An answer that is there.
    pub const fn now(value: T) -> Self {
        Self::Now(Ok(value))
    }

    fn then(self, show: impl FnOnce(T) -> Value + Send + 'static) -> NativeStep
    where
        T: Send + 'static,
    {
        match self {
            Self::Now(result) => result.map(show).into(),
            Self::Later(future) => NativeStep::suspend(async move { future.await.map(show) }),
        }
    }
}

/// Registers the functions, apart from those of metrics.
pub fn register(registry: &mut Registry, server: &Arc<dyn Server>) {
    let asked = Arc::clone(server);
    registry.function(
        "queue_suspend(array fields, number ttl, array options = []) -> array or none",
        "Stops the pickup of messages that match all fields for so many seconds.",
        move |_, args| match rules::suspend(args) {
            Ok(new) => asked.add_suspend(new).then(added),
            Err(thrown) => NativeStep::Throw(thrown),
        },
    );
    let asked = Arc::clone(server);
    registry.function(
        "queue_policy(array fields, array condition, array policy, number ttl, array options = []) \
         -> array or none",
        "Sets limits on the deliveries of a configured policy that match, for so many seconds.",
        move |_, args| match rules::policy(args) {
            Ok(new) => asked.add_policy(new).then(added),
            Err(thrown) => NativeStep::Throw(thrown),
        },
    );
    let asked = Arc::clone(server);
    registry.function(
        "queue_policy_delete(string id) -> boolean or none",
        "Deletes what queue_policy added; true when it was there.",
        move |_, args| asked.delete_policy(text(args.first())).then(Value::from),
    );
    let asked = Arc::clone(server);
    registry.function(
        "queue_quota(string name) -> array",
        "Count and bytes of the messages queued under a quota's name.",
        move |_, args| {
            asked.quota(text(args.first())).then(|usage| {
                let mut out = Array::new();
                if let Some(usage) = usage {
                    put(&mut out, "count", usage.count as f64);
                    put(&mut out, "bytes", usage.bytes as f64);
                }
                Value::Array(out)
            })
        },
    );
    let asked = Arc::clone(server);
    registry.function(
        "server_concurrency(string serverid [, string address]) -> number or none",
        "Connections open on a server now, of an address if one is given.",
        move |_, args| {
            let remote = match args.get(1) {
                None | Some(Value::None) => None,
                given => match text(given).parse::<IpAddr>() {
                    Ok(address) => Some(address.to_canonical()),
                    Err(_) => {
                        let error = format!("server_concurrency: {} is no address", text(given));
                        return NativeStep::Throw(Thrown::new(error));
                    }
                },
            };
            let count = asked.connections(text(args.first()), remote);
            count.then(|count| count.map_or(Value::None, |count| Value::Number(count as f64)))
        },
    );
}

fn text(value: Option<&Value>) -> &str {
    value.and_then(Value::as_text).unwrap_or_default()
}

/// The id of what was added; none when the server refused it.
fn added(id: Option<Box<str>>) -> Value {
    id.map_or(Value::None, |id| Value::map([("id", Value::from(&*id))]))
}
