//! What the fuzz target of `crates/dns` does with its input.
//!
//! A plain function, so that the corpus also runs as an ordinary test
//! (`crates/dns/tests/fuzz_corpus.rs`). A broken promise panics.

use dns::RecordValue;

/// The records of a message have names without a final dot, and there are no more than fit in it.
pub(crate) fn answers(input: &[u8]) {
    let Some(records) = dns::records_of_message(input) else { return };
    // A record is at least a root name, type, class, time to live and length (RFC 1035 §3.2.1).
    assert!(records.len() * 11 <= input.len(), "{} records", records.len());
    for record in records {
        let names = match record.value {
            RecordValue::Name(name) | RecordValue::Mx { exchange: name, .. } => vec![name],
            RecordValue::Soa { primary, mailbox, .. } => vec![primary, mailbox],
            _ => Vec::new(),
        };
        for name in names {
            // A dot within a label is written with a backslash.
            assert!(!name.ends_with('.') || name.ends_with("\\."), "{name}");
        }
    }
}
