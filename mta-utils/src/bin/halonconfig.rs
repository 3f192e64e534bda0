//! `halonconfig`; see `mta_utils::halonconfig`.

use std::process::ExitCode;

fn main() -> ExitCode {
    mta_utils::halonconfig::main()
}
