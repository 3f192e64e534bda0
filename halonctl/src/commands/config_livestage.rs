//! `halonctl config livestage`: a second configuration for some connections.

use std::{fs, path::PathBuf};

use anyhow::Context as _;
use control::{command::call, pb};

use crate::{
    context::Context,
    error::{Class, Error, Result},
};

/// What to do with the stage.
#[derive(clap::Subcommand, Debug)]
pub(crate) enum Verb {
    /// Start a live stage
    Start(Start),
    /// Show the live stage
    #[command(after_help = "Example:\n  halonctl config livestage status")]
    Status,
    /// End the live stage
    #[command(after_help = "Example:\n  halonctl config livestage cancel")]
    Cancel,
}

/// Flags of `start`.
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:
  halonctl config livestage start --id t1 --file smtpd-app.yaml --probability 0.1 --time 3600")]
pub(crate) struct Start {
    /// Name of the stage
    #[arg(long)]
    id: String,
    /// Running configuration to try
    #[arg(long)]
    file: PathBuf,
    /// Share of the connections, up to 1; 0 is all
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    probability: f32,
    /// Seconds until the stage ends; 0 is never
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    time: u64,
    /// Connections until the stage ends; 0 is never
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    count: u64,
    /// Only connections from this address or network (repeatable)
    #[arg(long, value_name = "IP")]
    remoteip: Vec<String>,
    /// Only connections to this server (repeatable)
    #[arg(long, value_name = "ID")]
    serverid: Vec<String>,
}

pub(super) fn run(verb: &Verb, context: &mut Context<'_>) -> Result<()> {
    match verb {
        Verb::Start(args) => start(args, context),
        Verb::Status => status(context),
        Verb::Cancel => context.call(call::STAGE_CANCEL, &()).map(|_| ()),
    }
}

fn start(args: &Start, context: &mut Context<'_>) -> Result<()> {
    let config = fs::read_to_string(&args.file)
        .with_context(|| format!("cannot read {}", args.file.display()))
        .map_err(|error| Error::new(Class::Configuration, error))?;
    let conditions = pb::ConfigGreenConditions {
        remoteips: args.remoteip.clone(),
        serverids: args.serverid.clone(),
        probability: args.probability,
        time: args.time,
        count: args.count,
    };
    let request = pb::ConfigGreenDeployRequest {
        id: args.id.clone(),
        conditions: Some(conditions),
        config,
        // The stage has to outlive this program.
        connectionbound: false,
    };
    context.call(call::STAGE_START, &request)?;
    Ok(())
}

fn status(context: &mut Context<'_>) -> Result<()> {
    let Some(status) = context.call(call::STAGE_STATUS, &())? else { return Ok(()) };
    if status.id.is_empty() {
        return context.line("no live stage");
    }
    let limits = status.conditions.unwrap_or_default();
    let of = |done: u64, limit: u64| {
        if limit == 0 { done.to_string() } else { format!("{done}/{limit}") }
    };
    let expired = if status.expired { " (expired)" } else { "" };
    context.line(format_args!(
        "{}: {} connection(s), {} runtime{expired}",
        status.id,
        of(status.count, limits.count),
        of(status.time, limits.time),
    ))
}
