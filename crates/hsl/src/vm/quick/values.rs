//! Handlers for everything but numbers: registers, texts, elements, properties, calls.

use super::super::call;
use super::super::dispatch::{clear, join};
use super::super::frame::{Back, Frame, NOT_LENT};
use super::{Exit, Instruction, Machine, Registers, WINDOW, Word, leave, next};
use crate::bytecode::{FunctionCode, Register};
use crate::host::{CallContext, NativeStep, Thrown};
use crate::ops;
use crate::value::Value;

handlers! {
    copy(word, code, pc, regs, machine) {
        if let &Value::Number(value) = &regs[word.second()]
            && regs[word.first()].set_number(value)
        {
            return next(code, pc, regs, machine);
        }
        copy_any(word, code, pc, regs, machine)
    }
    take(word, code, pc, regs, machine) {
        if let &Value::Number(value) = &regs[word.second()]
            && regs[word.first()].set_number(value)
        {
            return next(code, pc, regs, machine);
        }
        take_any(word, code, pc, regs, machine)
    }
    none(word, code, pc, regs, machine) {
        if regs[word.first()].set_none() {
            return next(code, pc, regs, machine);
        }
        clear_first(word, code, pc, regs, machine)
    }
    release(word, code, pc, regs, machine) {
        if !regs[word.first()].needs_drop() {
            return next(code, pc, regs, machine);
        }
        clear_first(word, code, pc, regs, machine)
    }
    boolean(word, code, pc, regs, machine) {
        if regs[word.first()].set_bool(word.wide() != 0) {
            return next(code, pc, regs, machine);
        }
        leave(Exit::Full, pc, machine)
    }
    constant(word, code, pc, regs, machine) {
        if let Some(value) = machine.function.constants.get(word.wide()) {
            regs[word.first()].put_copy(value);
            return next(code, pc, regs, machine);
        }
        leave(Exit::Full, pc, machine)
    }
    number(word, code, pc, regs, machine) {
        if regs[word.first()].set_number(word.long()) {
            return next(code, pc, regs, machine);
        }
        leave(Exit::Full, pc, machine)
    }
    check_set(word, code, pc, regs, machine) {
        if !matches!(regs[word.first()], Value::Unset) {
            return next(code, pc, regs, machine);
        }
        leave(Exit::Full, pc, machine)
    }
    add_assign(word, code, pc, regs, machine) {
        if let &Value::Number(by) = &regs[word.second()]
            && let Value::Number(value) = &mut regs[word.first()]
        {
            *value += by;
            return next(code, pc, regs, machine);
        }
        leave(Exit::Full, pc, machine)
    }
    increment(word, code, pc, regs, machine) {
        if let Value::Number(value) = &mut regs[word.first()] {
            *value += 1.0;
            return next(code, pc, regs, machine);
        }
        leave(Exit::Full, pc, machine)
    }
    decrement(word, code, pc, regs, machine) {
        if let Value::Number(value) = &mut regs[word.first()] {
            *value -= 1.0;
            return next(code, pc, regs, machine);
        }
        leave(Exit::Full, pc, machine)
    }
    not(word, code, pc, regs, machine) {
        let value = !regs[word.second()].is_truthy();
        if regs[word.first()].set_bool(value) {
            return next(code, pc, regs, machine);
        }
        leave(Exit::Full, pc, machine)
    }

    jump_to(word, code, pc, regs, machine) {
        next(code, word.jump(pc), regs, machine)
    }
    round(word, code, pc, regs, machine) {
        if machine.has_fuel() {
            machine.fuel -= 1;
            return next(code, word.jump(pc), regs, machine);
        }
        leave(Exit::Full, pc, machine)
    }
    if_true(word, code, pc, regs, machine) {
        if regs[word.first()].is_truthy() {
            return next(code, word.jump(pc), regs, machine);
        }
        next(code, pc, regs, machine)
    }
    if_false(word, code, pc, regs, machine) {
        if !regs[word.first()].is_truthy() {
            return next(code, word.jump(pc), regs, machine);
        }
        next(code, pc, regs, machine)
    }
    if_some(word, code, pc, regs, machine) {
        if !regs[word.first()].is_none() {
            return next(code, word.jump(pc), regs, machine);
        }
        next(code, pc, regs, machine)
    }

    text(word, code, pc, regs, machine) {
        if join_text(word, regs, machine) {
            return next(code, pc, regs, machine);
        }
        leave(Exit::Threw, pc, machine)
    }
    append(word, code, pc, regs, machine) {
        if append_text(word, regs, machine) {
            return next(code, pc, regs, machine);
        }
        leave(Exit::Full, pc, machine)
    }
    index(word, code, pc, regs, machine) {
        if let (Value::Array(array), &Value::Number(at)) =
            (&regs[word.second()], &regs[word.third()])
            && let Some(&Value::Number(value)) = array.list_item(at)
            && regs[word.first()].set_number(value)
        {
            return next(code, pc, regs, machine);
        }
        index_any(word, code, pc, regs, machine)
    }
    set_index(word, code, pc, regs, machine) {
        if let (&Value::Number(at), &Value::Number(value)) =
            (&regs[word.second()], &regs[word.third()])
            && let Value::Array(array) = &mut regs[word.first()]
            && let Some(place) = array.list_place(at)
        {
            place.put_number(value);
            return next(code, pc, regs, machine);
        }
        leave(Exit::Full, pc, machine)
    }
    push(word, code, pc, regs, machine) {
        if let &Value::Number(number) = &regs[word.second()]
            && let Value::Array(array) = &mut regs[word.first()]
            && let Some(list) = array.growable_list()
        {
            machine.environment.budget.charge(16);
            list.push(Value::Number(number));
            return next(code, pc, regs, machine);
        }
        leave(Exit::Full, pc, machine)
    }
    property(word, code, pc, regs, machine) {
        if let Value::Object(object) = &regs[word.second()]
            && let Some(slot) = object.open_slot(machine.program, word.index() as u16)
            && let Some(value) = slot.number()
            && regs[word.first()].set_number(value)
        {
            return next(code, pc, regs, machine);
        }
        property_any(word, code, pc, regs, machine)
    }
    set_property(word, code, pc, regs, machine) {
        if let Value::Object(object) = &regs[word.first()]
            && let &Value::Number(value) = &regs[word.second()]
            && let Some(slot) = object.open_slot(machine.program, word.index() as u16)
            && slot.replace_number(value)
        {
            return next(code, pc, regs, machine);
        }
        set_property_any(word, code, pc, regs, machine)
    }
    add_property(word, code, pc, regs, machine) {
        if let (Value::Object(object), &Value::Number(by)) =
            (&regs[word.first()], &regs[word.second()])
            && let Some(slot) = object.open_slot(machine.program, word.index() as u16)
            && slot.add(by)
        {
            return next(code, pc, regs, machine);
        }
        add_property_any(word, code, pc, regs, machine)
    }
    next_item(word, code, pc, regs, machine) {
        if let (Value::Array(array), &Value::Number(position)) =
            (&regs[word.first()], &regs[(word.first() + 1) % WINDOW])
            && let Some(&Value::Number(item)) = array.list_item(position)
            && regs[word.second()].set_number(item)
        {
            // The compiler has counted in this register since the start of the loop.
            if let Value::Number(position) = &mut regs[(word.first() + 1) % WINDOW] {
                *position += 1.0;
            }
            return next(code, pc, regs, machine);
        }
        next_any(word, code, pc, regs, machine)
    }

    call_script(word, _code, pc, _regs, machine) {
        let number = word.wide();
        if let Some(callee) = machine.program.functions.get(number)
            && usize::from(callee.plain_arguments) == word.third()
            && enter(word, number, callee, pc, NOT_LENT, machine)
        {
            return Exit::Window;
        }
        leave(Exit::Full, pc, machine)
    }
    call_method(word, _code, pc, regs, machine) {
        if let Value::Object(object) = &regs[word.second()]
            && let Some(number) =
                object.method(machine.unit, machine.function.scope, word.wide() as u16)
            && let Some(callee) = machine.program.functions.get(number as usize)
            && usize::from(callee.plain_arguments) == word.third()
            && enter(word, number as usize, callee, pc, NOT_LENT, machine)
        {
            return Exit::Window;
        }
        leave(Exit::Full, pc, machine)
    }
    /// The object moves to `$this` and comes back at the end: no counts.
    call_lent(word, _code, pc, regs, machine) {
        let lent = word.fourth();
        if let Value::Object(object) = &regs[lent]
            && let Some(number) =
                object.method(machine.unit, machine.function.scope, word.wide() as u16)
            && let Some(callee) = machine.program.functions.get(number as usize)
            && usize::from(callee.plain_arguments) == word.third()
            && callee.keeps_this
            && !regs[word.second()].needs_drop()
            && enter(word, number as usize, callee, pc, lent as Register, machine)
        {
            regs.swap(lent, word.second());
            return Exit::Window;
        }
        leave(Exit::Full, pc, machine)
    }
    /// Most functions return a number and leave nothing that needs dropping, a lent `$this` aside.
    give_back(word, _code, pc, regs, machine) {
        if let [.., caller, frame] = machine.frames.as_slice()
            && frame.back == Back::Caller
            && caller.unit == machine.unit_number
            && let Some(below) = machine.program.functions.get(caller.function as usize)
            && let &Value::Number(number) = &regs[word.first()]
        {
            let first = usize::from(frame.lent != NOT_LENT);
            let count = usize::from(machine.function.registers);
            let used = regs.get(first..count).unwrap_or_default();
            if !used.iter().any(Value::needs_drop) {
                machine.number = number;
                machine.left = (frame.result, frame.lent, frame.base);
                (machine.function, machine.base, machine.pc) =
                    (below, caller.base as usize, caller.pc as usize);
                machine.frames.pop();
                return Exit::Number;
            }
        }
        machine.returned = word.first() as Register;
        leave(Exit::Return, pc, machine)
    }
    call_native(word, code, pc, regs, machine) {
        if machine.has_fuel() {
            return match invoke(word, pc, regs, machine) {
                Invoked::Returned => next(code, pc, regs, machine),
                Invoked::Threw => leave(Exit::Threw, pc, machine),
                Invoked::Waits => leave(Exit::Native, pc, machine),
            };
        }
        leave(Exit::Full, pc, machine)
    }
    full(_word, _code, pc, _regs, machine) {
        leave(Exit::Full, pc, machine)
    }
}

