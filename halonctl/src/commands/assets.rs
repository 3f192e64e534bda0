//! `halonctl assets`: man pages and completions from the command line itself, for packages.

use std::{fs, path::PathBuf};

use clap::{CommandFactory as _, ValueEnum as _};
use clap_complete::Shell;

use crate::{cli::Cli, error::Result};

/// Flags.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Directory; gets `man1` and `completions`
    directory: PathBuf,
}

pub(super) fn run(args: &Args) -> Result<()> {
    let man = args.directory.join("man1");
    let completions = args.directory.join("completions");
    fs::create_dir_all(&man)?;
    fs::create_dir_all(&completions)?;
    clap_mangen::generate_to(Cli::command(), &man)?;
    let shells = [Shell::Bash, Shell::Zsh, Shell::Fish];
    for shell in Shell::value_variants().iter().filter(|shell| shells.contains(shell)) {
        clap_complete::generate_to(*shell, &mut Cli::command(), "halonctl", &completions)?;
    }
    Ok(())
}
