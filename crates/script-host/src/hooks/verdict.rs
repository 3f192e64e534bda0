//! `Accept`, `Reject` and `Defer`: what a script decides, from its call to an SMTP verdict.
//!
//! The functions do not return: they end the script with a [`HookVerdict`], which the hook's own
//! file then reads. Options that only one hook knows stay in the value's options.

use hsl::host::{CallContext, NativeStep, Registry, Thrown};
use hsl::{Array, Value};
use mta_types::EnhancedCode;
use smtp::server::{Decision, ReplyParts, Verdict};

use super::values;

/// How a script ended an SMTP hook.
pub struct HookVerdict {
    /// What the peer hears.
    pub verdict: Verdict,
    /// The options as given, for keys of one hook.
    pub options: Array,
}

/// Registers the three verdicts of an SMTP hook.
pub fn register(registry: &mut Registry) {
    registry.function(
        "Accept(array options = []) -> none",
        "Accepts the command and ends the script.",
        |_, args| accept(args),
    );
    registry.function(
        "Reject(string or array reason = none, array options = []) -> none",
        "Refuses the command for good and ends the script.",
        |context, args| refuse(context, args, Decision::Reject),
    );
    registry.function(
        "Defer(string or array reason = none, array options = []) -> none",
        "Refuses the command for now and ends the script.",
        |context, args| refuse(context, args, Decision::Defer),
    );
}

fn accept(args: &mut [Value]) -> Result<NativeStep, Thrown> {
    let options = array(args.first_mut());
    let reason = options.get_text("reason").cloned().unwrap_or_default();
    Ok(NativeStep::exit(finish(Decision::Accept, &reason, options)?))
}

fn refuse(
    _context: &mut CallContext<'_>,
    args: &mut [Value],
    decision: Decision,
) -> Result<NativeStep, Thrown> {
    let reason = args.first_mut().map(Value::take).unwrap_or_default();
    let options = array(args.get_mut(1));
    Ok(NativeStep::exit(finish(decision, &reason, options)?))
}

/// A decision with the wording that `reason` and the options ask for.
///
/// # Errors
///
/// An option of the wrong kind, by name.
pub fn finish(decision: Decision, reason: &Value, options: Array) -> Result<HookVerdict, Thrown> {
    let mut verdict = Verdict::new(decision);
    verdict.reply = reply_parts(reason, &options)?;
    verdict.disconnect = flag(&options, "disconnect");
    Ok(HookVerdict { verdict, options })
}

/// The wording that `reason` and the option `reply_codes` ask for.
pub fn reply_parts(reason: &Value, options: &Array) -> Result<ReplyParts, Thrown> {
    let mut parts = ReplyParts { lines: lines_of(reason)?, ..ReplyParts::default() };
    let Some(codes) = options.get_text("reply_codes") else { return Ok(parts) };
    let Value::Array(codes) = codes else {
        return Err(Thrown::new("option reply_codes expects an array"));
    };
    if let Some(code) = codes.get_text("code").and_then(Value::as_number) {
        if !(200.0..600.0).contains(&code) {
            return Err(Thrown::new("reply_codes: code is not between 200 and 599"));
        }
        parts.code = Some(code as u16);
    }
    match codes.get_text("enhanced") {
        None | Some(Value::None) => {}
        Some(Value::Array(numbers)) => {
            parts.enhanced = Some(enhanced(numbers).ok_or_else(|| {
                Thrown::new("reply_codes: enhanced expects three numbers such as [5, 7, 1]")
            })?);
        }
        Some(_) => return Err(Thrown::new("reply_codes: enhanced expects an array")),
    }
    Ok(parts)
}

/// Three numbers as an enhanced code.
pub fn enhanced(numbers: &Array) -> Option<EnhancedCode> {
    let mut numbers = numbers.values().map(|n| n.as_number().map(|n| n as u16));
    let mut next = || numbers.next().flatten();
    EnhancedCode::from_numbers(next()?, next()?, next()?)
}

/// The lines of a reason: a text split at line feeds, or a list of lines.
fn lines_of(reason: &Value) -> Result<Vec<String>, Thrown> {
    match reason {
        Value::None => Ok(Vec::new()),
        Value::String(_) => Ok(values::text(reason).split('\n').map(str::to_owned).collect()),
        Value::Array(list) => Ok(list.values().map(values::text).collect()),
        _ => Err(Thrown::new("the reason is neither a string nor an array of lines")),
    }
}

/// Takes an optional array argument.
pub fn array(value: Option<&mut Value>) -> Array {
    match value.map(Value::take) {
        Some(Value::Array(array)) => array,
        _ => Array::new(),
    }
}

/// A boolean option; absent is false.
pub fn flag(options: &Array, key: &str) -> bool {
    options.get_text(key).is_some_and(Value::is_truthy)
}

/// A text option.
pub fn text(options: &Array, key: &str) -> Option<String> {
    match options.get_text(key)? {
        Value::String(text) => Some(String::from_utf8_lossy(text.as_bytes()).into_owned()),
        _ => None,
    }
}
