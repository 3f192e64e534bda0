//! Fuzzes certificates, keys and cryptographic messages; see `src/hsl_std.rs`.
#![no_main]

#[path = "../src/scripts.rs"]
mod scripts;
#[path = "../src/hsl_std.rs"]
#[expect(dead_code, reason = "each target uses one of the functions")]
mod targets;

libfuzzer_sys::fuzz_target!(|input: &[u8]| targets::certificates(input));
