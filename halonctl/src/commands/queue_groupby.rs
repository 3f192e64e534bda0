//! `halonctl queue groupby`.

use control::{
    command::call,
    condition,
    pb::{
        self, CountType, Order,
        queue_group_by_request::{
            Counts, GroupBy, Sorting,
            counts::{self, r#return},
            group_by, sorting,
        },
    },
};

use super::conditions::Conditions;
use crate::{
    context::Context,
    error::Result,
    output::table::{Align, Table},
};

/// Flags.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  halonctl queue groupby recipientdomain --limit 20
  halonctl queue groupby transportid localip --count state:DEFER --count 'age:>3600'
  halonctl queue groupby jobid --count unique:recipientdomain --bytes")]
pub(crate) struct Args {
    /// Fields whose values make the groups: transportid, recipientdomain, senderdomain, jobid,
    /// grouping, senderip, remoteip, remotemx, localip or metadata:KEY
    #[arg(required = true, value_name = "FIELD", value_parser = parse_field)]
    fields: Vec<Named<group_by::Field>>,
    /// Further column (repeatable): state:STATE, age:SECONDS, retrydelay:SECONDS,
    /// retrycount:NUMBER or priority:NUMBER with operators, or unique:FIELD
    #[arg(long, value_name = "KIND:VALUE", value_parser = parse_count)]
    count: Vec<Named<Counts>>,
    /// Add sizes up, instead of counting messages
    #[arg(long)]
    bytes: bool,
    /// Order (repeatable): total, or the number of a column from 1; such as total:asc
    #[arg(long, value_name = "COLUMN[:asc|desc]")]
    sort: Vec<String>,
    /// Groups to show; 0 for all
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    limit: u64,
    /// Groups to pass over
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    offset: u64,
    #[command(flatten)]
    conditions: Conditions,
}

/// A value and what was typed for it, which heads its column.
#[derive(Clone, Debug)]
struct Named<T> {
    name: String,
    value: T,
}

pub(super) fn run(args: &Args, context: &mut Context<'_>) -> Result<()> {
    let unit = if args.bytes { CountType::Bytes } else { CountType::Count };
    let counts = args.count.iter().map(|count| match count.value {
        // Counts of different values stay counts.
        Counts { r#return: Some(_), .. } => count.value.clone(),
        _ => Counts { r#return: Some(return_of(unit)), ..count.value.clone() },
    });
    let request = pb::QueueGroupByRequest {
        conditions: Some(args.conditions.build()),
        sortings: args.sortings()?,
        paging: Some(pb::Paging { offset: args.offset, limit: args.limit }),
        groupbys: args.fields.iter().map(|f| GroupBy { field: Some(f.value.clone()) }).collect(),
        counts: counts.collect(),
        r#return: unit.into(),
        ..pb::QueueGroupByRequest::default()
    };
    let Some(answer) = context.call(call::QUEUE_GROUPBY, &request)? else { return Ok(()) };
    let fields = args.fields.iter().map(|field| (field.name.as_str(), Align::Left));
    let counts = args.count.iter().map(|count| (count.name.as_str(), Align::Right));
    let mut table = Table::new(fields.chain(counts).chain([("total", Align::Right)]));
    for item in answer.items {
        let counts = item.counts.iter().chain([&item.total]).map(u64::to_string);
        table.row(item.groupbys.into_iter().chain(counts));
    }
    context.table(&table)
}

impl Args {
    /// The largest groups first, unless told otherwise.
    fn sortings(&self) -> Result<Vec<Sorting>> {
        if self.sort.is_empty() {
            let column = Some(sorting::Column::Total(true));
            return Ok(vec![Sorting { column, order: Order::Desc.into() }]);
        }
        self.sort.iter().map(|text| self.sorting(text)).collect()
    }

    fn sorting(&self, text: &str) -> Result<Sorting> {
        let wrong = |why: &str| {
            crate::error::Error::usage(format!("\"{text}\" does not fit --sort: {why}"))
        };
        let (name, order) = super::parse_order(text).map_err(|why| wrong(&why))?;
        let columns = self.fields.len() + self.count.len();
        let column = match name.parse::<usize>() {
            _ if name == "total" => sorting::Column::Total(true),
            Ok(n) if (1..=self.fields.len()).contains(&n) => sorting::Column::Groupby(n as u64 - 1),
            Ok(n) if (1..=columns).contains(&n) => {
                sorting::Column::Count((n - self.fields.len()) as u64 - 1)
            }
            _ => return Err(wrong("write total, or the number of a column from 1")),
        };
        Ok(Sorting { column: Some(column), order: order.into() })
    }
}

fn return_of(unit: CountType) -> counts::Return {
    counts::Return { kind: Some(r#return::Kind::Type(unit.into())) }
}

fn parse_field(text: &str) -> Result<Named<group_by::Field>, String> {
    use group_by::Field;
    let value = match text {
        "transportid" => Field::Transportid(true),
        "recipientdomain" => Field::Recipientdomain(true),
        "senderdomain" => Field::Senderdomain(true),
        "jobid" => Field::Jobid(true),
        "grouping" => Field::Grouping(true),
        "senderip" => Field::Senderip(true),
        "remoteip" => Field::Remoteip(true),
        "remotemx" => Field::Remotemx(true),
        "localip" => Field::Localip(true),
        _ => match text.strip_prefix("metadata:") {
            Some(key) if !key.is_empty() => Field::Metadata(key.to_owned()),
            _ => return Err("messages cannot be grouped by this field".to_owned()),
        },
    };
    Ok(Named { name: text.to_owned(), value })
}

fn parse_count(text: &str) -> Result<Named<Counts>, String> {
    let (kind, value) = text.split_once(':').ok_or("write kind:value")?;
    let cause = |cause: condition::Cause| cause.to_string();
    let field = match kind {
        "state" => Some(parse_state(value).ok_or_else(|| cause(condition::Cause::State))?),
        "age" => Some(counts::Field::Ts(condition::parse_age(value).map_err(cause)?)),
        "retrydelay" => Some(counts::Field::Retryts(condition::parse_delay(value).map_err(cause)?)),
        "retrycount" => {
            Some(counts::Field::Retrycount(condition::parse_number(value).map_err(cause)?))
        }
        "priority" => Some(counts::Field::Priority(condition::parse_number(value).map_err(cause)?)),
        "unique" => None,
        _ => {
            return Err(
                "the kinds are state, age, retrydelay, retrycount, priority and unique".to_owned()
            );
        }
    };
    let kind = match field {
        Some(_) => None,
        None => Some(r#return::Kind::Unique(unique(value)?)),
    };
    let value = Counts { field, r#return: kind.map(|kind| counts::Return { kind: Some(kind) }) };
    Ok(Named { name: text.to_owned(), value })
}

fn parse_state(text: &str) -> Option<counts::Field> {
    let state = text.to_ascii_uppercase();
    let queue = pb::Queue::from_str_name(&state).map(|q| counts::Field::Queue(q.into()));
    let freeze = || pb::Freeze::from_str_name(&state).map(|f| counts::Field::Freeze(f.into()));
    let working = || pb::Working::from_str_name(&state).map(|w| counts::Field::Working(w.into()));
    queue.or_else(freeze).or_else(working)
}

/// The fields of a group, as fields whose different values are counted.
fn unique(text: &str) -> Result<counts::Unique, String> {
    use counts::unique::Field as Unique;
    use group_by::Field;
    let field = match parse_field(text)?.value {
        Field::Transportid(yes) => Unique::Transportid(yes),
        Field::Recipientdomain(yes) => Unique::Recipientdomain(yes),
        Field::Senderdomain(yes) => Unique::Senderdomain(yes),
        Field::Jobid(yes) => Unique::Jobid(yes),
        Field::Grouping(yes) => Unique::Grouping(yes),
        Field::Senderip(yes) => Unique::Senderip(yes),
        Field::Remoteip(yes) => Unique::Remoteip(yes),
        Field::Remotemx(yes) => Unique::Remotemx(yes),
        Field::Localip(yes) => Unique::Localip(yes),
        Field::Metadata(key) => Unique::Metadata(key),
    };
    Ok(counts::Unique { field: Some(field) })
}
