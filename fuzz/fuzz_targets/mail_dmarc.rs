//! Fuzzes DMARC records and From fields; see `src/mail_auth.rs`.
#![no_main]

#[path = "../src/scripts.rs"]
mod scripts;
#[path = "../src/mail_auth.rs"]
#[expect(dead_code, reason = "each target uses one of the functions")]
mod targets;

libfuzzer_sys::fuzz_target!(|input: &[u8]| targets::dmarc(input));
