//! What a virtual server is set to, as far as the protocol is concerned.

use crate::extensions::Extensions;

/// Settings of a server; one value is shared by all its sessions.
#[derive(Clone, Debug)]
pub struct Config {
    /// Name in the banner and in HELO replies.
    pub hostname: String,
    /// SMTP or LMTP.
    pub protocol: Protocol,
    /// Extensions to announce; STARTTLS only shows while TLS is off, AUTH only with mechanisms.
    pub extensions: Extensions,
    /// SASL mechanisms to announce, upper case. LOGIN and PLAIN are led by the engine, others are
    /// the driver's.
    pub auth_mechanisms: Vec<String>,
    /// What CR or LF alone mean.
    pub line_endings: LineEndings,
    /// Put enhanced codes into replies (RFC 2034).
    pub enhanced_codes: bool,
    /// Show command lines to the driver first ([`Event::Command`](super::Event)).
    pub proxy_hook: bool,
    /// Remember the last reply, for [`Session::last_reply`](super::Session::last_reply).
    pub keep_last_reply: bool,
    /// Bounds.
    pub limits: Limits,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            hostname: "localhost".to_owned(),
            protocol: Protocol::Smtp,
            extensions: Extensions::default_offer(),
            auth_mechanisms: Vec::new(),
            line_endings: LineEndings::Refuse,
            enhanced_codes: true,
            proxy_hook: false,
            keep_last_reply: false,
            limits: Limits::default(),
        }
    }
}

/// The two dialects of the receiving side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// HELO and EHLO (RFC 5321).
    #[default]
    Smtp,
    /// LHLO, and one reply per accepted recipient after the content (RFC 2033).
    Lmtp,
}

/// Whether TLS is on when the session starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Security {
    /// Clear text; STARTTLS may be offered.
    #[default]
    Clear,
    /// TLS from the first octet, or established since.
    Tls,
}

/// What to do with a CR or LF that is not part of CRLF, and with NUL (RFC 5321 §2.3.8).
///
/// Whatever is chosen, only `CRLF . CRLF` ends the content. That, and not the refusal, is what
/// defeats smuggling: a peer that believes in another ending cannot make us run its content as
/// commands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum LineEndings {
    /// Swallow the content up to its true end and refuse it there, once, with 550 5.6.0; command
    /// lines get 500. The honest relay on the other side of an attack gets a clear, final reply,
    /// and its connection stays usable.
    #[default]
    Refuse,
    /// Answer 521 5.6.0 at once and close, in content and in commands.
    RefuseAndClose,
    /// A bare LF becomes CRLF; a bare CR and a NUL become a space. Command lines may end in a bare
    /// LF.
    ///
    /// # Compatibility
    ///
    /// The reference product turns bare LF into CRLF.
    Fix,
}

/// Bounds on what a client may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Octets of a command line with CRLF, before the room that offered extensions add; 512 by RFC
    /// 5321 §4.5.3.1.4.
    pub command_line: usize,
    /// Octets of a text line without CRLF; `None` (default) for any. RFC 5321 §4.5.3.1.6 has 998.
    pub text_line: Option<usize>,
    /// Octets of a message; `None` for any. Announced as SIZE.
    pub size: Option<u64>,
    /// Accepted recipients per message; RFC 5321 §4.5.3.1.8 asks for at least 100.
    pub recipients: u32,
    /// Accepted MAIL commands per connection; `None` for any.
    pub messages: Option<u32>,
    /// Bad commands (unknown, malformed, out of order, failed AUTH) until 421.
    pub bad_commands: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            command_line: 512,
            text_line: None,
            size: None,
            recipients: 1000,
            messages: None,
            bad_commands: 20,
        }
    }
}
