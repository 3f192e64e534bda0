//! Circles of references that an execution leaves behind.
//!
//! Values are counted references, so a circle would live forever. An execution that nothing has left is
//! emptied at its end. When something has (it is in the shared memory or in a cache), only what nobody
//! else can reach may go: references among what the execution has made are counted, and whatever has more
//! of them is held from outside, with all that can be reached from it.
//!
//! Other executions may change what they hold meanwhile. What they can reach has a reference that was not
//! counted, or was found in something that has one, whatever they do; the rest nobody can touch.

use std::sync::Arc;

use hashbrown::HashMap;

use crate::value::{Cell, ClassKind, FunctionKind, Globals, Key, Object, SharedCell, Value};

/// Empties what only refers to itself among `living` objects and shared variables and the variables of
/// `units`, the first of which is the script that has ended. Each unit has one reference that is about to go.
pub(crate) fn release(living: Vec<Value>, units: &[Arc<Globals>]) {
    let mut graph = Graph::default();
    for unit in units {
        let at = graph.unit(unit);
        if let Some(node) = graph.nodes.get_mut(at) {
            node.inside += 1;
        }
    }
    for value in living {
        graph.value(&value);
    }
    graph.find_all();
    let garbage = graph.without_holder();
    garbage.iter().for_each(What::empty);
}

/// What can be reached, and how.
#[derive(Default)]
struct Graph {
    nodes: Vec<Node>,
    by_address: HashMap<usize, usize>,
}

/// Something with counted references.
struct Node {
    what: What,
    /// References to it that were found.
    inside: usize,
    /// Whether it stays, however many there are.
    is_held: bool,
    /// What it refers to, by number.
    to: Vec<usize>,
}

#[derive(Clone)]
enum What {
    Value(Value),
    Unit(Arc<Globals>),
}

impl Graph {
    fn node(&mut self, address: usize, what: impl FnOnce() -> What) -> usize {
        let next = self.nodes.len();
        let at = *self.by_address.entry(address).or_insert(next);
        if at == next {
            self.nodes.push(Node { what: what(), inside: 0, is_held: false, to: Vec::new() });
        }
        at
    }

    fn unit(&mut self, unit: &Arc<Globals>) -> usize {
        self.node(Arc::as_ptr(unit) as usize, || What::Unit(Arc::clone(unit)))
    }

    fn value(&mut self, value: &Value) -> Option<usize> {
        let address = match value {
            Value::Array(array) => array.address(),
            Value::Object(object) => object.address(),
            Value::Function(function) => function.allocation(),
            Value::Cell(cell) => Arc::as_ptr(&cell.0) as usize,
            _ => return None,
        };
        Some(self.node(address, || What::Value(value.clone())))
    }

    /// Follows all references.
    fn find_all(&mut self) {
        let mut at = 0;
        while let Some(node) = self.nodes.get(at) {
            match node.what.clone() {
                What::Unit(unit) => self.variables(at, &unit),
                What::Value(value) => self.contents(at, &value),
            }
            at += 1;
        }
    }

    /// Notes a counted reference.
    fn refers(&mut self, from: usize, to: &Value) {
        if let Some(to) = self.value(to) {
            self.joined(from, to, 1);
        }
    }

    fn refers_to_unit(&mut self, from: usize, unit: &Arc<Globals>) {
        let to = self.unit(unit);
        self.joined(from, to, 1);
    }

    fn joined(&mut self, from: usize, to: usize, count: usize) {
        if let Some(node) = self.nodes.get_mut(to) {
            node.inside += count;
        }
        if let Some(node) = self.nodes.get_mut(from) {
            node.to.push(to);
        }
    }

    fn variables(&mut self, from: usize, unit: &Arc<Globals>) {
        for (global, place) in unit.program.globals.iter().zip(&unit.values) {
            let value = place.lock().clone();
            self.refers(from, &value);
            // The program that ran the script may still ask for it.
            if global.is_context
                && let Some(at) = self.value(&value)
                && let Some(node) = self.nodes.get_mut(at)
            {
                node.is_held = true;
            }
        }
    }

    fn contents(&mut self, from: usize, value: &Value) {
        match value {
            Value::Array(array) => {
                for (key, item) in array.pairs() {
                    if let Key::Other(key) = &*key {
                        self.refers(from, key);
                    }
                    self.refers(from, item);
                }
            }
            Value::Cell(cell) => {
                let value = cell.0.0.lock().clone();
                self.refers(from, &value);
            }
            Value::Object(object) => self.object(from, object),
            Value::Function(function) => match function.kind() {
                FunctionKind::Script(script) => {
                    self.refers_to_unit(from, &script.0.unit);
                    for cell in &script.0.captures {
                        self.refers(from, &Value::Cell(SharedCell(Cell::clone(cell))));
                    }
                    if let Some(this) = &script.0.this {
                        self.refers(from, &Value::Object(this.clone()));
                    }
                }
                FunctionKind::Native { this: Some(this), .. } => {
                    self.refers(from, &Value::Object(this.clone()));
                }
                FunctionKind::Native { .. } => {}
            },
            _ => {}
        }
    }

    fn object(&mut self, from: usize, object: &Object) {
        let properties = Value::Array(object.properties().clone());
        self.refers(from, &properties);
        if let Some(unit) = object.unit() {
            self.refers_to_unit(from, unit);
        }
        if let ClassKind::Native(class) = object.class().kind()
            && let Some(measure) = &class.measure
        {
            // What classes of the host tell of is reached, but not counted: they need not tell it exactly.
            for value in crate::memory::contents_of(object, measure) {
                if let Some(to) = self.value(&value) {
                    self.joined(from, to, 0);
                }
            }
        }
    }

    /// Returns what is held neither from outside nor by what is.
    fn without_holder(&self) -> Vec<What> {
        let mut is_held: Vec<bool> =
            self.nodes.iter().map(|node| node.is_held || node.references() > node.inside).collect();
        let held = is_held.iter().enumerate().filter(|(_, is_held)| **is_held);
        let mut work: Vec<usize> = held.map(|(at, _)| at).collect();
        while let Some(at) = work.pop() {
            for &to in self.nodes.get(at).map_or(&[][..], |node| &node.to) {
                if let Some(is_held) = is_held.get_mut(to)
                    && !std::mem::replace(is_held, true)
                {
                    work.push(to);
                }
            }
        }
        let free = self.nodes.iter().zip(is_held).filter(|(_, is_held)| !is_held);
        free.map(|(node, _)| node.what.clone()).collect()
    }
}

impl Node {
    /// Returns how many references there are but the one here.
    fn references(&self) -> usize {
        let all = match &self.what {
            What::Unit(unit) => Arc::strong_count(unit),
            What::Value(Value::Array(array)) => array.references(),
            What::Value(Value::Object(object)) => object.references(),
            What::Value(Value::Function(function)) => function.references(),
            What::Value(Value::Cell(cell)) => Arc::strong_count(&cell.0),
            What::Value(_) => 0,
        };
        all.saturating_sub(1)
    }
}

impl What {
    /// Takes out what makes circles.
    fn empty(&self) {
        match self {
            Self::Unit(unit) => unit.clear(),
            Self::Value(Value::Object(object)) => {
                let properties = std::mem::take(&mut *object.properties());
                drop(properties); // outside of the lock
            }
            Self::Value(Value::Cell(cell)) => {
                let value = std::mem::take(&mut *cell.0.0.lock());
                drop(value); // outside of the lock
            }
            Self::Value(_) => {}
        }
    }
}
