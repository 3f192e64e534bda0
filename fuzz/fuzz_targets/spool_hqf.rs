//! Fuzzes messages as single files; see `src/spool.rs`.
#![no_main]

#[path = "../src/spool.rs"]
#[expect(dead_code, reason = "each target uses one of the functions")]
mod targets;

libfuzzer_sys::fuzz_target!(|input: &[u8]| targets::hqf(input));
