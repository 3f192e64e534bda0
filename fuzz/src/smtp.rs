//! What the fuzz targets of `crates/smtp` do with their input.
//!
//! Plain functions, so that the corpus also runs as an ordinary test (`crates/smtp/tests/sessions/corpus.rs`).
//! Nothing may panic, and some things hold whatever comes in: events that owe an answer stop the
//! reading, input is used up, every recipient has one outcome, content is the same however it is cut.

use std::sync::Arc;

use mta_types::Address;
use smtp::client;
use smtp::data::{Decoder, Encoder, Framing, Piece};
use smtp::proxy_header::ProxyHeader;
use smtp::server::{
    AuthAnswer, Config, Event, LineEndings, ProxyAnswer, ReplyParts, Security, Session, Verdict,
};

/// Feeds a server session; the first octet chooses settings, the rest is the client's side.
pub(crate) fn server(bytes: &[u8]) {
    let Some((choice, input)) = bytes.split_first() else { return };
    let config = Config {
        line_endings: match choice & 3 {
            0 => LineEndings::Fix,
            1 => LineEndings::RefuseAndClose,
            _ => LineEndings::Refuse,
        },
        proxy_hook: choice & 4 != 0,
        auth_mechanisms: vec!["LOGIN".to_owned(), "PLAIN".to_owned(), "X-RAW".to_owned()],
        protocol: if choice & 8 == 0 {
            smtp::server::Protocol::Smtp
        } else {
            smtp::server::Protocol::Lmtp
        },
        ..Config::default()
    };
    let mut session = Session::new(Arc::new(config), Security::Clear);
    session.greet(Verdict::accept());
    let step = usize::from(choice >> 4) * 7 + 1;
    let mut count = 0u32;
    for chunk in input.chunks(step) {
        let mut rest = chunk;
        loop {
            let taken = session.receive(rest);
            rest = rest.get(taken.consumed..).unwrap_or_default();
            let Some(event) = taken.event else { break };
            count = count.wrapping_add(1);
            if session.awaits_answer() {
                assert_eq!(session.receive(rest).consumed, 0, "reads while an answer is owed");
            }
            answer(&mut session, &event, count);
        }
        assert!(rest.is_empty(), "input is left although nothing is owed");
        let len = session.output().len();
        session.advance_output(len);
    }
}

fn answer(session: &mut Session, event: &Event<'_>, count: u32) {
    let verdict = match count % 11 {
        3 => Verdict::reject(),
        7 => Verdict::defer().with_text("later\nperhaps"),
        _ => Verdict::accept(),
    };
    match event {
        Event::Command(line) => {
            let command = (count.is_multiple_of(5)).then(|| line.clone());
            let answer = if count.is_multiple_of(7) {
                ProxyAnswer::Reply { reply: ReplyParts::default(), disconnect: false, next: true }
            } else {
                ProxyAnswer::Pass { command, next: true }
            };
            session.answer_proxy(answer);
        }
        Event::Auth(_) if count.is_multiple_of(2) => {
            let reply = ReplyParts::default();
            let (challenge, disconnect) = (b"more".to_vec(), count.is_multiple_of(22));
            session.answer_auth(AuthAnswer::Challenge { challenge, reply, disconnect });
        }
        Event::StartTls => {
            session.answer(verdict);
            session.tls_established();
        }
        Event::EndOfData(_) if count.is_multiple_of(2) => session.answer_each(vec![verdict]),
        _ => session.answer(verdict),
    }
}

/// Feeds a client session; the first octet chooses settings, the rest is the server's side.
pub(crate) fn client(bytes: &[u8]) {
    let Some((choice, input)) = bytes.split_first() else { return };
    let config = client::Config {
        protocol: if choice & 1 == 0 { client::Protocol::Smtp } else { client::Protocol::Lmtp },
        helo: "client.example".to_owned(),
        tls: if choice & 2 == 0 { client::Tls::Disabled } else { client::Tls::Optional },
        credentials: (choice & 4 != 0).then(|| client::Credentials {
            username: "user".to_owned(),
            password: "pass".to_owned(),
        }),
        pipelining: choice & 8 == 0,
        chunking: choice & 16 == 0,
        ..client::Config::default()
    };
    let mut session = client::Session::new(Arc::new(config));
    let mut begun = 0u32;
    let step = usize::from(choice >> 5) * 9 + 1;
    for chunk in input.chunks(step) {
        session.receive(chunk);
        while let Some(event) = session.next_event() {
            match event {
                client::Event::StartTls => session.tls_established(),
                client::Event::Ready => begin(&mut session, &mut begun),
                client::Event::Finished(outcomes) => {
                    assert_eq!(outcomes.len(), 3, "one outcome per recipient");
                    begin(&mut session, &mut begun);
                }
                client::Event::NeedBody => {
                    let mut slices = Vec::new();
                    session.body(b".a\nb\r\r\n", client::More::Follows, &mut slices);
                    session.body(b"c", client::More::Last, &mut slices);
                }
                client::Event::Closed(_) => return,
                event => panic!("an event this test does not know: {event:?}"),
            }
        }
        let len = session.output().len();
        session.advance_output(len);
    }
    session.connection_lost();
}

