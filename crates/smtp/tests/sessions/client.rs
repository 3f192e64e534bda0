//! The sending side, dialogue by dialogue.

use std::sync::Arc;

use mta_types::{Address, EnhancedCode};
use smtp::client::{
    Answer, BodyType, Config, Credentials, Envelope, Event, Failure, More, Outcome, Protocol,
    Purpose, Recipient, Session, State, Tls, next_states,
};
use smtp::parameters::Parameters;

fn config() -> Config {
    Config {
        helo: "client.example".to_owned(),
        pipelining: true,
        chunking: true,
        ..Config::default()
    }
}

fn plain() -> Config {
    Config { pipelining: false, chunking: false, ..config() }
}

fn envelope(recipients: &[&str]) -> Envelope {
    let recipient = |address: &&str| Recipient {
        address: Address::parse(address).unwrap(),
        ..Recipient::default()
    };
    Envelope {
        sender: Address::parse("from@example.com").unwrap(),
        recipients: recipients.iter().map(recipient).collect(),
        ..Envelope::default()
    }
}

/// A client session that sends its envelopes one after the other and quits.
struct Client {
    session: Session,
    /// Envelopes still to send, last first.
    envelopes: Vec<Envelope>,
    content: Vec<Vec<u8>>,
    said: String,
    told: Vec<String>,
    /// States in which replies came.
    states: Vec<State>,
}

impl Client {
    fn new(config: Config, mut envelopes: Vec<Envelope>) -> Self {
        envelopes.reverse();
        let session = Session::new(Arc::new(config));
        let content = vec![b"Subject: x\r\n\r\n.dot\r\n".to_vec()];
        Self { session, envelopes, content, said: String::new(), told: vec![], states: vec![] }
    }

    fn feed(&mut self, input: &[u8]) {
        self.session.receive(input);
        self.drive();
    }

    fn drive(&mut self) {
        while let Some(event) = self.session.next_event() {
            self.flush();
            match event {
                Event::StartTls => {
                    self.told.push("starttls".to_owned());
                    self.session.tls_established();
                }
                Event::Ready => self.next(),
                Event::NeedBody => {
                    let content = std::mem::take(&mut self.content);
                    for (at, piece) in content.iter().enumerate() {
                        let last = at + 1 == content.len();
                        let more = if last { More::Last } else { More::Follows };
                        let mut slices = Vec::new();
                        self.session.body(piece, more, &mut slices);
                        self.flush();
                        for slice in slices {
                            self.said.push_str(std::str::from_utf8(slice).unwrap());
                        }
                    }
                    self.content = content;
                }
                Event::Finished(outcomes) => {
                    let texts: Vec<String> = outcomes.iter().map(text).collect();
                    self.told.push(format!("finished {}", texts.join("; ")));
                    if self.session.is_idle() {
                        self.next();
                    }
                }
                Event::Closed(outcome) => {
                    let text = outcome.as_ref().map_or("well".to_owned(), text);
                    self.told.push(format!("closed {text}"));
                }
                other => panic!("an event this driver does not know: {other:?}"),
            }
        }
        self.flush();
    }

    fn next(&mut self) {
        match self.envelopes.pop() {
            Some(envelope) => self.session.begin(envelope),
            None => self.session.quit(),
        }
    }

    fn flush(&mut self) {
        self.said.push_str(std::str::from_utf8(self.session.output()).unwrap());
        self.session.advance_output(self.session.output().len());
    }
}

fn text(outcome: &Outcome) -> String {
    match &outcome.answer {
        Answer::Reply(reply) => format!("{} {reply}", outcome.state),
        Answer::Failure(failure) => format!("{} {failure}", outcome.state),
    }
}

