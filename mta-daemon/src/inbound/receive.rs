//! From the first octet of a message to the commit point.

use std::sync::Arc;

use bytes::Bytes;
use hsl_std::mime::MessageHandle;
use mail_message::Piece;
use mta_types::{Class, EnhancedCode, QueueId, Timestamp, TransactionId};
use queue::message::{DsnReturn, NewMessage, Transaction, TransactionParts};
use script_host::hooks::eod::{CopyFacts, Variant, parse_ret, queued_as};
use script_host::hooks::eod_rcpt::is_deferred;
use smtp::server::{Decision, EndOfData, HelloVerb, Security, Verdict};
use smtp::trace_header::Trace;
use spool::{Body, Commit, CommitError, Draft, DraftError, NewRow, SharedDraft};

use crate::context::Core;
use crate::hooks;
use crate::hooks::eodrcpt::Decided;
use crate::inbound::connection::Connection;
use crate::inbound::content;
use crate::inbound::facts::{Facts, TransactionFacts};
use crate::inbound::in_line;
use crate::time;

/// A message that comes in.
pub(crate) struct Reception {
    draft: Draft,
    failure: Option<DraftError>,
    eightbit: bool,
}

impl Reception {
    /// Begins a message that does not come over SMTP.
    ///
    /// # Errors
    ///
    /// The spool has no room.
    pub(crate) fn injected(core: &Core) -> Result<Self, DraftError> {
        Ok(Self { draft: core.spool.draft(0)?, failure: None, eightbit: false })
    }

    /// Whether all octets so far could be kept.
    pub(crate) fn is_whole(&self) -> bool {
        self.failure.is_none()
    }

    /// Begins a message; refuses it when the spool has no room.
    pub(crate) fn begin(connection: &Connection) -> Result<Self, Verdict> {
        let expected = connection.transaction.as_ref().and_then(|t| t.params.size()).unwrap_or(0);
        match connection.core.spool.draft(expected) {
            Ok(draft) => Ok(Self { draft, failure: None, eightbit: false }),
            Err(error) => Err(refusal_of_draft(connection, &error)),
        }
    }

    /// Takes content. A failure is kept for the end, where it can be answered.
    pub(crate) fn take(&mut self, octets: &[u8]) {
        if self.failure.is_some() {
            return;
        }
        self.eightbit = self.eightbit || !octets.is_ascii();
        // A large message goes to a file, and the disk may make us wait.
        let written = if self.draft.in_memory().is_some() {
            self.draft.write(octets)
        } else {
            tokio::task::block_in_place(|| self.draft.write(octets))
        };
        if let Err(error) = written {
            self.failure = Some(error);
        }
    }

