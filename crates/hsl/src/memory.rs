//! The memory limit: a budget that allocations draw on, refilled after measuring what is alive.
//!
//! Operations that make values take their size from the budget. When it is used up, the machine
//! walks everything reachable from its stack and variables; if that is more than the limit the script
//! ends, else the budget is what is left. Garbage costs nothing but the walk, and the walks are as
//! rare as the limit is large.

use std::sync::{Arc, Weak};

use hashbrown::HashSet;

use crate::host::Thrown;
use crate::value::{
    Array, Cell, CellData, ClassKind, FunctionKind, Globals, Key, MeasureFn, Object, SharedCell,
    Str, Value, WeakObject,
};

/// Octets that may be allocated before the next walk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    left: i64,
    /// All that was there to be taken so far.
    granted: i64,
}

impl Budget {
    pub(crate) fn new(limit: usize) -> Self {
        let left = i64::try_from(limit).unwrap_or(i64::MAX);
        Self { left, granted: left }
    }

    /// Returns how many octets were taken so far.
    pub(crate) fn taken(&self) -> usize {
        usize::try_from(self.granted.saturating_sub(self.left)).unwrap_or_default()
    }

    /// Takes octets; the machine looks at the budget at calls and loops.
    #[inline]
    pub(crate) fn charge(&mut self, octets: usize) {
        // Far from the ends of 64 bits: a walk is due long before.
        self.left = self.left.wrapping_sub(octets as i64);
    }

    /// Takes what a text or array that was just made occupies.
    #[inline]
    pub(crate) fn charge_value(&mut self, value: &Value) {
        match value {
            Value::String(text) => self.charge(48 + text.len()),
            Value::Array(array) => self.charge(array.shallow_size()),
            _ => {}
        }
    }

    /// Takes octets for one large value that is about to be made.
    pub(crate) fn charge_large(&mut self, octets: usize, limit: usize) -> Result<(), Thrown> {
        if octets > limit {
            return Err(exceeded(limit));
        }
        self.charge(octets);
        Ok(())
    }

    /// Returns what is left; negative if a walk is due.
    #[inline]
    pub(crate) fn left(&self) -> i64 {
        self.left
    }

    /// Sets the budget after a walk that found `live` octets.
    pub(crate) fn refill(&mut self, live: usize, limit: usize) -> Result<(), Thrown> {
        if live > limit {
            return Err(exceeded(limit));
        }
        // A sixteenth of the limit at least: close to the limit, walks must not follow one another.
        let left = i64::try_from((limit - live).max(limit / 16).max(4096)).unwrap_or(i64::MAX);
        self.granted = self.granted.saturating_add(left).saturating_sub(self.left);
        self.left = left;
        Ok(())
    }
}

/// Says that there is no more memory.
#[cold]
pub(crate) fn exceeded(limit: usize) -> Thrown {
    Thrown::limit(format!("memory limit of {limit} bytes exceeded"))
}

/// The shared variables and objects of an execution. Values are counted references, so a circle
/// would live forever: at the end, what is tracked is emptied. If something may have left the execution, only
/// what nobody else can reach is ([`crate::circles`]).
#[derive(Default)]
pub(crate) struct Tracker {
    objects: Vec<WeakObject>,
    cells: Vec<Weak<CellData>>,
    /// The lengths at which dead entries are dropped.
    next_sweep: usize,
}

impl Tracker {
    pub(crate) fn object(&mut self, object: &Object) {
        self.objects.push(object.downgrade());
        self.sweep_if_due();
    }

    pub(crate) fn cell(&mut self, cell: &Cell) {
        self.cells.push(Arc::downgrade(cell));
        self.sweep_if_due();
    }

    #[inline]
    fn sweep_if_due(&mut self) {
        if self.objects.len() + self.cells.len() > self.next_sweep {
            self.objects.retain(WeakObject::is_alive);
            self.cells.retain(|cell| cell.strong_count() > 0);
            self.next_sweep = 2 * (self.objects.len() + self.cells.len()) + 64;
        }
    }

    /// Returns the objects and shared variables that live: some may be reachable from one another only.
    pub(crate) fn living(&self) -> Vec<Value> {
        let objects = self.objects.iter().filter_map(WeakObject::upgrade).map(Value::Object);
        let cells = self.cells.iter().filter_map(Weak::upgrade);
        objects.chain(cells.map(|cell| Value::Cell(SharedCell(cell)))).collect()
    }

