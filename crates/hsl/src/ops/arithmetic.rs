//! Binary and unary operators.

use crate::ast::BinaryOp;
use crate::host::Thrown;
use crate::value::{Array, Key, Str, Value, ValueSet, number};

/// A binary operator. The last argument is the largest result in octets.
pub type BinaryFn = fn(&Value, &Value, usize) -> Result<Value, Thrown>;

/// Returns the function of an operator; `=~` and `!~` belong to the host and have none.
pub(crate) fn binary(op: BinaryOp) -> Option<BinaryFn> {
    Some(match op {
        BinaryOp::Add => |a, b, _| add(a, b),
        BinaryOp::Subtract => |a, b, _| subtract(a, b),
        BinaryOp::Multiply => multiply,
        BinaryOp::Divide => |a, b, _| divide(a, b),
        BinaryOp::Remainder => remainder,
        BinaryOp::Power => |a, b, _| power(a, b),
        BinaryOp::Concat => |a, b, _| concat(a, b),
        BinaryOp::BitAnd
        | BinaryOp::BitOr
        | BinaryOp::BitXor
        | BinaryOp::ShiftLeft
        | BinaryOp::ShiftRight
        | BinaryOp::ShiftRightUnsigned => {
            return Some(match op {
                BinaryOp::BitAnd => |a, b, _| bitwise(BinaryOp::BitAnd, a, b),
                BinaryOp::BitOr => |a, b, _| bitwise(BinaryOp::BitOr, a, b),
                BinaryOp::BitXor => |a, b, _| bitwise(BinaryOp::BitXor, a, b),
                BinaryOp::ShiftLeft => |a, b, _| bitwise(BinaryOp::ShiftLeft, a, b),
                BinaryOp::ShiftRight => |a, b, _| bitwise(BinaryOp::ShiftRight, a, b),
                _ => |a, b, _| bitwise(BinaryOp::ShiftRightUnsigned, a, b),
            });
        }
        BinaryOp::Equal => |a, b, _| Ok(Value::Bool(super::loose_equal(a, b))),
        BinaryOp::NotEqual => |a, b, _| Ok(Value::Bool(!super::loose_equal(a, b))),
        BinaryOp::Identical => |a, b, _| Ok(Value::Bool(super::strict_equal(a, b))),
        BinaryOp::NotIdentical => |a, b, _| Ok(Value::Bool(!super::strict_equal(a, b))),
        BinaryOp::Less => |a, b, _| less("<", a, b).map(Value::Bool),
        BinaryOp::Greater => |a, b, _| less(">", b, a).map(Value::Bool),
        BinaryOp::LessEqual => |a, b, _| less_equal("<=", a, b).map(Value::Bool),
        BinaryOp::GreaterEqual => |a, b, _| less_equal(">=", b, a).map(Value::Bool),
        BinaryOp::RegexMatch | BinaryOp::RegexNoMatch => return None,
    })
}

#[cold]
pub(crate) fn unsupported(op: &str, a: &Value, b: &Value) -> Thrown {
    let (a, b) = (a.type_of().name(), b.type_of().name());
    Thrown::new(format!("unsupported operand types: {a} {op} {b}"))
}

#[cold]
fn full() -> Thrown {
    Thrown::new("array has no free numeric index")
}

/// `+`: sum, merge, append, or one text after the other.
#[inline]
pub(crate) fn add(a: &Value, b: &Value) -> Result<Value, Thrown> {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => Ok(Value::Number(a + b)),
        (Value::String(a), Value::String(b)) => Ok(Value::String(Str::concat(a, b))),
        (Value::Array(_), _) => {
            let mut sum = a.clone();
            add_assign(&mut sum, b.clone())?;
            Ok(sum)
        }
        _ => Err(unsupported("+", a, b)),
    }
}

/// `+=` in place: an array that nobody else holds grows without being copied.
pub(crate) fn add_assign(a: &mut Value, b: Value) -> Result<(), Thrown> {
    match (&mut *a, b) {
        (Value::Number(a), Value::Number(b)) => *a += b,
        (Value::String(a), Value::String(b)) => a.push_bytes(&b),
        (Value::Array(a), Value::Array(b)) => {
            for (key, value) in &b {
                let value = value.clone();
                if matches!(key, Key::Int(_)) {
                    if !a.push(value) {
                        return Err(full());
                    }
                } else {
                    a.insert(key, value);
                }
            }
        }
        (Value::Array(a), b) => {
            if !a.push(b) {
                return Err(full());
            }
        }
        (_, b) => return Err(unsupported("+", a, &b)),
    }
    Ok(())
}

