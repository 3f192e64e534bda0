//! Exceptions: the way from a throw to its `catch`, or out of the script.

use super::frame::{Back, Frame, NOT_LENT, Target};
use super::{ScriptError, State, Step, Vm};
use crate::bytecode::{HandlerKind, Variable};
use crate::diagnostic::{Diagnostic, Severity};
use crate::exception::{Exception, Origin, Place};
use crate::host::{NativeStep, Thrown, ThrownKind};
use crate::source::Span;
use crate::value::{Object, Str, Value};

/// Calls that an error lists.
const MAX_TRACE: usize = 32;

impl Vm {
    /// Looks for the `catch` of `thrown`. `None` means that a script function goes on.
    pub(super) fn unwind(&mut self, thrown: Thrown) -> Result<Option<Step>, ScriptError> {
        let mut thrown = thrown;
        if thrown.place().is_none() {
            self.set_place(&mut thrown);
        }
        loop {
            if self.catch(&mut thrown) {
                return Ok(None);
            }
            self.clear_top();
            let Some(frame) = self.frames.pop() else { return Err(self.script_error(thrown)) };
            match frame.back {
                Back::Entry => return Err(self.script_error(thrown)),
                Back::Caller => {}
                Back::Generator => self.abandon_generator(),
                Back::Native => {
                    match self.drive(NativeStep::Throw(thrown), Target::Native, None, None) {
                        Ok(step) => return Ok(step),
                        Err(again) => thrown = again,
                    }
                }
            }
        }
    }

    /// Notes where something was thrown, or came from if it is thrown again.
    fn set_place(&self, thrown: &mut Thrown) {
        let (place, trace) = match self.origin(thrown) {
            Some(origin) => (origin.place, origin.trace),
            None => (self.place_of_top(), self.trace()),
        };
        thrown.set_place(place);
        thrown.set_trace(trace);
    }

    /// Returns where a builtin exception that is thrown again came from.
    fn origin(&self, thrown: &Thrown) -> Option<Origin> {
        let ThrownKind::Value(Value::Object(object)) = thrown.kind() else { return None };
        let exception = object.state::<Exception>()?;
        let origin = exception.origin.as_deref()?;
        (origin.program == self.program().number).then(|| origin.clone())
    }

    /// Ends an execution between two runs, as a limit would: the error tells where the script is, and
    /// no `catch` sees it.
    pub fn interrupt(&mut self, message: impl Into<String>) -> ScriptError {
        let mut thrown = Thrown::limit(message);
        let place = match (&self.state, self.frames.last()) {
            // A slice ends in front of what is to be done next.
            (State::Running, Some(frame)) => self.place(frame.unit, frame.function, frame.pc),
            _ => self.place_of_top(),
        };
        thrown.set_place(place);
        thrown.set_trace(self.trace());
        let error = self.script_error(thrown);
        self.end();
        error
    }

    /// Runs the handlers of the topmost frame. Returns whether one of them caught.
    fn catch(&mut self, thrown: &mut Thrown) -> bool {
        let Some(frame) = self.frames.last().copied() else { return false };
        let Some(unit) = self.environment.units.get(frame.unit as usize).cloned() else {
            return false;
        };
        let Some(function) = unit.program.functions.get(frame.function as usize) else {
            return false;
        };
        let pc = frame.pc.saturating_sub(1);
        for handler in &function.handlers {
            if !(handler.start..handler.end).contains(&pc) {
                continue;
            }
            match handler.kind {
                HandlerKind::Barrier { a, slot } => {
                    if let Err(new) = self.leave_in_frame(a, slot)
                        && !matches!(thrown.kind(), ThrownKind::Limit(_))
                    {
                        *thrown = new;
                    }
                }
                HandlerKind::Catch { target, a } => {
                    if matches!(thrown.kind(), ThrownKind::Limit(_)) {
                        continue;
                    }
                    let value = self.exception_value(thrown);
                    if let Some(place) = self.stack.get_mut(frame.base as usize + usize::from(a)) {
                        *place = value;
                    }
                    if let Some(frame) = self.frames.last_mut() {
                        frame.pc = target;
                    }
                    return true;
                }
            }
        }
        false
    }

    /// Leaves a barrier of the topmost frame.
    fn leave_in_frame(&mut self, guard: u8, slot: u16) -> Result<(), Thrown> {
        let Some(frame) = self.frames.last().copied() else { return Ok(()) };
        let Some(unit) = self.environment.units.get(frame.unit as usize).cloned() else {
            return Ok(());
        };
        let Some(function) = unit.program.functions.get(frame.function as usize) else {
            return Ok(());
        };
        let base = frame.base as usize;
        let register = |vm: &Self, register: u8| {
            vm.stack.get(base + usize::from(register)).cloned().unwrap_or_default()
        };
        let variable = function.barriers.get(usize::from(slot)).copied().flatten();
        let value = variable.map(|variable| match variable {
            Variable::Local(at) => register(self, at),
            Variable::Cell(at) => match register(self, at) {
                Value::Cell(cell) => cell.0.0.lock().clone(),
                value => value,
            },
            Variable::Global(at) => match unit.values.get(usize::from(at)) {
                Some(value) => value.lock().clone(),
                None => Value::Unset,
            },
        });
        let guard =
            self.stack.get_mut(base + usize::from(guard)).map(std::mem::take).unwrap_or_default();
        self.leave_barrier(guard, value).map_err(|mut thrown| {
            self.set_place(&mut thrown);
            thrown
        })
    }

