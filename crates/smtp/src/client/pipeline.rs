//! One transaction: MAIL, RCPT and DATA or BDAT, in one write where PIPELINING allows (RFC 2920).
//!
//! Commands are issued by [`Session::pump`] as far as the peer and the window allow; replies come in
//! the same order and decide about recipients. The transaction is over when every recipient has an
//! outcome and no reply is due.

use std::fmt::Write as _;

use mta_types::Reply;

use super::session::{Expected, Phase};
use super::{
    Answer, BodyType, Envelope, Event, Failure, More, Outcome, Protocol, Purpose, Session, State,
    lmtp,
};
use crate::bdat::Chunk;
use crate::data::{Encoder, Framing};
use crate::extensions::Extensions;
use crate::parameters::Parameters;

/// A transaction under way.
#[derive(Debug)]
pub(super) struct Transaction {
    envelope: Envelope,
    /// Per recipient: not known yet, accepted, or decided.
    pub(super) fates: Vec<Fate>,
    /// Commands issued: 0 none, 1 MAIL, then one per recipient.
    issued: usize,
    /// RSET has to go first.
    needs_reset: bool,
    mail_refused: bool,
    smtputf8: bool,
    content: Content,
    encoder: Encoder,
}

/// What is known of a recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// The reply to RCPT is due.
    Open,
    /// RCPT was accepted; the message itself decides.
    Accepted,
    /// The outcome.
    Decided(Outcome),
}

/// How far the content is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Content {
    /// Neither DATA nor BDAT went out.
    Before,
    /// DATA went out, 354 is due.
    Asked,
    /// The driver was asked for content.
    Wanted,
    /// All content went out, or none will.
    Done,
}

impl Transaction {
    /// The outcomes, with `rest` for recipients that have none yet.
    pub(super) fn into_outcomes(self, rest: &Outcome) -> Vec<Outcome> {
        let outcome = |fate| match fate {
            Fate::Decided(outcome) => outcome,
            Fate::Open | Fate::Accepted => rest.clone(),
        };
        self.fates.into_iter().map(outcome).collect()
    }

    /// Decides about every recipient that is still undecided.
    fn decide_all(&mut self, state: State, reply: &Reply) {
        for fate in &mut self.fates {
            if !matches!(fate, Fate::Decided(_)) {
                let answer = Answer::Reply(reply.clone());
                *fate = Fate::Decided(Outcome { state, answer });
            }
        }
    }

    /// Lets everybody share the first refusal, if there is one.
    fn refuse_all_with_one(&mut self) {
        let refusal = self.fates.iter().find(|fate| matches!(fate, Fate::Decided(_))).cloned();
        if let Some(refusal) = refusal {
            for fate in self.fates.iter_mut().filter(|fate| !matches!(fate, Fate::Decided(_))) {
                *fate = refusal.clone();
            }
        }
    }

    fn has_accepted(&self) -> bool {
        self.fates.contains(&Fate::Accepted)
    }

    fn is_decided(&self) -> bool {
        self.fates.iter().all(|fate| matches!(fate, Fate::Decided(_)))
    }
}

impl Session {
    /// Takes an envelope on an idle session.
    pub(super) fn begin_transaction(&mut self, envelope: Envelope) {
        if envelope.recipients.is_empty() {
            self.events.push_back(Event::Finished(Vec::new()));
            return;
        }
        let smtputf8 = envelope.smtputf8
            || envelope.sender.is_utf8()
            || envelope.recipients.iter().any(|recipient| recipient.address.is_utf8());
        if let Some(failure) = self.obstacle(&envelope, smtputf8) {
            let outcome = Outcome { state: State::Mail, answer: Answer::Failure(failure) };
            let outcomes = vec![outcome; envelope.recipients.len()];
            self.events.push_back(Event::Finished(outcomes));
            return;
        }
        let framing = if self.uses_chunking() { Framing::Counted } else { Framing::Dot };
        self.transaction = Some(Transaction {
            fates: vec![Fate::Open; envelope.recipients.len()],
            envelope,
            issued: 0,
            needs_reset: self.transactions > 0,
            mail_refused: false,
            smtputf8,
            content: Content::Before,
            encoder: Encoder::new(framing),
        });
        self.transactions = self.transactions.saturating_add(1);
        self.phase = Phase::Transaction;
        self.pump();
    }

