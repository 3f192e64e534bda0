//! Handlers for numbers: arithmetic, comparisons, jumps and loops.

use super::{Exit, Instruction, Machine, WINDOW, Word, again, in_full, jump, next};
use crate::value::Value;

/// Arithmetic of two registers, of a register and a constant, of a register and a small number.
macro_rules! arithmetic {
    ($($name:ident $constant:ident $number:ident |$x:ident, $y:ident| $value:expr;)*) => {handlers! {$(
        $name(word, code, stack, regs, machine) {
            if let (&Value::Number($x), &Value::Number($y)) =
                (&regs[word.second()], &regs[word.third()])
                && regs[word.first()].set_number($value)
            {
                return next(code, stack, machine);
            }
            in_full(code, stack, machine)
        }
        $constant(word, code, stack, regs, machine) {
            if let (&Value::Number($x), Some(&Value::Number($y))) =
                (&regs[word.second()], machine.function.constants.get(word.wide()))
                && regs[word.first()].set_number($value)
            {
                return next(code, stack, machine);
            }
            in_full(code, stack, machine)
        }
        $number(word, code, stack, regs, machine) {
            let $y = word.long();
            if let &Value::Number($x) = &regs[word.second()]
                && regs[word.first()].set_number($value)
            {
                return next(code, stack, machine);
            }
            in_full(code, stack, machine)
        }
    )*}};
}

arithmetic! {
    add add_constant add_number |x, y| x + y;
    subtract subtract_constant subtract_number |x, y| x - y;
    multiply multiply_constant multiply_number |x, y| x * y;
    divide divide_constant divide_number |x, y| x / y;
}

handlers! {
    remainder(word, code, stack, regs, machine) {
        if let (&Value::Number(x), &Value::Number(y)) =
            (&regs[word.second()], &regs[word.third()])
            && regs[word.first()].set_number(modulo(x, y))
        {
            return next(code, stack, machine);
        }
        in_full(code, stack, machine)
    }
    /// By a whole number above 0.
    remainder_number(word, code, stack, regs, machine) {
        if let &Value::Number(x) = &regs[word.second()] {
            let whole = x as i32;
            if f64::from(whole) == x && whole >= 0 {
                let rest = whole.cast_unsigned() % (word.wide() as u32).max(1);
                if regs[word.first()].set_number(f64::from(rest.cast_signed())) {
                    return next(code, stack, machine);
                }
            }
        }
        in_full(code, stack, machine)
    }
}

/// Comparisons of two registers that give a boolean.
macro_rules! comparisons {
    ($($name:ident $op:tt)*) => {handlers! {$(
        $name(word, code, stack, regs, machine) {
            if let (&Value::Number(x), &Value::Number(y)) =
                (&regs[word.second()], &regs[word.third()])
                && regs[word.first()].set_bool(x $op y)
            {
                return next(code, stack, machine);
            }
            in_full(code, stack, machine)
        }
    )*}};
}

comparisons! { less < less_equal <= equal == not_equal != }

/// Jumps that compare two registers.
macro_rules! jumps {
    ($($name:ident |$x:ident, $y:ident| $holds:expr;)*) => {handlers! {$(
        $name(word, code, stack, regs, machine) {
            if let (&Value::Number($x), &Value::Number($y)) =
                (&regs[word.first()], &regs[word.second()])
            {
                if $holds {
                    return jump(word, code, stack, machine);
                }
                return next(code, stack, machine);
            }
            in_full(code, stack, machine)
        }
    )*}};
}

/// Jumps that compare a register with a constant, or with a small number.
macro_rules! constant_jumps {
    ($($constant:ident $number:ident |$x:ident, $y:ident| $holds:expr;)*) => {handlers! {$(
        $constant(word, code, stack, regs, machine) {
            if let (&Value::Number($x), Some(&Value::Number($y))) =
                (&regs[word.first()], machine.function.constants.get(word.index()))
            {
                if $holds {
                    return jump(word, code, stack, machine);
                }
                return next(code, stack, machine);
            }
            in_full(code, stack, machine)
        }
        $number(word, code, stack, regs, machine) {
            let $y = word.short();
            if let &Value::Number($x) = &regs[word.first()] {
                if $holds {
                    return jump(word, code, stack, machine);
                }
                return next(code, stack, machine);
            }
            in_full(code, stack, machine)
        }
    )*}};
}

/// A comparison with a number that is none fails, so this is not the opposite operator.
#[inline(always)]
const fn fails(holds: bool) -> bool {
    !holds
}

jumps! {
    if_less |x, y| x < y;
    unless_less |x, y| fails(x < y);
    if_less_equal |x, y| x <= y;
    unless_less_equal |x, y| fails(x <= y);
    if_equal |x, y| x == y;
    unless_equal |x, y| x != y;
}

constant_jumps! {
    if_less_constant if_less_number |x, y| x < y;
    unless_less_constant unless_less_number |x, y| fails(x < y);
    if_less_equal_constant if_less_equal_number |x, y| x <= y;
    unless_less_equal_constant unless_less_equal_number |x, y| fails(x <= y);
    if_equal_constant if_equal_number |x, y| x == y;
    unless_equal_constant unless_equal_number |x, y| x != y;
    if_greater_constant if_greater_number |x, y| x > y;
    unless_greater_constant unless_greater_number |x, y| fails(x > y);
    if_greater_equal_constant if_greater_equal_number |x, y| x >= y;
    unless_greater_equal_constant unless_greater_equal_number |x, y| fails(x >= y);
}

/// Counts a register up and goes round again, if it stays below a number.
macro_rules! counts {
    ($($name:ident($word:ident, $regs:ident, $machine:ident) $limit:expr;)*) => {handlers! {$(
        $name($word, code, stack, $regs, $machine) {
            let limit: Option<f64> = $limit;
            if let Some(limit) = limit
                && let Value::Number(count) = &mut $regs[$word.first()]
                && *count + 1.0 < limit
                && $machine.has_fuel()
            {
                *count += 1.0;
                $machine.fuel -= 1;
                return again($word, stack, $machine);
            }
            next(code, stack, $machine)
        }
    )*}};
}

counts! {
    count_if_less(word, regs, machine) regs[word.second()].as_number();
    count_if_less_constant(word, regs, machine) {
        machine.function.constants.get(word.index()).and_then(Value::as_number)
    };
    count_if_less_number(word, regs, machine) Some(word.short());
}

/// Returns the remainder; whole numbers, the common case, take the integer unit.
#[inline]
pub(crate) fn modulo(a: f64, b: f64) -> f64 {
    let (x, y) = (a as u32, b as u32);
    if f64::from(x) == a && f64::from(y) == b && y != 0 {
        return f64::from(x % y);
    }
    large_modulo(a, b)
}

#[inline(never)]
fn large_modulo(a: f64, b: f64) -> f64 {
    let (x, y) = (a as i64, b as i64);
    if x as f64 != a || y as f64 != b || x < 0 || y <= 0 {
        return a % b;
    }
    (x % y) as f64
}
