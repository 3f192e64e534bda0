//! `halontop`: the statistics of the daemon, again and again.
//!
//! [`panes`] lays numbers out and knows no terminal; [`terminal`] knows the terminal and no numbers.

mod panes;
mod terminal;

use std::{
    io::{self, Write},
    time::Duration,
};

use clap::Parser;
use control::{
    command::{Program, call},
    pb::ProcessStatsResponse,
};

use self::terminal::{Key, Terminal};
use crate::{cli::Target, error::Result};

/// Shows live counters of a running mail daemon.
#[derive(Debug, Parser)]
#[command(
    name = "halontop",
    version,
    after_help = "Keys: < and > switch between panes, q ends.

Example:
  halontop --interval 5"
)]
pub(crate) struct Args {
    /// Seconds between two looks
    #[arg(short, long, value_name = "SECONDS", default_value_t = 1,
        value_parser = clap::value_parser!(u16).range(1..))]
    interval: u16,
    /// Print every pane once and end; so it does when the output is no terminal
    #[arg(long)]
    once: bool,
    #[command(flatten)]
    target: Target,
}

pub(crate) fn run() -> u8 {
    crate::with_args(
        |args: Args| {
            if args.once || !terminal::is_here() { once(&args) } else { watch(&args) }
        },
    )
}

fn once(args: &Args) -> Result<()> {
    let stats = args.target.connect(Program::Smtpd)?.call(call::PROCESS_STATS, &())?;
    let mut out = io::stdout().lock();
    writeln!(out, "{}", header(&stats))?;
    for pane in 0..panes::TITLES.len() {
        writeln!(out)?;
        for table in panes::tables(&stats, pane) {
            table.write(&mut out)?;
        }
    }
    Ok(out.flush()?)
}

fn watch(args: &Args) -> Result<()> {
    let mut client = args.target.connect(Program::Smtpd)?;
    // Asked before the screen changes, so that an error is seen.
    let mut stats = client.call(call::PROCESS_STATS, &())?;
    let terminal = Terminal::enter()?;
    let mut pane = 0;
    let count = panes::TITLES.len();
    loop {
        terminal.show(&screen(&stats, pane)?)?;
        match terminal.key(Duration::from_secs(args.interval.into()))? {
            Some(Key::Quit) => return Ok(()),
            Some(Key::Left) => pane = (pane + count - 1) % count,
            Some(Key::Right) => pane = (pane + 1) % count,
            Some(Key::Other) => {}
            None => stats = client.call(call::PROCESS_STATS, &())?,
        }
    }
}

fn screen(stats: &ProcessStatsResponse, pane: usize) -> Result<String> {
    let mut out = format!("{}\n{}\n", header(stats), panes::menu(pane)).into_bytes();
    for table in panes::tables(stats, pane) {
        table.write(&mut out)?;
    }
    // Tables are text.
    Ok(String::from_utf8_lossy(&out).into_owned())
}

fn header(stats: &ProcessStatsResponse) -> String {
    panes::header(stats, jiff::Timestamp::now())
}