    /// What makes it pointless to try.
    fn obstacle(&self, envelope: &Envelope, smtputf8: bool) -> Option<Failure> {
        if smtputf8 && !self.offer.has(Extensions::SMTPUTF8) {
            return Some(Failure::Smtputf8NotOffered);
        }
        let tls_promised = self.secured && self.offer.has(Extensions::REQUIRETLS);
        if envelope.params.has("REQUIRETLS") && !tls_promised {
            return Some(Failure::RequireTlsNotOffered);
        }
        let sizes = envelope.size.zip(self.offer.size);
        sizes.is_some_and(|(size, limit)| size > limit).then_some(Failure::TooLarge)
    }

    fn uses_chunking(&self) -> bool {
        self.config.chunking && self.offer.has(Extensions::CHUNKING)
    }

    fn uses_pipelining(&self) -> bool {
        self.config.pipelining && self.offer.has(Extensions::PIPELINING)
    }

    /// Issues every command that may go out now, and ends the transaction when nothing is left.
    pub(super) fn pump(&mut self) {
        while self.may_issue() && self.issue_next() {}
        self.finish_if_over();
    }

    /// Tells whether another command may follow those whose replies are due.
    fn may_issue(&self) -> bool {
        let window = if self.uses_pipelining() { WINDOW } else { 1 };
        self.phase == Phase::Transaction && self.expected.len() < window
    }

    /// Issues the next command; `false` when there is none, or none yet.
    fn issue_next(&mut self) -> bool {
        let pipelining = self.uses_pipelining();
        let chunking = self.uses_chunking();
        let (offer, authenticated) = (&self.offer, self.authenticated);
        let Some(transaction) = &mut self.transaction else { return false };
        if transaction.mail_refused {
            return false;
        }
        if std::mem::take(&mut transaction.needs_reset) {
            self.command(State::Rset, "RSET");
            return true;
        }
        let Some(at) = transaction.issued.checked_sub(1) else {
            transaction.issued = 1;
            let mut line = format!("MAIL FROM:<{}>", transaction.envelope.sender);
            let envelope = &transaction.envelope;
            if let Some(size) = envelope.size.filter(|_| offer.has(Extensions::SIZE)) {
                push_parameter(&mut line, "SIZE", Some(&size.to_string()));
            }
            if envelope.body == BodyType::EightBit && offer.has(Extensions::EIGHTBITMIME) {
                push_parameter(&mut line, "BODY", Some("8BITMIME"));
            }
            if transaction.smtputf8 {
                push_parameter(&mut line, "SMTPUTF8", None);
            }
            push_parameters(&mut line, &envelope.params, |key| match key {
                "SIZE" | "BODY" | "SMTPUTF8" => false,
                // RFC 4954 §5: means something within a trusted session only.
                "AUTH" => authenticated && offer.has(Extensions::AUTH),
                _ => offer.allows_mail_parameter(key),
            });
            self.command(State::Mail, &line);
            return true;
        };
        if let Some(recipient) = transaction.envelope.recipients.get(at) {
            transaction.issued += 1;
            let mut line = format!("RCPT TO:<{}>", recipient.address);
            push_parameters(&mut line, &recipient.params, |key| offer.allows_rcpt_parameter(key));
            self.out.extend_from_slice(line.as_bytes());
            self.out.extend_from_slice(b"\r\n");
            self.expected.push_back(Expected { state: State::Rcpt, recipient: at, last: true });
            return true;
        }
        if transaction.content != Content::Before {
            return false;
        }
        // Under LMTP the number of replies to the content hangs on the replies to RCPT.
        let purpose = transaction.envelope.purpose;
        let eager =
            pipelining && self.config.protocol == Protocol::Smtp && purpose == Purpose::Deliver;
        let all_heard = self.expected.is_empty();
        if all_heard && purpose == Purpose::DeliverToAll {
            transaction.refuse_all_with_one();
        }
        if (all_heard || !eager) && (!all_heard || !transaction.has_accepted()) {
            return false;
        }
        if chunking {
            let small = transaction.envelope.size.is_some_and(|size| size <= EAGER_CONTENT);
            if !all_heard && !small {
                return false;
            }
            transaction.content = Content::Wanted;
            self.events.push_back(Event::NeedBody);
            return false;
        }
        transaction.content = Content::Asked;
        self.command(State::Data, "DATA");
        true
    }

