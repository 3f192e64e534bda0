//! What scripts of the queue decide: functions of `predelivery` and `postdelivery`.

use std::sync::Arc;
use std::time::Duration;

use hsl::host::{CallContext, NativeStep, Registry, Thrown};
use hsl::{Array, Value};
use hsl_std::Services;
use hsl_std::keys::Keys;
use queue::Metadata;

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
}

impl PutOff {
    /// Reads the options of a call that puts a message off.
    pub(super) fn read(
        context: &mut CallContext<'_>,
        options: Array,
        keys: &dyn Keys,
    ) -> Result<Self, Thrown> {
        let dsn = Arc::new(DsnOptions::read(context, &options, keys)?);
        Ok(Self { options, dsn })
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

fn removal(
    context: &mut CallContext<'_>,
    args: &mut [Value],
    keys: &dyn Keys,
) -> Result<Removal, Thrown> {
    let options = verdict::array(args.first_mut());
    let dsn = Arc::new(DsnOptions::read(context, &options, keys)?);
    Ok(Removal { reason: verdict::text(&options, "reason"), dsn, options })
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
