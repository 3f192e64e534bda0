//! From instructions to handlers and words.

use super::calls::*;
use super::numbers::*;
use super::values::*;
use super::{Handler, Instruction, Word};
use crate::bytecode::{FunctionCode, Op, Register, TextPart};
use crate::program::NativeCall;
use crate::value::Value;

/// Translates the code of a function. `plain` has the number of arguments of plain calls of each function of
/// the program, which calls `natives`.
pub(crate) fn translate(
    function: &FunctionCode,
    plain: &[u16],
    natives: &[NativeCall],
) -> Box<[Instruction]> {
    (0..function.code.len()).filter_map(|at| instruction(at, function, plain, natives)).collect()
}

/// The handler and operands of the instruction at `at`.
fn instruction(
    at: usize,
    function: &FunctionCode,
    plain: &[u16],
    natives: &[NativeCall],
) -> Option<Instruction> {
    let (code, constants) = (&*function.code, &*function.constants);
    // Rounds of loops name the place they go to; all other jumps know the distance.
    let place = |to: i32| (at as u32 + 1).wrapping_add_signed(to).cast_signed();
    let arithmetic = |d, a, k: u16, constant: Handler, number: Handler| match whole(constants, k) {
        Some(value) => (number, Word::registers(d, a, 0, value.cast_unsigned())),
        None => (constant, Word::registers(d, a, 0, u32::from(k))),
    };
    let jump = |a, k: u16, to, constant: Handler, number: Handler| match whole(constants, k)
        .and_then(|value| i16::try_from(value).ok())
    {
        Some(value) => (number, Word::small(a, value.cast_unsigned(), to)),
        None => (constant, Word::small(a, k, to)),
    };
    let counts =
        |native: u16| natives.get(usize::from(native)).is_some_and(|call| call.function.counts());
    let parts = |text: u16| function.texts.get(usize::from(text)).map(|parts| &**parts);
    let counts_temporary = |op: &Op, register| match *op {
        Op::CallReading { native, text, .. } => {
            counts(native) && parts(text) == Some(&[TextPart::Temporary(register)])
        }
        _ => false,
    };
    let pair = |a, b, to: i32| Word::new([a, b, 0, 0], to.cast_unsigned());
    let named = |a, b, name: u16| {
        let [low, high] = name.to_le_bytes();
        Word::new([a, b, low, high], 0)
    };
    let three = |a, b, c| Word::registers(a, b, c, 0);
    let (run, word): (Handler, Word) = match *code.get(at)? {
        Op::Move { d, a } => (copy, three(d, a, 0)),
        Op::Take { d, a } => (take, three(d, a, 0)),
        // The end of a function that returns nothing.
        Op::None { d } if code.get(at + 1) == Some(&Op::Return { a: d }) => {
            (give_none, three(d, 0, 0))
        }
        Op::None { d } => (none, three(d, 0, 0)),
        Op::Release { d } => (release, three(d, 0, 0)),
        Op::Bool { d, value } => (boolean, Word::registers(d, 0, 0, u32::from(value))),
        Op::Const { d, k } => match whole(constants, k) {
            Some(value) => (number, Word::registers(d, 0, 0, value.cast_unsigned())),
            None => (constant, Word::registers(d, 0, 0, u32::from(k))),
        },
        Op::CheckSet { a } => (check_set, three(a, 0, 0)),
        Op::Add { d, a, b } => (add, three(d, a, b)),
        Op::Subtract { d, a, b } => (subtract, three(d, a, b)),
        Op::Multiply { d, a, b } => (multiply, three(d, a, b)),
        Op::Divide { d, a, b } => (divide, three(d, a, b)),
        Op::Remainder { d, a, b } => (remainder, three(d, a, b)),
        Op::AddK { d, a, k } => arithmetic(d, a, k, add_constant, add_number),
        Op::SubtractK { d, a, k } => arithmetic(d, a, k, subtract_constant, subtract_number),
        Op::MultiplyK { d, a, k } => arithmetic(d, a, k, multiply_constant, multiply_number),
        Op::DivideK { d, a, k } => arithmetic(d, a, k, divide_constant, divide_number),
        Op::RemainderK { d, a, k } => match whole(constants, k) {
            Some(value) if value > 0 => {
                (remainder_number, Word::registers(d, a, 0, value.cast_unsigned()))
            }
            _ => (ordinary, three(0, 0, 0)),
        },
        Op::AddAssign { a, b } => (add_assign, three(a, b, 0)),
        Op::Less { d, a, b } => (less, three(d, a, b)),
        Op::LessEqual { d, a, b } => (less_equal, three(d, a, b)),
        Op::Equal { d, a, b } | Op::Same { d, a, b } => (equal, three(d, a, b)),
        Op::NotEqual { d, a, b } | Op::NotSame { d, a, b } => (not_equal, three(d, a, b)),
        Op::Not { d, a } => (not, three(d, a, 0)),
        Op::Increment { a } => (increment, three(a, 0, 0)),
        Op::Decrement { a } => (decrement, three(a, 0, 0)),
        Op::Jump { to } => (jump_to, pair(0, 0, to)),
        Op::Loop { to } => (round, pair(0, 0, place(to))),
        Op::CountIfLess { a, b, to } => (count_if_less, pair(a, b, place(to))),
        Op::CountIfLessK { a, k, to } => {
            jump(a, k, place(to), count_if_less_constant, count_if_less_number)
        }
        Op::JumpIf { a, expect: true, to } => (if_true, pair(a, 0, to)),
        Op::JumpIf { a, expect: false, to } => (if_false, pair(a, 0, to)),
        Op::JumpIfSome { a, to } => (if_some, pair(a, 0, to)),
        Op::JumpLess { a, b, expect: true, to } => (if_less, pair(a, b, to)),
        Op::JumpLess { a, b, expect: false, to } => (unless_less, pair(a, b, to)),
        Op::JumpLessEqual { a, b, expect: true, to } => (if_less_equal, pair(a, b, to)),
        Op::JumpLessEqual { a, b, expect: false, to } => (unless_less_equal, pair(a, b, to)),
        Op::JumpEqual { a, b, expect: true, to } | Op::JumpSame { a, b, expect: true, to } => {
            (if_equal, pair(a, b, to))
        }
        Op::JumpEqual { a, b, expect: false, to } | Op::JumpSame { a, b, expect: false, to } => {
            (unless_equal, pair(a, b, to))
        }
        Op::JumpIfLessK { a, k, to } => jump(a, k, to, if_less_constant, if_less_number),
        Op::JumpUnlessLessK { a, k, to } => {
            jump(a, k, to, unless_less_constant, unless_less_number)
        }
        Op::JumpIfLessEqualK { a, k, to } => {
            jump(a, k, to, if_less_equal_constant, if_less_equal_number)
        }
        Op::JumpUnlessLessEqualK { a, k, to } => {
            jump(a, k, to, unless_less_equal_constant, unless_less_equal_number)
        }
        Op::JumpIfGreaterK { a, k, to } => jump(a, k, to, if_greater_constant, if_greater_number),
        Op::JumpUnlessGreaterK { a, k, to } => {
            jump(a, k, to, unless_greater_constant, unless_greater_number)
        }
        Op::JumpIfGreaterEqualK { a, k, to } => {
            jump(a, k, to, if_greater_equal_constant, if_greater_equal_number)
        }
        Op::JumpUnlessGreaterEqualK { a, k, to } => {
            jump(a, k, to, unless_greater_equal_constant, unless_greater_equal_number)
        }
        Op::JumpIfEqualK { a, k, to } | Op::JumpIfSameK { a, k, to } => {
            jump(a, k, to, if_equal_constant, if_equal_number)
        }
        Op::JumpUnlessEqualK { a, k, to } | Op::JumpUnlessSameK { a, k, to } => {
            jump(a, k, to, unless_equal_constant, unless_equal_number)
        }
        Op::Text { d, text: number } => (text, Word::registers(d, 0, 0, u32::from(number))),
        Op::Append { a, b } => (append, three(a, b, 0)),
        Op::Index { d, a, b } => (index, three(d, a, b)),
        Op::IndexK { d, a, k } => match whole(constants, k) {
            Some(key) => {
                let key = Word::registers(d, a, 0, key.cast_unsigned());
                let counts = code.get(at + 1).is_some_and(|next| counts_temporary(next, d));
                (if counts { length_of_element } else { index_number }, key)
            }
            None => (index_constant, Word::registers(d, a, 0, u32::from(k))),
        },
        Op::SetIndex { a, b, c } => (set_index, three(a, b, c)),
        Op::Push { a, b } => (push, three(a, b, 0)),
        Op::Property { d, a, name } => (property, named(d, a, name)),
        Op::SetProperty { a, b, name } => (set_property, named(a, b, name)),
        Op::AddProperty { a, b, name } => (add_property, named(a, b, name)),
        Op::IterNext { base, value, key: Register::MAX, to: _ } => {
            (next_item, three(base, value, 0))
        }
        Op::CallFunction { d, base, argc, function }
            if plain.get(usize::from(function)) == Some(&u16::from(argc)) =>
        {
            (call_script, Word::registers(d, base, argc, u32::from(function)))
        }
        Op::CallNative { d, base, argc, native } => {
            (call_native, Word::registers(d, base, argc, u32::from(native)))
        }
        Op::CallReading { d, native, text } => {
            let [low, high] = native.to_le_bytes();
            let counts = counts(native);
            let parts = parts(text);
            let (run, register): (Handler, Register) = match parts {
                Some(&[TextPart::Variable(register)]) if counts => (length, register),
                Some(&[TextPart::Temporary(register)]) if counts => (length_of_temporary, register),
                Some(parts) if !parts.iter().any(|p| matches!(p, TextPart::Temporary(_))) => {
                    (call_reading_variables, 0)
                }
                _ => (call_reading, 0),
            };
            (run, Word::new([d, register, low, high], u32::from(text)))
        }
        Op::CallMethod { d, base, argc, name } => {
            (call_method, Word::registers(d, base, argc, u32::from(name)))
        }
        Op::CallLent { d, base, argc, a, name } => {
            (call_lent, Word::new([d, base, argc, a], u32::from(name)))
        }
        Op::Return { a } => (give_back, three(a, 0, 0)),
        Op::CallFunction { .. }
        | Op::CallValue { .. }
        | Op::CallSpread { .. }
        | Op::Cache { .. }
        | Op::Yield { .. }
        | Op::BarrierEnter { .. }
        | Op::BarrierLeave { .. } => (full, three(0, 0, 0)),
        _ => (ordinary, three(0, 0, 0)),
    };
    Some(Instruction { run, word })
}

/// The constant, if it is a whole number of 32 bits and not negative zero.
fn whole(constants: &[Value], k: u16) -> Option<i32> {
    let value = constants.get(usize::from(k))?.as_number()?;
    let whole = value as i32;
    (f64::from(whole).to_bits() == value.to_bits()).then_some(whole)
}
