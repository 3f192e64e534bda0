//! Delivery attempts by plugins.
//!
//! The attempt lives until the plugin calls `done`, also when the daemon stopped waiting for it: the
//! plugin may be in the middle of reading the message.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use hsl::Value;
use parking_lot::Mutex;

use crate::calling;
use crate::door::door;
use crate::message::Message;
use crate::plugin::Plugin;
use crate::pool::Handle;
use crate::services::{DeliverServices, Delivery, DeliveryOutcome, DeliveryVerdict, FileContent};
use crate::value::{Cell, Stream, Tree, open_stream};

/// One attempt.
pub(crate) struct Attempt {
    pub(crate) message: Message,
    file: Arc<dyn FileContent>,
    has_arguments: bool,
    /// Arguments, then the return slot.
    tree: Arc<Tree>,
    services: Arc<dyn DeliverServices>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    stream: Option<Stream>,
    code: Option<i16>,
    reason: Vec<u8>,
    error: Option<Vec<u8>>,
    outcome: Option<DeliveryOutcome>,
    waker: Option<Waker>,
}

/// Hands an attempt to a plugin.
pub(crate) fn start(
    plugin: &Arc<Plugin>,
    deliver: plugin_abi::signatures::Halon_deliver,
    delivery: Delivery,
) -> Outcome {
    let has_arguments = delivery.arguments.is_some();
    let values = vec![delivery.arguments.unwrap_or_default(), Value::None];
    let attempt = Arc::new(Attempt {
        message: Message::new(delivery.message),
        file: delivery.file,
        has_arguments,
        tree: Tree::new(Some(plugin), values),
        services: delivery.services,
        state: Mutex::default(),
    });
    let handle = door().attempts.insert(Arc::clone(&attempt));
    calling::brief(plugin, plugin.sites.of("Halon_deliver"), || {
        // SAFETY: the attempt lives until `done`; the entry point has this type by the header.
        unsafe { deliver(handle.as_ptr()) };
    });
    Outcome(attempt)
}

impl Attempt {
    /// The message as a stream, the same one each time.
    pub(crate) fn stream(&self) -> Option<*mut libc::FILE> {
        let mut state = self.state.lock();
        if state.stream.is_none() {
            state.stream = open_stream(Arc::clone(&self.file));
        }
        state.stream.as_ref().map(Stream::as_ptr)
    }

    pub(crate) fn arguments(&self) -> Option<Cell<'_>> {
        if self.has_arguments { self.tree.cell(ARGUMENTS) } else { None }
    }

    pub(crate) fn return_slot(&self) -> Option<Cell<'_>> {
        self.tree.cell(RETURN)
    }

    pub(crate) fn set_code(&self, code: i16) {
        self.state.lock().code = Some(code);
    }

    pub(crate) fn set_reason(&self, reason: &[u8]) {
        self.state.lock().reason = reason.to_vec();
    }

    pub(crate) fn set_error(&self, reason: &[u8]) {
        self.state.lock().error = Some(reason.to_vec());
    }

    pub(crate) fn trace(&self, text: &[u8]) {
        self.services.trace(self.message.info(), text);
    }

    /// Ends the attempt; a second time does nothing.
    pub(crate) fn done(&self, handle: Handle<Self>) {
        if door().attempts.release(handle).is_none() {
            return;
        }
        let returned = self.tree.value(RETURN);
        let waker = {
            let mut state = self.state.lock();
            // An error says more than a result that was set before it.
            let verdict = match (state.error.take(), state.code) {
                (Some(reason), _) => DeliveryVerdict::Error { reason },
                (None, Some(code)) => {
                    DeliveryVerdict::Result { code, reason: std::mem::take(&mut state.reason) }
                }
                (None, None) => {
                    DeliveryVerdict::Error { reason: b"the plugin gave no result".to_vec() }
                }
            };
            state.outcome = Some(DeliveryOutcome { verdict, returned });
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// Waits for the end of an attempt.
///
/// # Cancel safety
///
/// Dropping it loses the outcome, not the attempt: what the plugin does goes on.
pub(crate) struct Outcome(Arc<Attempt>);

impl Future for Outcome {
    type Output = DeliveryOutcome;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<DeliveryOutcome> {
        let mut state = self.0.state.lock();
        match state.outcome.take() {
            Some(outcome) => {
                // Closed here rather than with the last reference, which the plugin may hold.
                state.stream = None;
                Poll::Ready(outcome)
            }
            None => {
                state.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

/// Cells of the tree.
const ARGUMENTS: u32 = 0;
const RETURN: u32 = 1;
