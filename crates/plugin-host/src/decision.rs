//! Decisions of the queue that plugins take part in: picking up, inserting.

use std::ffi::c_char;
use std::sync::Arc;

use hsl::Value;
use parking_lot::Mutex;
use plugin_abi::HalonQueueContext;

use crate::calling;
use crate::message::Message;
use crate::plugin::Plugin;
use crate::services::{InsertVerdict, MessageInfo, PickupVerdict};
use crate::text::CText;
use crate::value::{Cell, Tree};

/// What a `HalonQueueContext *` points to.
#[repr(C)]
pub(crate) struct Decision {
    tag: u64,
    pub(crate) message: Message,
    /// The return slot.
    tree: Arc<Tree>,
    localips: Option<Mutex<LocalIps>>,
}

/// The source addresses, and the arrays that C was given.
struct LocalIps {
    list: Vec<CText>,
    shown: Vec<(Box<[Pointer]>, Vec<CText>)>,
}

/// An element of an array that C was given.
#[repr(transparent)]
#[derive(Clone, Copy)]
struct Pointer(*const c_char);

// SAFETY: it points to text that the same structure owns and nobody writes to.
unsafe impl Send for Pointer {}

/// Asks the plugins in turn; the first refusal wins.
pub(crate) fn pickup(plugins: &[Arc<Plugin>], message: &Arc<dyn MessageInfo>) -> PickupVerdict {
    for plugin in plugins {
        let entries = &plugin.entries;
        let is_wanted = entries.pickup_acquire2.is_some() || entries.pickup_acquire.is_some();
        if !is_wanted {
            continue;
        }
        let decision = Decision::new(plugin, message, None);
        let is_accepted = match (entries.pickup_acquire2, entries.pickup_acquire) {
            (Some(acquire), _) => {
                calling::brief(plugin, plugin.sites.of("Halon_queue_pickup_acquire2"), || {
                    // SAFETY: the decision lives through the call; the entry point has this type.
                    unsafe { acquire(decision.as_ptr()) }
                })
            }
            (None, Some(acquire)) => {
                calling::brief(plugin, plugin.sites.of("Halon_queue_pickup_acquire"), || {
                    // SAFETY: as above.
                    unsafe { acquire(decision.message.as_ptr()) }
                })
            }
            (None, None) => true,
        };
        if !is_accepted {
            let refused_by = Some(Arc::clone(&plugin.id));
            return PickupVerdict { refused_by, returned: decision.returned() };
        }
    }
    PickupVerdict { refused_by: None, returned: Value::None }
}

/// Asks the plugins in turn, each with the source addresses that the one before left.
pub(crate) fn insert(
    plugins: &[Arc<Plugin>],
    message: &Arc<dyn MessageInfo>,
    mut localips: Vec<String>,
) -> InsertVerdict {
    for plugin in plugins {
        let Some(callback) = plugin.entries.insert_callback else { continue };
        let decision = Decision::new(plugin, message, Some(&localips));
        let is_accepted =
            calling::brief(plugin, plugin.sites.of("Halon_queue_insert_callback"), || {
                // SAFETY: the decision lives through the call; the entry point has this type.
                unsafe { callback(decision.as_ptr()) }
            });
        localips = decision.localips();
        if !is_accepted {
            let refused_by = Some(Arc::clone(&plugin.id));
            return InsertVerdict { refused_by, localips, returned: decision.returned() };
        }
    }
    InsertVerdict { refused_by: None, localips, returned: Value::None }
}

impl Decision {
    fn new(
        plugin: &Arc<Plugin>,
        message: &Arc<dyn MessageInfo>,
        localips: Option<&[String]>,
    ) -> Self {
        let localips = localips.map(|list| {
            let list = list.iter().map(|text| CText::new(text.as_bytes())).collect();
            Mutex::new(LocalIps { list, shown: Vec::new() })
        });
        Self {
            tag: TAG,
            message: Message::new(Arc::clone(message)),
            tree: Tree::new(Some(plugin), vec![Value::None]),
            localips,
        }
    }

    fn as_ptr(&self) -> *mut HalonQueueContext {
        std::ptr::from_ref(self).cast_mut().cast()
    }

    /// Finds the decision that C means; `None` for NULL.
    ///
    /// # Safety
    ///
    /// `context` is NULL or that of a callback which is under way through `'a`.
    pub(crate) unsafe fn from_raw<'a>(context: *const HalonQueueContext) -> Option<&'a Self> {
        let decision = context.cast::<Self>();
        if decision.is_null() || !decision.is_aligned() {
            return None;
        }
        // SAFETY: the caller keeps the contract.
        let decision = unsafe { &*decision };
        (decision.tag == TAG).then_some(decision)
    }

    pub(crate) fn return_slot(&self) -> Option<Cell<'_>> {
        self.tree.cell(0)
    }

    fn returned(&self) -> Value {
        self.tree.value(0)
    }

    /// The source addresses as an array of C strings with its length. The array has a NULL behind it
    /// and lives as long as the decision.
    pub(crate) fn show_localips(&self) -> Option<(*const *const c_char, usize)> {
        let mut localips = self.localips.as_ref()?.lock();
        let texts: Vec<CText> =
            localips.list.iter().map(|text| CText::new(text.octets())).collect();
        let pointers: Box<[Pointer]> = texts
            .iter()
            .map(|text| Pointer(text.as_ptr()))
            .chain([Pointer(std::ptr::null())])
            .collect();
        let shown = (pointers.as_ptr().cast(), texts.len());
        localips.shown.push((pointers, texts));
        Some(shown)
    }

    /// Replaces the source addresses; false in a decision that has none.
    pub(crate) fn set_localips(&self, list: impl Iterator<Item = Vec<u8>>) -> bool {
        let Some(localips) = &self.localips else { return false };
        localips.lock().list = list.map(|text| CText::new(&text)).collect();
        true
    }

    fn localips(&self) -> Vec<String> {
        let Some(localips) = &self.localips else { return Vec::new() };
        let text = |text: &CText| String::from_utf8_lossy(text.octets()).into_owned();
        localips.lock().list.iter().map(text).collect()
    }
}

/// Marks a decision.
const TAG: u64 = 0x4d54_4164_6563_6973;
