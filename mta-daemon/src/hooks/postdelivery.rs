//! `postdelivery`: after an attempt, and when a message is removed by hand. Implicit end and script
//! error: the default action.

use std::sync::Arc;

use hsl::{Array, Value};
use queue::message::QueuedMessage;
use queue::policy::{AppliedPolicy, Property};
use queue::retry::{Schedule, Step};
use queue::{Requeue, RetryCount};
use script_host::hooks::dsn_options::{DsnOptions, SetDsn};
use script_host::hooks::queue_scripts::{Notes, QueueExit};
use smtp::client::Answer;

pub(crate) use mail_client::values::reply;
use mail_client::values::{ending, enhanced};

use crate::context::Core;
use crate::generation::Generation;
use crate::hooks::predelivery;
use crate::hooks::runner::{self, Ending as RunEnding, Run};
use crate::hooks::shared::{self, put};
use crate::outbound::matching;
use crate::outbound::outcome::{self, Announced, Attempt, DefaultAction, Ending};

/// What happens to a message, in the manual's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Delete,
    Bounce,
    Queue,
}

impl Action {
    const fn word(self) -> &'static str {
        match self {
            Self::Delete => "DELETE",
            Self::Bounce => "BOUNCE",
            Self::Queue => "QUEUE",
        }
    }
}

/// What the script decided.
pub(crate) enum Decision {
    Default,
    Queue(Requeue, Option<Arc<DsnOptions>>),
    Bounce(Arc<DsnOptions>),
    Delete,
}

/// Runs the script. With `$context` comes what was said about notifications before; the second value is
/// what holds of that now.
pub(crate) async fn call(
    core: &Arc<Core>,
    generation: &Generation,
    row: &QueuedMessage,
    attempt: &Attempt,
    default: DefaultAction,
    announced: Option<&Announced>,
    (context, dsn): (Value, Option<Arc<DsnOptions>>),
) -> (Decision, Option<Arc<DsnOptions>>) {
    let Some(hook) = &generation.postdelivery else { return (Decision::Default, dsn) };
    // While it is being sent the row is counted, and the queue knows by what.
    let policies = core.queue.lock().applied_policies(row.id);
    let mut variables = vec![
        ("arguments", arguments(row, attempt, default, policies.as_deref(), announced)),
        ("message", predelivery::message(core, row, Some(attempt))),
    ];
    if !attempt.by_hand {
        variables.push(("context", context));
    }
    let transport = generation.running.transports.get(row.transportid.as_str());
    let schedule = || {
        transport
            .map(|transport| outcome::schedule(transport, &matching::settings(core, row, None)))
    };
    if hook.has_old_variables() {
        let mut facts = predelivery::row_facts(row, schedule().as_ref());
        if let Some(connection) = &attempt.connection {
            put(&mut facts, "serverport", f64::from(connection.port));
        }
        variables.push(("row", Value::Array(facts)));
    }
    let run = Run {
        hook,
        stats: &core.stats.postdelivery,
        transaction: row.id.transaction,
        variables,
        states: vec![
            Box::new(Notes {
                is_delivered: default.action.is_none(),
                ..Notes::of(row.metadata.clone())
            }),
            Box::new(SetDsn(dsn.clone())),
        ],
    };
    let (ending, mut vm) = runner::run(&core.scripts, run).await;
    let metadata = vm.state::<Notes>().filter(|n| n.changed).map(|n| n.metadata.clone());
    let dsn = match ending {
        RunEnding::Failed => dsn,
        _ => vm.take_state::<SetDsn>().and_then(|set| set.0),
    };
    let exit = match ending {
        RunEnding::Exit(exit) => exit.downcast::<QueueExit>().ok(),
        RunEnding::End | RunEnding::Failed => None,
    };
    if !matches!(exit.as_deref(), Some(QueueExit::Queue(_) | QueueExit::Retry(_)))
        && default.action == Some(Action::Queue)
        && let Some(metadata) = metadata.clone()
    {
        predelivery::keep_notes(core, row, metadata);
    }
    let Some(exit) = exit else { return (Decision::Default, dsn) };
    let is_retry = matches!(*exit, QueueExit::Retry(_));
    let decision = match *exit {
        QueueExit::Queue(put_off) | QueueExit::Retry(put_off) => {
            let schedule = schedule();
            let mut requeue = put_off.requeue(metadata, || {
                let usual = || schedule.as_ref().map(|s| s.interval(row.retrycount).delay);
                let wait = default.wait.map(|wait| wait.delay);
                wait.or_else(usual).unwrap_or(Schedule::DEFAULT_INTERVAL)
            });
            if requeue.reason.is_none() {
                requeue.reason = Some(attempt.reason().into());
            }
            let is_last = requeue.retrycount == RetryCount::Increment
                && schedule.is_some_and(|s| s.after_failure(row.retrycount) == Step::Expired);
            // The last failure of a message that was not delivered.
            if is_retry && is_last && default.action.is_some() {
                return (Decision::Default, dsn);
            }
            Decision::Queue(requeue, put_off.notice())
        }
        QueueExit::Bounce(removal) => Decision::Bounce(removal.dsn),
        QueueExit::Delete(_) => Decision::Delete,
        QueueExit::Default | QueueExit::Try(_) => Decision::Default,
    };
    (decision, dsn)
}

