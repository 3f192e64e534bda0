//! The statistics page: what the daemon counts, renewed every few seconds.

use std::time::Instant;

use askama::Template;
use axum::{
    Extension,
    extract::{Query, State as Shared},
    response::Response,
};
use control::{
    command::call,
    pb::{
        ProcessStatsResponse,
        process_stats_response::{Script, Server},
    },
    stats,
};

use super::{
    error::PageError,
    frame::{self, Frame, Section},
    render, show,
    stats_history::Rates,
};
use crate::{middleware::login::Visitor, state::State};

/// Seconds between renewals, with script and without.
const INTERVAL: u32 = 5;

/// `GET /stats`; with `fragment=1` only the part that changes.
///
/// # Errors
///
/// A page, when the daemon does not answer.
pub async fn show(
    Shared(state): Shared<State>,
    Extension(visitor): Extension<Visitor>,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Result<Response, PageError> {
    let field = |name| pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let host = frame::host(&state, field("host"))?;
    let frame = Frame::new(&state, &visitor, Section::Stats, host);
    let answer = host.daemon.call(call::PROCESS_STATS, &()).await.map_err(|e| frame.fail(e))?;
    let rates = state.stats.note(&host.name, &answer, Instant::now());
    let live = Live::new(&answer, rates);
    if field("fragment").is_some() {
        return Ok(render(&live));
    }
    let fragment = frame.url("/stats");
    let separator = if fragment.contains('?') { '&' } else { '?' };
    let fragment = format!("{fragment}{separator}fragment=1");
    Ok(render(&View { frame: &frame, live: &live, fragment, interval: INTERVAL }))
}

#[derive(Template)]
#[template(path = "views/stats_show.html")]
struct View<'a> {
    frame: &'a Frame,
    live: &'a Live,
    fragment: String,
    interval: u32,
}

