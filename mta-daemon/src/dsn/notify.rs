//! Queues a notification: a message of our own with the null sender, through the same commit point.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hsl_std::mime::DkimSigner;
use mta_types::{Address, TransactionId, TransportId};
use queue::message::{DsnNotify, DsnReturn, QueuedMessage};
use script_host::hooks::dsn_options::DsnOptions;
use script_host::hooks::eod::CopyFacts;
use smtp::client::Answer;
use spool::Body;

use crate::context::Core;
use crate::dsn::compose::{self, Action, Report};
use crate::generation::Generation;
use crate::inbound::content::subject_of;
use crate::inbound::receive::{Submission, submit};
use crate::outbound::outcome::{Attempt, Ending};
use crate::time;

/// Which kind of notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoticeKind {
    Failed,
    Delayed,
    Relayed,
    Delivered,
}

impl NoticeKind {
    /// Its word in the field `Action` (RFC 3464 §2.3.3).
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Delayed => "delayed",
            Self::Relayed => "relayed",
            Self::Delivered => "delivered",
        }
    }
}

/// What a notification is about.
pub(crate) struct Notice<'a> {
    pub(crate) kind: NoticeKind,
    pub(crate) row: &'a QueuedMessage,
    pub(crate) attempt: &'a Attempt,
    /// How long a delayed row will still be tried.
    pub(crate) remaining: Option<Duration>,
    /// Its transaction, when that was told already.
    pub(crate) id: Option<TransactionId>,
    pub(crate) options: Option<Arc<DsnOptions>>,
}

impl<'a> Notice<'a> {
    pub(crate) fn new(kind: NoticeKind, row: &'a QueuedMessage, attempt: &'a Attempt) -> Self {
        Self { kind, row, attempt, remaining: None, id: None, options: None }
    }
}

/// Tells the sender. False means that the notification could not be stored; true also when nobody
/// is to be told: the null sender is never notified (RFC 5321 §4.5.5), nor anybody where the
/// transport has no DSN settings.
pub(crate) async fn send(core: &Arc<Core>, generation: &Generation, notice: &Notice<'_>) -> bool {
    let row = notice.row;
    let usual = DsnOptions::default();
    let options = notice.options.as_deref().unwrap_or(&usual);
    let Some(transportid) = transport_of(generation, row, options) else { return true };
    let asked = notice.attempt.asked.as_deref().map(|asked| &asked.envelope);
    let ret = asked.and_then(|asked| asked.ret).or(row.transaction.ret());
    let wants_full = notice.kind == NoticeKind::Failed && ret == Some(DsnReturn::Full);
    let original = match original(core, row, wants_full).await {
        Ok(original) => original,
        Err(error) => {
            // The sender is better off with a notification that lacks the original.
            tracing::error!(transaction = %row.id.transaction, queue = row.id.queue.0, error, "dsn.failed");
            Vec::new()
        }
    };
    let now = time::now();
    let id = notice.id.unwrap_or_else(|| core.ids.next());
    let to = options.recipient.as_ref().unwrap_or(&row.sender);
    let is_reply = matches!(
        &notice.attempt.ending,
        Ending::Answered(result) if matches!(result.answer, Answer::Reply(_))
    );
    let diagnostic = notice.attempt.diagnostic();
    let octets = compose::message(&Report {
        action: match notice.kind {
            NoticeKind::Failed => Action::Failed,
            NoticeKind::Delayed => Action::Delayed,
            NoticeKind::Relayed => Action::Relayed,
            NoticeKind::Delivered => Action::Delivered,
        },
        id,
        hostname: &generation.hostname,
        to,
        now,
        offset_minutes: time::offset_minutes(now),
        arrival: row.transaction.ts(),
        envid: asked.and_then(|asked| asked.envid.as_deref()).or(row.transaction.envid()),
        recipient: &row.recipient,
        orcpt: row.orcpt.as_deref(),
        status: notice.attempt.status(),
        is_reply,
        diagnostic: &diagnostic,
        remote: notice.attempt.connection.as_ref().map(|connection| &*connection.remotemx),
        will_retry_until: notice.remaining.map(|remaining| now.saturating_add(remaining)),
        original: &original,
        is_full: wants_full && !original.is_empty(),
        style: &options.style,
    });
    let octets = match &options.dkim {
        None => octets,
        // Short, but made with a private key.
        Some(signer) => tokio::task::block_in_place(|| signed(signer, octets)),
    };
    let eightbit = !octets.is_ascii();
    let octets = Bytes::from(octets);
    let mut copy = CopyFacts::new(Address::null(), to.clone(), transportid);
    copy.metadata = options.metadata.clone();
    copy.jobid.clone_from(&options.jobid);
    // Compat: a notification never asks for notifications.
    copy.notify = DsnNotify::NEVER;
    let stored = submit(
        core,
        Submission {
            id,
            sender: Address::null(),
            connection: None,
            facts: None,
            eightbit,
            subject: subject_of(&octets),
            body: Body::from_pieces(vec![octets]),
            copies: vec![copy],
            now,
        },
    )
    .await;
    match stored {
        Ok(()) => {
            tracing::info!(
                transaction = %row.id.transaction,
                queue = row.id.queue.0,
                kind = ?notice.kind,
                dsn = %id,
                "dsn.created"
            );
            true
        }
        Err(error) => {
            tracing::error!(transaction = %row.id.transaction, queue = row.id.queue.0, %error, "dsn.failed");
            false
        }
    }
}

/// Over which transport a notification about a row goes; `None` when nobody is to be told.
pub(crate) fn transport_of(
    generation: &Generation,
    row: &QueuedMessage,
    options: &DsnOptions,
) -> Option<TransportId> {
    if row.sender.is_null() || row.notify.contains(DsnNotify::NEVER) {
        return None;
    }
    options.transportid.clone().or_else(|| {
        let transport = generation.running.transports.get(row.transportid.as_str());
        transport.and_then(|transport| transport.dsn_transport.clone())
    })
}

/// The message with a signature in front; one that cannot be made is left out.
fn signed(signer: &DkimSigner, octets: Vec<u8>) -> Vec<u8> {
    let octets = Bytes::from(octets);
    match signer.field(&octets) {
        Ok(field) => [&field, &*octets].concat(),
        Err(error) => {
            tracing::error!(%error, "dsn.failed");
            octets.into()
        }
    }
}

/// The original's header section, or all of it up to a limit.
async fn original(core: &Arc<Core>, row: &QueuedMessage, full: bool) -> Result<Vec<u8>, String> {
    let (spool, id) = (core.spool.clone(), row.id.transaction);
    let read = tokio::task::spawn_blocking(move || {
        let reader = spool.read_body(id).map_err(|error| error.to_string())?;
        let most = if full { FULL_LIMIT } else { HEADER_LIMIT };
        let mut buffer = vec![0; usize::try_from(reader.len()).unwrap_or(most).min(most)];
        let mut filled = 0;
        while let Some(room) = buffer.get_mut(filled..).filter(|room| !room.is_empty()) {
            match reader.read_at(room, filled as u64).map_err(|error| error.to_string())? {
                0 => break,
                read => filled += read,
            }
        }
        buffer.truncate(filled);
        Ok::<_, String>(buffer)
    })
    .await
    .map_err(|error| error.to_string())??;
    if full { Ok(read) } else { Ok(compose::header_section(&read).to_vec()) }
}

/// A header section longer than this is cut; no honest one is.
const HEADER_LIMIT: usize = 256 << 10;

/// A returned message longer than this is cut (RFC 3461 §6.2 allows to return less).
const FULL_LIMIT: usize = 10 << 20;
