//! Changes of messages: what they do to the octets, and what they must leave alone.

use bytes::Bytes;
use mail_message::header::WriteOptions;
use mail_message::transfer_encoding::TransferEncoding;
use mail_message::{Message, PartId, SnapshotId, Tree};
use proptest::prelude::*;

const TOP: PartId = PartId::TOP;
const DATE: &str = "Thu, 01 Jan 1970 00:00:00 +0000";

fn message(text: &str) -> Message {
    Message::new(Bytes::copy_from_slice(text.as_bytes()))
}

fn written(message: &Message) -> String {
    String::from_utf8(message.output(DATE).to_vec(message.text())).unwrap()
}

fn plain() -> WriteOptions {
    WriteOptions::default()
}

#[test]
fn a_field_does_not_run_into_an_mbox_line_that_nothing_ends() {
    let mut m = message("From x");
    m.add_header(TOP, b"X", b"one", plain()).unwrap();
    m.set_header(TOP, b"Y", b"two", None, plain()).unwrap();
    assert_eq!(written(&m), "From x\r\nX: one\r\nY: two\r\n");
    let mut m = message("From x");
    m.set_header(TOP, b"Y", b"two", None, plain()).unwrap();
    assert_eq!(written(&m), "From x\r\nY: two\r\n");
}

#[test]
fn header_changes_touch_their_fields_only() {
    let text = "A: 1\r\nSubject:  odd \r\n\tfolding\r\nB : 2\r\nA: 3\r\n\r\nbody\r\n";
    let mut m = message(text);
    m.add_header(TOP, b"X", b"one", plain()).unwrap();
    m.add_header(TOP, b"Y", b"two", plain()).unwrap();
    assert_eq!(m.set_header(TOP, b"a", b"new", None, plain()).unwrap(), 1);
    assert_eq!(m.delete_header(TOP, b"b", None).unwrap(), 1);
    assert_eq!(m.set_header(TOP, b"Z", b"low", None, plain()).unwrap(), 1);
    assert_eq!(
        written(&m),
        "Y: two\r\nX: one\r\na: new\r\nSubject:  odd \r\n\tfolding\r\nA: 3\r\nZ: low\r\n\r\nbody\r\n"
    );
    assert_eq!(m.view(TOP).unwrap().field(b"A", 0).unwrap().value, b" 1");
    assert_eq!(m.reset(), 5);
    assert_eq!(written(&m), text);
}

#[test]
fn indexes_count_the_fields_of_the_original() {
    let mut m = message("X: 0\nX: 1\nX: 2\n\n");
    assert_eq!(m.delete_header(TOP, b"x", Some(0)).unwrap(), 1);
    assert_eq!(m.delete_header(TOP, b"x", Some(0)).unwrap(), 0);
    assert_eq!(m.set_header(TOP, b"X", b"new", Some(1), plain()).unwrap(), 1);
    assert_eq!(m.set_header(TOP, b"X", b"new", Some(3), plain()).unwrap(), 0);
    assert_eq!(written(&m), "X: new\nX: 2\n\n");
    assert_eq!(m.delete_header(TOP, b"X", None).unwrap(), 2);
    assert_eq!(written(&m), "\n");
    m.set_header(TOP, b"X", b"again", None, plain()).unwrap();
    assert_eq!(written(&m), "X: again\n\n");
}

#[test]
fn renaming_keeps_every_other_octet() {
    let mut m = message("Old :  a\r\n\tb \r\nOLD: c\r\n\r\n");
    m.add_header(TOP, b"old", b"d", plain()).unwrap();
    assert_eq!(m.rename_header(TOP, b"Old", b"New").unwrap(), 3);
    assert_eq!(written(&m), "New: d\r\nNew :  a\r\n\tb \r\nNew: c\r\n\r\n");
    assert_eq!(m.set_header(TOP, b"new", b"e", None, plain()).unwrap(), 1);
    assert_eq!(written(&m), "New: d\r\nnew: e\r\nNew: c\r\n\r\n");
}

