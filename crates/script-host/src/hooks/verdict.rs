//! `Accept`, `Reject` and `Defer`: what a script decides, from its call to an SMTP verdict.
//!
//! The functions do not return: they end the script with a [`HookVerdict`], which the hook's own
//! file then reads. Options that only one hook knows stay in the value's options.

use std::net::IpAddr;
use std::time::Duration;

use hsl::host::{NativeStep, Registry, Thrown};
use hsl::{Array, Value};
use mta_types::EnhancedCode;
use smtp::server::{Decision, ReplyParts, Verdict};

use super::{HookKind, values};

/// How a script ended an SMTP hook.
pub struct HookVerdict {
    /// What the peer hears.
    pub verdict: Verdict,
    /// The options as given, for keys of one hook.
    pub options: Array,
}

/// Registers the three verdicts of an SMTP hook.
pub fn register(registry: &mut Registry, kind: HookKind) {
    registry.function(
        "Accept(array options = []) -> none",
        "Accepts the command and ends the script.",
        move |_, args| accept(kind, args),
    );
    registry.function(
        "Reject(string or array reason = none, array options = []) -> none",
        "Refuses the command for good and ends the script.",
        |_, args| refuse(args, Decision::Reject),
    );
    registry.function(
        "Defer(string or array reason = none, array options = []) -> none",
        "Refuses the command for now and ends the script.",
        |_, args| refuse(args, Decision::Defer),
    );
}

fn accept(kind: HookKind, args: &mut [Value]) -> Result<NativeStep, Thrown> {
    let options = array(args.first_mut());
    let reason = options.get_text("reason").cloned().unwrap_or_default();
    let decided = finish(Decision::Accept, &reason, options)?;
    check(kind, &decided.options)?;
    Ok(NativeStep::exit(decided))
}

/// Tells the script what is wrong with the options that its hook alone knows; the hook reads them when
/// the script is over.
fn check(kind: HookKind, options: &Array) -> Result<(), Thrown> {
    match kind {
        HookKind::Connect => {
            if let Some(ip) = text_option(options, "remoteip")?
                && ip.parse::<IpAddr>().is_err()
            {
                return Err(Thrown::new(format!("option remoteip: {ip} is no address")));
            }
            text_option(options, "remoteptr")?;
        }
        HookKind::Helo => {
            array_option(options, "extensions")?;
            text_option(options, "host")?;
        }
        HookKind::Auth => {
            text_option(options, "username")?;
        }
        HookKind::Mailfrom => {
            option(options, "sender").map(values::parse_address).transpose()?;
        }
        HookKind::Rcptto => {
            option(options, "recipient").map(values::parse_recipient).transpose()?;
            text_option(options, "transportid")?;
        }
        _ => {}
    }
    Ok(())
}

fn refuse(args: &mut [Value], decision: Decision) -> Result<NativeStep, Thrown> {
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
    let Some(codes) = array_option(options, "reply_codes")? else { return Ok(parts) };
    if let Some(code) = number_option(codes, "code")? {
        if !(200.0..600.0).contains(&code) {
            return Err(Thrown::new("reply_codes: code is not between 200 and 599"));
        }
        parts.code = Some(code as u16);
    }
    if let Some(numbers) = array_option(codes, "enhanced")? {
        parts.enhanced = Some(enhanced(numbers).ok_or_else(|| {
            Thrown::new("reply_codes: enhanced expects three numbers such as [5, 7, 1]")
        })?);
    }
    Ok(parts)
}

/// Three numbers as an enhanced code.
pub fn enhanced(numbers: &Array) -> Option<EnhancedCode> {
    let mut numbers = numbers.values().map(|n| values::number(n).map(|n| n as u16));
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

/// An option that is given; none is as if it were not.
pub fn option<'a>(options: &'a Array, key: &str) -> Option<&'a Value> {
    options.get_text(key).filter(|value| !value.is_none())
}

/// An option that is a string; a number is its text.
///
/// # Errors
///
/// It is something else.
pub fn text_option(options: &Array, key: &str) -> Result<Option<String>, Thrown> {
    match option(options, key) {
        None => Ok(None),
        Some(text @ (Value::String(_) | Value::Number(_))) => Ok(Some(values::text(text))),
        Some(_) => Err(Thrown::new(format!("option {key} expects a string"))),
    }
}

/// An option that is a number, or the text of one: modules hand on what they read from others.
///
/// # Errors
///
/// It is something else.
pub fn number_option(options: &Array, key: &str) -> Result<Option<f64>, Thrown> {
    match option(options, key) {
        None => Ok(None),
        Some(value) => match values::number(value) {
            Some(number) => Ok(Some(number)),
            None => Err(Thrown::new(format!("option {key} expects a number"))),
        },
    }
}

/// An option that is a number of seconds; what is below zero is zero.
///
/// # Errors
///
/// It is no number, or a time beyond all reason.
pub fn seconds_option(options: &Array, key: &str) -> Result<Option<Duration>, Thrown> {
    let read = |seconds: f64| {
        Duration::try_from_secs_f64(seconds.max(0.0))
            .map_err(|_| Thrown::new(format!("option {key} is too large")))
    };
    number_option(options, key)?.map(read).transpose()
}

/// An option that is an array.
///
/// # Errors
///
/// It is something else.
pub fn array_option<'a>(options: &'a Array, key: &str) -> Result<Option<&'a Array>, Thrown> {
    match option(options, key) {
        None => Ok(None),
        Some(Value::Array(array)) => Ok(Some(array)),
        Some(_) => Err(Thrown::new(format!("option {key} expects an array"))),
    }
}

/// An option that is an array, as a list of texts.
///
/// # Errors
///
/// It is something else.
pub fn texts_option(options: &Array, key: &str) -> Result<Option<Vec<String>>, Thrown> {
    let list = array_option(options, key)?;
    Ok(list.map(|list| list.values().map(values::text).collect()))
}

/// A text option.
pub fn text(options: &Array, key: &str) -> Option<String> {
    match options.get_text(key)? {
        Value::String(text) => Some(String::from_utf8_lossy(text.as_bytes()).into_owned()),
        _ => None,
    }
}