/// `-`: difference, or removal of elements.
#[inline]
pub(crate) fn subtract(a: &Value, b: &Value) -> Result<Value, Thrown> {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => Ok(Value::Number(a - b)),
        (Value::Array(a), Value::Array(b)) => {
            let unwanted = ValueSet::new(b);
            Ok(without(a, |value| unwanted.contains(value)))
        }
        (Value::Array(a), b) => Ok(without(a, |value| super::strict_equal(value, b))),
        _ => Err(unsupported("-", a, b)),
    }
}

fn without(array: &Array, is_unwanted: impl Fn(&Value) -> bool) -> Value {
    let mut result = array.clone();
    for (key, value) in array {
        if is_unwanted(value) {
            result.remove(&key);
        }
    }
    Value::Array(result)
}

/// `*`: product, or repetition.
#[inline]
pub(crate) fn multiply(a: &Value, b: &Value, max: usize) -> Result<Value, Thrown> {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => Ok(Value::Number(a * b)),
        (Value::String(text), Value::Number(count))
        | (Value::Number(count), Value::String(text)) => {
            let count = repetitions(*count, text.len(), max)?;
            Ok(Value::from(text.repeat(count)))
        }
        (Value::Array(array), Value::Number(count))
        | (Value::Number(count), Value::Array(array)) => {
            let count = repetitions(*count, array.len() * size_of::<Value>(), max)?;
            let mut items = Vec::with_capacity(count * array.len());
            for _ in 0..count {
                items.extend(array.values().cloned());
            }
            Ok(Value::list(items))
        }
        _ => Err(unsupported("*", a, b)),
    }
}

fn repetitions(count: f64, size: usize, max: usize) -> Result<usize, Thrown> {
    let count = if count > 0.0 { count as usize } else { 0 }; // saturates
    if size == 0 {
        return Ok(0);
    }
    if count.checked_mul(size).is_none_or(|size| size > max) {
        return Err(crate::memory::exceeded(max));
    }
    Ok(count)
}

/// `/`: quotient; division by zero follows IEEE 754.
#[inline]
pub(crate) fn divide(a: &Value, b: &Value) -> Result<Value, Thrown> {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => Ok(Value::Number(a / b)),
        _ => Err(unsupported("/", a, b)),
    }
}

/// `%`: remainder with the sign of the left side, or a formatted string.
#[inline]
pub(crate) fn remainder(a: &Value, b: &Value, max: usize) -> Result<Value, Thrown> {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => Ok(Value::Number(a % b)),
        (Value::String(template), Value::Array(values)) => super::format(template, values, max),
        _ => Err(unsupported("%", a, b)),
    }
}

/// `**`
pub(crate) fn power(a: &Value, b: &Value) -> Result<Value, Thrown> {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => Ok(Value::Number(a.powf(*b))),
        _ => Err(unsupported("**", a, b)),
    }
}

/// `.`: both sides as text; none has none.
#[inline]
pub(crate) fn concat(a: &Value, b: &Value) -> Result<Value, Thrown> {
    if let (Value::String(a), Value::String(b)) = (a, b) {
        return Ok(Value::String(Str::concat(a, b)));
    }
    if a.is_none() || b.is_none() {
        return Err(unsupported(".", a, b));
    }
    let mut out = Vec::new();
    super::write_text(a, &mut out)?;
    super::write_text(b, &mut out)?;
    Ok(Value::from(out))
}

/// `.=` in place: a string that nobody else holds grows without being copied.
#[inline]
pub(crate) fn concat_assign(a: &mut Value, b: &Value) -> Result<(), Thrown> {
    match (&mut *a, b) {
        (Value::String(a), Value::String(b)) => a.push_bytes(b),
        (_, Value::None) | (Value::None, _) => return Err(unsupported(".", a, b)),
        (Value::String(a), b) => {
            let mut out = Vec::new();
            super::write_text(b, &mut out)?;
            a.push_bytes(&out);
        }
        _ => *a = concat(a, b)?,
    }
    Ok(())
}

/// The operators on 32-bit integers. Shift counts are taken modulo 32.
pub(crate) fn bitwise(op: BinaryOp, a: &Value, b: &Value) -> Result<Value, Thrown> {
    let (Value::Number(x), Value::Number(y)) = (a, b) else {
        let op = match op {
            BinaryOp::BitAnd => "&",
            BinaryOp::BitOr => "|",
            BinaryOp::BitXor => "^",
            BinaryOp::ShiftLeft => "<<",
            BinaryOp::ShiftRight => ">>",
            _ => ">>>",
        };
        return Err(unsupported(op, a, b));
    };
    let (x, y) = (number::to_i32(*x), number::to_i32(*y));
    let count = y.cast_unsigned() & 31;
    Ok(Value::Number(match op {
        BinaryOp::BitAnd => f64::from(x & y),
        BinaryOp::BitOr => f64::from(x | y),
        BinaryOp::BitXor => f64::from(x ^ y),
        BinaryOp::ShiftLeft => f64::from(x << count),
        BinaryOp::ShiftRight => f64::from(x >> count),
        _ => f64::from(x.cast_unsigned() >> count),
    }))
}

