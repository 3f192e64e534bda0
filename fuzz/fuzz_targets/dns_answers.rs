//! Fuzzes the answers of name servers; see `src/dns.rs`.
#![no_main]

#[path = "../src/dns.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|input: &[u8]| targets::answers(input));
