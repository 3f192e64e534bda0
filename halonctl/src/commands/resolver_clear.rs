//! `halonctl resolver clear`.

use control::{command::call, pb};

use crate::{context::Context, error::Result};

/// Flags.
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  halonctl resolver clear")]
pub(crate) struct Args {}

pub(super) fn run(_args: &Args, context: &mut Context<'_>) -> Result<()> {
    context.call(call::RESOLVER_CLEAR, &pb::ResolverCacheClearRequest::default())?;
    Ok(())
}
