//! The sending session: which command comes next, and what its reply means.

use std::sync::Arc;

use mta_types::{Address, Reply};

use super::{Outcome, ReplyLimits, State};
use crate::extensions::Offer;
use crate::parameters::Parameters;

/// What a client session is set to.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// SMTP or LMTP.
    pub protocol: Protocol,
    /// The name (or address literal) to give in EHLO.
    pub helo: String,
    /// Whether to use STARTTLS.
    pub tls: Tls,
    /// TLS runs from the first octet; STARTTLS is not used then.
    pub implicit_tls: bool,
    /// Log in before the first MAIL.
    pub credentials: Option<Credentials>,
    /// XCLIENT attributes, sent when the peer offers them; others are left out.
    pub xclient: Vec<(String, String)>,
    /// Use PIPELINING when offered.
    pub pipelining: bool,
    /// Use CHUNKING when offered.
    pub chunking: bool,
    /// Bounds on replies.
    pub limits: ReplyLimits,
}

/// The two dialects of the sending side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// EHLO, then HELO.
    #[default]
    Smtp,
    /// LHLO (RFC 2033).
    Lmtp,
}

/// When to use STARTTLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Tls {
    /// Never.
    #[default]
    Disabled,
    /// When offered; a refusal of the command leaves the session in clear text.
    Optional,
    /// Always; without it the session fails.
    Required,
}

/// A login.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    /// User name.
    pub username: String,
    /// Password.
    pub password: String,
}

impl std::fmt::Debug for Credentials {
    /// Secrets stay out of logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("username", &self.username).finish_non_exhaustive()
    }
}

/// Sender, recipients and parameters of one transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Envelope {
    /// The reverse path.
    pub sender: Address,
    /// MAIL parameters as received or chosen by a script; each is sent only if the peer offers
    /// its extension. SIZE, BODY and SMTPUTF8 in here are replaced by the fields below.
    pub params: Parameters,
    /// Who gets it; at least one.
    pub recipients: Vec<Recipient>,
    /// Octets of the message with CRLF line ends, for SIZE; `None` when not known.
    pub size: Option<u64>,
    /// What the content holds.
    pub body: BodyType,
    /// The message needs SMTPUTF8; addresses beyond ASCII imply it.
    pub smtputf8: bool,
}

/// One recipient of an [`Envelope`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recipient {
    /// The forward path.
    pub address: Address,
    /// RCPT parameters; each is sent only if the peer offers its extension.
    pub params: Parameters,
}

/// What the content holds (RFC 6152).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum BodyType {
    /// Nothing is said.
    #[default]
    SevenBit,
    /// `BODY=8BITMIME` where offered. Where it is not, the content goes out as it is: a
    /// conversion would break signatures, and servers that do not announce 8BITMIME are clean
    /// for eight bits in practice.
    EightBit,
}

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
/// [`Session::receive`] with the timer of [`Session::state`].
#[derive(Debug)]
pub struct Session {
    config: Arc<Config>,
}

impl Session {
    /// A session on a fresh connection; it waits for the banner.
    #[must_use]
    pub fn new(config: Arc<Config>) -> Self {
        Self { config }
    }

    /// Takes octets from the peer. All are consumed.
    pub fn receive(&mut self, _input: &[u8]) {
        todo!()
    }

    /// The next event, if any.
    pub fn next_event(&mut self) -> Option<Event> {
        todo!()
    }

    /// Octets to write before any content slices.
    #[must_use]
    pub fn output(&self) -> &[u8] {
        todo!()
    }

    /// Marks the first `len` octets of the output as written.
    pub fn advance_output(&mut self, _len: usize) {
        todo!()
    }

    /// Begins a transaction; RSET goes first when the connection had one before. Legal after
    /// [`Event::Ready`], and again after [`Event::Finished`] without [`Event::Closed`].
    pub fn begin(&mut self, _envelope: Envelope) {
        todo!()
    }

    /// Takes the next piece of content after [`Event::NeedBody`] and appends to `slices` what to
    /// write, in order, after [`Session::output`]. Text that needs no stuffing passes without a
    /// copy. Nothing is appended once the transaction is over.
    pub fn body<'a>(&mut self, _piece: &'a [u8], _more: More, _slices: &mut Vec<&'a [u8]>) {
        todo!()
    }

    /// Gives the transaction up in the middle of the content. The message is not delivered and the
    /// session ends.
    pub fn abandon(&mut self) {
        todo!()
    }

    /// Sends NOOP to see whether a pooled connection lives; [`Event::Ready`] follows.
    pub fn noop(&mut self) {
        todo!()
    }

    /// Sends QUIT; [`Event::Closed`] follows.
    pub fn quit(&mut self) {
        todo!()
    }

    /// The handshake succeeded; EHLO is sent again (RFC 3207 §4.2).
    pub fn tls_established(&mut self) {
        todo!()
    }

    /// The handshake failed; the session ends.
    pub fn tls_failed(&mut self) {
        todo!()
    }

    /// The peer closed or the socket failed.
    pub fn connection_lost(&mut self) {
        todo!()
    }

    /// The timer of [`Session::state`] ran out.
    pub fn timed_out(&mut self) {
        todo!()
    }

    /// What is being waited for: the oldest command without its reply. `None` while idle.
    #[must_use]
    pub fn state(&self) -> Option<State> {
        todo!()
    }

    /// What the peer announced in its last EHLO reply.
    #[must_use]
    pub fn offer(&self) -> &Offer {
        todo!()
    }

    /// The greeting of the peer, once it came.
    #[must_use]
    pub fn banner(&self) -> Option<&Reply> {
        todo!()
    }

    /// Transactions begun on this connection.
    #[must_use]
    pub fn transactions(&self) -> u32 {
        todo!()
    }
}
