//! Function values: script functions with what they captured, and functions of the host.

use std::sync::Arc;

use parking_lot::Mutex;

use super::{Cell, Class, Object, Value};
use crate::host::NativeFunction;
use crate::program::{Global, Program};

/// A reference to something that can be called. Clones share it; equality is identity.
#[derive(Clone)]
pub struct Function(Arc<FunctionKind>);

/// What stands behind a function value.
pub enum FunctionKind {
    /// A function of a script.
    #[doc(hidden)]
    Script(ScriptFunction),
    /// A function, static function or constructor of the host.
    Native {
        /// The function.
        function: Arc<NativeFunction>,
        /// The class, for static functions and constructors.
        class: Option<Class>,
        /// The object, for a method taken as value (`$f = $map->get`).
        this: Option<Object>,
    },
}

/// Hides the innards of a script function.
#[doc(hidden)]
pub struct ScriptFunction(pub(crate) Closure);

/// A script function and what it is bound to.
pub(crate) struct Closure {
    pub(crate) unit: Arc<Globals>,
    /// Index into the program's functions.
    pub(crate) function: u32,
    pub(crate) captures: Box<[Cell]>,
    /// The instance, for a method taken as value.
    pub(crate) this: Option<Object>,
}

/// A program in execution: the immutable program and the variables of its modules.
pub(crate) struct Globals {
    pub(crate) program: Arc<Program>,
    pub(crate) values: Box<[Mutex<Value>]>,
}

impl Globals {
    pub(crate) fn new(program: Arc<Program>) -> Self {
        let first = |global: &Global| match global.holds_objects {
            true => global.initial.own_copy(),
            false => global.initial.clone(),
        };
        let values = program.globals.iter().map(|global| Mutex::new(first(global))).collect();
        Self { program, values }
    }

    /// Empties all but context variables.
    pub(crate) fn clear(&self) {
        for (global, place) in self.program.globals.iter().zip(&self.values) {
            if !global.is_context {
                let old = std::mem::replace(&mut *place.lock(), Value::Unset);
                drop(old); // outside of the lock
            }
        }
    }
}

impl Function {
    /// Makes a function value of a function of the host.
    pub fn native(function: Arc<NativeFunction>) -> Self {
        Self(Arc::new(FunctionKind::Native { function, class: None, this: None }))
    }

    /// Makes a function value of a static function or constructor of a host class.
    pub fn of_class(function: Arc<NativeFunction>, class: Class) -> Self {
        Self(Arc::new(FunctionKind::Native { function, class: Some(class), this: None }))
    }

    /// Makes a function value of a method bound to its object.
    pub fn bound(function: Arc<NativeFunction>, this: Object) -> Self {
        Self(Arc::new(FunctionKind::Native {
            function,
            class: Some(this.class().clone()),
            this: Some(this),
        }))
    }

    pub(crate) fn script(closure: Closure) -> Self {
        Self(Arc::new(FunctionKind::Script(ScriptFunction(closure))))
    }

    /// Returns what stands behind the value.
    #[inline]
    pub fn kind(&self) -> &FunctionKind {
        &self.0
    }

    /// Returns the name of the function; anonymous functions have none.
    pub fn name(&self) -> Option<&str> {
        match self.kind() {
            FunctionKind::Native { function, .. } => Some(function.name()),
            FunctionKind::Script(script) => {
                let closure = &script.0;
                let function = closure.unit.program.functions.get(closure.function as usize)?;
                (!function.name.is_empty()).then_some(&*function.name)
            }
        }
    }

    /// Returns whether both are the same function: one allocation, or one named function of the same
    /// host set or execution.
    pub fn same(&self, other: &Self) -> bool {
        if Arc::ptr_eq(&self.0, &other.0) {
            return true;
        }
        let same_object = |a: &Option<Object>, b: &Option<Object>| match (a, b) {
            (None, None) => true,
            (Some(a), Some(b)) => a.same(b),
            _ => false,
        };
        match (self.kind(), other.kind()) {
            (
                FunctionKind::Native { function: a, this: x, .. },
                FunctionKind::Native { function: b, this: y, .. },
            ) => Arc::ptr_eq(a, b) && same_object(x, y),
            (FunctionKind::Script(a), FunctionKind::Script(b)) => {
                let (a, b) = (&a.0, &b.0);
                a.function == b.function
                    && Arc::ptr_eq(&a.unit, &b.unit)
                    && same_object(&a.this, &b.this)
                    && a.captures.is_empty()
                    && b.captures.is_empty()
                    && self.name().is_some()
            }
            _ => false,
        }
    }

    /// Returns a number that is equal for functions that are [`Self::same`].
    pub(crate) fn address(&self) -> usize {
        match self.kind() {
            FunctionKind::Native { function, .. } => Arc::as_ptr(function) as usize,
            FunctionKind::Script(script) => script.0.function as usize,
        }
    }

    /// Returns an address that identifies the allocation while it lives.
    pub(crate) fn allocation(&self) -> usize {
        Arc::as_ptr(&self.0) as usize
    }

    /// Returns how many references there are.
    pub(crate) fn references(&self) -> usize {
        Arc::strong_count(&self.0)
    }

    /// Moves what an unshared function holds onto the work list; see [`super::release`].
    pub(super) fn unlink(&mut self, work: &mut Vec<Value>) {
        if let Some(FunctionKind::Script(script)) = Arc::get_mut(&mut self.0) {
            let captures = std::mem::take(&mut script.0.captures);
            work.extend(captures.into_iter().map(|cell| Value::Cell(super::SharedCell(cell))));
            work.extend(script.0.this.take().map(Value::Object));
        }
    }
}

impl Drop for Closure {
    fn drop(&mut self) {
        if self.captures.is_empty() && self.this.is_none() {
            return;
        }
        let captures = std::mem::take(&mut self.captures);
        let mut work: Vec<Value> =
            captures.into_iter().map(|cell| Value::Cell(super::SharedCell(cell))).collect();
        work.extend(self.this.take().map(Value::Object));
        super::release(work);
    }
}
