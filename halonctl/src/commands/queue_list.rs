//! `halonctl queue list`.

use clap::ValueEnum;
use control::{
    command::call,
    pb::{
        self,
        queue_list_request::{Sorting, sorting},
        queue_list_response::{QueueItem, queue_item},
    },
};

use super::conditions::Conditions;
use crate::{
    context::Context,
    error::Result,
    output::{
        self,
        table::{Align, Table},
    },
};

/// Rows of a table when no limit is given: what a person may read.
const DEFAULT_LIMIT: u64 = 100;

/// Flags.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  halonctl queue list --state DEFER --recipientdomain example.com
  halonctl queue list --age '>3600' -F id -F recipient -F retryreason
  halonctl queue list --view connections
  halonctl queue list --json --limit 10")]
pub(crate) struct Args {
    /// Column to show (repeatable), or metadata:KEY
    #[arg(short = 'F', long = "field", value_name = "FIELD", value_parser = parse_column,
        value_delimiter = ',')]
    fields: Vec<Column>,
    /// A ready choice of messages, columns and order
    #[arg(long)]
    view: Option<View>,
    /// Order, such as ts or size:desc (repeatable); one of ts, sender, senderdomain, recipient,
    /// recipientdomain, duration, retrydelay, size, retrycount
    #[arg(long, value_name = "FIELD[:asc|desc]", value_parser = parse_sorting)]
    sort: Vec<Sorting>,
    /// Messages to show; 0 for all [default: 100 in tables, all with --json]
    #[arg(long, value_name = "NUMBER")]
    limit: Option<u64>,
    /// Messages to pass over
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    offset: u64,
    #[command(flatten)]
    conditions: Conditions,
}

/// The ready choices.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum View {
    /// Messages due later, the next ones first
    Defer,
    /// Messages due now, the oldest first
    Active,
    /// Attempts in progress, the longest first
    Connections,
}

/// A column of the table.
#[derive(Clone, Debug)]
enum Column {
    Field(&'static Field),
    Metadata(String),
}

/// A field that can be a column.
#[derive(Debug)]
struct Field {
    name: &'static str,
    align: Align,
    text: fn(&QueueItem) -> String,
}

pub(super) fn run(args: &Args, context: &mut Context<'_>) -> Result<()> {
    let mut condition = args.conditions.build();
    let mut sortings = args.sort.clone();
    let mut columns = args.fields.clone();
    if let Some(view) = args.view {
        view.narrow(&mut condition);
        if sortings.is_empty() {
            sortings.push(view.sorting());
        }
    }
    if columns.is_empty() {
        let names = args.view.map_or(DEFAULT_COLUMNS, View::columns);
        columns = names.iter().filter_map(|name| field(name)).map(Column::Field).collect();
    }
    let limit = args.limit.unwrap_or(if context.is_json() { 0 } else { DEFAULT_LIMIT });
    let request = pb::QueueListRequest {
        conditions: Some(condition),
        sortings,
        paging: Some(pb::Paging { offset: args.offset, limit }),
    };
    let Some(answer) = context.call(call::QUEUE_LIST, &request)? else { return Ok(()) };
    let mut table = Table::new(columns.iter().map(|c| (c.name(), c.align())));
    for item in &answer.items {
        table.row(columns.iter().map(|column| column.text(item)));
    }
    context.table(&table)?;
    let shown = answer.items.len() as u64;
    let total = answer.paging.map_or(shown, |paging| paging.total);
    if shown < total {
        context.note(format_args!(
            "{shown} of {total} messages shown; use --limit and --offset for others"
        ))?;
    }
    Ok(())
}

impl View {
    fn narrow(self, condition: &mut pb::Condition) {
        let queue = |queue: pb::Queue| pb::condition::QueueState { queue: queue.into() };
        match self {
            Self::Defer => condition.queues.push(queue(pb::Queue::Defer)),
            Self::Active => condition.queues.push(queue(pb::Queue::Active)),
            Self::Connections => condition.workings.push(pb::condition::WorkingState {
                working: pb::Working::Sending.into(),
                updatefreezing: false,
            }),
        }
    }

    fn sorting(self) -> Sorting {
        let asc = pb::Order::Asc.into();
        let field = match self {
            Self::Defer => sorting::Field::Retryts(asc),
            Self::Active => sorting::Field::Ts(asc),
            Self::Connections => {
                sorting::Field::Working(sorting::Working { duration: pb::Order::Desc.into() })
            }
        };
        Sorting { field: Some(field) }
    }

    fn columns(self) -> &'static [&'static str] {
        match self {
            Self::Defer => &[
                "id",
                "sender",
                "recipient",
                "transportid",
                "retrycount",
                "retrydelay",
                "retryreason",
            ],
            Self::Active => &[
                "id",
                "ts",
                "sender",
                "recipient",
                "transportid",
                "remotemx",
                "retrycount",
                "tags",
            ],
            Self::Connections => {
                &["id", "recipient", "transportid", "localips", "remoteip", "remotemx", "duration"]
            }
        }
    }
}

impl Column {
    fn name(&self) -> &str {
        match self {
            Self::Field(field) => field.name,
            Self::Metadata(key) => key,
        }
    }

    fn align(&self) -> Align {
        match self {
            Self::Field(field) => field.align,
            Self::Metadata(_) => Align::Left,
        }
    }

    fn text(&self, item: &QueueItem) -> String {
        match self {
            Self::Field(field) => (field.text)(item),
            Self::Metadata(key) => item.metadata.get(key).cloned().unwrap_or_default(),
        }
    }
}

const DEFAULT_COLUMNS: &[&str] =
    &["id", "state", "ts", "sender", "recipient", "transportid", "retrycount", "retrydelay"];

