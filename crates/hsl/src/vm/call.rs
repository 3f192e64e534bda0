//! Calls: of script functions, of native ones, and of those that call back.

use std::sync::Arc;

use smallvec::SmallVec;

use super::frame::{Back, Frame, NOT_LENT, NativeFrame, Target};
use super::ordinary::clear;
use super::quick::WINDOW;
use super::{State, Step, Vm};
use crate::bytecode::FunctionCode;
use crate::host::{
    Arguments, CallContext, Environment, NativeFunction, NativeStep, Thrown, count_message,
};
use crate::ops;
use crate::value::{
    Array, Cell, CellData, Class, Closure, Function, FunctionKind, GeneratorState, Globals, Object,
    SharedCell, Str, UserClass, Value,
};

/// Checks the arguments of a native function and fills in missing ones. `arguments` has room for all
/// declared parameters.
#[inline]
pub(super) fn complete(
    function: &NativeFunction,
    arguments: &mut [Value],
    given: usize,
) -> Result<(), Thrown> {
    let Some((start, missing)) = arguments.split_at_mut_checked(given) else {
        return Err(Thrown::new("arguments are missing"));
    };
    function.check(start.iter())?;
    for (at, place) in missing.iter_mut().enumerate() {
        *place = function.default(given + at).clone();
    }
    Ok(())
}

#[cold]
pub(super) fn too_deep(environment: &Environment) -> Thrown {
    Thrown::limit(format!("recursion limit of {} calls exceeded", environment.limits.depth))
}

impl Vm {
    /// Prepares the frame of a script function whose arguments lie from `frame.base` on, and enters
    /// it. A generator does not run yet: its object is the value.
    pub(super) fn enter(
        &mut self,
        callee: &FunctionCode,
        argc: usize,
        frame: Frame,
        unit: &Arc<Globals>,
        captures: Option<&[Cell]>,
    ) -> Result<(), Thrown> {
        let fixed = usize::from(callee.fixed);
        let min = usize::from(callee.min);
        if argc < min || argc > callee.max() {
            return Err(Thrown::new(count_message(&callee.name, argc, min, callee.max())));
        }
        if self.frames.len() > self.depth {
            return Err(too_deep(&self.environment));
        }
        let base = frame.base as usize;
        let needed = base + WINDOW + argc;
        if self.stack.len() < needed {
            self.stack.resize(needed + WINDOW, Value::None);
        }
        let Some(registers) = self.stack.get_mut(base..needed) else {
            return Err(Thrown::new("the stack is missing"));
        };
        let (_, parameters) = registers.split_at_mut(usize::from(callee.receiver));
        if callee.has_rest {
            let rest: Array = match parameters.get_mut(fixed..argc) {
                Some(surplus) => surplus.iter_mut().map(std::mem::take).collect(),
                None => Array::new(),
            };
            self.environment.budget.charge(rest.shallow_size());
            if let Some(place) = parameters.get_mut(fixed) {
                *place = Value::Array(rest);
            }
        }
        for at in argc..fixed {
            if let (Some(place), Some(value)) =
                (parameters.get_mut(at), callee.defaults.get(at - min))
            {
                *place = value.clone();
            }
        }
        for &register in &callee.unset {
            if let Some(place) = registers.get_mut(usize::from(register)) {
                *place = Value::Unset;
            }
        }
        for (at, cell) in captures.unwrap_or_default().iter().enumerate() {
            if let Some(place) = registers.get_mut(usize::from(callee.first_capture) + at) {
                *place = Value::Cell(SharedCell(Arc::clone(cell)));
            }
        }
        for &register in &callee.cells {
            if let Some(place) = registers.get_mut(usize::from(register)) {
                let cell = CellData::new(std::mem::take(place));
                self.environment.tracker.cell(&cell);
                *place = Value::Cell(SharedCell(cell));
            }
        }
        if !callee.is_generator {
            self.frames.push(frame);
            return Ok(());
        }
        let registers = registers
            .iter_mut()
            .take(usize::from(callee.registers))
            .map(std::mem::take)
            .collect::<Vec<_>>();
        self.environment.budget.charge(128 + registers.len() * 16);
        let state = GeneratorState {
            unit: Arc::clone(unit),
            function: frame.function,
            pc: 0,
            registers,
            count: 0,
        };
        let object = Value::Object(Object::generator(state));
        match frame.back {
            Back::Native => {
                // The caller of `enter` hands the value on; see `call_with`.
                self.ready = Some(object);
            }
            _ => {
                if let Some(place) = self.stack.get_mut(frame.result as usize) {
                    *place = object;
                }
            }
        }
        Ok(())
    }

