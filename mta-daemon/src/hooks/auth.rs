//! `auth`: AUTH, once per round trip for custom mechanisms. Implicit end: Reject. Script error:
//! Defer. Without a script nobody logs in.

use hsl::{Array, Value};
use script_host::hooks::smtp_scripts::Challenge;
use smtp::server::{Auth, AuthAnswer, AuthResponse, Verdict};

use crate::hooks::HookKind;
use crate::hooks::runner::{self, Ending, Run};
use crate::hooks::shared::{self, put};
use crate::hooks::verdict::HookVerdict;
use crate::inbound::connection::Connection;

/// The script's answer and the name it gives the user.
pub(crate) struct Answer {
    pub(crate) answer: AuthAnswer,
    pub(crate) username: Option<Vec<u8>>,
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
        Ending::End => return verdict(HookKind::Auth.implicit()),
        Ending::Failed => return verdict(HookKind::Auth.failed()),
    };
    match exit.downcast::<HookVerdict>() {
        Ok(decided) => Answer {
            username: decided
                .options
                .get_text("username")
                .and_then(Value::as_bytes)
                .map(|username| username.to_vec()),
            answer: AuthAnswer::Verdict(decided.verdict),
        },
        Err(exit) => match exit.downcast::<Challenge>() {
            Ok(challenge) => Answer {
                answer: AuthAnswer::Challenge {
                    challenge: challenge.octets,
                    reply: challenge.reply,
                    disconnect: challenge.disconnect,
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