/// Makes `callee` run, whose registers start at the second operand and whose value goes to the first;
/// false if there is no room or fuel.
#[inline(always)]
fn enter<'m>(
    word: Word,
    number: usize,
    callee: &'m FunctionCode,
    pc: usize,
    lent: Register,
    machine: &mut Machine<'m>,
) -> bool {
    let start = machine.base + word.second();
    let depth = machine.frames.len();
    if machine.has_fuel()
        && depth <= machine.depth
        && start + WINDOW <= machine.stack
        // The general way grows the list.
        && depth < machine.frames.capacity()
    {
        machine.frames.push(Frame {
            unit: machine.unit_number,
            function: number as u32,
            pc: 0,
            base: start as u32,
            result: (machine.base + word.first()) as u32,
            back: Back::Caller,
            lent,
        });
        if let [.., caller, _] = machine.frames.as_mut_slice() {
            caller.pc = pc as u32;
        }
        machine.fuel -= 1;
        (machine.function, machine.base, machine.pc) = (callee, start, 0);
        return true;
    }
    false
}

/// What a native function did.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Invoked {
    Returned,
    Threw,
    Waits,
}

/// Calls the native function of the wide operand with as many arguments as the third operand says,
/// from the register of the second operand on; the value goes to the first.
#[inline(never)]
fn invoke(word: Word, pc: usize, regs: &mut Registers, machine: &mut Machine<'_>) -> Invoked {
    let outcome = call_host(word, pc, regs, machine);
    machine.fuel = machine.environment.fuel;
    match outcome {
        Ok(NativeStep::Return(value)) => {
            machine.environment.budget.charge_value(&value);
            regs[word.first()].put(value);
            Invoked::Returned
        }
        Ok(NativeStep::Throw(thrown)) | Err(thrown) => {
            machine.thrown = Some(thrown);
            Invoked::Threw
        }
        Ok(step) => {
            machine.step = Some(step);
            Invoked::Waits
        }
    }
}

