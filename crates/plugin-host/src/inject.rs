//! Messages that plugins inject.

use std::sync::Arc;

use hsl::Value;
use parking_lot::Mutex;
use plugin_abi::HalonInjectResultContext;
use plugin_abi::signatures::InjectCallback;

use crate::calling::{self, ranges};
use crate::door::door;
use crate::plugin::PluginPointer;
use crate::services::{InjectAddress, InjectEnvelope, InjectMessage, InjectRecipient};
use crate::text::CText;
use crate::value::{Cell, Tree};

/// A message that a plugin is putting together.
pub(crate) struct Injection {
    state: Mutex<State>,
    /// The metadata slot.
    tree: Arc<Tree>,
}

struct State {
    message: Box<dyn InjectMessage>,
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

impl Injection {
    /// Starts a message at a server; `None` if there is none of that id.
    pub(crate) fn begin(serverid: &str) -> Option<Arc<Self>> {
        let message = door().services().inject?.begin(serverid)?;
        Some(Arc::new(Self {
            state: Mutex::new(State {
                message,
                sender: None,
                recipients: Vec::new(),
                callback: None,
            }),
            tree: Tree::new(None, vec![Value::None]),
        }))
    }

    pub(crate) fn set_callback(&self, callback: Option<InjectCallback>, user: PluginPointer) {
        self.state.lock().callback = callback.map(|callback| (callback, user));
    }

    pub(crate) fn set_sender(&self, sender: InjectAddress) {
        self.state.lock().sender = Some(sender);
    }

    pub(crate) fn add_recipient(&self, recipient: InjectRecipient) {
        self.state.lock().recipients.push(recipient);
    }

    pub(crate) fn append(&self, data: &[u8]) -> bool {
        self.state.lock().message.append(data)
    }

    pub(crate) fn metadata(&self) -> Option<Cell<'_>> {
        self.tree.cell(0)
    }

    /// Hands the message in. On false nothing happened, and nobody is called back.
    pub(crate) fn commit(&self) -> bool {
        let mut state = self.state.lock();
        let envelope = InjectEnvelope {
            sender: state.sender.clone(),
            recipients: state.recipients.clone(),
            metadata: self.tree.value(0),
        };
        let report =
            Arc::new(Report { callback: state.callback, stage: Mutex::new(Stage::Committing) });
        let answer = state.message.commit(envelope, InjectDone(Arc::clone(&report)));
        report.answered(answer.is_ok());
        match answer {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(%error, "plugin.inject_refused");
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
