//! Objects and resources: shared references with a class, or without.
//!
//! An object is an instance of a script class (properties and methods of the script) or of a host
//! class (a Rust state behind methods written in Rust). Both can carry properties.

use std::any::Any;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock, OnceLock};

use parking_lot::{Mutex, MutexGuard};

use super::layout::{Entry, Layout, Slot, Slots};
use super::{Array, Function, Globals, Key, Str, Value};
use crate::host::{ClassBuilder, Measure, NativeFunction};
use crate::program::Program;

/// A reference to an instance. Clones share it; equality is identity.
#[derive(Clone)]
pub struct Object(Arc<ObjectData>);

struct ObjectData {
    class: Class,
    /// Where the methods of a script class run.
    unit: Option<Arc<Globals>>,
    /// The state of a host class.
    state: Option<Arc<dyn Any + Send + Sync>>,
    /// What `slots` are for.
    layout: Option<Arc<Layout>>,
    /// Values of properties; those that are here are out of date in `properties`.
    slots: Slots,
    /// All properties, in order. Slots change from and to "elsewhere" under this lock.
    properties: Mutex<Array>,
}

/// A class: of the host, or of a script. Clones share it.
#[derive(Clone)]
pub struct Class(Arc<ClassKind>);

pub(crate) enum ClassKind {
    Native(NativeClass),
    Script(Arc<UserClass>),
}

/// A class implemented in Rust.
pub(crate) struct NativeClass {
    pub(crate) name: Str,
    pub(crate) doc: String,
    pub(crate) constructor: Option<Arc<NativeFunction>>,
    pub(crate) methods: HashMap<Str, Arc<NativeFunction>>,
    pub(crate) statics: HashMap<Str, Arc<NativeFunction>>,
    pub(crate) iterate: Option<Box<IterateFn>>,
    pub(crate) copy: Option<Box<CopyFn>>,
    pub(crate) measure: Option<Box<MeasureFn>>,
}

/// Starts a walk over an instance, for `foreach`.
pub(crate) type IterateFn = dyn Fn(&Object) -> Box<dyn HostIterator> + Send + Sync;

/// Makes an instance with a state of its own of another one.
pub(crate) type CopyFn = dyn Fn(&Object) -> Option<Object> + Send + Sync;

/// Tells the memory limit what an instance holds.
pub(crate) type MeasureFn = dyn Fn(&Object, &mut Measure) + Send + Sync;

/// A class of a script.
pub(crate) struct UserClass {
    pub(crate) name: Str,
    /// The methods, in order of definition.
    pub(crate) methods: Vec<Member>,
    /// The properties with a modifier.
    pub(crate) restricted: Vec<Member>,
    /// Set when the program is complete.
    pub(crate) layout: OnceLock<Arc<Layout>>,
}

/// A member of a script class.
pub(crate) struct Member {
    pub(crate) name: Str,
    /// Index of the method in the program's functions; 0 for properties.
    pub(crate) function: u32,
    pub(crate) is_private: bool,
    pub(crate) is_readonly: bool,
}

impl UserClass {
    /// Finds a method by name.
    #[inline]
    pub(crate) fn method(&self, name: &Str) -> Option<&Member> {
        self.methods
            .iter()
            .find(|member| member.name.ptr_eq(name))
            .or_else(|| self.methods.iter().find(|member| member.name == *name))
    }

    /// Finds a property that has a modifier.
    #[inline]
    pub(crate) fn restriction(&self, name: &[u8]) -> Option<&Member> {
        self.restricted.iter().find(|member| member.name.as_bytes() == name)
    }
}

impl Class {
    pub(crate) fn new(kind: ClassKind) -> Self {
        Self(Arc::new(kind))
    }

    /// Starts a class of the host that need not be registered, such as one made by a plugin at run
    /// time.
    pub fn builder(name: &str, doc: &str) -> ClassBuilder {
        ClassBuilder::new(name, doc)
    }