    /// The end of data: script, commit, queue. The verdict is what the client hears.
    pub(crate) async fn finish(self, connection: &mut Connection, end: EndOfData) -> Verdict {
        if let Some(error) = &self.failure {
            return refusal_of_draft(connection, error);
        }
        let draft = match self.draft.share() {
            Ok(draft) => draft,
            Err(error) => return refusal_of_draft(connection, &error),
        };
        let message = match content::message_of(&draft) {
            Ok(message) => message,
            Err(error) => return not_stored(connection, &error),
        };
        let hops = match connection.facts.ends {
            Some(_) => end.received,
            // Nobody counted on the way in.
            None => content::received_fields(&message),
        };
        if hops >= connection.server.max_hops {
            tracing::info!(transaction = %connection.facts.id, hops, "inbound.message_refused");
            return Verdict::reject()
                .with_code(554)
                .with_enhanced(EnhancedCode::new(Class::Permanent, 4, 6))
                .with_text("Too many hops, this message is looping");
        }
        let Some(facts) = connection.transaction.take() else { return Verdict::defer() };
        let now = time::now();
        let by_recipient = connection.server.hooks.eodrcpt.is_some();
        let (mut verdict, mut variants) = match connection.server.hooks.eod.is_some() {
            true => hooks::eod::call(connection, &facts, Arc::clone(&message), now).await,
            false if by_recipient => (Verdict::accept(), Vec::new()),
            false => without_script(connection, &facts, &message),
        };
        if by_recipient && verdict.decision == Decision::Accept {
            let decided =
                Box::pin(hooks::eodrcpt::call(connection, &facts, &message, now, variants)).await;
            let Decided { mut actions, in_line, .. } = decided;
            variants = decided.variants;
            if !is_deferred(&actions) && !in_line.is_empty() {
                let delivery = in_line::deliver(connection, &facts, &message, in_line, now);
                actions.push(Box::pin(delivery).await);
            }
            if is_deferred(&actions) {
                variants.clear();
            }
            verdict = hooks::eodrcpt::reply(&actions);
        }
        if message.lock().message().has_unseen() {
            tracing::warn!(transaction = %connection.facts.id, "inbound.message_unseen");
        }
        let is_queued = !variants.is_empty();
        let mut recipients = 0;
        if is_queued {
            match store(connection, &facts, draft, self.eightbit, variants, now).await {
                Ok(count) => recipients = count,
                Err(StoreError::Draft(error)) => return refusal_of_draft(connection, &error),
                Err(StoreError::Commit(CommitError::Full { path })) => {
                    let error = CommitError::Full { path };
                    tracing::error!(transaction = %connection.facts.id, %error, "spool.commit_failed");
                    return storage_full();
                }
                Err(StoreError::Commit(error)) => return not_stored(connection, &error),
            }
        }
        if verdict.decision != Decision::Accept {
            tracing::info!(
                transaction = %connection.facts.id,
                decision = ?verdict.decision,
                recipients,
                "inbound.message_refused"
            );
            return verdict;
        }
        tracing::info!(
            transaction = %connection.facts.id,
            server = %connection.facts.serverid,
            remoteip = %connection.facts.peer(),
            sender = %facts.sender,
            recipients,
            size = end.size,
            "inbound.message_accepted"
        );
        // A script may accept and drop.
        if is_queued { queued_as(verdict, connection.facts.id) } else { verdict }
    }
}

/// Without a script every recipient is queued to the transport that RCPT chose.
fn without_script(
    connection: &Connection,
    facts: &TransactionFacts,
    message: &MessageHandle,
) -> (Verdict, Vec<Variant>) {
    let message = message.lock();
    let output = message.message().output("");
    let mut variant = Variant::new(&message, output, connection.facts.id);
    for recipient in &facts.recipients {
        let Some(transportid) = recipient.transportid.clone() else {
            tracing::error!(
                transaction = %connection.facts.id,
                error = "no end-of-data script and no transport for the recipient",
                "inbound.message_refused"
            );
            return (Verdict::defer(), Vec::new());
        };
        let mut row = CopyFacts::new(facts.sender.clone(), recipient.address.clone(), transportid);
        (row.envid, row.ret) = envelope_dsn(facts);
        row.read_recipient_params(&recipient.params);
        variant.copies.push(row);
    }
    (Verdict::accept(), vec![variant])
}

/// ENVID and RET of the envelope (RFC 3461 §4.3, §4.4).
pub(crate) fn envelope_dsn(facts: &TransactionFacts) -> (Option<Box<str>>, Option<DsnReturn>) {
    let envid = facts.params.value("ENVID").map(Box::from);
    (envid, facts.params.value("RET").map(parse_ret))
}

/// Why a message could not be stored.
enum StoreError {
    Draft(DraftError),
    Commit(CommitError),
}

