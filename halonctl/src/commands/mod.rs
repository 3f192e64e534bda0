//! The tree of commands: nouns, then verbs. One file per command with its flags and its function.

mod assets;
mod conditions;
mod config_livestage;
mod config_reload;
mod hsl_cache;
mod hsl_memory;
mod hsl_rate;
mod license_fetch;
mod plugin_command;
mod process_stats;
mod queue_delivery;
mod queue_freeze;
mod queue_groupby;
mod queue_list;
mod queue_load;
mod queue_policy;
mod queue_quota;
mod queue_suspend;
mod queue_unload;
mod queue_update;
mod resolver_clear;
mod resolver_query;

use clap::Subcommand;

use crate::{context::Context, error::Result};

/// What halonctl can do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Reload the running configuration
    Reload(config_reload::Args),
    /// Running configuration and live stages
    #[command(subcommand)]
    Config(Config),
    /// Queued messages, policies and suspensions
    #[command(subcommand)]
    Queue(Box<Queue>),
    /// What scripts share
    #[command(subcommand)]
    Hsl(Hsl),
    /// The DNS resolver
    #[command(subcommand)]
    Resolver(Resolver),
    /// Print statistics of the daemon
    ProcessStats(process_stats::Args),
    /// Native plugins
    #[command(subcommand)]
    Plugin(Plugin),
    /// Licences, which this daemon does not need
    #[command(subcommand)]
    License(License),
    /// Write man pages and shell completions into a directory
    #[command(hide = true)]
    Assets(assets::Args),
}

/// `halonctl config`.
#[derive(Debug, Subcommand)]
pub(crate) enum Config {
    /// Reload the running configuration
    Reload(config_reload::Args),
    /// Try a configuration on some connections
    #[command(subcommand)]
    Livestage(config_livestage::Verb),
}

/// `halonctl queue`.
#[derive(Debug, Subcommand)]
pub(crate) enum Queue {
    /// List queued messages
    List(queue_list::Args),
    /// Count queued messages by the values of fields
    Groupby(queue_groupby::Args),
    /// Change, move or end queued messages
    Update(queue_update::Args),
    /// Freeze messages while another program changes them
    Freeze(queue_freeze::Args),
    /// Hand queue files over and forget them
    Unload(queue_unload::Args),
    /// Put a queue file or a message into the queue
    Load(queue_load::Args),
    /// Show the use of a quota
    Quota(queue_quota::Args),
    /// Pickup policies and their dynamic conditions
    #[command(subcommand)]
    Policy(queue_policy::Verb),
    /// Suspended deliveries
    #[command(subcommand)]
    Suspend(queue_suspend::Verb),
    /// Delivery settings
    #[command(subcommand)]
    Delivery(queue_delivery::Verb),
}

/// `halonctl hsl`.
#[derive(Debug, Subcommand)]
pub(crate) enum Hsl {
    /// Shared values
    #[command(subcommand)]
    Memory(hsl_memory::Verb),
    /// Buckets of cache statements
    #[command(subcommand)]
    Cache(hsl_cache::Verb),
    /// Rates
    #[command(subcommand)]
    Rate(hsl_rate::Verb),
}

/// `halonctl resolver`.
#[derive(Debug, Subcommand)]
pub(crate) enum Resolver {
    /// Empty the DNS cache
    Clear(resolver_clear::Args),
    /// Show where mail of a domain goes
    Query(resolver_query::Args),
}

/// `halonctl plugin`.
#[derive(Debug, Subcommand)]
pub(crate) enum Plugin {
    /// Call a command of a plugin and print its answer
    Command(plugin_command::Args),
}

/// `halonctl license`.
#[derive(Debug, Subcommand)]
pub(crate) enum License {
    /// Succeed: there is nothing to fetch
    Fetch(license_fetch::Args),
}

/// Carries out a command.
pub(crate) fn run(command: &Command, context: &mut Context<'_>) -> Result<()> {
    match command {
        Command::Reload(args) => config_reload::run(args, context),
        Command::Config(Config::Reload(args)) => config_reload::run(args, context),
        Command::Config(Config::Livestage(verb)) => config_livestage::run(verb, context),
        Command::Queue(queue) => run_queue(queue, context),
        Command::Hsl(Hsl::Memory(verb)) => hsl_memory::run(verb, context),
        Command::Hsl(Hsl::Cache(verb)) => hsl_cache::run(verb, context),
        Command::Hsl(Hsl::Rate(verb)) => hsl_rate::run(verb, context),
        Command::Resolver(Resolver::Clear(args)) => resolver_clear::run(args, context),
        Command::Resolver(Resolver::Query(args)) => resolver_query::run(args, context),
        Command::ProcessStats(args) => process_stats::run(args, context),
        Command::Plugin(Plugin::Command(args)) => plugin_command::run(args, context),
        Command::License(License::Fetch(args)) => license_fetch::run(args),
        Command::Assets(args) => assets::run(args),
    }
}

fn run_queue(queue: &Queue, context: &mut Context<'_>) -> Result<()> {
    match queue {
        Queue::List(args) => queue_list::run(args, context),
        Queue::Groupby(args) => queue_groupby::run(args, context),
        Queue::Update(args) => queue_update::run(args, context),
        Queue::Freeze(args) => queue_freeze::run(args, context),
        Queue::Unload(args) => queue_unload::run(args, context),
        Queue::Load(args) => queue_load::run(args, context),
        Queue::Quota(args) => queue_quota::run(args, context),
        Queue::Policy(verb) => queue_policy::run(verb, context),
        Queue::Suspend(verb) => queue_suspend::run(verb, context),
        Queue::Delivery(verb) => queue_delivery::run(verb, context),
    }
}

/// Reads `field`, `field:asc` or `field:desc`.
fn parse_order(text: &str) -> Result<(&str, control::pb::Order), String> {
    match text.rsplit_once(':') {
        None | Some((_, "asc")) => {
            Ok((text.strip_suffix(":asc").unwrap_or(text), control::pb::Order::Asc))
        }
        Some((field, "desc")) => Ok((field, control::pb::Order::Desc)),
        Some(_) => Err("the orders are asc and desc".to_owned()),
    }
}

/// Reports a change of things with an id; none affected is a failure.
fn report_affected(affected: u64, done: &str, id: &str, context: &mut Context<'_>) -> Result<()> {
    if affected == 0 {
        return Err(crate::error::Error::request(format!("there is no \"{id}\"")));
    }
    context.line(format_args!("{affected} {done}"))
}