    pub(crate) fn kind(&self) -> &ClassKind {
        &self.0
    }

    /// Returns the name of the class.
    pub fn name(&self) -> &Str {
        match self.kind() {
            ClassKind::Native(class) => &class.name,
            ClassKind::Script(class) => &class.name,
        }
    }

    /// Returns the one-line description of a class of the host.
    pub fn doc(&self) -> &str {
        match self.kind() {
            ClassKind::Native(class) => &class.doc,
            ClassKind::Script(_) => "",
        }
    }

    /// Returns the constructor of a class of the host.
    pub fn constructor(&self) -> Option<&Arc<NativeFunction>> {
        match self.kind() {
            ClassKind::Native(class) => class.constructor.as_ref(),
            ClassKind::Script(_) => None,
        }
    }

    /// Returns a method of a class of the host.
    pub fn method(&self, name: &[u8]) -> Option<&Arc<NativeFunction>> {
        match self.kind() {
            ClassKind::Native(class) => class.methods.get(name),
            ClassKind::Script(_) => None,
        }
    }

    /// Returns a static function of a class of the host.
    pub fn static_function(&self, name: &[u8]) -> Option<&Arc<NativeFunction>> {
        match self.kind() {
            ClassKind::Native(class) => class.statics.get(name),
            ClassKind::Script(_) => None,
        }
    }

    /// Returns the methods of a class of the host, sorted by name.
    pub fn methods(&self) -> Vec<&Arc<NativeFunction>> {
        self.sorted(|class| &class.methods)
    }

    /// Returns the static functions of a class of the host, sorted by name.
    pub fn static_functions(&self) -> Vec<&Arc<NativeFunction>> {
        self.sorted(|class| &class.statics)
    }

    fn sorted(
        &self,
        pick: impl Fn(&NativeClass) -> &HashMap<Str, Arc<NativeFunction>>,
    ) -> Vec<&Arc<NativeFunction>> {
        let ClassKind::Native(class) = self.kind() else { return Vec::new() };
        let mut list: Vec<_> = pick(class).values().collect();
        list.sort_by(|a, b| a.name().cmp(b.name()));
        list
    }

    /// Returns whether both are the same class.
    pub fn same(&self, other: &Self) -> bool {
        match (self.kind(), other.kind()) {
            (ClassKind::Script(a), ClassKind::Script(b)) => Arc::ptr_eq(a, b),
            _ => Arc::ptr_eq(&self.0, &other.0),
        }
    }
}

impl Object {
    /// Makes an instance of a class of the host around its state.
    pub fn new<T: Any + Send + Sync>(class: &Class, state: T) -> Self {
        Self::with_state(class, Arc::new(state))
    }

    /// An instance with a state of its own, as the class makes it; the same one if the class does
    /// not, since nothing of it can be changed.
    pub(crate) fn own_copy(&self) -> Self {
        match &*self.0.class.0 {
            ClassKind::Native(NativeClass { copy: Some(copy), .. }) => copy(self),
            _ => None,
        }
        .unwrap_or_else(|| self.clone())
    }

    /// Makes an instance of a class of the host around a state that others share.
    pub fn with_state(class: &Class, state: Arc<dyn Any + Send + Sync>) -> Self {
        Self(Arc::new(ObjectData {
            class: class.clone(),
            unit: None,
            state: Some(state),
            layout: None,
            slots: Slots::new(0),
            properties: Mutex::default(),
        }))
    }

    /// Makes an iterator over what `source` gives. `foreach` walks it.
    pub(crate) fn iterator(source: Box<dyn HostIterator>) -> Self {
        Self::new(iterator_class(), IteratorState(Mutex::new(IteratorKind::Host(source))))
    }

    pub(crate) fn generator(state: GeneratorState) -> Self {
        let kind = IteratorKind::Generator(Box::new(state));
        Self::new(iterator_class(), IteratorState(Mutex::new(kind)))
    }

