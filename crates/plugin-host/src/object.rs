//! Objects of plugins: under construction in C, then instances of a class made for them.

use std::sync::Arc;

use hsl::host::{NativeFunction, Signature};
use hsl::value::{Class, Object};
use parking_lot::Mutex;
use plugin_abi::HalonHSLObject;
use plugin_abi::signatures::{FreeCallback, HalonHSLFunction};

use crate::call;
use crate::calling::{self, ranges};
use crate::plugin::{Plugin, PluginPointer};

/// An object under construction: what a `HalonHSLObject *` points to.
#[repr(C, align(8))]
pub(crate) struct Draft {
    tag: u64,
    state: Mutex<State>,
    pointer: Arc<ObjectPointer>,
}

#[derive(Default)]
struct State {
    plugin: Option<Arc<Plugin>>,
    type_name: String,
    methods: Vec<(String, Option<HalonHSLFunction>)>,
    /// The instance, once it was made; the same one for every value it is set to.
    object: Option<Object>,
}

/// What `HalonMTA_hsl_object_ptr_set` stored. Freed when the last reference is gone.
pub(crate) struct ObjectPointer(Mutex<Option<(PluginPointer, Option<FreeCallback>)>>);

impl Draft {
    pub(crate) fn new() -> Arc<Self> {
        let pointer = Arc::new(ObjectPointer(Mutex::new(None)));
        Arc::new(Self { tag: TAG, state: Mutex::default(), pointer })
    }

    /// Gives C a reference of its own, which [`Self::take_back`] ends.
    pub(crate) fn into_raw(self: Arc<Self>) -> *mut HalonHSLObject {
        Arc::into_raw(self).cast_mut().cast()
    }

    /// Finds the object that C means; `None` for NULL.
    ///
    /// # Safety
    ///
    /// `object` is NULL or came from [`Self::into_raw`] and was not taken back.
    pub(crate) unsafe fn from_raw(object: *const HalonHSLObject) -> Option<Arc<Self>> {
        let draft = object.cast::<Self>();
        if draft.is_null() || !draft.is_aligned() {
            return None;
        }
        // SAFETY: the caller keeps the contract.
        if unsafe { &*draft }.tag != TAG {
            return None;
        }
        // SAFETY: C holds a reference, so the count may be raised for ours.
        unsafe {
            Arc::increment_strong_count(draft);
            Some(Arc::from_raw(draft))
        }
    }

    /// Ends the reference of C.
    ///
    /// # Safety
    ///
    /// As [`Self::from_raw`]; C does not use the pointer again.
    pub(crate) unsafe fn take_back(object: *mut HalonHSLObject) {
        // SAFETY: the caller keeps the contract.
        let Some(draft) = (unsafe { Self::from_raw(object) }) else { return };
        // Whoever still holds the draft needs the instance no longer: values are taken out of their
        // tree later, so it stays with them until then.
        // SAFETY: this is the reference that `into_raw` gave.
        drop(unsafe { Arc::from_raw(Arc::as_ptr(&draft)) });
    }

    pub(crate) fn set_type(&self, name: String) -> bool {
        self.change(|state| state.type_name = name)
    }

    pub(crate) fn add_method(&self, name: String, function: Option<HalonHSLFunction>) -> bool {
        self.change(|state| {
            state.methods.retain(|(known, _)| *known != name);
            state.methods.push((name, function));
        })
    }

    /// Sets the pointer. A pointer set before is the plugin's again: it is not freed here.
    pub(crate) fn set_pointer(&self, pointer: PluginPointer, free: Option<FreeCallback>) {
        *self.pointer.0.lock() = Some((pointer, free));
    }

    /// Remembers the plugin whose call the object is given to: names without a function are looked
    /// up there.
    pub(crate) fn look_up_names(&self, plugin: Option<&Arc<Plugin>>) {
        let mut state = self.state.lock();
        if state.plugin.is_none() {
            state.plugin = plugin.cloned();
        }
    }

