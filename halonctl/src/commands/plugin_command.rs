//! `halonctl plugin command`.

use std::{ffi::OsString, os::unix::ffi::OsStringExt as _};

use control::{command::call, pb};

use crate::{context::Context, error::Result};

/// Flags.
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  halonctl plugin command warmup status")]
pub(crate) struct Args {
    /// Id of the plugin
    plugin: String,
    /// What the plugin gets
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

pub(super) fn run(args: &Args, context: &mut Context<'_>) -> Result<()> {
    let request = pb::PluginCommandRequest {
        id: args.plugin.clone(),
        arguments: args.arguments.iter().map(|a| a.clone().into_vec()).collect(),
    };
    let Some(answer) = context.call(call::PLUGIN_COMMAND, &request)? else { return Ok(()) };
    context.octets(&answer.response)?;
    if answer.response.is_empty() || answer.response.ends_with(b"\n") {
        return Ok(());
    }
    context.octets(b"\n")
}
