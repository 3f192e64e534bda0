//! The methods of `MailMessage` beyond those of its top part.

use std::sync::Arc;

use bytes::Bytes;
use hsl::host::{CallContext, ClassBuilder, Thrown};
use hsl::value::Value;
use mail_message::edit::SnapshotId;
use parking_lot::Mutex;

use super::Access;
use super::handle::{PartRef, SharedMessage, unreadable};
use super::options::{date_of_now, thrown};
use crate::args;
use crate::file_http::{content_of_file, file_object};
use crate::services::Services;

/// Adds the static functions that make messages.
pub(super) fn statics(class: &mut ClassBuilder) {
    class
        .static_function(
            "String(string data) -> MailMessage or none",
            "a message of its text",
            |ctx, args| {
                let data = args::bytes(args, 0);
                ctx.charge_memory(data.len())?;
                new_object(ctx, SharedMessage::from_octets(Bytes::copy_from_slice(data)))
            },
        )
        .static_function(
            "File(File file) -> MailMessage or none",
            "a message in a file",
            |ctx, args| {
                let file = args.first().and_then(content_of_file);
                match file.and_then(|(content, _)| SharedMessage::from_content(content).ok()) {
                    Some(message) => new_object(ctx, message),
                    None => Ok(Value::None),
                }
            },
        );
}

fn new_object(ctx: &mut CallContext<'_>, message: SharedMessage) -> Result<Value, Thrown> {
    // The octets are charged: also the places of the fields count.
    let octets = message.message().size().saturating_sub(message.message().text().len());
    ctx.charge_memory(octets)?;
    ctx.new_object(PartRef::top(Arc::new(Mutex::new(message))))
}

/// Adds the methods to a class.
pub(super) fn methods(class: &mut ClassBuilder, services: &Services, access: impl Access) {
    let get = access.clone();
    class.method("reset() -> number", "drops all changes; how many there were", move |ctx, _| {
        let part = get(ctx)?;
        let count = part.message.lock().message_mut().reset();
        Ok::<_, Thrown>(count)
    });
    let get = access.clone();
    class.method("snapshot() -> number", "remembers the changes so far", move |ctx, _| {
        let part = get(ctx)?;
        ctx.charge_memory(SNAPSHOT_OCTETS)?;
        let id = part.message.lock().message_mut().snapshot();
        Ok::<_, Thrown>(f64::from(id.0))
    });
    let get = access.clone();
    class.method("restore(number id) -> boolean", "goes back to a snapshot", move |ctx, args| {
        let part = get(ctx)?;
        let id = u32::try_from(args::integer(args, 0));
        let mut message = part.message.lock();
        Ok::<_, Thrown>(id.is_ok_and(|id| message.message_mut().restore(SnapshotId(id))))
    });
    let get = access.clone();
    class.method(
        "modifyContent(number start, number count, string data) -> MailMessage",
        "replaces octets of the original",
        move |ctx, args| {
            let place = |at| u64::try_from(args::integer(args, at));
            let (Ok(start), Ok(count)) = (place(0), place(1)) else {
                return Err(Thrown::new("modifyContent() needs a start and count of 0 or more"));
            };
            let data = args::bytes(args, 2);
            ctx.charge_memory(data.len())?;
            let part = get(ctx)?;
            let mut message = part.message.lock();
            let data = Bytes::copy_from_slice(data);
            message.message_mut().modify_content(start, count, data).map_err(thrown)?;
            Ok(ctx.this().map(|this| Value::Object(this.clone())))
        },
    );
    let (get, zone) = (access.clone(), services.time_zone.clone());
    class.method("toFile() -> File", "the message with all changes", move |ctx, _| {
        let part = get(ctx)?;
        let content = part.message.lock().output(&date_of_now(ctx, &zone));
        file_object(ctx, content)
    });
    let zone = services.time_zone.clone();
    class.method("toString() -> string", "the message with all changes", move |ctx, _| {
        let part = access(ctx)?;
        let date = date_of_now(ctx, &zone);
        let message = part.message.lock();
        let len = message.message().output(&date).len();
        ctx.charge_memory(usize::try_from(len).unwrap_or(usize::MAX))?;
        let octets = message.to_octets(&date).map_err(unreadable)?;
        Ok::<_, Thrown>(Value::string(&octets))
    });
}

/// Adds `send`.
pub(super) fn send(class: &mut ClassBuilder, services: &Services, access: impl Access) {
    let zone = services.time_zone.clone();
    super::queue::send_method(class, services, move |ctx| {
        let date = date_of_now(ctx, &zone);
        let part = access(ctx)?;
        let message = part.message.lock();
        Ok(message.output(&date))
    });
}

/// Adds `queue`.
pub(super) fn queue(class: &mut ClassBuilder, services: &Services) {
    let zone = services.time_zone.clone();
    super::queue::method(class, services, move |ctx| {
        let date = date_of_now(ctx, &zone);
        let part = super::of_this(ctx)?;
        let message = part.message.lock();
        Ok(message.output(&date))
    });
}

/// About what remembering a state occupies, should it be copied.
const SNAPSHOT_OCTETS: usize = 1024;
