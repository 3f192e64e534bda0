//! Functions of scripts from before the options of `Accept`, `Try` and `Queue` (chapter *Contexts* of
//! the manuals of 4.8 and 5.1; compatibility levels 1 and 2 of later ones).
//!
//! A setter writes into [`SetOptions`] what is an option of the function that ends the script today.
//! However the script ends, short of a failure, [`all_options`] lays them under what that call was given.
//! Where there are flat variables of the same meaning, setters keep them up to date.

use std::net::IpAddr;
use std::sync::Arc;

use hsl::host::{CallContext, NativeStep, Registry, Thrown};
use hsl::{Array, Key, Value, Vm};
use hsl_std::Services;
use mta_types::Address;

use super::dsn_options::{DsnOptions, SetDsn};
use super::queue_scripts::{PutOff, QueueExit};
use super::values::{self, put};
use super::{HookKind, slots, verdict};

/// Options that a script set before it ended; lives in the execution.
#[derive(Default)]
pub struct SetOptions(Array);

/// The options at the end of a script: those that it set, and those `given` to the call that ended it,
/// which win.
pub fn all_options(vm: &mut Vm, given: Array) -> Array {
    match vm.take_state::<SetOptions>() {
        Some(SetOptions(set)) => laid_over(set, given),
        None => given,
    }
}

/// Both, and of a key that both have what is `over`.
pub(super) fn laid_over(under: Array, over: Array) -> Array {
    if under.is_empty() {
        return over;
    }
    let mut all = under;
    for (key, value) in over.iter() {
        all.insert(key, value.clone());
    }
    all
}

/// Registers the old functions of a hook.
pub(super) fn register(kind: HookKind, registry: &mut Registry, services: &Services) {
    match kind {
        HookKind::Connect => register_connect(registry),
        HookKind::Helo => {
            register_helo(registry);
            register_tls(registry, of_connection);
        }
        HookKind::Auth => register_tls(registry, of_connection),
        HookKind::Mailfrom => {
            register_address(registry, &SENDER);
            register_tls(registry, of_connection);
        }
        HookKind::Rcptto => {
            register_address(registry, &SENDER);
            register_address(registry, &RECIPIENT);
            register_tls(registry, of_connection);
        }
        HookKind::Predelivery => {
            register_attempt(registry);
            register_addresses_of_attempt(registry);
            slots::register(registry);
            register_message(registry, services);
            let keys = Arc::clone(&services.keys);
            registry.function(
                "Reschedule(number delay, array options = []) -> none",
                "Puts the message off for so many seconds and ends the script.",
                move |context: &mut CallContext<'_>, args: &mut [Value]| {
                    let mut options = verdict::array(args.get_mut(1));
                    put(&mut options, "delay", args.first().cloned().unwrap_or_default());
                    let put_off = PutOff::read(context, options, &*keys)?;
                    Ok::<_, Thrown>(NativeStep::exit(QueueExit::Queue(put_off)))
                },
            );
        }
        HookKind::Postdelivery => {
            register_message(registry, services);
            register_tls(registry, of_attempt);
            let keys = Arc::clone(&services.keys);
            registry.function(
                "Retry(array options = []) -> none",
                "Puts the message off while retries are left, else does what would happen without a \
                 script, and ends the script.",
                move |context: &mut CallContext<'_>, args: &mut [Value]| {
                    let put_off = PutOff::read(context, verdict::array(args.first_mut()), &*keys)?;
                    Ok::<_, Thrown>(NativeStep::exit(QueueExit::Retry(put_off)))
                },
            );
        }
        HookKind::Disconnect | HookKind::Proxy | HookKind::Eod | HookKind::Eodrcpt => {}
    }
}

// Hooks of a conversation

fn register_connect(registry: &mut Registry) {
    registry.function(
        "SetSenderIP(string senderip) -> string or none",
        "Another address of the client; none if it is no address.",
        |context: &mut CallContext<'_>, args| {
            let text = args.first().map(values::text).unwrap_or_default();
            let Ok(ip) = text.parse::<IpAddr>() else { return Ok::<_, Thrown>(Value::None) };
            let ip = Value::from(ip.to_string());
            context.set_variable("senderip", ip.clone());
            set(context, "remoteip", ip.clone())?;
            Ok(ip)
        },
    );
}

fn register_helo(registry: &mut Registry) {
    registry.function(
        "SetHELO(string senderhelo) -> string or none",
        "Another name that the client greets with; none if it cannot be one.",
        |context: &mut CallContext<'_>, args| {
            let name = args.first().map(values::text).unwrap_or_default();
            if !values::is_hello_name(&name) {
                return Ok::<_, Thrown>(Value::None);
            }
            let name = Value::from(name);
            context.set_variable("senderhelo", name.clone());
            set(context, "host", name.clone())?;
            Ok(name)
        },
    );
    registry.function(
        "GetExtensions() -> array",
        "The keywords that EHLO announces; none for HELO.",
        |context: &mut CallContext<'_>, _| -> Value {
            Value::Array(part(context, "arguments", &["extensions"]).unwrap_or_default())
        },
    );
}

