//! A queued message from wherever it is: a single file, or the spool.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use mta_types::TransactionId;
use queue::message::{NewMessage, Transaction};
use spool::{StoredMessage, View, hqf};

/// Where a message is.
#[derive(clap::Args, Debug)]
pub(crate) struct Source {
    /// An .hqf file, or the transaction id of a message in the spool
    #[arg(value_name = "FILE|TRANSACTION")]
    message: PathBuf,

    /// Folder of the spool
    #[arg(long, value_name = "DIR", default_value = "/var/spool/halon/queue")]
    spool: PathBuf,
}

/// A message with its recipients; the octets of the message come last.
pub(crate) struct Queued {
    pub(crate) transaction: Arc<Transaction>,
    pub(crate) rows: Vec<NewMessage>,
    pub(crate) body: Box<dyn Read>,
}

impl Source {
    /// Finds the message.
    pub(crate) fn open(&self) -> anyhow::Result<Queued> {
        let name = self.message.display();
        let is_file = self.message.exists();
        match self.message.to_str().and_then(|text| text.parse::<TransactionId>().ok()) {
            Some(transaction) if !is_file => from_spool(&self.spool, transaction),
            _ => from_file(&self.message).with_context(|| format!("cannot read {name}")),
        }
    }
}

fn from_file(path: &Path) -> anyhow::Result<Queued> {
    let file = File::open(path)?;
    if file.metadata()?.is_dir() {
        bail!("it is a folder; give the id of a message and the folder of the spool with --spool");
    }
    let reader = hqf::Reader::open(BufReader::new(file))?;
    let (transaction, rows) = decode(reader.message())?;
    Ok(Queued { transaction, rows, body: Box::new(reader) })
}

fn from_spool(folder: &Path, id: TransactionId) -> anyhow::Result<Queued> {
    let view = View::open(folder).context("cannot read the spool")?;
    let stored = view.read_message(id)?;
    let (transaction, rows) = decode(&stored)?;
    let body = view.read_body(id)?;
    Ok(Queued { transaction, rows, body: Box::new(body) })
}

fn decode(stored: &StoredMessage) -> anyhow::Result<(Arc<Transaction>, Vec<NewMessage>)> {
    let id = stored.transaction;
    let transaction = queue_records::decode_transaction(id, &stored.metadata, stored.body_len)
        .context("the message's metadata cannot be read")?;
    let rows = stored.rows.iter().map(|row| {
        queue_records::decode_row(&transaction, row.queue, &row.row, &row.state)
            .with_context(|| format!("the recipient {} cannot be read", row.queue.0))
    });
    let rows = rows.collect::<anyhow::Result<_>>()?;
    Ok((transaction, rows))
}