/// Plays a dialogue: lines `S: …` go in (all of a block at once when `batch`), lines `C: …` must come
/// out, lines `E: …` must be what was told.
fn play(client: &mut Client, dialogue: &str) {
    let mut input = String::new();
    for (at, line) in dialogue.lines().map(str::trim_start).enumerate() {
        if line.is_empty() {
            continue;
        }
        let (who, text) = line.split_once(' ').unwrap_or((line, ""));
        if who != "S:" && !input.is_empty() {
            client.feed(std::mem::take(&mut input).as_bytes());
        }
        match who {
            "S:" => {
                assert_eq!(client.said, "", "line {at}: the client said more");
                input.push_str(&format!("{text}\r\n"));
                if !text.contains('-') || text.as_bytes().get(3) == Some(&b' ') {
                    client.states.extend(client.session.state());
                }
            }
            "C:" => {
                let expected = format!("{text}\r\n");
                let rest = client.said.strip_prefix(&expected).map(str::to_owned);
                client.said = rest.unwrap_or_else(|| {
                    panic!("line {at}: wanted {text:?}, heard {:?}", client.said)
                });
            }
            "E:" if text == "lost" => {
                client.session.connection_lost();
                client.drive();
            }
            "E:" => {
                assert!(!client.told.is_empty(), "line {at}: nothing told");
                assert_eq!(client.told.remove(0), text, "line {at}");
            }
            _ => panic!("line {at}: {line}"),
        }
    }
    client.feed(input.as_bytes());
    assert_eq!(client.said, "", "the client said more");
    assert_eq!(client.told, Vec::<String>::new(), "more was told");
}

fn run(config: Config, envelopes: Vec<Envelope>, dialogue: &str) -> Client {
    let pipelining = config.pipelining;
    let mut client = Client::new(config, envelopes);
    play(&mut client, dialogue);
    if !pipelining {
        for pair in client.states.windows(2) {
            assert!(next_states(pair[0]).contains(&pair[1]), "{} then {}", pair[0], pair[1]);
        }
    }
    client
}

#[test]
fn sends_one_command_at_a_time() {
    run(
        plain(),
        vec![envelope(&["a@x.example", "b@x.example"])],
        "S: 220 mx
         C: EHLO client.example
         S: 250-mx
         S: 250-PIPELINING
         S: 250 SIZE
         C: MAIL FROM:<from@example.com>
         S: 250 ok
         C: RCPT TO:<a@x.example>
         S: 250 ok
         C: RCPT TO:<b@x.example>
         S: 550-5.1.1 no such
         S: 550 5.1.1 user
         C: DATA
         S: 354 go
         C: Subject: x
         C:
         C: ..dot
         C: .
         S: 250 2.0.0 taken
         E: finished EOD 250 2.0.0 taken; RCPT 550 5.1.1 no such user
         C: QUIT
         S: 221 bye
         E: closed well",
    );
}

#[test]
fn one_refusal_keeps_the_content_from_all_where_asked() {
    run(
        config(),
        vec![
            Envelope {
                size: Some(20),
                purpose: Purpose::DeliverToAll,
                ..envelope(&["a@x.example", "b@x.example", "c@x.example"])
            },
            Envelope { purpose: Purpose::DeliverToAll, ..envelope(&["a@x.example"]) },
        ],
        "S: 220 mx
         C: EHLO client.example
         S: 250-mx
         S: 250 PIPELINING
         C: MAIL FROM:<from@example.com>
         C: RCPT TO:<a@x.example>
         C: RCPT TO:<b@x.example>
         C: RCPT TO:<c@x.example>
         S: 250 ok
         S: 250 ok
         S: 550 5.1.1 no such user
         S: 250 ok
         E: finished RCPT 550 5.1.1 no such user; RCPT 550 5.1.1 no such user; RCPT 550 5.1.1 no such user
         C: RSET
         C: MAIL FROM:<from@example.com>
         C: RCPT TO:<a@x.example>
         S: 250 ok
         S: 250 ok
         S: 250 ok
         C: DATA
         S: 354 go
         C: Subject: x
         C:
         C: ..dot
         C: .
         S: 250 taken
         E: finished EOD 250 taken
         C: QUIT
         S: 221 bye
         E: closed well",
    );
}

