//! `halonctl queue delivery`.

use control::command::call;

use crate::{context::Context, error::Result};

/// What to do with the delivery settings.
#[derive(clap::Subcommand, Debug)]
pub(crate) enum Verb {
    /// Reload the delivery settings
    #[command(after_help = "Example:\n  halonctl queue delivery reload")]
    Reload,
}

pub(super) fn run(verb: &Verb, context: &mut Context<'_>) -> Result<()> {
    match verb {
        Verb::Reload => context.call(call::DELIVERY_RELOAD, &()).map(|_| ()),
    }
}