#[inline(always)]
fn call_host(
    word: Word,
    pc: usize,
    regs: &mut Registers,
    machine: &mut Machine<'_>,
) -> Result<NativeStep, Thrown> {
    let environment = &mut *machine.environment;
    environment.fuel = machine.fuel - 1;
    let function = machine.frames.last().map_or(0, |frame| frame.function);
    environment.at = (machine.unit_number, function, pc as u32 - 1);
    let Some(target) = machine.program.natives.get(word.wide()) else {
        return Err(Thrown::new("a function of the host is missing"));
    };
    let (first, given) = (word.second(), word.third());
    let count = given.max(target.function.fixed());
    let Some(arguments) = regs.get_mut(first..first + count) else {
        return Err(Thrown::new("this is too complex for one expression"));
    };
    call::complete(&target.function, arguments, given)?;
    let mut context = CallContext {
        environment,
        function: Some(&target.function),
        this: None,
        class: target.class.as_ref(),
        given,
    };
    let step = target.function.invoke(&mut context, arguments);
    clear(arguments);
    Ok(step)
}

#[inline(never)]
fn join_text(word: Word, regs: &mut Registers, machine: &mut Machine<'_>) -> bool {
    let function = machine.function;
    let parts = function.texts.get(word.wide()).map(|parts| &**parts).unwrap_or_default();
    match join(regs, &function.constants, parts) {
        Ok(text) => {
            machine.environment.budget.charge(48 + text.len());
            regs[word.first()].put(Value::String(text));
            true
        }
        Err(thrown) => {
            machine.thrown = Some(thrown);
            false
        }
    }
}

