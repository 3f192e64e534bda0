//! From a request to its handler. The letters are `control::command`'s; here is who answers.

use std::sync::Arc;

use control::frame::Request;
use control::{Message, pb};

use crate::context::Core;
use crate::control::handlers::{config, process, queue};

/// Why a request failed: the text of an `E` answer.
#[derive(Debug)]
pub(crate) struct ControlError(pub(crate) String);

impl<E: std::fmt::Display> From<E> for ControlError {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

/// An encoded response, or the error to send.
pub(crate) type Answer = Result<Vec<u8>, ControlError>;

/// Answers a request.
///
/// # Cancel safety
///
/// Dropping the future may leave an update done in part; each row is either changed or not.
pub(crate) async fn answer(core: &Arc<Core>, request: &Request) -> Answer {
    let body = request.body.as_slice();
    match request.command.letter {
        b'r' => config::reload(core).await,
        b'k' | b'C' => {
            core.generation.load().resolver.clear_cache();
            Ok(Vec::new())
        }
        b'q' => Ok(process::stats(core).encode_to_vec()),
        b'M' => process::plugin_command(core, pb::PluginCommandRequest::decode(body)?).await,
        b'F' => queue::list(core, pb::QueueListRequest::decode(body)?).await,
        b'G' => queue::update(core, pb::QueueUpdateRequest::decode(body)?).await,
        b'I' => {
            let request = pb::QueueQuotaRequest::decode(body)?;
            let usage = core.queue.lock().quota(&request.quota);
            let response = pb::QueueQuotaResponse { count: usage.count, bytes: usage.bytes };
            Ok(response.encode_to_vec())
        }
        _ => Err(ControlError(format!("smtpd does not answer {} yet", request.command.name))),
    }
}
