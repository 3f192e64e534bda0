//! Handlers for everything but numbers: registers, texts, elements, properties, calls.

use super::super::call;
use super::super::ordinary::clear;
use super::super::text::{join, part_value};
use super::{
    Exit, Instruction, Machine, Registers, WINDOW, Word, again, in_full, jump, leave, next,
};
use crate::bytecode::{MAX_LENT, TextPart};
use crate::host::{CallContext, Environment, NativeStep, Thrown};
use crate::ops;
use crate::program::NativeCall;
use crate::value::Value;

handlers! {
    copy(word, code, stack, regs, machine) {
        if let &Value::Number(value) = &regs[word.second()]
            && regs[word.first()].set_number(value)
        {
            return next(code, stack, machine);
        }
        copy_any(word, code, stack, machine)
    }
    take(word, code, stack, regs, machine) {
        if let &Value::Number(value) = &regs[word.second()]
            && regs[word.first()].set_number(value)
        {
            return next(code, stack, machine);
        }
        take_any(word, code, stack, machine)
    }
    none(word, code, stack, regs, machine) {
        if regs[word.first()].set_none() {
            return next(code, stack, machine);
        }
        clear_first(word, code, stack, machine)
    }
    release(word, code, stack, regs, machine) {
        if !regs[word.first()].needs_drop() {
            return next(code, stack, machine);
        }
        clear_first(word, code, stack, machine)
    }
    boolean(word, code, stack, regs, machine) {
        if regs[word.first()].set_bool(word.wide() != 0) {
            return next(code, stack, machine);
        }
        in_full(code, stack, machine)
    }
    constant(word, code, stack, regs, machine) {
        if let Some(value) = machine.function.constants.get(word.wide()) {
            regs[word.first()].put_copy(value);
            return next(code, stack, machine);
        }
        in_full(code, stack, machine)
    }
    number(word, code, stack, regs, machine) {
        if regs[word.first()].set_number(word.long()) {
            return next(code, stack, machine);
        }
        in_full(code, stack, machine)
    }
    check_set(word, code, stack, regs, machine) {
        if !matches!(regs[word.first()], Value::Unset) {
            return next(code, stack, machine);
        }
        in_full(code, stack, machine)
    }
    add_assign(word, code, stack, regs, machine) {
        if let &Value::Number(by) = &regs[word.second()]
            && let Value::Number(value) = &mut regs[word.first()]
        {
            *value += by;
            return next(code, stack, machine);
        }
        in_full(code, stack, machine)
    }
    increment(word, code, stack, regs, machine) {
        if let Value::Number(value) = &mut regs[word.first()] {
            *value += 1.0;
            return next(code, stack, machine);
        }
        in_full(code, stack, machine)
    }
    decrement(word, code, stack, regs, machine) {
        if let Value::Number(value) = &mut regs[word.first()] {
            *value -= 1.0;
            return next(code, stack, machine);
        }
        in_full(code, stack, machine)
    }
    not(word, code, stack, regs, machine) {
        let value = !regs[word.second()].is_truthy();
        if regs[word.first()].set_bool(value) {
            return next(code, stack, machine);
        }
        in_full(code, stack, machine)
    }

    jump_to(word, code, stack, _regs, machine) {
        jump(word, code, stack, machine)
    }
    round(word, code, stack, _regs, machine) {
        if machine.has_fuel() {
            machine.fuel -= 1;
            return again(word, stack, machine);
        }
        leave(Exit::Full, code, machine)
    }
    if_true(word, code, stack, regs, machine) {
        if regs[word.first()].is_truthy() {
            return jump(word, code, stack, machine);
        }
        next(code, stack, machine)
    }
    if_false(word, code, stack, regs, machine) {
        if !regs[word.first()].is_truthy() {
            return jump(word, code, stack, machine);
        }
        next(code, stack, machine)
    }
    if_some(word, code, stack, regs, machine) {
        if !regs[word.first()].is_none() {
            return jump(word, code, stack, machine);
        }
        next(code, stack, machine)
    }

    text(word, code, stack, regs, machine) {
        if join_text(word, regs, machine) {
            return next(code, stack, machine);
        }
        leave(Exit::Threw, code, machine)
    }
    append(word, code, stack, regs, machine) {
        if append_text(word, regs, machine) {
            return next(code, stack, machine);
        }
        in_full(code, stack, machine)
    }
    index(word, code, stack, regs, machine) {
        if let (Value::Array(array), &Value::Number(at)) =
            (&regs[word.second()], &regs[word.third()])
            && let Some(&Value::Number(value)) = array.list_item(at)
            && regs[word.first()].set_number(value)
        {
            return next(code, stack, machine);
        }
        index_any(word, code, stack, machine)
    }
    set_index(word, code, stack, regs, machine) {
        if let (&Value::Number(at), &Value::Number(value)) =
            (&regs[word.second()], &regs[word.third()])
            && let Value::Array(array) = &mut regs[word.first()]
            && let Some(place) = array.list_place(at)
        {
            place.put_number(value);
            return next(code, stack, machine);
        }
        in_full(code, stack, machine)
    }
    push(word, code, stack, regs, machine) {
        if let &Value::Number(number) = &regs[word.second()]
            && let Value::Array(array) = &mut regs[word.first()]
            && let Some(list) = array.growable_list()
            && list.len() != list.capacity()
        {
            list.push(Value::Number(number));
            machine.environment.budget.charge(16);
            return next(code, stack, machine);
        }
        in_full(code, stack, machine)
    }
    property(word, code, stack, regs, machine) {
        if let Value::Object(object) = &regs[word.second()]
            && let Some(slot) = object.open_slot(machine.program_number, word.index() as u16)
            && let Some(value) = slot.number()
            && regs[word.first()].set_number(value)
        {
            return next(code, stack, machine);
        }
        property_any(word, code, stack, machine)
    }
    set_property(word, code, stack, regs, machine) {
        if let Value::Object(object) = &regs[word.first()]
            && let &Value::Number(value) = &regs[word.second()]
            && let Some(slot) = object.open_slot(machine.program_number, word.index() as u16)
            && slot.replace_number(value)
        {
            return next(code, stack, machine);
        }
        set_property_any(word, code, stack, machine)
    }
    add_property(word, code, stack, regs, machine) {
        if let (Value::Object(object), &Value::Number(by)) =
            (&regs[word.first()], &regs[word.second()])
            && let Some(slot) = object.open_slot(machine.program_number, word.index() as u16)
            && slot.add(by)
        {
            return next(code, stack, machine);
        }
        add_property_any(word, code, stack, machine)
    }
    next_item(word, code, stack, regs, machine) {
        if let (Value::Array(array), &Value::Number(position)) =
            (&regs[word.first()], &regs[(word.first() + 1) % WINDOW])
            && let Some(&Value::Number(item)) = array.list_item(position)
            && regs[word.second()].set_number(item)
        {
            // The compiler has counted in this register since the start of the loop.
            if let Value::Number(position) = &mut regs[(word.first() + 1) % WINDOW] {
                *position += 1.0;
            }
            return next(code, stack, machine);
        }
        next_any(word, code, stack, machine)
    }

    call_native(word, code, stack, regs, machine) {
        if machine.has_fuel() {
            return match invoke(word, code.len(), regs, machine) {
                Invoked::Returned => next(code, stack, machine),
                Invoked::Threw => leave(Exit::Threw, code, machine),
                Invoked::Waits => leave(Exit::Native, code, machine),
            };
        }
        leave(Exit::Full, code, machine)
    }
    call_reading(word, code, stack, regs, machine) {
        if machine.has_fuel() {
            if invoke_reading::<true>(word, code.len(), regs, machine) {
                return next(code, stack, machine);
            }
            return leave(Exit::Threw, code, machine);
        }
        leave(Exit::Full, code, machine)
    }
    /// The same for calls without temporaries.
    call_reading_variables(word, code, stack, regs, machine) {
        if machine.has_fuel() {
            if invoke_reading::<false>(word, code.len(), regs, machine) {
                return next(code, stack, machine);
            }
            return leave(Exit::Threw, code, machine);
        }
        leave(Exit::Full, code, machine)
    }
    /// Calls that count what is in a variable.
    length(word, code, stack, regs, machine) {
        if let Some(length) = length_of(&regs[word.second()])
            && machine.has_fuel()
            && regs[word.first()].set_number(length)
        {
            machine.fuel -= 1;
            return next(code, stack, machine);
        }
        call_reading(word, code, stack, machine)
    }
    /// The same for a register that becomes none.
    length_of_temporary(word, code, stack, regs, machine) {
        if !regs[word.second()].needs_drop()
            && let Some(length) = length_of(&regs[word.second()])
            && machine.has_fuel()
            && regs[word.first()].set_number(length)
        {
            if word.first() != word.second() {
                regs[word.second()].set_none();
            }
            machine.fuel -= 1;
            return next(code, stack, machine);
        }
        length_of_owned(word, code, stack, machine)
    }
    /// Reads an element whose key is a whole number of 32 bits.
    index_number(word, code, stack, regs, machine) {
        if let Value::Array(array) = &regs[word.second()]
            && let Some(&Value::Number(item)) = array.list_item(word.long())
            && regs[word.first()].set_number(item)
        {
            return next(code, stack, machine);
        }
        index_number_any(word, code, stack, machine)
    }
    /// The same where a call behind counts what is in the element, which is not copied then.
    length_of_element(word, code, stack, regs, machine) {
        if let Some((count, rest)) = code.split_first()
            && let Value::Array(array) = &regs[word.second()]
            && let Some(length) = array.list_item(word.long()).and_then(length_of)
            && machine.has_fuel()
            && regs[count.word.first()].set_number(length)
        {
            machine.fuel -= 1;
            return next(rest, stack, machine);
        }
        index_number_any(word, code, stack, machine)
    }
    /// For instructions without a quick way.
    ordinary(_word, code, stack, _regs, machine) {
        in_full(code, stack, machine)
    }
    /// For instructions that the loop does.
    full(_word, code, stack, _regs, machine) {
        leave(Exit::Full, code, machine)
    }
}