#[inline(never)]
fn append_text(word: Word, regs: &mut Registers, machine: &mut Machine<'_>) -> bool {
    let Ok([Value::String(left), Value::String(right)]) =
        regs.get_disjoint_mut([word.first(), word.second()])
    else {
        return false;
    };
    left.push_bytes(right);
    machine.environment.budget.charge(8 + right.len());
    true
}

// What the handlers above leave to a second one, so that they need no room on the stack themselves.
handlers! {
    #[inline(never)]
    copy_any(word, code, pc, regs, machine) {
        if let Ok([place, source]) = regs.get_disjoint_mut([word.first(), word.second()]) {
            place.put_copy(source);
        }
        next(code, pc, regs, machine)
    }
    #[inline(never)]
    take_any(word, code, pc, regs, machine) {
        let value = std::mem::take(&mut regs[word.second()]);
        regs[word.first()].put(value);
        next(code, pc, regs, machine)
    }
    #[inline(never)]
    clear_first(word, code, pc, regs, machine) {
        regs[word.first()].put_none();
        next(code, pc, regs, machine)
    }
    #[inline(never)]
    index_any(word, code, pc, regs, machine) {
        if read_element(word, None, regs, machine) {
            return next(code, pc, regs, machine);
        }
        leave(Exit::Threw, pc, machine)
    }
    index_constant(word, code, pc, regs, machine) {
        let key = machine.function.constants.get(word.wide());
        if read_element(word, Some(key.unwrap_or(&Value::None)), regs, machine) {
            return next(code, pc, regs, machine);
        }
        leave(Exit::Threw, pc, machine)
    }
    #[inline(never)]
    property_any(word, code, pc, regs, machine) {
        if read_property(word, regs, machine) {
            return next(code, pc, regs, machine);
        }
        leave(Exit::Full, pc, machine)
    }
    #[inline(never)]
    set_property_any(word, code, pc, regs, machine) {
        if let Value::Object(object) = &regs[word.first()]
            && let Some(slot) =
                object.slot_at(machine.program, machine.function.scope, word.index() as u16)
            && slot.replace(&regs[word.second()])
        {
            return next(code, pc, regs, machine);
        }
        leave(Exit::Full, pc, machine)
    }
    #[inline(never)]
    add_property_any(word, code, pc, regs, machine) {
        if let (Value::Object(object), &Value::Number(by)) =
            (&regs[word.first()], &regs[word.second()])
            && let Some(slot) =
                object.slot_at(machine.program, machine.function.scope, word.index() as u16)
            && slot.add(by)
        {
            return next(code, pc, regs, machine);
        }
        leave(Exit::Full, pc, machine)
    }
    #[inline(never)]
    next_any(word, code, pc, regs, machine) {
        if read_next(word, regs) {
            return next(code, pc, regs, machine);
        }
        leave(Exit::Full, pc, machine)
    }
}

/// Reads the element of the second operand under `key`, or else under the third operand; false if that
/// throws.
#[inline(never)]
fn read_element(
    word: Word,
    key: Option<&Value>,
    regs: &mut Registers,
    machine: &mut Machine<'_>,
) -> bool {
    let key = key.unwrap_or_else(|| &regs[word.third()]);
    match ops::element(&regs[word.second()], key, machine.function.class.as_deref()) {
        Ok(value) => {
            regs[word.first()].put(value);
            true
        }
        Err(thrown) => {
            machine.thrown = Some(thrown);
            false
        }
    }
}

#[inline(never)]
fn read_next(word: Word, regs: &mut Registers) -> bool {
    let place = (word.first() + 1) % WINDOW;
    let (Value::Array(array), &Value::Number(position)) = (&regs[word.first()], &regs[place])
    else {
        return false;
    };
    let Some(item) = array.list_item(position).cloned() else { return false };
    regs[word.second()].put(item);
    regs[place].put_number(position + 1.0);
    true
}

#[inline(never)]
fn read_property(word: Word, regs: &mut Registers, machine: &Machine<'_>) -> bool {
    let Value::Object(object) = &regs[word.second()] else { return false };
    let value = object
        .slot_at(machine.program, machine.function.scope, word.index() as u16)
        .and_then(|slot| slot.get());
    let Some(value) = value else { return false };
    regs[word.first()].put(value);
    true
}