#[test]
fn header_and_body_stay_apart_without_an_empty_line() {
    for (text, expected) in [
        ("", "X: 1\r\n"),
        ("just text\n", "X: 1\n\njust text\n"),
        (" folded\n", "X: 1\n\n folded\n"),
        ("A: 2", "X: 1\r\nA: 2"),
        ("A: 2\n", "X: 1\nA: 2\n"),
    ] {
        let mut m = message(text);
        m.add_header(TOP, b"X", b"1", plain()).unwrap();
        assert_eq!(written(&m), expected);
    }
    let mut m = message("A: 2");
    m.set_header(TOP, b"X", b"1", None, plain()).unwrap();
    m.set_body(TOP, b"new", None).unwrap();
    assert_eq!(written(&m), "A: 2\r\nX: 1\r\n\r\nnew");
}

#[test]
fn a_header_change_of_a_large_message_needs_its_head_only() {
    let head = Bytes::from_static(b"Received: x\r\nSubject: old\r\nTo: y\r\n\r\nthe bo");
    assert!(Message::from_head(head.slice(..20), 1_000_000).is_err());
    let mut m = Message::from_head(head.clone(), 1_000_000).unwrap();
    m.add_header(TOP, b"X", b"1", plain()).unwrap();
    let replacement = m.output("").replacement();
    assert_eq!((replacement.skip, replacement.to_vec(&head)), (0, b"X: 1\r\n".to_vec()));
    m.set_header(TOP, b"Subject", b"new", None, plain()).unwrap();
    let replacement = m.output("").replacement();
    assert_eq!(replacement.skip, 27);
    assert_eq!(replacement.to_vec(&head), b"X: 1\r\nReceived: x\r\nSubject: new\r\n");
    assert!(m.tree().is_none() && m.body(TOP).is_none());
    assert_eq!(m.output("").len(), 1_000_000 + 6);
}

#[test]
fn a_new_body_is_encoded_and_says_so() {
    let mut m = message("Content-Type: text/plain; charset=utf-8\r\n\r\nold");
    m.set_body(TOP, "some words, and på a word of \n Swedish".as_bytes(), None).unwrap();
    assert_eq!(
        written(&m),
        "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\
         MIME-Version: 1.0\r\n\r\nsome words, and p=C3=A5 a word of=20\r\n Swedish"
    );
    assert_eq!(m.reset(), 1);
    m.set_body(TOP, b"x", Some(TransferEncoding::Base64)).unwrap();
    assert!(written(&m).ends_with("Encoding: base64\r\nMIME-Version: 1.0\r\n\r\neA==\r\n"));
    assert_eq!(m.body(TOP).unwrap(), "old");
}

const NESTED: &str = "From: a@b.c\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\npre\r\n\
    --b\r\n\r\none\r\n--b\r\nContent-Type: text/html\r\n\r\ntwo\r\n--b--\r\nepi\r\n";

#[test]
fn parts_come_and_go_without_touching_their_siblings() {
    let mut m = message(NESTED);
    let parts = m.tree().unwrap().parts()[0].children.clone();
    m.remove_part(parts[0]).unwrap();
    m.append_part(TOP, "\r\nlast".into(), "multipart/mixed", "new").unwrap();
    m.prepend_part(TOP, "\r\nfirst".into(), "multipart/mixed", "new").unwrap();
    m.add_header(parts[1], b"X", b"y", plain()).unwrap();
    assert_eq!(
        written(&m),
        "From: a@b.c\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\npre\r\n--b\r\n\r\nfirst\r\n\
         --b\r\nX: y\r\nContent-Type: text/html\r\n\r\ntwo\r\n--b\r\n\r\nlast\r\n--b--\r\nepi\r\n"
    );
    m.reset();
    m.replace_part(parts[1], "X: z\r\n\r\nnew".into()).unwrap();
    assert!(m.set_preamble(TOP, b"") && m.set_epilogue(TOP, b"end"));
    assert_eq!(
        written(&m),
        "From: a@b.c\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n\r\n--b\r\n\r\none\r\n\
         --b\r\nX: z\r\n\r\nnew\r\n--b--\r\nend"
    );
    assert!(m.append_part(TOP, "\r\n--b--".into(), "multipart/mixed", "n").is_err());
}

