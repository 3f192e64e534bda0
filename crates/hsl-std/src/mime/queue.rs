//! `queue` and `send` of `MIME` and `MailMessage`: the message enters the queue of the server, or goes
//! to another server while the script waits.

use std::sync::Arc;

use hsl::host::{CallContext, ClassBuilder, NativeStep, Thrown};
use hsl::value::Value;

use crate::args;
use crate::services::{FileContent, MailToQueue, MailToSend, Services};

/// Adds `queue`; `content` gives the message of the object.
pub(super) fn method(
    class: &mut ClassBuilder,
    services: &Services,
    content: impl Fn(&mut CallContext<'_>) -> Result<Arc<dyn FileContent>, Thrown>
    + Send
    + Sync
    + 'static,
) {
    let queue = Arc::clone(&services.mail_queue);
    class.method(
        "queue(string or array sender, string or array recipient, string transportid \
         [, array options]) -> array",
        "queues the message; options metadata, jobid, quotas, hold, delay, dsn",
        move |ctx, args| {
            let content = content(ctx)?;
            let waiting = queue.queue(MailToQueue {
                content,
                sender: args::take(args, 0),
                recipient: args::take(args, 1),
                transportid: String::from_utf8_lossy(args::bytes(args, 2)).into_owned(),
                options: args::take_array(args, 3),
            })?;
            Ok::<_, Thrown>(NativeStep::suspend(async move {
                let queued = waiting.await?;
                Ok(Value::map([
                    ("transaction", Value::from(queued.transaction)),
                    ("queue", Value::from(queued.queue)),
                ]))
            }))
        },
    );
}

/// Adds `send`; `content` gives the message of the object.
pub(super) fn send_method(
    class: &mut ClassBuilder,
    services: &Services,
    content: impl Fn(&mut CallContext<'_>) -> Result<Arc<dyn FileContent>, Thrown>
    + Send
    + Sync
    + 'static,
) {
    let client = Arc::clone(&services.mail_client);
    class.method(
        "send(string or array sender, array recipients, string or array server) -> array",
        "delivers the message to a server now, to all recipients or none",
        move |ctx, args| {
            let content = content(ctx)?;
            let dialogue = client.send(MailToSend {
                content,
                sender: args::take(args, 0),
                recipients: args::take_array(args, 1),
                server: args::take(args, 2),
            })?;
            Ok::<_, Thrown>(NativeStep::Suspend(dialogue))
        },
    );
}
