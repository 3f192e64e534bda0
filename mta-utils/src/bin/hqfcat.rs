//! `hqfcat`; see `mta_utils::hqfcat`.

use std::process::ExitCode;

fn main() -> ExitCode {
    mta_utils::hqfcat::main()
}