    /// Calls the function at `start` of the stack; its arguments follow it.
    pub(super) fn call_value(
        &mut self,
        start: usize,
        argc: usize,
        target: Target,
    ) -> Result<Option<Step>, Thrown> {
        let callee = self.stack.get_mut(start).map(std::mem::take).unwrap_or_default();
        let Value::Function(callee) = callee else {
            return Err(Thrown::new(format!("cannot call {}", callee.type_of().name())));
        };
        match callee.kind() {
            FunctionKind::Script(script) => {
                let closure = &script.0;
                let base = match &closure.this {
                    Some(this) => {
                        if let Some(place) = self.stack.get_mut(start) {
                            *place = Value::Object(this.clone());
                        }
                        start
                    }
                    None => start + 1,
                };
                self.enter_closure(closure, argc, base, target)
            }
            FunctionKind::Native { function, class, this } => {
                let arguments = self.take_arguments(start + 1, argc);
                self.call_native(function, class.as_ref(), this.clone(), arguments, target)
            }
        }
    }

    fn take_arguments(&mut self, start: usize, argc: usize) -> Vec<Value> {
        match self.stack.get_mut(start..start + argc) {
            Some(arguments) => arguments.iter_mut().map(std::mem::take).collect(),
            None => Vec::new(),
        }
    }

    fn enter_closure(
        &mut self,
        closure: &Closure,
        argc: usize,
        base: usize,
        target: Target,
    ) -> Result<Option<Step>, Thrown> {
        let unit = Arc::clone(&closure.unit);
        let Some(callee) = unit.program.functions.get(closure.function as usize) else {
            return Err(Thrown::new("a function is missing"));
        };
        let (result, back) = match target {
            Target::Stack(place) => (place as u32, Back::Caller),
            Target::Native => (0, Back::Native),
        };
        let frame = Frame {
            unit: self.environment.unit(&unit),
            function: closure.function,
            pc: 0,
            base: base as u32,
            result,
            back,
            lent: NOT_LENT,
        };
        self.enter(callee, argc, frame, &unit, Some(&closure.captures))?;
        match self.ready.take() {
            Some(value) => self.drive(NativeStep::Return(value), target, None, None),
            None => Ok(None),
        }
    }

    /// Calls a native function with arguments of its own.
    fn call_native(
        &mut self,
        function: &Arc<NativeFunction>,
        class: Option<&Class>,
        this: Option<Object>,
        mut arguments: Vec<Value>,
        target: Target,
    ) -> Result<Option<Step>, Thrown> {
        let step = self.invoke(function, class, this.as_ref(), &mut arguments)?;
        self.drive(step, target, this, class.cloned())
    }

    fn invoke(
        &mut self,
        function: &NativeFunction,
        class: Option<&Class>,
        this: Option<&Object>,
        arguments: &mut Vec<Value>,
    ) -> Result<NativeStep, Thrown> {
        let given = arguments.len();
        arguments.resize(given.max(function.fixed()), Value::None);
        complete(function, arguments, given)?;
        let mut context = CallContext {
            environment: &mut self.environment,
            function: Some(function),
            this,
            class,
            given,
        };
        let step = function.invoke(&mut context, arguments);
        if let NativeStep::Return(value) = &step {
            self.environment.budget.charge(value.shallow_size());
        }
        Ok(step)
    }

    /// Calls a function value with a list of arguments; a frame starts at `start` of the stack.
    pub(super) fn call_with(
        &mut self,
        callee: &Value,
        arguments: Vec<Value>,
        start: usize,
        target: Target,
    ) -> Result<Option<Step>, Thrown> {
        let Value::Function(callee) = callee else {
            return Err(Thrown::new(format!("cannot call {}", callee.type_of().name())));
        };
        match callee.kind() {
            FunctionKind::Script(script) => self.call_closure(&script.0, arguments, start, target),
            FunctionKind::Native { function, class, this } => {
                self.call_native(function, class.as_ref(), this.clone(), arguments, target)
            }
        }
    }

    fn call_closure(
        &mut self,
        closure: &Closure,
        arguments: impl IntoIterator<Item = Value, IntoIter: ExactSizeIterator>,
        start: usize,
        target: Target,
    ) -> Result<Option<Step>, Thrown> {
        let arguments = arguments.into_iter();
        let argc = arguments.len();
        let receiver = usize::from(closure.this.is_some());
        let needed = start + receiver + argc + WINDOW;
        if self.stack.len() < needed {
            self.stack.resize(needed, Value::None);
        }
        if let (Some(this), Some(place)) = (&closure.this, self.stack.get_mut(start)) {
            *place = Value::Object(this.clone());
        }
        let places = self.stack.get_mut(start + receiver..).unwrap_or_default();
        for (place, argument) in places.iter_mut().zip(arguments) {
            *place = argument;
        }
        self.enter_closure(closure, argc, start, target)
    }

