//! `hqfeml`; see `mta_utils::hqfeml`.

use std::process::ExitCode;

fn main() -> ExitCode {
    mta_utils::hqfeml::main()
}
