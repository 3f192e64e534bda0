//! The AUTH dialogue: LOGIN and PLAIN led to their end, other mechanisms handed on step by step.

use super::session::Pending;
use super::{Auth, AuthResponse, Event, ReplyParts, Session, State};
use crate::replies;
use crate::sasl;

/// Where a dialogue stands.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Dialogue {
    /// The message of PLAIN is due.
    Plain,
    /// A line of LOGIN is due: the user name, or, when that is known, the password.
    Login { username: Option<Vec<u8>> },
    /// A script leads.
    Raw { mechanism: String, state: u32 },
}

impl std::fmt::Debug for Dialogue {
    /// Secrets stay out of logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Plain => "Plain",
            Self::Login { .. } => "Login",
            Self::Raw { .. } => "Raw",
        })
    }
}

impl Session {
    /// Begins a dialogue; `mechanism` is in upper case and on offer.
    pub(super) fn begin_dialogue(
        &mut self,
        mechanism: String,
        initial: Option<&str>,
    ) -> Option<Event<'static>> {
        self.state = State::Auth;
        self.dialogue = Some(match &*mechanism {
            "PLAIN" => Dialogue::Plain,
            "LOGIN" => Dialogue::Login { username: None },
            _ => Dialogue::Raw { mechanism, state: 0 },
        });
        match (initial, &self.dialogue) {
            // RFC 4954 §4: an initial response of no octets is a lone `=`.
            (Some("="), _) => self.step(Vec::new()),
            (Some(text), _) => self.encoded_step(text.as_bytes()),
            (None, Some(Dialogue::Raw { mechanism, .. })) => {
                let response = AuthResponse::Raw { state: 0, response: None };
                let mechanism = mechanism.clone();
                self.ask(Auth { mechanism, response })
            }
            (None, Some(Dialogue::Login { .. })) => self.prompt("Username:"),
            (None, _) => self.prompt(""),
        }
    }

    /// Takes a line from the client in [`State::Auth`].
    pub(super) fn response(&mut self, line: &[u8]) -> Option<Event<'static>> {
        if line == b"*" {
            self.dialogue = None;
            self.state = State::Ready;
            self.bad(replies::AUTH_CANCELLED);
            return None;
        }
        self.encoded_step(line)
    }

    /// Sends a challenge of a script.
    pub(super) fn challenge(&mut self, challenge: &[u8], reply: &ReplyParts) {
        if let Some(Dialogue::Raw { state, .. }) = &mut self.dialogue {
            *state = state.saturating_add(1);
        } else {
            // A script may ask again after LOGIN or PLAIN; the answer is then its own to read.
            let mechanism = match self.dialogue {
                Some(Dialogue::Login { .. }) => "LOGIN",
                _ => "PLAIN",
            };
            self.dialogue = Some(Dialogue::Raw { mechanism: mechanism.to_owned(), state: 1 });
        }
        let code = reply.code.filter(|code| code / 100 == 3).unwrap_or(334);
        self.send_challenge(code, challenge);
    }

    fn encoded_step(&mut self, text: &[u8]) -> Option<Event<'static>> {
        match sasl::decode_base64(text) {
            Some(response) => self.step(response),
            None => self.malformed(),
        }
    }

    /// Takes a decoded response.
    fn step(&mut self, response: Vec<u8>) -> Option<Event<'static>> {
        match self.dialogue.take() {
            Some(Dialogue::Plain) => {
                let Some((authorization, username, password)) = sasl::split_plain(&response) else {
                    return self.malformed();
                };
                let response = AuthResponse::Password {
                    authorization: authorization.to_vec(),
                    username: username.to_vec(),
                    password: password.to_vec(),
                };
                self.dialogue = Some(Dialogue::Plain);
                self.ask(Auth { mechanism: "PLAIN".to_owned(), response })
            }
            Some(Dialogue::Login { username: None }) => {
                self.dialogue = Some(Dialogue::Login { username: Some(response) });
                self.prompt("Password:")
            }
            Some(Dialogue::Login { username: Some(username) }) => {
                let authorization = Vec::new();
                let response =
                    AuthResponse::Password { authorization, username, password: response };
                self.dialogue = Some(Dialogue::Login { username: None });
                self.ask(Auth { mechanism: "LOGIN".to_owned(), response })
            }
            Some(Dialogue::Raw { mechanism, state }) => {
                let response = AuthResponse::Raw { state, response: Some(response) };
                let event = Auth { mechanism: mechanism.clone(), response };
                self.dialogue = Some(Dialogue::Raw { mechanism, state });
                self.ask(event)
            }
            // In `State::Auth` there always is one.
            None => self.malformed(),
        }
    }

    fn ask(&mut self, auth: Auth) -> Option<Event<'static>> {
        self.pending = Some(Pending::Auth);
        Some(Event::Auth(auth))
    }

    fn malformed(&mut self) -> Option<Event<'static>> {
        self.dialogue = None;
        self.state = State::Ready;
        self.bad(replies::AUTH_MALFORMED);
        None
    }

    fn prompt(&mut self, text: &str) -> Option<Event<'static>> {
        self.send_challenge(334, text.as_bytes());
        None
    }

    fn send_challenge(&mut self, code: u16, challenge: &[u8]) {
        let line = format!("{code} {}\r\n", sasl::encode_base64(challenge));
        self.reply_octets(line.as_bytes());
    }
}
