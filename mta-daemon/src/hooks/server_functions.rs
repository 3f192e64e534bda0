//! The daemon as the server that scripts ask.

use std::net::IpAddr;
use std::sync::{Arc, Weak};

use queue::policy::Limits;
use queue::policy::dynamic::NewDynamic;
use queue::quota::Usage;
use queue::suspend::NewSuspend;
use script_host::server::{Reply, Server};

use crate::context::Core;
use crate::services::CoreSlot;

/// The daemon of a slot; until it runs, it knows nothing.
pub(crate) fn server(slot: &CoreSlot) -> Arc<dyn Server> {
    Arc::new(DaemonServer(Arc::clone(slot)))
}

struct DaemonServer(CoreSlot);

impl DaemonServer {
    fn ask<T>(&self, work: impl FnOnce(&Core) -> Option<T>) -> Reply<Option<T>> {
        Reply::now(self.0.get().and_then(Weak::upgrade).and_then(|core| work(&core)))
    }
}

impl Server for DaemonServer {
    fn add_suspend(&self, new: NewSuspend) -> Reply<Option<Box<str>>> {
        self.ask(|core| core.queue.add_suspend(new).ok())
    }

    fn add_policy(&self, new: NewDynamic) -> Reply<Option<Box<str>>> {
        self.ask(|core| {
            let algorithm = core.queue.rate_algorithm(new.fields);
            let new = NewDynamic { then: Limits { algorithm, ..new.then }, ..new };
            core.queue.add_policy(new).ok()
        })
    }

    fn delete_policy(&self, id: &str) -> Reply<Option<bool>> {
        self.ask(|core| Some(core.queue.delete_policy(id)))
    }

    fn quota(&self, name: &str) -> Reply<Option<Usage>> {
        self.ask(|core| Some(core.queue.lock().quota(name)))
    }

    fn connections(&self, serverid: &str, remote: Option<IpAddr>) -> Reply<Option<u64>> {
        self.ask(|core| {
            let all = core.stats.servers.get(serverid)?.connections.read();
            let Some(remote) = remote else { return Some(all) };
            let entries = core.inbound.list();
            let from_there = entries.iter().filter(|entry| {
                let from = entry.facts.ends.map(|ends| ends.remote.ip().to_canonical());
                entry.facts.serverid.as_str() == serverid && from == Some(remote)
            });
            Some(from_there.count() as u64)
        })
    }
}
