//! SMTP dialogues of scripts: `send` (in-line delivery), `smtp_lookup_rcpt`, `smtp_lookup_auth`.
//!
//! They use the same sessions and sockets as deliveries from the queue, but nothing is pooled, queued
//! or written to the spool: the script waits and hears what the server said.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use config::running::Destination;
use hsl::host::Thrown;
use hsl::{Array, Value};
use hsl_std::services::{Dialogue, FileContent, MailClient, MailToSend};
use mta_types::Address;
use script_host::hooks::values::{self, put};
use smtp::client::{Answer, BodyType, Envelope, Failure, Outcome, Purpose, Recipient, State};
use smtp::parameters::Parameters;

use crate::attempt::{Attempt, AttemptError, Ending, ErrorKind};
use crate::connect::{client_config, connect_failure, helo_name, refused};
use crate::connections::Registry;
use crate::count::Level;
use crate::options;
use crate::plan::{Settings, Target};
use crate::smtp::{Content, OpenConnection, OutboundEntry};
use crate::targets::targets;
use crate::tls::{self, TlsSetup};
use crate::world::World;

/// Where dialogues take place.
pub trait Ground: Send + Sync {
    /// The configuration.
    fn world(&self) -> &World;

    /// The connections that are open.
    fn connections(&self) -> &Registry<OutboundEntry>;

    /// Counts a connection until it is dropped.
    fn level(&self) -> Level;

    /// Mixes mail exchangers of equal preference.
    fn seed(&self) -> u64;
}

/// Speaks SMTP for scripts, on the ground that `F` finds.
pub struct ScriptClient<F>(pub F);

impl<F> MailClient for ScriptClient<F>
where
    F: Fn() -> Result<Arc<dyn Ground>, Thrown> + Send + Sync,
{
    fn send(&self, mail: MailToSend) -> Result<Dialogue, Thrown> {
        let ground = (self.0)()?;
        let settings = settings(ground.world(), mail.server)?;
        if settings.destination == Destination::Mx {
            return Err(Thrown::new("send() needs a server with a host, not lookup-mx"));
        }
        let (sender, params) = sender(&mail.sender)?;
        let recipients: Vec<Recipient> =
            mail.recipients.values().map(recipient).collect::<Result<_, _>>()?;
        if recipients.is_empty() {
            return Err(Thrown::new("send() needs at least one recipient"));
        }
        let envelope = Envelope {
            sender,
            params,
            recipients,
            size: Some(mail.content.len()),
            body: BodyType::EightBit,
            smtputf8: false,
            purpose: Purpose::DeliverToAll,
        };
        let content = mail.content;
        Ok(Box::pin(async move {
            let attempt = attempt(&*ground, &settings, envelope, content).await;
            let mut result = crate::values::ending(&attempt).unwrap_or_default();
            put(&mut result, "tls", crate::values::tls(attempt.connection.as_ref()));
            Ok(Value::Array(result))
        }))
    }

    fn lookup_rcpt(
        &self,
        server: Value,
        sender: Value,
        recipient_value: Value,
        extended: bool,
    ) -> Result<Dialogue, Thrown> {
        let ground = (self.0)()?;
        let settings = settings(ground.world(), server)?;
        let (sender, params) = self::sender(&sender)?;
        let envelope = Envelope {
            sender,
            params,
            recipients: vec![recipient(&recipient_value)?],
            purpose: Purpose::Probe,
            ..Envelope::default()
        };
        Ok(Box::pin(async move {
            let nothing = Arc::new(Vec::new());
            let attempt = attempt(&*ground, &settings, envelope, nothing).await;
            let verdict = verdict(&attempt, State::Rcpt);
            Ok(if extended { extended_result(&attempt, verdict) } else { Value::Number(verdict) })
        }))
    }

    fn lookup_auth(
        &self,
        server: Value,
        username: String,
        password: String,
    ) -> Result<Dialogue, Thrown> {
        let ground = (self.0)()?;
        let mut settings = settings(ground.world(), server)?;
        if settings.destination == Destination::Mx {
            return Err(Thrown::new("smtp_lookup_auth() needs a server with a host"));
        }
        settings.credentials = Some((username.into(), password.into()));
        Ok(Box::pin(async move {
            let opened = open(&*ground, &settings, &Address::null()).await;
            let failed = match opened {
                // A session that is ready for mail has logged in.
                Ok(opened) => {
                    opened.connection.quit(&settings).await;
                    return Ok(Value::Number(1.0));
                }
                Err(failed) => failed,
            };
            let is_refused = match &failed.ending {
                Ending::Answered(Outcome { answer: Answer::Reply(reply), state }) => {
                    state.as_str().starts_with("AUTH") && reply.is_permanent()
                }
                _ => false,
            };
            Ok(Value::Number(if is_refused { 0.0 } else { -1.0 }))
        }))
    }
}

/// The settings of a server array, or of a transport by its id.
fn settings(world: &World, server: Value) -> Result<Settings, Thrown> {
    match server {
        Value::Array(mut options) => {
            let mut settings = Settings::of_script();
            // Here one address is given as a string, not a list.
            let source = match (options.get_text("sourceipid"), options.get_text("sourceip")) {
                (Some(id @ Value::String(_)), _) => Some(id.clone()),
                (_, Some(ip @ Value::String(_))) => {
                    Some(Value::map([("address", Value::clone(ip))]))
                }
                _ => None,
            };
            if let Some(source) = source {
                put(&mut options, "sourceip", Value::list([source]));
            }
            options::apply(&mut settings, &world.running, &options)?;
            if settings.plugin.is_some() {
                return Err(Thrown::new("a plugin does not answer questions of SMTP"));
            }
            Ok(settings)
        }
        other => {
            let id = other.as_text().unwrap_or_default();
            let transport = world.running.transports.get(id).ok_or_else(|| {
                Thrown::new(format!("transport {id} is not in the configuration"))
            })?;
            Ok(Settings::new(world, transport))
        }
    }
}

