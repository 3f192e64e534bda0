//! What became of an attempt: retry, bounce or done, through the post-delivery script.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use config::delivery::DeliverySettings;
use config::running::Transport;
use hsl::Value;
use mta_types::{Class, EnhancedCode, TransactionId};
use queue::message::{DsnNotify, QueuedMessage};
use queue::retry::{Interval, Schedule, Step};
use queue::{End, Outcome as QueueOutcome, Requeue, RetryCount, Rewrite};
use smtp::client::{Answer, Failure, Outcome};
use spool::Durability;

use crate::context::Core;
use crate::dsn::notify::{self, Notice, NoticeKind};
use crate::fence::fenced;
use crate::generation::Generation;
use crate::hooks::postdelivery::{self, Action, Decision};
use crate::outbound::matching;
use crate::outbound::plan::{Settings, Target, TryDsn};
use crate::outbound::tls::Dane;
use crate::queue_service::persist;
use crate::time;
use script_host::hooks::dsn_options::DsnOptions;

/// One attempt with all that the post-delivery script may see of it.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    pub(crate) ending: Ending,
    pub(crate) connection: Option<ConnectionFacts>,
    pub(crate) duration: Duration,
    /// What a delivery plugin returned.
    pub(crate) returned: Option<Value>,
    /// What a queue plugin returned that refused the message.
    pub(crate) queue_returned: Option<Value>,
    /// The reason that a script gave when it removed the message.
    pub(crate) said: Option<String>,
    /// What the script said about notifications in `Try`.
    pub(crate) asked: Option<Arc<TryDsn>>,
    /// An operator removes the message: no script ran before.
    pub(crate) by_hand: bool,
    /// The status that an operator gave when he bounced the message.
    pub(crate) stated: Option<EnhancedCode>,
    /// What a pre-delivery script said about the notification.
    pub(crate) dsn: Option<Arc<DsnOptions>>,
}

/// How an attempt ended.
#[derive(Clone, Debug)]
pub(crate) enum Ending {
    /// The peer answered.
    Answered(Outcome),
    /// It never came to an answer.
    Error(AttemptError),
    /// A script decided before any attempt: bounce or delete.
    Decided { bounce: bool },
}

/// Why an attempt did not come to an answer.
#[derive(Clone, Debug)]
pub(crate) struct AttemptError {
    pub(crate) kind: ErrorKind,
    pub(crate) temporary: bool,
    pub(crate) message: String,
}

/// Kinds of errors, in the words of the manual.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ErrorKind {
    Config,
    Dane,
    DnsNxDomain,
    DnsNullMx,
    DnsNoData,
    DnsExcluded,
    DnsOther,
    Network,
    Plugin,
    Protocol,
    Tls,
}

