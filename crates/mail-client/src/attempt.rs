//! One attempt: how it ended, over which connection, and what scripts see of that.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use hsl::Value;
use mta_types::{Address, Class, EnhancedCode};
use smtp::client::{Answer, Failure, Outcome};

use crate::plan::{Settings, Target, TryDsn};
use crate::tls::Dane;

/// One attempt with all that the post-delivery script may see of it.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// How it ended.
    pub ending: Ending,
    /// The connection, as far as there was one.
    pub connection: Option<ConnectionFacts>,
    /// How long it took.
    pub duration: Duration,
    /// What a delivery plugin returned.
    pub returned: Option<Value>,
    /// What a queue plugin returned that refused the message.
    pub queue_returned: Option<Value>,
    /// The reason that a script gave when it removed the message.
    pub said: Option<String>,
    /// What the script said about notifications in `Try`.
    pub asked: Option<Arc<TryDsn>>,
    /// The sender that the script put in place of the message's.
    pub sender: Option<Address>,
    /// The recipient that the script put in place of the message's.
    pub recipient: Option<Address>,
    /// An operator removes the message: no script ran before.
    pub by_hand: bool,
    /// The status that an operator gave when he bounced the message.
    pub stated: Option<EnhancedCode>,
}

/// How an attempt ended.
#[derive(Clone, Debug)]
pub enum Ending {
    /// The peer answered.
    Answered(Outcome),
    /// It never came to an answer.
    Error(AttemptError),
    /// A script decided before any attempt: bounce or delete.
    Decided {
        /// Whether the sender is told.
        bounce: bool,
    },
}

/// Why an attempt did not come to an answer.
#[derive(Clone, Debug)]
pub struct AttemptError {
    /// What went wrong.
    pub kind: ErrorKind,
    /// Whether it may go better later.
    pub temporary: bool,
    /// In words, for the log and notifications.
    pub message: String,
}

/// Kinds of errors, in the words of the manual.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The configuration, or a fault of ours.
    Config,
    /// TLSA records that cannot be met (RFC 7672).
    Dane,
    /// The domain does not exist.
    DnsNxDomain,
    /// The domain takes no mail (RFC 7505).
    DnsNullMx,
    /// The name has no record of the kind.
    DnsNoData,
    /// The script allows no exchanger of the domain.
    DnsExcluded,
    /// There are addresses, of a family that may not or cannot be used.
    DnsIpFamily,
    /// Another trouble of the DNS.
    DnsOther,
    /// No connection, or it was lost.
    Network,
    /// A delivery plugin.
    Plugin,
    /// The peer does not keep to the protocol.
    Protocol,
    /// TLS could not be had.
    Tls,
}

impl ErrorKind {
    /// `attempt.error.type`, and `attempt.error.dns` where it is one.
    pub const fn words(self) -> (&'static str, Option<&'static str>) {
        match self {
            Self::Config => ("config", None),
            Self::Dane => ("dane", None),
            Self::DnsNxDomain => ("dns", Some("nxdomain")),
            Self::DnsNullMx => ("dns", Some("nullmx")),
            Self::DnsNoData => ("dns", Some("nodata")),
            Self::DnsExcluded => ("dns", Some("excluded")),
            Self::DnsIpFamily => ("dns", Some("ipfamily")),
            Self::DnsOther => ("dns", Some("other")),
            Self::Network => ("network", None),
            Self::Plugin => ("plugin", None),
            Self::Protocol => ("protocol", None),
            Self::Tls => ("tls", None),
        }
    }
}

/// TLS of a connection.
#[derive(Debug)]
pub struct TlsFacts {
    /// What was agreed on.
    pub session: tls_policy::Session,
    /// `peercert`, when a script looked.
    pub peercert: OnceLock<Option<Value>>,
}

/// The connection an attempt used.
#[derive(Clone, Debug)]
pub struct ConnectionFacts {
    /// Its id; `None` when there was none.
    pub id: Option<String>,
    /// The local address's name in the configuration.
    pub localid: Option<Arc<str>>,
    /// Our address.
    pub local: Option<IpAddr>,
    /// The peer's address.
    pub remote: Option<IpAddr>,
    /// The peer's port.
    pub port: u16,
    /// The peer's name.
    pub remotemx: Arc<str>,
    /// TLS, when it is on.
    pub tls: Option<Arc<TlsFacts>>,
    /// What is wrong with the connection's security.
    pub report: Option<tls_policy::Report>,
    /// What was found out of the host's TLSA records, where they count.
    pub dane: Option<Arc<Dane>>,
    /// The text of the peer's greeting.
    pub greeting: Option<Arc<str>>,
    /// The name we greeted with.
    pub helo: Option<Arc<str>>,
    /// Messages begun on the connection, this one included.
    pub transactions: u32,
    /// The peer announced DSN, so ENVID, RET, NOTIFY and ORCPT went on to it.
    pub offers_dsn: bool,
}

impl ConnectionFacts {
    /// What is known before there is a connection.
    pub fn to(target: &Target, local: Option<IpAddr>, settings: &Settings) -> Self {
        let source = settings.sources.iter().find(|source| Some(source.address) == local);
        Self {
            id: None,
            localid: source.and_then(|source| source.id.clone()),
            local,
            remote: Some(target.address.ip()),
            port: target.address.port(),
            remotemx: Arc::clone(&target.host),
            tls: None,
            report: None,
            dane: target.dane.clone(),
            greeting: None,
            helo: None,
            transactions: 0,
            offers_dsn: false,
        }
    }
}

