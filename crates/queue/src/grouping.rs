//! Groupings: sets of remote hosts that policies treat alike, whatever the hosts are called.
//!
//! Which grouping a row has follows from its route and the recipient's domain, so it is worked out
//! when the route is known, and again for the rows of ACTIVE when the configuration changes.

use std::net::IpAddr;

use mta_types::{MessageId, Timestamp};

use crate::condition::Condition;
use crate::list::NamedLists;
use crate::machine::{Queue, QueueError, Route};
use crate::pattern::Pattern;
use crate::policy::Field;
use crate::state::{Move, State};
use crate::table::Scan;
use crate::view::MessageView;

/// `queues.grouping` of the running configuration.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Groupings {
    /// Tried in order, the first match wins.
    pub rules: Vec<GroupingRule>,
    /// What the grouping is where no rule matches.
    pub default: GroupingDefault,
}

/// One set of remote hosts. Any match of any list is enough.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GroupingRule {
    /// Its id, without the leading `&`.
    pub id: Box<str>,
    /// Destination hosts.
    pub remotemx: Vec<Pattern>,
    /// Domains of the recipient.
    pub recipientdomain: Vec<Pattern>,
    /// Destination addresses.
    pub remoteip: Vec<Pattern>,
}

/// What the grouping is where no rule matches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GroupingDefault {
    /// None.
    #[default]
    None,
    /// The recipient's domain.
    RecipientDomain,
    /// The destination host.
    RemoteMx,
}

impl Groupings {
    /// The grouping of a destination, with its leading `&`.
    #[must_use]
    pub fn of(
        &self,
        recipientdomain: &str,
        remotemx: Option<&str>,
        remoteip: Option<IpAddr>,
        lists: &NamedLists,
    ) -> Option<String> {
        let ip = if self.rules.iter().any(|rule| !rule.remoteip.is_empty()) {
            remoteip.map(|ip| ip.to_string())
        } else {
            None
        };
        let any = |field: Field, patterns: &[Pattern], value: Option<&str>| {
            value.is_some_and(|value| patterns.iter().any(|p| p.is_match(field, value, lists)))
        };
        let found = self.rules.iter().find(|rule| {
            any(Field::RemoteMx, &rule.remotemx, remotemx)
                || any(Field::RecipientDomain, &rule.recipientdomain, Some(recipientdomain))
                || any(Field::RemoteIp, &rule.remoteip, ip.as_deref())
        });
        if let Some(rule) = found {
            return Some(format!("&{}", rule.id));
        }
        let value = match self.default {
            GroupingDefault::None => None,
            GroupingDefault::RecipientDomain => Some(recipientdomain),
            GroupingDefault::RemoteMx => remotemx,
        };
        value.filter(|value| !value.is_empty()).map(|v| format!("&{}", v.to_ascii_lowercase()))
    }
}

/// New groupings on their way through the active queue, so that the lock is never held for long.
#[derive(Debug)]
pub struct RegroupRun {
    groupings: Groupings,
    scan: Scan,
}

impl RegroupRun {
    /// Begins to give the rows of ACTIVE their groupings anew.
    #[must_use]
    pub fn new(groupings: Groupings) -> Self {
        Self { groupings, scan: Scan::new(&Condition::default()) }
    }

    /// Goes over the next `rows` rows of the table; `true` when all were seen. A row whose grouping
    /// changes goes to the end of its new sub-queue; one being sent keeps what it began with.
    pub fn step(&mut self, queue: &mut Queue, rows: usize, now: Timestamp) -> bool {
        let mut changed: Vec<(MessageId, Route)> = Vec::new();
        for node in self.scan.step(&queue.table, rows) {
            let view = MessageView::new(queue, node);
            if view.state() != State::Active {
                continue;
            }
            let lists = &queue.rules.lists;
            let (mx, ip) = (view.remotemx(), view.remoteip());
            let grouping = self.groupings.of(view.recipientdomain(), mx, ip, lists);
            if grouping.as_deref() != view.grouping() {
                let route = Route {
                    localips: view.localips().collect(),
                    localipsordered: view.localipsordered(),
                    remoteip: ip,
                    remotemx: mx.map(str::to_owned),
                    grouping,
                };
                changed.push((view.id(), route));
            }
        }
        for (id, route) in changed {
            // The table allows all of this from ACTIVE.
            let _ = queue.refile(id, &route, now);
        }
        self.scan.is_done()
    }
}

impl Queue {
    /// Files a row of ACTIVE anew, with another route.
    fn refile(&mut self, id: MessageId, route: &Route, now: Timestamp) -> Result<(), QueueError> {
        let node = self.find(id)?;
        self.step(node, Move::Schedule, now)?;
        self.step(node, Move::Prepare, now)?;
        self.activate(id, route, now).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns(field: Field, texts: &[&str]) -> Vec<Pattern> {
        texts.iter().map(|text| Pattern::parse(field, text).unwrap()).collect()
    }

    fn groupings() -> Groupings {
        Groupings {
            rules: vec![
                GroupingRule {
                    id: "google".into(),
                    remotemx: patterns(Field::RemoteMx, &["*.google.com", "@more"]),
                    ..GroupingRule::default()
                },
                GroupingRule {
                    id: "net".into(),
                    recipientdomain: patterns(Field::RecipientDomain, &["net.example"]),
                    remoteip: patterns(Field::RemoteIp, &["192.0.2.0/24"]),
                    ..GroupingRule::default()
                },
            ],
            default: GroupingDefault::RemoteMx,
        }
    }

    #[test]
    fn the_first_rule_with_any_match_wins_and_the_default_is_last() {
        let mut lists = NamedLists::default();
        lists.add(Field::RemoteMx, "more", "mx.more.example").unwrap();
        for (domain, mx, ip, expected) in [
            ("x.example", Some("ASPMX.l.google.com"), None, Some("&google")),
            ("net.example", Some("mx.more.example"), None, Some("&google")),
            ("NET.example", Some("mx.example"), None, Some("&net")),
            ("x.example", None, Some("192.0.2.7"), Some("&net")),
            ("x.example", Some("MX.example"), Some("198.51.100.7"), Some("&mx.example")),
            ("x.example", None, None, None),
        ] {
            let ip = ip.map(|ip: &str| ip.parse().unwrap());
            assert_eq!(groupings().of(domain, mx, ip, &lists).as_deref(), expected, "{domain}");
        }
    }

    #[test]
    fn without_rules_and_default_there_is_no_grouping() {
        let none = Groupings::default();
        assert_eq!(none.of("x.example", Some("mx"), None, &NamedLists::default()), None);
    }
}
