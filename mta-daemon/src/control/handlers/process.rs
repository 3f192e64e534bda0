//! `process-stats` and `plugin command`.

use std::sync::Arc;

use control::Message;
use control::pb::process_stats_response as stats;
use control::pb::{self, ProcessStatsResponse};

use crate::context::Core;
use crate::control::dispatch::{Answer, ControlError};
use crate::stats::{ScriptStats, ServerStats};

/// All counters of this moment.
pub(crate) fn stats(core: &Core) -> ProcessStatsResponse {
    let generation = core.generation.load();
    let resolver = generation.resolver.stats();
    let elapsed = core.stats.started.elapsed();
    ProcessStatsResponse {
        process: Some(stats::Process {
            pid: std::process::id().into(),
            runtime: elapsed.as_secs(),
            version: Some(version()),
            elapsed: elapsed.as_secs_f64(),
        }),
        resolver: Some(stats::Resolver {
            pending: resolver.pending,
            running: resolver.running,
            maxrunning: resolver.max_running,
            ..stats::Resolver::default()
        }),
        servers: core
            .stats
            .servers
            .iter()
            .map(|(id, server)| stats::Server {
                serverid: id.to_string(),
                connections: Some(stats::server::Connections {
                    concurrent: server.connections.read(),
                    maxconcurrent: generation.server(id).map_or(0, |s| s.max_connections),
                }),
                scripts: Some(server_scripts(server)),
            })
            .collect(),
        queue: Some(queue(core, &generation)),
        threads: None,
        metrics: core.metrics.list(),
        plugins: plugins(core),
        scripting: Some(scripting(core)),
    }
}

/// What is known of plugins; nothing where none is loaded.
fn plugins(core: &Core) -> Option<stats::Plugins> {
    core.plugins.ids().next()?;
    let blocking = stats::plugins::Blocking {
        concurrent: core.plugins.blocking_waits() as u64,
        pending: core.plugins.queued_waits() as u64,
        maxconcurrent: plugin_host::MAX_BLOCKING_WAITS as u64,
    };
    Some(stats::Plugins { blocking: Some(blocking) })
}

/// What scripts share.
fn scripting(core: &Core) -> stats::Scripting {
    let memory = &core.scripts.memory;
    let memory = stats::scripting::Memory {
        size: memory.len() as u64,
        bytes: memory.octets() as u64,
        maxbytes: memory.max_octets() as u64,
    };
    stats::Scripting { memory: Some(memory) }
}

/// The version of this program.
pub(crate) fn version_response() -> pb::VersionResponse {
    let stats::process::Version { major, minor, patch } = version();
    pb::VersionResponse { major, minor, patch }
}

fn version() -> stats::process::Version {
    let part = |text: &str| text.parse().unwrap_or(0);
    stats::process::Version {
        major: part(env!("CARGO_PKG_VERSION_MAJOR")),
        minor: part(env!("CARGO_PKG_VERSION_MINOR")),
        patch: part(env!("CARGO_PKG_VERSION_PATCH")),
    }
}

fn script(stats: &ScriptStats) -> Option<stats::Script> {
    Some(stats::Script {
        running: stats.running.read(),
        finished: stats.finished.read(),
        errors: stats.errors.read(),
        suspended: stats.suspended.read(),
        ..stats::Script::default()
    })
}

fn server_scripts(server: &ServerStats) -> stats::server::Scripts {
    stats::server::Scripts {
        connect: script(&server.connect),
        proxy: script(&server.proxy),
        helo: script(&server.helo),
        auth: script(&server.auth),
        mailfrom: script(&server.mailfrom),
        rcptto: script(&server.rcptto),
        eod: script(&server.eod),
        disconnect: script(&server.disconnect),
    }
}

fn queue(core: &Core, generation: &crate::generation::Generation) -> stats::Queue {
    let numbers = core.queue.lock().stats();
    let size = |n: usize| n as u64;
    let pool = &core.stats.pool;
    stats::Queue {
        loader: None,
        scripts: Some(stats::queue::Scripts {
            predelivery: script(&core.stats.predelivery),
            postdelivery: script(&core.stats.postdelivery),
        }),
        queue: Some(stats::queue::Queues {
            defer: Some(stats::queue::queues::Defer { size: size(numbers.defer) }),
            active: Some(stats::queue::queues::Active {
                size: size(numbers.active),
                priorities: numbers
                    .active_priorities
                    .iter()
                    .map(|n| stats::queue::queues::active::Priority { size: size(*n) })
                    .collect(),
            }),
        }),
        freeze: Some(stats::queue::Freeze {
            hold: Some(stats::queue::freeze::Hold { size: size(numbers.hold) }),
            update: Some(stats::queue::freeze::Update {
                size: size(numbers.update),
                pending: size(numbers.update_pending),
            }),
        }),
        policy: Some(stats::queue::Policy {
            concurrency: Some(stats::queue::policy::Concurrency {
                counters: size(numbers.concurrency_counters),
                suspends: size(numbers.concurrency_suspends),
            }),
            rate: Some(stats::queue::policy::Rate {
                buckets: size(numbers.rate_buckets),
                suspends: size(numbers.rate_suspends),
            }),
            dynamic: Some(stats::queue::policy::Dynamic {
                suspends: size(numbers.dynamic_suspends),
                conditions: size(numbers.dynamic_conditions),
            }),
        }),
        pickup: Some(stats::queue::Pickup {
            skips: numbers.pickup_skips,
            misses: numbers.pickup_misses,
            count: numbers.pickup_count,
            pending: size(numbers.pickup_pending),
        }),
        connections: Some(stats::queue::Connections {
            concurrent: core.stats.outbound.read(),
            pooling: Some(stats::Cache {
                size: size(core.pool.size()),
                hits: pool.hits.read(),
                misses: pool.misses.read(),
                expires: pool.expires.read(),
                evicts: pool.evicts.read(),
                skips: pool.skips.read(),
                maxsize: generation.running.queues.pooling_size.into(),
            }),
            maxconcurrent: generation.running.queues.concurrency_total.get().into(),
        }),
        quota: Some(stats::queue::Quota { size: size(numbers.quotas) }),
        delivery: Some(stats::queue::Delivery {
            delivered: core.stats.delivered.read(),
            delayed: core.stats.delayed.read(),
            failed: core.stats.failed.read(),
        }),
        release: None,
    }
}

/// Hands words to a plugin; its text is the answer, its refusal the error.
pub(crate) async fn plugin_command(core: &Arc<Core>, request: pb::PluginCommandRequest) -> Answer {
    let core = Arc::clone(core);
    // Plugins may block briefly in a command.
    let answer =
        tokio::task::spawn_blocking(move || core.plugins.command(&request.id, &request.arguments))
            .await?;
    let response = answer.map_err(|error| ControlError(error.to_string()))?;
    Ok(pb::PluginCommandResponse { response }.encode_to_vec())
}
