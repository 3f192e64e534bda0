//! Tells whether calls in tail position are jumps: `cfg(tail_calls)`.
//!
//! The language does not promise it, but the compiler does so whenever it optimises and nothing of the
//! caller is left to do; `vm/quick/` is written so that nothing is. Sanitisers and other
//! instrumentation leave something. The packages are checked for it: `scripts/check-tail-calls`.

use std::env::var;

fn main() {
    println!("cargo::rustc-check-cfg=cfg(tail_calls)");
    println!("cargo::rerun-if-changed=build.rs");
    let optimised = var("OPT_LEVEL").is_ok_and(|level| level == "2" || level == "3");
    let known = var("CARGO_CFG_TARGET_ARCH")
        .is_ok_and(|architecture| matches!(&*architecture, "x86_64" | "aarch64"));
    let plain = var("CARGO_CFG_FUZZING").is_err() && var("CARGO_CFG_SANITIZE").is_err();
    if optimised && known && plain && var("CARGO_CFG_DEBUG_ASSERTIONS").is_err() {
        println!("cargo::rustc-cfg=tail_calls");
    }
}
