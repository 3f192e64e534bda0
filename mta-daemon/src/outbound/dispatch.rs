//! One delivery attempt: a connection, the message, the answer.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use queue::message::{DsnNotify, DsnReturn, QueuedMessage};
use queue::pickup::Pick;
use smtp::client::{self, Answer, Outcome};
use smtp::parameters::Parameters;

pub(crate) use script_host::hooks::eod::notify_text;

use mail_client::connect::{client_config, connect_failure, helo_name, refused};

use crate::context::Core;
use crate::generation::Generation;
use crate::outbound::matching;
use crate::outbound::outcome::{self, Attempt, AttemptError, ErrorKind};
use crate::outbound::plan::{Left, Plan, Settings, Target};
use crate::outbound::pool::PoolKey;
use crate::outbound::smtp::{Content, OpenConnection, envelope};
use crate::outbound::tls::{self, TlsSetup};
use crate::plugins;

/// Delivers a row that was picked up, and tells the queue what became of it.
///
/// Our own fault ends this attempt only: the row is tried again.
pub(crate) async fn run(core: Arc<Core>, pick: Pick, mut row: QueuedMessage) {
    let Some(plan) = core.queue.take_plan(row.id) else {
        let error = AttemptError {
            kind: ErrorKind::Config,
            temporary: true,
            message: "the delivery plan is gone".into(),
        };
        return outcome::conclude(&core, row, Attempt::failed(error), Left::default()).await;
    };
    let left = plan.left.clone();
    if let Some(asked) = &plan.settings.dsn {
        asked.lay_over(&mut row);
    }
    let worker = {
        let (core, row, plan) = (Arc::clone(&core), row.clone(), Arc::clone(&plan));
        async move { attempt(&core, &plan, pick.localip, &row).await }
    };
    let started = Instant::now();
    let result = tokio::select! {
        biased;
        () = core.abort.cancelled() => None,
        result = Box::pin(worker) => Some(result),
    };
    let mut attempt = result.unwrap_or_else(|| {
        Attempt::failed(AttemptError {
            kind: ErrorKind::Network,
            temporary: true,
            message: "the server is shutting down".into(),
        })
    });
    attempt.duration = started.elapsed();
    outcome::conclude(&core, row, attempt.under(&plan.settings), left).await;
}

async fn attempt(
    core: &Arc<Core>,
    plan: &Plan,
    local: Option<IpAddr>,
    row: &QueuedMessage,
) -> Attempt {
    let generation = core.generation_of(row.transaction.stageid());
    let content = match content(core, row).await {
        Ok(content) => content,
        Err(error) => return Attempt::failed(error),
    };
    if let Some(call) = &plan.settings.plugin {
        return plugins::delivery::attempt(core, plan, call, local, row, content).await;
    }
    let helo = helo_name(&generation, &plan.settings, local);
    let mut last = None;
    for target in &plan.targets {
        let delivery = matching::settings_at(core, row, target, local);
        let settings = &plan.settings.under(&delivery);
        let tls = match tls::setup(&generation, settings, target) {
            Ok(tls) => tls,
            Err(refusal) => {
                last = Some(refused(target, local, settings, *refusal));
                continue;
            }
        };
        let config = Arc::new(client_config(settings, helo.clone(), tls.level));
        let key = pool_key(&generation, settings, &config, &tls, target, local, row);
        let pooled = match settings.pooling.enabled {
            true => core.pool.take(&key, Instant::now(), &core.stats.pool),
            false => None,
        };
        let from_pool = pooled.is_some();
        let opened = match pooled {
            Some(connection) => Ok(connection),
            None => {
                let places = (&core.outbound, core.stats.outbound.enter());
                let config = Arc::clone(&config);
                OpenConnection::open(target, local, config, settings, &tls, places).await
            }
        };
        let mut connection = match opened {
            Ok(connection) => connection,
            Err(error) => {
                last = Some(connect_failure(target, local, settings, error));
                continue;
            }
        };
        let mut result =
            connection.deliver(row.id, envelope_of(settings, row), &content, settings, &tls).await;
        if from_pool && is_stale(&result) {
            // The peer closed while the connection was idle: that says nothing about the message.
            let places = (&core.outbound, core.stats.outbound.enter());
            let config = Arc::clone(&config);
            match OpenConnection::open(target, local, config, settings, &tls, places).await {
                Ok(fresh) => {
                    connection = fresh;
                    let envelope = envelope_of(settings, row);
                    result = connection.deliver(row.id, envelope, &content, settings, &tls).await;
                }
                Err(error) => {
                    last = Some(connect_failure(target, local, settings, error));
                    continue;
                }
            }
        }
        let facts = connection.facts(target, settings, &tls);
        park(core, &generation, connection, key, settings).await;
        let attempt = Attempt::answered(result, facts);
        if attempt.is_connection_trouble() {
            last = Some(attempt);
            continue;
        }
        return attempt;
    }
    last.unwrap_or_else(|| {
        Attempt::failed(AttemptError {
            kind: ErrorKind::Network,
            temporary: true,
            message: "there is no host to try".into(),
        })
    })
}