    /// Calls a method that is not one of the running program: of a host class, of an object from
    /// elsewhere, or a function in a property.
    pub(super) fn call_method(
        &mut self,
        start: usize,
        argc: usize,
        name: &Str,
        caller: Option<&UserClass>,
        target: Target,
    ) -> Result<Option<Step>, Thrown> {
        let receiver = self.stack.get(start).cloned().unwrap_or_default();
        if let Value::Object(object) = &receiver {
            if let Some(method) = object.class().method(name) {
                let method = Arc::clone(method);
                let class = object.class().clone();
                if let Some(place) = self.stack.get_mut(start) {
                    *place = Value::None;
                }
                return self.call_native_method(&method, &class, object, start + 1, argc, target);
            }
            if let (Some(class), Some(unit)) = (object.user_class(), object.unit())
                && let Some(method) = class.method(name)
            {
                if method.is_private && !ops::is_own_class(object, caller) {
                    return Err(ops::is_private(name));
                }
                let closure = Closure {
                    unit: Arc::clone(unit),
                    function: method.function,
                    captures: Box::default(),
                    this: None,
                };
                // The object lies where register 0 will be.
                return self.enter_closure(&closure, argc, start, target);
            }
        }
        let member = match &receiver {
            Value::Number(_) | Value::Bool(_) | Value::Function(_) | Value::Resource(_) => {
                Value::None
            }
            _ => ops::element(&receiver, &Value::String(name.clone()), caller)?,
        };
        if !matches!(member, Value::Function(_)) {
            let kind = match &receiver {
                Value::Object(object) => {
                    String::from_utf8_lossy(object.class().name()).into_owned()
                }
                other => other.type_of().name().to_owned(),
            };
            let name = name.escape_ascii();
            return Err(Thrown::new(format!("{kind} has no function {name}")));
        }
        if let Some(place) = self.stack.get_mut(start) {
            *place = member;
        }
        self.call_value(start, argc, target)
    }

    /// Calls a method of a host class with arguments on the stack.
    fn call_native_method(
        &mut self,
        method: &Arc<NativeFunction>,
        class: &Class,
        this: &Object,
        start: usize,
        argc: usize,
        target: Target,
    ) -> Result<Option<Step>, Thrown> {
        let count = argc.max(method.fixed());
        let Some(arguments) = self.stack.get_mut(start..start + count) else {
            return Err(Thrown::new("the stack is missing"));
        };
        complete(method, arguments, argc)?;
        let mut context = CallContext {
            environment: &mut self.environment,
            function: Some(method),
            this: Some(this),
            class: Some(class),
            given: argc,
        };
        let step = method.invoke(&mut context, arguments);
        clear(arguments);
        match step {
            NativeStep::Return(value) => {
                self.environment.budget.charge(value.shallow_size());
                self.drive(NativeStep::Return(value), target, None, None)
            }
            step => self.drive(step, target, Some(this.clone()), Some(class.clone())),
        }
    }

    /// Returns the first free place of the stack.
    pub(super) fn top(&self) -> usize {
        let Some(frame) = self.frames.last() else { return 0 };
        let registers = self
            .environment
            .units
            .get(frame.unit as usize)
            .and_then(|unit| unit.program.functions.get(frame.function as usize))
            .map_or(WINDOW, |function| usize::from(function.registers));
        frame.base as usize + registers
    }