    /// Empties everything that still lives.
    pub(crate) fn release(&mut self) {
        for object in self.objects.drain(..).filter_map(|object| object.upgrade()) {
            let properties = std::mem::take(&mut *object.properties());
            drop(properties);
        }
        for cell in self.cells.drain(..).filter_map(|cell| cell.upgrade()) {
            let value = std::mem::take(&mut *cell.0.lock());
            drop(value);
        }
    }
}

/// Measures values reachable from `roots`, each shared one once, in octets.
pub(crate) fn measure<'a>(roots: impl Iterator<Item = &'a Value>) -> usize {
    let mut walk = Measure::new(Reach::Values);
    roots.for_each(|root| walk.all_of(root));
    walk.total
}

/// Measures what values keep alive that stay when the execution is over: what is reachable from them, and
/// the variables of the scripts that their functions and objects belong to.
pub(crate) struct MeasureKept(Measure);

impl MeasureKept {
    pub(crate) fn new() -> Self {
        Self(Measure::new(Reach::Scripts))
    }

    /// Returns the octets of `value` without what was measured before.
    pub(crate) fn add(&mut self, value: &Value) -> usize {
        let before = self.0.total;
        self.0.all_of(value);
        self.0.total - before
    }

    /// Returns how many values were looked at.
    pub(crate) fn looks(&self) -> usize {
        self.0.seen.len()
    }

    /// Returns whether there was one that may grow: a function or an object.
    pub(crate) fn may_grow(&self) -> bool {
        self.0.has_references
    }
}

/// Returns the values that the state of an instance of a class of the host tells of.
pub(crate) fn contents_of(object: &Object, measure: &MeasureFn) -> Vec<Value> {
    let mut contents = Measure::new(Reach::Contents);
    measure(object, &mut contents);
    contents.work
}

/// Measures what a new instance of a class of the host occupies, without what it shares with others.
pub(crate) fn measure_instance(object: &Object) -> usize {
    let mut walk = Measure::new(Reach::Instance);
    walk.host_state(object);
    walk.total.saturating_add(64 + Value::Object(object.clone()).shallow_size())
}

/// A measurement under way: what classes of the host tell the memory limit about their instances; see
/// [`ClassBuilder::measure_with`](crate::host::ClassBuilder::measure_with).
///
/// What only one instance holds is told by [`Self::octets`]. What instances may share is told by
/// [`Self::shared`] or [`Self::value`], and counts once.
pub struct Measure {
    seen: HashSet<usize>,
    /// Containers whose contents were not looked at.
    work: Vec<Value>,
    total: usize,
    reach: Reach,
    /// Whether a function or an object was seen.
    has_references: bool,
}

/// How far a measurement goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// What one instance holds, without looking further.
    Contents,
    /// One instance and nothing that others may hold too.
    Instance,
    /// All values that can be reached.
    Values,
    /// The variables of scripts whose functions and objects can be reached, too.
    Scripts,
}

impl Measure {
    fn new(reach: Reach) -> Self {
        Self { seen: HashSet::new(), work: Vec::new(), total: 0, reach, has_references: false }
    }

    /// Counts a value and everything that can be reached from it.
    fn all_of(&mut self, root: &Value) {
        self.value(root);
        while let Some(value) = self.work.pop() {
            match &value {
                Value::Array(array) => self.array(array),
                Value::Object(object) => {
                    self.host_state(object);
                    // A copy, as below: whoever holds two locks at once may wait for ever.
                    let properties = object.properties().clone();
                    self.octets(properties.shallow_size());
                    self.array(&properties);
                    if let Some(unit) = object.unit() {
                        self.script(unit);
                    }
                }
                Value::Function(function) => {
                    if let FunctionKind::Script(script) = function.kind() {
                        self.script(&script.0.unit);
                    }
                    each_child(&value, |child| self.value(child));
                }
                _ => each_child(&value, |child| self.value(child)),
            }
        }
    }

    /// Counts `octets` of the instance itself.
    pub fn octets(&mut self, octets: usize) {
        self.total = self.total.saturating_add(octets);
    }

    /// Counts what other instances may hold too; `octets` is asked at the first of them.
    pub fn shared<T: ?Sized>(&mut self, content: &Arc<T>, octets: impl FnOnce() -> usize) {
        let address = Arc::as_ptr(content).cast::<()>() as usize;
        if self.is_new(address) {
            self.octets(octets());
        }
    }

