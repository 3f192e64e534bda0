//! Fuzzes the filters of directory searches; see `src/peers.rs`.
#![no_main]

#[path = "../src/scripts.rs"]
mod scripts;
#[path = "../src/peers.rs"]
#[expect(dead_code, reason = "each target uses one of the functions")]
mod targets;

libfuzzer_sys::fuzz_target!(|input: &[u8]| targets::ldap_filter(input));
