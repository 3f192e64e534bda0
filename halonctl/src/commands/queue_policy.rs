//! `halonctl queue policy`: the policy file and dynamic conditions.

use control::{command::call, condition, pb};

use crate::{
    context::Context,
    error::{Error, Result},
    output::{
        self,
        table::{Align, Table},
    },
};

/// What to do with policies.
#[derive(clap::Subcommand, Debug)]
pub(crate) enum Verb {
    /// Reload the pickup policies
    #[command(after_help = "Example:\n  halonctl queue policy reload")]
    Reload,
    /// List dynamic conditions
    #[command(after_help = "Example:\n  halonctl queue policy list --json")]
    List,
    /// Add a dynamic condition
    Add(Add),
    /// Change a dynamic condition
    Update(Update),
    /// Remove a dynamic condition
    Delete(Delete),
    /// Put tokens into rate buckets
    Refill(Refill),
}

/// Flags of `add`.
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:
  halonctl queue policy add --fields remotemx,localip --remotemx mx.example.com --rate 10/60 --ttl 600")]
pub(crate) struct Add {
    /// Fields of the policy that gets the condition, such as remotemx,localip
    #[arg(long, value_name = "FIELDS", value_parser = condition::parse_fields)]
    fields: pb::Fields,
    /// Id; one is made when none is given
    #[arg(long, default_value = "", hide_default_value = true)]
    id: String,
    #[command(flatten)]
    values: Values,
    #[command(flatten)]
    then: Then,
    /// Property (repeatable)
    #[arg(long, value_name = "KEY=VALUE")]
    property: Vec<String>,
}

/// Flags of `update`.
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  halonctl queue policy update --id 7 --concurrency 2")]
pub(crate) struct Update {
    /// Id of the condition
    #[arg(long)]
    id: String,
    #[command(flatten)]
    then: Then,
}

/// Flags of `delete`.
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  halonctl queue policy delete 7")]
pub(crate) struct Delete {
    /// Id of the condition
    id: String,
}

/// Flags of `refill`.
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  halonctl queue policy refill --remotemx mx.example.com 10")]
pub(crate) struct Refill {
    /// Tokens to add to each bucket
    tokens: f64,
    #[command(flatten)]
    values: Values,
}

/// Values of the queue fields.
#[derive(clap::Args, Clone, Debug, Default)]
#[command(next_help_heading = "Deliveries")]
pub(super) struct Values {
    /// Transport
    #[arg(long, value_name = "ID")]
    pub(super) transportid: Option<String>,
    /// Address to deliver from
    #[arg(long, value_name = "IP")]
    pub(super) localip: Option<String>,
    /// Address to deliver to
    #[arg(long, value_name = "IP")]
    pub(super) remoteip: Option<String>,
    /// Host to deliver to
    #[arg(long, value_name = "HOST")]
    pub(super) remotemx: Option<String>,
    /// Domain of the recipient
    #[arg(long, value_name = "DOMAIN")]
    pub(super) recipientdomain: Option<String>,
    /// Job id
    #[arg(long, value_name = "ID")]
    pub(super) jobid: Option<String>,
    /// Grouping of remote hosts
    #[arg(long, value_name = "ID")]
    pub(super) grouping: Option<String>,
}

/// What a condition sets.
#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Settings")]
struct Then {
    /// Deliveries at one time
    #[arg(long, value_name = "NUMBER", default_value_t = 0, hide_default_value = true)]
    concurrency: u64,
    /// Deliveries in so many seconds, such as 10/60
    #[arg(long, value_name = "COUNT/SECONDS", value_parser = parse_rate)]
    rate: Option<pb::PolicyRate>,
    /// Tag of the messages that wait
    #[arg(long, default_value = "", hide_default_value = true)]
    tag: String,
    /// Let later conditions have no say
    #[arg(long)]
    stop: bool,
    /// Seconds until the condition ends; 0 for no end
    #[arg(long, value_name = "SECONDS", default_value_t = 0.0)]
    ttl: f64,
}

pub(super) fn run(verb: &Verb, context: &mut Context<'_>) -> Result<()> {
    match verb {
        Verb::Reload => context.call(call::POLICY_RELOAD, &()).map(|_| ()),
        Verb::List => list(context),
        Verb::Add(args) => add(args, context),
        Verb::Update(args) => update(args, context),
        Verb::Delete(args) => delete(args, context),
        Verb::Refill(args) => refill(args, context),
    }
}

fn list(context: &mut Context<'_>) -> Result<()> {
    let Some(answer) = context.call(call::CONDITION_LIST, &())? else { return Ok(()) };
    let columns = [
        ("id", Align::Left),
        ("fields", Align::Left),
        ("if", Align::Left),
        ("concurrency", Align::Right),
        ("rate", Align::Right),
        ("tag", Align::Left),
        ("ttl", Align::Right),
    ];
    let mut table = Table::new(columns);
    for item in answer.items {
        let then = item.then.unwrap_or_default();
        let rate = then.rate.map(|rate| format!("{}/{}", rate.count, rate.interval));
        table.row([
            item.id,
            item.fields.map(|fields| field_names(&fields)).unwrap_or_default(),
            item.r#if.map(|values| if_text(&values)).unwrap_or_default(),
            if then.concurrency == 0 { String::new() } else { then.concurrency.to_string() },
            rate.unwrap_or_default(),
            then.tag,
            ttl_text(item.ttl),
        ]);
    }
    context.table(&table)
}