#[test]
fn a_new_body_takes_the_place_of_all_parts() {
    let mut m = message(NESTED);
    m.append_part(TOP, "\r\nlost".into(), "multipart/mixed", "n").unwrap();
    assert!(m.set_preamble(TOP, b"lost"));
    m.set_body(TOP, "--b\r\n\r\nnew \u{e5}\r\n--b--\r\n".as_bytes(), None).unwrap();
    let header = "From: a@b.c\r\nContent-Type: multipart/mixed; boundary=b\r\n";
    assert_eq!(
        written(&m),
        format!(
            "{header}Content-Transfer-Encoding: 8bit\r\nMIME-Version: 1.0\r\n\r\n\
             --b\r\n\r\nnew \u{e5}\r\n--b--\r\n"
        )
    );
    m.reset();
    m.set_body(TOP, b"--b\r\n\r\nnew\r\n--b--", None).unwrap();
    assert_eq!(written(&m), format!("{header}\r\n--b\r\n\r\nnew\r\n--b--"));
    // What is added now goes around it.
    m.append_part(TOP, "\r\nadded".into(), "multipart/signed", "W").unwrap();
    assert_eq!(
        written(&m),
        "From: a@b.c\r\nContent-Type: multipart/signed; boundary=W\r\nMIME-Version: 1.0\r\n\r\n\
         --W\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nnew\r\n--b--\r\n\
         --W\r\n\r\nadded\r\n--W--\r\n"
    );
    let mut m = message(
        "Content-Type: multipart/mixed; boundary=o\r\n\r\n--o\r\n\
         Content-Type: multipart/alternative; boundary=i\r\n\r\n--i\r\n\r\nold\r\n--i--\r\n--o--\r\n",
    );
    let inner = m.tree().unwrap().part(TOP).unwrap().children[0];
    m.set_body(inner, b"--i\r\n\r\nnew\r\n--i--\r\n", None).unwrap();
    assert_eq!(
        written(&m),
        "Content-Type: multipart/mixed; boundary=o\r\n\r\n--o\r\n\
         Content-Type: multipart/alternative; boundary=i\r\n\r\n--i\r\n\r\nnew\r\n--i--\r\n\r\n--o--\r\n"
    );
    assert!(m.set_body(inner, b"--o--", None).is_err());
}

#[test]
fn a_new_body_cannot_end_its_part() {
    let text = "Content-Type: multipart/mixed; boundary=o\r\n\r\n--o\r\n\r\none\r\n--o\r\n\
                Content-Type: message/rfc822\r\n\r\nX: y\r\n\r\ntwo\r\n--o--\r\n";
    let forged = "--o\nContent-Type: text/html\n\nforged";
    for data in [forged.to_owned(), format!("å\n{forged}"), format!("\0\r{forged}")] {
        let mut m = message(text);
        let [first, second] = m.tree().unwrap().part(TOP).unwrap().children[..] else { panic!() };
        m.set_body(first, data.as_bytes(), None).unwrap();
        let mut changed = message(&written(&m));
        assert_eq!(changed.tree().unwrap().part(TOP).unwrap().children.len(), 2, "{data}");
        let body = changed.body(first).unwrap();
        assert_eq!(body.as_ref(), data.replace('\n', "\r\n").as_bytes());
        // As they are is the only way for these.
        assert!(m.set_body(second, data.as_bytes(), None).is_err());
        assert!(m.set_body(first, data.as_bytes(), Some(TransferEncoding::EightBit)).is_err());
    }
    // Within a line it ends nothing.
    let mut m = message(text);
    let first = m.tree().unwrap().part(TOP).unwrap().children[0];
    m.set_body(first, b"a --o", None).unwrap();
    assert!(written(&m).contains("\r\n--o\r\n\r\na --o\r\n--o\r\n"), "{}", written(&m));
}

#[test]
fn parts_that_are_not_looked_at_stay_as_they_are() {
    let head = "Content-Type: multipart/mixed; boundary=b\r\n\r\n";
    let part = |n: usize| format!("--b\r\n\r\n{n}\r\n");
    let parts = |range: std::ops::Range<usize>| range.map(part).collect::<String>();
    let seen = Tree::MAX_PARTS - 1;
    let text = format!("{head}{}--b--\r\nepi", parts(0..seen + 3));
    let mut m = message(&text);
    let children = m.tree().unwrap().parts()[0].children.clone();
    assert_eq!(children.len(), seen);
    assert!(m.has_unseen());
    m.remove_part(children[seen - 1]).unwrap();
    m.add_header(TOP, b"X", b"y", plain()).unwrap();
    assert!(m.append_part(TOP, "\r\nlast".into(), "multipart/mixed", "new").unwrap());
    assert!(m.set_epilogue(TOP, b"end"));
    let rest = parts(seen..seen + 3);
    let expected =
        format!("X: y\r\n{head}{}{rest}--b\r\n\r\nlast\r\n--b--\r\nend", parts(0..seen - 1));
    assert!(written(&m) == expected, "{}", &written(&m)[expected.len() - 300..]);
    m.reset();
    m.remove_part(children[0]).unwrap();
    assert!(written(&m) == format!("{head}\r\n{}{rest}--b--\r\nepi", parts(1..seen)));
}

