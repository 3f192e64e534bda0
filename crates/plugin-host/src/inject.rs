//! Messages that plugins inject.
//!
//! Their handles are like those of calls and deliveries ([`crate::table`]): a context past its commit
//! or abort finds nothing.

use std::sync::Arc;

use hsl::Value;
use parking_lot::Mutex;
use plugin_abi::signatures::InjectCallback;
use plugin_abi::{HalonInjectContext, HalonInjectResultContext};

use crate::calling::{self, ranges};
use crate::door::door;
use crate::plugin::PluginPointer;
use crate::services::{InjectAddress, InjectEnvelope, InjectMessage, InjectRecipient};
use crate::table::{Handle, Kind};
use crate::text::CText;
use crate::value::{Cell, Tree};

/// The record of one injection after the other. It is never freed.
pub(crate) struct Slot {
    /// Its place among the records.
    index: u32,
    content: Mutex<Content>,
}

#[derive(Default)]
struct Content {
    /// How often the record was used, in the numbers of its kind.
    number: u32,
    injection: Option<Arc<Injection>>,
}

/// A message that a plugin is putting together.
pub(crate) struct Injection {
    state: Mutex<State>,
    /// The metadata slot.
    tree: Arc<Tree>,
}

struct State {
    /// `None` once it is handed in, and while it is being handed in.
    message: Option<Box<dyn InjectMessage>>,
    sender: Option<InjectAddress>,
    recipients: Vec<InjectRecipient>,
    callback: Option<(InjectCallback, PluginPointer)>,
}

/// What a `HalonInjectResultContext *` points to.
#[repr(C)]
pub(crate) struct InjectResult {
    tag: u64,
    pub(crate) code: i16,
    pub(crate) reason: CText,
}

/// Tells a plugin how its message fared, exactly once.
///
/// Dropped without [`Self::complete`] after the commit, it says 451: nobody knows what became of the
/// message.
pub struct InjectDone(Arc<Report>);

/// What an [`InjectDone`] and its commit share.
struct Report {
    callback: Option<(InjectCallback, PluginPointer)>,
    stage: Mutex<Stage>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Stage {
    /// The service has not answered to the commit yet.
    Committing,
    /// It dropped its `InjectDone` before it answered: harmless if it refuses.
    Dropped,
    /// The message is taken, or was refused and nobody is to be called.
    Answered,
    /// The plugin was called.
    Called,
}

impl Slot {
    fn new(index: u32) -> Self {
        Self { index, content: Mutex::default() }
    }

    /// Gives the handle for a new injection.
    fn fill(&self, injection: Injection) -> *mut HalonInjectContext {
        let mut content = self.content.lock();
        content.number = (content.number + 1) % Kind::Injection.numbers();
        content.injection = Some(Arc::new(injection));
        Handle { index: self.index, number: content.number }.as_ptr(Kind::Injection)
    }
}

/// Starts a message at a server. NULL if there is none of that id, or there are too many messages.
pub(crate) fn begin(serverid: &str) -> *mut HalonInjectContext {
    let Some(message) = door().services().inject.and_then(|inject| inject.begin(serverid)) else {
        return std::ptr::null_mut();
    };
    let state =
        State { message: Some(message), sender: None, recipients: Vec::new(), callback: None };
    let tree = Tree::new(None, vec![Value::None]);
    match door().injections.take(Slot::new) {
        Some(slot) => slot.fill(Injection { state: Mutex::new(state), tree }),
        None => std::ptr::null_mut(),
    }
}

/// Ends a context, the first time: it finds nothing from now on.
pub(crate) fn end(context: *const HalonInjectContext) {
    let Some((slot, handle)) = slot(context) else { return };
    let ended = {
        let mut content = slot.content.lock();
        if content.number == handle.number { content.injection.take() } else { None }
    };
    // Without the lock: callbacks of the plugin may run here.
    if ended.is_some() {
        door().injections.put(slot);
    }
}

fn slot(context: *const HalonInjectContext) -> Option<(&'static Slot, Handle)> {
    let handle = Handle::from_ptr(context, Kind::Injection)?;
    Some((door().injections.find(handle.index)?, handle))
}

impl Injection {
    /// Finds the injection that C means; `None` for NULL and contexts past their end.
    pub(crate) fn find(context: *const HalonInjectContext) -> Option<Arc<Self>> {
        let (slot, handle) = slot(context)?;
        let content = slot.content.lock();
        content.injection.clone().filter(|_| content.number == handle.number)
    }