/// Commits all copies and puts them into the queue, all or none; returns how many.
///
/// Copies of one variant share one transaction and one stored body.
async fn store(
    connection: &Connection,
    facts: &TransactionFacts,
    draft: SharedDraft,
    eightbit: bool,
    variants: Vec<Variant>,
    now: Timestamp,
) -> Result<usize, StoreError> {
    let mut outputs = Vec::with_capacity(variants.len());
    for variant in &variants {
        let recipient = match variant.copies.as_slice() {
            [copy] => Some(&copy.recipient),
            _ => None,
        };
        let received = received_header(connection, facts, &variant.transaction, recipient, now);
        outputs.push((Bytes::from(received), &variant.output));
    }
    let is_plain = draft.in_memory().is_some() && variants.len() == 1;
    let bodies = if is_plain {
        content::bodies(&connection.core.spool, draft, &outputs)
    } else {
        // A large message is read and written here, and the disk may make us wait.
        tokio::task::block_in_place(|| content::bodies(&connection.core.spool, draft, &outputs))
    };
    let bodies = bodies.map_err(StoreError::Draft)?;
    let mut count = 0;
    let mut submissions = Vec::with_capacity(variants.len());
    for (variant, body) in variants.into_iter().zip(bodies) {
        let Some(first) = variant.copies.first() else { continue };
        count += variant.copies.len();
        let inserted = variant.output.pieces().iter().any(|piece| match piece {
            Piece::Inserted(octets) => !octets.is_ascii(),
            Piece::Original(_) => false,
        });
        submissions.push(Submission {
            id: variant.transaction,
            sender: first.sender.clone(),
            connection: Some(connection),
            facts: Some(facts),
            eightbit: eightbit || inserted,
            subject: variant.subject,
            body,
            copies: variant.copies,
            now,
        });
    }
    submit_all(&connection.core, submissions).await.map_err(StoreError::Commit)?;
    Ok(count)
}

/// A message for the spool and the queue.
pub(crate) struct Submission<'a> {
    pub(crate) id: TransactionId,
    pub(crate) sender: mta_types::Address,
    pub(crate) connection: Option<&'a Connection>,
    pub(crate) facts: Option<&'a TransactionFacts>,
    pub(crate) eightbit: bool,
    /// Decoded.
    pub(crate) subject: Option<String>,
    pub(crate) body: Body,
    pub(crate) copies: Vec<CopyFacts>,
    pub(crate) now: Timestamp,
}

/// Makes a message durable, then queues it. The commit begins at once; the future waits for it.
///
/// # Cancel safety
///
/// Dropping the future leaves a message that may be durable but is queued only after a restart.
pub(crate) fn submit(
    core: &Arc<Core>,
    submission: Submission<'_>,
) -> impl Future<Output = Result<(), CommitError>> + use<> {
    submit_all(core, vec![submission])
}

/// Makes messages durable, all or none, then queues them. The commit begins at once; the future
/// waits for it.
///
/// # Cancel safety
///
/// As [`submit`].
fn submit_all(
    core: &Arc<Core>,
    submissions: Vec<Submission<'_>>,
) -> impl Future<Output = Result<(), CommitError>> + use<> {
    let (commits, fresh): (Vec<Commit>, Vec<Fresh>) =
        submissions.into_iter().map(|submission| prepare(submission)).unzip();
    let commit = core.spool.commit_all(commits);
    let core = Arc::clone(core);
    async move {
        commit.await?;
        let now = time::now();
        for Fresh { id, rows, pieces } in fresh {
            if let Some(pieces) = pieces {
                core.queue.bodies.put(id, pieces, rows.len());
            }
            let mut queue = core.queue.lock();
            for row in rows {
                let id = row.id();
                if let Err(error) = queue.insert(row, now) {
                    // It is durable and comes back with the next start.
                    tracing::error!(transaction = %id.transaction, queue = id.queue.0, %error, "spool.commit_failed");
                }
            }
        }
        core.queue.wake.notify_one();
        Ok(())
    }
}

/// What goes into the queue once the commit is confirmed.
struct Fresh {
    id: TransactionId,
    rows: Vec<NewMessage>,
    /// The octets, if all are in memory.
    pieces: Option<Vec<Bytes>>,
}

