//! Ends of data that other servers have believed in: none of them ends ours.
//!
//! Each test sends content with the sequence in it, followed by commands that an attacker would like
//! us to execute, followed by the true end. It does so at once and split at every position.

use proptest::prelude::*;
use smtp::server::{CloseReason, Config, LineEndings};

use crate::drive::{Server, config};

const START: &[u8] = b"EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n";
const SMUGGLED: &[u8] = b"MAIL FROM:<smuggled@evil>\r\nRCPT TO:<victim@d>\r\nDATA\r\nhi";
const END: &[u8] = b"\r\n.\r\n";

/// What came of content with `sequence` in it: replies behind 354, events, body.
fn run(line_endings: LineEndings, content: &[u8], split: usize) -> (String, Server) {
    let mut server = Server::new(Config { line_endings, ..config() });
    server.feed(START);
    server.take_said();
    server.feed(&content[..split]);
    server.feed(&content[split..]);
    (server.take_said(), server)
}

/// Checks all three policies with `sequence` at every split.
fn refused(sequence: &[u8]) {
    let content = [b"text", sequence, SMUGGLED, END].concat();
    for split in 0..=content.len() {
        let (said, server) = run(LineEndings::Refuse, &content, split);
        assert_eq!(said, "550 5.6.0 Message has a bare CR, a bare LF or a NUL\r\n", "at {split}");
        assert!(server.told.ends_with("bodyrefused(badlineending)\n"), "{}", server.told);

        let (said, server) = run(LineEndings::RefuseAndClose, &content, split);
        assert!(said.starts_with("521 5.6.0 "), "{said}");
        assert_eq!(said.matches("\r\n").count(), 1, "{said}");
        assert_eq!(server.closed, Some(CloseReason::BadLineEnding));
        assert!(!server.told.contains("smuggled"));

        let (said, server) = run(LineEndings::Fix, &content, split);
        assert_eq!(said, "250 2.0.0 Message accepted\r\n", "at {split}");
        assert!(!server.told.contains("smuggled"));
        assert!(server.body.windows(8).any(|octets| octets == b"smuggled"), "kept as content");
        harmless(&server.body);
    }
}

/// Content that was accepted has CRLF only.
fn harmless(body: &[u8]) {
    for (at, octet) in body.iter().enumerate() {
        match octet {
            b'\r' => assert_eq!(body.get(at + 1), Some(&b'\n'), "bare CR at {at}"),
            b'\n' => assert_eq!(body[at - 1], b'\r', "bare LF at {at}"),
            0 => panic!("NUL at {at}"),
            _ => {}
        }
    }
}

macro_rules! sequences {
    ($($name:ident = $sequence:literal;)+) => {
        $(#[test]
        fn $name() {
            refused($sequence);
        })+
    };
}

sequences! {
    lf_dot_lf_ends_nothing = b"\n.\n";
    lf_dot_crlf_ends_nothing = b"\n.\r\n";
    crlf_dot_lf_ends_nothing = b"\r\n.\n";
    cr_dot_cr_ends_nothing = b"\r.\r";
    crlf_dot_cr_ends_nothing = b"\r\n.\r";
    cr_dot_crlf_ends_nothing = b"\r.\r\n";
    cr_dot_lf_ends_nothing = b"\r.\n";
    lf_dot_cr_ends_nothing = b"\n.\r";
    crlf_dot_crcrlf_ends_nothing = b"\r\n.\r\r\n";
    crcrlf_dot_crlf_ends_nothing = b"\r\r\n\n.\r\n";
    crlf_dot_nul_crlf_ends_nothing = b"\r\n.\0\r\n";
    crlf_nul_dot_crlf_ends_nothing = b"\r\n\0.\r\n";
    cr_nul_lf_dot_crlf_ends_nothing = b"\r\0\n.\r\n";
    crlf_dot_cr_nul_lf_ends_nothing = b"\r\n.\r\0\n";
    nul_lf_dot_lf_ends_nothing = b"\0\n.\n";
    a_bare_cr_ends_nothing = b"\r";
    a_bare_lf_ends_nothing = b"\n";
}

#[test]
fn a_stuffed_dot_is_content() {
    for split in 0..=12 {
        let content = [b"a\r\n..\r\nb", END].concat();
        let (said, server) = run(LineEndings::Refuse, &content, split.min(content.len()));
        assert_eq!(said, "250 2.0.0 Message accepted\r\n");
        assert_eq!(server.body, b"a\r\n.\r\nb\r\n");
    }
}

#[test]
fn an_empty_message_ends_at_once() {
    let (said, server) = run(LineEndings::Refuse, b".\r\n", 1);
    assert_eq!(said, "250 2.0.0 Message accepted\r\n");
    assert_eq!(server.body, b"");
}

