//! Fuzzes the HSL compiler and machine; see `src/hsl.rs`.
#![no_main]

#[path = "../src/hsl.rs"]
#[expect(dead_code, reason = "each target uses one of the functions")]
mod hsl_targets;

libfuzzer_sys::fuzz_target!(|text: &[u8]| hsl_targets::machine(text));
