//! The functions of scripts that are about a server: they ask the one that listens on the control socket
//! of the configuration.
//!
//! Without such a server no message is queued under a quota, and no server has connections; rules for
//! deliveries are an error: to lose one without a word would be worse. So is what the protocol has no
//! place for.

use std::net::IpAddr;
use std::sync::Arc;

use control::client::{Client, ClientError, Endpoint, Timeouts};
use control::command::{Call, call};
use control::{Message, pb};
use hsl::host::Thrown;
use queue::policy::Property;
use queue::policy::dynamic::{DynamicKind, NewDynamic, OnEqual};
use queue::quota::Usage;
use queue::suspend::NewSuspend;
use queue::{Field, Pattern, PerField};
use script_host::server::{Reply, Server, fields};

/// The server of a shell.
pub(crate) fn server(endpoint: Option<Endpoint>) -> Arc<dyn Server> {
    Arc::new(RemoteServer { endpoint })
}

/// What a call gives instead of an answer.
struct Instead<T> {
    /// There is no server.
    absent: Option<T>,
    /// The server does not do it.
    refused: Option<T>,
}

/// A server behind its control socket.
struct RemoteServer {
    endpoint: Option<Endpoint>,
}

impl RemoteServer {
    /// Calls the server; `read` makes the value. What is `None` in `instead` is an error of the script.
    fn call<Q, R, T>(
        &self,
        function: &'static str,
        call: Call<Q, R>,
        request: Q,
        read: impl FnOnce(R) -> T + Send + 'static,
        instead: Instead<T>,
    ) -> Reply<T>
    where
        Q: Message + 'static,
        R: Message + Default + 'static,
        T: Send + 'static,
    {
        let Some(endpoint) = self.endpoint.clone() else {
            let none = || Thrown::new(format!("{function}: there is no server in this program"));
            return Reply::Now(instead.absent.ok_or_else(none));
        };
        let work = move || {
            let mut client = Client::connect(&endpoint, Timeouts::default())?;
            client.call(call, &request)
        };
        let failed =
            move |error: &dyn std::fmt::Display| Thrown::new(format!("{function}: {error}"));
        Reply::Later(Box::pin(async move {
            let answer = tokio::task::spawn_blocking(work).await.map_err(|error| failed(&error))?;
            let error = match answer {
                Ok(answer) => return Ok(read(answer)),
                Err(error) => error,
            };
            let instead = match &error {
                ClientError::Missing(_) | ClientError::Refused(_) => instead.absent,
                ClientError::Failed(_) => instead.refused,
                _ => None,
            };
            instead.ok_or_else(|| failed(&error))
        }))
    }
}

impl Server for RemoteServer {
    fn add_suspend(&self, new: NewSuspend) -> Reply<Option<Box<str>>> {
        match suspend_request(&new) {
            Ok(request) => {
                let id = |answer: pb::SuspendAddResponse| Some(answer.id.into());
                self.call("queue_suspend", call::SUSPEND_ADD, request, id, RULE)
            }
            Err(thrown) => Reply::Now(Err(thrown)),
        }
    }

    fn add_policy(&self, new: NewDynamic) -> Reply<Option<Box<str>>> {
        match policy_request(&new) {
            Ok(request) => {
                let id = |answer: pb::PolicyConditionAddResponse| Some(answer.id.into());
                self.call("queue_policy", call::CONDITION_ADD, request, id, RULE)
            }
            Err(thrown) => Reply::Now(Err(thrown)),
        }
    }

    fn delete_policy(&self, id: &str) -> Reply<Option<bool>> {
        let request = pb::PolicyConditionDeleteRequest { id: id.to_owned() };
        let is_done = |answer: pb::PolicyConditionDeleteResponse| Some(answer.affected > 0);
        let instead = Instead { absent: None, refused: None };
        self.call("queue_policy_delete", call::CONDITION_DELETE, request, is_done, instead)
    }

    fn quota(&self, name: &str) -> Reply<Option<Usage>> {
        let request = pb::QueueQuotaRequest { quota: name.to_owned() };
        let usage = |answer: pb::QueueQuotaResponse| {
            Some(Usage { count: answer.count, bytes: answer.bytes })
        };
        let instead = Instead { absent: Some(Some(Usage::default())), refused: None };
        self.call("queue_quota", call::QUEUE_QUOTA, request, usage, instead)
    }

