//! What the fuzz targets of `crates/mail-message` do with their input.
//!
//! Plain functions, so that the corpus also runs as an ordinary test
//! (`crates/mail-message/tests/fuzz_corpus.rs`). A broken promise panics.

use bytes::Bytes;
use mail_message::address_list::{parse_envelope, parse_list, write_mailbox};
use mail_message::encoded_word::{self, WordEncoding};
use mail_message::header::{WriteOptions, decode_value};
use mail_message::{HeaderSection, Message, PartId};

/// A message nobody touched stays as it is; every part lies within it and can be read; a change to
/// the header leaves the body alone.
pub(crate) fn message(text: &[u8]) {
    let mut message = Message::new(Bytes::copy_from_slice(text));
    assert!(message.output("date").is_original(), "reading is no change");
    let header = message.header().clone();
    if let Some(prefix) = HeaderSection::parse_prefix(text) {
        assert_eq!(prefix, header, "the header depends on what follows it");
    }
    for field in header.fields(text) {
        decode_value(field.value, None);
        parse_list(field.value);
    }
    let count = message.tree().map_or(0, |tree| tree.parts().len());
    assert!(count > 0, "a message has a top");
    let ids: Vec<PartId> = message
        .tree()
        .map(|tree| tree.parts().iter().map(|part| part.id).collect())
        .unwrap_or_default();
    for id in ids {
        let part = message.part(id).cloned().expect("a part of the tree");
        assert!(part.range.end <= text.len(), "a part ends behind the message");
        let body = part.body();
        assert!(body.start >= part.range.start && body.end <= part.range.end, "a body outside");
        message.content_type(id);
        message.file_name(id);
        message.body(id);
    }
    assert!(message.is_unchanged() && message.output("date").is_original());

    if message.add_header(PartId::TOP, b"X-Fuzz", b"x", WriteOptions::default()).is_ok() {
        let changed = message.output("date").to_vec(text);
        let body = text.get(header.body_start()..).unwrap_or_default();
        assert!(changed.ends_with(body), "a new field changes the body");
        let again = Message::new(Bytes::from(changed.clone()));
        let found = again.header().first(&changed, b"X-Fuzz");
        assert!(found.is_some(), "a new field is not found again");
    }
}

/// Addresses that parse can be written, and mean the same when they are read again.
pub(crate) fn addresses(text: &[u8]) {
    parse_envelope(text);
    if str::from_utf8(text).is_ok() {
        let words = encoded_word::encode(text);
        assert_eq!(encoded_word::decode(&words), text, "encoding changed the text");
    }
    for mailbox in parse_list(text).unwrap_or_default() {
        let written =
            write_mailbox(&mailbox.name, &mailbox.address, WordEncoding::shorter(&mailbox.name));
        let again = parse_list(&written);
        assert!(again.is_some(), "a written mailbox does not parse");
    }
}