#[test]
fn a_probe_ends_with_the_replies_to_the_recipients() {
    run(
        config(),
        vec![Envelope { purpose: Purpose::Probe, ..envelope(&["a@x.example", "b@x.example"]) }],
        "S: 220 mx
         C: EHLO client.example
         S: 250-mx
         S: 250-PIPELINING
         S: 250 CHUNKING
         C: MAIL FROM:<from@example.com>
         C: RCPT TO:<a@x.example>
         C: RCPT TO:<b@x.example>
         S: 250 ok
         S: 250 2.1.5 fine
         S: 451 4.2.1 later
         E: finished RCPT 250 2.1.5 fine; RCPT 451 4.2.1 later
         C: QUIT
         S: 221 bye
         E: closed well",
    );
}

#[test]
fn sends_the_envelope_in_one_write() {
    run(
        Config { chunking: false, ..config() },
        vec![Envelope {
            size: Some(20),
            body: BodyType::EightBit,
            ..envelope(&["a@x.example", "b@x.example"])
        }],
        "S: 220 mx
         C: EHLO client.example
         S: 250-mx
         S: 250-PIPELINING
         S: 250-SIZE 100
         S: 250 8BITMIME
         C: MAIL FROM:<from@example.com> SIZE=20 BODY=8BITMIME
         C: RCPT TO:<a@x.example>
         C: RCPT TO:<b@x.example>
         C: DATA
         S: 250 ok
         S: 450 4.2.1 later
         S: 250 ok
         S: 354 go
         C: Subject: x
         C:
         C: ..dot
         C: .
         S: 250 taken
         E: finished RCPT 450 4.2.1 later; EOD 250 taken
         C: QUIT
         E: lost
         E: closed well",
    );
}

#[test]
fn ends_the_content_at_once_when_all_recipients_are_refused_but_data_is_not() {
    run(
        config(),
        vec![envelope(&["a@x.example"]), envelope(&["b@x.example"])],
        "S: 220 mx
         C: EHLO client.example
         S: 250-mx
         S: 250 PIPELINING
         C: MAIL FROM:<from@example.com>
         C: RCPT TO:<a@x.example>
         C: DATA
         S: 250 ok
         S: 550 no
         S: 354 go
         C: .
         S: 554 nobody
         E: finished RCPT 550 no
         C: RSET
         C: MAIL FROM:<from@example.com>
         C: RCPT TO:<b@x.example>
         C: DATA
         S: 250 reset
         S: 550 sender
         S: 503 order
         S: 503 order
         E: finished MAIL 550 sender
         C: QUIT
         S: 221 bye
         E: closed well",
    );
}

#[test]
fn sends_small_messages_with_the_envelope_under_chunking() {
    run(
        config(),
        vec![Envelope { size: Some(20), ..envelope(&["a@x.example"]) }],
        "S: 220 mx
         C: EHLO client.example
         S: 250-mx
         S: 250-PIPELINING
         S: 250 CHUNKING
         C: MAIL FROM:<from@example.com>
         C: RCPT TO:<a@x.example>
         C: BDAT 20 LAST
         C: Subject: x
         C:
         C: .dot
         S: 250 ok
         S: 250 ok
         S: 250 taken
         E: finished EOD 250 taken
         C: QUIT
         S: 221 bye
         E: closed well",
    );
}

#[test]
fn waits_with_large_messages_for_a_recipient_under_chunking() {
    let mut client = Client::new(config(), vec![envelope(&["a@x.example"])]);
    client.content = vec![b"one\n".to_vec(), b"two\r".to_vec(), b"\nthree\r\n".to_vec()];
    play(
        &mut client,
        "S: 220 mx
         C: EHLO client.example
         S: 250-mx
         S: 250-PIPELINING
         S: 250 CHUNKING
         C: MAIL FROM:<from@example.com>
         C: RCPT TO:<a@x.example>
         S: 250 ok
         S: 250 ok
         C: BDAT 5
         C: one
         C: BDAT 3
         C: twoBDAT 9 LAST
         C:
         C: three",
    );
}

