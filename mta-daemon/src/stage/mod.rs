//! The live stage: a second running configuration, for some of the connections.
//!
//! A stage is a [`Generation`] of its own beside the one in force, with its breakpoints compiled in. It
//! takes new connections that match its conditions; the messages that it accepts are marked with its id
//! and go by its configuration as long as it stands, then by the one in force, so nothing is ever left
//! without scripts. [`session`] holds what its scripts tell a debugger.

pub(crate) mod session;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use control::pb;
use mta_types::ServerId;
use queue::IpNet;

use crate::context::Core;
use crate::generation::{Generation, Server};
use session::Session;

/// A second configuration in use.
pub(crate) struct Stage {
    pub(crate) id: Arc<str>,
    conditions: Conditions,
    generation: Arc<Generation>,
    pub(crate) session: Arc<Session>,
    since: Instant,
    /// Connections so far.
    count: AtomicU64,
}

impl Stage {
    pub(crate) fn new(
        id: Arc<str>,
        conditions: Conditions,
        generation: Generation,
        session: Arc<Session>,
    ) -> Self {
        let generation = Arc::new(generation);
        session.set_generation(&generation);
        Self {
            id,
            conditions,
            generation,
            session,
            since: Instant::now(),
            count: AtomicU64::new(0),
        }
    }

    /// Whether it takes no more connections: its time is over, or it had as many as it should.
    pub(crate) fn is_expired(&self) -> bool {
        let Conditions { time, count, .. } = self.conditions;
        time.is_some_and(|time| self.since.elapsed() >= time)
            || (count > 0 && self.count.load(Ordering::Relaxed) >= count)
    }

    /// Its server for a new connection, if the connection is one for it; `lot` is drawn from 0 to 1.
    fn server_for(&self, remote: Option<IpAddr>, id: &ServerId, lot: f32) -> Option<&Arc<Server>> {
        let server = self.generation.server(id)?;
        if !self.conditions.match_connection(remote, id, lot) || self.is_expired() {
            return None;
        }
        let most = if self.conditions.count == 0 { u64::MAX } else { self.conditions.count };
        let one_more = |count: u64| (count < most).then(|| count + 1);
        self.count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok()?;
        Some(server)
    }

    pub(crate) fn status(&self) -> pb::ConfigGreenStatusResponse {
        pb::ConfigGreenStatusResponse {
            id: self.id.to_string(),
            expired: self.is_expired(),
            time: self.since.elapsed().as_secs(),
            count: self.count.load(Ordering::Relaxed),
            conditions: Some(self.conditions.wire.clone()),
        }
    }
}

/// Which connections a stage takes. What is empty or 0 asks for nothing.
#[derive(Debug)]
pub(crate) struct Conditions {
    remoteips: Vec<IpNet>,
    serverids: Vec<ServerId>,
    /// A share of those that match the others.
    probability: f32,
    time: Option<Duration>,
    /// Connections.
    count: u64,
    /// As they were given.
    wire: pb::ConfigGreenConditions,
}

impl Conditions {
    /// Reads conditions of a request.
    ///
    /// # Errors
    ///
    /// What is no address or network, no share, or no server of this daemon.
    pub(crate) fn read(
        wire: pb::ConfigGreenConditions,
        is_server: impl Fn(&str) -> bool,
    ) -> Result<Self, String> {
        let network = |text: &String| {
            text.parse().map_err(|_| format!("\"{text}\" is no address and no network"))
        };
        if let Some(unknown) = wire.serverids.iter().find(|id| !is_server(id)) {
            return Err(format!("there is no server \"{unknown}\""));
        }
        if !(0.0..=1.0).contains(&wire.probability) {
            return Err(format!("{} is no probability from 0 to 1", wire.probability));
        }
        Ok(Self {
            remoteips: wire.remoteips.iter().map(network).collect::<Result<_, _>>()?,
            serverids: wire.serverids.iter().map(|id| id.as_str().into()).collect(),
            probability: wire.probability,
            time: (wire.time > 0).then(|| Duration::from_secs(wire.time)),
            count: wire.count,
            wire,
        })
    }

    fn match_connection(&self, remote: Option<IpAddr>, id: &ServerId, lot: f32) -> bool {
        let is_from = |ip: IpAddr| self.remoteips.iter().any(|net| net.contains(ip));
        (self.remoteips.is_empty() || remote.is_some_and(is_from))
            && (self.serverids.is_empty() || self.serverids.contains(id))
            && (self.probability == 0.0 || lot < self.probability)
    }
}

