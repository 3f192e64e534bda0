//! What the script of one recipient decides at the end of data.
//!
//! The script runs once for each recipient. What it decides is an [`Action`] each time; `Deliver` and
//! `Quarantine` also make a copy. The client hears one reply for all: that of the [`deciding`] action.

use std::net::IpAddr;
use std::time::Duration;

use hsl::host::{CallContext, NativeStep, Registry, Thrown};
use hsl::{Array, Key, Value};
use hsl_std::mime::{MessageHandle, PartRef};
use hsl_std::{Arrival, Services};
use mta_types::{Address, TransactionId, TransportId};
use smtp::parameters::Parameters;
use smtp::server::{Decision, Verdict};

use super::eod::{CopyFacts, Queued, Variant, read_options};
use super::old_functions::tls_items;
use super::values::{RECIPIENT, SENDER};
use super::{header_functions, values, verdict};

/// The variables of the script beside `$context`.
pub const VARIABLES: &[&str] = &[
    "senderip",
    "senderport",
    "serverip",
    "serverport",
    "serverid",
    "senderhelo",
    "tlsstarted",
    "saslauthed",
    "saslusername",
    "messageid",
    "sender",
    "senderlocalpart",
    "senderdomain",
    "senderparams",
    "recipientdomains",
    "recipients",
    "recipient",
    "recipientlocalpart",
    "recipientdomain",
    "recipientparams",
    "transportid",
    "actionid",
];

/// What is decided for a recipient. The order is that in which the reply is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ActionKind {
    /// Refused for good.
    Reject,
    /// Refused for now.
    Defer,
    /// Held in the queue.
    Quarantine,
    /// Dropped.
    Delete,
    /// Queued, or delivered at once.
    Deliver,
}

impl ActionKind {
    /// The manual's function.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Reject => "Reject",
            Self::Defer => "Defer",
            Self::Quarantine => "Quarantine",
            Self::Delete => "Delete",
            Self::Deliver => "Deliver",
        }
    }
}

/// One decision of a script.
#[derive(Clone)]
pub struct Action {
    /// What happens to the message.
    pub kind: ActionKind,
    /// What the client hears if no action of another recipient goes first.
    pub verdict: Verdict,
    /// The options as given.
    pub options: Array,
}

/// Whether the client hears 4yz and so is to come again. It will send the message to all recipients
/// then, so nothing of what was made becomes real (RFC 5321 §4.2.5).
pub fn is_deferred(actions: &[Action]) -> bool {
    deciding(actions).is_none_or(|action| {
        let verdict = &action.verdict;
        let code = verdict.reply.code.map(|code| code / 100);
        match (verdict.decision, code) {
            (Decision::Accept, _) => false,
            (_, Some(4)) => true,
            (_, Some(5)) => false,
            (decision, _) => decision == Decision::Defer,
        }
    })
}

/// The action whose reply the client hears: the first one of the kind that comes first.
pub fn deciding(actions: &[Action]) -> Option<&Action> {
    actions.iter().min_by_key(|action| action.kind)
}

/// A recipient and what has been decided so far; lives in the execution.
pub struct RecipientRun {
    /// The message of this recipient: other recipients do not see what is changed here.
    pub message: MessageHandle,
    /// The copies of all recipients so far.
    pub queued: Queued,
    /// Copies that are delivered while the client waits.
    pub in_line: Vec<Variant>,
    /// The sender.
    pub sender: Address,
    /// The recipient.
    pub recipient: Address,
    /// Parameters of RCPT TO.
    pub params: Parameters,
    /// Which transport delivers.
    pub transportid: Option<TransportId>,
    /// Time to the first attempt.
    pub delay: Duration,
    /// Notes, which the recipients behind this one begin with.
    pub metadata: queue::Metadata,
    /// Number of the next action, from 1, all recipients counted.
    pub actionid: u32,
    /// `$connection["tls"]`, where TLS is on.
    pub tls: Option<Array>,
    /// What was decided for this recipient.
    pub actions: Vec<Action>,
}

/// The script ended by a function: what it decided is in its [`RecipientRun`].
pub struct RecipientDone;

