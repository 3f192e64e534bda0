//! What the server session tells its driver, and which of these wait for an answer.
//!
//! Events own their data, except body octets, which are slices of the input the driver handed in.

use mta_types::Address;

use crate::parameters::Parameters;

/// One thing the driver learns from the session.
///
/// While an event that wants an answer is open, the session reads nothing further.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event<'i> {
    /// A command line as it came, without its line end, before the state machine sees it. Only
    /// while the proxy hook is on. Answer with [`Session::answer_proxy`](super::Session).
    Command(Vec<u8>),
    /// HELO, EHLO or LHLO; a transaction that was open is gone. Answer with
    /// [`Session::answer_hello`](super::Session).
    Hello(Hello),
    /// STARTTLS. Answer with [`Session::answer`](super::Session); after an accepting answer flush
    /// the output, run the handshake, then call `tls_established`.
    StartTls,
    /// One step of an AUTH dialogue. Answer with [`Session::answer_auth`](super::Session).
    Auth(Auth),
    /// MAIL FROM. Answer with `answer`.
    Mail(Mail),
    /// RCPT TO. Answer with `answer`.
    Rcpt(Rcpt),
    /// DATA or the first BDAT: content is about to come. Answer with `answer`; an accepting answer
    /// sends 354 after DATA and nothing after BDAT.
    Data(Transfer),
    /// Content with dot-stuffing and chunk framing removed. No answer.
    Body(&'i [u8]),
    /// The engine will refuse this message; the rest of the content is swallowed and the reply
    /// sent at its end, both without further events. The transaction is over. No answer.
    BodyRefused(BodyRefusal),
    /// The message is complete. Answer with `answer`, or with `answer_each` under LMTP.
    EndOfData(EndOfData),
    /// RSET was answered; the transaction, if any, is gone. No answer.
    Rset,
    /// The last event: flush the output and close. No answer.
    Closing(CloseReason),
}

/// A HELO, EHLO or LHLO command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Which of the three.
    pub verb: HelloVerb,
    /// The name or address literal the client gives itself.
    pub host: String,
    /// What would be announced without a script's say, one EHLO line each; empty for HELO.
    pub extensions: Vec<String>,
}

/// The greeting verbs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HelloVerb {
    /// RFC 5321 §4.1.1.1, no extensions.
    Helo,
    /// RFC 5321 §4.1.1.1.
    Ehlo,
    /// RFC 2033 §4.1.
    Lhlo,
}

impl HelloVerb {
    /// The verb in upper case, as scripts see it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Helo => "HELO",
            Self::Ehlo => "EHLO",
            Self::Lhlo => "LHLO",
        }
    }
}

/// One step of an AUTH dialogue (RFC 4954).
#[derive(Clone, PartialEq, Eq)]
pub struct Auth {
    /// The mechanism in upper case.
    pub mechanism: String,
    /// What the client sent.
    pub response: AuthResponse,
}

impl std::fmt::Debug for Auth {
    /// Names the mechanism only: secrets stay out of logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Auth").field("mechanism", &self.mechanism).finish_non_exhaustive()
    }
}

/// The client's side of an AUTH step.
#[derive(Clone, PartialEq, Eq)]
pub enum AuthResponse {
    /// LOGIN or PLAIN, whose dialogue the engine has led to its end. Octets as the client sent
    /// them.
    Password {
        /// The identity to act as (PLAIN only, RFC 4616); empty when it is the user's own.
        authorization: Vec<u8>,
        /// Who logs in.
        username: Vec<u8>,
        /// The secret.
        password: Vec<u8>,
    },
    /// Any other mechanism: the decoded response, for a script to judge.
    Raw {
        /// 0 at first, one more per challenge.
        state: u32,
        /// `None` when AUTH came without an initial response.
        response: Option<Vec<u8>>,
    },
}

/// A MAIL FROM command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mail {
    /// The reverse path; may be the null sender.
    pub address: Address,
    /// ESMTP parameters, each of an extension that was offered and with a value of valid form.
    pub params: Parameters,
}

/// A RCPT TO command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rcpt {
    /// The forward path; the domain is empty for plain `postmaster`.
    pub address: Address,
    /// ESMTP parameters, each of an extension that was offered and with a value of valid form.
    pub params: Parameters,
}

/// How content travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transfer {
    /// DATA: dot-stuffed, ended by a lone dot (RFC 5321 §4.5.2).
    Data,
    /// BDAT: counted chunks (RFC 3030).
    Bdat,
}

/// Why the engine refuses a message while its content comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BodyRefusal {
    /// More octets than the limit: 552.
    TooLarge,
    /// A CR or LF alone, or a NUL, under a refusing [`LineEndings`](super::LineEndings): 550.
    BadLineEnding,
    /// A text line over [`Limits::text_line`](super::Limits): 550.
    LineTooLong,
}

/// A complete message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndOfData {
    /// Octets handed out as [`Event::Body`].
    pub size: u64,
    /// `Received:` fields in its header, for loop protection.
    pub received: u32,
}

/// Why the session ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CloseReason {
    /// The client said QUIT.
    Quit,
    /// A verdict asked for it, or it refused the connection.
    Verdict,
    /// More bad commands than the limit.
    TooManyBadCommands,
    /// More messages than one connection may bring.
    TooManyMessages,
    /// Content with bad line endings under [`LineEndings::RefuseAndClose`](super::LineEndings).
    BadLineEnding,
    /// A malformed BDAT: where its octets end cannot be known.
    BadChunk,
    /// The driver reported a timer as expired.
    Timeout,
    /// The driver shuts down.
    Shutdown,
    /// The driver reported that the TLS handshake failed.
    TlsFailed,
}
