//! What each command means: its place, its arguments, the event it makes.

use super::content::Fate;
use super::session::Pending;
use super::{
    CloseReason, Event, Hello, HelloVerb, Mail, Protocol, Rcpt, Security, Session, State, Transfer,
    next_state,
};
use crate::bdat::Chunk;
use crate::command::{self, Verb};
use crate::data::Framing;
use crate::extensions::{Extensions, KEYWORDS};
use crate::parameters::Parameters;
use crate::path::{self, Side};
use crate::replies::{self, Stock};

impl Session {
    /// Executes one command line.
    pub(super) fn execute(&mut self, line: &[u8]) -> Option<Event<'static>> {
        let Some((verb, arguments)) = Verb::split(line) else {
            self.bad(replies::UNKNOWN_COMMAND);
            return None;
        };
        self.answering = verb.word();
        if verb == Verb::Bdat {
            return self.bdat(arguments);
        }
        if next_state(self.state, verb).is_none() {
            self.refuse_order(verb);
            return None;
        }
        let refused = match verb {
            Verb::Hello(hello) => self.hello(hello, arguments),
            Verb::StartTls => self.start_tls(arguments),
            Verb::Auth => return self.auth(arguments),
            Verb::Mail if self.is_message_limit_reached() => {
                self.hang_up(replies::TOO_MANY_MESSAGES, CloseReason::TooManyMessages);
                return None;
            }
            Verb::Mail => {
                let event = self.mail(arguments);
                self.mail_refused = event.is_err();
                event
            }
            Verb::Rcpt => self.rcpt(arguments),
            Verb::Data => self.data(arguments),
            Verb::Rset => {
                self.reset();
                self.reply(replies::RESET);
                Ok(Event::Rset)
            }
            Verb::Noop => return self.say(replies::NOOP),
            Verb::Vrfy => return self.say(replies::CANNOT_VRFY),
            Verb::Help => return self.say(replies::HELP),
            Verb::Expn => Err(replies::NOT_IMPLEMENTED),
            Verb::Quit => {
                self.reply(replies::BYE);
                self.close(CloseReason::Quit);
                return None;
            }
            // Taken care of above.
            Verb::Bdat => Err(replies::BAD_SEQUENCE),
        };
        match refused {
            Ok(event) => Some(event),
            // The client did nothing wrong with the others: it asked for what it cannot have.
            Err(reply) if !matches!(reply.code, 500..=504 | 555) => self.say(reply),
            Err(reply) => {
                self.bad(reply);
                None
            }
        }
    }

    /// What EHLO announces unless a script has its say.
    pub(super) fn announcement(&self) -> Vec<String> {
        let config = &self.config;
        let tls = self.security == Security::Tls;
        let mut lines = Vec::with_capacity(KEYWORDS.len());
        for (keyword, extension) in KEYWORDS {
            if !config.extensions.contains(*extension) {
                continue;
            }
            lines.push(match *extension {
                Extensions::SIZE => match config.limits.size {
                    Some(size) => format!("{keyword} {size}"),
                    None => (*keyword).to_owned(),
                },
                Extensions::STARTTLS if tls => continue,
                Extensions::REQUIRETLS if !tls => continue,
                Extensions::ENHANCEDSTATUSCODES if !config.enhanced_codes => continue,
                Extensions::AUTH if config.auth_mechanisms.is_empty() => continue,
                Extensions::AUTH => format!("{keyword} {}", config.auth_mechanisms.join(" ")),
                Extensions::XCLIENT => continue,
                _ => (*keyword).to_owned(),
            });
        }
        lines
    }

    /// Octets that a message may have.
    pub(super) fn size_limit(&self) -> Option<u64> {
        self.offer.size.or(self.config.limits.size)
    }

    fn say(&mut self, reply: Stock) -> Option<Event<'static>> {
        self.reply(reply);
        None
    }

    /// Refuses a command out of order.
    ///
    /// Commands that were pipelined behind a refused MAIL or RCPT are no fault of the client's and
    /// not counted.
    fn refuse_order(&mut self, verb: Verb) {
        match (self.state, verb) {
            (State::Greeted, _) => self.bad(replies::HELO_FIRST),
            (State::Mail, Verb::Data | Verb::Bdat) if self.rcpt_tried => {
                self.reply(replies::NO_RECIPIENTS);
            }
            (State::Ready, Verb::Rcpt | Verb::Data | Verb::Bdat) if self.mail_refused => {
                self.reply(replies::BAD_SEQUENCE);
            }
            _ => self.bad(replies::BAD_SEQUENCE),
        }
    }

    fn hello(&mut self, verb: HelloVerb, arguments: &[u8]) -> Result<Event<'static>, Stock> {
        let spoken = match verb {
            HelloVerb::Helo | HelloVerb::Ehlo => Protocol::Smtp,
            HelloVerb::Lhlo => Protocol::Lmtp,
        };
        if spoken != self.config.protocol {
            // RFC 2033 §4.1: an LMTP server must not answer HELO and EHLO with success.
            return Err(replies::UNKNOWN_COMMAND);
        }
        let host = command::hello_host(arguments).ok_or(replies::BAD_ARGUMENTS)?.to_owned();
        self.reset();
        let extensions = if verb == HelloVerb::Helo { Vec::new() } else { self.announcement() };
        self.pending = Some(Pending::Hello(verb));
        Ok(Event::Hello(Hello { verb, host, extensions }))
    }

    fn start_tls(&mut self, arguments: &[u8]) -> Result<Event<'static>, Stock> {
        if self.security == Security::Tls {
            return Err(replies::BAD_SEQUENCE);
        }
        if !self.offer.has(Extensions::STARTTLS) {
            return Err(replies::NOT_IMPLEMENTED);
        }
        if !arguments.is_empty() {
            return Err(replies::BAD_ARGUMENTS);
        }
        self.pending = Some(Pending::StartTls);
        Ok(Event::StartTls)
    }

    fn auth(&mut self, arguments: &[u8]) -> Option<Event<'static>> {
        let refusal = match command::auth_arguments(arguments) {
            _ if !self.offer.has(Extensions::AUTH) => replies::NOT_IMPLEMENTED,
            // RFC 4954 §4: once per session.
            _ if self.authenticated => replies::BAD_SEQUENCE,
            None => replies::BAD_ARGUMENTS,
            Some((mechanism, initial)) => {
                let mechanism = mechanism.to_ascii_uppercase();
                if self.offer.mechanisms.contains(&mechanism) {
                    return self.begin_dialogue(mechanism, initial);
                }
                replies::AUTH_UNKNOWN
            }
        };
        self.bad(refusal);
        None
    }

    fn is_message_limit_reached(&self) -> bool {
        self.config.limits.messages.is_some_and(|limit| self.messages >= limit)
    }

    fn mail(&mut self, arguments: &[u8]) -> Result<Event<'static>, Stock> {
        let text = command::after_keyword(arguments, "FROM:").ok_or(replies::BAD_ARGUMENTS)?;
        let text = std::str::from_utf8(text).map_err(|_| replies::BAD_SENDER)?;
        let (address, rest) = path::parse(text, Side::Reverse).map_err(|_| replies::BAD_SENDER)?;
        let params = Parameters::parse(rest).map_err(|_| replies::BAD_ARGUMENTS)?;
        for (key, value) in params.iter() {
            if !self.offer.allows_mail_parameter(key) {
                return Err(replies::BAD_PARAMETER);
            }
            if !mail_value_fits(key, value) {
                return Err(replies::BAD_ARGUMENTS);
            }
        }
        let smtputf8 = params.is_smtputf8();
        if address.is_utf8() && !smtputf8 {
            return Err(replies::UTF8_NOT_DECLARED);
        }
        if params.size().zip(self.size_limit()).is_some_and(|(size, limit)| size > limit) {
            return Err(replies::TOO_LARGE);
        }
        self.pending = Some(Pending::Mail { smtputf8 });
        Ok(Event::Mail(Mail { address, params }))
    }

    fn rcpt(&mut self, arguments: &[u8]) -> Result<Event<'static>, Stock> {
        self.rcpt_tried = true;
        let text = command::after_keyword(arguments, "TO:").ok_or(replies::BAD_ARGUMENTS)?;
        let text = std::str::from_utf8(text).map_err(|_| replies::BAD_RECIPIENT)?;
        let (address, rest) =
            path::parse(text, Side::Forward).map_err(|_| replies::BAD_RECIPIENT)?;
        let params = Parameters::parse(rest).map_err(|_| replies::BAD_ARGUMENTS)?;
        for (key, value) in params.iter() {
            if !self.offer.allows_rcpt_parameter(key) {
                return Err(replies::BAD_PARAMETER);
            }
            if !rcpt_value_fits(key, value) {
                return Err(replies::BAD_ARGUMENTS);
            }
        }
        if address.is_utf8() && !self.smtputf8 {
            return Err(replies::UTF8_NOT_DECLARED);
        }
        if self.recipients >= self.config.limits.recipients {
            return Err(replies::TOO_MANY_RECIPIENTS);
        }
        self.pending = Some(Pending::Rcpt);
        Ok(Event::Rcpt(Rcpt { address, params }))
    }

    fn data(&mut self, arguments: &[u8]) -> Result<Event<'static>, Stock> {
        if !arguments.is_empty() {
            return Err(replies::BAD_ARGUMENTS);
        }
        self.begin_intake(Framing::Dot);
        self.pending = Some(Pending::Data);
        Ok(Event::Data(Transfer::Data))
    }

    /// BDAT: whatever is wrong with it, its octets follow and are not commands.
    fn bdat(&mut self, arguments: &[u8]) -> Option<Event<'static>> {
        let Some(chunk) = Chunk::parse(arguments) else {
            self.hang_up(replies::BAD_ARGUMENTS, CloseReason::BadChunk);
            return None;
        };
        let in_order = next_state(self.state, Verb::Bdat).is_some();
        if !in_order || !self.offer.has(Extensions::CHUNKING) {
            if in_order {
                self.bad(replies::NOT_IMPLEMENTED);
            } else {
                self.refuse_order(Verb::Bdat);
            }
            if self.closing().is_none() {
                self.skip_chunk(Some(chunk), Fate::Silent);
            }
            return None;
        }
        let first = self.state == State::Rcpt;
        if first {
            self.begin_intake(Framing::Counted);
            self.pending = Some(Pending::Bdat);
        }
        self.begin_chunk(chunk);
        first.then_some(Event::Data(Transfer::Bdat))
    }
}