impl RecipientRun {
    /// `Deliver`, as a script calls it and as the end of a script stands for it.
    ///
    /// # Errors
    ///
    /// An option of the wrong kind, or no transport.
    pub fn deliver(&mut self, options: Array) -> Result<(), Thrown> {
        let reason = options.get_text("reason").cloned().unwrap_or_default();
        let decided = verdict::finish(Decision::Accept, &reason, options)?;
        let mut copy = self.copy(&decided.options)?;
        copy.hold = false;
        if flag(&decided.options, "queue", true) {
            self.queued.add(&self.message.lock(), copy);
        } else {
            let message = self.message.lock();
            let output = message.message().output(&self.queued.date);
            let mut variant = Variant::new(&message, output, self.queued.transaction);
            variant.copies.push(copy);
            self.in_line.push(variant);
        }
        self.act(ActionKind::Deliver, decided.verdict, decided.options);
        Ok(())
    }

    /// What the failure of the script stands for: nothing of what it made becomes real.
    pub fn fail(&mut self, queued_before: &[usize], in_line_before: usize) {
        for (variant, count) in self.queued.variants.iter_mut().zip(queued_before) {
            variant.copies.truncate(*count);
        }
        self.queued.variants.truncate(queued_before.len());
        self.in_line.truncate(in_line_before);
        self.actions.clear();
        self.act(ActionKind::Defer, Verdict::defer(), Array::new());
    }

    fn quarantine(&mut self, id: &str, options: Array) -> Result<(), Thrown> {
        let is_refused = flag(&options, "reject", true);
        let decision = if is_refused { Decision::Reject } else { Decision::Accept };
        let reason = options.get_text("reason").cloned().unwrap_or_default();
        let mut decided = verdict::finish(decision, &reason, options)?;
        if is_refused && decided.verdict.reply.code.is_none() {
            decided.verdict.reply.code = Some(QUARANTINED);
        }
        let mut copy = self.copy(&decided.options)?;
        copy.hold = true;
        copy.delay = Duration::ZERO;
        if copy.metadata.get(QUARANTINE_ID).is_none() {
            copy.metadata = copy.metadata.merged([(QUARANTINE_ID, id)]);
        }
        self.queued.add(&self.message.lock(), copy);
        self.act(ActionKind::Quarantine, decided.verdict, decided.options);
        Ok(())
    }

    /// The copy that options ask for.
    fn copy(&self, options: &Array) -> Result<CopyFacts, Thrown> {
        let recipient = match options.get_text("recipient") {
            None | Some(Value::None) => self.recipient.clone(),
            Some(value) => values::parse_recipient(value)?,
        };
        let transport = verdict::text_option(options, "transportid")?.map(Into::into);
        let transport = transport.or_else(|| self.transportid.clone());
        let transport = transport.ok_or_else(|| Thrown::new("there is no transport"))?;
        let mut copy = CopyFacts::new(self.sender.clone(), recipient, transport);
        copy.envid.clone_from(&self.queued.envid);
        copy.ret = self.queued.ret;
        copy.read_recipient_params(&self.params);
        copy.delay = self.delay;
        read_options(&mut copy, options)?;
        copy.metadata = self.metadata.merged(&copy.metadata);
        Ok(copy)
    }

    fn act(&mut self, kind: ActionKind, verdict: Verdict, options: Array) {
        self.actions.push(Action { kind, verdict, options });
        self.actionid = self.actionid.saturating_add(1);
    }

    /// The variables of the transaction and of the recipient.
    pub fn variables(&self, recipients: &[Address]) -> Vec<(&'static str, Value)> {
        let mut domains: Vec<&str> = Vec::new();
        for recipient in recipients {
            if !domains.contains(&recipient.domain()) {
                domains.push(recipient.domain());
            }
        }
        let mut out = vec![
            ("messageid", Value::from(self.queued.transaction.to_string())),
            ("recipientdomains", Value::list(domains.into_iter().map(Value::from))),
            ("recipients", Value::list(recipients.iter().map(|r| Value::from(r.to_lowercase())))),
            ("recipientparams", values::parameters(&self.params)),
            ("transportid", transport_value(self.transportid.as_ref())),
            ("actionid", Value::from(f64::from(self.actionid))),
        ];
        out.extend(values::address_forms(SENDER, &self.sender));
        out.extend(values::address_forms(RECIPIENT, &self.recipient));
        out
    }

    /// The id of the transaction.
    pub const fn transaction(&self) -> TransactionId {
        self.queued.transaction
    }
}

