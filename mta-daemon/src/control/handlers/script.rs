//! `hsl memory` and `hsl cache`: what scripts share, seen from outside.

use control::{Message, pb};
use hsl::Value;
use hsl::shared_memory::{OwnerId, Place, SharedMemory, Stored};
use hsl::value::Str;

use crate::context::Core;
use crate::control::dispatch::{Answer, ControlError};
use crate::control::handlers::condition;

/// A shared value as JSON; empty when there is none.
pub(crate) fn fetch(core: &Core, request: &pb::HslMemoryRequest) -> Answer {
    let value = core.scripts.memory.peek(request.key.as_bytes());
    let value = value.map(|value| json(&request.key, &value)).transpose()?.unwrap_or_default();
    Ok(pb::HslMemoryResponse { value }.encode_to_vec())
}

/// Stores a value; waits while a script holds its barrier. The error when there is no room for it.
pub(crate) async fn store(core: &Core, request: pb::HslMemoryStoreRequest) -> Answer {
    let value = hsl_std::value_from_json(&request.value)
        .ok_or_else(|| ControlError("the value is no JSON".into()))?;
    let memory = &core.scripts.memory;
    let user = User { memory, owner: memory.new_owner() };
    let value = Stored::new(value);
    let store = |place: &mut Place<'_>| {
        let old = place.get().cloned();
        place.set(value).map(|()| old)
    };
    let old = match change(core, &user, &request.key, store).await {
        Some(stored) => stored.map_err(|full| ControlError(full.to_string()))?,
        None => None,
    };
    let value = match old.filter(|_| request.r#return) {
        Some(old) => json(&request.key, &old)?,
        None => String::new(),
    };
    Ok(pb::HslMemoryStoreResponse { value }.encode_to_vec())
}

/// Deletes a value; waits while a script holds its barrier.
pub(crate) async fn delete(core: &Core, request: pb::HslMemoryDeleteRequest) -> Answer {
    let memory = &core.scripts.memory;
    let user = User { memory, owner: memory.new_owner() };
    let old = change(core, &user, &request.key, |place| place.take()).await.flatten();
    let affected = old.is_some().into();
    let value = match old.filter(|_| request.r#return) {
        Some(old) => json(&request.key, &old)?,
        None => String::new(),
    };
    Ok(pb::HslMemoryDeleteResponse { affected, value }.encode_to_vec())
}

/// Lists keys, sorted. Keys that are no UTF-8 cannot be named here and are left out.
pub(crate) fn list(core: &Core, request: pb::HslMemoryListRequest) -> Answer {
    let wanted = request.condition.and_then(|condition| condition.key);
    let exclude = wanted.as_ref().is_some_and(|wanted| wanted.exclude);
    let wanted = wanted.map(condition::string_match).transpose()?;
    let paging = request.paging.unwrap_or_default();
    let offset = usize::try_from(paging.offset).unwrap_or(usize::MAX);
    let limit = match paging.limit {
        0 => usize::MAX,
        limit => usize::try_from(limit).unwrap_or(usize::MAX),
    };
    let keys = core.scripts.memory.keys();
    let keys = keys.iter().filter_map(|key| std::str::from_utf8(key.as_bytes()).ok());
    let keys = keys.filter(|key| wanted.as_ref().is_none_or(|it| it.is_match(key) != exclude));
    let keys = keys.skip(offset).take(limit).map(str::to_owned).collect();
    Ok(pb::HslMemoryListResponse { keys }.encode_to_vec())
}

/// Lists the buckets of `cache` statements.
pub(crate) fn caches(core: &Core) -> Answer {
    let text = |name: &Str| String::from_utf8_lossy(name.as_bytes()).into_owned();
    let all = core.scripts.cache.statistics();
    let items = all
        .iter()
        .map(|(name, numbers)| pb::hsl_cache_response::Item {
            namespace: text(&name.namespace),
            function: text(&name.function),
            maxsize: numbers.max_size as u64,
            size: numbers.size as u64,
            hits: numbers.hits,
            misses: numbers.misses,
            evicts: numbers.evicts,
            // Calls for the same arguments wait for nobody here.
            waits: 0,
        })
        .collect();
    Ok(pb::HslCacheResponse { items }.encode_to_vec())
}

/// Empties buckets.
pub(crate) fn clear_caches(core: &Core, request: pb::HslCacheClearRequest) -> Answer {
    if !request.arguments.is_empty() {
        return Err(ControlError(
            "entries cannot be chosen by arguments, only whole buckets".into(),
        ));
    }
    let is = |wanted: &Option<pb::StringValue>, name: &Str| {
        wanted.as_ref().is_none_or(|wanted| wanted.value.as_bytes() == name.as_bytes())
    };
    let affected = core.scripts.cache.clear_named(|name| {
        is(&request.namespace, &name.namespace) && is(&request.function, &name.function)
    });
    Ok(pb::HslCacheClearResponse { affected: affected as u64 }.encode_to_vec())
}

/// A client of the shared memory. It lets go of values when it is dropped: declare it before them.
struct User<'a> {
    memory: &'a SharedMemory,
    owner: OwnerId,
}

impl Drop for User<'_> {
    fn drop(&mut self) {
        self.memory.let_go(self.owner);
    }
}

async fn change<R>(
    core: &Core,
    user: &User<'_>,
    key: &str,
    change: impl FnOnce(&mut Place<'_>) -> R,
) -> Option<R> {
    let memory = &core.scripts.memory;
    let key = Str::new(key.as_bytes());
    // While a script holds the barrier of this name, the change waits as another script's would.
    let _held = memory.lock(&key, user.owner).await;
    memory.try_with(key.as_bytes(), user.owner, change)
}

fn json(key: &str, value: &Value) -> Result<String, ControlError> {
    hsl_std::value_to_json(value)
        .ok_or_else(|| ControlError(format!("the value of {key} cannot be shown as JSON")))
}
