//! Delivery attempts by plugins.
//!
//! An attempt is a call that waits from its beginning, and `done` is its wake-up: records, numbers and
//! stages are those of calls ([`crate::call`]). It lives until the plugin calls `done`, also when the
//! daemon stopped waiting for it: the plugin may be in the middle of reading the message.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hsl::Value;
use parking_lot::Mutex;
use plugin_abi::{HalonDeliverContext, HalonHSLValue, HalonQueueMessage};

use crate::call::{Phase, Scheduled};
use crate::calling;
use crate::door::door;
use crate::message::Message;
use crate::outstanding::clear_elsewhere;
use crate::plugin::Plugin;
use crate::services::{DeliverServices, Delivery, DeliveryOutcome, DeliveryVerdict, FileContent};
use crate::table::{Handle, Kind};
use crate::value::{Stream, Tree, open_stream};

/// The record of one attempt after the other. It is never freed and never moves.
pub(crate) struct Attempt {
    /// Its place among the records.
    index: u32,
    phase: Phase,
    /// Arguments, then the return slot, then whatever the plugin adds.
    tree: Tree,
    content: Mutex<Content>,
}

/// What an attempt has beside its values. The lock is taken before that of the tree.
#[derive(Default)]
struct Content {
    /// The attempt that `details` are of.
    number: u32,
    details: Option<Box<Details>>,
    /// Where the values are dropped when the daemon is gone before the plugin is done.
    runtime: Option<tokio::runtime::Handle>,
}

struct Details {
    message: Message,
    file: Arc<dyn FileContent>,
    has_arguments: bool,
    services: Arc<dyn DeliverServices>,
    stream: Option<Stream>,
    code: Option<i16>,
    reason: Vec<u8>,
    error: Option<Vec<u8>>,
    /// The plugin has called `done`: nothing that it says counts any more.
    is_done: bool,
}

/// One attempt of a record.
#[derive(Clone, Copy)]
pub(crate) struct Ticket {
    attempt: &'static Attempt,
    number: u32,
}

/// Hands an attempt to a plugin.
pub(crate) fn start(
    plugin: &Arc<Plugin>,
    deliver: plugin_abi::signatures::Halon_deliver,
    delivery: Delivery,
) -> Outcome {
    let Some(attempt) = door().attempts.take(Attempt::new) else { return Outcome(None) };
    let ticket = attempt.begin(plugin, delivery);
    calling::brief(plugin, plugin.sites.of("Halon_deliver"), || {
        // SAFETY: the attempt lives until `done`; the entry point has this type by the header.
        unsafe { deliver(ticket.as_ptr()) };
    });
    attempt.phase.returned(ticket.number);
    Outcome(Some(ticket))
}

impl Attempt {
    fn new(index: u32) -> Self {
        Self { index, phase: Phase::new(), tree: Tree::empty(), content: Mutex::default() }
    }

    /// Begins an attempt. Only who took the record calls it.
    fn begin(&'static self, plugin: &Arc<Plugin>, delivery: Delivery) -> Ticket {
        let has_arguments = delivery.arguments.is_some();
        let mut arguments = [delivery.arguments.unwrap_or_default()];
        // SAFETY: the record is not in use: no attempt of it is live, and values of attempts that are
        // over are nobody's.
        unsafe { self.tree.refill(plugin, &mut arguments) };
        let number = self.phase.begin(Kind::Delivery.numbers());
        let details = Details {
            message: Message::new(delivery.message),
            file: delivery.file,
            has_arguments,
            services: delivery.services,
            stream: None,
            code: None,
            reason: Vec::new(),
            error: None,
            is_done: false,
        };
        *self.content.lock() = Content { number, details: Some(Box::new(details)), runtime: None };
        // It waits for `done`, which may come before `Halon_deliver` has returned.
        self.phase.suspend_return(number);
        Ticket { attempt: self, number }
    }

    /// Finds the attempt that C means; `None` for NULL and attempts that are over.
    pub(crate) fn find(context: *const HalonDeliverContext) -> Option<Ticket> {
        let handle = Handle::from_ptr(context, Kind::Delivery)?;
        let attempt = door().attempts.find(handle.index)?;
        Some(Ticket { attempt, number: handle.number })
    }
}

impl Ticket {
    /// The handle of the attempt for C.
    fn as_ptr(self) -> *mut HalonDeliverContext {
        Handle { index: self.attempt.index, number: self.number }.as_ptr(Kind::Delivery)
    }

    /// Reads or changes the details; `None` when the plugin is done with the attempt.
    fn with<R>(self, then: impl FnOnce(&mut Details) -> R) -> Option<R> {
        let mut content = self.attempt.content.lock();
        let is_meant = content.number == self.number;
        let details = content.details.as_deref_mut().filter(|d| is_meant && !d.is_done)?;
        Some(then(details))
    }