    /// The instance that scripts see, made the first time.
    pub(crate) fn object(&self) -> Option<Object> {
        let mut state = self.state.lock();
        if let Some(object) = &state.object {
            return Some(object.clone());
        }
        let plugin = state.plugin.clone()?;
        let class = class(&plugin, &state.type_name, &state.methods);
        let pointer: Arc<ObjectPointer> = Arc::clone(&self.pointer);
        let object = Object::with_state(&class, pointer);
        state.object = Some(object.clone());
        Some(object)
    }

    /// Changes the object; false once a script has it, for its class is fixed then.
    fn change(&self, change: impl FnOnce(&mut State)) -> bool {
        let mut state = self.state.lock();
        if state.object.is_some() {
            return false;
        }
        change(&mut state);
        true
    }
}

impl ObjectPointer {
    /// The stored pointer; NULL if none was set.
    pub(crate) fn get(&self) -> PluginPointer {
        self.0.lock().as_ref().map_or(PluginPointer(std::ptr::null_mut()), |(pointer, _)| *pointer)
    }
}

impl Drop for ObjectPointer {
    fn drop(&mut self) {
        if let Some((pointer, Some(free))) = self.0.get_mut().take() {
            let owner = ranges::owner(free as usize).unwrap_or("unknown");
            calling::named(owner, "the callback that frees an object", || {
                // SAFETY: the plugin gave this callback for this pointer, and nobody has it any more.
                unsafe { free(pointer.0) };
            });
        }
    }
}

/// A type, and each method with the address of its function.
pub(crate) type Shape = (String, Vec<(String, usize)>);

/// Finds or makes the class of objects that have the same type and methods. Plugins make objects
/// in every call: without this each would carry a table of methods of its own.
fn class(
    plugin: &Arc<Plugin>,
    type_name: &str,
    methods: &[(String, Option<HalonHSLFunction>)],
) -> Class {
    let address = |function: &Option<HalonHSLFunction>| function.map_or(0, |f| f as usize);
    let shape: Shape = (
        type_name.to_owned(),
        methods.iter().map(|(name, function)| (name.clone(), address(function))).collect(),
    );
    let mut classes = plugin.classes.lock();
    if let Some(class) = classes.get(&shape) {
        return class.clone();
    }
    let class_name = if type_name.is_empty() { "object" } else { type_name };
    let mut builder = Class::builder(class_name, "made by a plugin");
    for (name, function) in methods {
        let Some(function) = function.or_else(|| plugin.function(name)) else {
            tracing::warn!(plugin = &*plugin.id, method = name, "plugin.method_not_found");
            continue;
        };
        let plugin = Arc::clone(plugin);
        let site = plugin.sites.of(&format!("{class_name}->{name}"));
        builder.add_method(NativeFunction::new(
            Signature::variadic(name),
            "implemented by a plugin",
            move |context, arguments| {
                call::invoke(&plugin, site, function, arguments, context.this())
            },
        ));
    }
    let class = builder.build();
    // A plugin that invents names without end pays with speed, not with our memory.
    if classes.len() < MAX_CLASSES {
        classes.insert(shape, class.clone());
    }
    class
}

/// Marks a draft.
const TAG: u64 = 0x4d54_416f_626a_6563;

/// Classes that are kept for the next object of their shape.
const MAX_CLASSES: usize = 1024;

#[cfg(test)]
mod tests {
    use std::ffi::c_void;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    unsafe extern "C" fn count(pointer: *mut c_void) {
        // SAFETY: the tests give a counter.
        unsafe { &*pointer.cast::<AtomicUsize>() }.fetch_add(1, Ordering::SeqCst);
    }

    #[test]
    fn the_pointer_is_freed_once_with_the_last_reference() {
        let freed = AtomicUsize::new(0);
        let pointer = PluginPointer(std::ptr::from_ref(&freed).cast_mut().cast());
        let raw = Draft::new().into_raw();
        // SAFETY: a draft that C holds.
        let draft = unsafe { Draft::from_raw(raw) }.unwrap();
        draft.set_pointer(pointer, Some(count));
        // SAFETY: the last use of the raw pointer.
        unsafe { Draft::take_back(raw) };
        assert_eq!(freed.load(Ordering::SeqCst), 0);
        drop(draft);
        assert_eq!(freed.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn null_is_no_object() {
        // SAFETY: NULL.
        assert!(unsafe { Draft::from_raw(std::ptr::null()) }.is_none());
    }
}