fn add(args: &Add, context: &mut Context<'_>) -> Result<()> {
    let value = |value: &Option<String>| value.clone().map(|value| pb::StringValue { value });
    let values = &args.values;
    let mut then = args.then.message();
    for pair in &args.property {
        let (key, value) = condition::parse_key_value(pair).map_err(|cause| {
            Error::usage(format!("\"{pair}\" does not fit --property: {cause}"))
        })?;
        then.properties.insert(key.to_owned(), value.to_owned());
    }
    let request = pb::PolicyConditionAddRequest {
        fields: Some(args.fields),
        r#if: Some(pb::PolicyIf {
            transportid: value(&values.transportid),
            localip: value(&values.localip),
            remoteip: value(&values.remoteip),
            remotemx: value(&values.remotemx),
            recipientdomain: value(&values.recipientdomain),
            jobid: value(&values.jobid),
            grouping: value(&values.grouping),
        }),
        then: Some(then),
        ttl: args.then.ttl,
        id: args.id.clone(),
    };
    let Some(answer) = context.call(call::CONDITION_ADD, &request)? else { return Ok(()) };
    context.line(answer.id)
}

fn update(args: &Update, context: &mut Context<'_>) -> Result<()> {
    let request = pb::PolicyConditionUpdateRequest {
        id: args.id.clone(),
        then: Some(args.then.message()),
        ttl: args.then.ttl,
    };
    let Some(answer) = context.call(call::CONDITION_UPDATE, &request)? else { return Ok(()) };
    super::report_affected(answer.affected, "condition(s) changed", &args.id, context)
}

fn delete(args: &Delete, context: &mut Context<'_>) -> Result<()> {
    let request = pb::PolicyConditionDeleteRequest { id: args.id.clone() };
    let Some(answer) = context.call(call::CONDITION_DELETE, &request)? else { return Ok(()) };
    super::report_affected(answer.affected, "condition(s) deleted", &args.id, context)
}

fn refill(args: &Refill, context: &mut Context<'_>) -> Result<()> {
    let values = args.values.clone();
    let request = pb::PolicyRateRefillRequest {
        transportid: values.transportid.unwrap_or_default(),
        localip: values.localip.unwrap_or_default(),
        remoteip: values.remoteip.unwrap_or_default(),
        remotemx: values.remotemx.unwrap_or_default(),
        recipientdomain: values.recipientdomain.unwrap_or_default(),
        jobid: values.jobid.unwrap_or_default(),
        tokens: args.tokens,
        grouping: values.grouping.unwrap_or_default(),
    };
    let Some(answer) = context.call(call::RATE_REFILL, &request)? else { return Ok(()) };
    context.line(format_args!("{} bucket(s) refilled", answer.affected))
}

impl Then {
    fn message(&self) -> pb::PolicyThen {
        pb::PolicyThen {
            rate: self.rate,
            concurrency: self.concurrency,
            tag: self.tag.clone(),
            stop: self.stop,
            ..pb::PolicyThen::default()
        }
    }
}

/// Seconds left, or nothing for no end.
pub(super) fn ttl_text(ttl: f64) -> String {
    if ttl > 0.0 { output::seconds(ttl) } else { String::new() }
}

fn field_names(fields: &pb::Fields) -> String {
    let names = [
        ("transportid", fields.transportid),
        ("localip", fields.localip),
        ("remoteip", fields.remoteip),
        ("remotemx", fields.remotemx),
        ("recipientdomain", fields.recipientdomain),
        ("jobid", fields.jobid),
        ("grouping", fields.grouping),
    ];
    let set = names.iter().filter(|(_, set)| *set).map(|(name, _)| *name);
    set.collect::<Vec<_>>().join(", ")
}

fn if_text(values: &pb::PolicyIf) -> String {
    let names = [
        ("transportid", &values.transportid),
        ("localip", &values.localip),
        ("remoteip", &values.remoteip),
        ("remotemx", &values.remotemx),
        ("recipientdomain", &values.recipientdomain),
        ("jobid", &values.jobid),
        ("grouping", &values.grouping),
    ];
    let set = names
        .iter()
        .filter_map(|(name, value)| value.as_ref().map(|value| format!("{name}={}", value.value)));
    set.collect::<Vec<_>>().join(" ")
}

fn parse_rate(text: &str) -> Result<pb::PolicyRate, String> {
    let wrong = || "write count/seconds, such as 10/60".to_owned();
    let (count, interval) = text.split_once('/').ok_or_else(wrong)?;
    let interval: f64 = interval.parse().map_err(|_| wrong())?;
    if !(interval.is_finite() && interval > 0.0) {
        return Err(wrong());
    }
    Ok(pb::PolicyRate { count: count.parse().map_err(|_| wrong())?, interval })
}
