//! The columns of the queue page: one table.

use control::pb::queue_list_response::{
    QueueItem,
    queue_item::{MailAddress, State},
};

use super::show::{self, Moment};

/// What stands in a cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cell {
    /// Text of a message or of the configuration: hostile.
    Text(String),
    /// An address in two parts: hostile.
    Address(String, String),
    /// A number with its unit.
    Number(String),
    /// The link to the message.
    Id(String),
    /// A state: its name and the class of its colour.
    State(&'static str, &'static str),
    /// A moment.
    Moment(Moment),
}

/// A column.
#[derive(Debug)]
pub struct Column {
    /// The name in addresses.
    pub name: &'static str,
    /// What people read.
    pub title: &'static str,
    /// Whether it is there unless somebody chooses others.
    pub is_default: bool,
    /// The name of the order it can have.
    pub sort: Option<&'static str>,
    /// Makes the cell of a message.
    pub cell: fn(&QueueItem) -> Cell,
}

impl Column {
    /// Says whether its cells lead to the message.
    #[must_use]
    pub fn is_link(&self) -> bool {
        matches!(self.name, "id" | "recipient")
    }
}

/// Finds a column by its name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Column> {
    COLUMNS.iter().find(|column| column.name == name)
}

/// The columns with these names, or the default ones when there are none.
#[must_use]
pub fn chosen(names: &[&str]) -> Vec<&'static Column> {
    let is_chosen = |column: &&Column| {
        if names.is_empty() { column.is_default } else { names.contains(&column.name) }
    };
    COLUMNS.iter().filter(is_chosen).collect()
}

const fn always(
    name: &'static str,
    title: &'static str,
    sort: Option<&'static str>,
    cell: fn(&QueueItem) -> Cell,
) -> Column {
    Column { name, title, is_default: true, sort, cell }
}

const fn on_demand(
    name: &'static str,
    title: &'static str,
    sort: Option<&'static str>,
    cell: fn(&QueueItem) -> Cell,
) -> Column {
    Column { name, title, is_default: false, sort, cell }
}

/// All columns, in their order.
pub const COLUMNS: &[Column] = &[
    on_demand("id", "Id", None, |item| Cell::Id(show::id(item))),
    always("state", "State", None, |item| {
        let (name, class) = show::state(item);
        Cell::State(name, class)
    }),
    always("sender", "Sender", Some("senderdomain"), |item| address(item.sender.as_ref())),
    always("recipient", "Recipient", Some("recipientdomain"), |item| {
        address(item.recipient.as_ref())
    }),
    always("subject", "Subject", None, |item| Cell::Text(item.subject.clone())),
    always("ts", "Queued", Some("ts"), |item| {
        show::moment(item.ts).map_or(Cell::Text(String::new()), Cell::Moment)
    }),
    always("retrycount", "Attempts", Some("retrycount"), |item| {
        Cell::Number(show::number(item.retrycount))
    }),
    always("retrydelay", "Next attempt", Some("retryts"), |item| Cell::Text(next_attempt(item))),
    always("retryreason", "Last error", None, |item| Cell::Text(item.retryreason.clone())),
    always("transportid", "Transport", None, |item| Cell::Text(item.transportid.clone())),
    on_demand("jobid", "Job", None, |item| Cell::Text(item.jobid.clone())),
    on_demand("grouping", "Grouping", None, |item| Cell::Text(item.grouping.clone())),
    on_demand("size", "Size", Some("size"), |item| Cell::Number(show::size(item.size))),
    on_demand("priority", "Priority", None, |item| Cell::Number(show::number(item.priority))),
    on_demand("serverid", "Server", None, |item| Cell::Text(item.serverid.clone())),
    on_demand("senderip", "Received from", None, |item| Cell::Text(item.senderip.clone())),
    on_demand("senderhelo", "HELO", None, |item| Cell::Text(item.senderhelo.clone())),
    on_demand("saslusername", "Authenticated", None, |item| Cell::Text(item.saslusername.clone())),
    on_demand("duration", "Sending for", None, |item| Cell::Text(sending_for(item))),
    on_demand("localips", "Local addresses", None, |item| Cell::Text(item.localips.join(", "))),
    on_demand("remoteip", "Remote address", None, |item| Cell::Text(item.remoteip.clone())),
    on_demand("remotemx", "Remote host", None, |item| Cell::Text(item.remotemx.clone())),
    on_demand("tags", "Tags", None, |item| Cell::Text(item.tags.join(", "))),
    on_demand("quotas", "Quotas", None, |item| Cell::Text(item.quotas.join(", "))),
    on_demand("stageid", "Live stage", None, |item| Cell::Text(item.stageid.clone())),
    on_demand("metadata", "Metadata", None, |item| Cell::Text(metadata(item))),
];

fn address(address: Option<&MailAddress>) -> Cell {
    let (first, second) = show::address_parts(address);
    Cell::Address(first, second)
}

/// When the message is tried next, in words; messages that wait for an operator have no such time.
#[must_use]
pub fn next_attempt(item: &QueueItem) -> String {
    match &item.state {
        Some(State::Freeze(_) | State::Working(_)) => String::new(),
        _ if item.retrydelay < 1.0 => "now".into(),
        _ => format!("in {}", show::span(item.retrydelay)),
    }
}

/// How long the message is being delivered.
#[must_use]
pub fn sending_for(item: &QueueItem) -> String {
    match &item.state {
        Some(State::Working(working)) => show::span(working.duration),
        _ => String::new(),
    }
}

fn metadata(item: &QueueItem) -> String {
    let mut pairs: Vec<String> =
        item.metadata.iter().map(|(key, value)| format!("{key}={value}")).collect();
    pairs.sort();
    pairs.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pages::queue_query::SORTS;

    #[test]
    fn columns_have_names_of_their_own_and_orders_that_exist() {
        for (index, column) in COLUMNS.iter().enumerate() {
            assert!(COLUMNS[..index].iter().all(|other| other.name != column.name));
            let sort = column.sort.is_none_or(|name| SORTS.iter().any(|sort| sort.name == name));
            assert!(sort, "{}", column.name);
        }
        assert!(chosen(&[]).len() > 5);
        assert_eq!(chosen(&["size"])[0].title, "Size");
    }

    #[test]
    fn held_messages_have_no_next_attempt() {
        let freeze = Some(State::Freeze(control::pb::Freeze::Hold.into()));
        let item = QueueItem { state: freeze, retrydelay: 60.0, ..QueueItem::default() };
        assert_eq!(next_attempt(&item), "");
        assert_eq!(next_attempt(&QueueItem { state: None, ..item }), "in 1 min");
    }
}