    /// The message as a stream, the same one each time.
    pub(crate) fn stream(self) -> Option<*mut libc::FILE> {
        self.with(|details| {
            if details.stream.is_none() {
                details.stream = open_stream(Arc::clone(&details.file));
            }
            details.stream.as_ref().map(Stream::as_ptr)
        })?
    }

    /// The message's fields. Borrowed by C until the attempt is over.
    pub(crate) fn message(self) -> Option<*mut HalonQueueMessage> {
        self.with(|details| details.message.as_ptr())
    }

    /// The arguments, if there are some. Borrowed as above.
    pub(crate) fn arguments(self) -> Option<*mut HalonHSLValue> {
        self.with(|details| if details.has_arguments { self.slot(ARGUMENTS) } else { None })?
    }

    /// The slot of the return value. Borrowed as above.
    pub(crate) fn return_slot(self) -> Option<*mut HalonHSLValue> {
        self.with(|_| self.slot(RETURN))?
    }

    fn slot(self, index: u32) -> Option<*mut HalonHSLValue> {
        Some(self.attempt.tree.cell(index)?.as_ptr())
    }

    /// Sets the code; false when the plugin is done with the attempt, as in all of these.
    pub(crate) fn set_code(self, code: i16) -> bool {
        self.with(|details| details.code = Some(code)).is_some()
    }

    pub(crate) fn set_reason(self, reason: &[u8]) -> bool {
        self.with(|details| details.reason = reason.to_vec()).is_some()
    }

    pub(crate) fn set_error(self, reason: &[u8]) -> bool {
        self.with(|details| details.error = Some(reason.to_vec())).is_some()
    }

    pub(crate) fn trace(self, text: &[u8]) -> bool {
        let known = self
            .with(|details| (Arc::clone(&details.services), Arc::clone(details.message.info())));
        // Without the lock: what the program does with it takes as long as it takes.
        let Some((services, info)) = known else { return false };
        services.trace(&*info, text);
        true
    }

    /// Ends the attempt; a second time does nothing.
    pub(crate) fn done(self) {
        if self.with(|details| details.is_done = true).is_none() {
            tracing::debug!("plugin.done_of_ended_delivery");
            return;
        }
        if self.attempt.phase.schedule(self.number) == Scheduled::GivenBack {
            let runtime = self.attempt.content.lock().runtime.take();
            clear_elsewhere(runtime, move || drop(self.finish()));
        }
    }

    /// Clears the attempt away, which is nobody's any more, and gives what the plugin said. Nobody else
    /// does it.
    fn finish(self) -> DeliveryOutcome {
        let Self { attempt, number } = self;
        let content = std::mem::take(&mut *attempt.content.lock());
        let returned = attempt.tree.end(RETURN, || attempt.phase.end(number));
        let verdict = content.details.map_or_else(no_result, |details| details.verdict());
        // SAFETY: the attempt is over, so its values are nobody's any more.
        unsafe { attempt.tree.clear() };
        if door().attempts.put(attempt) > RESTING {
            attempt.tree.strip();
        }
        DeliveryOutcome { verdict, returned }
    }
}

impl Details {
    fn verdict(mut self: Box<Self>) -> DeliveryVerdict {
        // An error says more than a result that was set before it.
        match (self.error.take(), self.code) {
            (Some(reason), _) => DeliveryVerdict::Error { reason },
            (None, Some(code)) => {
                DeliveryVerdict::Result { code, reason: std::mem::take(&mut self.reason) }
            }
            (None, None) => no_result(),
        }
    }
}

fn no_result() -> DeliveryVerdict {
    DeliveryVerdict::Error { reason: b"the plugin gave no result".to_vec() }
}

/// Waits for the end of an attempt; without one, there were too many at once.
///
/// # Cancel safety
///
/// Dropping it loses the outcome, not the attempt: what the plugin does goes on.
pub(crate) struct Outcome(Option<Ticket>);

impl Future for Outcome {
    type Output = DeliveryOutcome;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<DeliveryOutcome> {
        let Some(ticket) = self.0.take() else {
            let reason = b"too many deliveries of plugins at once".to_vec();
            let verdict = DeliveryVerdict::Error { reason };
            return Poll::Ready(DeliveryOutcome { verdict, returned: Value::None });
        };
        if ticket.attempt.phase.poll(ticket.number, context.waker()) {
            return Poll::Ready(ticket.finish());
        }
        self.0 = Some(ticket);
        Poll::Pending
    }
}

impl Drop for Outcome {
    fn drop(&mut self) {
        let Some(ticket) = self.0.take() else { return };
        ticket.attempt.content.lock().runtime = tokio::runtime::Handle::try_current().ok();
        door().outstanding.add();
        if !ticket.attempt.phase.abandon(ticket.number) {
            door().outstanding.remove();
            drop(ticket.finish());
        }
    }
}

/// Cells of the tree.
const ARGUMENTS: u32 = 0;
const RETURN: u32 = 1;

/// Records that keep room for the values of the next attempt.
const RESTING: usize = 1024;
