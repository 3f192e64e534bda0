//! `config livestage`, and the debugging session of a control connection.
//!
//! A connection is attached to the stage that it started bound to itself, or waits for: scripts stand at
//! their breakpoints for it. When it ends, they go on.

use std::sync::Arc;

use control::{Message, pb};

use crate::context::Core;
use crate::control::client::{ControlClient, Wire};
use crate::control::dispatch::{Answer, ControlError};
use crate::reload;
use crate::stage::session::{News, Session};
use crate::stage::{Conditions, Stage};

/// A control connection that debugs a stage.
pub(crate) struct Attachment {
    core: Arc<Core>,
    stage: Arc<Stage>,
    /// The stage ends with it.
    is_bound: bool,
}

impl Drop for Attachment {
    fn drop(&mut self) {
        self.stage.session.detach();
        if self.is_bound {
            self.core.stage.end(&self.stage);
        }
    }
}

/// Starts a live stage; the answer is sent when it takes connections.
pub(crate) async fn start(
    core: &Arc<Core>,
    client: &mut ControlClient,
    request: pb::ConfigGreenDeployRequest,
) -> Answer {
    let pb::ConfigGreenDeployRequest { id, conditions, config, connectionbound } = request;
    if id.is_empty() || id.len() > MAX_ID {
        return Err(ControlError(format!("the id of a stage has 1 to {MAX_ID} octets")));
    }
    let is_server = |id: &str| core.stats.servers.keys().any(|known| known.as_str() == id);
    let conditions = Conditions::read(conditions.unwrap_or_default(), is_server)?;
    let _one_at_a_time = core.reloading.lock().await;
    let session = Session::new();
    let id: Arc<str> = id.into();
    let (inner, for_scripts, name) = (Arc::clone(core), Arc::clone(&session), Arc::clone(&id));
    // Compiling is work for the pool, not for a runtime thread.
    let build = move || reload::build_stage(&inner, &name, &config, &for_scripts);
    let generation = tokio::task::spawn_blocking(build).await??;
    if core.stop.is_cancelled() {
        return Err(ControlError("the server is shutting down".into()));
    }
    // One that this connection started before makes room.
    client.attachment = None;
    if connectionbound {
        session.attach();
    }
    let stage = core.stage.start(Stage::new(id, conditions, generation, session))?;
    if connectionbound {
        client.attachment = Some(Attachment { core: Arc::clone(core), stage, is_bound: true });
    }
    Ok(Vec::new())
}

/// Says how far the stage is; nothing when there is none.
pub(crate) fn status(core: &Core) -> Answer {
    Ok(core.stage.current().map(|stage| stage.status().encode_to_vec()).unwrap_or_default())
}

/// Ends the stage.
pub(crate) fn cancel(core: &Core) -> Answer {
    let stage = core.stage.current().ok_or_else(no_stage)?;
    core.stage.end(&stage);
    Ok(Vec::new())
}

/// Takes the oldest stop without waiting for one.
pub(crate) fn poll(
    core: &Core,
    client: &ControlClient,
    request: &pb::HslBreakPointRequest,
) -> Answer {
    let stage = core.stage.current().ok_or_else(no_stage)?;
    let session = &stage.session;
    let stop = match &client.attachment {
        _ if !request.id.is_empty() && request.id != *stage.id => None,
        Some(attachment) if Arc::ptr_eq(&attachment.stage, &stage) && !session.is_shown() => {
            session.show()
        }
        // With somebody attached nothing is noted.
        _ => session.noted(),
    };
    stop.map(|stop| stop.encode_to_vec()).ok_or_else(|| ControlError(NO_BREAKPOINT.to_owned()))
}

/// Waits for the next stop; lines go to the client meanwhile.
pub(crate) async fn wait(
    core: &Arc<Core>,
    client: &mut ControlClient,
    wire: &mut Wire<'_>,
) -> Answer {
    let session = attach(core, client)?;
    if session.is_shown() {
        return Err(ControlError("a script stands at a breakpoint already".into()));
    }
    loop {
        // Made before the look, so that what comes meanwhile is not missed.
        let news = session.news();
        match session.next() {
            News::Lines(lines) => {
                for line in lines {
                    wire.log(&line).await?;
                }
                continue;
            }
            News::Stop(stop) => return Ok(stop.encode_to_vec()),
            News::Nothing if session.is_over() => {
                return Err(ControlError("the live stage has ended".into()));
            }
            News::Nothing => {}
        }
        tokio::select! {
            biased;
            () = news => {}
            // Whatever the client wants now, it does not wait any more.
            () = wire.interrupted() => return Err(ControlError(ABORTED.to_owned())),
        }
    }
}

/// Lets the script go on that stands at the breakpoint which the client sees.
pub(crate) fn go_on(client: &ControlClient) -> Answer {
    let attachment = client.attachment.as_ref();
    let is_done = attachment.is_some_and(|attachment| attachment.stage.session.go_on());
    if is_done { Ok(Vec::new()) } else { Err(ControlError(NO_BREAKPOINT.to_owned())) }
}

/// The session of the stage, attached to this connection.
fn attach(core: &Arc<Core>, client: &mut ControlClient) -> Result<Arc<Session>, ControlError> {
    if let Some(attachment) = &client.attachment
        && !attachment.stage.session.is_over()
    {
        return Ok(Arc::clone(&attachment.stage.session));
    }
    client.attachment = None;
    let stage = core.stage.current().ok_or_else(no_stage)?;
    if !stage.session.attach() {
        return Err(ControlError("another connection debugs the live stage".into()));
    }
    let session = Arc::clone(&stage.session);
    client.attachment = Some(Attachment { core: Arc::clone(core), stage, is_bound: false });
    Ok(session)
}

fn no_stage() -> ControlError {
    ControlError("there is no live stage".into())
}

/// Octets of the name of a stage: as many as messages keep.
const MAX_ID: usize = 255;

/// Compat: debuggers know these texts.
const NO_BREAKPOINT: &str = "No breakpoint";
const ABORTED: &str = "Aborted";
