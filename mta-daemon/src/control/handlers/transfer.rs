//! `queue load`, `queue unload` and export: messages as single files (docs/formats/spool.md).
//!
//! Unloading writes the file and makes it durable before the rows end, so that a crash in between
//! leaves a message twice rather than nowhere.

use std::collections::{HashMap, HashSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use control::{Message, pb};
use mta_types::{Address, MessageId, QueueId, TransactionId, TransportId};
use queue::change::End;
use queue::condition::{Condition, IdMatch};
use queue::listing::{ListRequest, ListRun};
use queue::message::{NewMessage, Placement, QueuedMessage, Transaction, TransactionParts};
use queue::update::{Removal, Task, UpdateRequest, UpdateRun};
use queue::{Outcome, Requeue, RetryCount};
use spool::{Body, Commit, Durability, NewRow, hqf};

use crate::context::Core;
use crate::control::dispatch::{Answer, ControlError};
use crate::control::handlers::condition;
use crate::queue_service::persist;
use crate::time;

/// One row of a message, or with row 0 all of them, as a file. The row stays queued.
pub(crate) async fn export(core: &Arc<Core>, request: pb::QueueExportRequest) -> Answer {
    let id = request.id.unwrap_or_default();
    let transaction = parse_transaction(&id.transaction)?;
    let rows = match id.queue {
        0 => None,
        number => Some(HashSet::from([QueueId(u32::try_from(number)?)])),
    };
    let spool = core.spool.clone();
    let hqf = tokio::task::spawn_blocking(move || {
        let mut out = Vec::new();
        write_file(&spool, transaction, rows.as_ref(), &mut out).map(|()| out)
    })
    .await??;
    Ok(pb::QueueExportResponse { hqf }.encode_to_vec())
}

/// Takes a message: a file that was unloaded or exported, or the text of a message.
pub(crate) async fn import(core: &Arc<Core>, request: pb::QueueImportRequest) -> Answer {
    use pb::queue_import_request::data::Format;
    let reset = request.reset.unwrap_or_default();
    let set = |flag: Option<pb::BoolValue>| flag.is_some_and(|flag| flag.value);
    let reset = Reset {
        transactionid: set(reset.transactionid),
        ts: set(reset.ts),
        retrycount: set(reset.retrycount),
    };
    let (transaction, rows, body) = match request.data.and_then(|data| data.format) {
        Some(Format::Hqf(file)) => read_file(core, &Bytes::from(file), &reset)?,
        Some(Format::Rfc822(text)) => read_text(core, Bytes::from(text))?,
        None => return Err(ControlError("there is no message to import".into())),
    };
    let id = transaction.id();
    if core.spool.read_message(id).is_ok() {
        return Err(ControlError(format!("a message {id} is queued already; reset its id")));
    }
    core.spool
        .commit(Commit {
            transaction: id,
            metadata: queue_records::encode_transaction(&transaction),
            rows: rows
                .iter()
                .map(|row| NewRow {
                    queue: row.queue,
                    row: queue_records::encode_row(row),
                    state: Box::default(),
                })
                .collect(),
            body: Body::from_pieces(vec![body]),
        })
        .await?;
    let now = time::now();
    {
        let mut queue = core.queue.lock();
        for row in rows {
            queue.insert(row, now)?;
        }
    }
    core.queue.wake.notify_one();
    Ok(pb::QueueImportResponse { transactionid: id.to_string() }.encode_to_vec())
}

/// Hands messages over as files, one a transaction, and ends their rows here.
///
/// A transaction of which only some rows match is left alone and counted, unless `partial` asks for
/// those rows; a busy row is counted and, with `freeze`, frozen when its work ends.
pub(crate) async fn unload(core: &Arc<Core>, request: pb::QueueUnloadRequest) -> Answer {
    let chosen = condition::condition(request.conditions.unwrap_or_default())?;
    let mut response = pb::QueueUnloadResponse::default();
    let mut found: HashMap<TransactionId, HashSet<QueueId>> = HashMap::new();
    let mut busy = Vec::new();
    for row in list(core, chosen).await {
        if row.state.is_working() {
            busy.push(row.id);
        } else {
            found.entry(row.id.transaction).or_default().insert(row.id.queue);
        }
    }
    response.working = busy.len() as u64;
    if request.freeze && !busy.is_empty() {
        let ids = busy.into_iter().map(id_match).collect();
        run(core, ids, Task::Update).await?;
    }
    let dir = core.startup.config.spool.path.join("unloaded");
    for (transaction, rows) in found {
        let whole = Condition {
            ids: vec![IdMatch { transaction, queue: None, exclude: false }],
            ..Condition::default()
        };
        let is_partial = list(core, whole).await.iter().any(|row| !rows.contains(&row.id.queue));
        if is_partial && !request.partial {
            response.partial += 1;
            continue;
        }
        let ids = rows.iter().map(|row| id_match(MessageId::new(transaction, *row))).collect();
        let seized = run(core, ids, Task::Remove(Removal::Delete)).await?;
        if seized.is_empty() {
            continue;
        }
        let path = free_name(&dir, transaction);
        let (spool, to) = (core.spool.clone(), path.clone());
        let wanted: HashSet<QueueId> = seized.iter().map(|id| id.queue).collect();
        let written =
            tokio::task::spawn_blocking(move || store_file(&spool, transaction, &wanted, &to))
                .await?;
        if let Err(error) = written {
            finish(core, &seized, || {
                Outcome::Requeue(Requeue { retrycount: RetryCount::Keep, ..Requeue::default() })
            })
            .await?;
            return Err(error);
        }
        finish(core, &seized, || Outcome::End(End::Unloaded)).await?;
        response.hqfpaths.push(path.display().to_string());
    }
    response.hqfpaths.sort_unstable();
    core.queue.wake.notify_one();
    Ok(response.encode_to_vec())
}

/// What an import gives anew.
struct Reset {
    transactionid: bool,
    ts: bool,
    retrycount: bool,
}

type Imported = (Arc<Transaction>, Vec<NewMessage>, Bytes);

fn read_file(core: &Core, file: &Bytes, reset: &Reset) -> Result<Imported, ControlError> {
    let (stored, body) = hqf::decode(file)?;
    let damaged = || ControlError("the rows of the file cannot be read".into());
    let id = if reset.transactionid { core.ids.next() } else { stored.transaction };
    let mut transaction = queue_records::decode_transaction(id, &stored.metadata, stored.body_len)
        .map_err(|_| damaged())?;
    if reset.ts {
        transaction = received_now(&transaction);
    }
    let mut rows = Vec::with_capacity(stored.rows.len());
    for row in &stored.rows {
        let mut row = queue_records::decode_row(&transaction, row.queue, &row.row, &row.state)
            .map_err(|_| damaged())?;
        if reset.retrycount {
            row.retrycount = 0;
        }
        if let Placement::Update(due) = row.placement {
            // It was frozen for whoever took the file; here it is queued again.
            row.placement = Placement::At(due);
        }
        rows.push(row);
    }
    if rows.is_empty() {
        return Err(damaged());
    }
    Ok((transaction, rows, body))
}

/// A message as text: sender and recipients come out of its header, as `sendmail -t` takes them.
fn read_text(core: &Core, text: Bytes) -> Result<Imported, ControlError> {
    let generation = core.generation.load();
    let transport: TransportId = generation
        .running
        .servers
        .values()
        .find_map(|server| server.transport.clone())
        .ok_or_else(|| ControlError("no server has a transport for imported messages".into()))?;
    let section = mail_message::header::HeaderSection::parse(&text);
    let addresses = |name: &str| -> Result<Vec<Address>, ControlError> {
        let mut found = Vec::new();
        for (_, field) in section.named(&text, name.as_bytes()) {
            let value = mail_message::header::unfold(field.value);
            let wrong = || ControlError(format!("the field {name} is no list of addresses"));
            for mailbox in mail_message::address_list::parse_list(&value).ok_or_else(wrong)? {
                let address = std::str::from_utf8(&mailbox.address).map_err(|_| wrong())?;
                found.push(Address::parse(address).map_err(|_| wrong())?);
            }
        }
        Ok(found)
    };
    let sender = match addresses("Sender")?.into_iter().next() {
        Some(sender) => sender,
        None => addresses("From")?.into_iter().next().unwrap_or_else(Address::null),
    };
    let mut recipients: Vec<Address> = Vec::new();
    for name in ["To", "Cc", "Bcc"] {
        for address in addresses(name)? {
            if !recipients.contains(&address) {
                recipients.push(address);
            }
        }
    }
    if recipients.is_empty() {
        return Err(ControlError("the message names no recipient".into()));
    }
    let transaction = Transaction::new(TransactionParts {
        id: core.ids.next(),
        sender: &sender,
        ts: time::now(),
        size: text.len() as u64,
        serverid: &"".into(),
        senderip: None,
        senderhelo: "",
        saslusername: None,
        subject: None,
        envid: None,
        ret: None,
        stageid: None,
        hqfpath: None,
        smtputf8: false,
        eightbit: !text.is_ascii(),
    });
    let rows = recipients.into_iter().zip(1_u32..).map(|(recipient, number)| {
        NewMessage::new(Arc::clone(&transaction), QueueId(number), recipient, transport.clone())
    });
    let rows = rows.collect();
    Ok((transaction, rows, text))
}

/// The same transaction, received now.
fn received_now(old: &Transaction) -> Arc<Transaction> {
    Transaction::new(TransactionParts {
        id: old.id(),
        sender: &old.sender(),
        ts: time::now(),
        size: old.size(),
        serverid: old.serverid(),
        senderip: old.senderip(),
        senderhelo: old.senderhelo(),
        saslusername: old.saslusername(),
        subject: old.subject(),
        envid: old.envid(),
        ret: old.ret(),
        stageid: old.stageid(),
        hqfpath: old.hqfpath(),
        smtputf8: old.is_smtputf8(),
        eightbit: old.is_eightbit(),
    })
}

fn parse_transaction(text: &str) -> Result<TransactionId, ControlError> {
    text.parse().map_err(|_| ControlError(format!("{text} is no transaction id")))
}

const fn id_match(id: MessageId) -> IdMatch {
    IdMatch { transaction: id.transaction, queue: Some(id.queue), exclude: false }
}

/// The rows that match.
async fn list(core: &Core, condition: Condition) -> Vec<QueuedMessage> {
    let request = ListRequest { condition, sortings: Vec::new(), offset: 0, limit: None };
    let mut run = ListRun::new(request);
    let now = time::now();
    while !run.step(&core.queue.lock(), STEP, now) {
        tokio::task::yield_now().await;
    }
    run.finish(&core.queue.lock()).items
}

/// Does something to these rows; returns those that were taken out of the queue for it.
async fn run(core: &Core, ids: Vec<IdMatch>, task: Task) -> Result<Vec<MessageId>, ControlError> {
    let condition = Condition { ids, ..Condition::default() };
    let request = UpdateRequest { condition, task: Some(task), ..UpdateRequest::default() };
    let mut run = UpdateRun::new(request)?;
    let mut removed = Vec::new();
    let mut completions = Vec::new();
    loop {
        let done = {
            let mut queue = core.queue.lock();
            let step = run.step(&mut queue, STEP, time::now());
            completions.extend(persist::write(core, &queue, &step.changes, Durability::Awaited));
            for id in step.removed {
                core.queue.take_plan(id);
                removed.push(id);
            }
            step.done
        };
        if done {
            break;
        }
        tokio::task::yield_now().await;
    }
    persist::settled(completions).await?;
    Ok(removed)
}

/// Ends the work on rows, and waits until that is on disk.
async fn finish(
    core: &Core,
    ids: &[MessageId],
    outcome: impl Fn() -> Outcome,
) -> Result<(), ControlError> {
    let mut completions = Vec::new();
    {
        let mut queue = core.queue.lock();
        for id in ids {
            let changes = queue.finish(*id, outcome(), time::now())?;
            completions.extend(persist::write(core, &queue, &changes, Durability::Awaited));
        }
    }
    Ok(persist::settled(completions).await?)
}

/// Writes a message with these rows, or all that have not ended. Waits for the disk.
fn write_file(
    spool: &spool::Spool,
    transaction: TransactionId,
    rows: Option<&HashSet<QueueId>>,
    out: &mut dyn Write,
) -> Result<(), ControlError> {
    let mut stored = spool.read_message(transaction)?;
    if let Some(rows) = rows {
        stored.rows.retain(|row| rows.contains(&row.queue));
    }
    if stored.rows.is_empty() {
        return Err(ControlError(format!("no such row of {transaction} is queued")));
    }
    let mut body = spool.read_body(transaction)?;
    Ok(hqf::write(&stored, &mut body, out)?)
}

/// A name that is not taken: rows of one transaction may leave at different times.
fn free_name(dir: &Path, transaction: TransactionId) -> PathBuf {
    let mut path = dir.join(format!("{transaction}.hqf"));
    let mut number = 1_u64;
    while path.exists() {
        number += 1;
        path = dir.join(format!("{transaction}-{number}.hqf"));
    }
    path
}

/// Writes a message to a file that appears whole and durable, or not at all.
fn store_file(
    spool: &spool::Spool,
    transaction: TransactionId,
    rows: &HashSet<QueueId>,
    path: &Path,
) -> Result<(), ControlError> {
    let named = |error: std::io::Error| ControlError(format!("{}: {error}", path.display()));
    let dir = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(dir).map_err(named)?;
    let temporary = path.with_extension("hqf.tmp");
    let write = || -> Result<(), ControlError> {
        let file = std::fs::File::create(&temporary).map_err(named)?;
        let mut out = std::io::BufWriter::new(file);
        write_file(spool, transaction, Some(rows), &mut out)?;
        let file = out.into_inner().map_err(|error| named(error.into_error()))?;
        file.sync_all().map_err(named)?;
        std::fs::rename(&temporary, path).map_err(named)?;
        // The name is durable when its folder is.
        std::fs::File::open(dir).and_then(|dir| dir.sync_all()).map_err(named)
    };
    let written = write();
    if written.is_err() {
        // The first error is the one to tell.
        let _ = std::fs::remove_file(&temporary);
    }
    written
}

/// Rows looked at between two breaths.
const STEP: usize = 2_000;