/// What a native function did.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Invoked {
    Returned,
    Threw,
    Waits,
}

/// Calls the native function of the wide operand with as many arguments as the third operand says,
/// from the register of the second operand on; the value goes to the first. `behind` is how many
/// instructions follow.
#[inline(never)]
fn invoke(word: Word, behind: usize, regs: &mut Registers, machine: &mut Machine<'_>) -> Invoked {
    let outcome = call_host(word, behind, regs, machine);
    returned(outcome, &mut regs[word.first()], machine)
}

/// Calls a native function with parts of a text as its arguments: octets 2 and 3 name the function, the
/// wide operand the text; the value goes to the first. False if it threw. `OWNED` if there are temporaries
/// among the arguments.
#[inline(never)]
fn invoke_reading<const OWNED: bool>(
    word: Word,
    behind: usize,
    regs: &mut Registers,
    machine: &mut Machine<'_>,
) -> bool {
    let parts = machine.function.texts.get(word.wide()).map(|parts| &**parts).unwrap_or_default();
    let mut value = Value::None;
    let outcome = lend(word, behind, regs, parts, machine, &mut value);
    if OWNED {
        for &part in parts {
            if let TextPart::Temporary(register) = part {
                regs[usize::from(register)].put_none();
            }
        }
    }
    machine.fuel = machine.environment.fuel;
    match outcome {
        Ok(()) => {
            put_result(value, &mut regs[word.first()], machine);
            true
        }
        Err(thrown) => {
            machine.thrown = Some(thrown);
            false
        }
    }
}