#[test]
fn a_multipart_that_is_too_deep_stays_as_it_is() {
    let mut text = String::new();
    for depth in 0..Tree::MAX_DEPTH + 5 {
        text += &format!("Content-Type: multipart/mixed; boundary=b{depth}x\n\n--b{depth}x\n");
    }
    let mut m = message(&text);
    let last = PartId(Tree::MAX_DEPTH as u32 - 1);
    m.tree().unwrap();
    assert!(m.has_unseen());
    assert!(!m.append_part(last, "\nmore".into(), "multipart/mixed", "new").unwrap());
    assert!(!m.set_epilogue(last, b"x"));
    m.add_header(last, b"X", b"y", plain()).unwrap();
    let deep = format!("boundary=b{}x\n\n", Tree::MAX_DEPTH - 2);
    let (before, after) = text.split_once(&deep).unwrap();
    let (delimiter, after) = after.split_once('\n').unwrap();
    assert_eq!(written(&m), format!("{before}{deep}{delimiter}\nX: y\n{after}"));
    // A new body replaces all that is in it.
    m.reset();
    m.tree().unwrap();
    m.set_body(last, b"x", None).unwrap();
    let (fields, _) = after.split_once("\n\n").unwrap();
    assert_eq!(written(&m), format!("{before}{deep}{delimiter}\n{fields}\n\nx"));
    assert!(!message("a: b\n\nbody").has_unseen());
    assert!(message(&"a: b\n".repeat(20_001)).has_unseen());
}

#[test]
fn a_single_part_moves_into_a_new_multipart() {
    let mut m = message("From: a@b.c\r\nContent-Type: text/html\r\n\r\n<p>\r\n");
    m.append_part(TOP, "\r\nmore".into(), "multipart/alternative", "B").unwrap();
    m.prepend_part(TOP, "\r\nless".into(), "multipart/mixed", "unused").unwrap();
    assert_eq!(
        written(&m),
        "From: a@b.c\r\nContent-Type: multipart/alternative; boundary=B\r\nMIME-Version: 1.0\r\n\r\n\
         --B\r\n\r\nless\r\n--B\r\nContent-Type: text/html\r\n\r\n<p>\r\n\r\n--B\r\n\r\nmore\r\n--B--\r\n"
    );
    let again = Tree::parse(written(&m).as_bytes());
    let types: Vec<_> = again.parts().iter().flat_map(|p| p.content_type.clone()).collect();
    let types: Vec<_> = types.iter().map(|kind| kind.media_type.as_str()).collect();
    assert_eq!(types, ["multipart/alternative", "text/plain", "text/html", "text/plain"]);
}

#[test]
fn the_message_itself_can_be_replaced_but_keeps_its_own_fields() {
    let mut m = message("From: a@b.c\nContent-Type: text/html\nTo: x\n\n<p>");
    m.replace_part(TOP, "X: y\nContent-Type: text/plain\n\nnew".into()).unwrap();
    assert_eq!(written(&m), "From: a@b.c\nTo: x\nContent-Type: text/plain\n\nnew");
    m.remove_part(TOP).unwrap();
    assert_eq!(written(&m), "From: a@b.c\nTo: x\n\n");
}

