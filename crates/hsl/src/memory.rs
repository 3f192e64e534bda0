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
    Array, Cell, CellData, ClassKind, FunctionKind, Key, Object, SharedCell, Value, WeakObject,
};

/// Octets that may be allocated before the next walk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    left: i64,
}

impl Budget {
    pub(crate) fn new(limit: usize) -> Self {
        Self { left: i64::try_from(limit).unwrap_or(i64::MAX) }
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
        self.left = i64::try_from((limit - live).max(limit / 16).max(4096)).unwrap_or(i64::MAX);
        Ok(())
    }
}

/// Says that there is no more memory.
#[cold]
pub(crate) fn exceeded(limit: usize) -> Thrown {
    Thrown::limit(format!("memory limit of {limit} bytes exceeded"))
}

/// The shared variables and objects of an execution. Values are counted references, so a circle
/// would live forever: at the end, what is tracked is emptied, unless it may have left the execution.
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
    let mut walk = Measure { seen: HashSet::new(), work: Vec::new(), total: 0, is_deep: true };
    for root in roots {
        walk.value(root);
        while let Some(value) = walk.work.pop() {
            if let Value::Object(object) = &value {
                walk.host_state(object);
            }
            each_child(&value, |child| walk.value(child));
        }
    }
    walk.total
}

/// Measures what a new instance of a class of the host occupies, without what it shares with others.
pub(crate) fn measure_instance(object: &Object) -> usize {
    let mut walk = Measure { seen: HashSet::new(), work: Vec::new(), total: 0, is_deep: false };
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
    /// Whether to look at what is shared.
    is_deep: bool,
}

impl Measure {
    /// Counts `octets` of the instance itself.
    pub fn octets(&mut self, octets: usize) {
        self.total = self.total.saturating_add(octets);
    }

    /// Counts what other instances may hold too; `octets` is asked at the first of them.
    pub fn shared<T: ?Sized>(&mut self, content: &Arc<T>, octets: impl FnOnce() -> usize) {
        let address = Arc::as_ptr(content).cast::<()>() as usize;
        if self.is_deep && self.seen.insert(address) {
            self.octets(octets());
        }
    }

    /// Counts a value of the script and everything in it.
    pub fn value(&mut self, value: &Value) {
        let address = match value {
            Value::String(text) => match text.address() {
                Some(address) => address,
                None => return,
            },
            Value::Array(array) => array.address(),
            Value::Function(function) => function.allocation(),
            Value::Object(object) => object.address(),
            Value::Resource(resource) => resource.address(),
            Value::Cell(cell) => Arc::as_ptr(&cell.0) as usize,
            _ => return,
        };
        if self.is_deep && self.seen.insert(address) {
            let keys = key_texts(value, &mut self.seen);
            self.octets(64 + value.shallow_size() + keys);
            if value.is_container() {
                self.work.push(value.clone());
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

/// Measures the texts that are keys of an array or names of properties, each shared one once, in octets.
fn key_texts(value: &Value, seen: &mut HashSet<usize>) -> usize {
    let mut texts_of = |array: &Array| {
        array
            .pairs()
            .filter_map(|(key, _)| match &*key {
                Key::Str(text) => {
                    text.address().filter(|address| seen.insert(*address)).map(|_| 64 + text.len())
                }
                _ => None,
            })
            .sum()
    };
    match value {
        // Lists have numbers for keys.
        Value::Array(array) if array.as_list().is_none() => texts_of(array),
        Value::Object(object) => texts_of(&object.properties()),
        _ => 0,
    }
}

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

/// Shows what a container holds.
fn each_child(value: &Value, mut visit: impl FnMut(&Value)) {
    match value {
        Value::Array(array) => array.values().for_each(visit),
        Value::Object(object) => object.properties().values().for_each(visit),
        Value::Cell(cell) => visit(&cell.0.0.lock()),
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
