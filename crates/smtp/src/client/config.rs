//! What an outgoing session is set to, and what a transaction consists of.

use mta_types::Address;

use super::ReplyLimits;
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
    /// How far the transaction goes.
    pub purpose: Purpose,
}

/// How far a transaction goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// The content goes to the recipients that the peer accepts.
    #[default]
    Deliver,
    /// The content goes out only if the peer accepts every recipient; else all share the first
    /// refusal.
    DeliverToAll,
    /// No content: the replies to RCPT are the outcomes.
    Probe,
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
