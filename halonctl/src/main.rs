//! `halonctl`: the command line of the control sockets.

use std::process::ExitCode;

fn main() -> ExitCode {
    halonctl::halonctl()
}