/// The variables that are read off `$connection` of other hooks.
pub fn connection_variables(connection: &Array) -> Vec<(&'static str, Value)> {
    let part = |key: &str, part: &str| match connection.get_text(key) {
        Some(Value::Array(parts)) => parts.get_text(part).cloned(),
        _ => None,
    };
    let text = |value: Option<Value>| value.unwrap_or_else(|| Value::from(""));
    let fact = |key: &str| connection.get_text(key).cloned();
    let number = |value: Option<Value>| value.unwrap_or(Value::Number(0.0));
    vec![
        ("senderip", text(fact("remoteip"))),
        ("senderport", number(fact("remoteport"))),
        ("serverip", text(fact("localip"))),
        ("serverport", number(fact("localport"))),
        ("serverid", text(fact("serverid"))),
        ("senderhelo", text(part("helo", "host"))),
        ("tlsstarted", Value::Bool(fact("tls").is_some())),
        ("saslauthed", Value::Bool(fact("auth").is_some())),
        ("saslusername", text(part("auth", "username"))),
    ]
}

/// `$connection["tls"]`, for [`RecipientRun::tls`].
pub fn tls_of(connection: &Array) -> Option<Array> {
    match connection.get_text("tls") {
        Some(Value::Array(tls)) => Some(tls.clone()),
        _ => None,
    }
}

/// How many copies each content has: what [`RecipientRun::fail`] goes back to.
pub fn counts(variants: &[Variant]) -> Vec<usize> {
    variants.iter().map(|variant| variant.copies.len()).collect()
}

pub(super) fn register(registry: &mut Registry, services: &Services) {
    hsl_std::register_dmarc(registry, services);
    register_actions(registry);
    register_changes(registry);
    header_functions::register(registry, |context| Ok(run(context)?.message.clone()));
    registry.function(
        "GetMailMessage() -> MailMessage",
        "The message; its changes are for this recipient.",
        |context: &mut CallContext<'_>, _| {
            let message = run(context)?.message.clone();
            context.instance_of("MailMessage", PartRef::top(message))
        },
    );
    registry.function(
        "GetTLS(array options = []) -> array",
        "How the connection is encrypted; option fingerprint names a hash of the client's certificate.",
        get_tls,
    );
}

fn register_actions(registry: &mut Registry) {
    registry.function(
        "Deliver(array options = []) -> none",
        "Queues the message for the recipient and ends the script.",
        |context, args| {
            let options = verdict::array(args.first_mut());
            let is_last = flag(&options, "done", true);
            run(context)?.deliver(options)?;
            Ok::<_, Thrown>(acted(context, is_last))
        },
    );
    for (signature, doc, kind, decision) in [
        (
            "Reject(string or array reason = none, array options = []) -> none",
            "Refuses the message for good and ends the script.",
            ActionKind::Reject,
            Decision::Reject,
        ),
        (
            "Defer(string or array reason = none, array options = []) -> none",
            "Refuses the message for now and ends the script.",
            ActionKind::Defer,
            Decision::Defer,
        ),
    ] {
        registry.function(signature, doc, move |context, args| {
            let reason = args.first_mut().map(Value::take).unwrap_or_default();
            let options = verdict::array(args.get_mut(1));
            let decided = verdict::finish(decision, &reason, options)?;
            run(context)?.act(kind, decided.verdict, decided.options);
            Ok::<_, Thrown>(acted(context, true))
        });
    }
    registry.function(
        "Delete() -> none",
        "Drops the message for the recipient and ends the script.",
        |context, _| {
            run(context)?.act(ActionKind::Delete, Verdict::accept(), Array::new());
            Ok::<_, Thrown>(acted(context, true))
        },
    );
    registry.function(
        "Quarantine(string quarantineid, array options = []) -> none",
        "Holds a copy in the queue and ends the script.",
        |context, args| {
            let id = args.first().map(values::text).unwrap_or_default();
            let options = verdict::array(args.get_mut(1));
            let is_last = flag(&options, "done", true);
            run(context)?.quarantine(&id, options)?;
            Ok::<_, Thrown>(acted(context, is_last))
        },
    );
    registry.function("Done() -> none", "Ends the script without a further action.", |_, _| {
        NativeStep::exit(RecipientDone)
    });
}