#[test]
fn a_refused_chunk_refuses_the_message() {
    let mut client = Client::new(config(), vec![envelope(&["a@x.example"])]);
    client.content = vec![b"one\r\n".to_vec(), b"two\r\n".to_vec()];
    play(
        &mut client,
        "S: 220 mx
         C: EHLO client.example
         S: 250-mx
         S: 250 CHUNKING
         C: MAIL FROM:<from@example.com>
         S: 250 ok
         C: RCPT TO:<a@x.example>
         S: 250 ok
         C: BDAT 5
         C: one
         C: BDAT 5 LAST
         C: two
         S: 552 large
         S: 503 order
         E: finished EOD 552 large
         C: QUIT
         S: 221 bye
         E: closed well",
    );
}

#[test]
fn falls_back_to_helo() {
    run(
        plain(),
        vec![Envelope { size: Some(5), body: BodyType::EightBit, ..envelope(&["a@x.example"]) }],
        "S: 220 mx
         C: EHLO client.example
         S: 502 what
         C: HELO client.example
         S: 250 mx
         C: MAIL FROM:<from@example.com>
         S: 452 full
         E: finished MAIL 452 full
         C: QUIT
         S: 221 bye
         E: closed well",
    );
}

#[test]
fn uses_starttls_when_it_can() {
    run(
        Config { tls: Tls::Optional, ..plain() },
        vec![],
        "S: 220 mx
         C: EHLO client.example
         S: 250-mx
         S: 250 STARTTLS
         C: STARTTLS
         S: 220 go
         E: starttls
         C: EHLO client.example
         S: 250 mx
         C: QUIT
         S: 221 bye
         E: closed well",
    );
    run(
        Config { tls: Tls::Optional, ..plain() },
        vec![],
        "S: 220 mx
         C: EHLO client.example
         S: 250-mx
         S: 250 STARTTLS
         C: STARTTLS
         S: 454 not now
         C: QUIT
         S: 221 bye
         E: closed well",
    );
}

#[test]
fn forgets_what_was_offered_before_tls() {
    run(
        Config { tls: Tls::Required, ..plain() },
        vec![Envelope { size: Some(5), ..envelope(&["a@x.example"]) }],
        "S: 220 mx
         C: EHLO client.example
         S: 250-mx
         S: 250-SIZE 1
         S: 250 STARTTLS
         C: STARTTLS
         S: 220 go
         E: starttls
         C: EHLO client.example
         S: 500 what
         C: HELO client.example
         S: 250 mx
         C: MAIL FROM:<from@example.com>
         S: 550 no
         E: finished MAIL 550 no
         C: QUIT
         S: 221 bye
         E: closed well",
    );
}

#[test]
fn goes_no_further_without_required_tls() {
    for (reply, outcome) in [
        ("250 mx", "STARTTLS TLS is required but not offered"),
        (
            "250-mx\nS: 250 STARTTLS\nC: STARTTLS\nS: 454 4.7.0 not now",
            "STARTTLS 454 4.7.0 not now",
        ),
        (
            "250-mx\nS: 250 STARTTLS\nC: STARTTLS\nS: 220 go\nS: 250 injected",
            "STARTTLS clear text after the reply to STARTTLS",
        ),
    ] {
        let mut client = Client::new(Config { tls: Tls::Required, ..plain() }, vec![]);
        let dialogue =
            format!("S: 220 mx\nC: EHLO client.example\nS: {reply}\nE: closed {outcome}");
        play(&mut client, &dialogue);
    }
}