#[test]
fn commands_with_bare_line_ends_are_refused_unless_they_are_to_be_fixed() {
    for (line_endings, said, closed) in [
        (LineEndings::Refuse, "500 5.5.2 Lines must end in CRLF\r\n250 mx.example\r\n", None),
        (
            LineEndings::RefuseAndClose,
            "521 5.5.2 Lines must end in CRLF, closing\r\n",
            Some(CloseReason::BadLineEnding),
        ),
        (LineEndings::Fix, "250 2.0.0 OK\r\n250 mx.example\r\n", None),
    ] {
        let mut server = Server::new(Config { line_endings, ..config() });
        server.take_said();
        server.feed(b"NOOP\nHELO x\r\n");
        assert_eq!((server.take_said().as_str(), server.closed), (said, closed));
    }
}

#[test]
fn chunks_follow_the_policy_as_well() {
    let start = b"EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n";
    // A CR at the end of one chunk and LF at the start of the next belong together.
    let fine = b"BDAT 2\r\na\rBDAT 2 LAST\r\n\nb";
    let odd: &[&[u8]] =
        &[b"BDAT 5 LAST\r\na\n.\nb", b"BDAT 2 LAST\r\na\r", b"BDAT 2\r\na\rBDAT 1 LAST\r\nb"];
    let run = |line_endings, chunks: &[u8]| {
        let mut server = Server::new(Config { line_endings, ..config() });
        server.feed(start);
        server.take_said();
        server.feed(chunks);
        server.feed(b"NOOP\r\n");
        (server.take_said(), server.body)
    };
    let (said, body) = run(LineEndings::Refuse, fine);
    assert!(said.contains("250 2.0.0 Message accepted\r\n"), "{said}");
    assert_eq!(body, b"a\r\nb");
    for chunks in odd {
        let (said, _) = run(LineEndings::Refuse, chunks);
        assert_eq!(said.matches("550 5.6.0 ").count(), 1, "{said}");
        assert!(said.ends_with("250 2.0.0 OK\r\n"), "{said}");
        let (said, body) = run(LineEndings::Fix, chunks);
        assert!(said.contains("250 2.0.0 Message accepted\r\n"), "{said}");
        harmless(&body);
    }
}

/// What content means by RFC 5321 alone: where it ends and what it says, octet by octet.
fn reference(content: &[u8]) -> Option<(usize, Vec<u8>, bool)> {
    let mut end = None;
    for at in 0..content.len() {
        let line_start = at == 0 || (at >= 2 && &content[at - 2..at] == b"\r\n");
        if line_start && content[at..].starts_with(b".\r\n") {
            end = Some(at);
            break;
        }
    }
    let end = end?;
    let text = &content[..end];
    let mut body = Vec::new();
    let mut odd = false;
    for (at, octet) in text.iter().enumerate() {
        let line_start = at == 0 || (at >= 2 && &text[at - 2..at] == b"\r\n");
        if line_start && *octet == b'.' {
            continue;
        }
        odd |= match octet {
            0 => true,
            b'\n' => at == 0 || text[at - 1] != b'\r',
            b'\r' => text.get(at + 1) != Some(&b'\n'),
            _ => false,
        };
        body.push(*octet);
    }
    Some((end + 3, body, odd))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_end_of_data_is_where_the_rfc_says(
        tokens in prop::collection::vec(
            prop::sample::select(vec!["\r\n", "\r\n", ".", ".", "\r", "\n", "\0", "a", "\r\n.\r\n"]),
            0..12,
        ),
        split in 0usize..30,
    ) {
        let mut content = tokens.concat().into_bytes();
        content.extend_from_slice(END);
        let (length, body, odd) = reference(&content).unwrap();
        content.truncate(length);
        content.extend_from_slice(b"NOOP\r\n");
        let split = split.min(content.len());
        let (said, server) = run(LineEndings::Refuse, &content, split);
        let reply = if odd { "550 5.6.0 Message has a bare CR, a bare LF or a NUL" } else { "250 2.0.0 Message accepted" };
        let said_whole = format!("{reply}\r\n250 2.0.0 OK\r\n");
        // `reject…` and the like cannot come up: the letters are not there.
        prop_assert_eq!(said, said_whole);
        if !odd {
            prop_assert_eq!(&server.body, &body);
        }
        let (said, server) = run(LineEndings::Fix, &content, split);
        prop_assert_eq!(said, "250 2.0.0 Message accepted\r\n250 2.0.0 OK\r\n");
        harmless(&server.body);
    }
}
