//! Where an incoming conversation stands, and which command is legal when.

/// The state of a server session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Before the banner.
    Connected,
    /// Refused with 554: only QUIT is left (RFC 5321 §3.1).
    Refused,
    /// The banner is out, or TLS has just begun: a greeting is due.
    Greeted,
    /// HELO, EHLO or LHLO was accepted; no transaction.
    Ready,
    /// In an AUTH dialogue: the next line is a response, not a command.
    Auth,
    /// MAIL was accepted, no recipient yet.
    Mail,
    /// At least one recipient was accepted.
    Rcpt,
    /// DATA content comes in.
    Data,
    /// BDAT was used in this transaction and its last chunk is still to come.
    Bdat,
    /// The octets of a chunk come in.
    Chunk,
    /// STARTTLS was accepted; clear text that still comes is thrown away.
    Tls,
    /// The session is over.
    Closed,
}
