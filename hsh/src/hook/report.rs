//! What the script of a hook decided, as a value that JSON and text are made of.

use anyhow::Context;
use hsl::{Array, Value, Vm};
use hsl_std::mime::MessageHandle;
use hsl_std::services::FileContent;
use mta_types::TransactionId;
use queue::message::DsnReturn;
use script_host::hooks::HookKind;
use script_host::hooks::dsn_options::SetDsn;
use script_host::hooks::eod::{CopyFacts, Queued, Variant, notify_text};
use script_host::hooks::eod_rcpt::{RecipientRun, deciding, is_deferred};
use script_host::hooks::old_functions::all_options;
use script_host::hooks::queue_scripts::{ERROR_DELAY, Notes, QueueExit};
use script_host::hooks::smtp_scripts::{Challenge, Passed};
use script_host::hooks::values::{as_data, put};
use script_host::hooks::verdict::HookVerdict;
use smtp::server::{Decision, ProxyAnswer, Verdict};

use super::Ending;
use super::changes::{self, Change};
use super::recorder::{Composed, Recorded};
use super::reply::{self, Answer};

/// What a script decided. The keys are those of `--json`.
pub(super) struct Report(pub(super) Array);

/// A decision in the manual's words.
struct Decided {
    /// The function: `Accept`, `Try` …
    verdict: &'static str,
    /// What it was given.
    options: Array,
    /// Why: a call, the end of the script, or its failure.
    because: &'static str,
    /// What the client hears.
    reply: Option<Vec<String>>,
    /// Whether queued copies become real.
    accepts: bool,
}

impl Report {
    /// Reads what the execution left behind.
    pub(super) fn new(
        kind: HookKind,
        id: TransactionId,
        ending: Ending,
        vm: &mut Vm,
        message: Option<&MessageHandle>,
        recorded: Recorded,
    ) -> Self {
        let error = match &ending {
            Ending::Failed(error) => Some(error.clone()),
            _ => None,
        };
        let (variants, in_line, decided) = match vm.take_state::<RecipientRun>() {
            Some(run) => decide_recipient(id, ending, run),
            None => {
                let queued = vm.take_state::<Queued>();
                let variants = queued.map(|queued| queued.variants).unwrap_or_default();
                let decided = decide(kind, id, ending, vm, !variants.is_empty());
                (variants, Vec::new(), decided)
            }
        };
        let mut out = Array::new();
        put(&mut out, "hook", kind.name());
        put(&mut out, "verdict", decided.verdict);
        put(&mut out, "because", decided.because);
        if let Some(error) = error {
            put(&mut out, "error", error);
        }
        if !decided.options.is_empty() {
            put(&mut out, "options", as_data(Value::Array(decided.options)));
        }
        if let Some(lines) = decided.reply {
            put(&mut out, "reply", Value::list(lines.into_iter().map(Value::from)));
        }
        if let Some(message) = message {
            let mut copies = Vec::new();
            for variant in &variants {
                copies.extend(of_variant(variant, message));
            }
            put(&mut out, if decided.accepts { "queued" } else { "dropped" }, Value::list(copies));
            if kind == HookKind::Eodrcpt {
                let at_once = in_line.iter().flat_map(|variant| of_variant(variant, message));
                put(&mut out, "in_line", Value::list(at_once));
            }
            let message = message.lock();
            let before = header_of(&**message.content());
            let now = message.message().output("");
            let changed = message.content_of(now);
            put(&mut out, "header", differences(&before, &header_of(&*changed)));
            put(&mut out, "size", changed.len() as f64);
        }
        let mails = recorded.mails.iter().map(of_mail);
        put(&mut out, "composed", Value::list(mails));
        let calls = recorded.calls.into_iter().map(|(name, arguments)| {
            Value::map([
                ("function", Value::from(name)),
                ("arguments", Value::list(arguments.into_iter().map(as_data))),
            ])
        });
        put(&mut out, "calls", Value::list(calls));
        if let Some(dsn) = vm.state::<SetDsn>().and_then(|set| set.0.as_deref()) {
            put(&mut out, "dsn", as_data(Value::Array(dsn.given().clone())));
        }
        if let Some(notes) = vm.state::<Notes>().filter(|notes| notes.changed) {
            let pairs = notes.metadata.iter().map(|(key, value)| (key, Value::from(value)));
            put(&mut out, "metadata", Value::map(pairs));
        }
        put(&mut out, "context", as_data(vm.variable("context").unwrap_or_default()));
        Self(out)
    }

    /// As JSON, one line.
    ///
    /// # Errors
    ///
    /// A value has no form in JSON.
    pub(super) fn to_json(&self) -> anyhow::Result<String> {
        hsl_std::value_to_json(&Value::Array(self.0.clone())).context("no form in JSON")
    }
}