impl ErrorKind {
    /// `attempt.error.type`, and `attempt.error.dns` where it is one.
    pub(crate) const fn words(self) -> (&'static str, Option<&'static str>) {
        match self {
            Self::Config => ("config", None),
            Self::Dane => ("dane", None),
            Self::DnsNxDomain => ("dns", Some("nxdomain")),
            Self::DnsNullMx => ("dns", Some("nullmx")),
            Self::DnsNoData => ("dns", Some("nodata")),
            Self::DnsExcluded => ("dns", Some("excluded")),
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
pub(crate) struct TlsFacts {
    pub(crate) session: tls_policy::Session,
    /// `peercert`, when a script looked.
    pub(crate) peercert: OnceLock<Option<Value>>,
}

/// The connection an attempt used.
#[derive(Clone, Debug)]
pub(crate) struct ConnectionFacts {
    /// Its id; `None` when there was none.
    pub(crate) id: Option<String>,
    /// The local address's name in the configuration.
    pub(crate) localid: Option<Arc<str>>,
    pub(crate) local: Option<IpAddr>,
    pub(crate) remote: Option<IpAddr>,
    pub(crate) remotemx: Arc<str>,
    pub(crate) tls: Option<Arc<TlsFacts>>,
    /// What is wrong with the connection's security.
    pub(crate) report: Option<tls_policy::Report>,
    /// What was found out of the host's TLSA records, where they count.
    pub(crate) dane: Option<Arc<Dane>>,
    /// The text of the peer's greeting.
    pub(crate) greeting: Option<Arc<str>>,
    /// The name we greeted with.
    pub(crate) helo: Option<Arc<str>>,
    pub(crate) transactions: u32,
    /// The peer announced DSN, so ENVID, RET, NOTIFY and ORCPT went on to it.
    pub(crate) offers_dsn: bool,
}

impl ConnectionFacts {
    /// What is known before there is a connection.
    pub(crate) fn to(target: &Target, local: Option<IpAddr>, settings: &Settings) -> Self {
        let source = settings.sources.iter().find(|source| Some(source.address) == local);
        Self {
            id: None,
            localid: source.and_then(|source| source.id.clone()),
            local,
            remote: Some(target.address.ip()),
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
    pub(crate) fn ended(ending: Ending) -> Self {
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
            dsn: None,
        }
    }

    pub(crate) fn failed(error: AttemptError) -> Self {
        Self::ended(Ending::Error(error))
    }

    pub(crate) fn decided(bounce: bool) -> Self {
        Self::ended(Ending::Decided { bounce })
    }

    /// Sorts a session's outcome into answers of the peer and errors of ours.
    pub(crate) fn answered(result: Outcome, connection: ConnectionFacts) -> Self {
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
    pub(crate) fn is_connection_trouble(&self) -> bool {
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

    pub(crate) fn is_delivered(&self) -> bool {
        matches!(&self.ending, Ending::Answered(result) if result.is_delivered())
    }

    fn is_permanent(&self) -> bool {
        match &self.ending {
            Ending::Answered(result) => result.is_permanent(),
            Ending::Error(error) => !error.temporary,
            Ending::Decided { .. } => true,
        }
    }

    /// The status that a notification carries.
    pub(crate) fn status(&self) -> EnhancedCode {
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
    pub(crate) fn reason(&self) -> String {
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
    pub(crate) fn diagnostic(&self) -> String {
        match &self.ending {
            Ending::Answered(result) => match &result.answer {
                Answer::Reply(reply) => reply.to_string(),
                Answer::Failure(failure) => failure.to_string(),
            },
            _ => self.reason(),
        }
    }
}

/// A transport's retry schedule, or what the delivery settings put in its place, as the queue wants
/// it.
pub(crate) fn schedule(transport: &Transport, delivery: &DeliverySettings) -> Schedule {
    Schedule {
        count: delivery.retry_count.unwrap_or(transport.retry.count),
        intervals: delivery
            .retry_intervals
            .as_ref()
            .unwrap_or(&transport.retry.intervals)
            .iter()
            .map(|interval| Interval { delay: interval.interval, notify: interval.notify })
            .collect(),
    }
}

/// Takes an attempt to its end: script, notification, queue, spool.
///
/// A notification is durable before the row's end is written, so a crash in between repeats it
/// rather than loses it.
pub(crate) async fn conclude(
    core: &Arc<Core>,
    row: QueuedMessage,
    attempt: Attempt,
    context: Value,
) {
    core.queue.given_back.forget(row.id);
    let generation = core.generation.load_full();
    let transport = generation.running.transports.get(row.transportid.as_str());
    log(&row, &attempt);
    let local = attempt.connection.as_ref().and_then(|connection| connection.local);
    let delivery = matching::settings(core, &row, local);
    let default = default_action(transport, &delivery, &row, &attempt);
    let announced = announce(core, &generation, &row, &attempt, default);
    let decision = match generation.postdelivery.is_some() {
        true => {
            let announced = announced.as_ref();
            Box::pin(postdelivery::call(
                core,
                &generation,
                &row,
                &attempt,
                default,
                announced,
                context,
            ))
            .await
        }
        false => Decision::Default,
    };
    let mut options = attempt.dsn.clone();
    // A delay that a script wants is told when the script says so.
    let mut is_wanted = false;
    let (action, requeue) = match decision {
        Decision::Default => (default.action, None),
        Decision::Queue(requeue, notice) => {
            is_wanted = notice.is_some();
            options = notice;
            (Some(Action::Queue), Some(requeue))
        }
        Decision::Bounce(dsn) => {
            options = Some(dsn);
            (Some(Action::Bounce), None)
        }
        Decision::Delete => (Some(Action::Delete), None),
    };
    let notice = |kind: NoticeKind| Notice {
        // The id is that of the notification which was announced, not of another kind.
        id: announced.as_ref().filter(|announced| announced.kind == kind).map(|it| it.id),
        options: options.clone(),
        ..Notice::new(kind, &row, &attempt)
    };
    let outcome = match action {
        None => {
            core.stats.delivered.increment();
            // Whether one was asked for is known since before the script ran.
            if let Some(announced) = announced {
                notify::send(core, &generation, &notice(announced.kind)).await;
            }
            QueueOutcome::End(End::Delivered)
        }
        Some(Action::Queue) => {
            core.stats.delayed.increment();
            let (requeue, tell) = requeue.map_or_else(
                || {
                    let wait = default
                        .wait
                        .unwrap_or(Interval { delay: Schedule::DEFAULT_INTERVAL, notify: false });
                    (requeue_after(wait.delay, &attempt), wait.notify)
                },
                |requeue| (requeue, is_wanted),
            );
            if tell && (is_wanted || wants(&row, DsnNotify::DELAY)) {
                let remaining = transport.map(|t| schedule(t, &delivery).remaining(row.retrycount));
                let notice = Notice { remaining, ..notice(NoticeKind::Delayed) };
                notify::send(core, &generation, &notice).await;
            }
            QueueOutcome::Requeue(requeue)
        }
        Some(Action::Bounce) => {
            core.stats.failed.increment();
            if wants(&row, DsnNotify::FAILURE)
                && !notify::send(core, &generation, &notice(NoticeKind::Failed)).await
            {
                // Nobody was told, so the row must not go: it is tried again later.
                let requeue = Requeue {
                    delay: NOTICE_RETRY,
                    retrycount: RetryCount::Keep,
                    ..Requeue::default()
                };
                return settle(core, &row, QueueOutcome::Requeue(requeue));
            }
            QueueOutcome::End(End::Bounced)
        }
        Some(Action::Delete) => QueueOutcome::End(End::Deleted),
    };
    settle(core, &row, outcome);
}

/// A notification that will be made unless the script decides otherwise.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Announced {
    pub(crate) kind: NoticeKind,
    /// The transaction it will have.
    pub(crate) id: TransactionId,
}

fn announce(
    core: &Core,
    generation: &Generation,
    row: &QueuedMessage,
    attempt: &Attempt,
    default: DefaultAction,
) -> Option<Announced> {
    let kind = match default.action {
        None => {
            // RFC 3461 §5.2.2: a next hop that took NOTIFY over answers for itself.
            let is_delivery = attempt.asked.as_ref().is_some_and(|asked| asked.is_delivery);
            let passed_on = attempt.connection.as_ref().is_some_and(|c| c.offers_dsn);
            let is_asked = row.notify.contains(DsnNotify::SUCCESS);
            match is_delivery {
                true => is_asked.then_some(NoticeKind::Delivered),
                false => (is_asked && !passed_on).then_some(NoticeKind::Relayed),
            }
        }
        Some(Action::Queue) => {
            let tells = default.wait.is_some_and(|wait| wait.notify);
            (tells && wants(row, DsnNotify::DELAY)).then_some(NoticeKind::Delayed)
        }
        Some(Action::Bounce) => wants(row, DsnNotify::FAILURE).then_some(NoticeKind::Failed),
        Some(Action::Delete) => None,
    }?;
    let usual = DsnOptions::default();
    let options = attempt.dsn.as_deref().unwrap_or(&usual);
    notify::transport_of(generation, row, options)?;
    Some(Announced { kind, id: core.ids.next() })
}

/// Runs work on a row behind a fence: should it panic, the row goes back into the queue.
pub(crate) async fn guarded(core: Arc<Core>, row: QueuedMessage, work: impl Future<Output = ()>) {
    if fenced(work).await.is_err() {
        tracing::error!(
            transaction = %row.id.transaction,
            queue = row.id.queue.0,
            error = "internal error",
            "delivery.failed_internally"
        );
        core.queue.take_plan(row.id);
        let requeue = Requeue {
            delay: INTERNAL_RETRY,
            retrycount: RetryCount::Keep,
            reason: Some("internal error".into()),
            ..Requeue::default()
        };
        settle(&core, &row, QueueOutcome::Requeue(requeue));
    }
}

/// What happens unless the script says otherwise.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DefaultAction {
    /// `None` when delivered.
    pub(crate) action: Option<Action>,
    /// Retries or age are used up.
    pub(crate) expired: bool,
    pub(crate) wait: Option<Interval>,
}

fn default_action(
    transport: Option<&Transport>,
    delivery: &DeliverySettings,
    row: &QueuedMessage,
    attempt: &Attempt,
) -> DefaultAction {
    if attempt.is_delivered() {
        return DefaultAction { action: None, expired: false, wait: None };
    }
    // Without DSN settings a failure leaves no trace at the sender.
    let give_up = match transport.is_none_or(|transport| transport.dsn_transport.is_some()) {
        true => Action::Bounce,
        false => Action::Delete,
    };
    if let Ending::Decided { bounce } = attempt.ending {
        let action = if bounce { give_up } else { Action::Delete };
        return DefaultAction { action: Some(action), expired: false, wait: None };
    }
    if attempt.is_permanent() {
        return DefaultAction { action: Some(give_up), expired: false, wait: None };
    }
    let step = transport.map_or(
        Step::Wait(Interval { delay: Schedule::DEFAULT_INTERVAL, notify: false }),
        |transport| schedule(transport, delivery).after_failure(row.retrycount),
    );
    match step {
        Step::Wait(wait) => {
            DefaultAction { action: Some(Action::Queue), expired: false, wait: Some(wait) }
        }
        Step::Expired => DefaultAction { action: Some(give_up), expired: true, wait: None },
    }
}

fn requeue_after(delay: Duration, attempt: &Attempt) -> Requeue {
    Requeue {
        delay,
        hold: false,
        retrycount: RetryCount::Increment,
        reason: Some(attempt.reason().into()),
        rewrite: Rewrite::default(),
    }
}

/// RFC 3461 §4.1: without NOTIFY failures and delays are told; with it only what it names.
fn wants(row: &QueuedMessage, kind: DsnNotify) -> bool {
    row.notify == DsnNotify::UNSET || row.notify.contains(kind)
}

/// Tells the queue, and the spool what the queue made of it.
fn settle(core: &Core, row: &QueuedMessage, outcome: QueueOutcome) {
    let event = match &outcome {
        QueueOutcome::End(End::Delivered) => "queue.message_delivered",
        QueueOutcome::End(End::Bounced) => "queue.message_bounced",
        QueueOutcome::End(_) => "queue.message_deleted",
        QueueOutcome::Requeue(requeue) if requeue.hold => "queue.message_held",
        QueueOutcome::Requeue(_) => "queue.message_deferred",
    };
    tracing::debug!(transaction = %row.id.transaction, queue = row.id.queue.0, "{event}");
    let done = matches!(outcome, QueueOutcome::End(_));
    let mut queue = core.queue.lock();
    match queue.finish(row.id, outcome, time::now()) {
        Ok(changes) => drop(persist::write(core, &queue, &changes, Durability::Lazy)),
        Err(error) => tracing::error!(
            transaction = %row.id.transaction,
            queue = row.id.queue.0,
            %error,
            "delivery.failed_internally"
        ),
    }
    drop(queue);
    if !done {
        core.queue.bodies.forget(row.id.transaction);
    }
    core.queue.wake.notify_one();
}

fn log(row: &QueuedMessage, attempt: &Attempt) {
    let connection = attempt.connection.as_ref();
    tracing::info!(
        transaction = %row.id.transaction,
        queue = row.id.queue.0,
        recipient = %row.recipient,
        transport = %row.transportid,
        remotemx = connection.map_or("", |c| &*c.remotemx),
        remoteip = %connection.and_then(|c| c.remote).map(|ip| ip.to_string()).unwrap_or_default(),
        retry = row.retrycount,
        duration_ms = u64::try_from(attempt.duration.as_millis()).unwrap_or(u64::MAX),
        enhanced = %attempt.status(),
        reason = attempt.reason(),
        "delivery.attempted"
    );
}

/// When a row is tried again whose attempt ended by our own fault.
const INTERNAL_RETRY: Duration = Duration::from_secs(300);

/// When a bounce whose notification could not be stored is tried again.
const NOTICE_RETRY: Duration = Duration::from_secs(60);
