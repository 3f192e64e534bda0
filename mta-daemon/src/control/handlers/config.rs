//! `config reload`, and the reloads of the queue's files.

use std::sync::Arc;

use crate::context::Core;
use crate::control::dispatch::Answer;
use crate::reload;

/// Takes a new running configuration; the answer is sent when it is in force.
pub(crate) async fn reload(core: &Arc<Core>) -> Answer {
    Ok(reload::run(core).await.map(|()| Vec::new())?)
}

/// Takes the policy file anew.
pub(crate) async fn reload_policies(core: &Arc<Core>) -> Answer {
    Ok(reload::policies(core).await.map(|()| Vec::new())?)
}

/// Takes the suspend file anew.
pub(crate) async fn reload_suspends(core: &Arc<Core>) -> Answer {
    Ok(reload::suspends(core).await.map(|()| Vec::new())?)
}

/// Takes the delivery settings anew.
pub(crate) async fn reload_delivery(core: &Arc<Core>) -> Answer {
    Ok(reload::delivery(core).await.map(|()| Vec::new())?)
}
