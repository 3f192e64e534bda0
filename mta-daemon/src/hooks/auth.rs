//! `auth`: AUTH, once per round trip for custom mechanisms. Implicit end: Reject. Script error:
//! Defer. Without a script nobody logs in.

use hsl::host::{NativeStep, Registry, Thrown};
use hsl::{Array, Value};
use smtp::server::{Auth, AuthAnswer, AuthResponse, ReplyParts, Verdict};

use crate::hooks::runner::{self, Ending, Run};
use crate::hooks::shared::{self, put};
use crate::hooks::verdict::{self, HookVerdict};
use crate::inbound::connection::Connection;

/// The script's answer and the name it gives the user.
pub(crate) struct Answer {
    pub(crate) answer: AuthAnswer,
    pub(crate) username: Option<Vec<u8>>,
}

/// `Reply`: a challenge.
struct Challenge {
    octets: Vec<u8>,
    reply: ReplyParts,
    disconnect: bool,
}

pub(crate) fn register(registry: &mut Registry) {
    verdict::register(registry);
    registry.function(
        "Reply(string reply = none, array options = []) -> none",
        "Sends a challenge (334) and ends the script; the answer runs it again.",
        |_, args| -> Result<NativeStep, Thrown> {
            let text = args.first_mut().map(Value::take).unwrap_or_default();
            let options = verdict::array(args.get_mut(1));
            let octets = text.as_bytes().unwrap_or_default().to_vec();
            let reply = verdict::reply_parts(&Value::None, &options)?;
            let disconnect = verdict::flag(&options, "disconnect");
            Ok(NativeStep::exit(Challenge { octets, reply, disconnect }))
        },
    );
}

/// Runs the script for one step of the dialogue.
pub(crate) async fn call(connection: &mut Connection, auth: &Auth) -> Answer {
    let verdict = |verdict| Answer { answer: AuthAnswer::Verdict(verdict), username: None };
    let server = std::sync::Arc::clone(&connection.server);
    let Some(hook) = &server.hooks.auth else { return verdict(Verdict::reject()) };
    let run = Run {
        hook,
        stats: &server.stats.auth,
        transaction: connection.facts.id,
        variables: vec![
            ("arguments", arguments(auth)),
            ("connection", connection.connection_value()),
            ("transaction", shared::transaction(connection.facts.id, None, None)),
            ("context", connection.context.clone()),
        ],
        states: Vec::new(),
    };
    let (ending, mut vm) = runner::run(&connection.core.scripts, run).await;
    connection.context = vm.variable("context").unwrap_or_default();
    let exit = match ending {
        Ending::Exit(exit) => exit,
        Ending::End => return verdict(Verdict::reject()),
        Ending::Failed => return verdict(Verdict::defer()),
    };
    match exit.downcast::<HookVerdict>() {
        Ok(decided) => Answer {
            username: verdict::text(&decided.options, "username").map(String::into_bytes),
            answer: AuthAnswer::Verdict(decided.verdict),
        },
        Err(exit) => match exit.downcast::<Challenge>() {
            Ok(challenge) if challenge.disconnect => verdict(Verdict::defer().with_disconnect()),
            Ok(challenge) => Answer {
                answer: AuthAnswer::Challenge {
                    challenge: challenge.octets,
                    reply: challenge.reply,
                },
                username: None,
            },
            Err(_) => verdict(Verdict::defer()),
        },
    }
}

fn arguments(auth: &Auth) -> Value {
    let mut out = Array::new();
    put(&mut out, "mechanism", auth.mechanism.as_str());
    match &auth.response {
        AuthResponse::Password { username, password, .. } => {
            put(&mut out, "username", Value::string(username));
            put(&mut out, "password", Value::string(password));
        }
        AuthResponse::Raw { state, response } => {
            put(&mut out, "state", f64::from(*state));
            put(&mut out, "response", response.as_ref().map_or(Value::None, Value::string));
        }
    }
    Value::Array(out)
}
