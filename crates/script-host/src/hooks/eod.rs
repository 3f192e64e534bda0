//! What the end-of-data script queues.
//!
//! Copies that a script queues keep which pieces of the original, and which new octets, they consist
//! of; copies that agree in this, and in what a notification says about the whole message, are one
//! [`Variant`].

use std::sync::Arc;
use std::time::Duration;

use hsl::host::{CallContext, Registry, Thrown};
use hsl::{Array, Object, Value};
use hsl_std::Services;
use hsl_std::mime::{self, MessageHandle, PartRef, SharedMessage, mail_message_methods};
use hsl_std::services::MailToQueue;
use mail_message::Output;
use mta_types::{Address, JobId, TransactionId, TransportId};
use queue::message::{DsnNotify, DsnReturn};
use smtp::server::Verdict;

use super::{HookKind, HookSets, values, verdict};

/// Makes the ids of transactions.
pub type NewTransaction = Arc<dyn Fn() -> TransactionId + Send + Sync>;

/// What the script has queued so far; lives in the execution.
pub struct Queued {
    /// The connection's transaction; the first content that is queued gets it.
    pub transaction: TransactionId,
    /// Gives ids to further contents.
    pub new_transaction: NewTransaction,
    /// The copies by content.
    pub variants: Vec<Variant>,
    /// ENVID of the envelope.
    pub envid: Option<Box<str>>,
    /// RET of the envelope.
    pub ret: Option<DsnReturn>,
    /// For a `Date` field set by us: the same in all copies.
    pub date: String,
}

impl Queued {
    /// Takes a copy of the message as it is now; returns the transaction that it belongs to and its
    /// number there.
    pub fn add(&mut self, message: &SharedMessage, copy: CopyFacts) -> (TransactionId, u32) {
        let output = message.message().output(&self.date);
        let known = self.variants.iter().position(|variant| variant.takes(&output, &copy));
        let at = known.unwrap_or(self.variants.len());
        if known.is_none() {
            let is_first = self.variants.is_empty();
            let id = if is_first { self.transaction } else { (self.new_transaction)() };
            self.variants.push(Variant::new(message, output, id));
        }
        let Some(variant) = self.variants.get_mut(at) else { return (self.transaction, 0) };
        variant.copies.push(copy);
        (variant.transaction, u32::try_from(variant.copies.len()).unwrap_or(u32::MAX))
    }
}

/// Copies with equal content and equal ENVID and RET.
pub struct Variant {
    /// The transaction that they share.
    pub transaction: TransactionId,
    /// The content.
    pub output: Output,
    /// The decoded subject.
    pub subject: Option<String>,
    /// One for each recipient.
    pub copies: Vec<CopyFacts>,
}

impl Variant {
    /// The message as it is now.
    pub fn new(message: &SharedMessage, output: Output, transaction: TransactionId) -> Self {
        let subject = if output.is_original() {
            message.subject()
        } else {
            // A message that cannot be read now fails when it is stored, where it can be told.
            let changed = SharedMessage::from_content(message.content_of(output.clone()));
            changed.ok().and_then(|changed| changed.subject())
        };
        Self { transaction, output, subject, copies: Vec::new() }
    }

    /// Whether a copy of some content belongs here: ENVID and RET are facts of the transaction.
    fn takes(&self, output: &Output, copy: &CopyFacts) -> bool {
        let first = self.copies.first();
        self.output == *output
            && first.is_none_or(|first| first.envid == copy.envid && first.ret == copy.ret)
    }
}

/// What a queued copy carries, before its transaction is known.
#[derive(Clone, Debug)]
pub struct CopyFacts {
    /// The sender.
    pub sender: Address,
    /// The recipient.
    pub recipient: Address,
    /// Which transport delivers it.
    pub transportid: TransportId,
    /// The job it belongs to.
    pub jobid: Option<JobId>,
    /// Notes by name.
    pub metadata: queue::Metadata,
    /// Names of quotas that count it.
    pub quotas: Vec<Box<str>>,
    /// Whether it is held.
    pub hold: bool,
    /// Time to the first attempt.
    pub delay: Duration,
    /// When the sender wants a notification (RFC 3461 §4.1).
    pub notify: DsnNotify,
    /// The original recipient (RFC 3461 §4.2).
    pub orcpt: Option<Box<str>>,
    /// The sender's name for the envelope (RFC 3461 §4.4).
    pub envid: Option<Box<str>>,
    /// How much a notification returns (RFC 3461 §4.3).
    pub ret: Option<DsnReturn>,
}

