//! How much text a second goes through the content codecs, and what a small transaction costs.

use std::hint::black_box;
use std::sync::Arc;

use divan::Bencher;
use divan::counter::BytesCount;
use smtp::client::{self, Envelope, More, Recipient};
use smtp::data::{Decoder, Encoder, Framing};
use smtp::server::{Config, Event, LineEndings, Security, Session, Verdict};

fn main() {
    divan::main();
}

/// A short header, then lines of 76 octets, like base64 and most prose.
fn text() -> Vec<u8> {
    let line = [&[b'x'; 76][..], b"\r\n"].concat();
    let header: &[u8] = b"Received: from a\r\n\tby b\r\nSubject: x\r\n\r\n";
    [header, &line.repeat((1 << 20) / line.len())].concat()
}

/// Drives `session` over `input`, accepting everything; returns the octets of content.
fn drive(session: &mut Session, mut input: &[u8]) -> usize {
    let mut content = 0;
    loop {
        let step = session.receive(input);
        input = &input[step.consumed..];
        match step.event {
            None => return content,
            Some(Event::Body(body)) => content += body.len(),
            Some(event) => {
                black_box(&event);
                session.answer(Verdict::accept());
            }
        }
    }
}

fn greeted() -> Session {
    let mut session = Session::new(Arc::new(Config::default()), Security::Clear);
    session.greet(Verdict::accept());
    drive(&mut session, b"EHLO client.example\r\n");
    session.advance_output(usize::MAX);
    session
}

/// DATA through the server session in reads of 64 KiB.
#[divan::bench]
fn data_through_the_session(bencher: Bencher) {
    let text = text();
    let mut session = greeted();
    bencher.counter(BytesCount::of_slice(&text)).bench_local(move || {
        drive(&mut session, b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n");
        let content: usize = text.chunks(65_536).map(|part| drive(&mut session, part)).sum();
        drive(&mut session, b".\r\n");
        session.advance_output(usize::MAX);
        assert_eq!(content, text.len());
    });
}

/// The decoder alone.
#[divan::bench]
fn unstuff(bencher: Bencher) {
    let text = text();
    bencher.counter(BytesCount::of_slice(&text)).bench_local(|| {
        let mut decoder = Decoder::new(Framing::Dot, LineEndings::Refuse, None);
        let (mut at, mut pieces) = (0, 0);
        while at < text.len() {
            let (consumed, piece) = decoder.decode(&text[at..]);
            at += consumed;
            pieces += usize::from(black_box(piece).is_some());
        }
        pieces
    });
}

/// The encoder alone.
#[divan::bench]
fn stuff(bencher: Bencher) {
    let text = text();
    bencher.counter(BytesCount::of_slice(&text)).bench_local(|| {
        let mut slices = Vec::new();
        let mut encoder = Encoder::new(Framing::Dot);
        encoder.encode(black_box(&text), &mut slices);
        encoder.finish(&mut slices);
        assert_eq!(slices.len(), 2);
    });
}

/// MAIL, RCPT, DATA and a short message, pipelined, server side.
#[divan::bench]
fn server_transaction(bencher: Bencher) {
    let mut session = greeted();
    bencher.bench_local(move || {
        let batch =
            b"MAIL FROM:<alice@example.com> SIZE=30\r\nRCPT TO:<bob@example.org>\r\nDATA\r\n";
        drive(&mut session, batch);
        session.advance_output(usize::MAX);
        drive(&mut session, b"Subject: hello\r\n\r\nHow are you?\r\n.\r\n");
        session.advance_output(usize::MAX);
    });
}

/// The whole session with EHLO and QUIT, server side.
#[divan::bench]
fn server_session(bencher: Bencher) {
    let config = Arc::new(Config::default());
    bencher.bench_local(move || {
        let mut session = Session::new(Arc::clone(&config), Security::Clear);
        session.greet(Verdict::accept());
        for part in [
            &b"EHLO client.example\r\n"[..],
            b"MAIL FROM:<alice@example.com> SIZE=30\r\nRCPT TO:<bob@example.org>\r\nDATA\r\n",
            b"Subject: hello\r\n\r\nHow are you?\r\n.\r\n",
            b"QUIT\r\n",
        ] {
            drive(&mut session, part);
            session.advance_output(usize::MAX);
        }
        session
    });
}

/// MAIL, RCPT, DATA and a short message, pipelined, client side.
#[divan::bench]
fn client_transaction(bencher: Bencher) {
    let config =
        client::Config { pipelining: true, helo: "x".to_owned(), ..client::Config::default() };
    let mut session = client::Session::new(Arc::new(config));
    session.receive(b"220 mx\r\n");
    session.receive(b"250-mx\r\n250-PIPELINING\r\n250 SIZE\r\n");
    let envelope =
        Envelope { recipients: vec![Recipient::default()], size: Some(30), ..Envelope::default() };
    bencher.bench_local(move || {
        session.begin(envelope.clone());
        session.advance_output(usize::MAX);
        if session.transactions() > 1 {
            session.receive(b"250 ok\r\n");
        }
        session.receive(b"250 2.1.0 ok\r\n250 2.1.5 ok\r\n354 go\r\n");
        let mut slices = Vec::with_capacity(4);
        session.body(b"Subject: hello\r\n\r\nHow are you?\r\n", More::Last, &mut slices);
        session.receive(b"250 2.0.0 taken\r\n");
        while let Some(event) = session.next_event() {
            black_box(event);
        }
    });
}
