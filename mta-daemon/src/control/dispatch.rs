//! From a request to its handler. The letters are `control::command`'s; here is who answers.

use std::sync::Arc;

use control::frame::Request;
use control::{Message, pb};

use crate::context::Core;
use crate::control::client::{ControlClient, Wire};
use crate::control::handlers::{
    config, connections, policy, process, queue, rate, resolver, script, stage, summary, suspend,
    transfer,
};

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

/// Letters of the commands that are answered here; a test holds the match below against it.
pub(crate) const ANSWERED: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXabcdefghijkopqrstuvwxyz";

/// Answers a request.
///
/// # Cancel safety
///
/// Dropping the future may leave an update done in part; each row is either changed or not.
pub(crate) async fn answer(
    core: &Arc<Core>,
    client: &mut ControlClient,
    wire: &mut Wire<'_>,
    request: &Request,
) -> Answer {
    let body = request.body.as_slice();
    match request.command.letter {
        b'a' => stage::start(core, client, pb::ConfigGreenDeployRequest::decode(body)?).await,
        b'b' => stage::status(core),
        b'c' => stage::cancel(core),
        b'd' => stage::poll(core, client, &pb::HslBreakPointRequest::decode(body)?),
        b'e' => stage::wait(core, client, wire).await,
        b'f' => stage::go_on(client),
        b'r' => config::reload(core).await,
        b'o' => config::reload_suspends(core).await,
        b'p' => config::reload_policies(core).await,
        b'H' => config::reload_delivery(core).await,
        b'k' | b'C' => {
            core.generation.load().resolver.clear_cache();
            Ok(Vec::new())
        }
        b'q' => Ok(process::stats(core).encode_to_vec()),
        b'M' => process::plugin_command(core, pb::PluginCommandRequest::decode(body)?).await,
        b'Q' => Ok(process::version_response().encode_to_vec()),
        b's' => suspend::list(core, pb::SuspendRequest::decode(body)?),
        b't' => suspend::add(core, &pb::SuspendAddRequest::decode(body)?),
        b'u' => suspend::delete(core, &pb::SuspendDeleteRequest::decode(body)?),
        b'O' => suspend::update(core, &pb::SuspendUpdateRequest::decode(body)?),
        b'v' => policy::list(core),
        b'w' => policy::add(core, pb::PolicyConditionAddRequest::decode(body)?),
        b'x' => policy::delete(core, &pb::PolicyConditionDeleteRequest::decode(body)?),
        b'P' => policy::update(core, pb::PolicyConditionUpdateRequest::decode(body)?),
        b'B' => policy::refill(core, pb::PolicyRateRefillRequest::decode(body)?),
        b'R' => policy::match_values(core, pb::PolicyMatchRequest::decode(body)?),
        b'S' => policy::groupings(core, pb::PolicyGroupingListRequest::decode(body)?),
        b'T' => policy::grouping_items(core, pb::PolicyGroupingRequest::decode(body)?),
        b'D' => summary::group_by(core, pb::QueueGroupByRequest::decode(body)?).await,
        b'y' => script::fetch(core, &pb::HslMemoryRequest::decode(body)?),
        b'z' => script::store(core, pb::HslMemoryStoreRequest::decode(body)?).await,
        b'A' => script::delete(core, pb::HslMemoryDeleteRequest::decode(body)?).await,
        b'K' => script::list(core, pb::HslMemoryListRequest::decode(body)?),
        b'g' => script::caches(core),
        b'h' => script::clear_caches(core, pb::HslCacheClearRequest::decode(body)?),
        b'i' => rate::list(core, pb::HslRateRequest::decode(body)?),
        b'j' => rate::clear(core, pb::HslRateClearRequest::decode(body)?),
        b'L' => resolver::query(core, pb::ResolverQueryRequest::decode(body)?).await,
        b'E' => transfer::import(core, pb::QueueImportRequest::decode(body)?).await,
        b'J' => transfer::unload(core, pb::QueueUnloadRequest::decode(body)?).await,
        b'N' => transfer::export(core, pb::QueueExportRequest::decode(body)?).await,
        b'U' => connections::list_server(core, pb::ServerConnectionsListRequest::decode(body)?),
        b'V' => connections::close_server(core, pb::ServerConnectionsCloseRequest::decode(body)?),
        b'W' => connections::list_queue(core, pb::QueueConnectionsListRequest::decode(body)?),
        b'X' => connections::close_queue(core, pb::QueueConnectionsCloseRequest::decode(body)?),
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

#[cfg(test)]
mod tests {
    use super::ANSWERED;

    #[test]
    fn the_list_names_exactly_the_arms_of_the_match() {
        let source = include_str!("dispatch.rs");
        let body = source.split("match request.command.letter").nth(1).unwrap();
        let body = body.split("#[cfg(test)]").next().unwrap();
        // The pieces between the quotes of `b'x'`, of which the letters are one octet long.
        let pieces = body.split('\'').collect::<Vec<_>>();
        let is_octet = |pair: &&[&str]| pair[0].ends_with('b') && pair[1].len() == 1;
        let mut letters: Vec<u8> =
            pieces.windows(2).filter(is_octet).map(|pair| pair[1].as_bytes()[0]).collect();
        letters.sort_unstable();
        assert_eq!(letters, ANSWERED);
    }
}