    /// Takes the steps of native functions until one of them waits, a script function runs, or the
    /// value has arrived on the stack; then `None` says to go on there.
    ///
    /// `this` and `class` belong to the native function that made `step`.
    pub(super) fn drive(
        &mut self,
        step: NativeStep,
        target: Target,
        this: Option<Object>,
        class: Option<Class>,
    ) -> Result<Option<Step>, Thrown> {
        let (mut step, mut target, mut this, mut class) = (step, target, this, class);
        loop {
            match step {
                NativeStep::Return(value) => match target {
                    Target::Stack(place) => {
                        if let Some(place) = self.stack.get_mut(place) {
                            *place = value;
                        }
                        return Ok(None);
                    }
                    Target::Native => {
                        let Some(frame) = self.natives.pop() else {
                            return Err(Thrown::new("a native call is missing"));
                        };
                        (target, this, class) = (frame.target, frame.this, frame.class);
                        let mut context = CallContext {
                            environment: &mut self.environment,
                            function: None,
                            this: this.as_ref(),
                            class: class.as_ref(),
                            given: 0,
                        };
                        step = frame.then.resume(&mut context, value);
                    }
                },
                NativeStep::Throw(thrown) => match target {
                    Target::Stack(_) => return Err(thrown),
                    Target::Native => {
                        let Some(frame) = self.natives.pop() else { return Err(thrown) };
                        (target, this, class) = (frame.target, frame.this, frame.class);
                        if matches!(thrown.kind(), crate::host::ThrownKind::Limit(_)) {
                            step = NativeStep::Throw(thrown);
                            continue;
                        }
                        let mut context = CallContext {
                            environment: &mut self.environment,
                            function: None,
                            this: this.as_ref(),
                            class: class.as_ref(),
                            given: 0,
                        };
                        step = frame.then.threw(&mut context, thrown);
                    }
                },
                NativeStep::Exit(outcome) => return Ok(Some(Step::Exited(outcome))),
                NativeStep::Suspend(future) => {
                    self.state = State::Waiting(target);
                    return Ok(Some(Step::Suspended(future)));
                }
                NativeStep::SuspendThen { future, then } => {
                    self.push_native(then, target, this, class)?;
                    self.state = State::Waiting(Target::Native);
                    return Ok(Some(Step::Suspended(future)));
                }
                NativeStep::Call { function, arguments, then } => {
                    self.push_native(then, target, this, class)?;
                    target = Target::Native;
                    this = None;
                    class = None;
                    // Loops of callbacks are loops of the script: they take fuel.
                    self.environment.fuel -= 1;
                    step = match self.call_back(&function, arguments) {
                        Ok(Some(step)) => step,
                        Ok(None) => return Ok(None),
                        Err(thrown) => NativeStep::Throw(thrown),
                    };
                }
            }
        }
    }

    fn push_native(
        &mut self,
        then: Box<dyn crate::host::Continuation>,
        target: Target,
        this: Option<Object>,
        class: Option<Class>,
    ) -> Result<(), Thrown> {
        if self.natives.len() > self.depth {
            return Err(too_deep(&self.environment));
        }
        self.natives.push(NativeFrame { then, target, this, class, repeats: None });
        Ok(())
    }

    /// Calls a function for a native one; `None` means that a script function was entered.
    fn call_back(
        &mut self,
        callee: &Value,
        arguments: Arguments,
    ) -> Result<Option<NativeStep>, Thrown> {
        let Value::Function(callee) = callee else {
            return Err(Thrown::new(format!("cannot call {}", callee.type_of().name())));
        };
        match callee.kind() {
            FunctionKind::Native { function, class, this } => {
                let mut arguments = arguments.into_vec();
                self.invoke(function, class.as_ref(), this.as_ref(), &mut arguments).map(Some)
            }
            FunctionKind::Script(script) => {
                let closure = &script.0;
                let start = self.top();
                let receiver = usize::from(closure.this.is_some());
                let needed = start + receiver + arguments.len() + WINDOW;
                if self.stack.len() < needed {
                    self.stack.resize(needed + WINDOW, Value::None);
                }
                let argc = arguments.len();
                if let (Some(this), Some(place)) = (&closure.this, self.stack.get_mut(start)) {
                    *place = Value::Object(this.clone());
                }
                let places = self.stack.get_mut(start + receiver..).unwrap_or_default();
                for (place, argument) in places.iter_mut().zip(arguments) {
                    *place = argument;
                }
                let unit = Arc::clone(&closure.unit);
                let Some(callee) = unit.program.functions.get(closure.function as usize) else {
                    return Err(Thrown::new("a function is missing"));
                };
                let frame = Frame {
                    unit: self.environment.unit(&unit),
                    function: closure.function,
                    pc: 0,
                    base: start as u32,
                    result: 0,
                    back: Back::Native,
                    lent: NOT_LENT,
                };
                self.enter(callee, argc, frame, &unit, Some(&closure.captures))?;
                let is_repeatable = usize::from(callee.fixed) == argc
                    && callee.receiver == 0
                    && !callee.is_generator
                    && !callee.has_rest
                    && callee.cells.is_empty()
                    && closure.captures.is_empty();
                if let Some(native) = self.natives.last_mut() {
                    native.repeats = u8::try_from(argc).ok().filter(|_| is_repeatable);
                }
                Ok(self.ready.take().map(NativeStep::Return))
            }
        }
    }
}

/// Returns a function value for what `cache` and others name.
pub(super) fn function_name(function: &Function) -> SmallVec<[u8; 32]> {
    let mut name = SmallVec::new();
    if let FunctionKind::Native { class: Some(class), .. } = function.kind() {
        name.extend_from_slice(class.name());
        name.extend_from_slice(b"::");
    }
    name.extend_from_slice(function.name().unwrap_or_default().as_bytes());
    name
}
