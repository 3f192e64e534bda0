//! Fuzzes decoders of the standard library; see `src/hsl_std.rs`.
#![no_main]

#[path = "../src/hsl_std.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|input: &[u8]| targets::decoders(input));
