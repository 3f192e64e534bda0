//! Constant expressions: values known before the script runs.

use crate::ast::{ArrayItem, Expr, ExprKind, LogicalOp, Regex, UnaryOp};
use crate::host::Thrown;
use crate::ops;
use crate::source::Span;
use crate::value::{Array, Key, Value};

/// The largest value that is computed at compile time, in octets.
const MAX_SIZE: usize = 64 << 10;

/// Computes a constant expression; `None` if it is none, or fails.
pub(super) fn evaluate(expr: &Expr) -> Option<Value> {
    try_evaluate(expr)?.ok()
}

/// Computes a constant expression that may hold patterns, which `pattern` compiles.
pub(super) fn evaluate_with(
    expr: &Expr,
    pattern: &mut dyn FnMut(&Regex, Span) -> Option<Value>,
) -> Option<Value> {
    compute(expr, pattern)?.ok()
}

/// Computes a constant expression; `None` if it is none, an error if it is one that always fails.
pub(super) fn try_evaluate(expr: &Expr) -> Option<Result<Value, Thrown>> {
    compute(expr, &mut |_, _| None)
}

fn compute(
    expr: &Expr,
    pattern: &mut dyn FnMut(&Regex, Span) -> Option<Value>,
) -> Option<Result<Value, Thrown>> {
    let mut evaluate = |expr: &Expr| compute(expr, pattern)?.ok();
    Some(Ok(match &expr.kind {
        ExprKind::None => Value::None,
        ExprKind::Bool(value) => Value::Bool(*value),
        ExprKind::Number(value) => Value::Number(*value),
        ExprKind::String(value) => Value::string(value),
        ExprKind::Array(items) => array(items, &mut evaluate)?,
        ExprKind::Regex(regex) => pattern(regex, expr.span)?,
        ExprKind::Unary { op, operand } => {
            let value = evaluate(operand)?;
            return Some(match op {
                UnaryOp::Not => Ok(Value::Bool(!value.is_truthy())),
                UnaryOp::Minus => ops::negate(&value),
                UnaryOp::Plus => ops::plus(&value),
                UnaryOp::BitNot => ops::bit_not(&value),
            });
        }
        ExprKind::Binary { first, steps } => {
            let mut value = evaluate(first)?;
            for step in steps {
                let right = evaluate(&step.operand)?;
                match ops::binary(step.op)?(&value, &right, MAX_SIZE) {
                    Ok(result) => value = result,
                    // Too large for a constant is no error yet.
                    Err(thrown) if matches!(thrown.kind(), crate::host::ThrownKind::Limit(_)) => {
                        return None;
                    }
                    Err(thrown) => return Some(Err(thrown)),
                }
            }
            value
        }
        ExprKind::Logical { op, operands } => {
            let mut result = *op == LogicalOp::And;
            for operand in operands {
                let truth = evaluate(operand)?.is_truthy();
                result = if *op == LogicalOp::And { result && truth } else { result || truth };
            }
            Value::Bool(result)
        }
        ExprKind::Conditional { condition, then, otherwise } => {
            let value = evaluate(condition)?;
            match then {
                _ if !value.is_truthy() => evaluate(otherwise)?,
                Some(then) => evaluate(then)?,
                None => value,
            }
        }
        _ => return None,
    }))
}

fn array(items: &[ArrayItem], evaluate: &mut dyn FnMut(&Expr) -> Option<Value>) -> Option<Value> {
    let mut array = Array::new();
    for item in items {
        match item {
            ArrayItem::Value(value) => {
                array.push(evaluate(value)?);
            }
            ArrayItem::Pair(key, value) => {
                let key = Key::from_value(&evaluate(key)?);
                array.insert(key, evaluate(value)?);
            }
            ArrayItem::Spread(_) => return None,
        }
    }
    Some(Value::Array(array))
}
