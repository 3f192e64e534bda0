//! Drivers in memory: a server session with a judge that goes by names, and dialogues as text.

use std::fmt::Write as _;
use std::sync::Arc;

use smtp::server::{
    AuthAnswer, AuthResponse, CloseReason, Config, Event, ProxyAnswer, ReplyParts, Security,
    Session, Verdict,
};

/// A server session with everything it said and told.
pub(crate) struct Server {
    pub(crate) session: Session,
    /// Replies, not yet looked at.
    pub(crate) said: Vec<u8>,
    /// Events as text, one per line; content is left out.
    pub(crate) told: String,
    /// Content of the present or last message.
    pub(crate) body: Vec<u8>,
    pub(crate) closed: Option<CloseReason>,
    /// Input that waits, because it came while an answer was owed.
    rest: Vec<u8>,
}

impl Server {
    pub(crate) fn new(config: Config) -> Self {
        let mut session = Session::new(Arc::new(config), Security::Clear);
        session.greet(Verdict::accept());
        let mut server = Self {
            session,
            said: Vec::new(),
            told: String::new(),
            body: Vec::new(),
            closed: None,
            rest: Vec::new(),
        };
        server.flush();
        server
    }

    /// Hands input to the session and answers every event.
    pub(crate) fn feed(&mut self, input: &[u8]) {
        let mut input: Vec<u8> = [std::mem::take(&mut self.rest), input.to_vec()].concat();
        loop {
            let step = self.session.receive(&input);
            let consumed = step.consumed;
            let Some(event) = step.event else {
                input.drain(..consumed);
                break;
            };
            let event = owned(&event, &mut self.body);
            input.drain(..consumed);
            if let Some(event) = event {
                self.judge(&event);
            }
        }
        self.rest = input;
        self.flush();
    }

    pub(crate) fn flush(&mut self) {
        self.said.extend_from_slice(self.session.output());
        self.session.advance_output(self.session.output().len());
    }

    /// Takes what was said.
    pub(crate) fn take_said(&mut self) -> String {
        String::from_utf8(std::mem::take(&mut self.said)).unwrap()
    }

    fn tell(&mut self, line: &str) {
        writeln!(self.told, "{line}").unwrap();
    }

    /// Names decide: `reject…` is rejected, `defer…` deferred, `bye…` rejected with disconnect.
    fn judge(&mut self, event: &Event<'static>) {
        match event {
            Event::Command(line) => {
                let line = text(line);
                self.tell(&format!("command {line}"));
                let reply = ReplyParts::default();
                let answer = match line.as_str() {
                    "SWALLOW" => ProxyAnswer::Reply { reply, disconnect: false, next: true },
                    "LAST" => ProxyAnswer::Reply { reply, disconnect: false, next: false },
                    line if line.starts_with("BDAT 9") => {
                        ProxyAnswer::Reply { reply, disconnect: false, next: true }
                    }
                    "REPLACE" => {
                        let command = Some(b"NOOP\r\nQUIT".to_vec());
                        ProxyAnswer::Pass { command, next: true }
                    }
                    _ => ProxyAnswer::Pass { command: None, next: true },
                };
                self.session.answer_proxy(answer);
            }
            Event::Hello(hello) => {
                self.tell(&format!("hello {} {}", hello.verb.as_str(), hello.host));
                let mut extensions = hello.extensions.clone();
                if hello.host == "dsn.example" {
                    extensions.push("DSN".to_owned());
                }
                let list = (hello.host == "dsn.example").then_some(extensions);
                self.session.answer_hello(by_name(&hello.host), list);
            }
            Event::StartTls => {
                self.tell("starttls");
                self.session.answer(Verdict::accept());
                // What the driver had read already must not survive the handshake.
                let _ = self.session.receive(b"");
            }
            Event::Auth(auth) => self.judge_auth(&auth.mechanism, &auth.response),
            Event::Mail(mail) => {
                self.tell(format!("mail <{}> {}", mail.address, mail.params).trim_end());
                self.session.answer(by_name(mail.address.local()));
            }
            Event::Rcpt(rcpt) => {
                self.tell(format!("rcpt <{}> {}", rcpt.address, rcpt.params).trim_end());
                self.session.answer(by_name(rcpt.address.local()));
            }
            Event::Data(transfer) => {
                self.tell(&format!("{transfer:?}").to_lowercase());
                self.body.clear();
                self.session.answer(Verdict::accept());
            }
            Event::EndOfData(end) => {
                assert_eq!(end.size, self.body.len() as u64);
                self.tell(&format!("end {} received {}", end.size, end.received));
                let body = text(&self.body);
                if body.starts_with("each") {
                    self.session.answer_each(vec![Verdict::accept(), Verdict::reject()]);
                } else {
                    self.session.answer(by_name(&body));
                }
            }
            Event::Closing(reason) => {
                self.tell(&format!("closing {reason:?}"));
                self.closed = Some(*reason);
            }
            other => self.tell(&format!("{other:?}").to_lowercase()),
        }
    }

