//! What plugins can ask during `Halon_early_init` and `Halon_init`.

use plugin_abi::HalonInitContext;
use plugin_abi::constants::{HALONMTA_INIT_APPCONFIG, HALONMTA_INIT_CONFIG};

use crate::configuration::ConfigTree;
use crate::plugin::Plugin;

/// What a `HalonInitContext *` points to.
#[repr(C)]
pub(crate) struct InitContext {
    tag: u64,
    startup: ConfigTree,
    running: ConfigTree,
}

impl InitContext {
    pub(crate) fn new(plugin: &Plugin) -> Self {
        Self { tag: TAG, startup: plugin.startup, running: plugin.running() }
    }

    pub(crate) fn as_ptr(&self) -> *mut HalonInitContext {
        std::ptr::from_ref(self).cast_mut().cast()
    }

    /// Finds the context that C means; `None` for NULL.
    ///
    /// # Safety
    ///
    /// `context` is NULL or that of an init call which is under way through `'a`.
    pub(crate) unsafe fn from_raw<'a>(context: *const HalonInitContext) -> Option<&'a Self> {
        let context = context.cast::<Self>();
        if context.is_null() || !context.is_aligned() {
            return None;
        }
        // SAFETY: the caller keeps the contract.
        let context = unsafe { &*context };
        (context.tag == TAG).then_some(context)
    }

    /// The configuration that `HALONMTA_INIT_*` selects.
    pub(crate) fn select(&self, selector: i32) -> Option<ConfigTree> {
        match selector {
            HALONMTA_INIT_CONFIG => Some(self.startup),
            HALONMTA_INIT_APPCONFIG => Some(self.running),
            _ => None,
        }
    }
}

/// Marks a context.
const TAG: u64 = 0x4d54_4169_6e69_7421;