/// A party of the envelope: the functions that change it and what scripts see of it.
struct Party {
    setter: &'static str,
    doc: &'static str,
    option: &'static str,
    variables: [&'static str; 3],
    read: fn(&Value) -> Result<Address, Thrown>,
}

const SENDER: Party = Party {
    setter: "SetSender",
    doc: "Another sender, for all recipients; none if it is no address.",
    option: "sender",
    variables: values::SENDER,
    read: values::parse_address,
};

const RECIPIENT: Party = Party {
    setter: "SetRecipient",
    doc: "Another recipient; none if it is no address.",
    option: "recipient",
    variables: values::RECIPIENT,
    read: values::parse_recipient,
};

impl Party {
    /// Changes the address in the option and in the variables; parameters in the option stay.
    fn change(&self, context: &mut CallContext<'_>, address: &Address) -> Result<(), Thrown> {
        for (name, value) in values::address_forms(self.variables, address) {
            context.set_variable(name, value);
        }
        let mut option = self.option_of(context)?;
        if let Value::Array(parts) = values::address(address) {
            option = laid_over(option, parts);
        }
        set(context, self.option, Value::Array(option))
    }

    /// The option as it was set so far.
    fn option_of(&self, context: &mut CallContext<'_>) -> Result<Array, Thrown> {
        match options(context)?.get_text(self.option) {
            Some(Value::Array(option)) => Ok(option.clone()),
            _ => Ok(Array::new()),
        }
    }
}

fn register_address(registry: &mut Registry, party: &'static Party) {
    let signature = format!("{}(string {}) -> string or none", party.setter, party.option);
    registry.function(&signature, party.doc, |context: &mut CallContext<'_>, args| {
        let given = args.first_mut().map(Value::take).unwrap_or_default();
        let Ok(address) = (party.read)(&given) else { return Ok::<_, Thrown>(Value::None) };
        party.change(context, &address)?;
        Ok(Value::from(address.to_lowercase()))
    });
}

/// Registers `GetTLS`; `find` knows where the hook shows it.
fn register_tls(registry: &mut Registry, find: fn(&CallContext<'_>) -> Option<Array>) {
    registry.function(
        "GetTLS(array options = []) -> array",
        "How the connection is encrypted; option fingerprint names a hash of the peer's certificate.",
        move |context: &mut CallContext<'_>, args: &mut [Value]| {
            let options = verdict::array(args.first_mut());
            tls_items(find(context).as_ref(), &options)
        },
    );
}

fn of_connection(context: &CallContext<'_>) -> Option<Array> {
    part(context, "connection", &["tls"])
}

fn of_attempt(context: &CallContext<'_>) -> Option<Array> {
    part(context, "arguments", &["attempt", "connection", "tls"])
}

/// The array below a variable at the end of a path of keys.
fn part(context: &CallContext<'_>, variable: &str, path: &[&str]) -> Option<Array> {
    match values::below(&context.variable(variable)?, path) {
        Some(Value::Array(array)) => Some(array),
        _ => None,
    }
}

/// What `GetTLS` returns, out of an array `tls` of newer variables; without one TLS is off.
///
/// # Errors
///
/// An unknown hash.
pub(super) fn tls_items(known: Option<&Array>, options: &Array) -> Result<Value, Thrown> {
    let mut out = Array::new();
    let is_on = |known: &Array| known.get_text("started").is_none_or(Value::is_truthy);
    put(&mut out, "started", known.is_some_and(is_on));
    let Some(known) = known else { return Ok(Value::Array(out)) };
    for key in ["protocol", "cipher", "keysize", "tlsrpt"] {
        if let Some(value) = known.get_text(key) {
            put(&mut out, key, value.clone());
        }
    }
    if let Some(Value::Array(peer)) = known.get_text("peercert") {
        let certificate = peer.get_text("x509").cloned().unwrap_or_default();
        if let Some(hash) = verdict::text(options, "fingerprint") {
            let digits = hsl_std::keys::fingerprint(&certificate, &hash).ok_or_else(|| {
                Thrown::new("option fingerprint must be md5, sha1, sha256 or sha512")
            })?;
            put(&mut out, "fingerprint", digits);
        }
        put(&mut out, "peer_cert", certificate);
        put(&mut out, "peer_cert_error", peer.get_text("error").cloned().unwrap_or_default());
    }
    Ok(Value::Array(out))
}

// Hooks of the queue

