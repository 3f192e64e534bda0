//! Fuzzes PROXY headers; see `src/smtp.rs`.
#![no_main]

#[path = "../src/smtp.rs"]
#[expect(dead_code, reason = "each target uses one of the functions")]
mod targets;

libfuzzer_sys::fuzz_target!(|input: &[u8]| targets::proxy_header(input));
