//! `hqfcat`: what is known of a queued message, as JSON.

use std::process::ExitCode;

use clap::Parser;
use queue::message::{DsnReturn, NewMessage, Placement, Transaction};
use serde_json::{Map, Value, json};

use crate::queued::Source;

/// Prints the metadata of a queued message: a JSON array with one object for each recipient.
#[derive(Parser, Debug)]
#[command(name = "hqfcat", version)]
pub struct Arguments {
    #[command(flatten)]
    source: Source,
}

/// Runs the program.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    crate::finish("hqfcat", run(&arguments))
}

fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let queued = arguments.source.open()?;
    let items: Vec<Value> = queued.rows.iter().map(|row| item(&queued.transaction, row)).collect();
    println!("{}", serde_json::to_string_pretty(&items)?);
    Ok(ExitCode::SUCCESS)
}

/// One recipient. Times are Unix seconds; what is not set is left out.
fn item(transaction: &Transaction, row: &NewMessage) -> Value {
    let seconds = |micros: u64| micros as f64 / 1e6;
    let mut out = Map::new();
    let mut put = |key: &str, value: Value| {
        let is_unset = match &value {
            Value::Null => true,
            Value::Array(list) => list.is_empty(),
            Value::Object(members) => members.is_empty(),
            _ => false,
        };
        if !is_unset {
            out.insert(key.to_owned(), value);
        }
    };
    let (status, due) = match row.placement {
        Placement::Now => ("QUEUE", None),
        Placement::At(due) => ("QUEUE", Some(due)),
        Placement::Hold => ("HOLD", None),
        Placement::Update(due) => ("UPDATE", Some(due)),
    };
    put("transactionid", transaction.id().to_string().into());
    put("queueid", row.queue.0.into());
    put("status", status.into());
    put("ts", seconds(transaction.ts().as_micros()).into());
    put("retry", row.retrycount.into());
    put("retryts", seconds(due.unwrap_or_else(|| transaction.ts()).as_micros()).into());
    put("retryreason", json!(row.retryreason));
    put("transportid", row.transportid.as_str().into());
    let sender = row.sender.clone().unwrap_or_else(|| transaction.sender());
    put("sender", address(&sender));
    put("recipient", address(&row.recipient));
    put("serverid", transaction.serverid().as_str().into());
    put("senderip", json!(transaction.senderip()));
    put("senderhelo", transaction.senderhelo().into());
    put("saslusername", json!(transaction.saslusername()));
    put("subject", json!(transaction.subject()));
    put("size", transaction.size().into());
    put("jobid", json!(row.jobid.as_ref().map(|id| id.as_str())));
    put("tenantid", json!(row.tenantid.as_ref().map(|id| id.as_str())));
    put("stageid", json!(transaction.stageid()));
    put("priority", row.priority.number().into());
    let metadata = row.metadata.iter().map(|(key, value)| (key.to_owned(), Value::from(value)));
    put("metadata", Value::Object(metadata.collect()));
    put("tags", row.tags.iter().map(|tag| Value::from(tag.as_str())).collect());
    put("quotas", row.quotas.iter().map(|quota| Value::from(&**quota)).collect());
    let mut dsn = Map::new();
    if let Some(envid) = transaction.envid() {
        dsn.insert("envid".to_owned(), envid.into());
    }
    if let Some(ret) = transaction.ret() {
        let ret = match ret {
            DsnReturn::Full => "FULL",
            DsnReturn::Headers => "HDRS",
        };
        dsn.insert("ret".to_owned(), ret.into());
    }
    if row.notify != queue::message::DsnNotify::UNSET {
        dsn.insert("notify".to_owned(), notify(row.notify));
    }
    if let Some(orcpt) = &row.orcpt {
        dsn.insert("orcpt".to_owned(), Value::from(&**orcpt));
    }
    put("dsn", Value::Object(dsn));
    put("smtputf8", transaction.is_smtputf8().into());
    Value::Object(out)
}

fn address(address: &mta_types::Address) -> Value {
    json!({ "localpart": address.local(), "domain": address.domain() })
}

/// The words of NOTIFY (RFC 3461 §4.1).
fn notify(notify: queue::message::DsnNotify) -> Value {
    use queue::message::DsnNotify as Notify;
    let words = [
        (Notify::NEVER, "NEVER"),
        (Notify::SUCCESS, "SUCCESS"),
        (Notify::FAILURE, "FAILURE"),
        (Notify::DELAY, "DELAY"),
    ];
    words
        .into_iter()
        .filter(|(bit, _)| notify.contains(*bit))
        .map(|(_, word)| Value::from(word))
        .collect()
}
