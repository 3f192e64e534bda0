//! `halonctl queue load`.

use std::{fs, path::PathBuf};

use control::{
    command::call,
    frame,
    pb::{self, queue_import_request as import},
};

use crate::{
    context::Context,
    error::{Error, Result},
};

/// Flags.
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  halonctl queue load --reset-retrycount 5e00c2.hqf")]
pub(crate) struct Args {
    /// Queue file, or a message with --rfc822
    file: PathBuf,
    /// The file is a message, not a queue file
    #[arg(long)]
    rfc822: bool,
    /// Give the message a new transaction id
    #[arg(long)]
    reset_transactionid: bool,
    /// Let the message be queued now
    #[arg(long)]
    reset_ts: bool,
    /// Start counting attempts anew
    #[arg(long)]
    reset_retrycount: bool,
}

pub(super) fn run(args: &Args, context: &mut Context<'_>) -> Result<()> {
    let octets = fs::read(&args.file)
        .map_err(|error| Error::request(format!("cannot read {}: {error}", args.file.display())))?;
    // The rest of the request is small; the daemon would refuse and close.
    if octets.len() as u64 + 1024 > frame::MAX_REQUEST {
        return Err(Error::request(format!(
            "{} is larger than the limit of {} bytes",
            args.file.display(),
            frame::MAX_REQUEST
        )));
    }
    let format = match args.rfc822 {
        true => import::data::Format::Rfc822(octets),
        false => import::data::Format::Hqf(octets),
    };
    let flag = |set: bool| set.then_some(pb::BoolValue { value: true });
    let reset = import::Reset {
        transactionid: flag(args.reset_transactionid),
        ts: flag(args.reset_ts),
        retrycount: flag(args.reset_retrycount),
    };
    let data = Some(import::Data { format: Some(format) });
    let request = pb::QueueImportRequest { data, reset: Some(reset) };
    let Some(answer) = context.call(call::QUEUE_IMPORT, &request)? else { return Ok(()) };
    context.line(answer.transactionid)
}