fn prepare(submission: Submission<'_>) -> (Commit, Fresh) {
    let first = submission.copies.first();
    let facts = submission.connection.map(|connection| &connection.facts);
    let transaction = Transaction::new(TransactionParts {
        id: submission.id,
        sender: &submission.sender,
        ts: submission.now,
        size: submission.body.len(),
        serverid: &facts.map_or_else(|| "".into(), |facts| facts.serverid.clone()),
        senderip: facts.and_then(Facts::remoteip),
        senderhelo: facts.and_then(|f| f.helo.as_ref()).map_or("", |(_, host)| host.as_str()),
        saslusername: facts
            .and_then(|facts| facts.auth.as_ref())
            .and_then(|auth| auth.username.as_deref())
            .and_then(|username| std::str::from_utf8(username).ok()),
        subject: submission.subject.as_deref(),
        envid: first.and_then(|copy| copy.envid.as_deref()),
        ret: first.and_then(|copy| copy.ret),
        stageid: submission.connection.and_then(|connection| connection.server.stageid.as_deref()),
        hqfpath: None,
        smtputf8: submission.facts.is_some_and(|facts| facts.params.is_smtputf8()),
        eightbit: submission.eightbit,
    });
    let rows: Vec<NewMessage> = submission
        .copies
        .into_iter()
        .zip(1_u32..)
        .map(|(copy, number)| {
            let queue = QueueId(number);
            let mut row =
                NewMessage::new(Arc::clone(&transaction), queue, copy.recipient, copy.transportid);
            if copy.sender != submission.sender {
                row.sender = Some(copy.sender);
            }
            row.jobid = copy.jobid;
            row.metadata = copy.metadata;
            row.quotas = copy.quotas;
            row.notify = copy.notify;
            row.orcpt = copy.orcpt;
            row.placement = if copy.hold {
                queue::message::Placement::Hold
            } else if copy.delay.is_zero() {
                queue::message::Placement::Now
            } else {
                queue::message::Placement::At(submission.now.saturating_add(copy.delay))
            };
            row
        })
        .collect();
    let id = submission.id;
    let pieces = submission.body.memory_pieces();
    let commit = Commit {
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
        body: submission.body,
    };
    (commit, Fresh { id, rows, pieces })
}

pub(crate) fn received_header(
    connection: &Connection,
    facts: &TransactionFacts,
    id: &TransactionId,
    recipient: Option<&mta_types::Address>,
    now: Timestamp,
) -> String {
    let known = &connection.facts;
    let (verb, helo) = known.helo.as_ref().map_or((HelloVerb::Helo, ""), |(v, h)| (*v, h.as_str()));
    Trace {
        helo,
        verb,
        ptr: known.remoteptr.as_deref(),
        ip: known.remoteip(),
        by: &connection.server.smtp.hostname,
        security: if known.tls.is_some() { Security::Tls } else { Security::Clear },
        tls: known.tls.as_ref().map(|tls| (tls.protocol, tls.cipher.as_str())),
        authenticated: known.auth.is_some(),
        smtputf8: facts.params.is_smtputf8(),
        id: &id.to_string(),
        recipient,
        time: now,
        offset_minutes: time::offset_minutes(now),
    }
    .header()
}

fn refusal_of_draft(connection: &Connection, error: &DraftError) -> Verdict {
    match error {
        DraftError::Full { .. } => {
            tracing::warn!(transaction = %connection.facts.id, %error, "spool.space_low");
            storage_full()
        }
        _ => not_stored(connection, error),
    }
}

fn not_stored(connection: &Connection, error: &dyn std::fmt::Display) -> Verdict {
    tracing::error!(transaction = %connection.facts.id, %error, "spool.commit_failed");
    Verdict::defer()
        .with_code(451)
        .with_enhanced(EnhancedCode::new(Class::Transient, 3, 0))
        .with_text("The message could not be stored, try again later")
}

fn storage_full() -> Verdict {
    Verdict::defer()
        .with_code(452)
        .with_enhanced(EnhancedCode::new(Class::Transient, 3, 1))
        .with_text("Insufficient system storage, try again later")
}
