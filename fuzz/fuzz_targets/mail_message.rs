//! Fuzzes header fields and the parts of messages; see `src/mail_message.rs`.
#![no_main]

#[path = "../src/mail_message.rs"]
#[expect(dead_code, reason = "each target uses one of the functions")]
mod targets;

libfuzzer_sys::fuzz_target!(|input: &[u8]| targets::message(input));
