//! What the panes show. Pure: statistics in, tables out.

use control::pb::{
    ProcessStatsResponse,
    process_stats_response::{Cache, Script},
};

use crate::output::table::{Align, Table};

/// The panes, in their order.
pub(super) const TITLES: [&str; 4] = ["servers", "queue", "policies", "connections"];

/// The first line: process id, uptime, time.
pub(super) fn header(stats: &ProcessStatsResponse, now: jiff::Timestamp) -> String {
    let process = stats.process.unwrap_or_default();
    let version = process.version.unwrap_or_default();
    let (minutes, seconds) = (process.runtime / 60, process.runtime % 60);
    let (hours, minutes) = (minutes / 60, minutes % 60);
    format!(
        "smtpd {}.{}.{}  pid {}  up {}d {:02}:{minutes:02}:{seconds:02}  {}",
        version.major,
        version.minor,
        version.patch,
        process.pid,
        hours / 24,
        hours % 24,
        now.strftime("%Y-%m-%d %H:%M:%S UTC"),
    )
}

/// The names of the panes with the chosen one marked.
pub(super) fn menu(pane: usize) -> String {
    let mark = |(i, title): (usize, &&str)| {
        if i == pane { format!("[{title}]") } else { format!(" {title} ") }
    };
    format!("< {} >", TITLES.iter().enumerate().map(mark).collect::<Vec<_>>().join(" "))
}

/// The tables of a pane.
pub(super) fn tables(stats: &ProcessStatsResponse, pane: usize) -> Vec<Table> {
    match pane {
        0 => vec![servers(stats), scripts(stats), threads(stats)],
        1 => queue(stats),
        2 => policies(stats),
        _ => connections(stats),
    }
}

fn servers(stats: &ProcessStatsResponse) -> Table {
    let mut table = table("server", &["inbound", "max", "%"]);
    for server in &stats.servers {
        let connections = server.connections.unwrap_or_default();
        let (now, max) = (connections.concurrent, connections.maxconcurrent);
        row(&mut table, &server.serverid, &[now, max], &[percent(now, max)]);
    }
    table
}

fn scripts(stats: &ProcessStatsResponse) -> Table {
    let mut table = table("script", &["running", "suspended", "finished", "pending", "errors"]);
    let mut add = |name: String, script: &Option<Script>| {
        let Some(s) = script else { return };
        row(&mut table, &name, &[s.running, s.suspended, s.finished, s.pending, s.errors], &[]);
    };
    for server in &stats.servers {
        let Some(scripts) = &server.scripts else { continue };
        let hooks = [
            ("connect", &scripts.connect),
            ("proxy", &scripts.proxy),
            ("helo", &scripts.helo),
            ("auth", &scripts.auth),
            ("mailfrom", &scripts.mailfrom),
            ("rcptto", &scripts.rcptto),
            ("eod", &scripts.eod),
            ("disconnect", &scripts.disconnect),
        ];
        for (hook, script) in hooks {
            add(format!("{} {hook}", server.serverid), script);
        }
    }
    if let Some(scripts) = stats.queue.as_ref().and_then(|queue| queue.scripts.as_ref()) {
        add("predelivery".to_owned(), &scripts.predelivery);
        add("postdelivery".to_owned(), &scripts.postdelivery);
    }
    table
}

fn threads(stats: &ProcessStatsResponse) -> Table {
    let mut table = table("threads", &["running", "max", "pending", "rescheduled", "scripts"]);
    for pool in stats.threads.iter().flat_map(|threads| &threads.scripts) {
        let numbers = [pool.running, pool.maxrunning, pool.pending, pool.rescheduled, pool.scripts];
        row(&mut table, &pool.id, &numbers, &[]);
    }
    table
}

fn queue(stats: &ProcessStatsResponse) -> Vec<Table> {
    let Some(queue) = &stats.queue else { return Vec::new() };
    let mut queues = table("queue", &["size"]);
    let mut size = |name: &str, size: u64| row(&mut queues, name, &[size], &[]);
    if let Some(both) = &queue.queue {
        let active = both.active.clone().unwrap_or_default();
        size("active", active.size);
        for (priority, messages) in active.priorities.iter().enumerate() {
            size(&format!("active, priority {priority}"), messages.size);
        }
        size("defer", both.defer.unwrap_or_default().size);
    }
    let freeze = queue.freeze.unwrap_or_default();
    let update = freeze.update.unwrap_or_default();
    size("hold", freeze.hold.unwrap_or_default().size);
    size("update", update.size);
    size("update, pending", update.pending);
    size("release, pending", queue.release.unwrap_or_default().pending);
    size("quotas", queue.quota.unwrap_or_default().size);

    let mut delivery = table("delivery", &["delivered", "delayed", "failed"]);
    let counts = queue.delivery.unwrap_or_default();
    row(&mut delivery, "attempts", &[counts.delivered, counts.delayed, counts.failed], &[]);

    let mut loader = table("loader", &["count", "pending", "active"]);
    let counts = queue.loader.unwrap_or_default();
    row(&mut loader, "files", &[counts.count, counts.pending, counts.active], &[]);
    vec![queues, delivery, loader]
}