/// Puts what a native function gave into its place. Most give a number or boolean.
#[inline(always)]
fn put_result(value: Value, place: &mut Value, machine: &mut Machine<'_>) {
    if place.put_plain(&value) {
        // It owns nothing, which the compiler does not see.
        std::mem::forget(value);
        return;
    }
    machine.environment.budget.charge_value(&value);
    match value {
        // Kind and pointer were just written: together they could not be read at once.
        Value::Array(array) => place.put(Value::Array(array)),
        value => place.put(value),
    }
}

/// Puts the value of a native function into its place.
#[inline(always)]
fn returned(
    outcome: Result<NativeStep, Thrown>,
    place: &mut Value,
    machine: &mut Machine<'_>,
) -> Invoked {
    machine.fuel = machine.environment.fuel;
    match outcome {
        Ok(NativeStep::Return(value)) => {
            put_result(value, place, machine);
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
fn lend(
    word: Word,
    behind: usize,
    regs: &Registers,
    parts: &[TextPart],
    machine: &mut Machine<'_>,
    value: &mut Value,
) -> Result<(), Thrown> {
    let constants = &*machine.function.constants;
    let call = prepare(word.index(), behind, machine)?;
    let (function, given) = (&*call.1.function, parts.len());
    // Nearly all calls give one or two arguments to functions that take no more.
    match *parts {
        [a] if function.fixed() == 1 => {
            return read(call, [part_value(regs, constants, a)].as_slice(), given, value);
        }
        [a, b] if function.fixed() == 2 => {
            let arguments = [part_value(regs, constants, a), part_value(regs, constants, b)];
            return read(call, arguments.as_slice(), given, value);
        }
        _ => {}
    }
    let mut lent = [&Value::None; MAX_LENT];
    for (at, place) in lent.iter_mut().enumerate() {
        match parts.get(at) {
            Some(part) => *place = part_value(regs, constants, *part),
            None if at < function.fixed() => *place = function.default(at),
            None => break,
        }
    }
    match lent.get(..given.max(function.fixed())) {
        Some(arguments) => read(call, arguments, given, value),
        None => Err(Thrown::new("this is too complex for one expression")),
    }
}

/// Calls a function that only looks at its arguments, of which the script gave the first `given`.
#[inline(always)]
fn read(
    (environment, target): (&mut Environment, &NativeCall),
    arguments: &[&Value],
    given: usize,
    value: &mut Value,
) -> Result<(), Thrown> {
    let function = &*target.function;
    function.check_types(arguments.iter().take(given).copied())?;
    let Some(read) = function.reader() else {
        return Err(Thrown::new("a function of the host is missing"));
    };
    let mut context = CallContext {
        environment,
        function: Some(function),
        this: None,
        class: target.class.as_ref(),
        given,
    };
    read(&mut context, arguments, value)
}

/// Notes that a native function is called, and where.
#[inline(always)]
fn prepare<'e, 'm>(
    native: usize,
    behind: usize,
    machine: &'e mut Machine<'m>,
) -> Result<(&'e mut Environment, &'m NativeCall), Thrown> {
    let environment = &mut *machine.environment;
    environment.fuel = machine.fuel - 1;
    let at = machine.function.quick.len().wrapping_sub(behind + 1);
    environment.at = (machine.unit_number, machine.function.number, at as u32);
    match machine.program.natives.get(native) {
        Some(target) => Ok((environment, target)),
        None => Err(Thrown::new("a function of the host is missing")),
    }
}

#[inline(always)]
fn call_host(
    word: Word,
    behind: usize,
    regs: &mut Registers,
    machine: &mut Machine<'_>,
) -> Result<NativeStep, Thrown> {
    let (environment, target) = prepare(word.wide(), behind, machine)?;
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
    let max = machine.environment.limits.memory;
    match join(regs, word.first(), &function.constants, parts, max) {
        Ok(octets) => {
            machine.environment.budget.charge(48 + octets);
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

/// The octets of a string, the items of an array; `None` for other values.
#[inline(always)]
fn length_of(value: &Value) -> Option<f64> {
    match value {
        // Exact up to 2^53, which no length in memory passes.
        Value::String(text) => Some(text.len() as f64),
        Value::Array(array) => Some(array.len() as f64),
        _ => None,
    }
}

// What the handlers above leave to a second one, so that they need no room on the stack themselves.
handlers! {
    #[inline(never)]
    length_of_owned(word, code, stack, regs, machine) {
        let length = length_of(&regs[word.second()]).filter(|_| machine.has_fuel());
        let Some(length) = length else { return call_reading(word, code, stack, machine) };
        machine.fuel -= 1;
        regs[word.second()].put_none();
        regs[word.first()].put_number(length);
        next(code, stack, machine)
    }
    #[inline(never)]
    copy_any(word, code, stack, regs, machine) {
        if let Ok([place, source]) = regs.get_disjoint_mut([word.first(), word.second()]) {
            place.put_copy(source);
        }
        next(code, stack, machine)
    }
    #[inline(never)]
    take_any(word, code, stack, regs, machine) {
        let value = std::mem::take(&mut regs[word.second()]);
        regs[word.first()].put(value);
        next(code, stack, machine)
    }
    #[inline(never)]
    clear_first(word, code, stack, regs, machine) {
        regs[word.first()].put_none();
        next(code, stack, machine)
    }
    #[inline(never)]
    index_any(word, code, stack, regs, machine) {
        if read_element(word, None, regs, machine) {
            return next(code, stack, machine);
        }
        leave(Exit::Threw, code, machine)
    }
    #[inline(never)]
    index_constant(word, code, stack, regs, machine) {
        let key = machine.function.constants.get(word.wide());
        if read_element(word, Some(key.unwrap_or(&Value::None)), regs, machine) {
            return next(code, stack, machine);
        }
        leave(Exit::Threw, code, machine)
    }
    #[inline(never)]
    index_number_any(word, code, stack, regs, machine) {
        if read_element(word, Some(&Value::Number(word.long())), regs, machine) {
            return next(code, stack, machine);
        }
        leave(Exit::Threw, code, machine)
    }
    #[inline(never)]
    property_any(word, code, stack, regs, machine) {
        if read_property(word, regs, machine) {
            return next(code, stack, machine);
        }
        in_full(code, stack, machine)
    }
    #[inline(never)]
    set_property_any(word, code, stack, regs, machine) {
        if let Value::Object(object) = &regs[word.first()]
            && let Some(slot) =
                object.slot_to_set(machine.program, machine.function.scope, word.index() as u16)
            && slot.replace(&regs[word.second()])
        {
            return next(code, stack, machine);
        }
        in_full(code, stack, machine)
    }
    #[inline(never)]
    add_property_any(word, code, stack, regs, machine) {
        if let (Value::Object(object), &Value::Number(by)) =
            (&regs[word.first()], &regs[word.second()])
            && let Some(slot) =
                object.slot_to_set(machine.program, machine.function.scope, word.index() as u16)
            && slot.add(by)
        {
            return next(code, stack, machine);
        }
        in_full(code, stack, machine)
    }
    #[inline(never)]
    next_any(word, code, stack, regs, machine) {
        if read_next(word, regs) {
            return next(code, stack, machine);
        }
        in_full(code, stack, machine)
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
    if let (Value::Array(array), &Value::Number(at)) = (&regs[word.second()], key)
        && let Some(item) = array.list_item(at)
    {
        let item = item.clone();
        regs[word.first()].put(item);
        return true;
    }
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
