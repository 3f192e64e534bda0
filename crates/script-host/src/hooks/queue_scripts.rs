//! What scripts of the queue decide: functions of `predelivery` and `postdelivery`.

use std::sync::Arc;
use std::time::Duration;

use hsl::host::{CallContext, NativeStep, Registry, Thrown};
use hsl::{Array, Value};
use hsl_std::Services;
use hsl_std::keys::Keys;
use queue::{Metadata, Requeue, RetryCount, Rewrite};

use super::dsn_options::DsnOptions;
use super::{values, verdict};

/// The manual's delay after an error of the `predelivery` script.
pub const ERROR_DELAY: Duration = Duration::from_secs(300);

/// What a script says when it takes a message out of the queue.
pub struct Removal {
    /// In words, for the log and the notification.
    pub reason: Option<String>,
    /// How the sender is told.
    pub dsn: Arc<DsnOptions>,
    /// The options as given.
    pub options: Array,
}

/// What a script says when it puts a message off.
pub struct PutOff {
    options: Array,
    dsn: Arc<DsnOptions>,
    /// `None` is the usual one.
    delay: Option<Duration>,
    requeue: Requeue,
}

impl PutOff {
    /// Reads the options of a call that puts a message off.
    ///
    /// # Errors
    ///
    /// The message is delivered, or an option is of the wrong kind.
    pub(super) fn read(
        context: &mut CallContext<'_>,
        options: Array,
        keys: &dyn Keys,
    ) -> Result<Self, Thrown> {
        has_a_future(context)?;
        let dsn = Arc::new(DsnOptions::read(context, &options, keys)?);
        let is_counted = verdict::option(&options, "increment_retry").is_none_or(Value::is_truthy);
        let quotas = verdict::texts_option(&options, "quotas")?;
        let requeue = Requeue {
            delay: Duration::ZERO,
            hold: verdict::flag(&options, "hold"),
            retrycount: if verdict::flag(&options, "reset_retry") {
                RetryCount::Reset
            } else if is_counted {
                RetryCount::Increment
            } else {
                RetryCount::Keep
            },
            reason: verdict::text_option(&options, "reason")?.map(Into::into),
            rewrite: Rewrite {
                transportid: verdict::text_option(&options, "transportid")?.map(Into::into),
                quotas: quotas.map(|names| names.into_iter().map(Into::into).collect()),
                ..Rewrite::default()
            },
        };
        let delay = verdict::seconds_option(&options, "delay")?;
        Ok(Self { options, dsn, delay, requeue })
    }

    /// What the queue is to do; without a delay the `usual` one.
    pub fn requeue(&self, metadata: Option<Metadata>, usual: impl FnOnce() -> Duration) -> Requeue {
        let mut requeue = self.requeue.clone();
        requeue.delay = self.delay.unwrap_or_else(usual);
        requeue.rewrite.metadata = metadata;
        requeue
    }

    /// The options themselves.
    pub const fn options(&self) -> &Array {
        &self.options
    }

    /// How the sender is told of the delay, when he is to be told.
    pub fn notice(&self) -> Option<Arc<DsnOptions>> {
        verdict::flag(&self.options, "dsn_delayed").then(|| Arc::clone(&self.dsn))
    }
}

/// How a queue script ended.
pub enum QueueExit {
    /// Attempt delivery with these settings.
    Try(Array),
    /// Put the message off.
    Queue(PutOff),
    /// Put the message off while retries are left.
    Retry(PutOff),
    /// Give the message up and tell the sender.
    Bounce(Removal),
    /// Remove the message silently.
    Delete(Removal),
    /// What would happen without a script.
    Default,
}

/// Metadata of the message, in the execution.
pub struct Notes {
    /// String values by name.
    pub metadata: Metadata,
    /// Whether the script set them.
    pub changed: bool,
    /// The message is delivered: nothing else can become of it.
    pub is_delivered: bool,
}

impl Notes {
    /// The notes at the start of a script.
    pub const fn of(metadata: Metadata) -> Self {
        Self { metadata, changed: false, is_delivered: false }
    }
}

pub(super) fn register_predelivery(registry: &mut Registry, services: &Services) {
    registry.function(
        "Try(array options = []) -> none",
        "Attempts delivery with these settings and ends the script.",
        |_, args| NativeStep::exit(QueueExit::Try(verdict::array(args.first_mut()))),
    );
    register_common(registry, services);
}

pub(super) fn register_postdelivery(registry: &mut Registry, services: &Services) {
    register_common(registry, services);
    registry.function(
        "Default() -> none",
        "Does what would happen without a script and ends the script.",
        |_, _| NativeStep::exit(QueueExit::Default),
    );
}

/// Functions that both queue hooks have.
fn register_common(registry: &mut Registry, services: &Services) {
    let keys = Arc::clone(&services.keys);
    registry.function(
        "Queue(array options = []) -> none",
        "Puts the message off and ends the script.",
        move |context: &mut CallContext<'_>, args: &mut [Value]| {
            let put_off = PutOff::read(context, verdict::array(args.first_mut()), &*keys)?;
            Ok::<_, Thrown>(NativeStep::exit(QueueExit::Queue(put_off)))
        },
    );
    let keys = Arc::clone(&services.keys);
    registry.function(
        "Bounce(array options = []) -> none",
        "Gives the message up, tells the sender and ends the script.",
        move |context: &mut CallContext<'_>, args: &mut [Value]| {
            let removal = removal(context, args, &*keys)?;
            Ok::<_, Thrown>(NativeStep::exit(QueueExit::Bounce(removal)))
        },
    );
    let keys = Arc::clone(&services.keys);
    registry.function(
        "Delete(array options = []) -> none",
        "Removes the message silently and ends the script.",
        move |context: &mut CallContext<'_>, args: &mut [Value]| {
            let removal = removal(context, args, &*keys)?;
            Ok::<_, Thrown>(NativeStep::exit(QueueExit::Delete(removal)))
        },
    );
    registry.function(
        "SetMetaData(array metadata) -> none",
        "Notes string keys and values on the message, kept for the next attempt.",
        set_metadata,
    );
    registry.function(
        "GetMetaData() -> array",
        "What was noted on the message.",
        |context: &mut CallContext<'_>, _| -> Value {
            let Some(notes) = context.state::<Notes>() else { return Value::Array(Array::new()) };
            Value::map(notes.metadata.iter().map(|(key, value)| (key, Value::from(value))))
        },
    );
}

/// The manual makes it an error of the script to decide about a message that is delivered.
fn has_a_future(context: &mut CallContext<'_>) -> Result<(), Thrown> {
    match context.state::<Notes>() {
        Some(notes) if notes.is_delivered => Err(Thrown::new("the message is delivered already")),
        _ => Ok(()),
    }
}

fn removal(
    context: &mut CallContext<'_>,
    args: &mut [Value],
    keys: &dyn Keys,
) -> Result<Removal, Thrown> {
    has_a_future(context)?;
    let options = verdict::array(args.first_mut());
    let dsn = Arc::new(DsnOptions::read(context, &options, keys)?);
    Ok(Removal { reason: verdict::text_option(&options, "reason")?, dsn, options })
}

fn set_metadata(context: &mut CallContext<'_>, args: &mut [Value]) -> Result<Value, Thrown> {
    let metadata = match args.first() {
        Some(Value::Array(array)) => values::metadata(array),
        _ => Metadata::default(),
    };
    let Some(notes) = context.state::<Notes>() else {
        return Err(Thrown::new("SetMetaData() is available in queue scripts only"));
    };
    notes.metadata = metadata;
    notes.changed = true;
    Ok(Value::None)
}
