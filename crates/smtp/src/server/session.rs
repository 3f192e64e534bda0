//! The receiving session: the one place where input, state and answers meet.

use std::sync::Arc;

use super::{AuthAnswer, CloseReason, Config, Event, ProxyAnswer, Security, State, Timer, Verdict};

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
    config: Arc<Config>,
}

impl Session {
    /// A session on a fresh connection; nothing is read until [`Session::greet`].
    #[must_use]
    pub fn new(_config: Arc<Config>, _security: Security) -> Self {
        todo!()
    }

    /// Sends the banner (default 220), or refuses the connection (defaults 521 and 421) and
    /// closes; a refusal with 554 stays open until QUIT (RFC 5321 §3.1).
    pub fn greet(&mut self, _verdict: Verdict) {
        todo!()
    }

    /// Reads on until there is an event or the input is used up.
    pub fn receive<'i>(&mut self, _input: &'i [u8]) -> Step<'i> {
        todo!()
    }

    /// Answers the open event with the reply its command calls for.
    ///
    /// For HELO and AUTH this is `answer_hello(verdict, None)` and
    /// `answer_auth(AuthAnswer::Verdict(verdict))`. Without an open event nothing happens.
    pub fn answer(&mut self, _verdict: Verdict) {
        todo!()
    }

    /// Answers [`Event::Hello`]; `extensions` replaces the list of EHLO keywords.
    pub fn answer_hello(&mut self, _verdict: Verdict, _extensions: Option<Vec<String>>) {
        todo!()
    }

    /// Answers [`Event::Auth`].
    pub fn answer_auth(&mut self, _answer: AuthAnswer) {
        todo!()
    }

    /// Answers [`Event::Command`].
    pub fn answer_proxy(&mut self, _answer: ProxyAnswer) {
        todo!()
    }

    /// Answers [`Event::EndOfData`] under LMTP with one verdict per accepted recipient, in order.
    /// Missing ones are deferred, surplus ones ignored.
    pub fn answer_each(&mut self, _verdicts: Vec<Verdict>) {
        todo!()
    }

    /// Octets to write.
    #[must_use]
    pub fn output(&self) -> &[u8] {
        todo!()
    }

    /// Marks the first `len` octets of the output as written; a large buffer is freed once empty.
    pub fn advance_output(&mut self, _len: usize) {
        todo!()
    }

    /// The handshake succeeded; the client starts over with EHLO (RFC 3207 §4.2).
    pub fn tls_established(&mut self) {
        todo!()
    }

    /// The handshake failed; the session ends without a further reply.
    pub fn tls_failed(&mut self) {
        todo!()
    }

    /// A timer ran out: 421 and the end. [`Event::Closing`] follows from `receive(&[])`.
    pub fn timed_out(&mut self) {
        todo!()
    }

    /// The server stops: 421 and the end, unless an answer is owed; then 421 follows that answer.
    pub fn shut_down(&mut self) {
        todo!()
    }

    /// Where the session stands.
    #[must_use]
    pub fn state(&self) -> State {
        todo!()
    }

    /// Tells whether an event waits for its answer.
    #[must_use]
    pub fn awaits_answer(&self) -> bool {
        todo!()
    }

    /// Why the session is over, once it is.
    #[must_use]
    pub fn closing(&self) -> Option<CloseReason> {
        todo!()
    }

    /// The timer that runs while the driver reads.
    #[must_use]
    pub fn timer(&self) -> Timer {
        todo!()
    }

    /// `Received:` fields seen so far in the header of the message that comes in.
    #[must_use]
    pub fn received_count(&self) -> u32 {
        todo!()
    }
}