impl CopyFacts {
    /// A copy due at once, with nothing but the necessary.
    pub fn new(sender: Address, recipient: Address, transportid: TransportId) -> Self {
        Self {
            sender,
            recipient,
            transportid,
            jobid: None,
            metadata: queue::Metadata::default(),
            quotas: Vec::new(),
            hold: false,
            delay: Duration::ZERO,
            notify: DsnNotify::UNSET,
            orcpt: None,
            envid: None,
            ret: None,
        }
    }

    /// Reads what a script says about a message of its own.
    ///
    /// # Errors
    ///
    /// Says which argument is wrong.
    pub fn of(mail: &MailToQueue) -> Result<Self, Thrown> {
        let sender = values::parse_address(&mail.sender)?;
        let recipient = values::parse_recipient(&mail.recipient)?;
        let mut copy = Self::new(sender, recipient, mail.transportid.as_str().into());
        read_options(&mut copy, &mail.options)?;
        Ok(copy)
    }

    /// Takes NOTIFY and ORCPT over (RFC 3461 §4).
    pub fn read_recipient_params(&mut self, params: &smtp::parameters::Parameters) {
        if let Some(notify) = params.value("NOTIFY") {
            self.notify = parse_notify(notify);
        }
        self.orcpt = params.value("ORCPT").map(Box::from);
    }
}

/// Reads a RET value; what is not `HDRS` returns the whole message.
pub fn parse_ret(text: &str) -> DsnReturn {
    if text.eq_ignore_ascii_case("HDRS") { DsnReturn::Headers } else { DsnReturn::Full }
}

/// Reads a NOTIFY value; unknown words are passed over.
pub fn parse_notify(text: &str) -> DsnNotify {
    text.split(',').fold(DsnNotify::UNSET, |notify, word| {
        match word.trim().to_ascii_uppercase().as_str() {
            "NEVER" => notify.union(DsnNotify::NEVER),
            "SUCCESS" => notify.union(DsnNotify::SUCCESS),
            "FAILURE" => notify.union(DsnNotify::FAILURE),
            "DELAY" => notify.union(DsnNotify::DELAY),
            _ => notify,
        }
    })
}

/// The words of a NOTIFY value; `None` when it was not given.
pub fn notify_text(notify: DsnNotify) -> Option<String> {
    if notify == DsnNotify::UNSET {
        return None;
    }
    let words = [
        (DsnNotify::NEVER, "NEVER"),
        (DsnNotify::SUCCESS, "SUCCESS"),
        (DsnNotify::FAILURE, "FAILURE"),
        (DsnNotify::DELAY, "DELAY"),
    ];
    let chosen: Vec<&str> =
        words.iter().filter(|(bit, _)| notify.contains(*bit)).map(|(_, word)| *word).collect();
    Some(chosen.join(","))
}

/// Name of the class of `$arguments["mail"]`.
const CLASS: &str = "EODMailMessage";

pub(super) fn register(registry: &mut Registry, services: &Services) {
    verdict::register(registry, HookKind::Eod);
    hsl_std::register_dmarc(registry, services);
    registry.class(CLASS, "The message that came in, at the end of its data.", |class| {
        mail_message_methods(class, services, mime::of_this);
        class.method(
            "queue(string or array sender, string or array recipient, string transportid, \
             array options = []) -> array",
            "Queues a copy with all changes made so far; it becomes real when the script accepts.",
            queue,
        );
    });
}

/// An acceptance as the client hears it: with the usual text, unless the script gave one.
pub fn queued_as(verdict: Verdict, transaction: TransactionId) -> Verdict {
    if verdict.reply.lines.is_empty() {
        verdict.with_text(&format!("Ok: queued as {transaction}"))
    } else {
        verdict
    }
}

/// `$arguments["mail"]`.
pub fn mail(sets: &HookSets, message: MessageHandle) -> Option<Value> {
    let class = sets.set(HookKind::Eod).class(CLASS)?;
    Some(Value::Object(Object::new(class, PartRef::top(message))))
}