fn arguments(
    row: &QueuedMessage,
    attempt: &Attempt,
    default: DefaultAction,
    policies: Option<&[AppliedPolicy]>,
    announced: Option<&Announced>,
) -> Value {
    let mut out = Array::new();
    put(&mut out, "retry", f64::from(row.retrycount));
    if let Some(action) = default.action {
        put(&mut out, "action", action.word());
    }
    put(&mut out, "expired", default.expired);
    if let Some(grouping) = &row.grouping {
        put(&mut out, "grouping", grouping.as_str());
    }
    if let Some(returned) = &attempt.queue_returned {
        put(&mut out, "queue", shared::plugin_return(returned.clone()));
    }
    if let Some(dsn) = dsn(attempt, announced) {
        put(&mut out, "dsn", Value::Array(dsn));
    }
    let Some(mut value) = ending(attempt) else { return Value::Array(out) };
    if let Some(returned) = &attempt.returned {
        put(&mut value, "plugin", Value::map([("return", returned.clone())]));
    }
    put(&mut value, "duration", attempt.duration.as_secs_f64());
    put(&mut out, "attempt", Value::Array(value));
    if let Some(policies) = policies {
        put(&mut out, "policy", policy(policies));
    }
    Value::Array(out)
}

/// `$arguments["dsn"]`: the notification that will be made, or what was said at a removal.
fn dsn(attempt: &Attempt, announced: Option<&Announced>) -> Option<Array> {
    let mut out = Array::new();
    if let Some(announced) = announced {
        put(&mut out, "action", announced.kind.word());
        let mut id = Array::new();
        put(&mut id, "transaction", announced.id.to_string());
        put(&mut id, "queue", 1.0);
        put(&mut out, "id", Value::Array(id));
        put(&mut out, "status", enhanced(attempt.status()));
    } else {
        attempt.said.as_ref()?;
    }
    let is_reply = matches!(
        &attempt.ending,
        Ending::Answered(result) if matches!(result.answer, Answer::Reply(_))
    );
    put(&mut out, "diagnostictype", if is_reply { "smtp" } else { "x-error" });
    put(&mut out, "diagnosticcode", attempt.diagnostic());
    Some(out)
}

/// `$arguments["policy"]`: what the policies said about the row.
fn policy(applied: &[AppliedPolicy]) -> Value {
    let texts = |tags: &[mta_types::Tag]| Value::list(tags.iter().map(|tag| tag.as_str().into()));
    let policies = applied.iter().map(|policy| {
        let mut out = Array::new();
        put(&mut out, "fields", Value::list(policy.fields.iter().map(|f| f.name().into())));
        let grouping =
            policy.grouping.iter().map(|(field, value)| (field.name(), Value::from(&**value)));
        put(&mut out, "grouping", Value::map(grouping));
        let dynamic = policy.dynamic.iter().map(|(id, tag)| {
            let mut one = Array::new();
            put(&mut one, "id", &**id);
            if let Some(tag) = tag {
                put(&mut one, "tag", tag.as_str());
            }
            Value::Array(one)
        });
        put(&mut out, "dynamic", Value::list(dynamic));
        put(&mut out, "tags", texts(&policy.tags));
        let properties = policy.limits.properties.iter().map(|(key, value)| {
            let value = match value {
                Property::Text(text) => Value::from(&**text),
                Property::Number(number) => Value::Number(*number),
                Property::Boolean(flag) => Value::Bool(*flag),
            };
            (&**key, value)
        });
        put(&mut out, "properties", Value::map(properties));
        put(&mut out, "stop", policy.limits.stop);
        Value::Array(out)
    });
    let all: Vec<_> = applied.iter().flat_map(|policy| policy.tags.iter().cloned()).collect();
    let mut out = Array::new();
    put(&mut out, "tags", texts(&all));
    put(&mut out, "policies", Value::list(policies));
    Value::Array(out)
}
