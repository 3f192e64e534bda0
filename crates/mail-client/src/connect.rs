//! What a connection is made with, and what comes of one that cannot be made.

use std::net::IpAddr;

use config::running::MailProtocol;
use smtp::client::{self, Credentials, Protocol, Tls};

use crate::attempt::{Attempt, AttemptError, ConnectionFacts, ErrorKind};
use crate::plan::{Settings, Target};
use crate::smtp::ConnectError;
use crate::tls::Refusal;
use crate::world::World;

/// A target to which the settings allow no connection.
pub fn refused(
    target: &Target,
    local: Option<IpAddr>,
    settings: &Settings,
    refusal: Refusal,
) -> Attempt {
    let mut facts = ConnectionFacts::to(target, local, settings);
    facts.report = refusal.report;
    Attempt { connection: Some(facts), ..Attempt::failed(refusal.error) }
}

/// What came of a target that could not be talked to.
pub fn connect_failure(
    target: &Target,
    local: Option<IpAddr>,
    settings: &Settings,
    error: ConnectError,
) -> Attempt {
    match error {
        ConnectError::Session { outcome, report, id } => {
            let mut facts = ConnectionFacts::to(target, local, settings);
            facts.report = report;
            facts.id = Some(id);
            Attempt::answered(outcome, facts)
        }
        ConnectError::Socket(error) => Attempt::failed(AttemptError {
            kind: ErrorKind::Network,
            temporary: true,
            message: format!("{} [{}]: {error}", target.host, target.address.ip()),
        }),
    }
}

/// The name to greet with: the settings', the source address's, or the host's.
pub fn helo_name(world: &World, settings: &Settings, local: Option<IpAddr>) -> String {
    settings
        .helo
        .as_deref()
        .or_else(|| {
            let source = settings.sources.iter().find(|source| Some(source.address) == local)?;
            source.helo.as_deref()
        })
        .unwrap_or(&world.hostname)
        .to_owned()
}

/// What the session is made with.
pub fn client_config(settings: &Settings, helo: String, tls: Tls) -> client::Config {
    client::Config {
        protocol: match settings.protocol {
            MailProtocol::Smtp => Protocol::Smtp,
            MailProtocol::Lmtp => Protocol::Lmtp,
        },
        helo,
        tls,
        implicit_tls: false,
        credentials: settings.credentials.as_ref().map(|(username, password)| Credentials {
            username: username.to_string(),
            password: password.to_string(),
        }),
        xclient: settings.xclient.clone(),
        pipelining: true,
        chunking: settings.chunking,
        limits: client::ReplyLimits::default(),
    }
}
