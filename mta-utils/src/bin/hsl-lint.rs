//! `hsl-lint`; see `mta_utils::hsl_lint`.

use std::process::ExitCode;

fn main() -> ExitCode {
    mta_utils::hsl_lint::main()
}