    pub(crate) fn instance(class: &Class, unit: &Arc<Globals>) -> Self {
        let layout = match class.kind() {
            ClassKind::Script(class) => class.layout.get().cloned(),
            ClassKind::Native(_) => None,
        };
        let count = layout.as_ref().map_or(0, |layout| layout.names.len());
        Self(Arc::new(ObjectData {
            class: class.clone(),
            unit: Some(Arc::clone(unit)),
            state: None,
            layout,
            slots: Slots::new(count),
            properties: Mutex::default(),
        }))
    }

    /// Returns the class.
    pub fn class(&self) -> &Class {
        &self.0.class
    }

    /// Returns the script class, if it is one.
    #[inline]
    pub(crate) fn user_class(&self) -> Option<&Arc<UserClass>> {
        match self.0.class.kind() {
            ClassKind::Script(class) => Some(class),
            ClassKind::Native(_) => None,
        }
    }

    pub(crate) fn unit(&self) -> Option<&Arc<Globals>> {
        self.0.unit.as_ref()
    }

    /// Returns the state of an instance of a class of the host, if it is a `T`.
    pub fn state<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        Arc::clone(self.0.state.as_ref()?).downcast().ok()
    }

    /// Returns the same for a look, without a count.
    pub fn state_ref<T: Any + Send + Sync>(&self) -> Option<&T> {
        (**self.0.state.as_ref()?).downcast_ref()
    }

    /// Returns a property, or none.
    pub fn property(&self, name: &[u8]) -> Option<Value> {
        self.get(&Str::new(name))
    }

    /// Sets a property, whatever its modifiers.
    pub fn set_property(&self, name: &str, value: Value) {
        self.set(&Str::from(name), value);
    }

    /// Returns a property, or none.
    pub(crate) fn get(&self, name: &Str) -> Option<Value> {
        let Some(slot) = self.slot(name) else {
            return self.0.properties.lock().get_name(name).cloned();
        };
        let properties = self.0.properties.lock();
        let value = match slot.get() {
            Some(value) => value,
            None => properties.get_name(name)?.clone(),
        };
        slot.set(&value);
        Some(value)
    }

    /// Returns whether there is such a property.
    pub(crate) fn has(&self, name: &Str) -> bool {
        self.0.properties.lock().get_name(name).is_some()
    }

    /// Sets a property and returns what it replaces in memory.
    pub(crate) fn set(&self, name: &Str, value: Value) -> Option<Value> {
        let slot = self.slot(name);
        let mut properties = self.0.properties.lock();
        if let Some(slot) = slot {
            slot.set(&value);
        }
        match properties.get_name_mut(name) {
            Some(place) => Some(std::mem::replace(place, value)),
            None => properties.insert(Key::from(name.clone()), value),
        }
    }

    fn slot(&self, name: &Str) -> Option<&Slot> {
        let at = self.0.layout.as_deref()?.slot_of(name)?;
        self.0.slots.get(at)
    }

    /// Locks the properties, all of them up to date.
    pub(crate) fn properties(&self) -> MutexGuard<'_, Array> {
        let mut properties = self.0.properties.lock();
        if let Some(layout) = &self.0.layout {
            for (slot, name) in self.0.slots.iter().zip(&layout.names) {
                move_back(slot, name, &mut properties);
            }
        }
        properties
    }

    /// Locks the properties for a look at one of them; others may be out of date.
    pub(crate) fn properties_for(&self, name: &Str) -> MutexGuard<'_, Array> {
        let slot = self.slot(name);
        let mut properties = self.0.properties.lock();
        if let Some(slot) = slot {
            move_back(slot, name, &mut properties);
        }
        properties
    }

    /// Returns the slot of a property that functions of class `scope` of `program` may use.
    #[inline(always)]
    pub(crate) fn slot_at(&self, program: &Program, scope: u16, name: u16) -> Option<&Slot> {
        self.0.slots.get(usize::from(self.entry_at(program, scope, name)?.slot))
    }

    #[inline(always)]
    fn entry_at(&self, program: &Program, scope: u16, name: u16) -> Option<&Entry> {
        let layout = self.0.layout.as_deref()?;
        if layout.program != program.number || (layout.is_restricted && layout.scope != scope) {
            return None;
        }
        layout.find(name)
    }

    /// The same for a property that they may set: one that is read-only has to be looked at in full.
    #[inline(always)]
    pub(crate) fn slot_to_set(&self, program: &Program, scope: u16, name: u16) -> Option<&Slot> {
        let entry = self.entry_at(program, scope, name)?;
        if entry.is_guarded {
            return None;
        }
        self.0.slots.get(usize::from(entry.slot))
    }

    /// The same as [`Self::slot_at`] where it takes one look: in classes whose members are open to all.
    #[inline(always)]
    pub(crate) fn open_slot(&self, program: u64, name: u16) -> Option<&Slot> {
        let layout = self.0.layout.as_deref()?;
        if !layout.is_open_to(program) {
            return None;
        }
        self.0.slots.near(layout.find_first(name)?.slot)
    }

    /// Returns the function of a method that runs in `unit`, by the number of its name, if one look
    /// finds it.
    #[inline(always)]
    pub(crate) fn method(&self, unit: &Arc<Globals>, scope: u16, name: u16) -> Option<u32> {
        let layout = self.0.layout.as_deref()?;
        let entry = layout.find_first(name)?;
        let may_call = entry.function != 0 && (!entry.is_guarded || layout.scope == scope);
        let is_home = self.0.unit.as_ref().is_some_and(|home| Arc::ptr_eq(home, unit));
        (may_call && is_home).then_some(entry.function)
    }

    /// Returns whether both are the same instance.
    #[inline]
    pub fn same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Returns an address that identifies the instance while it lives.
    pub(crate) fn address(&self) -> usize {
        Arc::as_ptr(&self.0).cast::<()>() as usize
    }

    /// Returns how many references there are.
    pub(crate) fn references(&self) -> usize {
        Arc::strong_count(&self.0)
    }

    /// Returns a reference that does not keep the instance alive.
    pub(crate) fn downgrade(&self) -> WeakObject {
        WeakObject(Arc::downgrade(&self.0))
    }

    /// Moves the properties of an unshared object onto the work list; see [`super::release`].
    pub(super) fn unlink(&self, work: &mut Vec<Value>) {
        // The tracker's weak reference rules `Arc::get_mut` out; nobody else can reach the lock.
        if Arc::strong_count(&self.0) == 1 {
            work.push(Value::Array(std::mem::take(&mut *self.properties())));
        }
    }
}