    /// Takes the reply to MAIL, RCPT, DATA or the content.
    pub(super) fn on_transaction_reply(&mut self, expected: Expected, reply: Reply) {
        let state = expected.state;
        let fits = match state {
            State::Data => reply.is_intermediate(),
            _ => reply.is_positive(),
        };
        if !fits && !reply.is_transient() && !reply.is_permanent() {
            let failure = Failure::UnexpectedReply { code: reply.code };
            return self.fail(state, Answer::Failure(failure));
        }
        let protocol = self.config.protocol;
        let Some(transaction) = &mut self.transaction else { return };
        match (state, fits) {
            (State::Mail, true) => {}
            (State::Mail, false) => {
                transaction.mail_refused = true;
                transaction.decide_all(state, &reply);
            }
            (State::Rcpt, true) if transaction.envelope.purpose == Purpose::Probe => {
                decide(transaction, expected, reply);
            }
            (State::Rcpt, true) => {
                if let Some(fate) = transaction.fates.get_mut(expected.recipient)
                    && *fate == Fate::Open
                {
                    *fate = Fate::Accepted;
                }
            }
            (State::Rcpt, false) => decide(transaction, expected, reply),
            (State::Data, true) if transaction.has_accepted() => {
                transaction.content = Content::Wanted;
                self.events.push_back(Event::NeedBody);
            }
            (State::Data, true) => {
                // RFC 2920 §3.1: all recipients were refused, yet content is expected now.
                transaction.content = Content::Done;
                self.out.extend_from_slice(b".\r\n");
                self.expect(State::Eod);
            }
            (State::Data, false) => {
                transaction.content = Content::Done;
                transaction.decide_all(state, &reply);
            }
            (_, true) if !expected.last => {}
            (_, false) if !expected.last => {
                // A refused chunk: the message is refused, and further chunks are pointless.
                transaction.content = Content::Done;
                transaction.decide_all(state, &reply);
            }
            _ if protocol == Protocol::Lmtp => decide(transaction, expected, reply),
            _ => transaction.decide_all(state, &reply),
        }
        self.pump();
    }

    fn finish_if_over(&mut self) {
        let over = self.phase == Phase::Transaction
            && self.expected.is_empty()
            && self.transaction.as_ref().is_some_and(Transaction::is_decided);
        if !over {
            return;
        }
        if let Some(transaction) = self.transaction.take() {
            self.phase = Phase::Idle;
            self.events.retain(|event| *event != Event::NeedBody);
            let nothing = Answer::Failure(Failure::Abandoned);
            let rest = Outcome { state: State::Eod, answer: nothing };
            self.events.push_back(Event::Finished(transaction.into_outcomes(&rest)));
        }
    }

    /// Puts a piece of content on the wire.
    pub(super) fn send_body<'a>(
        &mut self,
        piece: &'a [u8],
        more: More,
        slices: &mut Vec<&'a [u8]>,
    ) {
        let chunking = self.uses_chunking();
        let Some(transaction) = &mut self.transaction else { return };
        if transaction.content != Content::Wanted {
            return;
        }
        let start = slices.len();
        transaction.encoder.encode(piece, slices);
        let last = more == More::Last;
        if last {
            transaction.encoder.finish(slices);
            transaction.content = Content::Done;
        }
        if chunking {
            let sizes = slices.iter().skip(start).map(|slice| slice.len() as u64);
            let chunk = Chunk { size: sizes.sum(), last };
            if chunk.size == 0 && !last {
                return;
            }
            chunk.write_to(&mut self.out);
        }
        match (last, self.config.protocol) {
            (true, Protocol::Lmtp) => lmtp::expect_replies(transaction, &mut self.expected),
            (true, Protocol::Smtp) => self.expect(State::Eod),
            (false, _) if chunking => {
                let expected = Expected { state: State::Eod, recipient: 0, last: false };
                self.expected.push_back(expected);
            }
            (false, _) => {}
        }
    }
}

/// Gives one recipient its outcome, unless it has one.
fn decide(transaction: &mut Transaction, expected: Expected, reply: Reply) {
    if let Some(fate) = transaction.fates.get_mut(expected.recipient)
        && !matches!(fate, Fate::Decided(_))
    {
        let answer = Answer::Reply(reply);
        *fate = Fate::Decided(Outcome { state: expected.state, answer });
    }
}

fn push_parameters(line: &mut String, params: &Parameters, wanted: impl Fn(&str) -> bool) {
    for (key, value) in params.iter().filter(|(key, _)| wanted(key)) {
        push_parameter(line, key, value);
    }
}

fn push_parameter(line: &mut String, key: &str, value: Option<&str>) {
    // Writing to a string cannot fail.
    let _ = match value {
        Some(value) => write!(line, " {key}={value}"),
        None => write!(line, " {key}"),
    };
}

/// Commands whose replies may be due at once. Replies to a hundred commands fit into any socket
/// buffer, so neither side can come to wait for the other (RFC 2920 §3.1).
const WINDOW: usize = 100;

/// Octets of content that are sent along with the envelope under CHUNKING: not much is lost when
/// the recipients turn out to be refused.
const EAGER_CONTENT: u64 = 64 * 1024;