#[test]
fn logs_in_with_the_mechanisms_it_knows() {
    let login = |secured| Config {
        credentials: Some(Credentials {
            username: "tim".to_owned(),
            password: "tanstaaftanstaaf".to_owned(),
        }),
        implicit_tls: secured,
        ..plain()
    };
    let start = "S: 220 mx\nC: EHLO client.example\nS: 250-mx\n";
    let end = "S: 235 in\nC: QUIT\nS: 221 bye\nE: closed well";
    for (secured, exchange) in [
        (
            false,
            "S: 250 AUTH PLAIN CRAM-MD5
             C: AUTH CRAM-MD5
             S: 334 PDE4OTYuNjk3MTcwOTUyQHBvc3RvZmZpY2UucmVzdG9uLm1jaS5uZXQ+
             C: dGltIGI5MTNhNjAyYzdlZGE3YTQ5NWI0ZTZlNzMzNGQzODkw",
        ),
        (
            true,
            "S: 250 AUTH LOGIN PLAIN CRAM-MD5
             C: AUTH PLAIN AHRpbQB0YW5zdGFhZnRhbnN0YWFm",
        ),
        (
            false,
            "S: 250 AUTH=LOGIN
             C: AUTH LOGIN
             S: 334 VXNlcm5hbWU6
             C: dGlt
             S: 334 Password?
             C: dGFuc3RhYWZ0YW5zdGFhZg==",
        ),
    ] {
        run(login(secured), vec![], &format!("{start}{exchange}\n{end}"));
    }
    for (exchange, outcome) in [
        ("S: 250 AUTH X-OWN", "AUTH authentication is required but not offered"),
        (
            "S: 250 AUTH CRAM-MD5\nC: AUTH CRAM-MD5\nS: 334 !",
            "AUTH-CRAM-MD5 malformed authentication challenge",
        ),
        (
            "S: 250 AUTH LOGIN\nC: AUTH LOGIN\nS: 334 \nC: dGlt\nS: 535 5.7.8 no",
            "AUTH-LOGIN-USER 535 5.7.8 no",
        ),
        ("S: 250 AUTH PLAIN\nC: AUTH PLAIN AHRpbQB0YW5zdGFhZnRhbnN0YWFm\nS: 535 no", "AUTH 535 no"),
    ] {
        run(login(false), vec![], &format!("{start}{exchange}\nE: closed {outcome}"));
    }
}

#[test]
fn names_the_real_client_with_xclient() {
    let xclient = [("name", "host.example"), ("ADDR", "192.0.2.1"), ("LOGIN", "a+b c")];
    run(
        Config {
            xclient: xclient.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec(),
            ..plain()
        },
        vec![],
        "S: 220 mx
         C: EHLO client.example
         S: 250-mx
         S: 250 XCLIENT NAME LOGIN
         C: XCLIENT NAME=host.example LOGIN=a+2Bb+20c
         S: 220 mx
         C: EHLO client.example
         S: 250-mx
         S: 250 XCLIENT NAME LOGIN
         C: QUIT
         S: 221 bye
         E: closed well",
    );
}

#[test]
fn lmtp_decides_for_each_recipient() {
    run(
        Config { protocol: Protocol::Lmtp, chunking: false, ..config() },
        vec![envelope(&["a@x.example", "b@x.example", "c@x.example"])],
        "S: 220 mx
         C: LHLO client.example
         S: 250-mx
         S: 250 PIPELINING
         C: MAIL FROM:<from@example.com>
         C: RCPT TO:<a@x.example>
         C: RCPT TO:<b@x.example>
         C: RCPT TO:<c@x.example>
         S: 250 ok
         S: 250 ok
         S: 550 no
         S: 250 ok
         C: DATA
         S: 354 go
         C: Subject: x
         C:
         C: ..dot
         C: .
         S: 452 full
         S: 250 in
         E: finished EOD 452 full; RCPT 550 no; EOD 250 in
         C: QUIT
         S: 221 bye
         E: closed well",
    );
}