/// A pooled connection that died before it took MAIL.
fn is_stale(result: &Outcome) -> bool {
    use smtp::client::State;
    let lost = matches!(
        &result.answer,
        Answer::Failure(client::Failure::ConnectionLost | client::Failure::UnexpectedReply { .. })
    ) || matches!(&result.answer, Answer::Reply(reply) if reply.code == 421);
    lost && matches!(result.state, State::Rset | State::Noop | State::Mail)
}

/// Keeps a good connection for the next message, or ends it.
async fn park(
    core: &Core,
    generation: &Generation,
    connection: OpenConnection,
    key: PoolKey,
    settings: &Settings,
) {
    let pooling = &settings.pooling;
    let used_up = pooling.transactions.is_some_and(|most| connection.transactions() >= most);
    if !connection.is_reusable() {
        return;
    }
    let mut leaving = Some(connection);
    if pooling.enabled
        && !used_up
        && !core.stop.is_cancelled()
        && let Some(connection) = leaving.take()
    {
        let size = generation.running.queues.pooling_size as usize;
        leaving = core.pool.put(
            key,
            connection,
            pooling.timeout,
            pooling.evictable,
            size,
            &core.stats.pool,
        );
    }
    if let Some(connection) = leaving {
        connection.quit(settings).await;
    }
}

/// The message's octets: from memory when it has just come in, else from the spool.
async fn content(core: &Arc<Core>, row: &QueuedMessage) -> Result<Content, AttemptError> {
    if let Some(pieces) = core.queue.bodies.take(row.id.transaction) {
        return Ok(Content::Memory(pieces));
    }
    let (spool, id) = (core.spool.clone(), row.id.transaction);
    let read = tokio::task::spawn_blocking(move || {
        let reader = spool.read_body(id)?;
        if reader.len() <= READ_WHOLE {
            return Ok(Content::Memory(vec![reader.read_all()?]));
        }
        Ok(Content::Stored(Arc::new(reader)))
    })
    .await;
    let error = match read {
        Ok(Ok(content)) => return Ok(content),
        Ok(Err(error)) => {
            let error: spool::ReadError = error;
            error.to_string()
        }
        Err(error) => error.to_string(),
    };
    tracing::error!(transaction = %row.id.transaction, queue = row.id.queue.0, error, "delivery.failed_internally");
    let message = "the message could not be read from the spool".to_owned();
    Err(AttemptError { kind: ErrorKind::Config, temporary: true, message })
}

fn envelope_of(settings: &Settings, row: &QueuedMessage) -> client::Envelope {
    let sender = settings.sender.clone().unwrap_or_else(|| row.sender.clone());
    let recipient = settings.recipient.clone().unwrap_or_else(|| row.recipient.clone());
    let mut sender_params = settings.sender_params.clone().unwrap_or_default();
    let mut recipient_params = settings.recipient_params.clone().unwrap_or_default();
    let add = |params: &mut Parameters, key: &str, value: &str| {
        if !params.has(key) {
            // A value that is no parameter value any more is left out.
            let _ = params.push(key, Some(value));
        }
    };
    let asked = settings.dsn.as_deref().map(|asked| &asked.envelope);
    let envid = asked.and_then(|asked| asked.envid.as_deref()).or(row.transaction.envid());
    if let Some(envid) = envid {
        add(&mut sender_params, "ENVID", envid);
    }
    if let Some(ret) = asked.and_then(|asked| asked.ret).or(row.transaction.ret()) {
        add(&mut sender_params, "RET", if ret == DsnReturn::Headers { "HDRS" } else { "FULL" });
    }
    // Who tells of the delivery himself must not have it told by others.
    let passed_on = match settings.dsn.as_ref().is_some_and(|asked| asked.is_delivery) {
        true => row.notify.without(DsnNotify::SUCCESS),
        false => row.notify,
    };
    if let Some(notify) = notify_text(passed_on) {
        add(&mut recipient_params, "NOTIFY", &notify);
    }
    if let Some(orcpt) = &row.orcpt {
        add(&mut recipient_params, "ORCPT", orcpt);
    }
    envelope(
        sender,
        sender_params,
        recipient,
        recipient_params,
        row.transaction.size(),
        row.transaction.is_eightbit(),
        row.transaction.is_smtputf8(),
    )
}

fn pool_key(
    generation: &Generation,
    settings: &Settings,
    config: &client::Config,
    tls: &TlsSetup,
    target: &Target,
    local: Option<IpAddr>,
    row: &QueuedMessage,
) -> PoolKey {
    use config::running::PoolingPolicy;
    let policy = match generation.running.queues.pooling_policy {
        PoolingPolicy::RemoteMx => target.host.to_string(),
        PoolingPolicy::Grouping => {
            row.grouping.as_ref().map_or_else(|| target.host.to_string(), ToString::to_string)
        }
    };
    let login = settings.credentials.as_ref().map_or("", |(username, _)| username);
    let proxy = settings.proxy(local);
    let session = format!(
        "{}|{:?}|{login}|{:?}|{}|{proxy:?}|{:?}",
        config.helo, config.protocol, tls.sni, tls.key, settings.xclient
    );
    PoolKey { local, remote: target.address, policy, session }
}

/// Stored bodies up to this size are read at once.
const READ_WHOLE: u64 = 1 << 20;
