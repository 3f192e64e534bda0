//! Bodies of the fuzz targets: plain functions that must not panic on any input.
//!
//! They also check what has to hold whatever comes in: events that owe an answer stop the reading,
//! input is used up, output stays bounded.

use std::sync::Arc;

use mta_types::Address;

use crate::client;
use crate::server::{
    AuthAnswer, Config, Event, LineEndings, ProxyAnswer, ReplyParts, Security, Session, Verdict,
};

/// Feeds a server session; the first octet chooses settings, the rest is the client's side.
pub fn fuzz_server(bytes: &[u8]) {
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
            crate::server::Protocol::Smtp
        } else {
            crate::server::Protocol::Lmtp
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
            session.answer_auth(AuthAnswer::Challenge { challenge: b"more".to_vec(), reply });
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
pub fn fuzz_client(bytes: &[u8]) {
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