#[test]
fn sends_parameters_only_where_they_are_offered() {
    let dsn = Envelope {
        params: Parameters::parse("RET=HDRS ENVID=x SIZE=1 AUTH=<> X-UNKNOWN=1").unwrap(),
        recipients: vec![Recipient {
            address: Address::parse("a@x.example").unwrap(),
            params: Parameters::parse("NOTIFY=NEVER ORCPT=rfc822;a@x.example").unwrap(),
        }],
        ..envelope(&[])
    };
    for (offer, mail, rcpt) in [
        ("250 SIZE", "", ""),
        ("250 DSN", " RET=HDRS ENVID=x", " NOTIFY=NEVER ORCPT=rfc822;a@x.example"),
        ("250 X-UNKNOWN", " X-UNKNOWN=1", ""),
    ] {
        run(
            plain(),
            vec![dsn.clone()],
            &format!(
                "S: 220 mx
                 C: EHLO client.example
                 S: 250-mx
                 S: {offer}
                 C: MAIL FROM:<from@example.com>{mail}
                 S: 250 ok
                 C: RCPT TO:<a@x.example>{rcpt}
                 E: lost
                 E: finished RCPT connection lost
                 E: closed well"
            ),
        );
    }
}

#[test]
fn knows_beforehand_what_cannot_work() {
    let utf8 = envelope(&["jörg@x.example"]);
    let large = Envelope { size: Some(101), ..envelope(&["a@x.example", "b@x.example"]) };
    let params = Parameters::parse("REQUIRETLS").unwrap();
    let tls = Envelope { params, ..envelope(&["a@x.example"]) };
    run(
        plain(),
        vec![utf8, large, tls],
        "S: 220 mx
         C: EHLO client.example
         S: 250-mx
         S: 250-REQUIRETLS
         S: 250 SIZE 100
         E: finished MAIL the message needs SMTPUTF8, which is not offered
         E: finished MAIL the message is larger than the peer allows; MAIL the message is larger than the peer allows
         E: finished MAIL the message needs REQUIRETLS, which is not offered
         C: QUIT
         S: 221 bye
         E: closed well",
    );
    assert_eq!(Failure::Smtputf8NotOffered.enhanced().to_string(), "5.6.7");
    assert!(!Failure::Smtputf8NotOffered.is_transient());
    run(
        plain(),
        vec![envelope(&["jörg@x.example"])],
        "S: 220 mx
         C: EHLO client.example
         S: 250-mx
         S: 250 SMTPUTF8
         C: MAIL FROM:<from@example.com> SMTPUTF8
         S: 250 ok
         C: RCPT TO:<jörg@x.example>
         S: 550 no
         E: finished RCPT 550 no
         C: QUIT
         S: 221 bye
         E: closed well",
    );
}

/// A whole session without pipelining, reply by reply.
const STEPS: &[(&str, State)] = &[
    ("220 mx\r\n", State::Banner),
    ("250-mx\r\n250 STARTTLS\r\n", State::Ehlo),
    ("220 go\r\n", State::StartTls),
    ("250-mx\r\n250-XCLIENT NAME\r\n250 AUTH LOGIN\r\n", State::Ehlo),
    ("220 mx\r\n", State::Xclient),
    ("250-mx\r\n250 AUTH LOGIN\r\n", State::Ehlo),
    ("334 VXNlcm5hbWU6\r\n", State::AuthLogin),
    ("334 UGFzc3dvcmQ6\r\n", State::AuthLoginUser),
    ("235 in\r\n", State::Auth),
    ("250 ok\r\n", State::Mail),
    ("250 ok\r\n", State::Rcpt),
    ("354 go\r\n", State::Data),
    ("250 ok\r\n", State::Eod),
    ("250 ok\r\n", State::Rset),
    ("250 ok\r\n", State::Mail),
];

fn full() -> Client {
    let config = Config {
        tls: Tls::Optional,
        xclient: vec![("NAME".to_owned(), "x".to_owned())],
        credentials: Some(Credentials::default()),
        ..plain()
    };
    Client::new(config, vec![envelope(&["a@x.example"]), envelope(&["b@x.example"])])
}