    fn connections(&self, serverid: &str, remote: Option<IpAddr>) -> Reply<Option<u64>> {
        let (function, id) = ("server_concurrency", serverid.to_owned());
        let instead = Instead { absent: Some(None), refused: None };
        let Some(remote) = remote else {
            let count = move |stats: pb::ProcessStatsResponse| {
                let server = stats.servers.into_iter().find(|server| server.serverid == id)?;
                Some(server.connections?.concurrent)
            };
            return self.call(function, call::PROCESS_STATS, (), count, instead);
        };
        let condition = pb::server_connections_list_request::Condition {
            serverid: id,
            remoteip: remote.to_string(),
            ..Default::default()
        };
        let request =
            pb::ServerConnectionsListRequest { condition: Some(condition), ..Default::default() };
        let count =
            |answer: pb::ServerConnectionsListResponse| Some(answer.connections.len() as u64);
        self.call(function, call::SERVER_CONNECTIONS_LIST, request, count, instead)
    }
}

/// A rule that the server refuses gives none, as in its own scripts; one that is lost is an error.
const RULE: Instead<Option<Box<str>>> = Instead { absent: None, refused: Some(None) };

fn suspend_request(new: &NewSuspend) -> Result<pb::SuspendAddRequest, Thrown> {
    let refused = [
        (new.on_equal == OnEqual::Keep, "update"),
        (!new.properties.is_empty(), "properties"),
        (new.matches.get(Field::TenantId).is_some(), "tenantid"),
    ];
    expressible("queue_suspend", &refused)?;
    Ok(pb::SuspendAddRequest {
        id: new.id.as_deref().unwrap_or_default().to_owned(),
        transportid: pattern(&new.matches, Field::TransportId).unwrap_or_default(),
        localip: pattern(&new.matches, Field::LocalIp).unwrap_or_default(),
        remoteip: pattern(&new.matches, Field::RemoteIp).unwrap_or_default(),
        remotemx: pattern(&new.matches, Field::RemoteMx).unwrap_or_default(),
        recipientdomain: pattern(&new.matches, Field::RecipientDomain).unwrap_or_default(),
        jobid: pattern(&new.matches, Field::JobId).unwrap_or_default(),
        grouping: pattern(&new.matches, Field::Grouping).unwrap_or_default(),
        ttl: new.ttl.map_or(0.0, |ttl| ttl.as_secs_f64()),
        tag: new.tag.as_ref().map(ToString::to_string).unwrap_or_default(),
    })
}

fn policy_request(new: &NewDynamic) -> Result<pb::PolicyConditionAddRequest, Thrown> {
    let then = &new.then;
    let is_tenant = new.fields.contains(Field::TenantId);
    let refused = [
        (new.on_equal == OnEqual::Keep, "update"),
        (new.kind != DynamicKind::Dynamic, "type"),
        (then.connectinterval.is_some(), "connectinterval"),
        (then.cluster, "cluster"),
        (is_tenant || new.matches.get(Field::TenantId).is_some(), "tenantid"),
        (then.properties.iter().any(|(_, one)| !matches!(one, Property::Text(_))), "properties"),
    ];
    expressible("queue_policy", &refused)?;
    let text = |field| pattern(&new.matches, field).map(|value| pb::StringValue { value });
    let properties = then.properties.iter().map(|(key, value)| match value {
        Property::Text(text) => (key.to_string(), text.to_string()),
        Property::Number(_) | Property::Boolean(_) => unreachable!("refused above"),
    });
    Ok(pb::PolicyConditionAddRequest {
        id: new.id.as_deref().unwrap_or_default().to_owned(),
        fields: Some(fields(new.fields)),
        r#if: Some(pb::PolicyIf {
            transportid: text(Field::TransportId),
            localip: text(Field::LocalIp),
            remoteip: text(Field::RemoteIp),
            remotemx: text(Field::RemoteMx),
            recipientdomain: text(Field::RecipientDomain),
            jobid: text(Field::JobId),
            grouping: text(Field::Grouping),
        }),
        then: Some(pb::PolicyThen {
            rate: then.rate.map(|rate| pb::PolicyRate {
                count: rate.count().into(),
                interval: rate.interval().as_secs_f64(),
            }),
            concurrency: then.concurrency.map_or(0, |limit| limit.get().into()),
            tag: then.tag.as_ref().map(ToString::to_string).unwrap_or_default(),
            stop: then.stop,
            properties: properties.collect(),
        }),
        ttl: new.ttl.map_or(0.0, |ttl| ttl.as_secs_f64()),
    })
}

/// Refuses what a script asks for and the control protocol cannot say.
fn expressible(function: &str, refused: &[(bool, &str)]) -> Result<(), Thrown> {
    match refused.iter().find(|(is_asked, _)| *is_asked) {
        Some((_, what)) => {
            Err(Thrown::new(format!("{function}: {what} works in the scripts of the server only")))
        }
        None => Ok(()),
    }
}

fn pattern(matches: &PerField<Pattern>, field: Field) -> Option<String> {
    matches.get(field).map(|pattern| pattern.as_str().to_owned())
}
