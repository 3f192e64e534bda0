//! What scripts of `auth`, `proxy` and `disconnect` decide beside the verdicts that all have.

use hsl::Value;
use hsl::host::{NativeStep, Registry, Thrown};
use smtp::server::{ProxyAnswer, ReplyParts};

use super::{HookKind, verdict};

/// `Reply`: a challenge.
pub struct Challenge {
    /// What the client is sent, before base64.
    pub octets: Vec<u8>,
    /// Wording of the code.
    pub reply: ReplyParts,
    /// Whether the connection is closed after it.
    pub disconnect: bool,
}

pub(super) fn register_auth(registry: &mut Registry) {
    verdict::register(registry, HookKind::Auth);
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

pub(super) fn register_proxy(registry: &mut Registry) {
    registry.function(
        "Pass(array options = []) -> none",
        "Lets the command through, or another one in its place, and ends the script.",
        |_, args| -> Result<NativeStep, Thrown> {
            let options = verdict::array(args.first_mut());
            let command = match verdict::option(&options, "command") {
                None => None,
                Some(Value::String(line)) => Some(line.as_bytes().to_vec()),
                Some(_) => return Err(Thrown::new("option command expects a string")),
            };
            let next = verdict::flag(&options, "next");
            Ok(NativeStep::exit(ProxyAnswer::Pass { command, next }))
        },
    );
    registry.function(
        "Reply(string or array reason = none, array options = []) -> none",
        "Swallows the command, answers it (250) and ends the script.",
        |_, args| -> Result<NativeStep, Thrown> {
            let reason = args.first_mut().map(Value::take).unwrap_or_default();
            let options = verdict::array(args.get_mut(1));
            let reply = verdict::reply_parts(&reason, &options)?;
            let disconnect = verdict::flag(&options, "disconnect");
            let next = verdict::flag(&options, "next");
            Ok(NativeStep::exit(ProxyAnswer::Reply { reply, disconnect, next }))
        },
    );
}

/// What a proxy hook that fails answers.
pub fn proxy_failure() -> ProxyAnswer {
    let parts = ReplyParts { code: Some(421), ..Default::default() };
    ProxyAnswer::Reply { reply: parts, disconnect: true, next: false }
}

/// The script said `Pass`.
pub struct Passed;

pub(super) fn register_disconnect(registry: &mut Registry) {
    registry.function("Pass() -> none", "Ends the script.", |_, _| NativeStep::exit(Passed));
}