/// The place of the stage: there is one at a time.
#[derive(Default)]
pub(crate) struct StageSlot(ArcSwapOption<Stage>);

impl StageSlot {
    pub(crate) fn current(&self) -> Option<Arc<Stage>> {
        self.0.load_full()
    }

    /// Puts a stage in force in place of an expired one. One at a time calls this.
    ///
    /// # Errors
    ///
    /// Another one stands.
    pub(crate) fn start(&self, stage: Stage) -> Result<Arc<Stage>, String> {
        if let Some(known) = self.current() {
            if !known.is_expired() {
                return Err(format!("the live stage \"{}\" is there already", known.id));
            }
            self.end(&known);
        }
        let stage = Arc::new(stage);
        tracing::info!(stage = %stage.id, "stage.started");
        self.0.store(Some(Arc::clone(&stage)));
        Ok(stage)
    }

    /// Ends a stage, unless that has been done: its scripts that stand at breakpoints go on, and what it
    /// accepted goes by the configuration in force.
    pub(crate) fn end(&self, stage: &Arc<Stage>) {
        let found = self.0.compare_and_swap(stage, None);
        if found.as_ref().is_some_and(|found| Arc::ptr_eq(found, stage)) {
            tracing::info!(
                stage = %stage.id,
                connections = stage.count.load(Ordering::Relaxed),
                "stage.ended"
            );
            stage.session.end();
        }
    }
}

impl Core {
    /// The server for a new connection: that of the live stage if the connection is one for it.
    pub(crate) fn staged(&self, server: Arc<Server>, remote: Option<IpAddr>) -> Arc<Server> {
        let Some(stage) = self.stage.current() else { return server };
        let (random, _) = uuid::Uuid::new_v4().as_u64_pair();
        // 24 bits are what a number of this type holds below 1.
        let lot = (random >> 40) as f32 / (1_u32 << 24) as f32;
        stage.server_for(remote, &server.id, lot).cloned().unwrap_or(server)
    }

    /// The configuration for what a live stage accepted; the one in force without a stage, and when that
    /// stage has ended.
    pub(crate) fn generation_of(&self, stageid: Option<&str>) -> Arc<Generation> {
        let stage = stageid.and_then(|id| self.stage.current().filter(|stage| *stage.id == *id));
        stage.map_or_else(|| self.generation.load_full(), |stage| Arc::clone(&stage.generation))
    }

    /// The configuration that the script which runs in this task belongs to, while its stage stands; else
    /// the one in force.
    pub(crate) fn generation_of_script(&self) -> Arc<Generation> {
        session::generation().unwrap_or_else(|| self.generation.load_full())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(wire: pb::ConfigGreenConditions) -> Result<Conditions, String> {
        Conditions::read(wire, |id| id == "in")
    }

    #[test]
    fn kinds_of_conditions_are_anded_and_what_is_empty_asks_for_nothing() {
        let ip = |text: &str| Some(text.parse().unwrap());
        let any = read(pb::ConfigGreenConditions::default()).unwrap();
        assert!(any.match_connection(None, &"in".into(), 0.999));
        let some = read(pb::ConfigGreenConditions {
            remoteips: vec!["192.0.2.0/24".into(), "2001:db8::1".into()],
            serverids: vec!["in".into()],
            probability: 0.25,
            ..Default::default()
        })
        .unwrap();
        for (remote, id, lot, wanted) in [
            (ip("192.0.2.9"), "in", 0.24, true),
            (ip("2001:db8::1"), "in", 0.0, true),
            (ip("192.0.2.9"), "in", 0.25, false),
            (ip("192.0.2.9"), "other", 0.0, false),
            (ip("198.51.100.1"), "in", 0.0, false),
            (None, "in", 0.0, false),
        ] {
            let found = some.match_connection(remote, &id.into(), lot);
            assert_eq!(found, wanted, "{remote:?} {id} {lot}");
        }
    }

    #[test]
    fn conditions_that_cannot_be_met_are_refused() {
        let with = |change: fn(&mut pb::ConfigGreenConditions)| {
            let mut wire = pb::ConfigGreenConditions::default();
            change(&mut wire);
            read(wire).unwrap_err()
        };
        assert!(with(|wire| wire.remoteips.push("host".into())).contains("host"));
        assert!(with(|wire| wire.serverids.push("out".into())).contains("out"));
        assert!(with(|wire| wire.probability = 1.5).contains("1.5"));
        assert!(with(|wire| wire.probability = f32::NAN).contains("NaN"));
    }
}