fn policies(stats: &ProcessStatsResponse) -> Vec<Table> {
    let Some(queue) = &stats.queue else { return Vec::new() };
    let policy = queue.policy.unwrap_or_default();
    let mut table_of_policies = table("policies", &["suspends", "entries"]);
    let concurrency = policy.concurrency.unwrap_or_default();
    let rate = policy.rate.unwrap_or_default();
    let dynamic = policy.dynamic.unwrap_or_default();
    for (name, numbers) in [
        ("concurrency, counters", [concurrency.suspends, concurrency.counters]),
        ("rate, buckets", [rate.suspends, rate.buckets]),
        ("dynamic, conditions", [dynamic.suspends, dynamic.conditions]),
    ] {
        row(&mut table_of_policies, name, &numbers, &[]);
    }
    let mut pickup = table("pickup", &["total", "skips", "misses", "pending"]);
    let counts = queue.pickup.unwrap_or_default();
    let numbers = [counts.count, counts.skips, counts.misses, counts.pending];
    row(&mut pickup, "messages", &numbers, &[]);
    vec![table_of_policies, pickup]
}

fn connections(stats: &ProcessStatsResponse) -> Vec<Table> {
    let connections = stats.queue.as_ref().and_then(|queue| queue.connections).unwrap_or_default();
    let mut outbound = table("connections", &["outbound", "max", "%"]);
    let (now, max) = (connections.concurrent, connections.maxconcurrent);
    row(&mut outbound, "delivery", &[now, max], &[percent(now, max)]);

    let mut caches = table("cache", &["size", "hits", "misses", "expires", "evicts", "skips"]);
    let mut cache = |name: &str, c: Cache| {
        row(&mut caches, name, &[c.size, c.hits, c.misses, c.expires, c.evicts, c.skips], &[]);
    };
    cache("pooling", connections.pooling.unwrap_or_default());
    let dns = stats.resolver.unwrap_or_default();
    cache("resolver", dns.cache.unwrap_or_default());

    let mut resolver = table("resolver", &["running", "max", "pending", "dedup"]);
    let numbers = [dns.running, dns.maxrunning, dns.pending, dns.dedup];
    row(&mut resolver, "queries", &numbers, &[]);
    vec![outbound, caches, resolver]
}

/// A table with a text column, then columns of numbers.
fn table(first: &str, numbers: &[&str]) -> Table {
    let numbers = numbers.iter().map(|name| (*name, Align::Right));
    Table::new([(first, Align::Left)].into_iter().chain(numbers))
}

fn row(table: &mut Table, name: &str, numbers: &[u64], texts: &[String]) {
    let numbers = numbers.iter().map(u64::to_string);
    table.row([name.to_owned()].into_iter().chain(numbers).chain(texts.iter().cloned()));
}

/// A share of a maximum; nothing where there is none.
fn percent(now: u64, max: u64) -> String {
    let share = (u128::from(now) * 100).checked_div(u128::from(max));
    share.map(|share| share.to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use control::pb::process_stats_response::Process;

    use super::*;

    #[test]
    fn the_header_counts_days() {
        let stats = ProcessStatsResponse {
            process: Some(Process { pid: 145, runtime: 90_061, ..Process::default() }),
            ..ProcessStatsResponse::default()
        };
        let now = jiff::Timestamp::from_second(1_577_840_523).unwrap();
        assert_eq!(
            header(&stats, now),
            "smtpd 0.0.0  pid 145  up 1d 01:01:01  2020-01-01 01:02:03 UTC"
        );
    }

    #[test]
    fn the_menu_marks_the_pane() {
        assert_eq!(menu(1), "<  servers  [queue]  policies   connections  >");
    }

    #[test]
    fn a_maximum_of_zero_has_no_share() {
        assert_eq!(percent(5, 0), "");
        assert_eq!(percent(u64::MAX, u64::MAX), "100");
    }
}
