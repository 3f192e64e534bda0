//! What `rate()` of scripts counted: listed and cleared.

use control::{Message, pb};

use crate::context::Core;
use crate::control::dispatch::{Answer, ControlError};
use crate::control::handlers::condition;

/// Lists counters by namespace and entry, behind the cursor of the request. Counters with a name that
/// is no UTF-8 cannot be named here and are left out.
pub(crate) fn list(core: &Core, request: pb::HslRateRequest) -> Answer {
    let filter = Filter::read(request.filter)?;
    let paging = request.paging.unwrap_or_default();
    let cursor = (paging.namespace.as_str(), paging.entry.as_str());
    let is_first_page = cursor == ("", "");
    let limit = match paging.limit {
        0 => usize::MAX,
        limit => usize::try_from(limit).unwrap_or(usize::MAX),
    };
    let mut counters = core.rates.list(core.scripts.clock.monotonic());
    counters.sort_unstable();
    let item = counters
        .iter()
        .filter_map(|counter| {
            let namespace = str::from_utf8(&counter.namespace).ok()?;
            let entry = str::from_utf8(&counter.entry).ok()?;
            let is_behind = is_first_page || (namespace, entry) > cursor;
            (is_behind && filter.holds(namespace, entry)).then(|| pb::hsl_rate_response::Item {
                namespace: namespace.to_owned(),
                entry: entry.to_owned(),
                count: counter.count,
                localcount: counter.count,
                oldest: counter.oldest.as_secs_f64(),
                newest: counter.newest.as_secs_f64(),
            })
        })
        .take(limit)
        .collect();
    Ok(pb::HslRateResponse { item }.encode_to_vec())
}

/// Clears counters; a request without a filter clears all.
pub(crate) fn clear(core: &Core, request: pb::HslRateClearRequest) -> Answer {
    let filter = Filter::read(request.filter)?;
    let affected = core.rates.clear(core.scripts.clock.monotonic(), |namespace, entry| {
        match (str::from_utf8(namespace), str::from_utf8(entry)) {
            (Ok(namespace), Ok(entry)) => filter.holds(namespace, entry),
            _ => filter.is_empty(),
        }
    });
    Ok(pb::HslRateClearResponse { affected: affected as u64 }.encode_to_vec())
}

/// Which counters are meant.
struct Filter {
    namespace: Option<TextTest>,
    entry: Option<TextTest>,
}

/// Says whether a text is meant.
type TextTest = Box<dyn Fn(&str) -> bool>;

impl Filter {
    fn read(filter: Option<pb::HslRateFilter>) -> Result<Self, ControlError> {
        let filter = filter.unwrap_or_default();
        let read = |wanted: Option<pb::StringMatch>| {
            let Some(wanted) = wanted else { return Ok(None) };
            let exclude = wanted.exclude;
            let text = condition::string_match(wanted)?;
            let test: TextTest = Box::new(move |value| text.is_match(value) != exclude);
            Ok::<_, ControlError>(Some(test))
        };
        Ok(Self { namespace: read(filter.namespace)?, entry: read(filter.entry)? })
    }

    fn is_empty(&self) -> bool {
        self.namespace.is_none() && self.entry.is_none()
    }

    fn holds(&self, namespace: &str, entry: &str) -> bool {
        let holds = |test: &Option<TextTest>, value| test.as_ref().is_none_or(|test| test(value));
        holds(&self.namespace, namespace) && holds(&self.entry, entry)
    }
}