fn queue(context: &mut CallContext<'_>, args: &mut [Value]) -> Result<Value, Thrown> {
    let [sender, recipient, transport, options] = args else {
        return Err(Thrown::new("queue() expects a sender, a recipient and a transport"));
    };
    let sender = values::parse_address(sender)?;
    let recipient = values::parse_recipient(recipient)?;
    let transportid: TransportId = transport.as_text().unwrap_or_default().into();
    let options = verdict::array(Some(options));
    let part = mime::of_this(context)?;
    let message = part.message.lock();
    let Some(queued) = context.state::<Queued>() else {
        return Err(Thrown::new("queue() is available in the end-of-data script only"));
    };
    let mut copy = CopyFacts::new(sender, recipient, transportid);
    copy.envid = queued.envid.clone();
    copy.ret = queued.ret;
    read_options(&mut copy, &options)?;
    let (transaction, number) = queued.add(&message, copy);
    Ok(Value::map([
        ("transaction", Value::from(transaction.to_string())),
        ("queue", Value::from(f64::from(number))),
    ]))
}

/// The options of `queue`, the same for every class that queues.
///
/// # Errors
///
/// An option of the wrong kind, by name.
pub fn read_options(copy: &mut CopyFacts, options: &Array) -> Result<(), Thrown> {
    copy.jobid = verdict::text_option(options, "jobid")?.map(Into::into);
    copy.hold = verdict::flag(options, "hold");
    if let Some(delay) = verdict::seconds_option(options, "delay")? {
        copy.delay = delay;
    }
    if let Some(pairs) = verdict::array_option(options, "metadata")? {
        copy.metadata = values::metadata(pairs);
    }
    if let Some(names) = verdict::texts_option(options, "quotas")? {
        copy.quotas = names.into_iter().map(Into::into).collect();
    }
    if let Some(dsn) = verdict::array_option(options, "dsn")? {
        let dsn = EnvelopeDsn::read(dsn)?;
        (copy.envid, copy.ret, copy.orcpt) = (dsn.envid, dsn.ret, dsn.orcpt);
        copy.notify = dsn.notify.unwrap_or(copy.notify);
    }
    Ok(())
}

/// What an option `dsn` says in place of the envelope's parameters (RFC 3461 §4).
#[derive(Clone, Debug, Default)]
pub struct EnvelopeDsn {
    /// The sender's name for the envelope.
    pub envid: Option<Box<str>>,
    /// How much a notification returns.
    pub ret: Option<DsnReturn>,
    /// When the sender wants a notification.
    pub notify: Option<DsnNotify>,
    /// The original recipient.
    pub orcpt: Option<Box<str>>,
}

impl EnvelopeDsn {
    /// Reads the option.
    ///
    /// # Errors
    ///
    /// A value of the wrong kind, or a word that the standard does not have.
    pub fn read(dsn: &Array) -> Result<Self, Thrown> {
        let text = |key: &str| {
            let text = verdict::text_option(dsn, key)?;
            Ok::<_, Thrown>(text.filter(|text| !text.is_empty()))
        };
        // As they come from the envelope, so as text; a list of words is accepted as well.
        let words = match verdict::option(dsn, "notify") {
            Some(Value::Array(_)) => verdict::texts_option(dsn, "notify")?.map(|w| w.join(",")),
            _ => text("notify")?,
        };
        let notify = words.map(|words| {
            let is_known = |word: &str| parse_notify(word) != DsnNotify::UNSET;
            match words.split(',').all(is_known) {
                true => Ok(parse_notify(&words)),
                false => Err(Thrown::new(format!("option notify: {words} is unknown"))),
            }
        });
        let ret = text("ret")?.map(|ret| match parse_ret(&ret) {
            DsnReturn::Full if !ret.eq_ignore_ascii_case("FULL") => {
                Err(Thrown::new(format!("option ret: {ret} is unknown")))
            }
            known => Ok(known),
        });
        Ok(Self {
            envid: text("envid")?.map(Into::into),
            ret: ret.transpose()?,
            notify: notify.transpose()?,
            orcpt: text("orcpt")?.map(Into::into),
        })
    }
}
