//! What names mean: functions, classes, namespaces and variables of modules.

use std::sync::Arc;

use hashbrown::HashMap;

use crate::host::{ModuleEntry, NativeFunction};
use crate::symbol::Symbol;
use crate::value::{Class, UserClass};

/// What can be called by name.
#[derive(Clone)]
pub(super) enum Callee {
    /// A function of the script, by its number.
    Script(u16),
    /// A function of the host.
    Native(Arc<NativeFunction>),
    /// A class of the script, by its number.
    Class(usize),
    /// A class of the host.
    NativeClass(Class),
}

impl From<&ModuleEntry> for Callee {
    fn from(entry: &ModuleEntry) -> Self {
        match entry {
            ModuleEntry::Function(function) => Self::Native(Arc::clone(function)),
            ModuleEntry::Class(class) => Self::NativeClass(class.clone()),
        }
    }
}

/// How a function of the script is called.
#[derive(Clone)]
pub(super) struct FunctionInfo {
    pub(super) name: Arc<str>,
    pub(super) min: usize,
    pub(super) max: usize,
}

/// A class of the script.
pub(super) struct ClassInfo {
    pub(super) class: Class,
    pub(super) user: Arc<UserClass>,
    /// The function that makes instances.
    pub(super) constructor: u16,
    pub(super) statics: HashMap<Symbol, StaticMember>,
    /// The numbers of the names that its functions set on `$this`.
    pub(super) slots: Vec<u16>,
}

/// A static member.
#[derive(Clone, Copy)]
pub(super) struct StaticMember {
    pub(super) kind: StaticKind,
    pub(super) is_private: bool,
}

#[derive(Clone, Copy)]
pub(super) enum StaticKind {
    /// A variable, by its number among the globals.
    Variable(u16),
    /// A function, by its number.
    Function(u16),
}

/// What `ns` means after `import * as ns`.
#[derive(Clone)]
pub(super) enum Namespace {
    Module(usize),
    Host(String),
}

/// The names of one module.
#[derive(Default)]
pub(super) struct ModuleScope {
    pub(super) names: HashMap<Symbol, Callee>,
    pub(super) namespaces: HashMap<Symbol, Namespace>,
    /// Variables that live among the globals.
    pub(super) variables: HashMap<Symbol, u16>,
}
