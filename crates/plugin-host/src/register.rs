//! `Halon_hsl_register`: collects names of a plugin, then puts them into a registry.
//!
//! A class is a plain function of the class's name, its constructor, plus static functions.

use std::collections::BTreeMap;
use std::sync::Arc;

use hsl::host::{NativeFunction, Registry, Signature};
use hsl::value::Class;
use parking_lot::Mutex;
use plugin_abi::HalonHSLRegisterContext;
use plugin_abi::signatures::HalonHSLFunction;

use crate::call;
use crate::plugin::Plugin;

/// What a `HalonHSLRegisterContext *` points to.
#[repr(C)]
pub(crate) struct Registration {
    tag: u64,
    plugin: Arc<Plugin>,
    names: Mutex<Names>,
}

#[derive(Default)]
struct Names {
    global: Scope,
    module: Scope,
}

#[derive(Default)]
struct Scope {
    functions: BTreeMap<String, HalonHSLFunction>,
    /// Static functions by class.
    statics: BTreeMap<String, BTreeMap<String, HalonHSLFunction>>,
}

/// Where a name becomes visible.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Visibility {
    /// Everywhere, without an import.
    Global,
    /// To scripts that import it from `extras://<id>`.
    Module,
}

impl Registration {
    pub(crate) fn new(plugin: &Arc<Plugin>) -> Self {
        Self { tag: TAG, plugin: Arc::clone(plugin), names: Mutex::default() }
    }

    pub(crate) fn as_ptr(&self) -> *mut HalonHSLRegisterContext {
        std::ptr::from_ref(self).cast_mut().cast()
    }

    /// Finds the registration that C means; `None` for NULL.
    ///
    /// # Safety
    ///
    /// `context` is NULL or that of a registration which lives through `'a`.
    pub(crate) unsafe fn from_raw<'a>(context: *const HalonHSLRegisterContext) -> Option<&'a Self> {
        let registration = context.cast::<Self>();
        if registration.is_null() || !registration.is_aligned() {
            return None;
        }
        // SAFETY: the caller keeps the contract.
        let registration = unsafe { &*registration };
        (registration.tag == TAG).then_some(registration)
    }

    /// Adds a function, or a static function of `class`. Without `function` the plugin's export of
    /// the same name is taken. False if the name is no identifier, or there is no function.
    pub(crate) fn add(
        &self,
        visibility: Visibility,
        class: Option<&[u8]>,
        name: Option<&[u8]>,
        function: Option<HalonHSLFunction>,
    ) -> bool {
        let Some(name) = name.and_then(identifier) else {
            tracing::warn!(plugin = &*self.plugin.id, "plugin.name_refused");
            return false;
        };
        let Some(function) = function.or_else(|| self.plugin.function(&name)) else {
            tracing::warn!(plugin = &*self.plugin.id, function = name, "plugin.function_not_found");
            return false;
        };
        let mut names = self.names.lock();
        let scope = match visibility {
            Visibility::Global => &mut names.global,
            Visibility::Module => &mut names.module,
        };
        match class {
            None => scope.functions.insert(name, function),
            Some(class) => {
                let Some(class) = identifier(class) else { return false };
                scope.statics.entry(class).or_default().insert(name, function)
            }
        };
        true
    }

    /// Puts everything into `registry`.
    pub(crate) fn publish(self, registry: &mut Registry) {
        let Names { global, module } = self.names.into_inner();
        for function in global.plain_functions(&self.plugin) {
            registry.add_function(function);
        }
        for class in global.classes(&self.plugin) {
            registry.add_class(class);
        }
        registry.module(&format!("extras://{}", self.plugin.id), |exports| {
            for function in module.plain_functions(&self.plugin) {
                exports.add_function(function);
            }
            for class in module.classes(&self.plugin) {
                exports.add_class(class);
            }
        });
    }
}

impl Scope {
    /// The functions that are no constructors.
    fn plain_functions(&self, plugin: &Arc<Plugin>) -> impl Iterator<Item = NativeFunction> {
        self.functions
            .iter()
            .filter(|(name, _)| !self.statics.contains_key(*name))
            .map(|(name, function)| native(plugin, None, name, *function))
    }

    fn classes(&self, plugin: &Arc<Plugin>) -> impl Iterator<Item = Class> {
        self.statics.iter().map(|(name, statics)| {
            let mut builder = Class::builder(name, "implemented by a plugin");
            if let Some(function) = self.functions.get(name) {
                builder.add_constructor(native(plugin, None, name, *function));
            }
            for (function_name, function) in statics {
                builder.add_static_function(native(plugin, Some(name), function_name, *function));
            }
            builder.build()
        })
    }
}

fn native(
    plugin: &Arc<Plugin>,
    class: Option<&str>,
    name: &str,
    function: HalonHSLFunction,
) -> NativeFunction {
    let plugin = Arc::clone(plugin);
    let site = match class {
        None => plugin.sites.of(name),
        Some(class) => plugin.sites.of(&format!("{class}::{name}")),
    };
    NativeFunction::new(
        Signature::variadic(name),
        "implemented by a plugin",
        move |_, arguments| call::invoke(&plugin, site, function, arguments, None),
    )
}

/// The name, if scripts can write it.
fn identifier(name: &[u8]) -> Option<String> {
    let name = std::str::from_utf8(name).ok()?;
    let mut octets = name.bytes();
    let is_first = |octet: u8| octet.is_ascii_alphabetic() || octet == b'_';
    let is_name = octets.next().is_some_and(is_first)
        && octets.all(|octet| is_first(octet) || octet.is_ascii_digit());
    is_name.then(|| name.to_owned())
}

/// Marks a registration.
const TAG: u64 = 0x4d54_4172_6567_6973;
