//! `halonctl assets`: man pages and completions from the command line itself, for packages.

use std::{fs, path::PathBuf};

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::{cli::Cli, error::Result, top};

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
    for mut command in [Cli::command(), top::Args::command()] {
        clap_mangen::generate_to(command.clone(), &man)?;
        let name = command.get_name().to_owned();
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            clap_complete::generate_to(shell, &mut command, &name, &completions)?;
        }
    }
    Ok(())
}
