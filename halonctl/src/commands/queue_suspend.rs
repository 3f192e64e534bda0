//! `halonctl queue suspend`.

use control::{
    command::call,
    pb::{self, suspend_request as list, suspend_response::item::Source},
};

use super::queue_policy::{Values, ttl_text};
use crate::{
    context::Context,
    error::{Error, Result},
    output::table::{Align, Table},
};

/// What to do with suspensions.
#[derive(clap::Subcommand, Debug)]
pub(crate) enum Verb {
    /// Reload the suspensions
    #[command(after_help = "Example:\n  halonctl queue suspend reload")]
    Reload,
    /// List suspensions
    List(List),
    /// Stop deliveries for a while
    Add(Add),
    /// Change a suspension
    Update(Update),
    /// End a suspension
    Delete(Delete),
}

/// Flags of `list`.
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  halonctl queue suspend list --remotemx mx.example.com")]
pub(crate) struct List {
    /// The suspension with this id
    #[arg(long)]
    id: Option<String>,
    /// Suspensions with this tag
    #[arg(long)]
    tag: Option<String>,
    /// Also suspensions that policies make
    #[arg(long)]
    pickup: bool,
    /// Suspensions to show; 0 for all
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    limit: u64,
    #[command(flatten)]
    values: Values,
}

/// Flags of `add`.
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Example:\n  halonctl queue suspend add --remotemx mx.example.com --ttl 600"
)]
pub(crate) struct Add {
    /// Id; one is made when none is given
    #[arg(long, default_value = "", hide_default_value = true)]
    id: String,
    /// Seconds until the suspension ends; 0 for no end
    #[arg(long, value_name = "SECONDS", default_value_t = 0.0)]
    ttl: f64,
    /// Tag of the messages that wait
    #[arg(long, default_value = "", hide_default_value = true)]
    tag: String,
    /// Suspend every delivery
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    values: Values,
}

/// Flags of `update`.
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  halonctl queue suspend update --id 7 --ttl 600")]
pub(crate) struct Update {
    /// Id of the suspension
    #[arg(long)]
    id: String,
    /// Seconds until the suspension ends; 0 for no end
    #[arg(long, value_name = "SECONDS", default_value_t = 0.0)]
    ttl: f64,
    /// Tag of the messages that wait
    #[arg(long, default_value = "", hide_default_value = true)]
    tag: String,
}

/// Flags of `delete`.
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  halonctl queue suspend delete 7")]
pub(crate) struct Delete {
    /// Id of the suspension
    id: String,
}

pub(super) fn run(verb: &Verb, context: &mut Context<'_>) -> Result<()> {
    match verb {
        Verb::Reload => context.call(call::SUSPEND_RELOAD, &()).map(|_| ()),
        Verb::List(args) => run_list(args, context),
        Verb::Add(args) => add(args, context),
        Verb::Update(args) => update(args, context),
        Verb::Delete(args) => delete(args, context),
    }
}

fn run_list(args: &List, context: &mut Context<'_>) -> Result<()> {
    let values = args.values.clone();
    let condition = list::Condition {
        transportid: values.transportid.unwrap_or_default(),
        localips: values.localip.into_iter().collect(),
        remoteip: values.remoteip.unwrap_or_default(),
        remotemx: values.remotemx.unwrap_or_default(),
        recipientdomain: values.recipientdomain.unwrap_or_default(),
        jobid: values.jobid.unwrap_or_default(),
        tag: args.tag.clone().unwrap_or_default(),
        pickup: args.pickup,
        grouping: values.grouping.unwrap_or_default(),
    };
    let filter = match &args.id {
        Some(id) if condition == list::Condition::default() => Some(list::Filter::Id(id.clone())),
        Some(_) => return Err(Error::usage("--id stands alone")),
        // Without a condition old servers and new ones would show the policies' own as well.
        None => Some(list::Filter::Condition(condition)),
    };
    let paging = (args.limit > 0).then_some(pb::Limit { limit: args.limit });
    let request = pb::SuspendRequest { filter, paging };
    let Some(answer) = context.call(call::SUSPEND_LIST, &request)? else { return Ok(()) };
    let names = [
        "id",
        "source",
        "transportid",
        "localip",
        "remoteip",
        "remotemx",
        "recipientdomain",
        "jobid",
        "grouping",
        "tag",
    ];
    let columns = names.map(|name| (name, Align::Left));
    let mut table = Table::new(columns.into_iter().chain([("ttl", Align::Right)]));
    for item in answer.items {
        let source = Source::try_from(item.source).map_or("", |source| source.as_str_name());
        table.row([
            item.id,
            source.to_owned(),
            item.transportid,
            item.localip,
            item.remoteip,
            item.remotemx,
            item.recipientdomain,
            item.jobid,
            item.grouping,
            item.tag,
            ttl_text(item.ttl),
        ]);
    }
    context.table(&table)
}

fn add(args: &Add, context: &mut Context<'_>) -> Result<()> {
    let values = args.values.clone();
    let mut request = pb::SuspendAddRequest {
        transportid: values.transportid.unwrap_or_default(),
        localip: values.localip.unwrap_or_default(),
        remoteip: values.remoteip.unwrap_or_default(),
        remotemx: values.remotemx.unwrap_or_default(),
        recipientdomain: values.recipientdomain.unwrap_or_default(),
        jobid: values.jobid.unwrap_or_default(),
        grouping: values.grouping.unwrap_or_default(),
        ..pb::SuspendAddRequest::default()
    };
    match (request == pb::SuspendAddRequest::default(), args.all) {
        (true, false) => {
            return Err(Error::usage("no field, so every delivery would be suspended")
                .with_hint("choose deliveries, such as with --remotemx, or say --all"));
        }
        (false, true) => return Err(Error::usage("--all and fields contradict each other")),
        _ => {}
    }
    request.ttl = args.ttl;
    request.tag.clone_from(&args.tag);
    request.id.clone_from(&args.id);
    let Some(answer) = context.call(call::SUSPEND_ADD, &request)? else { return Ok(()) };
    context.line(answer.id)
}

fn update(args: &Update, context: &mut Context<'_>) -> Result<()> {
    let request =
        pb::SuspendUpdateRequest { ttl: args.ttl, tag: args.tag.clone(), id: args.id.clone() };
    let Some(answer) = context.call(call::SUSPEND_UPDATE, &request)? else { return Ok(()) };
    super::report_affected(answer.affected, "suspension(s) changed", &args.id, context)
}

fn delete(args: &Delete, context: &mut Context<'_>) -> Result<()> {
    let request = pb::SuspendDeleteRequest { id: args.id.clone() };
    let Some(answer) = context.call(call::SUSPEND_DELETE, &request)? else { return Ok(()) };
    super::report_affected(answer.affected, "suspension(s) deleted", &args.id, context)
}