fn sender(value: &Value) -> Result<(Address, Parameters), Thrown> {
    let (address, params) = options::party(value)?;
    let address = address.ok_or_else(|| Thrown::new("not an address: it has no parts"))?;
    Ok((address, params.unwrap_or_default()))
}

fn recipient(value: &Value) -> Result<Recipient, Thrown> {
    let (address, params) = options::recipient_party(value)?;
    let address = address.ok_or_else(values::no_recipient)?;
    Ok(Recipient { address, params: params.unwrap_or_default() })
}

/// A connection with what it was made of.
struct Opened {
    connection: OpenConnection,
    tls: TlsSetup,
    target: Target,
}

/// Connects to the first server that can be talked to; it is ready for mail.
async fn open(
    ground: &dyn Ground,
    settings: &Settings,
    recipient: &Address,
) -> Result<Opened, Box<Attempt>> {
    let world = ground.world();
    let targets = targets(world, settings, recipient, ground.seed()).await;
    let mut last = None;
    for target in targets.map_err(Attempt::failed)? {
        let local = source_for(settings, target.address.ip());
        let tls = match tls::setup(world, settings, &target) {
            Ok(tls) => tls,
            Err(refusal) => {
                last = Some(refused(&target, local, settings, *refusal));
                continue;
            }
        };
        let helo = helo_name(world, settings, local);
        let config = Arc::new(client_config(settings, helo, tls.level));
        let places = (ground.connections(), ground.level());
        match OpenConnection::open(&target, local, config, settings, &tls, places).await {
            Ok(connection) => return Ok(Opened { connection, tls, target }),
            Err(error) => {
                let failed = connect_failure(&target, local, settings, error);
                // What a server says counts; only one that says nothing is passed over.
                if matches!(failed.ending, Ending::Answered(_)) {
                    return Err(failed.into());
                }
                last = Some(failed);
            }
        }
    }
    let none = || {
        Attempt::failed(AttemptError {
            kind: ErrorKind::Network,
            temporary: true,
            message: "there is no host to try".into(),
        })
    };
    Err(last.unwrap_or_else(none).into())
}

/// One transaction with the first server that can be talked to.
///
/// # Cancel safety
///
/// Dropping the future closes the connection; the server may have taken the message.
pub async fn attempt(
    ground: &dyn Ground,
    settings: &Settings,
    envelope: Envelope,
    content: Arc<dyn FileContent>,
) -> Attempt {
    let started = Instant::now();
    let first = envelope.recipients.first().map(|recipient| recipient.address.clone());
    let opened = open(ground, settings, &first.unwrap_or_default()).await;
    let Opened { mut connection, tls, target } = match opened {
        Ok(opened) => opened,
        Err(failed) => return *failed,
    };
    let content = Content::Script(content);
    let outcomes = connection.transact(envelope, &content, settings, &tls).await;
    let facts = connection.facts(&target, settings, &tls);
    connection.quit(settings).await;
    // Under LMTP recipients may fare differently after the content: the worst is told.
    let is_good =
        |outcome: &Outcome| matches!(&outcome.answer, Answer::Reply(reply) if reply.is_positive());
    let worst = outcomes.iter().position(|outcome| !is_good(outcome)).unwrap_or(0);
    let lost = Outcome { state: State::Mail, answer: Answer::Failure(Failure::ConnectionLost) };
    let outcome = outcomes.into_iter().nth(worst).unwrap_or(lost);
    let mut attempt = Attempt::answered(outcome, facts);
    attempt.duration = started.elapsed();
    attempt
}

fn source_for(settings: &Settings, remote: IpAddr) -> Option<IpAddr> {
    let mut addresses = settings.sources.iter().map(|source| source.address);
    addresses.find(|address| address.is_ipv4() == remote.is_ipv4())
}

/// 1 accepted, 0 refused for good in `state` or before it, -1 anything else.
fn verdict(attempt: &Attempt, state: State) -> f64 {
    match &attempt.ending {
        Ending::Answered(Outcome { state: at, answer: Answer::Reply(reply) }) => {
            if reply.is_positive() && *at == state {
                1.0
            } else if reply.is_permanent() {
                0.0
            } else {
                -1.0
            }
        }
        _ => -1.0,
    }
}

fn extended_result(attempt: &Attempt, verdict: f64) -> Value {
    let mut out = Array::new();
    put(&mut out, "result", verdict);
    match &attempt.ending {
        Ending::Answered(Outcome { state, answer: Answer::Reply(reply) }) => {
            put(&mut out, "error_code", f64::from(reply.code));
            put(&mut out, "error_message", reply.lines.join("\n"));
            put(&mut out, "on_rcptto", *state == State::Rcpt);
        }
        Ending::Error(error) => {
            put(&mut out, "error_message", error.message.as_str());
            put(&mut out, "on_rcptto", false);
        }
        _ => put(&mut out, "on_rcptto", false),
    }
    put(&mut out, "tls", crate::values::tls(attempt.connection.as_ref()));
    Value::Array(out)
}