/// Tells whether the value of a MAIL parameter has the form its standard asks for.
fn mail_value_fits(key: &str, value: Option<&str>) -> bool {
    match (key, value) {
        // RFC 1870 §3: up to 20 digits.
        ("SIZE", Some(size)) => size.len() <= 20 && size.bytes().all(|b| b.is_ascii_digit()),
        // BINARYMIME is not on offer.
        ("BODY", Some(body)) => ["7BIT", "8BITMIME"].iter().any(|b| body.eq_ignore_ascii_case(b)),
        ("SMTPUTF8" | "REQUIRETLS", value) => value.is_none(),
        ("RET", Some(ret)) => ["FULL", "HDRS"].iter().any(|r| ret.eq_ignore_ascii_case(r)),
        // RFC 3461 §4.4: up to 100 characters before encoding.
        ("ENVID", Some(id)) => id.len() <= 300 && id.is_ascii(),
        ("AUTH", Some(mailbox)) => mailbox.len() <= 500,
        ("SIZE" | "BODY" | "RET" | "ENVID" | "AUTH", None) => false,
        _ => true,
    }
}

/// Tells whether the value of a RCPT parameter has the form its standard asks for.
fn rcpt_value_fits(key: &str, value: Option<&str>) -> bool {
    match (key, value) {
        ("NOTIFY", Some(list)) => notify_fits(list),
        // RFC 3461 §4.2: type, semicolon, xtext; up to 500 characters.
        ("ORCPT", Some(text)) => {
            text.len() <= 500 && text.split_once(';').is_some_and(|(kind, _)| !kind.is_empty())
        }
        ("NOTIFY" | "ORCPT", None) => false,
        _ => true,
    }
}

/// RFC 3461 §4.1: `NEVER` alone, or a list of the other three.
fn notify_fits(list: &str) -> bool {
    let wanted = ["SUCCESS", "FAILURE", "DELAY"];
    list.eq_ignore_ascii_case("NEVER")
        || list.split(',').all(|word| wanted.iter().any(|w| word.eq_ignore_ascii_case(w)))
}