impl Attempt {
    /// An attempt that ended so, of which nothing else is known.
    pub fn ended(ending: Ending) -> Self {
        Self {
            ending,
            connection: None,
            duration: Duration::ZERO,
            returned: None,
            queue_returned: None,
            said: None,
            by_hand: false,
            stated: None,
            asked: None,
            sender: None,
            recipient: None,
        }
    }

    /// Notes what the settings have in place of the message's own facts.
    #[must_use]
    pub fn under(mut self, settings: &Settings) -> Self {
        self.asked.clone_from(&settings.dsn);
        self.sender.clone_from(&settings.sender);
        self.recipient.clone_from(&settings.recipient);
        self
    }

    /// An attempt that came to no answer.
    pub fn failed(error: AttemptError) -> Self {
        Self::ended(Ending::Error(error))
    }

    /// What a script decided instead of an attempt.
    pub fn decided(bounce: bool) -> Self {
        Self::ended(Ending::Decided { bounce })
    }

    /// Sorts a session's outcome into answers of the peer and errors of ours.
    pub fn answered(result: Outcome, connection: ConnectionFacts) -> Self {
        let ending = match &result.answer {
            Answer::Reply(_) => Ending::Answered(result),
            Answer::Failure(failure) => Ending::Error(AttemptError {
                kind: match failure {
                    Failure::TlsFailed | Failure::TlsNotOffered | Failure::TextAfterStartTls => {
                        ErrorKind::Tls
                    }
                    Failure::ConnectionLost | Failure::TimedOut => ErrorKind::Network,
                    _ => ErrorKind::Protocol,
                },
                temporary: failure.is_transient(),
                message: format!("{}: {failure} ({})", connection.remotemx, result.state),
            }),
        };
        Self { connection: Some(connection), ..Self::ended(ending) }
    }

    /// Tells whether another host may do better: the peer never spoke about this message.
    pub fn is_connection_trouble(&self) -> bool {
        use smtp::client::State;
        match &self.ending {
            Ending::Answered(result) => {
                !matches!(result.state, State::Mail | State::Rcpt | State::Data | State::Eod)
            }
            Ending::Error(error) => {
                error.temporary
                    && matches!(
                        error.kind,
                        ErrorKind::Dane | ErrorKind::Network | ErrorKind::Protocol | ErrorKind::Tls
                    )
            }
            Ending::Decided { .. } => false,
        }
    }

    /// Tells whether the peer took the message.
    pub fn is_delivered(&self) -> bool {
        matches!(&self.ending, Ending::Answered(result) if result.is_delivered())
    }

    /// Whether the same message will not fare better later.
    pub fn is_permanent(&self) -> bool {
        match &self.ending {
            Ending::Answered(result) => result.is_permanent(),
            Ending::Error(error) => !error.temporary,
            Ending::Decided { .. } => true,
        }
    }

    /// The status that a notification carries.
    pub fn status(&self) -> EnhancedCode {
        let class = if self.is_delivered() {
            Class::Success
        } else if self.is_permanent() {
            Class::Permanent
        } else {
            Class::Transient
        };
        match &self.ending {
            Ending::Answered(result) => result.enhanced(),
            Ending::Error(error) => match error.kind {
                ErrorKind::DnsNxDomain | ErrorKind::DnsNoData => EnhancedCode::new(class, 1, 2),
                ErrorKind::DnsNullMx => EnhancedCode::new(class, 1, 10),
                ErrorKind::DnsOther | ErrorKind::DnsExcluded => EnhancedCode::new(class, 4, 3),
                ErrorKind::DnsIpFamily => EnhancedCode::new(class, 4, 4),
                ErrorKind::Network => EnhancedCode::new(class, 4, 1),
                ErrorKind::Plugin => EnhancedCode::new(class, 3, 0),
                ErrorKind::Protocol => EnhancedCode::new(class, 5, 0),
                ErrorKind::Tls | ErrorKind::Dane => EnhancedCode::new(class, 7, 5),
                ErrorKind::Config => EnhancedCode::new(class, 3, 5),
            },
            Ending::Decided { .. } => self.stated.unwrap_or(EnhancedCode::new(class, 7, 1)),
        }
    }

    /// The reason on one line, for `retryreason` and the log.
    pub fn reason(&self) -> String {
        match &self.ending {
            Ending::Answered(result) => match &result.answer {
                Answer::Reply(reply) => format!("{reply} (in reply to {})", result.state),
                Answer::Failure(failure) => failure.to_string(),
            },
            Ending::Error(error) => error.message.clone(),
            Ending::Decided { bounce } => self.said.clone().unwrap_or_else(|| {
                if *bounce { "bounced before delivery" } else { "deleted before delivery" }
                    .to_owned()
            }),
        }
    }

    /// What a notification says about it: the peer's reply, or our reason.
    pub fn diagnostic(&self) -> String {
        match &self.ending {
            Ending::Answered(result) => match &result.answer {
                Answer::Reply(reply) => reply.to_string(),
                Answer::Failure(failure) => failure.to_string(),
            },
            _ => self.reason(),
        }
    }
}
