//! Where an incoming conversation stands, and which command is legal when.
//!
//! | state     | HELO  | STARTTLS | AUTH | MAIL | RCPT | DATA | BDAT  | RSET    | NOOP VRFY EXPN HELP | QUIT   |
//! |-----------|-------|----------|------|------|------|------|-------|---------|---------------------|--------|
//! | Connected |       |          |      |      |      |      |       |         |                     |        |
//! | Refused   |       |          |      |      |      |      |       |         |                     | Closed |
//! | Greeted   | Ready |          |      |      |      |      |       | Greeted | Greeted             | Closed |
//! | Ready     | Ready | Tls      | Auth | Mail |      |      |       | Ready   | Ready               | Closed |
//! | Mail      | Ready |          |      |      | Rcpt |      |       | Ready   | Mail                | Closed |
//! | Rcpt      | Ready |          |      |      | Rcpt | Data | Chunk | Ready   | Rcpt                | Closed |
//! | Bdat      | Ready |          |      |      |      |      | Chunk | Ready   | Bdat                | Closed |
//!
//! An empty field is 503. `Auth`, `Data`, `Chunk`, `Tls` and `Closed` read no commands. They are
//! left like this: `Auth` to `Ready` when the dialogue ends; `Data` to `Ready` when the end of data
//! was answered; `Chunk` to `Bdat`, and behind the last chunk or a refusal to `Ready`; `Tls` to
//! `Greeted` after the handshake. HELO stands for EHLO and LHLO as well.

use crate::command::Verb;

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

impl State {
    /// All states.
    pub const ALL: [Self; 12] = [
        Self::Connected,
        Self::Refused,
        Self::Greeted,
        Self::Ready,
        Self::Auth,
        Self::Mail,
        Self::Rcpt,
        Self::Data,
        Self::Bdat,
        Self::Chunk,
        Self::Tls,
        Self::Closed,
    ];

    /// Tells whether a transaction is open.
    #[must_use]
    pub const fn in_transaction(self) -> bool {
        matches!(self, Self::Mail | Self::Rcpt | Self::Data | Self::Bdat | Self::Chunk)
    }
}

/// The state after an accepted command; `None` when it is out of order (503).
///
/// This is the table above; whether a command is on offer is another question.
#[must_use]
pub const fn next_state(state: State, verb: Verb) -> Option<State> {
    use State::{Auth, Bdat, Chunk, Closed, Data, Greeted, Mail, Rcpt, Ready, Refused, Tls};
    match (state, verb) {
        (Refused | Greeted | Ready | Mail | Rcpt | Bdat, Verb::Quit) => Some(Closed),
        (Greeted | Ready | Mail | Rcpt | Bdat, Verb::Hello(_)) => Some(Ready),
        (Greeted, Verb::Rset) => Some(Greeted),
        (Ready | Mail | Rcpt | Bdat, Verb::Rset) => Some(Ready),
        (
            Greeted | Ready | Mail | Rcpt | Bdat,
            Verb::Noop | Verb::Vrfy | Verb::Expn | Verb::Help,
        ) => Some(state),
        (Ready, Verb::StartTls) => Some(Tls),
        (Ready, Verb::Auth) => Some(Auth),
        (Ready, Verb::Mail) => Some(Mail),
        (Mail | Rcpt, Verb::Rcpt) => Some(Rcpt),
        (Rcpt, Verb::Data) => Some(Data),
        (Rcpt | Bdat, Verb::Bdat) => Some(Chunk),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::HelloVerb;

    /// Reads the table in the head of this file, so that text and code cannot part.
    #[test]
    fn the_code_is_the_table() {
        let rows: Vec<Vec<&str>> = include_str!("state.rs")
            .lines()
            .filter_map(|line| line.strip_prefix("//! |"))
            .map(|row| row.trim_end_matches('|').split('|').map(str::trim).collect())
            .collect();
        let (head, body) = rows.split_first().unwrap();
        let states: Vec<(String, State)> =
            State::ALL.iter().map(|state| (format!("{state:?}"), *state)).collect();
        let state_of = |name: &str| states.iter().find(|(n, _)| n == name).map(|(_, s)| *s);
        let mut checked = 0;
        for (_, verb) in Verb::ALL {
            let column = head
                .iter()
                .position(|names| {
                    names.split(' ').any(|name| match verb {
                        Verb::Hello(_) => name == "HELO",
                        _ => Verb::ALL.iter().any(|(text, v)| *v == verb && *text == name),
                    })
                })
                .unwrap();
            for state in State::ALL {
                let row = body.iter().find(|row| state_of(row[0]) == Some(state));
                let expected = row.and_then(|row| state_of(row[column]));
                assert_eq!(next_state(state, verb), expected, "{verb:?} in {state:?}");
                checked += 1;
            }
        }
        assert_eq!(checked, 15 * 12);
    }

    #[test]
    fn transactions_begin_with_mail_only() {
        for state in State::ALL.into_iter().filter(|state| !state.in_transaction()) {
            for (_, verb) in Verb::ALL.into_iter().filter(|(_, verb)| *verb != Verb::Mail) {
                let next = next_state(state, verb);
                assert!(!next.is_some_and(State::in_transaction), "{verb:?} in {state:?}");
            }
        }
        assert_eq!(next_state(State::Greeted, Verb::Hello(HelloVerb::Ehlo)), Some(State::Ready));
    }
}
