//! `queue()` in scripts of the shell: the message goes to the server's queue over its control socket.

use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use control::client::{Client, Endpoint, Timeouts};
use control::command::call;
use control::pb;
use hsl::host::Thrown;
use hsl_std::services::{BoxFuture, FileContent, MailQueue, MailToQueue, QueuedMail};
use mta_types::{QueueId, Timestamp, TransactionId};
use queue::message::{NewMessage, Placement, Transaction, TransactionParts};
use script_host::hooks::eod::CopyFacts;
use spool::{StoredMessage, StoredRow, hqf};

/// Queues over a control socket.
pub(crate) struct ServerQueue {
    endpoint: Endpoint,
}

impl ServerQueue {
    /// The queue of the server that listens there.
    pub(crate) fn new(endpoint: Endpoint) -> Self {
        Self { endpoint }
    }
}

impl MailQueue for ServerQueue {
    fn queue(&self, mail: MailToQueue) -> Result<BoxFuture<Result<QueuedMail, Thrown>>, Thrown> {
        let copy = CopyFacts::of(&mail)?;
        let endpoint = self.endpoint.clone();
        let content = mail.content;
        Ok(Box::pin(async move {
            let sent = tokio::task::spawn_blocking(move || send(&endpoint, copy, &*content)).await;
            let sent = sent.unwrap_or_else(|error| Err(error.to_string()));
            sent.map_err(|error| Thrown::new(format!("the message could not be queued: {error}")))
        }))
    }
}

/// Makes a queue file of the message and has the server take it.
fn send(
    endpoint: &Endpoint,
    copy: CopyFacts,
    content: &dyn FileContent,
) -> Result<QueuedMail, String> {
    let file = queue_file(copy, content).map_err(|error| error.to_string())?;
    let format = pb::queue_import_request::data::Format::Hqf(file);
    let request = pb::QueueImportRequest {
        data: Some(pb::queue_import_request::Data { format: Some(format) }),
        reset: None,
    };
    let answer = Client::connect(endpoint, Timeouts::default())
        .and_then(|mut client| client.call(call::QUEUE_IMPORT, &request));
    let answer = answer.map_err(|error| error.to_string())?;
    Ok(QueuedMail { transaction: answer.transactionid, queue: 1 })
}

fn queue_file(copy: CopyFacts, content: &dyn FileContent) -> io::Result<Vec<u8>> {
    let octets = octets_of(content)?;
    let (transaction, row) = row_of(copy, &octets, Timestamp::from_system(SystemTime::now()));
    let stored = StoredMessage {
        transaction: transaction.id(),
        metadata: queue_records::encode_transaction(&transaction).into_vec().into(),
        rows: vec![StoredRow {
            queue: QueueId(1),
            row: queue_records::encode_row(&row).into_vec().into(),
            state: bytes::Bytes::new(),
        }],
        body_len: octets.len() as u64,
    };
    let mut file = Vec::with_capacity(octets.len() + 1024);
    hqf::write(&stored, &mut octets.as_slice(), &mut file)?;
    Ok(file)
}

/// The whole of a message.
///
/// # Errors
///
/// It does not fit into memory, or cannot be read to its end.
pub(crate) fn octets_of(content: &dyn FileContent) -> io::Result<Vec<u8>> {
    let len = usize::try_from(content.len()).map_err(|_| io::ErrorKind::FileTooLarge)?;
    let mut octets = vec![0; len];
    if content.read_at(0, &mut octets)? < len {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(octets)
}

/// A message as a queue has it, received `now` under a new id.
pub(crate) fn row_of(
    copy: CopyFacts,
    octets: &[u8],
    now: Timestamp,
) -> (Arc<Transaction>, NewMessage) {
    let id = TransactionId::from_bytes(*uuid::Uuid::new_v4().as_bytes());
    let subject = hsl_std::mime::SharedMessage::from_octets(octets.to_vec().into()).subject();
    let transaction = Transaction::new(TransactionParts {
        id,
        sender: &copy.sender,
        ts: now,
        size: octets.len() as u64,
        serverid: &"".into(),
        senderip: None,
        senderhelo: "",
        saslusername: None,
        subject: subject.as_deref(),
        envid: copy.envid.as_deref(),
        ret: copy.ret,
        stageid: None,
        hqfpath: None,
        smtputf8: false,
        eightbit: !octets.is_ascii(),
    });
    let mut row =
        NewMessage::new(Arc::clone(&transaction), QueueId(1), copy.recipient, copy.transportid);
    row.jobid = copy.jobid;
    row.metadata = copy.metadata;
    row.quotas = copy.quotas;
    row.notify = copy.notify;
    row.orcpt = copy.orcpt;
    row.placement = if copy.hold {
        Placement::Hold
    } else if copy.delay.is_zero() {
        Placement::Now
    } else {
        Placement::At(now.saturating_add(copy.delay))
    };
    (transaction, row)
}