/// Reads what was decided for one recipient. What is queued becomes real unless the client is to come
/// again.
fn decide_recipient(
    id: TransactionId,
    ending: Ending,
    mut run: RecipientRun,
) -> (Vec<Variant>, Vec<Variant>, Decided) {
    let because = because(&ending);
    let failed = match ending {
        Ending::Exit(_) => false,
        Ending::End => match run.deliver(Array::new()) {
            Ok(()) => false,
            Err(error) => {
                eprintln!("the end of the script cannot deliver: {error}");
                true
            }
        },
        Ending::Failed(_) => true,
    };
    if failed {
        run.fail(&[], 0);
    }
    let hostname = hsl_std::Services::default().hostname;
    let defer = Verdict::defer();
    let (verdict, word, options) = match deciding(&run.actions) {
        Some(action) => (&action.verdict, action.kind.name(), action.options.clone()),
        None => (&defer, "Done", Array::new()),
    };
    let is_queued = !run.queued.variants.is_empty();
    let answer = Answer::Verdict(verdict, None);
    let reply = reply::lines(HookKind::Eodrcpt, &answer, id, &hostname, is_queued);
    let accepts = !is_deferred(&run.actions);
    let decided = Decided { verdict: word, options, because, reply, accepts };
    let in_line = if decided.accepts { run.in_line } else { Vec::new() };
    (run.queued.variants, in_line, decided)
}

fn because(ending: &Ending) -> &'static str {
    match ending {
        Ending::Exit(_) => "decision",
        Ending::End => "end of script",
        Ending::Failed(_) => "script error",
    }
}

fn decide(kind: HookKind, id: TransactionId, ending: Ending, vm: &mut Vm, queued: bool) -> Decided {
    let because = because(&ending);
    let hostname = hsl_std::Services::default().hostname;
    let heard = |answer: Answer<'_>| reply::lines(kind, &answer, id, &hostname, queued);
    let plain =
        |verdict, options| Decided { verdict, options, because, reply: None, accepts: false };
    let exit = match ending {
        Ending::Exit(exit) => exit,
        Ending::End | Ending::Failed(_) => {
            let failed = matches!(ending, Ending::Failed(_));
            return match kind {
                HookKind::Predelivery if failed => {
                    let mut options = Array::new();
                    put(&mut options, "delay", ERROR_DELAY.as_secs_f64());
                    put(&mut options, "increment_retry", false);
                    plain("Queue", options)
                }
                HookKind::Predelivery => plain("Try", all_options(vm, Array::new())),
                HookKind::Postdelivery => plain("Default", Array::new()),
                HookKind::Disconnect => plain("Pass", Array::new()),
                HookKind::Proxy if !failed => plain("Pass", Array::new()),
                _ => {
                    let verdict = if failed { kind.failed() } else { kind.implicit() };
                    let reply = heard(Answer::Verdict(&verdict, None));
                    let word = if kind == HookKind::Proxy { "Reply" } else { word(&verdict) };
                    let options = match failed {
                        true => Array::new(),
                        false => all_options(vm, Array::new()),
                    };
                    Decided { reply, ..plain(word, options) }
                }
            };
        }
    };
    let exit = match exit.downcast::<HookVerdict>() {
        Ok(decided) => {
            let reply = heard(Answer::Verdict(&decided.verdict, Some(&decided)));
            let accepts = decided.verdict.decision == Decision::Accept;
            let word = word(&decided.verdict);
            let options = all_options(vm, decided.options);
            return Decided { reply, accepts, ..plain(word, options) };
        }
        Err(exit) => exit,
    };
    let exit = match exit.downcast::<QueueExit>() {
        Ok(decided) => {
            return match *decided {
                QueueExit::Try(options) => plain("Try", all_options(vm, options)),
                QueueExit::Queue(put_off) => plain("Queue", put_off.options().clone()),
                QueueExit::Retry(put_off) => plain("Retry", put_off.options().clone()),
                QueueExit::Bounce(removal) => plain("Bounce", removal.options),
                QueueExit::Delete(removal) => plain("Delete", removal.options),
                QueueExit::Default => plain("Default", Array::new()),
            };
        }
        Err(exit) => exit,
    };
    let exit = match exit.downcast::<ProxyAnswer>() {
        Ok(answer) => {
            let reply = heard(Answer::Proxy(&answer));
            let mut options = Array::new();
            let (verdict, next) = match &*answer {
                ProxyAnswer::Pass { command, next } => {
                    if let Some(command) = command {
                        put(&mut options, "command", Value::string(command));
                    }
                    ("Pass", *next)
                }
                ProxyAnswer::Reply { disconnect, next, .. } => {
                    put(&mut options, "disconnect", *disconnect);
                    ("Reply", *next)
                }
            };
            put(&mut options, "next", next);
            return Decided { reply, ..plain(verdict, options) };
        }
        Err(exit) => exit,
    };
    match exit.downcast::<Challenge>() {
        Ok(challenge) => {
            let reply = heard(Answer::Challenge(&challenge));
            let mut options = Array::new();
            put(&mut options, "disconnect", challenge.disconnect);
            Decided { reply, ..plain("Reply", options) }
        }
        Err(exit) => {
            debug_assert!(exit.is::<Passed>(), "no other function ends a script");
            plain("Pass", Array::new())
        }
    }
}

