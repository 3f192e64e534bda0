//! Values that several hooks show to scripts: `$connection` and `$transaction`.

use hsl::{Array, Value, Vm};
use mta_types::TransactionId;
use script_host::hooks::old_functions::all_options;
use smtp::server::Verdict;

pub(crate) use script_host::hooks::values::*;

use crate::hooks::HookKind;
use crate::hooks::runner::Ending;
use crate::hooks::verdict::HookVerdict;

use crate::inbound::facts::{Facts, RecipientFacts, TransactionFacts};

/// What the script of a hook that gives a verdict decided, with what older functions set among its
/// options.
pub(crate) fn decided(kind: HookKind, ending: Ending, vm: &mut Vm) -> HookVerdict {
    let plain = |verdict| HookVerdict { verdict, options: Array::new() };
    let decided = match ending {
        Ending::Exit(exit) => {
            exit.downcast().map_or_else(|_| plain(Verdict::defer()), |decided| *decided)
        }
        Ending::End => plain(kind.implicit()),
        Ending::Failed => return plain(kind.failed()),
    };
    HookVerdict { options: all_options(vm, decided.options), ..decided }
}

/// `$connection`.
pub(crate) fn connection(facts: &Facts) -> Value {
    let mut out = Array::with_capacity(12);
    put(&mut out, "id", facts.connection.to_string());
    if let Some(ip) = facts.remoteip() {
        put(&mut out, "remoteip", ip.to_string());
    }
    if let Some(ends) = facts.ends {
        put(&mut out, "remoteport", f64::from(ends.remote.port()));
        put(&mut out, "localip", ends.local.ip().to_canonical().to_string());
        put(&mut out, "localport", f64::from(ends.local.port()));
    }
    if let Some(uid) = facts.remoteuid {
        put(&mut out, "remoteuid", f64::from(uid));
    }
    if let Some(name) = &facts.remoteptr {
        put(&mut out, "remoteptr", name.as_str());
    }
    put(&mut out, "serverid", facts.serverid.as_str());
    // Compat: until 6.5 a number; here no connection goes ahead of another.
    put(&mut out, "priority", 0.0);
    if let Some((verb, host)) = &facts.helo {
        let helo = [("verb", Value::from(verb.as_str())), ("host", Value::from(host.as_str()))];
        put(&mut out, "helo", Value::map(helo));
    }
    if let Some(session) = &facts.tls {
        let mut tls = Array::new();
        put(&mut tls, "started", true);
        put(&mut tls, "protocol", session.protocol);
        put(&mut tls, "cipher", session.cipher.as_str());
        put(&mut tls, "keysize", f64::from(session.keysize));
        if let Some(sni) = &session.sni {
            put(&mut tls, "sni", sni.as_str());
        }
        if let Some(peer) = hsl_std::keys::peer_certificate(&session.peer_certificates) {
            put(&mut tls, "peercert", peer);
        }
        put(&mut out, "tls", Value::Array(tls));
    }
    if let Some(auth) = &facts.auth {
        let mut value = Array::new();
        put(&mut value, "mechanism", auth.mechanism.as_str());
        if let Some(username) = &auth.username {
            put(&mut value, "username", Value::string(username));
        }
        put(&mut out, "auth", Value::Array(value));
    }
    Value::Array(out)
}

/// `$transaction`; grows as the conversation goes on.
pub(crate) fn transaction(
    id: TransactionId,
    facts: Option<&TransactionFacts>,
    ts: Option<f64>,
) -> Value {
    let mut out = Array::with_capacity(6);
    put(&mut out, "id", id.to_string());
    if let Some(facts) = facts {
        put(&mut out, "sender", facts.sender.to_lowercase());
        put(&mut out, "senderaddress", address(&facts.sender));
        put(&mut out, "senderparams", parameters(&facts.params));
        put(&mut out, "recipients", Value::list(facts.recipients.iter().map(recipient)));
    }
    if let Some(ts) = ts {
        put(&mut out, "ts", ts);
    }
    Value::Array(out)
}

/// An item of `$transaction["recipients"]`.
pub(crate) fn recipient(facts: &RecipientFacts) -> Value {
    let mut out = Array::with_capacity(5);
    put(&mut out, "recipient", facts.address.to_lowercase());
    put(&mut out, "address", address(&facts.address));
    put(&mut out, "params", parameters(&facts.params));
    // Compat: the manual of 5.3 calls the same array by this name.
    put(&mut out, "recipientparams", parameters(&facts.params));
    if let Some(transport) = &facts.transportid {
        put(&mut out, "transportid", transport.as_str());
    }
    Value::Array(out)
}
