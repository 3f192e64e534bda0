//! `foreach`, iterators and generators.

use std::sync::Arc;

use super::Vm;
use super::frame::{Back, Frame, NOT_LENT};
use super::quick::WINDOW;
use crate::bytecode::{Op, Register};
use crate::host::Thrown;
use crate::memory::{self, Budget};
use crate::ops;
use crate::value::{
    Array, ClassKind, GeneratorState, IteratorKind, IteratorState, Key, Object, UserClass, Value,
    method_value,
};

/// What comes next in a walk over an iterator.
pub(super) enum Next {
    Pair(Value, Value),
    End,
    /// The generator's frame has to run.
    Resume(Box<GeneratorState>),
    Busy,
}

/// Returns what `foreach` walks: an array or an iterator.
pub(super) fn start(
    source: Value,
    caller: Option<&UserClass>,
    budget: &mut Budget,
) -> Result<Value, Thrown> {
    match source {
        Value::Array(_) => Ok(source),
        Value::Object(object) => {
            if object.state::<IteratorState>().is_some() {
                return Ok(Value::Object(object));
            }
            match object.class().kind() {
                ClassKind::Native(class) => match &class.iterate {
                    Some(iterate) => {
                        let iterator = Object::iterator(iterate(&object));
                        budget.charge(memory::measure_instance(&iterator));
                        Ok(Value::Object(iterator))
                    }
                    None => Ok(Value::Array(members(&object, caller))),
                },
                ClassKind::Script(_) => Ok(Value::Array(members(&object, caller))),
            }
        }
        other => Err(Thrown::new(format!("cannot walk {}", other.type_of().name()))),
    }
}

/// Returns the properties and functions of an object that `caller` may see.
fn members(object: &Object, caller: Option<&UserClass>) -> Array {
    let mut members = object.properties().clone();
    let Some(class) = object.user_class() else { return members };
    let is_own = ops::is_own_class(object, caller);
    if !is_own {
        for member in class.restricted.iter().filter(|member| member.is_private) {
            members.remove(&Key::from(member.name.clone()));
        }
    }
    for method in class.methods.iter().filter(|method| is_own || !method.is_private) {
        if let Some(function) = method_value(object, &method.name) {
            members.insert(Key::from(method.name.clone()), Value::Function(function));
        }
    }
    members
}

/// Takes the next pair of an iterator.
pub(super) fn next(iterator: &Object) -> Next {
    let Some(state) = iterator.state::<IteratorState>() else { return Next::End };
    let mut kind = state.0.lock();
    match std::mem::replace(&mut *kind, IteratorKind::Running) {
        IteratorKind::Host(mut source) => match source.next() {
            Some((key, value)) => {
                *kind = IteratorKind::Host(source);
                Next::Pair(key, value)
            }
            None => {
                *kind = IteratorKind::Done;
                Next::End
            }
        },
        IteratorKind::Generator(state) => Next::Resume(state),
        IteratorKind::Running => Next::Busy,
        IteratorKind::Done => {
            *kind = IteratorKind::Done;
            Next::End
        }
    }
}

/// The `IterNext` instruction that a frame is in.
struct Waiting {
    base: usize,
    iterator: Register,
    value: Register,
    key: Register,
    to: i32,
}

impl Vm {
    /// Puts the frame of a generator back on the stack, from `top` on.
    pub(super) fn resume_generator(
        &mut self,
        mut state: GeneratorState,
        top: usize,
    ) -> Result<(), Thrown> {
        if self.frames.len() > self.depth {
            return Err(super::call::too_deep(&self.environment));
        }
        let needed = top + WINDOW;
        if self.stack.len() < needed {
            self.stack.resize(needed + WINDOW, Value::None);
        }
        let unit = self.environment.unit(&state.unit);
        let places = self.stack.get_mut(top..).unwrap_or_default();
        for (place, value) in places.iter_mut().zip(state.registers.iter_mut()) {
            *place = std::mem::take(value);
        }
        self.frames.push(Frame {
            unit,
            function: state.function,
            pc: state.pc,
            base: top as u32,
            result: state.count,
            back: Back::Generator,
            lent: NOT_LENT,
        });
        Ok(())
    }

    /// Returns the `foreach` that the topmost frame is in.
    fn waiting(&self) -> Option<Waiting> {
        let frame = self.frames.last()?;
        let unit = self.environment.units.get(frame.unit as usize)?;
        let function = unit.program.functions.get(frame.function as usize)?;
        match function.code.get((frame.pc as usize).checked_sub(1)?)? {
            Op::IterNext { base, value, key, to } => Some(Waiting {
                base: frame.base as usize,
                iterator: *base,
                value: *value,
                key: *key,
                to: *to,
            }),
            _ => None,
        }
    }

    fn set_iterator(&self, waiting: &Waiting, kind: IteratorKind) {
        let place = self.stack.get(waiting.base + usize::from(waiting.iterator));
        if let Some(Value::Object(iterator)) = place
            && let Some(state) = iterator.state::<IteratorState>()
        {
            *state.0.lock() = kind;
        }
    }

    /// Saves the topmost frame aside and hands `value` to the `foreach` below.
    pub(super) fn yield_value(&mut self, value: Value) -> bool {
        let Some(frame) = self.frames.pop() else { return false };
        if frame.back != Back::Generator {
            self.frames.push(frame);
            return false;
        }
        let (Some(unit), Some(waiting)) =
            (self.environment.units.get(frame.unit as usize).map(Arc::clone), self.waiting())
        else {
            return false;
        };
        let count = unit
            .program
            .functions
            .get(frame.function as usize)
            .map_or(0, |function| usize::from(function.registers));
        let base = frame.base as usize;
        let registers = match self.stack.get_mut(base..base + count) {
            Some(registers) => registers.iter_mut().map(std::mem::take).collect(),
            None => Vec::new(),
        };
        let number = frame.result;
        let state = GeneratorState {
            unit,
            function: frame.function,
            pc: frame.pc,
            registers,
            count: number.wrapping_add(1),
        };
        self.set_iterator(&waiting, IteratorKind::Generator(Box::new(state)));
        if waiting.key != Register::MAX
            && let Some(place) = self.stack.get_mut(waiting.base + usize::from(waiting.key))
        {
            *place = Value::from(number);
        }
        if let Some(place) = self.stack.get_mut(waiting.base + usize::from(waiting.value)) {
            *place = value;
        }
        true
    }

    /// Ends the `foreach` over a generator whose frame is gone.
    pub(super) fn end_generator(&mut self) {
        let Some(waiting) = self.waiting() else { return };
        self.set_iterator(&waiting, IteratorKind::Done);
        if let Some(frame) = self.frames.last_mut() {
            frame.pc = frame.pc.wrapping_add_signed(waiting.to);
        }
    }

    /// Marks the generator as done after its frame was thrown away.
    pub(super) fn abandon_generator(&self) {
        if let Some(waiting) = self.waiting() {
            self.set_iterator(&waiting, IteratorKind::Done);
        }
    }
}
