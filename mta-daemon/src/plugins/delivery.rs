//! Attempts that a plugin makes instead of the SMTP client: `Try(["plugin" => …])`.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use mta_types::Reply;
use plugin_host::{DeliverServices, Delivery, DeliveryVerdict, FileContent, MessageInfo};
use queue::message::QueuedMessage;
use smtp::client::{Answer, Outcome, State};

use crate::context::Core;
use crate::outbound::outcome::{Attempt, AttemptError, ConnectionFacts, Ending, ErrorKind};
use crate::outbound::plan::{Plan, PluginCall};
use crate::outbound::smtp::Content;
use crate::plugins::message::RowInfo;

/// Hands the attempt to the plugin and waits for its answer.
///
/// # Cancel safety
///
/// Dropping the future loses the answer; what the plugin does goes on until it is done.
pub(crate) async fn attempt(
    core: &Core,
    plan: &Plan,
    call: &PluginCall,
    local: Option<IpAddr>,
    row: &QueuedMessage,
    content: Content,
) -> Attempt {
    let target = plan.targets.first();
    let delivery = Delivery {
        message: Arc::new(RowInfo::new(row, local, target)),
        file: Arc::new(MessageFile::new(content)),
        arguments: call.arguments.clone(),
        services: Arc::new(Trace),
    };
    let Some(outcome) = core.plugins.deliver(&call.id, delivery) else {
        return Attempt::failed(AttemptError {
            kind: ErrorKind::Plugin,
            temporary: true,
            message: format!("there is no plugin {} that delivers", call.id),
        });
    };
    let outcome = outcome.await;
    let ending = match outcome.verdict {
        DeliveryVerdict::Result { code, reason } => answered(code, &reason),
        DeliveryVerdict::Error { reason } => Ending::Error(AttemptError {
            kind: ErrorKind::Plugin,
            temporary: true,
            message: String::from_utf8_lossy(&reason).into_owned(),
        }),
    };
    let connection = target.map(|target| ConnectionFacts {
        transactions: 1,
        ..ConnectionFacts::to(target, local, &plan.settings)
    });
    Attempt { connection, returned: Some(outcome.returned), ..Attempt::ended(ending) }
}

/// A plugin's result is read like the reply to the end of the content.
fn answered(code: i16, reason: &[u8]) -> Ending {
    let text = String::from_utf8_lossy(reason);
    match u16::try_from(code) {
        Ok(code) if (200..=299).contains(&code) || (400..=599).contains(&code) => {
            let answer = Answer::Reply(Reply::new(code, None, text));
            Ending::Answered(Outcome { state: State::Eod, answer })
        }
        // Neither taken nor refused: HTTP's redirects, say.
        _ => Ending::Error(AttemptError {
            kind: ErrorKind::Plugin,
            temporary: true,
            message: format!("the plugin answered {code}: {text}"),
        }),
    }
}

/// The message as it would be sent, for a `FILE *`.
struct MessageFile {
    content: Content,
    len: u64,
}

impl MessageFile {
    fn new(content: Content) -> Self {
        let len = content.len();
        Self { content, len }
    }
}

impl FileContent for MessageFile {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        match &self.content {
            Content::Memory(pieces) => Ok(read_pieces(pieces, offset, buffer)),
            Content::Stored(_) | Content::Script(_) => self.content.read_at(buffer, offset),
        }
    }
}

fn read_pieces(pieces: &[Bytes], mut offset: u64, buffer: &mut [u8]) -> usize {
    let mut filled = 0;
    for piece in pieces {
        let len = piece.len() as u64;
        if offset >= len {
            offset -= len;
            continue;
        }
        let from = piece.get(usize::try_from(offset).unwrap_or(usize::MAX)..).unwrap_or_default();
        offset = 0;
        let Some(room) = buffer.get_mut(filled..) else { break };
        let count = room.len().min(from.len());
        room[..count].copy_from_slice(&from[..count]);
        filled += count;
    }
    filled
}

/// Takes `HalonMTA_deliver_trace`.
struct Trace;

impl DeliverServices for Trace {
    fn trace(&self, message: &dyn MessageInfo, text: &[u8]) {
        let transaction = message.text(plugin_host::MessageField::TransactionId);
        tracing::debug!(
            transaction = transaction.unwrap_or_default(),
            queue = message.queueid() as u64,
            text = %String::from_utf8_lossy(text),
            "plugin.delivery_traced"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_read_like_one_file() {
        let pieces = [Bytes::from_static(b"abc"), Bytes::new(), Bytes::from_static(b"defg")];
        let mut buffer = [0; 4];
        assert_eq!(read_pieces(&pieces, 1, &mut buffer), 4);
        assert_eq!(&buffer, b"bcde");
        assert_eq!(read_pieces(&pieces, 6, &mut buffer), 1);
        assert_eq!(buffer[0], b'g');
        assert_eq!(read_pieces(&pieces, 7, &mut buffer), 0);
        assert_eq!(read_pieces(&pieces, u64::MAX, &mut buffer), 0);
    }

    #[test]
    fn a_code_that_is_no_answer_is_a_temporary_error() {
        assert!(matches!(answered(302, b"moved"), Ending::Error(error) if error.temporary));
        assert!(matches!(answered(-1, b""), Ending::Error(_)));
        let taken = answered(201, b"created");
        assert!(matches!(taken, Ending::Answered(outcome) if outcome.is_delivered()));
        let refused = answered(550, b"no");
        assert!(matches!(refused, Ending::Answered(outcome) if outcome.is_permanent()));
    }
}
