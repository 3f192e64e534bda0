//! `halonconfig`: packs a folder of configuration and scripts into what the server reads, checks it,
//! and takes it apart again.

mod check;
mod emit;
mod ignore;
mod pack;
mod unpack;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;

/// Packs src/ into dist/: configuration files with scripts and files put in.
#[derive(Parser, Debug)]
#[command(name = "halonconfig", version, after_help = EXAMPLES)]
pub struct Arguments {
    /// Folder with config/, hooks/ and files/.
    #[arg(long, value_name = "DIR", default_value = "src")]
    src_dir: PathBuf,

    /// Folder of the files that the server reads.
    #[arg(long, value_name = "DIR", default_value = "dist")]
    dist_dir: PathBuf,

    /// Take dist/ apart into src/ instead; files that are there are replaced.
    #[arg(long)]
    unpack: bool,

    /// Check the result and write nothing.
    #[arg(long, conflicts_with = "unpack")]
    check: bool,

    /// Write the man pages of this package's programs into a folder: `man1`, and `mta-daemon/man1`.
    #[arg(long, value_name = "DIR", hide = true)]
    man_pages: Option<PathBuf>,
}

const EXAMPLES: &str = "Examples:
  halonconfig && cp dist/* /etc/halon/ && systemctl reload halon
  halonconfig --unpack --dist-dir /etc/halon --src-dir src";

/// Runs the program.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    crate::finish("halonconfig", run(&arguments))
}

fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    if let Some(folder) = &arguments.man_pages {
        man_pages(folder)?;
        return Ok(ExitCode::SUCCESS);
    }
    if arguments.unpack {
        unpack::unpack(&arguments.dist_dir, &arguments.src_dir)?;
        return Ok(ExitCode::SUCCESS);
    }
    let packed = pack::pack(&arguments.src_dir)?;
    let findings = check::check(&packed);
    for finding in &findings.texts {
        eprintln!("{finding}");
    }
    if findings.has_error {
        return Ok(ExitCode::from(EXIT_CONFIGURATION));
    }
    if !arguments.check {
        pack::write(&packed, &arguments.dist_dir)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The page of this program goes with `halonctl`, the others with the server.
fn man_pages(folder: &Path) -> anyhow::Result<()> {
    for command in crate::commands() {
        let is_ours = command.get_name() == "halonconfig";
        let pages = folder.join(if is_ours { "man1" } else { "mta-daemon/man1" });
        std::fs::create_dir_all(&pages)?;
        clap_mangen::generate_to(command, &pages)?;
    }
    Ok(())
}

/// The files that may stand in `src/config` and `dist`.
const FILES: &[&str] = &[
    "smtpd.yaml",
    "smtpd-app.yaml",
    "smtpd-policy.yaml",
    "smtpd-suspend.yaml",
    "smtpd-delivery.yaml",
    "rated.yaml",
    "rated-app.yaml",
    "dlpd.yaml",
    "dlpd-app.yaml",
    "api.yaml",
    "web.yaml",
    "halonctl.yaml",
    "ratectl.yaml",
    "dlpctl.yaml",
];

/// The running configuration, into which scripts and files go.
const RUNNING: &str = "smtpd-app.yaml";

const EXIT_CONFIGURATION: u8 = 3;