/// The part that changes.
#[derive(Template)]
#[template(path = "views/stats_live.html")]
struct Live {
    facts: Vec<(&'static str, String)>,
    tiles: Vec<Tile>,
    servers: Vec<ServerRow>,
    hooks: Vec<HookRow>,
    others: Vec<Group>,
}

/// A large number.
struct Tile {
    label: &'static str,
    value: String,
    note: String,
    link: Option<&'static str>,
}

struct ServerRow {
    name: String,
    connections: String,
    limit: String,
    received: String,
}

struct HookRow {
    place: String,
    hook: &'static str,
    pending: String,
    running: String,
    suspended: String,
    finished: String,
    errors: u64,
}

/// All other numbers of a part, by their dotted names.
struct Group {
    title: String,
    samples: Vec<(String, String)>,
}

impl Live {
    fn new(stats: &ProcessStatsResponse, rates: Option<Rates>) -> Self {
        Self {
            facts: facts(stats),
            tiles: tiles(stats, rates),
            servers: stats.servers.iter().map(server_row).collect(),
            hooks: hooks(stats),
            others: others(stats),
        }
    }
}

fn facts(stats: &ProcessStatsResponse) -> Vec<(&'static str, String)> {
    let process = stats.process.unwrap_or_default();
    let version = process.version.unwrap_or_default();
    #[expect(clippy::cast_precision_loss, reason = "exact for millions of years")]
    let runtime = show::span(process.runtime as f64);
    vec![
        ("Version", format!("{}.{}.{}", version.major, version.minor, version.patch)),
        ("Process", process.pid.to_string()),
        ("Running for", runtime),
    ]
}

fn tiles(stats: &ProcessStatsResponse, rates: Option<Rates>) -> Vec<Tile> {
    let queue = stats.queue.clone().unwrap_or_default();
    let queues = queue.queue.clone().unwrap_or_default();
    let freeze = queue.freeze.unwrap_or_default();
    let delivery = queue.delivery.unwrap_or_default();
    let active = queues.active.as_ref().map_or(0, |active| active.size);
    let defer = queues.defer.as_ref().map_or(0, |defer| defer.size);
    let hold = freeze.hold.as_ref().map_or(0, |hold| hold.size);
    let inbound = stats
        .servers
        .iter()
        .filter_map(|server| server.connections.as_ref())
        .fold(0, |sum: u64, connections| sum.saturating_add(connections.concurrent));
    let outbound = queue.connections.as_ref().map_or(0, |connections| connections.concurrent);
    let rate = |rate: fn(&Rates) -> f64| rates.as_ref().map_or_else(String::new, |r| per(rate(r)));
    let tile =
        |label, value, note: String, link| Tile { label, value: show::number(value), note, link };
    vec![
        tile("Active", active, String::new(), Some("/queue?state=ACTIVE")),
        tile("Deferred", defer, String::new(), Some("/queue?state=DEFER")),
        tile("On hold", hold, String::new(), Some("/queue?state=HOLD")),
        tile("Delivered", delivery.delivered, rate(|r| r.delivered), None),
        tile("Delayed", delivery.delayed, rate(|r| r.delayed), None),
        tile("Failed", delivery.failed, rate(|r| r.failed), None),
        tile("Connections in", inbound, rate(|r| r.received), None),
        tile("Connections out", outbound, String::new(), None),
    ]
}

/// "12.5 per second", in minutes when it is slow.
fn per(rate: f64) -> String {
    if rate == 0.0 {
        "none now".into()
    } else if rate >= 0.95 {
        format!("{rate:.1} per second")
    } else {
        format!("{:.1} per minute", rate * 60.0)
    }
}

fn server_row(server: &Server) -> ServerRow {
    let connections = server.connections.unwrap_or_default();
    let eod = server.scripts.as_ref().and_then(|scripts| scripts.eod.as_ref());
    ServerRow {
        name: server.serverid.clone(),
        connections: show::number(connections.concurrent),
        limit: match connections.maxconcurrent {
            0 => String::new(),
            limit => show::number(limit),
        },
        received: show::number(eod.map_or(0, |eod| eod.finished)),
    }
}

/// The hooks that ever ran.
fn hooks(stats: &ProcessStatsResponse) -> Vec<HookRow> {
    let mut rows = Vec::new();
    for server in &stats.servers {
        let Some(scripts) = &server.scripts else { continue };
        for (hook, script) in [
            ("connect", &scripts.connect),
            ("proxy", &scripts.proxy),
            ("helo", &scripts.helo),
            ("auth", &scripts.auth),
            ("mailfrom", &scripts.mailfrom),
            ("rcptto", &scripts.rcptto),
            ("eod", &scripts.eod),
            ("disconnect", &scripts.disconnect),
        ] {
            rows.extend(
                script.as_ref().and_then(|script| hook_row(&server.serverid, hook, script)),
            );
        }
    }
    if let Some(scripts) = stats.queue.as_ref().and_then(|queue| queue.scripts.as_ref()) {
        for (hook, script) in
            [("predelivery", &scripts.predelivery), ("postdelivery", &scripts.postdelivery)]
        {
            rows.extend(script.as_ref().and_then(|script| hook_row("queue", hook, script)));
        }
    }
    rows
}

fn hook_row(place: &str, hook: &'static str, script: &Script) -> Option<HookRow> {
    let counts = [script.pending, script.running, script.suspended, script.finished, script.errors];
    let row = HookRow {
        place: place.to_owned(),
        hook,
        pending: show::number(script.pending),
        running: show::number(script.running),
        suspended: show::number(script.suspended),
        finished: show::number(script.finished),
        errors: script.errors,
    };
    counts.iter().any(|count| *count > 0).then_some(row)
}

/// What has no place of its own above, by its first names.
fn others(stats: &ProcessStatsResponse) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for sample in stats::samples(stats) {
        let parts: Vec<&str> = sample.dotted.splitn(3, '.').collect();
        let (title, name) = match parts.as_slice() {
            ["process" | "servers", ..] => continue,
            ["queue", "scripts" | "delivery", ..] => continue,
            [room @ ("queue" | "threads"), part, rest] => (format!("{room}.{part}"), *rest),
            [room, ..] => {
                let room = (*room).to_owned();
                let name = sample.dotted.get(room.len() + 1..).unwrap_or(&sample.dotted);
                (room, name)
            }
            [] => continue,
        };
        let line = (name.to_owned(), sample.value.to_string());
        match groups.iter_mut().find(|group| group.title == title) {
            Some(group) => group.samples.push(line),
            None => groups.push(Group { title, samples: vec![line] }),
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_rates_are_told_in_minutes() {
        assert_eq!(per(0.0), "none now");
        assert_eq!(per(0.05), "3.0 per minute");
        assert_eq!(per(12.54), "12.5 per second");
    }

    #[test]
    fn every_number_without_a_place_is_in_a_group() {
        let stats = ProcessStatsResponse::default();
        assert!(others(&stats).is_empty());
        assert!(hooks(&stats).is_empty());
        assert_eq!(tiles(&stats, None).len(), 8);
    }
}
