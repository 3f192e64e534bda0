//! `halonctl queue freeze`.

use control::pb::{self, queue_update_request as update};

use super::{conditions::Conditions, queue_update};
use crate::{context::Context, error::Result};

/// Flags.
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  halonctl queue freeze --jobid newsletter-7")]
pub(crate) struct Args {
    /// Freeze every message
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    conditions: Conditions,
}

pub(super) fn run(args: &Args, context: &mut Context<'_>) -> Result<()> {
    let frozen = update::r#move::Destination::Freeze(pb::Freeze::Update.into());
    let request = pb::QueueUpdateRequest {
        conditions: Some(args.conditions.build_for_change(args.all)?),
        task: Some(update::Task::Move(update::Move {
            destination: Some(frozen),
            ..update::Move::default()
        })),
        // Busy messages freeze when their attempt ends.
        freeze: true,
        ..pb::QueueUpdateRequest::default()
    };
    queue_update::send(&request, context)
}
