//! Fuzzes the HSL parser; see `src/hsl.rs`.
#![no_main]

#[path = "../src/hsl.rs"]
#[expect(dead_code, reason = "each target uses one of the functions")]
mod targets;

libfuzzer_sys::fuzz_target!(|input: &[u8]| targets::parser(input));
