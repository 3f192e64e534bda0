//! Protocols chapter: questions to other mail servers.

use std::sync::Arc;

use hsl::host::{NativeStep, Registry, Thrown};

use crate::args::{self, Options};
use crate::services::Services;

/// Registers the chapter.
pub(crate) fn register(registry: &mut Registry, services: &Services) {
    let client = Arc::clone(&services.mail_client);
    registry.function(
        "smtp_lookup_rcpt(string or array server, string or array sender, \
         string or array recipient [, array options]) -> number or array",
        "whether a server takes a recipient: 1, 0, or -1 on error; option extended_result",
        move |_, args| {
            let extended = Options::new(args, 3).boolean("extended_result", false)?;
            let (server, sender) = (args::take(args, 0), args::take(args, 1));
            let recipient = args::take(args, 2);
            let dialogue = client.lookup_rcpt(server, sender, recipient, extended)?;
            Ok::<_, Thrown>(NativeStep::Suspend(dialogue))
        },
    );
    let client = Arc::clone(&services.mail_client);
    registry.function(
        "smtp_lookup_auth(string or array server, string username, string password) -> number",
        "whether a server takes a login: 1, 0, or -1 on error",
        move |_, args| {
            let text = |at| String::from_utf8_lossy(args::bytes(args, at)).into_owned();
            let (username, password) = (text(1), text(2));
            let dialogue = client.lookup_auth(args::take(args, 0), username, password)?;
            Ok::<_, Thrown>(NativeStep::Suspend(dialogue))
        },
    );
}
