//! `POST /api/protobuf`: control commands as JSON over HTTP.
//!
//! ```text
//! {"program": "smtpd", "command": "F", "payload": {…}, "version": {"major": 5, "minor": 6}}
//! ```
//!
//! The answer is the response message as JSON, or `{"error": "…"}` with a status: 400 the request or
//! the daemon's refusal of it, 401 the key, 404 the door is closed, 502 and 504 the daemon cannot be
//! reached. Commands are letters, or their names (`queue_list`). Commands that stream have no door.

use std::net::IpAddr;

use axum::{
    Extension,
    body::Bytes,
    extract::{FromRequest as _, Request, State as Shared},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use control::{
    command::{self, Command, Program, TABLE, call},
    frame::Version,
    json,
};
use serde_json::{Map, Value};

use crate::{
    auth::is_same_secret,
    daemon::{Daemon, DaemonError},
    pages::error::error_chain,
    server::Peer,
    state::{Door, State},
};

/// Why a call is refused.
struct Refusal(StatusCode, String);

impl Refusal {
    fn bad(text: impl Into<String>) -> Self {
        Self(StatusCode::BAD_REQUEST, text.into())
    }
}

/// `POST /api/protobuf`
pub async fn call(
    Shared(state): Shared<State>,
    Extension(peer): Extension<Peer>,
    request: Request,
) -> Response {
    let result = match &state.door {
        None => Err(Refusal(
            StatusCode::NOT_FOUND,
            "the door is closed: authentication.secret is not set in web.yaml".into(),
        )),
        // Before the body is read: strangers send nothing.
        Some(door) => match authenticate(door, request.headers(), &peer) {
            Ok(()) => answer(door, &peer, request).await,
            Err(refusal) => Err(refusal),
        },
    };
    let (status, body) = match result {
        Ok(body) => (StatusCode::OK, body),
        Err(Refusal(status, text)) => {
            let error = Value::Object(Map::from_iter([("error".to_owned(), text.into())]));
            (status, error.to_string())
        }
    };
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

fn authenticate(door: &Door, headers: &HeaderMap, peer: &Peer) -> Result<(), Refusal> {
    let key = headers.get("x-api-key").and_then(|key| key.to_str().ok());
    if key.is_some_and(|key| is_same_secret(key, &door.settings.secret)) {
        return Ok(());
    }
    let remoteip: IpAddr = peer.address.ip();
    tracing::warn!(%remoteip, "admin.api_key_refused");
    Err(Refusal(StatusCode::UNAUTHORIZED, "X-API-Key is missing or wrong".into()))
}

async fn answer(door: &Door, peer: &Peer, request: Request) -> Result<String, Refusal> {
    let body = Bytes::from_request(request, &())
        .await
        .map_err(|rejection| Refusal(rejection.status(), rejection.body_text()))?;
    let call = read(&body)?;
    drop(body);
    if door.settings.accounting {
        let remoteip: IpAddr = peer.address.ip();
        tracing::info!(
            %remoteip,
            program = call.program.name(),
            command = call.command.name,
            "admin.api_called"
        );
    }
    let answer = daemon(door, call.program)?
        .call_encoded(call.command, call.version, &call.request)
        .await
        .map_err(|error| unreachable_daemon(&error))?;
    let value = json::response_to_json(call.command, &answer)
        .map_err(|error| Refusal(StatusCode::BAD_GATEWAY, error_chain(&error)))?;
    Ok(value.to_string())
}

fn daemon(door: &Door, program: Program) -> Result<&Daemon, Refusal> {
    match program {
        Program::Smtpd => Ok(&door.smtpd),
        Program::Rated => Ok(&door.rated),
        Program::Dlpd => Ok(&door.dlpd),
        Program::Hsh => Err(Refusal::bad("hsh has no control socket to call")),
    }
}

fn unreachable_daemon(error: &DaemonError) -> Refusal {
    let status = match error {
        DaemonError::Failed(_) => StatusCode::BAD_REQUEST,
        DaemonError::TimedOut(_) => StatusCode::GATEWAY_TIMEOUT,
        _ => StatusCode::BAD_GATEWAY,
    };
    Refusal(status, error_chain(error))
}

/// A call that the table knows.
#[derive(Debug)]
struct Call {
    program: Program,
    command: &'static Command,
    version: Version,
    request: Vec<u8>,
}

fn read(body: &[u8]) -> Result<Call, Refusal> {
    let value: Value = serde_json::from_slice(body)
        .map_err(|error| Refusal::bad(format!("the body is no JSON: {error}")))?;
    let Value::Object(members) = value else {
        return Err(Refusal::bad("the body is no JSON object"));
    };
    const KNOWN: [&str; 4] = ["program", "command", "payload", "version"];
    if let Some(unknown) = members.keys().find(|name| !KNOWN.contains(&name.as_str())) {
        let known = KNOWN.join(", ");
        return Err(Refusal::bad(format!("unknown member \"{unknown}\"; the members are {known}")));
    }
    let text = |name: &str| members.get(name).map(|value| value.as_str().ok_or(name.to_owned()));
    let text = |name: &str| match text(name) {
        Some(Err(name)) => Err(Refusal::bad(format!("\"{name}\" must be a text"))),
        Some(Ok(text)) => Ok(Some(text)),
        None => Ok(None),
    };
    let program: Program = match text("program")? {
        Some(name) => name.parse().map_err(|error| Refusal::bad(format!("{error}")))?,
        None => Program::Smtpd,
    };
    let name = text("command")?.ok_or_else(|| Refusal::bad("\"command\" is missing"))?;
    let command = find(program, name)?;
    let payload = members.get("payload").filter(|payload| !payload.is_null());
    let version = version(members.get("version"), command, payload)?;
    let request = json::request_from_json(command, payload)
        .map_err(|error| Refusal::bad(error_chain(&error)))?;
    Ok(Call { program, command, version, request })
}

fn find(program: Program, name: &str) -> Result<&'static Command, Refusal> {
    let found = match name.as_bytes() {
        [letter] => command::find(program, *letter),
        _ => TABLE.iter().copied().find(|c| c.name == name && c.programs.contains(&program)),
    };
    let command = found.ok_or_else(|| {
        let name: String = name.chars().take(40).collect();
        Refusal::bad(format!("{program} has no command \"{name}\""))
    })?;
    let streams = [call::BREAKPOINT_WAIT.command(), call::TRACE_SMTP.command()];
    if streams.iter().any(|stream| stream.letter == command.letter) {
        let text = format!("\"{}\" needs a control socket: its answers are a stream", command.name);
        return Err(Refusal::bad(text));
    }
    Ok(command)
}

/// The first version whose every command has its body.
const LATEST: Version = Version::new(5, 15);

/// What to say to the daemon: the versions of clients are those of releases, 6.x among them, whose
/// wire version is 5.15 or later.
fn version(
    value: Option<&Value>,
    command: &Command,
    payload: Option<&Value>,
) -> Result<Version, Refusal> {
    let Some(value) = value.filter(|value| !value.is_null()) else {
        let has_content = payload.and_then(Value::as_object).is_some_and(|p| !p.is_empty());
        let is_newer = has_content && !command.has_body(Version::OURS);
        return Ok(if is_newer { LATEST } else { Version::OURS });
    };
    let part = |name| value.get(name).and_then(Value::as_u64).and_then(|n| u8::try_from(n).ok());
    match (part("major"), part("minor")) {
        (Some(5), Some(minor)) => Ok(Version::new(5, minor)),
        (Some(major), Some(_)) if major > 5 => Ok(LATEST),
        (Some(major), Some(minor)) => {
            Err(Refusal::bad(format!("version {major}.{minor} is not served")))
        }
        _ => Err(Refusal::bad("\"version\" must be {\"major\": number, \"minor\": number}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        read(text.as_bytes()).map_or_else(|refusal| refusal.1, |call| format!("{call:?}"))
    }

    #[test]
    fn a_call_names_its_command_by_letter_or_name() {
        for name in ["F", "queue_list"] {
            let call = read(format!(r#"{{"command": "{name}"}}"#).as_bytes()).ok().unwrap();
            assert_eq!(call.command, call::QUEUE_LIST.command());
            assert_eq!(call.version, Version::OURS);
        }
    }

    #[test]
    fn what_cannot_be_called_is_told() {
        for (text, message) in [
            ("", "no JSON"),
            ("[]", "no JSON object"),
            ("{}", "\"command\" is missing"),
            (r#"{"command": 1}"#, "\"command\" must be a text"),
            (r#"{"command": "!"}"#, "smtpd has no command \"!\""),
            (r#"{"command": "F", "program": "x"}"#, "unknown program"),
            (r#"{"command": "F", "program": "dlpd"}"#, "dlpd has no command"),
            (r#"{"command": "F", "payloads": {}}"#, "unknown member \"payloads\""),
            (r#"{"command": "F", "payload": {"x": 1}}"#, "QueueListRequest"),
            (r#"{"command": "F", "version": "5.6"}"#, "\"version\" must be"),
            (r#"{"command": "F", "version": {"major": 4, "minor": 1}}"#, "4.1 is not served"),
            (r#"{"command": "breakpoint_wait"}"#, "a stream"),
        ] {
            assert!(error(text).contains(message), "{text}: {}", error(text));
        }
    }

    #[test]
    fn later_clients_get_later_bodies() {
        let version = |text: &str| read(text.as_bytes()).ok().unwrap().version;
        assert_eq!(version(r#"{"command": "C"}"#), Version::OURS);
        let domain = r#"{"command": "C", "payload": {"domain": {"value": "a.example"}}}"#;
        assert_eq!(version(domain), LATEST);
        assert_eq!(version(r#"{"command": "C", "version": {"major": 6, "minor": 3}}"#), LATEST);
    }
}