const FIELDS: &[Field] = &[
    left("id", id),
    left("state", state),
    left("ts", |i| output::moment(i.ts)),
    left("sender", |i| address(i.sender.as_ref())),
    left("senderdomain", |i| domain(i.sender.as_ref())),
    left("recipient", |i| address(i.recipient.as_ref())),
    left("recipientdomain", |i| domain(i.recipient.as_ref())),
    left("subject", |i| i.subject.clone()),
    right("size", |i| i.size.to_string()),
    left("transportid", |i| i.transportid.clone()),
    left("jobid", |i| i.jobid.clone()),
    left("grouping", |i| i.grouping.clone()),
    left("metadata", |i| {
        i.metadata
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect::<Vec<_>>()
            .join(", ")
    }),
    right("retrycount", |i| i.retrycount.to_string()),
    right("retrydelay", |i| output::seconds(i.retrydelay)),
    left("retryreason", |i| i.retryreason.clone()),
    right("duration", |i| working(i).map(|w| output::seconds(w.duration)).unwrap_or_default()),
    left("updatefreezing", |i| {
        working(i).map(|w| w.updatefreezing.to_string()).unwrap_or_default()
    }),
    right("priority", |i| i.priority.to_string()),
    left("hold", |i| i.hold.to_string()),
    left("localips", |i| i.localips.join(", ")),
    left("localipsordered", |i| i.localipsordered.to_string()),
    left("remoteip", |i| i.remoteip.clone()),
    left("remotemx", |i| i.remotemx.clone()),
    left("tags", |i| i.tags.join(", ")),
    left("quotas", |i| i.quotas.join(", ")),
    left("serverid", |i| i.serverid.clone()),
    left("stageid", |i| i.stageid.clone()),
    left("senderip", |i| i.senderip.clone()),
    left("senderhelo", |i| i.senderhelo.clone()),
    left("saslusername", |i| i.saslusername.clone()),
    left("dsn", dsn),
    left("hqfpath", |i| i.hqfpath.clone()),
];

const fn left(name: &'static str, text: fn(&QueueItem) -> String) -> Field {
    Field { name, align: Align::Left, text }
}

const fn right(name: &'static str, text: fn(&QueueItem) -> String) -> Field {
    Field { name, align: Align::Right, text }
}

fn field(name: &str) -> Option<&'static Field> {
    FIELDS.iter().find(|field| field.name == name)
}

fn parse_column(name: &str) -> Result<Column, String> {
    if let Some(key) = name.strip_prefix("metadata:") {
        return Ok(Column::Metadata(key.to_owned()));
    }
    field(name).map(Column::Field).ok_or_else(|| {
        let names: Vec<&str> = FIELDS.iter().map(|field| field.name).collect();
        format!("the fields are {}, metadata:KEY", names.join(", "))
    })
}

fn parse_sorting(text: &str) -> Result<Sorting, String> {
    let (name, order) = super::parse_order(text)?;
    let order = order.into();
    let localpart =
        sorting::MailAddress { part: Some(sorting::mail_address::Part::Localpart(order)) };
    let domain = sorting::MailAddress { part: Some(sorting::mail_address::Part::Domain(order)) };
    let field = match name {
        "ts" => sorting::Field::Ts(order),
        "sender" => sorting::Field::Sender(localpart),
        "senderdomain" => sorting::Field::Sender(domain),
        "recipient" => sorting::Field::Recipient(localpart),
        "recipientdomain" => sorting::Field::Recipient(domain),
        "duration" => sorting::Field::Working(sorting::Working { duration: order }),
        "retrydelay" => sorting::Field::Retryts(order),
        "size" => sorting::Field::Size(order),
        "retrycount" => sorting::Field::Retrycount(order),
        _ => return Err("messages cannot be ordered by this field".to_owned()),
    };
    Ok(Sorting { field: Some(field) })
}

fn id(item: &QueueItem) -> String {
    item.id.as_ref().map(|id| format!("{}:{}", id.transaction, id.queue)).unwrap_or_default()
}

fn state(item: &QueueItem) -> String {
    // A newer daemon may know states that we do not: they show as numbers.
    let name = |name: Option<&'static str>, number: i32| {
        name.map_or_else(|| number.to_string(), str::to_owned)
    };
    match &item.state {
        Some(queue_item::State::Queue(n)) => {
            name(pb::Queue::try_from(*n).ok().map(|q| q.as_str_name()), *n)
        }
        Some(queue_item::State::Freeze(n)) => {
            name(pb::Freeze::try_from(*n).ok().map(|f| f.as_str_name()), *n)
        }
        Some(queue_item::State::Working(state)) => {
            let n = state.working;
            name(pb::Working::try_from(n).ok().map(|w| w.as_str_name()), n)
        }
        None => String::new(),
    }
}

fn working(item: &QueueItem) -> Option<&queue_item::WorkingState> {
    match &item.state {
        Some(queue_item::State::Working(state)) => Some(state),
        _ => None,
    }
}

fn address(address: Option<&queue_item::MailAddress>) -> String {
    match address {
        Some(address) if !address.localpart.is_empty() || !address.domain.is_empty() => {
            format!("{}@{}", address.localpart, address.domain)
        }
        _ => String::new(),
    }
}

fn domain(address: Option<&queue_item::MailAddress>) -> String {
    address.map(|address| address.domain.clone()).unwrap_or_default()
}

fn dsn(item: &QueueItem) -> String {
    let Some(dsn) = &item.dsn else { return String::new() };
    let parts =
        [("envid", &dsn.envid), ("ret", &dsn.ret), ("notify", &dsn.notify), ("orcpt", &dsn.orcpt)];
    let given = parts.iter().filter(|(_, value)| !value.is_empty());
    given.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
}
