//! `config reload`.

use std::sync::Arc;

use crate::context::Core;
use crate::control::dispatch::{Answer, ControlError};
use crate::reload;

/// Takes a new running configuration; the answer is sent when it is in force.
pub(crate) async fn reload(core: &Arc<Core>) -> Answer {
    reload::run(core).await.map(|()| Vec::new()).map_err(|error| ControlError(error.to_string()))
}
