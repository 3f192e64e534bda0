//! The sending session: getting ready (greeting, STARTTLS, XCLIENT, AUTH) and the driver's side.
//!
//! What happens between MAIL and the final reply is in `pipeline`; the replies per recipient of LMTP
//! are in `lmtp`.

use std::collections::VecDeque;
use std::sync::Arc;

use mta_types::Reply;

use super::pipeline::Transaction;
use super::{Answer, Config, Envelope, Failure, Outcome, Protocol, ReplyReader, State, Tls};
use crate::extensions::{Extensions, Offer};
use crate::sasl::{self, CramMd5, Login, Mechanism, Plain};

/// What the driver has to do or to know.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// Run the TLS handshake on the socket, then call `tls_established` or `tls_failed`.
    StartTls,
    /// The session can take a transaction: call `begin`, `noop` or `quit`.
    Ready,
    /// Call `body` with the content, piece by piece, until the last.
    NeedBody,
    /// The transaction is over: one outcome per recipient, in their order.
    Finished(Vec<Outcome>),
    /// The session is over; close the socket. The outcome tells why, unless it ended in good order
    /// or what it tells was in `Finished` already.
    Closed(Option<Outcome>),
}

/// Whether more content follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum More {
    /// Yes.
    Follows,
    /// No, this was the last piece.
    Last,
}

/// One outgoing conversation.
///
/// The driver loops: take every [`Session::next_event`], write [`Session::output`], then read into
/// [`Session::receive`] with the timer of [`Session::state`]. It reads and writes at the same time
/// where it can: a server may answer while commands or content are still on their way.
#[derive(Debug)]
pub struct Session {
    pub(super) config: Arc<Config>,
    pub(super) phase: Phase,
    pub(super) secured: bool,
    reader: ReplyReader,
    pub(super) out: Vec<u8>,
    /// Octets of `out` that are written already.
    written: usize,
    pub(super) offer: Offer,
    banner: Option<Reply>,
    /// Commands whose replies are due, oldest first.
    pub(super) expected: VecDeque<Expected>,
    pub(super) events: VecDeque<Event>,
    pub(super) transaction: Option<Transaction>,
    pub(super) transactions: u32,
    /// The login dialogue that runs.
    mechanism: Option<Box<dyn Mechanism>>,
    pub(super) authenticated: bool,
    /// STARTTLS was refused where it is optional.
    tls_refused: bool,
    xclient_sent: bool,
    /// The state of the last reply that came.
    last_state: State,
}

/// What the session is busy with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// From the banner to the end of a login.
    Setup,
    /// The driver runs the TLS handshake.
    Handshake,
    /// Nothing is due.
    Idle,
    /// NOOP or QUIT is due.
    Chore,
    /// MAIL to the final reply.
    Transaction,
    /// Over.
    Closed,
}

/// A reply that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Expected {
    /// To which command.
    pub(super) state: State,
    /// RCPT, and EOD under LMTP: the recipient it is about. Otherwise 0.
    pub(super) recipient: usize,
    /// EOD: the reply to the whole message, not to a chunk of it.
    pub(super) last: bool,
}

impl Session {
    /// A session on a fresh connection; it waits for the banner.
    #[must_use]
    pub fn new(config: Arc<Config>) -> Self {
        let mut session = Self {
            phase: Phase::Setup,
            secured: config.implicit_tls,
            reader: ReplyReader::new(config.limits),
            out: Vec::new(),
            written: 0,
            offer: Offer::default(),
            banner: None,
            expected: VecDeque::new(),
            events: VecDeque::new(),
            transaction: None,
            transactions: 0,
            mechanism: None,
            authenticated: false,
            tls_refused: false,
            xclient_sent: false,
            last_state: State::Banner,
            config,
        };
        session.expect(State::Banner);
        session
    }

    /// Takes octets from the peer. All are consumed.
    pub fn receive(&mut self, mut input: &[u8]) {
        while !input.is_empty() && self.phase != Phase::Closed {
            if self.phase == Phase::Handshake {
                // Nothing may come in clear text behind the reply to STARTTLS.
                return self.fail(State::StartTls, Answer::Failure(Failure::TextAfterStartTls));
            }
            let (consumed, reply) = self.reader.take(input);
            input = input.get(consumed..).unwrap_or_default();
            match reply {
                None => {}
                Some(Ok(reply)) => self.on_reply(reply),
                Some(Err(error)) => {
                    let state = self.waiting_in();
                    self.fail(state, Answer::Failure(Failure::BadReply(error)));
                }
            }
        }
    }

    /// The next event, if any.
    pub fn next_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Octets to write before any content slices.
    #[must_use]
    pub fn output(&self) -> &[u8] {
        self.out.get(self.written..).unwrap_or_default()
    }

