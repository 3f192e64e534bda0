//! Flat variables of scripts from before `$arguments`, `$connection`, `$transaction` and `$message`
//! (chapter *Contexts* of the manuals of 4.8 and 5.1).
//!
//! Names such as `$sender` are free in newer scripts, so a script has such a variable only where it gives
//! the name no value itself. Their values are read off the newer variables, and made only for scripts
//! that name them. Facts that are missing are empty texts, lists or 0, as in end-of-data scripts of
//! recipients.

use hsl::{Array, Value};

use super::{HookKind, values};

/// A flat variable.
pub struct OldVariable {
    /// Its name.
    pub name: &'static str,
    /// Where its value is, by the hooks that have it: the first path that leads somewhere.
    paths: &'static [&'static [&'static str]],
    form: Form,
}

/// What is made of the value.
#[derive(Clone, Copy)]
enum Form {
    /// Itself, else an empty text.
    Text,
    /// Itself, else 0.
    Number,
    /// Itself, else an empty list.
    List,
    /// Whether it is there.
    IsSet,
    /// Its seconds, as a whole number.
    Seconds,
    /// Of a list of recipients, their addresses in lower case.
    Recipients,
    /// Of a list of recipients, their domains, each once.
    Domains,
    /// What is done by default, in the words of 5.1.
    Action,
    /// Its items as one text, with this between them.
    Joined(&'static str),
}

impl OldVariable {
    fn value(&self, known: &[(&'static str, Value)]) -> Value {
        let found = self.paths.iter().find_map(|path| at(known, path));
        let list = |found: Option<Value>| match found {
            Some(Value::Array(list)) => list,
            _ => Array::new(),
        };
        match self.form {
            Form::Text => found.unwrap_or_else(|| Value::from("")),
            Form::Number => found.unwrap_or(Value::Number(0.0)),
            Form::List => Value::Array(list(found)),
            Form::IsSet => Value::Bool(found.is_some()),
            Form::Seconds => {
                Value::Number(found.as_ref().and_then(Value::as_number).unwrap_or(0.0).trunc())
            }
            Form::Recipients => Value::list(of_each(&list(found), &["recipient"])),
            Form::Domains => {
                let mut domains: Vec<Value> = Vec::new();
                for domain in of_each(&list(found), &["address", "domain"]) {
                    if !domains.iter().any(|known| known.as_bytes() == domain.as_bytes()) {
                        domains.push(domain);
                    }
                }
                Value::list(domains)
            }
            Form::Action => match found {
                Some(action) if action.as_bytes() == Some(b"QUEUE") => Value::from("RETRY"),
                other => other.unwrap_or_else(|| Value::from("")),
            },
            Form::Joined(between) => match found {
                Some(Value::Array(items)) => {
                    let items: Vec<String> = items.values().map(values::text).collect();
                    Value::from(items.join(between))
                }
                other => other.unwrap_or_else(|| Value::from("")),
            },
        }
    }
}

/// The value at a path: a variable, then keys.
fn at(known: &[(&'static str, Value)], path: &[&str]) -> Option<Value> {
    let (variable, keys) = path.split_first()?;
    let (_, value) = known.iter().find(|(name, _)| name == variable)?;
    values::below(value, keys)
}

fn of_each(list: &Array, keys: &[&str]) -> Vec<Value> {
    list.values().filter_map(|item| values::below(item, keys)).collect()
}

/// Adds the variables that are not there yet.
pub(super) fn add(wanted: &[&OldVariable], variables: &mut Vec<(&'static str, Value)>) {
    for old in wanted {
        if !variables.iter().any(|(name, _)| *name == old.name) {
            let value = old.value(variables);
            variables.push((old.name, value));
        }
    }
}

/// The flat variables of a hook.
pub(super) fn of(kind: HookKind) -> &'static [OldVariable] {
    match kind {
        HookKind::Connect => CONNECT,
        HookKind::Helo => HELO,
        HookKind::Auth => AUTH,
        HookKind::Mailfrom => MAILFROM,
        HookKind::Rcptto => RCPTTO,
        HookKind::Predelivery => PREDELIVERY,
        HookKind::Postdelivery => POSTDELIVERY,
        HookKind::Disconnect | HookKind::Proxy | HookKind::Eod | HookKind::Eodrcpt => &[],
    }
}

/// Rows of a table: name, form, and the paths with dots between their parts. In hooks of the queue `row`
/// holds what no newer variable shows.
macro_rules! table {
    ($(const $constant:ident { $($name:ident: $form:expr, $($variable:ident $(. $key:ident)*)|*;)* })*) => {
        $(const $constant: &[OldVariable] = &[$(OldVariable {
            name: stringify!($name),
            form: $form,
            paths: &[$(&[stringify!($variable) $(, stringify!($key))*]),*],
        }),*];)*
    };
}

use Form::{Action, Domains, IsSet, Joined, List, Number, Recipients, Seconds, Text};

table! {
    const CONNECT {
        messageid: Text, transaction.id;
        senderip: Text, arguments.remoteip;
        senderport: Number, arguments.remoteport;
        serverip: Text, arguments.localip;
        serverport: Number, arguments.localport;
        serverid: Text, arguments.serverid;
    }
    const HELO {
        messageid: Text, transaction.id;
        senderip: Text, connection.remoteip;
        senderport: Number, connection.remoteport;
        serverip: Text, connection.localip;
        serverport: Number, connection.localport;
        serverid: Text, connection.serverid;
        tlsstarted: IsSet, connection.tls;
        saslauthed: IsSet, connection.auth;
        saslusername: Text, connection.auth.username;
        senderhelo: Text, arguments.host;
        senderhelotype: Text, arguments.verb;
    }
    const AUTH {
        messageid: Text, transaction.id;
        senderip: Text, connection.remoteip;
        senderport: Number, connection.remoteport;
        serverip: Text, connection.localip;
        serverport: Number, connection.localport;
        serverid: Text, connection.serverid;
        senderhelo: Text, connection.helo.host;
        tlsstarted: IsSet, connection.tls;
        saslmechanism: Text, arguments.mechanism;
        saslusername: Text, arguments.username;
        saslpassword: Text, arguments.password;
        saslstate: Number, arguments.state;
        saslresponse: Text, arguments.response;
    }
    const MAILFROM {
        messageid: Text, transaction.id;
        senderip: Text, connection.remoteip;
        senderport: Number, connection.remoteport;
        serverip: Text, connection.localip;
        serverport: Number, connection.localport;
        serverid: Text, connection.serverid;
        senderhelo: Text, connection.helo.host;
        tlsstarted: IsSet, connection.tls;
        saslauthed: IsSet, connection.auth;
        saslusername: Text, connection.auth.username;
        sender: Text, arguments.sender;
        senderlocalpart: Text, arguments.address.localpart;
        senderdomain: Text, arguments.address.domain;
        senderparams: List, arguments.params;
    }
    const RCPTTO {
        messageid: Text, transaction.id;
        senderip: Text, connection.remoteip;
        senderport: Number, connection.remoteport;
        serverip: Text, connection.localip;
        serverport: Number, connection.localport;
        serverid: Text, connection.serverid;
        senderhelo: Text, connection.helo.host;
        tlsstarted: IsSet, connection.tls;
        saslauthed: IsSet, connection.auth;
        saslusername: Text, connection.auth.username;
        sender: Text, transaction.sender;
        senderlocalpart: Text, transaction.senderaddress.localpart;
        senderdomain: Text, transaction.senderaddress.domain;
        senderparams: List, transaction.senderparams;
        recipients: Recipients, transaction.recipients;
        recipientdomains: Domains, transaction.recipients;
        recipient: Text, arguments.recipient;
        recipientlocalpart: Text, arguments.address.localpart;
        recipientdomain: Text, arguments.address.domain;
        recipientparams: List, arguments.params;
        transportid: Text, arguments.transportid;
    }
    const PREDELIVERY {
        senderip: Text, row.senderip;
        serverid: Text, message.serverid;
        senderhelo: Text, row.senderhelo;
        saslusername: Text, row.saslusername;
        messageid: Text, message.id.transaction;
        sender: Text, message.sender;
        senderlocalpart: Text, message.senderaddress.localpart;
        senderdomain: Text, message.senderaddress.domain;
        recipient: Text, message.recipient;
        recipientlocalpart: Text, message.recipientaddress.localpart;
        recipientdomain: Text, message.recipientaddress.domain;
        receivedtime: Seconds, message.ts;
        actionid: Number, message.id.queue;
        transportid: Text, message.transportid;
        queueid: Number, message.id.queue;
        retry: Number, arguments.retry;
        retries: Number, row.retries;
        sourceip: Text, row.sourceip;
        destination: Text, row.destination;
        destinationport: Number, row.destinationport;
    }
    const POSTDELIVERY {
        senderip: Text, row.senderip;
        saslusername: Text, row.saslusername;
        messageid: Text, message.id.transaction;
        sender: Text, message.sender;
        senderlocalpart: Text, message.senderaddress.localpart;
        senderdomain: Text, message.senderaddress.domain;
        recipient: Text, message.recipient;
        recipientlocalpart: Text, message.recipientaddress.localpart;
        recipientdomain: Text, message.recipientaddress.domain;
        receivedtime: Seconds, message.ts;
        actionid: Number, message.id.queue;
        transportid: Text, message.transportid;
        queueid: Number, message.id.queue;
        retry: Number, arguments.retry;
        retries: Number, row.retries;
        action: Action, arguments.action;
        errormsg: Joined("\n"), arguments.attempt.result.reason | arguments.attempt.error.message;
        errorcode: Number, arguments.attempt.result.code;
        errorndr: Joined("."), arguments.attempt.result.enhanced;
        transfertime: Number, arguments.attempt.duration;
        sourceip: Text, arguments.attempt.connection.localip;
        serverip: Text, arguments.attempt.connection.remoteip;
        serverport: Number, row.serverport;
    }
}