#[test]
fn delimiters_keep_their_line_ends() {
    let head = "Content-Type: multipart/mixed; boundary=b\n\n";
    for (body, expected) in [
        ("pre\n--b\n--b\n\nx\n--b--\n", "pre\n--b\n\nx\n--b--\n"),
        ("--b\n--b--\n", "--b--\n"),
        ("--b\n\nx\n--b\n\ny", "\n--b\n\ny"),
    ] {
        let mut m = message(&format!("{head}{body}"));
        let first = m.tree().unwrap().parts()[0].children[0];
        m.remove_part(first).unwrap();
        assert_eq!(written(&m), format!("{head}{expected}"), "{body:?}");
    }
    let mut m = message(&format!("{head}--b\n--b--"));
    let first = m.tree().unwrap().parts()[0].children[0];
    m.set_body(first, b"text", None).unwrap();
    let again = Tree::parse(written(&m).as_bytes());
    assert_eq!(again.parts().len(), 2, "{}", written(&m));
    let mut m = message(&format!("{head}--b\n\nunclosed"));
    m.tree().unwrap();
    m.append_part(TOP, "\nlast".into(), "multipart/mixed", "n").unwrap();
    assert_eq!(written(&m), format!("{head}--b\n\nunclosed\n--b\n\nlast\n--b--\n"));
}

#[test]
fn snapshots_and_raw_changes_and_late_dates() {
    let mut m = message("Date: old\r\nA: 1\r\n\r\nbody");
    let empty = m.snapshot();
    m.modify_content(19, 1, "B".into()).unwrap();
    assert!(m.modify_content(99, 0, "".into()).is_err());
    let one = m.snapshot();
    m.set_date_later(TOP);
    assert_eq!(written(&m), format!("Date: {DATE}\r\nA: 1\r\n\r\nBody"));
    assert!(m.restore(one));
    assert_eq!(written(&m), "Date: old\r\nA: 1\r\n\r\nBody");
    assert!(m.restore(empty) && m.is_unchanged());
    assert!(!m.restore(SnapshotId(2)));
}

/// One change of a message, chosen by numbers.
fn apply(m: &mut Message, (kind, part, name, index): (u8, u32, usize, usize)) {
    let count = m.tree().unwrap().parts().len() as u32;
    let id = PartId(part % count);
    let name = [&b"A"[..], b"Content-Type", b"X-New"][name % 3];
    match kind % 10 {
        0 => m.add_header(id, name, b"text/x", plain()).unwrap(),
        1 => drop(m.set_header(id, name, b"text/y", None, plain()).unwrap()),
        2 => drop(m.delete_header(id, name, Some(index)).unwrap()),
        3 => drop(m.delete_header(id, name, None).unwrap()),
        4 => drop(m.rename_header(id, name, b"Z").unwrap()),
        5 => m.set_body(id, b"new\xff body", None).unwrap(),
        6 => m.remove_part(id).unwrap(),
        7 => drop(m.append_part(id, "A: 1\r\n\r\nadded".into(), "multipart/mixed", "wrap")),
        8 => drop(m.prepend_part(id, "\r\nadded".into(), "multipart/mixed", "wrap")),
        _ => drop(m.modify_content(index as u64 % 50, 3, "#".into())),
    }
}

const BODY: &str = "(--a\r\n|--a--\r\n|--b\n|--b--\n|\r\n|x|A: 1\r\n|Content-Type: multipart/x; \
    boundary=b\r\n\r\n|Content-Type: message/rfc822\r\n\r\n){0,16}";

proptest! {
    #[test]
    fn no_change_gives_the_original_and_reset_undoes_all(
        body in BODY,
        changes in prop::collection::vec(any::<(u8, u32, usize, usize)>(), 0..8),
    ) {
        let text = format!("A: 0\r\nContent-Type: multipart/mixed; boundary=a\r\n\r\n{body}");
        let mut m = message(&text);
        prop_assert!(m.output("").is_original());
        for change in changes {
            apply(&mut m, change);
        }
        let output = m.output("now");
        prop_assert_eq!(output.to_vec(text.as_bytes()).len() as u64, output.len());
        m.reset();
        prop_assert!(m.output("").is_original());
    }

    #[test]
    fn header_changes_leave_the_body_alone(
        head in "(A: 1\r\n|B :2\n|X-New: \r\n y\r\n){0,5}",
        body in "[a-z:\\r\\n ]{0,20}",
        changes in prop::collection::vec((0u8..5, Just(0u32), 0usize..3, 0usize..3), 1..6),
    ) {
        let text = format!("{head}\r\n{body}");
        let mut m = message(&text);
        let original = m.raw_body(TOP).unwrap();
        for change in changes {
            apply(&mut m, change);
        }
        let changed = m.output("").to_vec(text.as_bytes());
        let read = Message::new(changed.into()).raw_body(TOP).unwrap();
        prop_assert_eq!(read, original);
    }
}
