//! What the driver, most often for a script, decides about an event.

use mta_types::{EnhancedCode, Reply};

/// An answer to an event: what is decided, how it is worded, whether to hang up after it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Verdict {
    /// What happens to the command.
    pub decision: Decision,
    /// Wording; what is missing comes from the table of defaults ([`crate::replies`]).
    pub reply: ReplyParts,
    /// Close the connection after the reply.
    pub disconnect: bool,
}

/// The three outcomes of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Decision {
    /// The command takes effect; a 2yz reply (354 for DATA).
    Accept,
    /// Final refusal; 5yz unless the verdict names another code.
    Reject,
    /// Try again later; 4yz unless the verdict names another code.
    Defer,
}

/// The parts of a reply that somebody chose.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplyParts {
    /// The code; ignored unless it is 2yz for an acceptance, 4yz or 5yz for a refusal.
    pub code: Option<u16>,
    /// The enhanced code.
    pub enhanced: Option<EnhancedCode>,
    /// Text lines without line ends; none means the default text. Control characters become
    /// spaces on the way out.
    pub lines: Vec<String>,
}

impl Verdict {
    /// Accepts with the default reply.
    pub const fn accept() -> Self {
        Self::new(Decision::Accept)
    }

    /// Refuses for good, with the default reply of the command.
    pub const fn reject() -> Self {
        Self::new(Decision::Reject)
    }

    /// Refuses for now, with the default reply of the command.
    pub const fn defer() -> Self {
        Self::new(Decision::Defer)
    }

    /// Any of the three with the default reply.
    pub const fn new(decision: Decision) -> Self {
        let reply = ReplyParts { code: None, enhanced: None, lines: Vec::new() };
        Self { decision, reply, disconnect: false }
    }

    /// Sets the text; line feeds split it into lines.
    pub fn with_text(mut self, text: &str) -> Self {
        self.reply.lines = text.split('\n').map(str::to_owned).collect();
        self
    }

    /// Sets the code.
    pub const fn with_code(mut self, code: u16) -> Self {
        self.reply.code = Some(code);
        self
    }

    /// Sets the enhanced code.
    pub const fn with_enhanced(mut self, enhanced: EnhancedCode) -> Self {
        self.reply.enhanced = Some(enhanced);
        self
    }

    /// Closes the connection after the reply.
    pub const fn with_disconnect(mut self) -> Self {
        self.disconnect = true;
        self
    }
}

impl From<Reply> for Verdict {
    /// Reads the decision off the code: 2yz and 3yz accept, 4yz defers, the rest rejects.
    fn from(reply: Reply) -> Self {
        let decision = match reply.code / 100 {
            2 | 3 => Decision::Accept,
            4 => Decision::Defer,
            _ => Decision::Reject,
        };
        let parts =
            ReplyParts { code: Some(reply.code), enhanced: reply.enhanced, lines: reply.lines };
        Self { decision, reply: parts, disconnect: false }
    }
}

/// Answer to [`Event::Command`](super::Event).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProxyAnswer {
    /// Lets the state machine have the line.
    Pass {
        /// A line to use instead, without line end; cut at the first CR, LF or NUL.
        command: Option<Vec<u8>>,
        /// Shows the next command too.
        next: bool,
    },
    /// Swallows the line and answers it.
    Reply {
        /// Wording; default 250. Any code from 200 to 599 is kept.
        reply: ReplyParts,
        /// Close the connection after the reply.
        disconnect: bool,
        /// Shows the next command too.
        next: bool,
    },
}

/// Answer to [`Event::Auth`](super::Event).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthAnswer {
    /// Ends the dialogue.
    Verdict(Verdict),
    /// Goes on with a challenge; base64 is the engine's work. 334 unless `reply` has another
    /// 3yz code; its lines are not used.
    Challenge {
        /// Octets for the client.
        challenge: Vec<u8>,
        /// Wording of the code.
        reply: ReplyParts,
        /// Close the connection after it.
        disconnect: bool,
    },
}
