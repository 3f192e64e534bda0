//! Mail that scripts send on their own: `queue` of `MIME` and `MailMessage`, and the stored messages
//! that they read.

use std::io;
use std::sync::{Arc, OnceLock, Weak};

use hsl::Value;
use hsl::host::Thrown;
use hsl_std::services::{BoxFuture, FileContent, MailQueue, MailToQueue, QueuedMail};
use mta_types::TransactionId;
use script_host::hooks::eod::CopyFacts;
use spool::{Body, BodyReader, Draft, DraftError, Spool};

use crate::context::Core;
use crate::inbound::content;
use crate::inbound::receive::{Submission, submit};
use crate::services::CoreSlot;
use crate::time;

/// Queues messages through the spool's commit point.
pub(crate) struct DaemonQueue(pub(crate) CoreSlot);

impl MailQueue for DaemonQueue {
    fn queue(&self, mail: MailToQueue) -> Result<BoxFuture<Result<QueuedMail, Thrown>>, Thrown> {
        let Some(core) = self.0.get().and_then(Weak::upgrade) else {
            return Err(Thrown::new("the server is not running yet"));
        };
        let copy = CopyFacts::of(&mail)?;
        Ok(Box::pin(async move { store(core, copy, mail.content).await }))
    }
}

async fn store(
    core: Arc<Core>,
    copy: CopyFacts,
    content: Arc<dyn FileContent>,
) -> Result<QueuedMail, Thrown> {
    let failed = |error: &dyn std::fmt::Display| {
        Thrown::new(format!("the message could not be queued: {error}"))
    };
    let spool = core.spool.clone();
    let copied = tokio::task::spawn_blocking(move || draft_of(&spool, &*content)).await;
    let copied = copied.map_err(|error| failed(&error))?;
    let (draft, eightbit) = copied.map_err(|error| failed(&error))?;
    let draft = draft.share().map_err(|error| failed(&error))?;
    let subject = content::message_of(&draft).ok().and_then(|message| message.lock().subject());
    let id = core.ids.next();
    let submission = Submission {
        id,
        sender: copy.sender.clone(),
        connection: None,
        facts: None,
        eightbit,
        subject,
        body: Body::replace_start_of(Vec::new(), 0, &draft),
        copies: vec![copy],
        now: time::now(),
    };
    submit(&core, submission).await.map_err(|error| failed(&error))?;
    tracing::info!(transaction = %id, size = draft.len(), "script.message_queued");
    Ok(QueuedMail { transaction: id.to_string(), queue: 1 })
}

/// Copies a script's message into a draft; says whether it has octets beyond ASCII.
fn draft_of(spool: &Spool, content: &dyn FileContent) -> Result<(Draft, bool), CopyError> {
    let mut draft = spool.draft(content.len())?;
    let (mut at, mut eightbit) = (0, false);
    let mut buffer = vec![0; CHUNK];
    while at < content.len() {
        let count = content.read_at(at, &mut buffer)?;
        let octets = buffer.get(..count).unwrap_or_default();
        if octets.is_empty() {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        eightbit |= !octets.is_ascii();
        draft.write(octets)?;
        at += count as u64;
    }
    Ok((draft, eightbit))
}

#[derive(Debug, thiserror::Error)]
enum CopyError {
    #[error(transparent)]
    Draft(#[from] DraftError),
    #[error(transparent)]
    Read(#[from] io::Error),
}

/// `$message["file"]`. What is queued has the changes of the end-of-data script in it already, so
/// both are the stored message.
pub(crate) fn files_of(core: &Core, id: TransactionId, size: u64) -> Value {
    let spool = core.spool.clone();
    let content = Arc::new(Stored { spool, id, size, reader: OnceLock::new() });
    let file = hsl_std::file_resource(content);
    Value::map([("original", file.clone()), ("modified", file)])
}

/// A stored message, opened when it is read first.
struct Stored {
    spool: Spool,
    id: TransactionId,
    size: u64,
    reader: OnceLock<Result<BodyReader, String>>,
}

impl FileContent for Stored {
    fn len(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        tokio::task::block_in_place(|| {
            let open = || self.spool.read_body(self.id).map_err(|error| error.to_string());
            let reader = self.reader.get_or_init(open).as_ref();
            let reader = reader.map_err(|error| io::Error::other(error.clone()))?;
            let mut filled = 0;
            while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
                match reader.read_at(rest, offset + filled as u64).map_err(io::Error::other)? {
                    0 => break,
                    count => filled += count,
                }
            }
            Ok(filled)
        })
    }
}

/// Octets copied at once.
const CHUNK: usize = 128 << 10;