    /// Counts a value of the script and everything in it.
    pub fn value(&mut self, value: &Value) {
        let address = match value {
            Value::String(text) => return self.text(text),
            Value::Array(array) => array.address(),
            Value::Function(function) => function.allocation(),
            Value::Object(object) => object.address(),
            Value::Resource(resource) => resource.address(),
            Value::Cell(cell) => Arc::as_ptr(&cell.0) as usize,
            _ => return,
        };
        if self.is_new(address) {
            self.octets(64 + value.shallow_size());
            self.has_references |= matches!(value, Value::Function(_) | Value::Object(_));
            if value.is_container() {
                self.work.push(value.clone());
            }
        }
    }

    fn is_new(&mut self, address: usize) -> bool {
        self.reach != Reach::Instance && self.seen.insert(address)
    }

    fn text(&mut self, text: &Str) {
        // Short ones have no allocation of their own.
        if let Some(address) = text.address()
            && self.is_new(address)
        {
            self.octets(64 + text.len());
        }
    }

    /// Counts the values of an array, and its keys: texts, and what is a key as it is.
    fn array(&mut self, array: &Array) {
        if let Some(list) = array.as_list() {
            return list.iter().for_each(|value| self.value(value));
        }
        for (key, value) in array.pairs() {
            match &*key {
                Key::Int(_) => {}
                Key::Str(text) => self.text(text),
                Key::Other(value) => self.value(value),
            }
            self.value(value);
        }
    }

    /// Counts the variables of a script that lives as long as one of its functions or objects.
    pub(crate) fn script(&mut self, unit: &Arc<Globals>) {
        if self.reach == Reach::Scripts && self.is_new(Arc::as_ptr(unit) as usize) {
            for place in &unit.values {
                let value = place.lock().clone();
                self.value(&value);
            }
        }
    }

    /// Counts the state of an instance of a class of the host.
    fn host_state(&mut self, object: &Object) {
        if let ClassKind::Native(class) = object.class().kind() {
            self.octets(HOST_STATE_OCTETS);
            if let Some(measure) = &class.measure {
                measure(object, self);
            }
        }
    }
}

/// About what the state of an instance occupies whose class says no more.
const HOST_STATE_OCTETS: usize = 256;

/// Returns whether functions or objects of a script are reachable from `value` without passing
/// through one.
pub(crate) fn holds_references(value: &Value) -> bool {
    let mut seen = HashSet::new();
    let mut work = vec![value.clone()];
    while let Some(value) = work.pop() {
        match &value {
            Value::Function(_) | Value::Object(_) => return true,
            // An array may hold another one many times over.
            Value::Array(array) if seen.insert(array.address()) => each_child(&value, |child| {
                if child.is_container() {
                    work.push(child.clone());
                }
            }),
            _ => {}
        }
    }
    false
}

/// Shows what a function, shared variable or array holds.
fn each_child(value: &Value, mut visit: impl FnMut(&Value)) {
    match value {
        Value::Array(array) => {
            for (key, value) in array.pairs() {
                if let Key::Other(key) = &*key {
                    visit(key);
                }
                visit(value);
            }
        }
        Value::Cell(cell) => {
            let value = cell.0.0.lock().clone();
            visit(&value);
        }
        Value::Function(function) => match function.kind() {
            FunctionKind::Script(script) => {
                for cell in &script.0.captures {
                    visit(&Value::Cell(crate::value::SharedCell(Arc::clone(cell))));
                }
                if let Some(this) = &script.0.this {
                    visit(&Value::Object(this.clone()));
                }
            }
            FunctionKind::Native { this: Some(this), .. } => visit(&Value::Object(this.clone())),
            FunctionKind::Native { .. } => {}
        },
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::Class;

    #[test]
    fn objects_that_know_one_another_are_measured_by_several_executions_at_once() {
        let class = Class::builder("Node", "").build();
        let (a, b) = (Object::new(&class, ()), Object::new(&class, ()));
        a.set_property("other", Value::Object(b.clone()));
        b.set_property("other", Value::Object(a.clone()));
        let roots = [Value::Object(a.clone()), Value::Object(b)];
        std::thread::scope(|scope| {
            for root in &roots {
                scope.spawn(move || {
                    for _ in 0..20_000 {
                        measure(std::iter::once(root));
                    }
                });
            }
        });
        // Or they would live for ever.
        a.set_property("other", Value::None);
    }
}
