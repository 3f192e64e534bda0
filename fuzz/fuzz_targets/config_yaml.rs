//! Fuzzes configuration files; see `src/config.rs`.
#![no_main]

#[path = "../src/config.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|input: &[u8]| targets::yaml(input));