/// Setters of one attempt.
fn register_attempt(registry: &mut Registry) {
    registry.function(
        "SetDestination(string host, number port = none) -> none",
        "Where this attempt goes: an address, a host or lookup-mx, and the port there.",
        |context: &mut CallContext<'_>, args| {
            let names = [("host", "destination"), ("port", "destinationport")];
            for ((option, variable), value) in names.into_iter().zip(args) {
                if !value.is_none() {
                    context.set_variable(variable, value.clone());
                    set(context, option, value.take())?;
                }
            }
            Ok::<_, Thrown>(Value::None)
        },
    );
    for (signature, doc, names) in [
        (
            "SetProtocol(string protocol) -> none",
            "What this attempt speaks: smtp or lmtp.",
            &["protocol"][..],
        ),
        (
            "SetSASL(string username, string password) -> none",
            "User and password of this attempt.",
            &["saslusername", "saslpassword"],
        ),
        (
            "SetXCLIENT(array attributes) -> none",
            "Attributes that this attempt sends with XCLIENT.",
            &["xclient"],
        ),
        ("SetHELO(string hostname) -> none", "The name that this attempt greets with.", &["helo"]),
    ] {
        registry.function(signature, doc, move |context: &mut CallContext<'_>, args| {
            for (name, value) in names.iter().zip(args) {
                set(context, name, value.take())?;
            }
            Ok::<_, Thrown>(Value::None)
        });
    }
    registry.function(
        "SetTLS(array options) -> none",
        "How this attempt is encrypted: the options of Try whose names begin with tls.",
        |context: &mut CallContext<'_>, args| {
            let given = verdict::array(args.first_mut());
            let options = options(context)?;
            for (key, value) in given.iter() {
                if key.as_bytes().is_some_and(|key| key.starts_with(b"tls")) {
                    options.insert(key, value.clone());
                }
            }
            Ok::<_, Thrown>(Value::None)
        },
    );
    registry.function(
        "SetSourceIP(string or array id, array options = []) -> none",
        "Local addresses of this attempt; with the option nonlocal_source an id may be an address.",
        |context: &mut CallContext<'_>, args| {
            let given = args.first_mut().map(Value::take).unwrap_or_default();
            let nonlocal = verdict::array(args.get_mut(1)).get_text("nonlocal_source").cloned();
            let is_nonlocal = nonlocal.as_ref().is_some_and(Value::is_truthy);
            let source = |item: &Value| match values::text(item).parse::<IpAddr>() {
                Ok(ip) if is_nonlocal => Value::map([("address", Value::from(ip.to_string()))]),
                _ => item.clone(),
            };
            let list = match &given {
                Value::Array(list) => Value::list(list.values().map(source)),
                one => Value::list([source(one)]),
            };
            set(context, "sourceip", list)?;
            if let Some(nonlocal) = nonlocal {
                set(context, "nonlocal_source", nonlocal)?;
            }
            Ok::<_, Thrown>(Value::None)
        },
    );
}

fn register_addresses_of_attempt(registry: &mut Registry) {
    for party in [&SENDER, &RECIPIENT] {
        let (setter, name) = (party.setter, party.option);
        registry.function(
            &format!("{setter}(string or array {name}) -> none"),
            &format!("Another {name} in this attempt."),
            |context: &mut CallContext<'_>, args| {
                let given = args.first_mut().map(Value::take).unwrap_or_default();
                party.change(context, &(party.read)(&given)?)?;
                Ok::<_, Thrown>(Value::None)
            },
        );
        registry.function(
            &format!("{setter}Params(array params) -> none"),
            &format!("Parameters of the {name} in this attempt."),
            |context: &mut CallContext<'_>, args| {
                let params = verdict::array(args.first_mut());
                values::parse_parameters(&params)?;
                let mut option = party.option_of(context)?;
                put(&mut option, "params", Value::Array(params));
                set(context, party.option, Value::Array(option))?;
                Ok::<_, Thrown>(Value::None)
            },
        );
    }
}

/// What both hooks of the queue have.
fn register_message(registry: &mut Registry, services: &Services) {
    let keys = Arc::clone(&services.keys);
    registry.function(
        "SetDSN(array options) -> none",
        "How the sender is told of what becomes of this attempt: the option dsn of Queue and Bounce.",
        move |context: &mut CallContext<'_>, args: &mut [Value]| {
            let mut given = Array::new();
            put(&mut given, "dsn", Value::Array(verdict::array(args.first_mut())));
            let dsn = Arc::new(DsnOptions::read(context, &given, &*keys)?);
            let set = context.state::<SetDsn>().ok_or_else(elsewhere)?;
            set.0 = Some(dsn);
            Ok::<_, Thrown>(Value::None)
        },
    );
    registry.function(
        "GetMailFile(array options = []) -> File",
        "The message; with the option changes as it was queued.",
        |context: &mut CallContext<'_>, args: &mut [Value]| {
            let options = verdict::array(args.first_mut());
            let key = if verdict::flag(&options, "changes") { "modified" } else { "original" };
            let files = part(context, "message", &["file"]);
            let file = files.as_ref().and_then(|files| files.get_text(key));
            let content = file.and_then(hsl_std::content_of_resource);
            let content = content.ok_or_else(|| Thrown::new("the message is not at hand"))?;
            hsl_std::file_object(context, content)
        },
    );
}

// The state

fn set(context: &mut CallContext<'_>, option: &str, value: Value) -> Result<(), Thrown> {
    options(context)?.insert(Key::from(option), value);
    Ok(())
}

fn options<'a>(context: &'a mut CallContext<'_>) -> Result<&'a mut Array, Thrown> {
    Ok(&mut context.state::<SetOptions>().ok_or_else(elsewhere)?.0)
}

fn elsewhere() -> Thrown {
    Thrown::new("this is available in scripts of hooks only")
}
