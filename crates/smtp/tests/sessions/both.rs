//! The two engines talk to each other in memory.

use std::sync::Arc;

use mta_types::Address;
use proptest::prelude::*;
use smtp::client::{self, Envelope, Event, More, Recipient, Session};
use smtp::server::{Config, LineEndings, Protocol};

use crate::drive::{Server, config};

/// Sends `content` to recipients and returns the outcomes and what the server kept.
fn deliver(
    server: Config,
    client: client::Config,
    recipients: &[&str],
    content: &[u8],
    piece: usize,
) -> (Vec<client::Outcome>, Server) {
    let mut server = Server::new(server);
    let mut session = Session::new(Arc::new(client));
    let mut outcomes = Vec::new();
    for _ in 0..10_000 {
        session.receive(&std::mem::take(&mut server.said));
        let event = session.next_event();
        let mut wire = session.output().to_vec();
        session.advance_output(wire.len());
        match event {
            None if wire.is_empty() => break,
            None => {}
            Some(Event::Ready) => session.begin(Envelope {
                sender: Address::parse("from@example.com").unwrap(),
                recipients: recipients
                    .iter()
                    .map(|address| Recipient {
                        address: Address::parse(address).unwrap(),
                        ..Recipient::default()
                    })
                    .collect(),
                size: Some(content.len() as u64),
                ..Envelope::default()
            }),
            Some(Event::NeedBody) => {
                let mut pieces: Vec<&[u8]> = content.chunks(piece).collect();
                let last = pieces.pop().unwrap_or_default();
                let pieces = pieces.into_iter().map(|piece| (piece, More::Follows));
                for (piece, more) in pieces.chain([(last, More::Last)]) {
                    let mut slices = Vec::new();
                    session.body(piece, more, &mut slices);
                    wire.extend_from_slice(session.output());
                    session.advance_output(session.output().len());
                    wire.extend(slices.concat());
                }
            }
            Some(Event::Finished(found)) => {
                outcomes = found;
                session.quit();
            }
            Some(Event::Closed(None)) => break,
            Some(other) => panic!("{other:?}"),
        }
        if !wire.is_empty() {
            server.feed(&wire);
        }
    }
    (outcomes, server)
}

fn client(protocol: client::Protocol, pipelining: bool, chunking: bool) -> client::Config {
    client::Config {
        protocol,
        helo: "client.example".to_owned(),
        pipelining,
        chunking,
        ..client::Config::default()
    }
}

/// Every combination of dialect, pipelining and chunking.
fn combinations() -> impl Iterator<Item = (Config, client::Config)> {
    [Protocol::Smtp, Protocol::Lmtp].into_iter().flat_map(|protocol| {
        [(false, false), (false, true), (true, false), (true, true)].into_iter().map(
            move |(pipelining, chunking)| {
                let dialect = match protocol {
                    Protocol::Smtp => client::Protocol::Smtp,
                    Protocol::Lmtp => client::Protocol::Lmtp,
                };
                (Config { protocol, ..config() }, client(dialect, pipelining, chunking))
            },
        )
    })
}

#[test]
fn a_message_arrives_as_it_was_sent() {
    let content = b"Received: x\r\n\r\n.\r\n..two\r\n.\r\nend\r\n";
    for (server, client) in combinations() {
        let recipients = ["a@x.example", "reject@x.example", "b@x.example"];
        let (outcomes, server) = deliver(server, client, &recipients, content, 7);
        let delivered: Vec<bool> = outcomes.iter().map(client::Outcome::is_delivered).collect();
        assert_eq!(delivered, [true, false, true]);
        assert!(outcomes[1].is_permanent());
        assert_eq!(server.body, content);
        assert!(server.told.contains("received 1"));
    }
}

#[test]
fn refused_recipients_and_messages_come_back_as_such() {
    for (server, client) in combinations() {
        let (outcomes, told) =
            deliver(server.clone(), client.clone(), &["reject@x", "defer@x"], b"x\r\n", 9);
        assert!(outcomes[0].is_permanent() && outcomes[1].is_transient());
        assert!(!told.told.contains("end "));
        let (outcomes, _) = deliver(server, client, &["a@x"], b"reject\r\n", 9);
        assert_eq!(outcomes[0].state, client::State::Eod);
        assert!(outcomes[0].is_permanent());
    }
}

#[test]
fn content_with_odd_line_ends_is_clean_on_the_wire() {
    let content = b"a\n.\nb\r.\rc\r\n.\n\n.\r\nd";
    for (server, client) in combinations() {
        let chunking = client.chunking;
        let server = Config { line_endings: LineEndings::Refuse, ..server };
        let (outcomes, server) = deliver(server, client, &["a@x"], content, 3);
        assert!(outcomes[0].is_delivered(), "{outcomes:?}");
        let end = if chunking { "" } else { "\r\n" };
        let expected = format!("a\r\n.\r\nb . c\r\n.\r\n\r\n.\r\nd{end}");
        assert_eq!(String::from_utf8(server.body).unwrap(), expected);
    }
}

proptest! {
    #[test]
    fn any_text_arrives_as_it_was_sent(
        lines in prop::collection::vec("[.a-zé]{0,4}", 0..20),
        piece in 1usize..30,
    ) {
        let content: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
        // These words make the test's judge refuse the message.
        prop_assume!(!["each", "bye", "defer", "reject"].iter().any(|w| content.starts_with(w)));
        for (server, client) in combinations() {
            let (outcomes, server) = deliver(server, client, &["a@x"], content.as_bytes(), piece);
            prop_assert!(outcomes[0].is_delivered());
            prop_assert_eq!(&server.body, content.as_bytes());
        }
    }
}
