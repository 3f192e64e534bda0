//! The receiving session: the one place where input, state and answers meet.
//!
//! What single commands mean is in `commands`, what happens to content in `content`, the AUTH
//! dialogue in `dialogue`.

use std::sync::Arc;

use super::content::{Fate, Intake};
use super::dialogue::Dialogue;
use super::{
    AuthAnswer, CloseReason, Config, Decision, Event, HelloVerb, LineEndings, ProxyAnswer,
    Security, State, Timer, Verdict,
};
use crate::bdat::Chunk;
use crate::command::Verb;
use crate::extensions::{Extensions, Offer};
use crate::line::{BareLf, LineError, LineReader};
use crate::replies::{self, Phase, Stock};

/// What one call of [`Session::receive`] did.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub struct Step<'i> {
    /// Octets of the input that are done with.
    pub consumed: usize,
    /// The event, or `None` when the session needs more input (or an answer) to go on.
    pub event: Option<Event<'i>>,
}

/// One incoming conversation.
///
/// The driver loops: `receive` what the socket brought; on an event, run the hook and answer; on no
/// event, write [`Session::output`] and read more. Output gathers over pipelined commands, so a
/// whole batch is answered with one write; a driver whose hook has to wait flushes before it
/// waits. While an answer is owed `receive` consumes nothing, so the driver's own bounded read
/// buffer is the back-pressure.
#[derive(Debug)]
pub struct Session {
    pub(super) config: Arc<Config>,
    pub(super) security: Security,
    pub(super) state: State,
    /// The event that waits for its answer.
    pub(super) pending: Option<Pending>,
    pub(super) lines: LineReader,
    /// Octets a command line may have now.
    pub(super) line_limit: usize,
    out: Vec<u8>,
    /// Octets of `out` that are written already.
    written: usize,
    /// What the newest replies answer: a command's verb, `BANNER`, or `EOD`.
    pub(super) answering: &'static str,
    /// What the last reply in `out` answers.
    answered: &'static str,
    /// The last reply that went out and what it answered, when it is to be remembered.
    last_reply: Option<Box<(&'static str, Vec<u8>)>>,
    /// What the last EHLO reply announced; nothing after HELO.
    pub(super) offer: Offer,
    pub(super) authenticated: bool,
    /// `Some` in [`State::Auth`], and while an AUTH event is open.
    pub(super) dialogue: Option<Dialogue>,
    /// The transaction uses SMTPUTF8.
    pub(super) smtputf8: bool,
    /// Recipients accepted in this transaction.
    pub(super) recipients: u32,
    /// RCPT was tried in this transaction.
    pub(super) rcpt_tried: bool,
    /// The last MAIL, or the message it began, was refused.
    pub(super) mail_refused: bool,
    pub(super) intake: Intake,
    /// The next command goes to the proxy hook first.
    proxy: bool,
    /// A line to execute before any input.
    substitute: Option<Vec<u8>>,
    pub(super) messages: u32,
    bad_commands: u32,
    closing: Option<CloseReason>,
    closing_told: bool,
    /// Close as soon as the open answer is given.
    shutting_down: bool,
}

/// What an open event was about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pending {
    /// A line at the proxy hook; the chunk when it is a BDAT.
    Proxy(Option<Chunk>),
    Hello(HelloVerb),
    StartTls,
    Auth,
    Mail {
        smtputf8: bool,
    },
    Rcpt,
    Data,
    /// The first BDAT.
    Bdat,
    EndOfData,
}

impl Session {
    /// A session on a fresh connection; nothing is read until [`Session::greet`].
    #[must_use]
    pub fn new(config: Arc<Config>, security: Security) -> Self {
        Self {
            line_limit: config.limits.command_line,
            proxy: config.proxy_hook,
            intake: Intake::new(&config),
            config,
            security,
            state: State::Connected,
            pending: None,
            lines: LineReader::default(),
            out: Vec::new(),
            answering: "BANNER",
            answered: "BANNER",
            last_reply: None,
            written: 0,
            offer: Offer::default(),
            authenticated: false,
            dialogue: None,
            smtputf8: false,
            recipients: 0,
            rcpt_tried: false,
            mail_refused: false,
            substitute: None,
            messages: 0,
            bad_commands: 0,
            closing: None,
            closing_told: false,
            shutting_down: false,
        }
    }