    /// Marks the first `len` octets of the output as written; a large buffer is freed once empty.
    pub fn advance_output(&mut self, len: usize) {
        self.written = self.written.saturating_add(len).min(self.out.len());
        if self.written == self.out.len() {
            self.written = 0;
            self.out.clear();
            if self.out.capacity() > KEPT_OUTPUT {
                self.out = Vec::new();
            }
        }
    }

    /// Begins a transaction; RSET goes first when the connection had one before. Legal after
    /// [`Event::Ready`], and again after [`Event::Finished`] without [`Event::Closed`]; otherwise
    /// all recipients are reported as abandoned.
    pub fn begin(&mut self, envelope: Envelope) {
        if self.phase != Phase::Idle {
            let answer = Answer::Failure(Failure::Abandoned);
            let outcome = Outcome { state: State::Mail, answer };
            let outcomes = vec![outcome; envelope.recipients.len()];
            self.events.push_back(Event::Finished(outcomes));
            return;
        }
        self.begin_transaction(envelope);
    }

    /// Takes the next piece of content after [`Event::NeedBody`] and appends to `slices` what to
    /// write, in order, after [`Session::output`]. Text that needs no stuffing passes without a
    /// copy. Nothing is appended once the transaction is over.
    ///
    /// With CHUNKING each piece becomes a chunk, so pieces should not be small.
    pub fn body<'a>(&mut self, piece: &'a [u8], more: More, slices: &mut Vec<&'a [u8]>) {
        self.send_body(piece, more, slices);
    }

    /// Gives the transaction up in the middle of the content. The message is not delivered and the
    /// session ends.
    pub fn abandon(&mut self) {
        let state = self.waiting_in();
        self.fail(state, Answer::Failure(Failure::Abandoned));
    }

    /// Sends NOOP to see whether a pooled connection lives; [`Event::Ready`] follows.
    pub fn noop(&mut self) {
        if self.phase == Phase::Idle {
            self.phase = Phase::Chore;
            self.command(State::Noop, "NOOP");
        }
    }

    /// Sends QUIT; [`Event::Closed`] follows. Before the session is ready, or in a transaction, it
    /// is [`Session::abandon`].
    pub fn quit(&mut self) {
        match self.phase {
            Phase::Idle => {
                self.phase = Phase::Chore;
                self.command(State::Quit, "QUIT");
            }
            Phase::Closed => {}
            _ => self.abandon(),
        }
    }

    /// The handshake succeeded; EHLO is sent again (RFC 3207 §4.2).
    pub fn tls_established(&mut self) {
        if self.phase == Phase::Handshake {
            self.phase = Phase::Setup;
            self.secured = true;
            self.hello();
        }
    }

    /// The handshake failed; the session ends.
    pub fn tls_failed(&mut self) {
        self.fail(State::StartTls, Answer::Failure(Failure::TlsFailed));
    }

    /// The peer closed or the socket failed.
    pub fn connection_lost(&mut self) {
        let state = self.waiting_in();
        self.fail(state, Answer::Failure(Failure::ConnectionLost));
    }

    /// The timer of [`Session::state`] ran out.
    pub fn timed_out(&mut self) {
        let state = self.waiting_in();
        self.fail(state, Answer::Failure(Failure::TimedOut));
    }

    /// What is being waited for: the oldest command without its reply, or while content is due
    /// [`State::Data`]. `None` while idle and when over.
    #[must_use]
    pub fn state(&self) -> Option<State> {
        match self.phase {
            Phase::Closed | Phase::Idle => None,
            _ => Some(self.waiting_in()),
        }
    }

    /// Tells whether [`Session::begin`], [`Session::noop`] and [`Session::quit`] are legal now.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.phase == Phase::Idle
    }

    /// What the peer announced in its last EHLO reply.
    #[must_use]
    pub const fn offer(&self) -> &Offer {
        &self.offer
    }

    /// The greeting of the peer, once it came.
    #[must_use]
    pub const fn banner(&self) -> Option<&Reply> {
        self.banner.as_ref()
    }

    /// Transactions begun on this connection.
    #[must_use]
    pub const fn transactions(&self) -> u32 {
        self.transactions
    }

    /// Tells whether TLS is on.
    #[must_use]
    pub const fn is_secured(&self) -> bool {
        self.secured
    }

    /// Tells whether a login succeeded.
    #[must_use]
    pub const fn is_authenticated(&self) -> bool {
        self.authenticated
    }

    fn on_reply(&mut self, reply: Reply) {
        let Some(expected) = self.expected.pop_front() else {
            return self.on_unasked_reply(reply);
        };
        let state = expected.state;
        self.last_state = state;
        if state == State::Quit {
            return self.close(None);
        }
        // RFC 5321 §3.8: the server is about to close, whatever was asked.
        if reply.code == 421 {
            return self.fail(state, Answer::Reply(reply));
        }
        match state {
            State::Mail | State::Rcpt | State::Data | State::Eod => {
                self.on_transaction_reply(expected, reply);
            }
            State::Rset if reply.is_positive() => self.pump(),
            State::Noop if reply.is_positive() => self.ready(),
            State::Banner if reply.code == 220 => {
                self.banner = Some(reply);
                self.hello();
            }
            State::Ehlo | State::Lhlo if reply.is_positive() => {
                self.offer = Offer::parse(reply.lines.iter().skip(1).map(String::as_str));
                self.after_hello();
            }
            // RFC 5321 §3.2: an old server.
            State::Ehlo if reply.is_permanent() => {
                let line = format!("HELO {}", self.helo_name());
                self.command(State::Helo, &line);
            }
            State::Helo if reply.is_positive() => {
                self.offer = Offer::default();
                self.after_hello();
            }
            State::StartTls if reply.code == 220 => {
                if self.reader.is_midway() {
                    let answer = Answer::Failure(Failure::TextAfterStartTls);
                    return self.fail(state, answer);
                }
                self.phase = Phase::Handshake;
                self.events.push_back(Event::StartTls);
            }
            State::StartTls if self.config.tls == Tls::Optional => {
                self.tls_refused = true;
                self.after_hello();
            }
            // The server begins anew with what it was told (its banner is this reply).
            State::Xclient if reply.is_positive() => self.hello(),
            State::AuthCramMd5 | State::AuthPlain | State::AuthLogin | State::AuthLoginUser
                if reply.code == 334 =>
            {
                self.on_challenge(state, &reply);
            }
            State::Auth if reply.is_positive() => {
                self.mechanism = None;
                self.authenticated = true;
                self.after_hello();
            }
            _ => self.refuse(state, reply),
        }
    }

    /// A reply came that nobody asked for.
    fn on_unasked_reply(&mut self, reply: Reply) {
        let state = self.waiting_in();
        // A refusal in the middle of the content, or the announcement of the end.
        let refusal = reply.is_transient() || reply.is_permanent();
        if reply.code == 421 || (refusal && self.phase == Phase::Transaction) {
            self.fail(state, Answer::Reply(reply));
        } else {
            let failure = Failure::UnexpectedReply { code: reply.code };
            self.fail(state, Answer::Failure(failure));
        }
    }

    /// Ends the session over a reply that does not let it go on.
    fn refuse(&mut self, state: State, reply: Reply) {
        if reply.is_transient() || reply.is_permanent() {
            self.fail(state, Answer::Reply(reply));
        } else {
            let failure = Failure::UnexpectedReply { code: reply.code };
            self.fail(state, Answer::Failure(failure));
        }
    }

    fn hello(&mut self) {
        let (state, verb) = match self.config.protocol {
            Protocol::Smtp => (State::Ehlo, "EHLO"),
            Protocol::Lmtp => (State::Lhlo, "LHLO"),
        };
        let line = format!("{verb} {}", self.helo_name());
        self.command(state, &line);
    }

    /// The next step of getting ready.
    fn after_hello(&mut self) {
        let config = Arc::clone(&self.config);
        let wants_tls = config.tls != Tls::Disabled && !self.secured && !self.tls_refused;
        if wants_tls && self.offer.has(Extensions::STARTTLS) {
            return self.command(State::StartTls, "STARTTLS");
        }
        if wants_tls && config.tls == Tls::Required {
            return self.fail(State::StartTls, Answer::Failure(Failure::TlsNotOffered));
        }
        if !self.xclient_sent
            && let Some(line) = self.xclient_line()
        {
            self.xclient_sent = true;
            return self.command(State::Xclient, &line);
        }
        if let Some(login) = &config.credentials
            && !self.authenticated
        {
            return self.log_in(&login.username, &login.password);
        }
        self.ready();
    }

    /// XCLIENT with the attributes that the peer takes; `None` when there is nothing to say.
    fn xclient_line(&self) -> Option<String> {
        let mut line = String::from("XCLIENT");
        for (name, value) in &self.config.xclient {
            let name = name.to_ascii_uppercase();
            if self.offer.xclient.contains(&name) {
                line.push(' ');
                line.push_str(&name);
                line.push('=');
                push_xtext(&mut line, value);
            }
        }
        (line.len() > "XCLIENT".len()).then_some(line)
    }

    fn log_in(&mut self, username: &str, password: &str) {
        // In clear text the password itself must not show, if that can be helped.
        let order = if self.secured {
            [State::AuthPlain, State::AuthLogin, State::AuthCramMd5]
        } else {
            [State::AuthCramMd5, State::AuthPlain, State::AuthLogin]
        };
        let offered = |state: &State| {
            let name = state.as_str().strip_prefix("AUTH-").unwrap_or_default();
            self.offer.mechanisms.iter().any(|mechanism| mechanism == name)
        };
        let Some(state) = order.into_iter().find(offered) else {
            return self.fail(State::Auth, Answer::Failure(Failure::AuthNotOffered));
        };
        let mut mechanism: Box<dyn Mechanism> = match state {
            State::AuthPlain => Box::new(Plain::new(username, password)),
            State::AuthLogin => Box::new(Login::new(username, password)),
            _ => Box::new(CramMd5::new(username, password)),
        };
        let name = mechanism.name();
        // RFC 4954 §4: an initial response must fit into a command line of 512 octets.
        let fits = username.len() + password.len() < 300;
        match mechanism.initial().filter(|_| fits) {
            Some(initial) => {
                let line = format!("AUTH {name} {}", sasl::encode_base64(&initial));
                self.command(State::Auth, &line);
            }
            None => {
                if state == State::AuthPlain {
                    mechanism = Box::new(Plain::new(username, password));
                }
                let line = format!("AUTH {name}");
                self.command(state, &line);
            }
        }
        self.mechanism = Some(mechanism);
    }

    fn on_challenge(&mut self, state: State, reply: &Reply) {
        let challenge = reply.lines.first().map(|line| line.trim()).unwrap_or_default();
        // Prompts of LOGIN and PLAIN mean nothing, and some servers send them without base64.
        let challenge = match (sasl::decode_base64(challenge.as_bytes()), state) {
            (Some(challenge), _) => challenge,
            (None, State::AuthCramMd5) => {
                return self.fail(state, Answer::Failure(Failure::BadChallenge));
            }
            (None, _) => Vec::new(),
        };
        let response = self.mechanism.as_mut().and_then(|m| m.respond(&challenge));
        let Some(response) = response else {
            return self.fail(state, Answer::Failure(Failure::BadChallenge));
        };
        let next = if state == State::AuthLogin { State::AuthLoginUser } else { State::Auth };
        self.command(next, &sasl::encode_base64(&response));
    }

    fn ready(&mut self) {
        self.phase = Phase::Idle;
        self.events.push_back(Event::Ready);
    }

    /// The name for EHLO; whatever a script chose, it stays one word.
    fn helo_name(&self) -> String {
        let name: String = self.config.helo.chars().filter(|c| c.is_ascii_graphic()).collect();
        if name.is_empty() { "localhost".to_owned() } else { name }
    }

    /// The state in which the session would fail now.
    fn waiting_in(&self) -> State {
        match (self.expected.front(), self.phase) {
            (Some(expected), _) => expected.state,
            (None, Phase::Handshake) => State::StartTls,
            (None, Phase::Transaction) => State::Data,
            (None, _) => self.last_state,
        }
    }

    /// Sends a line and expects its reply.
    pub(super) fn command(&mut self, state: State, line: &str) {
        self.out.extend_from_slice(line.as_bytes());
        self.out.extend_from_slice(b"\r\n");
        self.expect(state);
    }

    pub(super) fn expect(&mut self, state: State) {
        self.expected.push_back(Expected { state, recipient: 0, last: true });
    }

    /// Ends the session; recipients without an outcome get this one.
    pub(super) fn fail(&mut self, state: State, answer: Answer) {
        if self.phase == Phase::Closed {
            return;
        }
        // Whoever said QUIT has nothing left to lose.
        let quitting = self.expected.front().is_some_and(|due| due.state == State::Quit);
        let outcome = Outcome { state, answer };
        match self.transaction.take() {
            Some(transaction) => {
                self.events.push_back(Event::Finished(transaction.into_outcomes(&outcome)));
                self.close(None);
            }
            None => self.close(Some(outcome).filter(|_| !quitting)),
        }
    }

    fn close(&mut self, outcome: Option<Outcome>) {
        self.phase = Phase::Closed;
        self.expected.clear();
        self.mechanism = None;
        self.advance_output(usize::MAX);
        // Asking for what cannot be had any more would only confuse.
        self.events.retain(|event| matches!(event, Event::Finished(_)));
        self.events.push_back(Event::Closed(outcome));
    }
}

/// Appends a value in xtext (RFC 3461 §4), which XCLIENT uses as well.
fn push_xtext(line: &mut String, value: &str) {
    for octet in value.bytes() {
        if octet.is_ascii_graphic() && !matches!(octet, b'+' | b'=') {
            line.push(char::from(octet));
        } else {
            line.push_str(&format!("+{octet:02X}"));
        }
    }
}

/// Output kept between commands.
const KEPT_OUTPUT: usize = 4096;
