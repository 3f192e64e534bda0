//! What scripts see of an attempt.

use hsl::{Array, Value};
use hsl_std::keys;
use mta_types::{EnhancedCode, Reply};
use script_host::hooks::values::{self, put};
use smtp::client::Answer;

use crate::attempt::{Attempt, ConnectionFacts, Ending};
use crate::tls::Dane;

/// `result` or `error`, and `connection`, of an attempt; `None` when there was none.
pub fn ending(attempt: &Attempt) -> Option<Array> {
    let mut value = Array::new();
    match &attempt.ending {
        Ending::Answered(result) => {
            let mut answer = match &result.answer {
                Answer::Reply(reply) => self::reply(reply),
                Answer::Failure(_) => Array::new(),
            };
            put(&mut answer, "state", result.state.as_str());
            put(&mut value, "result", Value::Array(answer));
        }
        Ending::Error(error) => {
            let (kind, dns) = error.kind.words();
            let mut failure = Array::new();
            put(&mut failure, "temporary", error.temporary);
            put(&mut failure, "message", error.message.as_str());
            put(&mut failure, "type", kind);
            if let Some(dns) = dns {
                put(&mut failure, "dns", dns);
            }
            put(&mut value, "error", Value::Array(failure));
        }
        Ending::Decided { .. } => return None,
    }
    if let Some(facts) = &attempt.connection {
        let mut connection = Array::new();
        if let Some(ip) = facts.local {
            put(&mut connection, "localip", ip.to_string());
        }
        if let Some(ip) = facts.remote {
            put(&mut connection, "remoteip", ip.to_string());
        }
        put(&mut connection, "remotemx", &*facts.remotemx);
        put(&mut connection, "transactions", f64::from(facts.transactions));
        if let Some(id) = &facts.id {
            put(&mut connection, "id", id.as_str());
        }
        if let Some(id) = &facts.localid {
            put(&mut connection, "localipid", &**id);
        }
        if let Some(greeting) = &facts.greeting {
            put(&mut connection, "remotegreet", &**greeting);
        }
        if let Some(helo) = &facts.helo {
            put(&mut connection, "helo", &**helo);
        }
        put(&mut connection, "tls", tls(Some(facts)));
        put(&mut value, "connection", Value::Array(connection));
    }
    Some(value)
}

/// `code`, `enhanced` and `reason` of a reply.
pub fn reply(reply: &Reply) -> Array {
    let mut out = Array::new();
    put(&mut out, "code", f64::from(reply.code));
    if let Some(code) = reply.enhanced {
        put(&mut out, "enhanced", enhanced(code));
    }
    let lines = reply.lines.iter().map(|line| Value::from(line.as_str()));
    put(&mut out, "reason", Value::list(lines));
    out
}

/// An enhanced code as three numbers.
pub fn enhanced(code: EnhancedCode) -> Value {
    let numbers = [u16::from(code.class.digit()), code.subject, code.detail];
    Value::list(numbers.map(|n| Value::Number(f64::from(n))))
}

/// What is known of a connection's TLS.
pub fn tls(facts: Option<&ConnectionFacts>) -> Value {
    let mut tls = Array::new();
    let Some(facts) = facts else {
        put(&mut tls, "started", false);
        return Value::Array(tls);
    };
    put(&mut tls, "started", facts.tls.is_some());
    if let Some(report) = facts.report {
        put(&mut tls, "tlsrpt", report.as_str());
    }
    if let Some(dane) = &facts.dane {
        put(&mut tls, "tlsa", tlsa(dane));
    }
    if let Some(session) = &facts.tls {
        put(&mut tls, "protocol", session.session.protocol);
        put(&mut tls, "cipher", session.session.cipher.as_str());
        put(&mut tls, "keysize", f64::from(session.session.keysize));
        let peer = session.peercert.get_or_init(|| {
            // The certificates are read and judged once a connection.
            keys::peer_certificate(&session.session.peer_certificates)
        });
        if let Some(peer) = peer {
            put(&mut tls, "peercert", peer.clone());
        }
    }
    Value::Array(tls)
}

/// What was found out of a host's TLSA records.
fn tlsa(dane: &Dane) -> Value {
    let error = |text: &str| Value::map([("error", Value::from(text))]);
    match dane {
        Dane::Insecure => error("insecure"),
        Dane::Absent => error("no such record"),
        Dane::Failed(cause) => error(cause),
        Dane::Records(records) => {
            let records = records.iter().map(|record| {
                Value::map([
                    ("usage", Value::from(f64::from(record.usage))),
                    ("selector", Value::from(f64::from(record.selector))),
                    ("mtype", Value::from(f64::from(record.matching))),
                    ("data", Value::from(values::hex(&record.data))),
                ])
            });
            Value::map([("records", Value::list(records))])
        }
    }
}