/// `<`: numbers by value, strings by octets.
///
/// # Errors
///
/// A builtin error for other operands; `op` names the operator in it.
#[inline]
pub fn less(op: &str, a: &Value, b: &Value) -> Result<bool, Thrown> {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => Ok(a < b),
        (Value::String(a), Value::String(b)) => Ok(a < b),
        _ => Err(unordered(op, a, b)),
    }
}

/// `<=`, as [`less`].
#[inline]
pub(crate) fn less_equal(op: &str, a: &Value, b: &Value) -> Result<bool, Thrown> {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => Ok(a <= b),
        (Value::String(a), Value::String(b)) => Ok(a <= b),
        _ => Err(unordered(op, a, b)),
    }
}

#[cold]
fn unordered(op: &str, a: &Value, b: &Value) -> Thrown {
    // The machine knows `<` and `<=` only: `>` arrives with its sides swapped.
    if op.starts_with('>') { unsupported(op, b, a) } else { unsupported(op, a, b) }
}

/// Prefix `-`.
pub(crate) fn negate(value: &Value) -> Result<Value, Thrown> {
    match value {
        Value::Number(value) => Ok(Value::Number(-value)),
        _ => Err(no_operand("-", value)),
    }
}

/// Prefix `+`.
pub(crate) fn plus(value: &Value) -> Result<Value, Thrown> {
    match value {
        Value::Number(value) => Ok(Value::Number(*value)),
        _ => Err(no_operand("+", value)),
    }
}

/// `~`
pub(crate) fn bit_not(value: &Value) -> Result<Value, Thrown> {
    match value {
        Value::Number(value) => Ok(Value::Number(f64::from(!number::to_i32(*value)))),
        _ => Err(no_operand("~", value)),
    }
}

/// `++` and `--` in place. None counts from 0: elements that are missing are none.
#[inline]
pub(crate) fn step(value: &mut Value, by: f64) -> Result<(), Thrown> {
    match value {
        Value::Number(value) => {
            *value += by;
            Ok(())
        }
        Value::None => {
            value.put_number(by);
            Ok(())
        }
        _ => Err(no_operand(if by > 0.0 { "++" } else { "--" }, value)),
    }
}

#[cold]
fn no_operand(op: &str, value: &Value) -> Thrown {
    Thrown::new(format!("unsupported operand type: {op} {}", value.type_of().name()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merging_overwrites_text_keys_and_appends_numeric_ones() {
        let a = Value::map([("x", Value::from(1)), ("0", Value::from(2))]);
        let b = Value::map([("0", Value::from(3)), ("x", Value::from(4))]);
        assert_eq!(&*super::super::to_text(&add(&a, &b).unwrap()), br#"["x"=>4,0=>2,1=>3]"#);
    }

    #[test]
    fn subtracting_keeps_keys() {
        let a = Value::list([1, 2, 1, 3].map(Value::from));
        assert_eq!(
            &*super::super::to_text(&subtract(&a, &Value::from(1)).unwrap()),
            b"[1=>2,3=>3]"
        );
    }

    #[test]
    fn repetition_beyond_the_memory_limit_is_refused() {
        assert!(multiply(&Value::from("ab"), &Value::from(3), 6).is_ok());
        assert!(multiply(&Value::from("ab"), &Value::from(4), 6).is_err());
        assert!(multiply(&Value::from("ab"), &Value::Number(1e300), 6).is_err());
    }

    #[test]
    fn bitwise_operators_work_on_32_bits() {
        let run = |op, a: f64, b: f64| bitwise(op, &a.into(), &b.into()).unwrap().as_number();
        assert_eq!(run(BinaryOp::ShiftRight, -8.0, 1.0), Some(-4.0));
        assert_eq!(run(BinaryOp::ShiftRightUnsigned, -8.0, 1.0), Some(2_147_483_644.0));
        assert_eq!(run(BinaryOp::ShiftLeft, 1.0, 31.0), Some(-2_147_483_648.0));
        assert_eq!(run(BinaryOp::BitAnd, 4_294_967_295.0, 255.0), Some(255.0));
    }
}
