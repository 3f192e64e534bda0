//! `halonctl process-stats`.

use control::{
    command::{Program, call},
    stats,
};

use crate::{context::Context, error::Result};

/// Flags.
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  halonctl process-stats | grep queue.queue")]
pub(crate) struct Args {
    /// Print in the OpenMetrics text format
    #[arg(long)]
    openmetrics: bool,
    /// Program to ask: smtpd, rated or dlpd
    #[arg(short = 'P', long, value_name = "PROGRAM", default_value_t = Program::Smtpd)]
    program: Program,
}

pub(super) fn run(args: &Args, context: &mut Context<'_>) -> Result<()> {
    let Some(answer) = context.call_program(args.program, call::PROCESS_STATS, &())? else {
        return Ok(());
    };
    let text = if args.openmetrics { stats::openmetrics(&answer) } else { stats::dotted(&answer) };
    // Every line has its end.
    context.line(text.trim_end())
}
