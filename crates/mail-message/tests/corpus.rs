//! Odd shapes of real mail and how they are read: `corpus/NNN-name.eml` beside `.txt`.
//!
//! Each line of a reading is a part: its place, type, file name, defects and decoded body. The first
//! line is the subject.

use std::path::Path;

use mail_message::header::decode_value;
use mail_message::{Message, PartId};

fn reading(octets: Vec<u8>) -> String {
    let mut message = Message::new(octets.into());
    let kind = message.content_type(PartId::TOP);
    let charset = kind.as_ref().and_then(|kind| kind.charset());
    let subject = message.view(PartId::TOP).and_then(|view| view.field(b"subject", 0));
    let subject = subject.map(|field| decode_value(field.value, charset));
    let show = |octets: &[u8]| match str::from_utf8(octets) {
        Ok(text) => format!("{text:?}"),
        Err(_) => format!("octets {}", octets.escape_ascii()),
    };
    let mut out = format!("subject: {}\n", show(&subject.unwrap_or_default()));
    let tree = message.tree().cloned().unwrap();
    for part in tree.parts() {
        let kind = part.content_type.as_ref().map_or("unreadable", |kind| &kind.media_type);
        out += &format!("{} {kind}", tree.path(part.id));
        if let Some(name) = message.file_name(part.id) {
            out += &format!(" file {}", show(&name));
        }
        for defect in &part.defects {
            out += &format!(" {}", defect.name());
        }
        if part.children.is_empty() {
            out += &format!(" {}", show(&message.body(part.id).unwrap()));
        }
        out.push('\n');
    }
    out
}

#[test]
fn odd_shapes_are_read_as_expected() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let mut count = 0;
    let mut wrong = String::new();
    let mut files: Vec<_> = std::fs::read_dir(dir).unwrap().map(|f| f.unwrap().path()).collect();
    files.sort();
    for path in files.into_iter().filter(|path| path.extension().is_some_and(|e| e == "eml")) {
        let octets = std::fs::read(&path).unwrap();
        let message = Message::new(octets.clone().into());
        assert_eq!(message.output("").to_vec(&octets), octets);
        let expected = std::fs::read_to_string(path.with_extension("txt")).unwrap_or_default();
        let read = reading(octets);
        if read != expected {
            wrong += &format!("{}\n{read}", path.display());
        }
        count += 1;
    }
    assert!(wrong.is_empty(), "read differently:\n{wrong}");
    assert!(count >= 12, "the corpus is gone");
}
