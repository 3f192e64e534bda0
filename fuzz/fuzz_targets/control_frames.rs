//! Fuzzes frames and messages of the control socket; see `src/control.rs`.
#![no_main]

#[path = "../src/control.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|input: &[u8]| targets::frames(input));