fn begin(session: &mut client::Session, begun: &mut u32) {
    // A transaction that is refused at once must not be tried for ever.
    *begun += 1;
    if *begun > 4 {
        return session.quit();
    }
    let recipient = |local: &str| client::Recipient {
        address: Address::new(local, "example.org").unwrap_or_default(),
        ..client::Recipient::default()
    };
    session.begin(client::Envelope {
        recipients: ["a", "b", "c"].map(recipient).to_vec(),
        size: Some(7),
        ..client::Envelope::default()
    });
}

/// Takes content off the wire in pieces of a size that the first octet chooses, and at once: both
/// must see the same. What was accepted can be sent on, and ends nowhere but at its end.
pub(crate) fn data(bytes: &[u8]) {
    let Some((choice, input)) = bytes.split_first() else { return };
    let framing = if choice & 1 == 0 { Framing::Dot } else { Framing::Counted };
    let policy = match choice & 6 {
        0 => LineEndings::Fix,
        2 => LineEndings::RefuseAndClose,
        _ => LineEndings::Refuse,
    };
    let limit = (choice & 8 != 0).then_some(10);
    let decoder = Decoder::new(framing, policy, limit);
    let whole = decode(decoder.clone(), input, input.len().max(1));
    let cut = decode(decoder, input, usize::from(choice >> 4) + 1);
    let outline = |seen: &Decoded| (seen.is_whole, seen.has_ended, seen.used);
    assert_eq!(outline(&whole), outline(&cut), "the cuts between reads change what is refused");
    if !whole.is_whole {
        // How much of a refused message is seen before the refusal depends on the reads.
        return;
    }
    assert_eq!(whole.content, cut.content, "the cuts between reads change the content");
    let content = whole.content;
    let mut encoder = Encoder::new(Framing::Dot);
    let mut slices = Vec::new();
    for chunk in content.chunks(usize::from(choice >> 4) + 1) {
        encoder.encode(chunk, &mut slices);
    }
    encoder.finish(&mut slices);
    let wire = slices.concat();
    let strict = Decoder::new(Framing::Dot, LineEndings::Refuse, None);
    let back = decode(strict, &wire, wire.len());
    assert!(back.has_ended && back.used == wire.len(), "an end of data inside the content");
    assert!(back.is_whole || content.contains(&0), "the encoder sends what a strict peer refuses");
}

/// What a decoder made of an input.
struct Decoded {
    content: Vec<u8>,
    /// Whether the policy refused nothing.
    is_whole: bool,
    has_ended: bool,
    /// Octets of the input up to the end of data.
    used: usize,
}

fn decode(mut decoder: Decoder, input: &[u8], step: usize) -> Decoded {
    let mut out = Decoded { content: Vec::new(), is_whole: true, has_ended: false, used: 0 };
    for chunk in input.chunks(step) {
        let mut rest = chunk;
        loop {
            if !out.is_whole {
                let (used, has_ended) = decoder.swallow(rest);
                out.used += used;
                if has_ended {
                    out.has_ended = true;
                    return out;
                }
                break;
            }
            let (used, piece) = decoder.decode(rest);
            out.used += used;
            rest = rest.get(used..).expect("no more used than given");
            match piece {
                Some(Piece::Body(body)) => out.content.extend_from_slice(body),
                Some(Piece::Odd(_)) => out.is_whole = false,
                Some(Piece::End) => {
                    out.has_ended = true;
                    return out;
                }
                None => {
                    assert!(rest.is_empty(), "input is left");
                    break;
                }
            }
        }
    }
    match decoder.finish() {
        Some(Piece::Body(body)) => out.content.extend_from_slice(body),
        Some(_) => out.is_whole = false,
        None => {}
    }
    out
}

/// A PROXY header is the same read at once and read as a socket gives it, of which nothing beyond the
/// header is taken; it comes back when it is written.
pub(crate) fn proxy_header(input: &[u8]) {
    let mut end = 0;
    let stepwise = loop {
        match ProxyHeader::parse(&input[..end]) {
            Ok(None) => {}
            Ok(Some((header, used))) => {
                assert_eq!(used, end, "octets behind the header are taken");
                break Some(Ok(header));
            }
            Err(error) => break Some(Err(error)),
        }
        let missing = ProxyHeader::missing(&input[..end]);
        assert!(missing > 0, "a reader that makes no progress");
        end += missing;
        if end > input.len() {
            break None;
        }
    };
    match (ProxyHeader::parse(input), stepwise) {
        (Ok(Some((header, used))), Some(Ok(read))) => {
            assert_eq!((&header, used), (&read, end));
            let written = header.to_v2();
            assert_eq!(ProxyHeader::parse(&written), Ok(Some((header.clone(), written.len()))));
            let written = header.to_v1();
            let bare = ProxyHeader { tlv: Vec::new(), ..header };
            assert_eq!(ProxyHeader::parse(&written), Ok(Some((bare, written.len()))));
        }
        // More than a socket has given may already be known to be wrong.
        (Ok(None) | Err(_), None) => {}
        (Err(whole), Some(Err(read))) => assert_eq!(whole, read),
        (whole, read) => panic!("at once {whole:?}, from a socket {read:?}"),
    }
}
