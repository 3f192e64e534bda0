//! The variables of a hook's script, out of what the command line gives.

use std::any::Any;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use bytes::Bytes;
use hsl::host::Clock;
use hsl::{Array, Key, Value};
use hsl_std::mime::{MessageHandle, SharedMessage};
use hsl_std::{Arrival, SystemClock};
use mta_types::{Address, TransactionId};
use parking_lot::Mutex;
use script_host::hooks::dsn_options::SetDsn;
use script_host::hooks::eod::{self, Queued};
use script_host::hooks::eod_rcpt::{self, RecipientRun};
use script_host::hooks::old_functions::SetOptions;
use script_host::hooks::queue_scripts::Notes;
use script_host::hooks::slots::TakenSlots;
use script_host::hooks::values::{self, put};
use script_host::hooks::{HookKind, HookSets};
use smtp::parameters::Parameters;

use super::HookArguments;

/// What a script starts with.
pub(super) struct Input {
    /// The transaction's id: the one given, else a new one.
    pub(super) id: TransactionId,
    pub(super) variables: Vec<(&'static str, Value)>,
    pub(super) states: Vec<Box<dyn Any + Send>>,
    /// The message, where the hook has one that its script can change.
    pub(super) message: Option<MessageHandle>,
}

/// Reads what the command line gives; `id` is for a transaction that has none, `transport` for
/// recipients that have none.
///
/// # Errors
///
/// Names the option that is wrong or missing.
pub(super) fn read(
    kind: HookKind,
    given: &HookArguments,
    id: TransactionId,
    sets: &HookSets,
    transport: &str,
) -> anyhow::Result<Input> {
    let mut connection = object("--connection", given.connection.as_deref())?;
    let mut transaction = object("--transaction", given.transaction.as_deref())?;
    let mut arguments = object("--arguments", given.arguments.as_deref())?;
    let id = match transaction.get_text("id") {
        None | Some(Value::Array(_)) => id,
        Some(text) => values::text(text).parse().context("--transaction: id is no UUID")?,
    };
    let content = match (&given.message, kind) {
        (None, HookKind::Eod | HookKind::Eodrcpt) => bail!("hook {}: no --message", kind.name()),
        (None, _) => None,
        (Some(path), _) => Some(message(path)?),
    };
    let context = match &given.context {
        None => Value::None,
        Some(text) => json("--context", text)?,
    };
    if kind.is_of_queue() {
        let metadata = match transaction.remove(&Key::from("metadata")) {
            Some(Value::Array(pairs)) => values::metadata(&pairs),
            _ => queue::Metadata::default(),
        };
        usually(&mut arguments, "retry", 0.0);
        // What is delivered has no action that will be taken.
        let is_delivered = kind == HookKind::Postdelivery && arguments.get_text("action").is_none();
        let message = queued_message(transaction, id, content)?;
        return Ok(Input {
            id,
            variables: vec![
                ("arguments", Value::Array(arguments)),
                ("message", Value::Array(message.clone())),
                ("context", context),
                // What only older scripts see may stand beside the rest.
                ("row", Value::Array(message)),
            ],
            states: vec![
                Box::new(Notes { is_delivered, ..Notes::of(metadata) }),
                Box::new(SetOptions::default()),
                Box::new(SetDsn::default()),
                Box::new(TakenSlots::new(Arc::default())),
            ],
            message: None,
        });
    }
    usually(&mut connection, "id", id.to_string());
    usually(&mut transaction, "id", id.to_string());
    spread_address(&mut transaction, "sender", "senderaddress", "senderparams")?;
    if let Some(Value::Array(list)) = transaction.remove(&Key::from("recipients")) {
        let list = list
            .values()
            .map(|item| recipient(item, transport))
            .collect::<anyhow::Result<Vec<_>>>()?;
        put(&mut transaction, "recipients", Value::list(list));
    }
    match kind {
        HookKind::Connect => {
            // The facts of this hook are in its arguments, and `$connection` is empty.
            let facts = std::mem::take(&mut connection);
            for (key, value) in facts.iter().filter(|(key, _)| *key != Key::from("id")) {
                if !arguments.contains(&key) {
                    arguments.insert(key, value.clone());
                }
            }
        }
        HookKind::Disconnect => transaction = Array::new(),
        HookKind::Mailfrom => spread_address(&mut arguments, "sender", "address", "params")?,
        HookKind::Rcptto => {
            spread_address(&mut arguments, "recipient", "address", "params")?;
            usually(&mut arguments, "transportid", transport);
        }
        _ => {}
    }
    let mut states: Vec<Box<dyn Any + Send>> = vec![Box::new(SetOptions::default())];
    let mut message = None;
    if let (HookKind::Eod | HookKind::Eodrcpt, Some(content)) = (kind, content) {
        let now = SystemClock.unix_time();
        usually(&mut transaction, "ts", now.as_secs_f64());
        let handle = Arc::new(Mutex::new(SharedMessage::from_octets(content)));
        let queued = queued(id, &transaction, now);
        states.push(Box::new(arrival(&handle, &connection, &transaction)));
        if kind == HookKind::Eodrcpt {
            let run =
                recipient_run(handle, queued, &connection, &transaction, &arguments, transport)?;
            let message = Some(Arc::clone(&run.message));
            let mut variables = eod_rcpt::connection_variables(&connection);
            let params = transaction.get_text("senderparams").cloned().unwrap_or_default();
            variables.push(("senderparams", params));
            variables.extend(run.variables(&addresses(&transaction)?));
            variables.push(("context", context));
            states.push(Box::new(run));
            return Ok(Input { id, variables, states, message });
        }
        if let Some(mail) = eod::mail(sets, Arc::clone(&handle)) {
            put(&mut arguments, "mail", mail);
        }
        states.push(Box::new(queued));
        message = Some(handle);
    }
    Ok(Input {
        id,
        variables: vec![
            ("arguments", Value::Array(arguments)),
            ("connection", Value::Array(connection)),
            ("transaction", Value::Array(transaction)),
            ("context", context),
        ],
        states,
        message,
    })
}

/// What a script queues into.
fn queued(id: TransactionId, transaction: &Array, now: Duration) -> Queued {
    let parameter = |name: &str| match transaction.get_text("senderparams") {
        Some(Value::Array(params)) => params.get_text(name).map(values::text),
        _ => None,
    };
    Queued {
        transaction: id,
        new_transaction: Arc::new(|| TransactionId::from_bytes(*uuid::Uuid::new_v4().as_bytes())),
        variants: Vec::new(),
        envid: parameter("ENVID").map(Into::into),
        ret: parameter("RET").map(|ret| eod::parse_ret(&ret)),
        date: mail_message::date::format(i64::try_from(now.as_secs()).unwrap_or(0), 0),
    }
}

/// The recipient for whom the script runs: that of the arguments, else the transaction's first one.
fn recipient_run(
    message: MessageHandle,
    queued: Queued,
    connection: &Array,
    transaction: &Array,
    arguments: &Array,
    default: &str,
) -> anyhow::Result<RecipientRun> {
    let mut facts = match transaction.get_text("recipients") {
        Some(Value::Array(list)) => match list.values().next() {
            Some(Value::Array(first)) => first.clone(),
            _ => Array::new(),
        },
        _ => Array::new(),
    };
    if let Some(given) = arguments.get_text("recipient") {
        facts = Array::from_iter([(Key::from("address"), given.clone())]);
        put(&mut facts, "transportid", default);
    }
    for key in ["transportid", "params"] {
        if let Some(value) = arguments.get_text(key) {
            put(&mut facts, key, value.clone());
        }
    }
    let address = facts.get_text("address").context("hook eodrcpt: there is no recipient")?;
    let recipient = address_of("recipient", address)?;
    let sender = match transaction.get_text("senderaddress") {
        Some(sender) => address_of("sender", sender)?,
        None => Address::null(),
    };
    let params = match facts.get_text("params") {
        Some(Value::Array(given)) => {
            values::parse_parameters(given).map_err(|error| anyhow!("params: {error}"))?
        }
        _ => Parameters::default(),
    };
    Ok(RecipientRun {
        message,
        queued,
        in_line: Vec::new(),
        sender,
        recipient,
        params,
        transportid: facts.get_text("transportid").map(|id| values::text(id).into()),
        delay: Duration::ZERO,
        metadata: queue::Metadata::default(),
        actionid: 1,
        tls: eod_rcpt::tls_of(connection),
        actions: Vec::new(),
    })
}

/// The addresses of `$transaction["recipients"]`.
fn addresses(transaction: &Array) -> anyhow::Result<Vec<Address>> {
    let Some(Value::Array(list)) = transaction.get_text("recipients") else {
        return Ok(Vec::new());
    };
    let items = list.values().filter_map(|item| match item {
        Value::Array(item) => item.get_text("address"),
        _ => None,
    });
    items.map(|address| address_of("recipients", address)).collect()
}

fn address_of(what: &str, value: &Value) -> anyhow::Result<Address> {
    values::parse_address(value).map_err(|error| anyhow!("{what}: {error}"))
}

/// What `ScanDMARC` knows of the message.
fn arrival(message: &MessageHandle, connection: &Array, transaction: &Array) -> Arrival {
    let part = |of: &Array, key: &str, part: &str| match of.get_text(key) {
        Some(Value::Array(parts)) => parts.get_text(part).map(values::text).unwrap_or_default(),
        _ => String::new(),
    };
    Arrival {
        message: Arc::clone(message),
        ip: connection.get_text("remoteip").and_then(|ip| values::text(ip).parse().ok()),
        helo: part(connection, "helo", "host"),
        domain: part(transaction, "senderaddress", "domain"),
    }
}

/// `$message` of the queue's hooks.
fn queued_message(
    mut facts: Array,
    id: TransactionId,
    content: Option<Bytes>,
) -> anyhow::Result<Array> {
    if !matches!(facts.get_text("id"), Some(Value::Array(_))) {
        let of_copy = [("transaction", Value::from(id.to_string())), ("queue", Value::Number(1.0))];
        put(&mut facts, "id", Value::map(of_copy));
    }
    usually(&mut facts, "ts", SystemClock.unix_time().as_secs_f64());
    usually(&mut facts, "priority", 0.0);
    usually(&mut facts, "dsn", Value::Array(Array::new()));
    spread_address(&mut facts, "sender", "senderaddress", "")?;
    spread_address(&mut facts, "recipient", "recipientaddress", "")?;
    if let Some(content) = content {
        usually(&mut facts, "size", content.len() as f64);
        // What is queued has the changes of the end-of-data script in it already.
        let file = hsl_std::file_resource(Arc::new(content));
        let files = [("original", file.clone()), ("modified", file)];
        put(&mut facts, "file", Value::map(files));
    }
    Ok(facts)
}

/// An item of `$transaction["recipients"]`: a string, or an array of what is known.
fn recipient(item: &Value, transport: &str) -> anyhow::Result<Value> {
    let mut out = match item {
        Value::Array(item) => item.clone(),
        other => Array::from_iter([(Key::from("recipient"), other.clone())]),
    };
    spread_address(&mut out, "recipient", "address", "params")?;
    usually(&mut out, "transportid", transport);
    Ok(Value::Array(out))
}

/// Completes the three forms in which scripts see an address: text in lower case, parts in their
/// original case, parameters.
fn spread_address(facts: &mut Array, text: &str, parts: &str, params: &str) -> anyhow::Result<()> {
    let given = facts.get_text(text).or_else(|| facts.get_text(parts)).cloned();
    let Some(given) = given else { return Ok(()) };
    let address = address_of(text, &given)?;
    put(facts, text, address.to_lowercase());
    usually(facts, parts, values::address(&address));
    if !params.is_empty() {
        usually(facts, params, Value::Array(Array::new()));
    }
    Ok(())
}

/// Sets what is not given.
fn usually(facts: &mut Array, key: &str, value: impl Into<Value>) {
    if facts.get_text(key).is_none() {
        put(facts, key, value);
    }
}

fn object(option: &str, given: Option<&str>) -> anyhow::Result<Array> {
    match given.map(|text| json(option, text)).transpose()? {
        None => Ok(Array::new()),
        Some(Value::Array(array)) => Ok(array),
        Some(_) => bail!("{option} is no JSON object"),
    }
}

/// A JSON text, or the one in the file behind `@`.
fn json(option: &str, text: &str) -> anyhow::Result<Value> {
    let value = match text.strip_prefix('@') {
        None => hsl_std::value_from_json(text),
        Some(path) => {
            let text = std::fs::read_to_string(path);
            let text = text.with_context(|| format!("{option}: cannot read {path}"))?;
            hsl_std::value_from_json(&text)
        }
    };
    value.with_context(|| format!("{option} is no JSON"))
}

fn message(path: &Path) -> anyhow::Result<Bytes> {
    let octets = if path.as_os_str() == "-" {
        let mut octets = Vec::new();
        std::io::stdin().lock().read_to_end(&mut octets).context("cannot read standard input")?;
        octets
    } else {
        std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?
    };
    Ok(with_crlf(octets).into())
}

/// The text as it travels over SMTP (RFC 5321 §2.3.8).
fn with_crlf(text: Vec<u8>) -> Vec<u8> {
    let mut before = 0;
    let is_bare = |octet: &u8| {
        let last = std::mem::replace(&mut before, *octet);
        *octet == b'\n' && last != b'\r'
    };
    let count = text.iter().copied().filter(is_bare).count();
    if count == 0 {
        return text;
    }
    let mut out = Vec::with_capacity(text.len() + count);
    for octet in text {
        if octet == b'\n' && out.last() != Some(&b'\r') {
            out.push(b'\r');
        }
        out.push(octet);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_with_crlf() {
        assert_eq!(with_crlf(b"a\nb\r\n\nc".to_vec()), b"a\r\nb\r\n\r\nc");
        assert_eq!(with_crlf(b"a\r\n".to_vec()), b"a\r\n");
    }

    #[test]
    fn an_address_has_three_forms() {
        let mut facts = Array::new();
        put(&mut facts, "sender", "Ann@Example.org");
        spread_address(&mut facts, "sender", "senderaddress", "senderparams").unwrap();
        let shown = values::text(&Value::Array(facts));
        let parts = r#"["localpart"=>"Ann","domain"=>"Example.org"]"#;
        let all =
            format!(r#"["sender"=>"ann@example.org","senderaddress"=>{parts},"senderparams"=>[]]"#);
        assert_eq!(shown, all);
    }
}