    /// Leaves all barriers and functions, after a native function ended the script. Returns the first
    /// error of a barrier.
    pub(super) fn leave_all(&mut self) -> Option<Thrown> {
        let mut failed = None;
        while let Some(frame) = self.frames.last().copied() {
            let handlers = self
                .environment
                .units
                .get(frame.unit as usize)
                .and_then(|unit| unit.program.functions.get(frame.function as usize))
                .map(|function| function.handlers.clone())
                .unwrap_or_default();
            let pc = frame.pc.saturating_sub(1);
            for handler in handlers {
                if let HandlerKind::Barrier { a, slot } = handler.kind
                    && (handler.start..handler.end).contains(&pc)
                    && let Err(thrown) = self.leave_in_frame(a, slot)
                {
                    failed.get_or_insert(thrown);
                }
            }
            self.clear_top();
            self.frames.pop();
        }
        self.natives.clear();
        failed
    }

    /// Gives the object of the topmost frame back to the variable that has lent it.
    pub(super) fn give_back(&mut self) {
        if let [.., caller, frame] = self.frames.as_slice()
            && frame.lent != NOT_LENT
            && let Some(object) = self.stack.get_mut(frame.base as usize).map(std::mem::take)
            && let Some(place) = self.stack.get_mut(caller.base as usize + usize::from(frame.lent))
        {
            place.put(object);
        }
        if let Some(frame) = self.frames.last_mut() {
            frame.lent = NOT_LENT;
        }
    }

    /// Empties the registers of the topmost frame.
    fn clear_top(&mut self) {
        self.give_back();
        let top = self.top();
        let Some(frame) = self.frames.last() else { return };
        if let Some(registers) = self.stack.get_mut(frame.base as usize..top) {
            super::ordinary::clear(registers);
        }
    }

    /// Returns what `catch` gets.
    fn exception_value(&mut self, thrown: &mut Thrown) -> Value {
        let place = thrown.place();
        let trace = thrown.trace().to_vec();
        let taken = std::mem::replace(thrown, Thrown::new(""));
        match taken.into_kind() {
            ThrownKind::Value(value) => value,
            ThrownKind::Error(message) | ThrownKind::Limit(message) => {
                let origin = Origin { program: self.program().number, place, trace };
                let place = place.and_then(|span| {
                    let file = self.program().sources.file(span.file)?;
                    let location = file.location(span.start);
                    Some(Place {
                        file: file.name().to_owned(),
                        line: location.line,
                        column: location.column,
                    })
                });
                let message = Str::from(message);
                let origin = Some(Box::new(origin));
                let exception = Exception { message, place, origin };
                let exception = Object::new(crate::exception::class(), exception);
                self.environment.budget.charge(crate::memory::measure_instance(&exception));
                Value::Object(exception)
            }
        }
    }

    fn place_of_top(&self) -> Option<Span> {
        self.place_of(self.frames.last()?)
    }

    pub(super) fn place_of(&self, frame: &Frame) -> Option<Span> {
        self.place(frame.unit, frame.function, frame.pc.saturating_sub(1))
    }

    /// Returns a place in the script's own sources.
    fn place(&self, unit: u32, function: u32, pc: u32) -> Option<Span> {
        let program = &self.environment.units.get(unit as usize)?.program;
        // Functions from the shared memory may belong to an earlier version of the script.
        if !std::sync::Arc::ptr_eq(program, self.program()) {
            return None;
        }
        self.environment.span((unit, function, pc))
    }

    /// Returns the calls under way, innermost first, each with where it was made.
    pub(super) fn trace(&self) -> Vec<(Str, Option<Span>)> {
        let mut trace = Vec::new();
        for (at, frame) in self.frames.iter().enumerate().rev() {
            let Some(below) = at.checked_sub(1).and_then(|at| self.frames.get(at)) else { break };
            let name = self
                .environment
                .units
                .get(frame.unit as usize)
                .and_then(|unit| unit.program.functions.get(frame.function as usize))
                .map(|function| Str::from(&*function.name));
            let span = self.place(below.unit, below.function, below.pc.saturating_sub(1));
            if below.back == Back::Entry {
                break; // the module itself is no call of the script
            }
            if trace.len() == MAX_TRACE {
                break;
            }
            trace.push((name.unwrap_or_default(), span));
        }
        trace
    }

    pub(super) fn script_error(&self, thrown: Thrown) -> ScriptError {
        let mut diagnostic = match thrown.place() {
            Some(span) => Diagnostic::error(span, thrown.message()),
            None => Diagnostic::without_place(Severity::Error, thrown.message()),
        };
        for (name, span) in thrown.trace() {
            let what = match name.as_text() {
                Some("") | None => "function".to_owned(),
                Some(name) => format!("function {name}"),
            };
            diagnostic = diagnostic.with_frame(what, *span);
        }
        let diagnostic = diagnostic.with_way(&self.program().ways);
        ScriptError::new(diagnostic, thrown.into_kind(), self.program())
    }
}
