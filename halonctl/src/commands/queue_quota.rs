//! `halonctl queue quota`.

use control::{command::call, pb};

use crate::{
    context::Context,
    error::Result,
    output::table::{Align, Table},
};

/// Flags.
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  halonctl queue quota customer-42")]
pub(crate) struct Args {
    /// Name of the quota
    name: String,
}

pub(super) fn run(args: &Args, context: &mut Context<'_>) -> Result<()> {
    let request = pb::QueueQuotaRequest { quota: args.name.clone() };
    let Some(answer) = context.call(call::QUEUE_QUOTA, &request)? else { return Ok(()) };
    let columns = [("quota", Align::Left), ("count", Align::Right), ("bytes", Align::Right)];
    let mut table = Table::new(columns);
    table.row([args.name.clone(), answer.count.to_string(), answer.bytes.to_string()]);
    context.table(&table)
}