    fn judge_auth(&mut self, mechanism: &str, response: &AuthResponse) {
        match response {
            AuthResponse::Password { authorization, username, password } => {
                let (z, u, p) = (text(authorization), text(username), text(password));
                self.tell(&format!("auth {mechanism} [{z}] [{u}] [{p}]"));
                self.session.answer(by_name(&u));
            }
            AuthResponse::Raw { state, response } => {
                let text = response.as_ref().map(|response| text(response));
                self.tell(&format!("auth {mechanism} {state} {text:?}"));
                let answer = if *state < 2 {
                    let challenge = format!("step{state}").into_bytes();
                    let disconnect = text.as_deref() == Some("bye");
                    AuthAnswer::Challenge { challenge, reply: ReplyParts::default(), disconnect }
                } else {
                    AuthAnswer::Verdict(Verdict::accept())
                };
                self.session.answer_auth(answer);
            }
        }
    }
}

/// Octets as text; beyond ASCII as Latin-1.
fn text(octets: &[u8]) -> String {
    octets.iter().map(|octet| char::from(*octet)).collect()
}

fn by_name(name: &str) -> Verdict {
    match name {
        _ if name.starts_with("reject") => Verdict::reject(),
        _ if name.starts_with("defer") => Verdict::defer(),
        _ if name.starts_with("bye") => Verdict::reject().with_disconnect(),
        _ => Verdict::accept(),
    }
}

/// Keeps content aside and frees the event from the input.
fn owned(event: &Event<'_>, body: &mut Vec<u8>) -> Option<Event<'static>> {
    Some(match event {
        Event::Body(piece) => {
            body.extend_from_slice(piece);
            return None;
        }
        Event::Command(line) => Event::Command(line.clone()),
        Event::Hello(hello) => Event::Hello(hello.clone()),
        Event::StartTls => Event::StartTls,
        Event::Auth(auth) => Event::Auth(auth.clone()),
        Event::Mail(mail) => Event::Mail(mail.clone()),
        Event::Rcpt(rcpt) => Event::Rcpt(rcpt.clone()),
        Event::Data(transfer) => Event::Data(*transfer),
        Event::BodyRefused(reason) => Event::BodyRefused(*reason),
        Event::EndOfData(end) => Event::EndOfData(*end),
        Event::Rset => Event::Rset,
        Event::Closing(reason) => Event::Closing(*reason),
        other => panic!("an event this driver does not know: {other:?}"),
    })
}

/// Settings under which most dialogues run.
pub(crate) fn config() -> Config {
    Config {
        hostname: "mx.example".to_owned(),
        auth_mechanisms: vec!["LOGIN".to_owned(), "PLAIN".to_owned(), "X-STEPS".to_owned()],
        ..Config::default()
    }
}

/// Plays a dialogue: lines `C: …` go in (all of a block at once), lines `S: …` must come out, lines
/// `E: …` must be what was told. `C:| …` goes in without CRLF. `\r \n \0` are escapes.
pub(crate) fn play(config: Config, dialogue: &str) -> Server {
    let mut server = Server::new(config);
    let mut input = Vec::new();
    let mut said = String::new();
    for (at, line) in dialogue.lines().map(str::trim_start).enumerate() {
        if line.is_empty() {
            continue;
        }
        let (who, text) = line.split_once(' ').unwrap_or((line, ""));
        match who {
            "C:" | "C:|" => {
                assert_eq!(said, "", "line {at}: there was more to hear");
                let text = text.replace("\\r", "\r").replace("\\n", "\n").replace("\\0", "\0");
                input.extend_from_slice(text.as_bytes());
                input.extend_from_slice(if who == "C:" { b"\r\n" } else { b"" });
            }
            "S:" => {
                if !input.is_empty() {
                    server.feed(&std::mem::take(&mut input));
                }
                said.push_str(&server.take_said());
                let expected = format!("{text}\r\n");
                let rest = said.strip_prefix(&expected).map(str::to_owned);
                said = rest.unwrap_or_else(|| panic!("line {at}: wanted {text:?}, heard {said:?}"));
            }
            "E:" => {
                if !input.is_empty() {
                    server.feed(&std::mem::take(&mut input));
                }
                let (told, rest) = server.told.split_once('\n').unwrap_or(("nothing", ""));
                assert_eq!(told, text, "line {at}");
                server.told = rest.to_owned();
            }
            _ => panic!("line {at}: {line}"),
        }
    }
    server.feed(&input);
    said.push_str(&server.take_said());
    assert_eq!(said, "", "there was more to hear");
    server
}