#[test]
fn a_lost_connection_is_reported_in_every_state() {
    for stop in 0..STEPS.len() {
        for ending in 0..4 {
            let mut client = full();
            for (reply, state) in &STEPS[..stop] {
                assert_eq!(client.session.state(), Some(*state));
                client.feed(reply.as_bytes());
            }
            let state = STEPS[stop].1;
            client.told.clear();
            let reason = match ending {
                0 => {
                    client.session.connection_lost();
                    "connection lost"
                }
                1 => {
                    client.session.timed_out();
                    "timed out"
                }
                2 => {
                    client.session.receive(b"421 4.3.2 shutting down\r\n");
                    "421 4.3.2 shutting down"
                }
                _ => {
                    client.session.receive(b"junk\r\n");
                    "malformed reply"
                }
            };
            client.drive();
            let in_transaction =
                matches!(state, State::Mail | State::Rcpt | State::Data | State::Eod | State::Rset);
            let expected = if in_transaction {
                vec![format!("finished {state} {reason}"), "closed well".to_owned()]
            } else {
                vec![format!("closed {state} {reason}")]
            };
            assert_eq!(client.told, expected, "in {state}");
            assert_eq!(client.session.state(), None);
            client.feed(b"250 too late\r\n");
            assert_eq!(client.told, expected, "after the end");
        }
    }
}

#[test]
fn replies_of_the_wrong_kind_end_the_session() {
    for (reply, told) in [
        ("354 go", "closed BANNER unexpected reply 354"),
        ("250 ok", "closed BANNER unexpected reply 250"),
        ("554 5.7.1 go away", "closed BANNER 554 5.7.1 go away"),
        ("220 mx\nC: EHLO client.example\nS: 450 later", "closed EHLO 450 later"),
        ("220 mx\nC: EHLO client.example\nS: 334 what", "closed EHLO unexpected reply 334"),
        (
            "220 mx\nC: EHLO client.example\nS: 500 a\nC: HELO client.example\nS: 500 b",
            "closed HELO 500 b",
        ),
    ] {
        run(plain(), vec![], &format!("S: {reply}\nE: {told}"));
    }
    run(
        plain(),
        vec![envelope(&["a@x.example"])],
        "S: 220 mx
         C: EHLO client.example
         S: 250 mx
         C: MAIL FROM:<from@example.com>
         S: 354 what
         E: finished MAIL unexpected reply 354
         E: closed well",
    );
}

#[test]
fn unasked_replies_end_an_idle_session() {
    for (line, told) in [
        ("421 4.4.2 idle", "BANNER 421 4.4.2 idle"),
        ("250 surprise", "BANNER unexpected reply 250"),
    ] {
        let mut session = Session::new(Arc::new(plain()));
        session.receive(b"220 mx\r\n");
        session.receive(b"250 mx\r\n");
        assert_eq!(session.next_event(), Some(Event::Ready));
        assert_eq!(session.state(), None);
        session.receive(format!("{line}\r\n").as_bytes());
        let Some(Event::Closed(Some(outcome))) = session.next_event() else { panic!("not closed") };
        assert_eq!(text(&outcome), told.replace("BANNER", "EHLO"));
    }
}

#[test]
fn a_refusal_in_the_middle_of_the_content_counts() {
    let mut session = Session::new(Arc::new(plain()));
    for reply in ["220 mx\r\n", "250 mx\r\n"] {
        session.receive(reply.as_bytes());
    }
    assert_eq!(session.next_event(), Some(Event::Ready));
    session.begin(envelope(&["a@x.example"]));
    for reply in ["250 ok\r\n", "250 ok\r\n", "354 go\r\n"] {
        session.receive(reply.as_bytes());
    }
    assert_eq!(session.next_event(), Some(Event::NeedBody));
    let mut slices = Vec::new();
    session.body(b"first\r\n", More::Follows, &mut slices);
    assert_eq!(session.state(), Some(State::Data));
    session.receive(b"552 5.3.4 too much\r\n");
    slices.clear();
    session.body(b"second\r\n", More::Last, &mut slices);
    assert!(slices.is_empty());
    let Some(Event::Finished(outcomes)) = session.next_event() else { panic!("not finished") };
    assert_eq!(text(&outcomes[0]), "DATA 552 5.3.4 too much");
    assert_eq!(session.next_event(), Some(Event::Closed(None)));
}

