//! `halontop`: live counters of the daemon.

use std::process::ExitCode;

fn main() -> ExitCode {
    halonctl::halontop()
}