/// Brings a property up to date in the array, where it can be changed.
fn move_back(slot: &Slot, name: &Str, properties: &mut Array) {
    if let Some(value) = slot.get() {
        // What has a slot that holds something has an entry.
        if let Some(place) = properties.get_name_mut(name) {
            *place = value;
        }
        slot.clear();
    }
}

/// A reference to an object that does not keep it alive.
pub(crate) struct WeakObject(std::sync::Weak<ObjectData>);

impl WeakObject {
    pub(crate) fn upgrade(&self) -> Option<Object> {
        self.0.upgrade().map(Object)
    }

    pub(crate) fn is_alive(&self) -> bool {
        self.0.strong_count() > 0
    }
}

impl Drop for ObjectData {
    fn drop(&mut self) {
        let properties = std::mem::take(self.properties.get_mut());
        if !properties.is_empty() {
            super::release(vec![Value::Array(properties)]);
        }
    }
}

/// A source of pairs for `foreach`, such as the entries of a `Map`.
pub trait HostIterator: Send {
    /// Returns the next key and value.
    fn next(&mut self) -> Option<(Value, Value)>;

    /// Tells the memory limit what is still to come.
    fn measure(&self, measure: &mut Measure);
}

/// Pairs that were collected when the walk began.
impl HostIterator for std::vec::IntoIter<(Value, Value)> {
    fn next(&mut self) -> Option<(Value, Value)> {
        Iterator::next(self)
    }