#[test]
fn an_abandoned_body_is_never_ended_with_a_dot() {
    let mut session = Session::new(Arc::new(plain()));
    session.receive(b"220 mx\r\n");
    session.receive(b"250 mx\r\n");
    session.begin(envelope(&["a@x.example"]));
    for reply in ["250 ok\r\n", "250 ok\r\n", "354 go\r\n"] {
        session.receive(reply.as_bytes());
    }
    let mut slices = Vec::new();
    session.body(b"first\r\n", More::Follows, &mut slices);
    session.abandon();
    session.body(b"", More::Last, &mut slices);
    assert_eq!(slices, [b"first\r\n"]);
    assert!(session.output().is_empty());
    let told: Vec<Event> = std::iter::from_fn(|| session.next_event()).collect();
    let [Event::Finished(outcomes), Event::Closed(None)] = told.as_slice() else {
        panic!("{told:?}")
    };
    assert!(outcomes[0].is_transient());
}

#[test]
fn a_pooled_session_is_probed_and_reused() {
    let mut session = Session::new(Arc::new(plain()));
    session.receive(b"220 mx\r\n");
    session.receive(b"250 mx\r\n");
    assert_eq!(session.next_event(), Some(Event::Ready));
    session.advance_output(usize::MAX);
    session.noop();
    assert_eq!((session.output(), session.state()), (&b"NOOP\r\n"[..], Some(State::Noop)));
    session.receive(b"250 ok\r\n");
    assert_eq!(session.next_event(), Some(Event::Ready));
    session.noop();
    session.receive(b"500 what\r\n");
    assert!(matches!(session.next_event(), Some(Event::Closed(Some(_)))));
}

#[test]
fn many_recipients_go_out_in_windows() {
    let names: Vec<String> = (0..250).map(|n| format!("r{n}@x.example")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut client = Client::new(Config { chunking: false, ..config() }, vec![envelope(&names)]);
    client.feed(b"220 mx\r\n");
    client.said.clear();
    client.feed(b"250-mx\r\n250 PIPELINING\r\n");
    let mut replies = 0;
    while !client.said.contains("QUIT") {
        let said = std::mem::take(&mut client.said);
        assert!(said.lines().count() <= 100);
        for line in said.lines() {
            match line.split(' ').next() {
                Some("MAIL" | "RCPT" | ".") => client.feed(b"250 ok\r\n"),
                Some("DATA") => client.feed(b"354 go\r\n"),
                _ => continue,
            }
            replies += 1;
            assert!(replies < 1000);
        }
    }
    assert_eq!(client.told[0].matches("EOD 250").count(), 250);
}

#[test]
fn outcomes_are_classified() {
    let outcome = |state, line: &str| Outcome {
        state,
        answer: Answer::Reply(mta_types::Reply::new(line.parse().unwrap(), None, "")),
    };
    assert!(outcome(State::Eod, "250").is_delivered());
    assert!(!outcome(State::Rcpt, "250").is_delivered());
    assert!(outcome(State::Eod, "450").is_transient() && outcome(State::Eod, "550").is_permanent());
    assert_eq!(outcome(State::Eod, "550").enhanced(), "5.0.0".parse::<EnhancedCode>().unwrap());
}

#[test]
fn state_names_read_as_they_print() {
    for state in State::ALL {
        assert_eq!(state.as_str().parse(), Ok(state));
        assert!(next_states(state).iter().all(|next| State::ALL.contains(next)));
    }
    assert_eq!("AUTH-LOGIN-USER".parse(), Ok(State::AuthLoginUser));
}

#[test]
fn scripts_cannot_add_lines() {
    let mut client =
        Client::new(Config { helo: "evil\r\nMAIL FROM:<x>".to_owned(), ..plain() }, vec![]);
    client.feed(b"220 mx\r\n");
    assert_eq!(client.said, "EHLO evilMAILFROM:<x>\r\n");
}
