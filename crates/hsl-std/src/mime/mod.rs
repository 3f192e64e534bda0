//! MIME chapter: the classes `MIMEPart`, `MailMessage` and `MIME`.
//!
//! [`handle`] is a message that several objects share, [`part`] and [`message`] are the methods of
//! the classes over it, [`builder`] is the class `MIME`. What needs a server goes through
//! [`Services`]. The daemon makes classes of its own out of the same methods with
//! [`mail_message_methods`].

mod builder;
mod dkim;
mod handle;
mod mail_function;
mod message;
mod options;
mod part;
mod queue;

use std::sync::Arc;

use bytes::Bytes;
use hsl::host::{CallContext, ClassBuilder, HostSet, Registry, Thrown};
use hsl::value::{Object, Value};
use parking_lot::Mutex;

use crate::services::Services;

pub use builder::builder_of_object;
pub use dkim::Signer as DkimSigner;
pub(crate) use dkim::{texts, verify as verify_dkim};
pub use handle::{MessageHandle, PartRef, SharedMessage};
pub use options::date_of_now;

/// Registers the chapter.
pub(crate) fn register(registry: &mut Registry, services: &Services) {
    mail_function::register(registry, services);
    registry
        .class("MIMEPart", "a part of a message", |class| {
            part::methods(class, of_this);
            class.measure_with(PartRef::measure);
        })
        .class("MailMessage", "a message, its top part", |class| {
            message::statics(class);
            mail_message_methods(class, services, of_this);
            message::queue(class, services);
            class.copy_with(PartRef::own_copy);
            class.measure_with(PartRef::measure);
        })
        .class("MIME", "a message or part to be composed", |class| {
            builder::class(class, services);
        });
}

/// What `import $x from "file.eml"` gives: a `MailMessage` of the host's class.
pub(crate) fn import(text: &[u8], host: Option<&HostSet>) -> Result<Value, String> {
    let class = host.and_then(|host| host.class("MailMessage"));
    let class = class.ok_or("class MailMessage is not available here")?;
    let message = SharedMessage::from_octets(Bytes::copy_from_slice(text));
    Ok(Value::Object(Object::new(class, PartRef::top(Arc::new(Mutex::new(message))))))
}

/// Finds the message, and the part in it, of the object whose method is called.
pub trait Access:
    Fn(&CallContext<'_>) -> Result<PartRef, Thrown> + Clone + Send + Sync + 'static
{
}

impl<F> Access for F where
    F: Fn(&CallContext<'_>) -> Result<PartRef, Thrown> + Clone + Send + Sync + 'static
{
}

/// Adds the methods of `MailMessage` (those of `MIMEPart` among them) to a class, all but `queue`.
///
/// `access` finds the message of the object. Where the state of the objects is a [`PartRef`] itself,
/// [`of_this`] does; such objects are also accepted where a part is an argument.
pub fn mail_message_methods(class: &mut ClassBuilder, services: &Services, access: impl Access) {
    part::methods(class, access.clone());
    message::methods(class, services, access.clone());
    message::send(class, services, access.clone());
    dkim::message_method(class, services, access.clone());
    dkim::verify_method(class, services, access);
}

/// The message of an object whose state is a [`PartRef`].
///
/// # Errors
///
/// When the object has another state.
pub fn of_this(ctx: &CallContext<'_>) -> Result<PartRef, Thrown> {
    ctx.state_of_this::<PartRef>().map(|part| PartRef::clone(&part))
}

/// The message of a `MailMessage` object, or of another one whose state is a [`PartRef`].
pub fn message_of_object(value: &Value) -> Option<MessageHandle> {
    Some(value.as_object()?.state::<PartRef>()?.message.clone())
}