fn word(verdict: &Verdict) -> &'static str {
    match verdict.decision {
        Decision::Accept => "Accept",
        Decision::Reject => "Reject",
        Decision::Defer => "Defer",
    }
}

/// The copies of one content.
fn of_variant(variant: &Variant, message: &MessageHandle) -> Vec<Value> {
    let (before, after, len) = {
        let message = message.lock();
        let changed = message.content_of(variant.output.clone());
        (header_of(&**message.content()), header_of(&*changed), changed.len())
    };
    let mut out = Vec::with_capacity(variant.copies.len());
    for (copy, number) in variant.copies.iter().zip(1_u32..) {
        let mut value = of_copy(copy, &variant.transaction.to_string(), number);
        if let Some(subject) = &variant.subject {
            put(&mut value, "subject", subject.as_str());
        }
        put(&mut value, "size", len as f64);
        put(&mut value, "header", differences(&before, &after));
        out.push(Value::Array(value));
    }
    out
}

/// A message that the script composed.
fn of_mail(mail: &Composed) -> Value {
    let mut value = of_copy(&mail.copy, &mail.transaction, 1);
    put(&mut value, "size", mail.content.len() as f64);
    put(&mut value, "header", differences(b"", &header_of(&*mail.content)));
    Value::Array(value)
}

/// Envelope and options of a copy.
fn of_copy(copy: &CopyFacts, transaction: &str, number: u32) -> Array {
    let mut out = Array::new();
    put(&mut out, "transaction", transaction);
    put(&mut out, "queue", f64::from(number));
    put(&mut out, "sender", copy.sender.to_string());
    put(&mut out, "recipient", copy.recipient.to_string());
    put(&mut out, "transportid", copy.transportid.as_str());
    let mut options = Array::new();
    if let Some(jobid) = &copy.jobid {
        put(&mut options, "jobid", jobid.as_str());
    }
    if !copy.metadata.is_empty() {
        let pairs = copy.metadata.iter().map(|(key, value)| (key, Value::from(value)));
        put(&mut options, "metadata", Value::map(pairs));
    }
    if !copy.quotas.is_empty() {
        put(&mut options, "quotas", Value::list(copy.quotas.iter().map(|q| Value::from(&**q))));
    }
    if copy.hold {
        put(&mut options, "hold", true);
    }
    if !copy.delay.is_zero() {
        put(&mut options, "delay", copy.delay.as_secs_f64());
    }
    let mut dsn = Array::new();
    if let Some(envid) = &copy.envid {
        put(&mut dsn, "envid", &**envid);
    }
    if let Some(ret) = copy.ret {
        put(&mut dsn, "ret", if ret == DsnReturn::Headers { "HDRS" } else { "FULL" });
    }
    if let Some(notify) = notify_text(copy.notify) {
        put(&mut dsn, "notify", notify);
    }
    if let Some(orcpt) = &copy.orcpt {
        put(&mut dsn, "orcpt", &**orcpt);
    }
    if !dsn.is_empty() {
        put(&mut options, "dsn", Value::Array(dsn));
    }
    if !options.is_empty() {
        put(&mut out, "options", Value::Array(options));
    }
    out
}

/// Fields that are gone and fields that are new.
fn differences(before: &[u8], after: &[u8]) -> Value {
    Value::list(changes::of_headers(before, after).into_iter().map(|change| match change {
        Change::Removed(field) => Value::map([("removed", Value::from(field))]),
        Change::Added(field) => Value::map([("added", Value::from(field))]),
    }))
}

/// The start of a message up to its body. A message that cannot be read has none.
fn header_of(content: &dyn FileContent) -> Vec<u8> {
    let len = usize::try_from(content.len()).unwrap_or(usize::MAX);
    let mut octets = vec![0; len];
    let count = content.read_at(0, &mut octets).unwrap_or(0);
    octets.truncate(count);
    let body = mail_message::header::HeaderSection::parse(&octets).body_start();
    octets.truncate(body);
    octets
}
