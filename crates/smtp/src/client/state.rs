//! Where an outgoing conversation stands, in the words of the manual.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// What the session waits for: the reply to the command of that name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// The greeting of the peer.
    Banner,
    /// HELO, after EHLO was refused.
    Helo,
    /// EHLO.
    Ehlo,
    /// LHLO (LMTP).
    Lhlo,
    /// STARTTLS, and the handshake that follows.
    StartTls,
    /// The challenge of CRAM-MD5.
    AuthCramMd5,
    /// The go-ahead after `AUTH PLAIN`, when it was sent without initial response.
    AuthPlain,
    /// The first prompt after `AUTH LOGIN`.
    AuthLogin,
    /// The second prompt of LOGIN, after the user name.
    AuthLoginUser,
    /// The reply to the last line of a login.
    Auth,
    /// XCLIENT.
    Xclient,
    /// MAIL FROM.
    Mail,
    /// RCPT TO.
    Rcpt,
    /// DATA, and the content that follows.
    Data,
    /// The final dot, or a BDAT command.
    Eod,
    /// RSET.
    Rset,
    /// NOOP.
    Noop,
    /// QUIT.
    Quit,
}

impl State {
    /// All states in the order of the manual.
    pub const ALL: [Self; 18] = [
        Self::Banner,
        Self::Helo,
        Self::Ehlo,
        Self::Lhlo,
        Self::StartTls,
        Self::AuthCramMd5,
        Self::AuthPlain,
        Self::AuthLogin,
        Self::AuthLoginUser,
        Self::Auth,
        Self::Xclient,
        Self::Mail,
        Self::Rcpt,
        Self::Data,
        Self::Eod,
        Self::Rset,
        Self::Noop,
        Self::Quit,
    ];

    /// The name in scripts and configuration, such as `AUTH-LOGIN-USER`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Banner => "BANNER",
            Self::Helo => "HELO",
            Self::Ehlo => "EHLO",
            Self::Lhlo => "LHLO",
            Self::StartTls => "STARTTLS",
            Self::AuthCramMd5 => "AUTH-CRAM-MD5",
            Self::AuthPlain => "AUTH-PLAIN",
            Self::AuthLogin => "AUTH-LOGIN",
            Self::AuthLoginUser => "AUTH-LOGIN-USER",
            Self::Auth => "AUTH",
            Self::Xclient => "XCLIENT",
            Self::Mail => "MAIL",
            Self::Rcpt => "RCPT",
            Self::Data => "DATA",
            Self::Eod => "EOD",
            Self::Rset => "RSET",
            Self::Noop => "NOOP",
            Self::Quit => "QUIT",
        }
    }

    /// How long to wait for the reply unless the configuration says otherwise (RFC 5321 §4.5.3.2,
    /// the same figures as RFC 2821).
    #[must_use]
    pub const fn default_timeout(self) -> Duration {
        let minutes = match self {
            // §4.5.3.2.4: long enough for a busy server to get ready, and no longer.
            Self::Data => 2,
            // §4.5.3.2.6: servers may only answer after a long delivery.
            Self::Eod => 10,
            _ => 5,
        };
        Duration::from_secs(minutes * 60)
    }

    /// How long one write of content may take (RFC 5321 §4.5.3.2.5: 3 minutes per block).
    #[must_use]
    pub const fn data_block_timeout() -> Duration {
        Duration::from_secs(180)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for State {
    type Err = ();

    /// Takes a name as [`State::as_str`] gives it.
    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|state| state.as_str() == text).ok_or(())
    }
}