    /// Sends the banner (default 220), or refuses the connection (defaults 521 and 421) and
    /// closes; a refusal with 554 stays open until QUIT (RFC 5321 §3.1).
    pub fn greet(&mut self, verdict: Verdict) {
        if self.state != State::Connected || self.closing.is_some() {
            return;
        }
        self.reply_verdict(Phase::Connect, &verdict);
        if verdict.decision == Decision::Accept {
            self.state = State::Greeted;
        } else if verdict.reply.code == Some(554) && !verdict.disconnect {
            self.state = State::Refused;
        } else {
            self.close(CloseReason::Verdict);
        }
        self.after_answer(verdict.disconnect);
    }

    /// Reads on until there is an event or the input is used up.
    pub fn receive<'i>(&mut self, input: &'i [u8]) -> Step<'i> {
        let mut consumed = 0;
        loop {
            let rest = input.get(consumed..).unwrap_or_default();
            if let Some(reason) = self.closing {
                let told = std::mem::replace(&mut self.closing_told, true);
                let event = (!told).then_some(Event::Closing(reason));
                return Step { consumed: input.len(), event };
            }
            if self.pending.is_some() || self.state == State::Connected {
                return Step { consumed, event: None };
            }
            let (taken, event) = match self.state {
                // RFC 3207 §6: what was sent in clear text behind STARTTLS is not ours to trust.
                State::Tls => (rest.len(), None),
                State::Data if rest.is_empty() => return Step { consumed, event: None },
                State::Data => self.receive_data(rest),
                State::Chunk if rest.is_empty() && !self.intake.chunk_done() => {
                    return Step { consumed, event: None };
                }
                State::Chunk => self.receive_chunk(rest),
                _ => match self.substitute.take() {
                    Some(line) => (0, self.execute(&line)),
                    None if rest.is_empty() => return Step { consumed, event: None },
                    None => self.receive_line(rest),
                },
            };
            consumed += taken;
            if event.is_some() || (self.state == State::Tls && consumed == input.len()) {
                return Step { consumed, event };
            }
        }
    }

    /// Answers the open event with the reply its command calls for.
    ///
    /// For HELO and AUTH this is `answer_hello(verdict, None)` and
    /// `answer_auth(AuthAnswer::Verdict(verdict))`; at the proxy hook an acceptance passes the line
    /// and a refusal answers it. Without an open event nothing happens.
    pub fn answer(&mut self, verdict: Verdict) {
        let Some(pending) = self.pending else { return };
        let accepted = verdict.decision == Decision::Accept;
        let phase = match pending {
            Pending::Hello(_) => return self.answer_hello(verdict, None),
            Pending::Auth => return self.answer_auth(AuthAnswer::Verdict(verdict)),
            Pending::Proxy(_) if accepted => {
                return self.answer_proxy(ProxyAnswer::Pass { command: None, next: self.proxy });
            }
            Pending::Proxy(_) => {
                let code = replies::reply_code(Phase::Data.stock(verdict.decision), &verdict);
                let Verdict { mut reply, disconnect, .. } = verdict;
                reply.code = Some(code);
                let next = self.proxy;
                return self.answer_proxy(ProxyAnswer::Reply { reply, disconnect, next });
            }
            Pending::StartTls => {
                if accepted {
                    self.lines.clear();
                    self.state = State::Tls;
                }
                Phase::StartTls
            }
            Pending::Mail { smtputf8 } => {
                if accepted {
                    self.state = State::Mail;
                    self.smtputf8 = smtputf8;
                    self.messages = self.messages.saturating_add(1);
                }
                self.mail_refused = !accepted;
                Phase::MailFrom
            }
            Pending::Rcpt => {
                if accepted {
                    self.state = State::Rcpt;
                    self.recipients = self.recipients.saturating_add(1);
                }
                Phase::RcptTo
            }
            Pending::Data => {
                if accepted {
                    self.state = State::Data;
                }
                Phase::Data
            }
            Pending::Bdat if accepted => {
                // The reply comes behind the octets of the chunk.
                self.pending = None;
                return self.after_answer(verdict.disconnect);
            }
            Pending::Bdat => {
                let mut late = Vec::new();
                self.write_verdict(&mut late, Phase::Data, &verdict);
                self.intake.fate = Fate::Late(late);
                self.pending = None;
                return self.after_answer(verdict.disconnect);
            }
            Pending::EndOfData => return self.end_transaction(vec![verdict], SpareVerdict::Repeat),
        };
        self.pending = None;
        self.reply_verdict(phase, &verdict);
        self.after_answer(verdict.disconnect);
    }

    /// Answers [`Event::Hello`]; `extensions` replaces the list of EHLO keywords.
    pub fn answer_hello(&mut self, verdict: Verdict, extensions: Option<Vec<String>>) {
        let Some(Pending::Hello(verb)) = self.pending else { return };
        self.pending = None;
        if verdict.decision == Decision::Accept && verb != HelloVerb::Helo {
            let mut list = extensions.unwrap_or_else(|| self.announcement());
            list.retain(|line| !line.trim().is_empty() && !line.chars().any(char::is_control));
            self.reply_ehlo(&verdict, &list);
            self.offer = Offer::parse(list.iter().map(String::as_str));
            self.state = State::Ready;
        } else {
            self.reply_verdict(Phase::Helo, &verdict);
            if verdict.decision == Decision::Accept {
                self.offer = Offer::default();
                self.state = State::Ready;
            }
        }
        self.line_limit = self.command_line_limit();
        self.after_answer(verdict.disconnect);
    }

    /// Answers [`Event::Auth`].
    pub fn answer_auth(&mut self, answer: AuthAnswer) {
        if self.pending != Some(Pending::Auth) {
            return;
        }
        self.pending = None;
        match answer {
            AuthAnswer::Challenge { challenge, reply, disconnect } => {
                self.challenge(&challenge, &reply);
                self.after_answer(disconnect);
            }
            AuthAnswer::Verdict(verdict) => {
                self.dialogue = None;
                self.state = State::Ready;
                if verdict.decision == Decision::Accept {
                    self.authenticated = true;
                    self.line_limit = self.command_line_limit();
                }
                if verdict.decision == Decision::Reject && self.is_last_straw() {
                    self.reply(replies::TOO_MANY_BAD);
                    self.close(CloseReason::TooManyBadCommands);
                } else {
                    self.reply_verdict(Phase::Auth, &verdict);
                }
                self.after_answer(verdict.disconnect);
            }
        }
    }

    /// Answers [`Event::Command`].
    pub fn answer_proxy(&mut self, answer: ProxyAnswer) {
        let Some(Pending::Proxy(chunk)) = self.pending else { return };
        self.pending = None;
        match answer {
            ProxyAnswer::Pass { command, next } => {
                self.proxy = next;
                if let Some(mut command) = command {
                    let is_end = |b: &u8| matches!(b, b'\r' | b'\n' | 0);
                    command.truncate(command.iter().position(is_end).unwrap_or(command.len()));
                    let still_bdat = matches!(Verb::split(&command), Some((Verb::Bdat, _)));
                    self.substitute = Some(command);
                    if !still_bdat {
                        self.skip_chunk(chunk, Fate::Silent);
                    }
                }
                self.after_answer(false);
            }
            ProxyAnswer::Reply { reply, disconnect, next } => {
                self.proxy = next;
                self.substitute = None;
                let code = reply.code.filter(|code| (200..600).contains(code));
                let code = code.unwrap_or(replies::PROXY.code);
                let enhanced = replies::enhanced_code(replies::PROXY, code, &reply)
                    .filter(|_| self.config.enhanced_codes);
                let fallback = replies::PROXY.text;
                self.answered = self.answering;
                replies::write_lines(&mut self.out, code, enhanced, &reply.lines, fallback);
                self.skip_chunk(chunk, Fate::Silent);
                self.after_answer(disconnect);
            }
        }
    }

    /// Answers [`Event::EndOfData`] under LMTP with one verdict per accepted recipient, in order.
    /// Missing ones are deferred, surplus ones ignored.
    ///
    /// Under SMTP only the first counts.
    pub fn answer_each(&mut self, verdicts: Vec<Verdict>) {
        if self.pending == Some(Pending::EndOfData) {
            self.end_transaction(verdicts, SpareVerdict::Defer);
        }
    }

    /// Octets to write.
    #[must_use]
    pub fn output(&self) -> &[u8] {
        self.out.get(self.written..).unwrap_or_default()
    }

    /// Marks the first `len` octets of the output as written; a large buffer is freed once empty.
    pub fn advance_output(&mut self, len: usize) {
        self.written = self.written.saturating_add(len).min(self.out.len());
        if self.written == self.out.len() {
            self.remember_reply();
            self.written = 0;
            self.out.clear();
            if self.out.capacity() > KEPT_OUTPUT {
                self.out = Vec::new();
            }
        }
    }

    /// Keeps the last reply of the output, which is about to be cleared.
    fn remember_reply(&mut self) {
        if !self.config.keep_last_reply || self.out.is_empty() {
            return;
        }
        let mut start = self.out.len();
        // Backwards over lines, to behind the last line of the reply before.
        while start > 0 {
            let before = self.out.get(..start).unwrap_or_default();
            let line = memchr::memrchr(b'\n', before.get(..start - 1).unwrap_or_default());
            let line = line.map_or(0, |end| end + 1);
            let is_last_line = self.out.get(line + 3) != Some(&b'-');
            if is_last_line && start < self.out.len() {
                break;
            }
            start = line;
        }
        let reply = self.out.get(start..).unwrap_or_default().to_vec();
        self.last_reply = Some(Box::new((self.answered, reply)));
    }

    /// The last reply that went out, as octets, with what it answered: a command's verb, `BANNER`, or
    /// `EOD` for the end of a message. `None` before the first, and unless the configuration asks for
    /// it.
    #[must_use]
    pub fn last_reply(&self) -> Option<(&'static str, &[u8])> {
        self.last_reply.as_deref().map(|(state, reply)| (*state, reply.as_slice()))
    }

    /// The handshake succeeded; the client starts over with EHLO (RFC 3207 §4.2).
    pub fn tls_established(&mut self) {
        if self.state != State::Tls {
            return;
        }
        self.security = Security::Tls;
        self.state = State::Greeted;
        self.authenticated = false;
        self.offer = Offer::default();
        self.line_limit = self.command_line_limit();
        self.lines.clear();
    }

    /// The handshake failed; the session ends without a further reply.
    pub fn tls_failed(&mut self) {
        self.close(CloseReason::TlsFailed);
    }

    /// A timer ran out: 421 and the end. [`Event::Closing`] follows from `receive(&[])`.
    pub fn timed_out(&mut self) {
        self.hang_up(replies::TIMEOUT, CloseReason::Timeout);
    }

    /// The server stops: 421 and the end, unless an answer is owed; then 421 follows that answer.
    pub fn shut_down(&mut self) {
        if self.pending.is_some() {
            self.shutting_down = true;
        } else {
            self.hang_up(replies::SHUTDOWN, CloseReason::Shutdown);
        }
    }

    /// Somebody closes this connection from outside: `verdict` as the reply, and the end.
    /// [`Event::Closing`] follows from `receive(&[])`.
    pub fn dismiss(&mut self, verdict: &Verdict) {
        if self.closing.is_none() {
            if self.state != State::Tls {
                self.reply_verdict(Phase::Connect, verdict);
            }
            self.close(CloseReason::Shutdown);
        }
    }

    /// Where the session stands.
    #[must_use]
    pub const fn state(&self) -> State {
        self.state
    }

    /// Tells whether an event waits for its answer.
    #[must_use]
    pub const fn awaits_answer(&self) -> bool {
        self.pending.is_some()
    }

    /// Why the session is over, once it is.
    #[must_use]
    pub const fn closing(&self) -> Option<CloseReason> {
        self.closing
    }

    /// The timer that runs while the driver reads.
    #[must_use]
    pub const fn timer(&self) -> Timer {
        match self.state {
            State::Data | State::Chunk => Timer::DataBlock,
            State::Tls => Timer::TlsHandshake,
            State::Closed => Timer::Closing,
            _ => Timer::Command,
        }
    }

    /// `Received:` fields seen so far in the header of the message that comes in.
    #[must_use]
    pub const fn received_count(&self) -> u32 {
        self.intake.header.received()
    }

    /// Tells whether the open transaction uses SMTPUTF8.
    #[must_use]
    pub const fn is_smtputf8(&self) -> bool {
        self.smtputf8
    }

    /// Tells whether the client has logged in.
    #[must_use]
    pub const fn is_authenticated(&self) -> bool {
        self.authenticated
    }

    fn receive_line(&mut self, input: &[u8]) -> (usize, Option<Event<'static>>) {
        let limit = if self.state == State::Auth { AUTH_LINE } else { self.line_limit };
        let bare_lf = match self.config.line_endings {
            LineEndings::Fix => BareLf::Accept,
            LineEndings::Refuse | LineEndings::RefuseAndClose => BareLf::Refuse,
        };
        let (consumed, line) = self.lines.take(input, limit, bare_lf);
        let event = match line {
            None => None,
            Some(Err(error)) => {
                self.bad_line(error);
                None
            }
            Some(Ok(line)) if self.state == State::Auth => self.response(&line),
            Some(Ok(line)) if self.is_overlong(&line) => {
                self.bad(replies::LINE_TOO_LONG);
                None
            }
            Some(Ok(line)) if self.proxy => {
                let chunk = match Verb::split(&line) {
                    Some((Verb::Bdat, arguments)) => Chunk::parse(arguments),
                    _ => None,
                };
                let line = line.into_owned();
                self.substitute = Some(line.clone());
                self.pending = Some(Pending::Proxy(chunk));
                Some(Event::Command(line))
            }
            Some(Ok(line)) => self.execute(&line),
        };
        (consumed, event)
    }

    /// Tells whether a line takes more room than its verb has; only AUTH may use all of
    /// `line_limit`.
    fn is_overlong(&self, line: &[u8]) -> bool {
        let limit = self.config.limits.command_line + self.offer.line_room();
        line.len() + 2 > limit && !matches!(Verb::split(line), Some((Verb::Auth, _)))
    }

    fn bad_line(&mut self, error: LineError) {
        let in_dialogue = self.state == State::Auth;
        if in_dialogue {
            self.dialogue = None;
            self.state = State::Ready;
        }
        match error {
            LineError::TooLong if in_dialogue => self.bad(replies::AUTH_TOO_LONG),
            LineError::TooLong => self.bad(replies::LINE_TOO_LONG),
            LineError::BareLf | LineError::Control => {
                if self.config.line_endings == LineEndings::RefuseAndClose {
                    self.hang_up(replies::BAD_LINE_CLOSE, CloseReason::BadLineEnding);
                } else {
                    self.bad(replies::BAD_LINE);
                }
            }
        }
    }

    /// Answers the end of data and goes back to [`State::Ready`].
    fn end_transaction(&mut self, verdicts: Vec<Verdict>, spare: SpareVerdict) {
        self.pending = None;
        let replies_due = match self.config.protocol {
            super::Protocol::Smtp => 1,
            super::Protocol::Lmtp => self.recipients.max(1),
        };
        let disconnect = verdicts.iter().any(|verdict| verdict.disconnect);
        for at in 0..replies_due as usize {
            match (verdicts.get(at), verdicts.last(), spare) {
                (Some(verdict), _, _) | (None, Some(verdict), SpareVerdict::Repeat) => {
                    self.reply_verdict(Phase::Eod, verdict);
                }
                _ => self.reply(replies::NOT_ANSWERED),
            }
        }
        self.reset();
        self.after_answer(disconnect);
    }

    /// Ends the transaction, if there is one.
    pub(super) fn reset(&mut self) {
        if self.state != State::Greeted {
            self.state = State::Ready;
        }
        self.smtputf8 = false;
        self.recipients = 0;
        self.rcpt_tried = false;
    }

    /// Counts a bad command and answers it, or hangs up when there were too many.
    pub(super) fn bad(&mut self, reply: Stock) {
        if self.is_last_straw() {
            self.hang_up(replies::TOO_MANY_BAD, CloseReason::TooManyBadCommands);
        } else {
            self.reply(reply);
        }
    }

    fn is_last_straw(&mut self) -> bool {
        self.bad_commands = self.bad_commands.saturating_add(1);
        self.bad_commands > self.config.limits.bad_commands
    }

    /// Says a last word and closes.
    pub(super) fn hang_up(&mut self, reply: Stock, reason: CloseReason) {
        if self.closing.is_none() {
            // In the middle of a handshake there is no channel for a reply.
            if self.state != State::Tls {
                self.reply(reply);
            }
            self.close(reason);
        }
    }

    /// Closes; the driver is told by the next `receive`.
    pub(super) fn close(&mut self, reason: CloseReason) {
        if self.closing.is_none() {
            self.closing = Some(reason);
            self.state = State::Closed;
            self.pending = None;
            self.dialogue = None;
            self.substitute = None;
            self.lines.clear();
        }
    }

    fn after_answer(&mut self, disconnect: bool) {
        if disconnect {
            if let Fate::Late(late) = std::mem::take(&mut self.intake.fate) {
                self.answered = self.answering;
                self.out.extend_from_slice(&late);
            }
            self.close(CloseReason::Verdict);
        }
        if std::mem::take(&mut self.shutting_down) {
            self.hang_up(replies::SHUTDOWN, CloseReason::Shutdown);
        }
    }

    /// Octets that a command line may have under the present offer.
    fn command_line_limit(&self) -> usize {
        let limit = self.config.limits.command_line + self.offer.line_room();
        // RFC 4954 §4: an AUTH command may carry a whole initial response.
        if self.offer.has(Extensions::AUTH) && !self.authenticated {
            limit.max(AUTH_LINE)
        } else {
            limit
        }
    }

    pub(super) fn reply(&mut self, reply: Stock) {
        self.answered = self.answering;
        replies::write_stock(&mut self.out, reply, self.config.enhanced_codes);
    }

    fn reply_verdict(&mut self, phase: Phase, verdict: &Verdict) {
        self.answered = self.answering;
        let (enhanced, hostname) = (self.config.enhanced_codes, &*self.config.hostname);
        replies::write_verdict(&mut self.out, phase, verdict, enhanced, hostname);
    }

    fn write_verdict(&self, out: &mut Vec<u8>, phase: Phase, verdict: &Verdict) {
        let (enhanced, hostname) = (self.config.enhanced_codes, &*self.config.hostname);
        replies::write_verdict(out, phase, verdict, enhanced, hostname);
    }

    /// Writes the greeting and the list of keywords as one reply.
    fn reply_ehlo(&mut self, verdict: &Verdict, list: &[String]) {
        self.answered = self.answering;
        let code = replies::reply_code(Phase::Helo.stock(Decision::Accept), verdict);
        let hostname = [&*self.config.hostname];
        let text = verdict.reply.lines.iter().map(String::as_str);
        let text = text.chain(hostname.into_iter().filter(|_| verdict.reply.lines.is_empty()));
        let enhanced = verdict.reply.enhanced.filter(|_| self.config.enhanced_codes);
        let mut lines = text.chain(list.iter().map(String::as_str)).peekable();
        while let Some(line) = lines.next() {
            let last = lines.peek().is_none();
            replies::write_line(&mut self.out, code, last, enhanced, line);
        }
    }

    pub(super) fn reply_octets(&mut self, octets: &[u8]) {
        self.answered = self.answering;
        self.out.extend_from_slice(octets);
    }
}

/// What recipients get for whom no verdict was given (LMTP).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SpareVerdict {
    /// The last verdict.
    Repeat,
    /// A temporary refusal.
    Defer,
}

/// RFC 4954 §4: 12,288 octets for the base64 of one line, and CRLF.
pub(super) const AUTH_LINE: usize = 12_288 + 2;

/// Output kept between commands; an idle session must stay small.
const KEPT_OUTPUT: usize = 1024;