/// Functions that change the recipient's arguments.
fn register_changes(registry: &mut Registry) {
    for (signature, doc, names) in [
        (
            "SetRecipient(string or array recipient) -> string or none",
            "Another recipient.",
            RECIPIENT,
        ),
        ("SetSender(string or array sender) -> string or none", "Another sender.", SENDER),
    ] {
        registry.function(signature, doc, move |context: &mut CallContext<'_>, args| {
            let given = args.first_mut().map(Value::take).unwrap_or_default();
            let is_sender = names == SENDER;
            let read = if is_sender { values::parse_address } else { values::parse_recipient };
            let Ok(address) = read(&given) else { return Ok::<_, Thrown>(Value::None) };
            for (name, value) in values::address_forms(names, &address) {
                context.set_variable(name, value);
            }
            let text = Value::from(address.to_lowercase());
            if is_sender {
                if let Some(arrival) = context.state::<Arrival>() {
                    address.domain().clone_into(&mut arrival.domain);
                }
                run(context)?.sender = address;
            } else {
                run(context)?.recipient = address;
            }
            Ok(text)
        });
    }
    registry.function(
        "SetMailTransport(string id) -> none",
        "Another transport.",
        |context: &mut CallContext<'_>, args| {
            let id = TransportId::from(args.first().map(values::text).unwrap_or_default());
            context.set_variable("transportid", transport_value(Some(&id)));
            run(context)?.transportid = Some(id);
            Ok::<_, Thrown>(Value::None)
        },
    );
    registry.function(
        "SetDelayedDeliver(number delay) -> none",
        "Seconds to the first attempt.",
        |context: &mut CallContext<'_>, args| {
            let seconds = args.first().and_then(Value::as_number).unwrap_or(0.0);
            run(context)?.delay = Duration::try_from_secs_f64(seconds.max(0.0))
                .map_err(|_| Thrown::new("the delay is too large"))?;
            Ok::<_, Thrown>(Value::None)
        },
    );
    registry.function(
        "SetMetaData(array metadata) -> none",
        "Notes for this recipient and those behind it.",
        |context: &mut CallContext<'_>, args| {
            if let Some(Value::Array(pairs)) = args.first() {
                run(context)?.metadata = values::metadata(pairs);
            }
            Ok::<_, Thrown>(Value::None)
        },
    );
    registry.function(
        "GetMetaData() -> array",
        "What was noted.",
        |context: &mut CallContext<'_>, _| {
            let pairs = run(context)?.metadata.iter();
            let pairs: Array =
                pairs.map(|(key, value)| (Key::from(key), Value::from(value))).collect();
            Ok::<_, Thrown>(Value::Array(pairs))
        },
    );
    registry.function(
        "SetSenderIP(string ip) -> string or none",
        "Another address of the client, for scanners.",
        |context: &mut CallContext<'_>, args| {
            let text = args.first().map(values::text).unwrap_or_default();
            let Ok(ip) = text.parse::<IpAddr>() else { return Value::None };
            if let Some(arrival) = context.state::<Arrival>() {
                arrival.ip = Some(ip);
            }
            context.set_variable("senderip", Value::from(ip.to_string()));
            Value::from(ip.to_string())
        },
    );
    registry.function(
        "SetSenderHELO(string hostname) -> string or none",
        "Another name that the client greeted with, for scanners.",
        |context: &mut CallContext<'_>, args| {
            let name = args.first().map(values::text).unwrap_or_default();
            if !values::is_hello_name(&name) {
                return Value::None;
            }
            if let Some(arrival) = context.state::<Arrival>() {
                arrival.helo.clone_from(&name);
            }
            context.set_variable("senderhelo", Value::from(name.as_str()));
            Value::from(name)
        },
    );
}

fn get_tls(context: &mut CallContext<'_>, args: &mut [Value]) -> Result<Value, Thrown> {
    let options = verdict::array(args.first_mut());
    tls_items(run(context)?.tls.as_ref(), &options)
}

/// The recipient of the execution.
fn run<'a>(context: &'a mut CallContext<'_>) -> Result<&'a mut RecipientRun, Thrown> {
    context
        .state()
        .ok_or_else(|| Thrown::new("this is available in end-of-data scripts of recipients only"))
}

/// After an action: the next one has the next number.
fn acted(context: &mut CallContext<'_>, is_last: bool) -> NativeStep {
    let next = context.state::<RecipientRun>().map_or(1, |run| run.actionid);
    context.set_variable("actionid", Value::from(f64::from(next)));
    if is_last { NativeStep::exit(RecipientDone) } else { NativeStep::Return(Value::None) }
}

fn transport_value(id: Option<&TransportId>) -> Value {
    id.map_or(Value::None, |id| Value::from(id.as_str()))
}

/// A boolean option with a default.
fn flag(options: &Array, key: &str, default: bool) -> bool {
    options.get_text(key).filter(|value| !value.is_none()).map_or(default, Value::is_truthy)
}

/// The manual's code for what is held and refused.
const QUARANTINED: u16 = 500;

/// Under this name a held copy notes the quarantine that the script named.
const QUARANTINE_ID: &str = "quarantineid";