/// The states that may follow when commands are sent one by one.
///
/// | state | next |
/// |-------|------|
/// | BANNER | EHLO LHLO |
/// | EHLO | HELO STARTTLS XCLIENT AUTH-CRAM-MD5 AUTH-PLAIN AUTH-LOGIN AUTH MAIL NOOP QUIT |
/// | HELO | STARTTLS XCLIENT AUTH-CRAM-MD5 AUTH-PLAIN AUTH-LOGIN AUTH MAIL NOOP QUIT |
/// | LHLO | STARTTLS XCLIENT AUTH-CRAM-MD5 AUTH-PLAIN AUTH-LOGIN AUTH MAIL NOOP QUIT |
/// | STARTTLS | EHLO LHLO XCLIENT AUTH-CRAM-MD5 AUTH-PLAIN AUTH-LOGIN AUTH MAIL NOOP QUIT |
/// | XCLIENT | EHLO LHLO |
/// | AUTH-CRAM-MD5 | AUTH |
/// | AUTH-PLAIN | AUTH |
/// | AUTH-LOGIN | AUTH-LOGIN-USER |
/// | AUTH-LOGIN-USER | AUTH |
/// | AUTH | MAIL NOOP QUIT |
/// | MAIL | RCPT RSET NOOP QUIT |
/// | RCPT | RCPT DATA EOD RSET NOOP QUIT |
/// | DATA | EOD RSET NOOP QUIT |
/// | EOD | EOD RSET NOOP QUIT |
/// | RSET | MAIL |
/// | NOOP | MAIL RSET NOOP QUIT |
/// | QUIT |  |
///
/// STARTTLS is followed by a greeting when it worked, and by the others when it was refused where it
/// is optional. RCPT is followed by EOD under CHUNKING, and by RSET, NOOP or QUIT when all recipients
/// are refused; EOD by EOD for each chunk, and for each recipient under LMTP.
///
/// A login is AUTH-CRAM-MD5, AUTH-PLAIN, AUTH-LOGIN or, with an initial response, AUTH at once. A
/// transaction that is not first on its connection begins with RSET. Any state may be the last.
#[must_use]
pub const fn next_states(state: State) -> &'static [State] {
    use State::{
        Auth, AuthCramMd5, AuthLogin, AuthLoginUser, AuthPlain, Banner, Data, Ehlo, Eod, Helo,
        Lhlo, Mail, Noop, Quit, Rcpt, Rset, StartTls, Xclient,
    };
    match state {
        Banner | Xclient => &[Ehlo, Lhlo],
        Ehlo => {
            &[Helo, StartTls, Xclient, AuthCramMd5, AuthPlain, AuthLogin, Auth, Mail, Noop, Quit]
        }
        Helo | Lhlo => {
            &[StartTls, Xclient, AuthCramMd5, AuthPlain, AuthLogin, Auth, Mail, Noop, Quit]
        }
        StartTls => {
            &[Ehlo, Lhlo, Xclient, AuthCramMd5, AuthPlain, AuthLogin, Auth, Mail, Noop, Quit]
        }
        AuthCramMd5 | AuthPlain | AuthLoginUser => &[Auth],
        AuthLogin => &[AuthLoginUser],
        Auth => &[Mail, Noop, Quit],
        Mail => &[Rcpt, Rset, Noop, Quit],
        Rcpt => &[Rcpt, Data, Eod, Rset, Noop, Quit],
        Data | Eod => &[Eod, Rset, Noop, Quit],
        Rset => &[Mail],
        Noop => &[Mail, Rset, Noop, Quit],
        Quit => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads the table above, so that text and code cannot part.
    #[test]
    fn the_code_is_the_table() {
        let rows: Vec<(State, Vec<State>)> = include_str!("state.rs")
            .lines()
            .filter_map(|line| line.strip_prefix("/// | ")?.split_once('|'))
            .filter_map(|(state, next)| Some((state.trim().parse().ok()?, next)))
            .map(|(state, next)| {
                let next = next.trim_end_matches(['|', ' ']).split_whitespace();
                (state, next.map(|name| name.parse().unwrap()).collect())
            })
            .collect();
        assert_eq!(rows.len(), State::ALL.len());
        for (state, expected) in rows {
            for next in State::ALL {
                let legal = next_states(state).contains(&next);
                assert_eq!(legal, expected.contains(&next), "{state} to {next}");
            }
        }
    }
}