    /// Changes the envelope; false once the message is handed in.
    fn change(&self, change: impl FnOnce(&mut State)) -> bool {
        let mut state = self.state.lock();
        if state.message.is_none() {
            return false;
        }
        change(&mut state);
        true
    }

    pub(crate) fn set_callback(
        &self,
        callback: Option<InjectCallback>,
        user: PluginPointer,
    ) -> bool {
        self.change(|state| state.callback = callback.map(|callback| (callback, user)))
    }

    pub(crate) fn set_sender(&self, sender: InjectAddress) -> bool {
        self.change(|state| state.sender = Some(sender))
    }

    pub(crate) fn add_recipient(&self, recipient: InjectRecipient) -> bool {
        self.change(|state| state.recipients.push(recipient))
    }

    pub(crate) fn append(&self, data: &[u8]) -> bool {
        self.state.lock().message.as_mut().is_some_and(|message| message.append(data))
    }

    pub(crate) fn metadata(&self) -> Option<Cell<'_>> {
        self.tree.cell(0)
    }

    /// Hands the message in. On false nothing happened, and nobody is called back.
    pub(crate) fn commit(&self) -> bool {
        // The service works without the lock: the plugin may be called back before it has answered.
        let (mut message, envelope, callback) = {
            let mut state = self.state.lock();
            let Some(message) = state.message.take() else { return false };
            let envelope = InjectEnvelope {
                sender: state.sender.clone(),
                recipients: state.recipients.clone(),
                metadata: self.tree.value(0),
            };
            (message, envelope, state.callback)
        };
        let report = Arc::new(Report { callback, stage: Mutex::new(Stage::Committing) });
        let answer = message.commit(envelope, InjectDone(Arc::clone(&report)));
        report.answered(answer.is_ok());
        match answer {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(%error, "plugin.inject_refused");
                // It may be handed in again.
                self.state.lock().message = Some(message);
                false
            }
        }
    }
}

impl InjectDone {
    /// Calls the plugin back with a code like that of an SMTP reply, and its text.
    pub fn complete(self, code: u16, reason: &str) {
        self.0.call(code, reason);
    }
}

impl Drop for InjectDone {
    fn drop(&mut self) {
        let stage = {
            let mut stage = self.0.stage.lock();
            if *stage == Stage::Committing {
                *stage = Stage::Dropped;
            }
            *stage
        };
        if stage == Stage::Answered {
            self.0.lost();
        }
    }
}

impl Report {
    /// The service answered to the commit.
    fn answered(&self, is_taken: bool) {
        let before = {
            let mut stage = self.stage.lock();
            let before = *stage;
            if before != Stage::Called {
                *stage = if is_taken { Stage::Answered } else { Stage::Called };
            }
            before
        };
        if is_taken && before == Stage::Dropped {
            self.lost();
        }
    }

    fn lost(&self) {
        self.call(451, "the message was lost on its way");
    }

    /// Calls the plugin, the first time.
    fn call(&self, code: u16, reason: &str) {
        if std::mem::replace(&mut *self.stage.lock(), Stage::Called) == Stage::Called {
            return;
        }
        let Some((callback, user)) = self.callback else { return };
        let result = InjectResult {
            tag: TAG,
            code: i16::try_from(code).unwrap_or(451),
            reason: CText::new(reason.as_bytes()),
        };
        let owner = ranges::owner(callback as usize).unwrap_or("unknown");
        calling::named(owner, "the callback of an injection", || {
            // SAFETY: the plugin gave the callback with this pointer, and it is called once. No lock
            // of ours is held.
            unsafe { callback(std::ptr::from_ref(&result).cast_mut().cast(), user.0) };
        });
    }
}

impl std::fmt::Debug for InjectDone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InjectDone").field("stage", &*self.0.stage.lock()).finish()
    }
}

impl InjectResult {
    /// Finds the result that C means; `None` for NULL.
    ///
    /// # Safety
    ///
    /// `context` is NULL or that of a callback which is under way through `'a`.
    pub(crate) unsafe fn from_raw<'a>(
        context: *const HalonInjectResultContext,
    ) -> Option<&'a Self> {
        let result = context.cast::<Self>();
        if result.is_null() || !result.is_aligned() {
            return None;
        }
        // SAFETY: the caller keeps the contract.
        let result = unsafe { &*result };
        (result.tag == TAG).then_some(result)
    }
}

/// Marks a result.
const TAG: u64 = 0x4d54_4169_6e6a_6563;