    fn measure(&self, measure: &mut Measure) {
        measure.octets(self.len() * size_of::<(Value, Value)>());
        for (key, value) in self.as_slice() {
            measure.value(key);
            measure.value(value);
        }
    }
}

/// The state of an `Iterator` object.
pub(crate) struct IteratorState(pub(crate) Mutex<IteratorKind>);

impl IteratorState {
    fn measure(&self, measure: &mut Measure) {
        match &*self.0.lock() {
            IteratorKind::Host(source) => source.measure(measure),
            IteratorKind::Generator(state) => {
                measure.octets(state.registers.len() * size_of::<Value>());
                state.registers.iter().for_each(|value| measure.value(value));
                measure.script(&state.unit);
            }
            // Its values are on the stack.
            IteratorKind::Running | IteratorKind::Done => {}
        }
    }
}

/// What an iterator walks.
pub(crate) enum IteratorKind {
    Host(Box<dyn HostIterator>),
    Generator(Box<GeneratorState>),
    /// A generator whose frame is on the stack right now.
    Running,
    Done,
}

/// A generator between two `yield`s: its frame, saved aside.
pub(crate) struct GeneratorState {
    pub(crate) unit: Arc<Globals>,
    pub(crate) function: u32,
    pub(crate) pc: u32,
    pub(crate) registers: Vec<Value>,
    /// How many values were given so far: the key of the next one.
    pub(crate) count: u32,
}

impl Drop for GeneratorState {
    fn drop(&mut self) {
        // A generator may hold a generator, and so on.
        super::release(std::mem::take(&mut self.registers));
    }
}

/// The class of iterators: what generators and `Map.entries()` return.
pub(crate) fn iterator_class() -> &'static Class {
    static CLASS: LazyLock<Class> = LazyLock::new(|| {
        let mut class =
            ClassBuilder::new("Iterator", "walks the values of a generator or container");
        class.measure_with(IteratorState::measure);
        class.build()
    });
    &CLASS
}

/// An opaque value of the host with the name of its type, such as `FileResource`.
#[derive(Clone)]
pub struct Resource(Arc<ResourceData>);

struct ResourceData {
    type_name: &'static str,
    value: Arc<dyn Any + Send + Sync>,
}

impl Resource {
    /// Wraps `value`; `type_name` is what scripts see.
    pub fn new<T: Any + Send + Sync>(type_name: &'static str, value: T) -> Self {
        Self(Arc::new(ResourceData { type_name, value: Arc::new(value) }))
    }

    /// Returns the name of the type, as scripts see it.
    pub fn type_name(&self) -> &'static str {
        self.0.type_name
    }

    /// Returns the wrapped value, if it is a `T`.
    pub fn get<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        Arc::clone(&self.0.value).downcast().ok()
    }

    /// Returns whether both are the same resource.
    pub fn same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Returns an address that identifies the resource while it lives.
    pub(crate) fn address(&self) -> usize {
        Arc::as_ptr(&self.0).cast::<()>() as usize
    }
}

/// Returns a bound function for a method of `object`, if it has one of that name.
pub(crate) fn method_value(object: &Object, name: &Str) -> Option<Function> {
    match object.class().kind() {
        ClassKind::Native(class) => {
            let method = class.methods.get(name.as_bytes())?;
            Some(Function::bound(Arc::clone(method), object.clone()))
        }
        ClassKind::Script(class) => {
            let member = class.method(name)?;
            Some(Function::script(super::Closure {
                unit: Arc::clone(object.unit()?),
                function: member.function,
                captures: Box::default(),
                this: Some(object.clone()),
            }))
        }
    }
}
