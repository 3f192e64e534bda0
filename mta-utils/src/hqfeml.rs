//! `hqfeml`: the message of a queued message.

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Parser;

use crate::queued::Source;

/// Prints a queued message as it would be sent.
#[derive(Parser, Debug)]
#[command(name = "hqfeml", version)]
pub struct Arguments {
    /// Print it as modified for this recipient, a number of hqfcat's "queueid"
    ///
    /// Messages are stored as the scripts made them, the same for all recipients of a transaction, so
    /// this only fails when there is no such recipient.
    #[arg(short = 'R', value_name = "QUEUEID")]
    recipient: Option<u32>,

    #[command(flatten)]
    source: Source,
}

/// Runs the program.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    crate::finish("hqfeml", run(&arguments))
}

fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let mut queued = arguments.source.open()?;
    if let Some(number) = arguments.recipient
        && queued.rows.iter().all(|row| row.queue.0 != number)
    {
        bail!("{} has no recipient {number}", queued.transaction.id());
    }
    let mut out = std::io::stdout().lock();
    std::io::copy(&mut queued.body, &mut out).context("cannot copy the message")?;
    out.flush().context("cannot write")?;
    Ok(ExitCode::SUCCESS)
}
