//! Breakpoints: what a script that stops tells a debugger.
//!
//! The compiler calls [`register`]'s function at `__debug`; the execution waits at once, and whoever
//! drives it finds the [`Stop`] with [`take_stop`], shows it, and lets the script go on when the debugger
//! says so. Where the function is not registered, the statement compiles to nothing.
//!
//! # Compatibility
//!
//! The statement names the session first and the breakpoint second; in the message the breakpoint is
//! `id` and the session `debugid`. `values` is a JSON object of variables, each an object whose `format`
//! tells how to read its `value`: `json` is JSON in a text, anything else octets in base64. An exception
//! is the variable `__throw`, which also has `uncaught` and `message`. The call stack begins with the
//! outermost call: debuggers turn it round.

use std::time::Duration;

use control::pb;
use control::pb::hsl_break_point_response::Frame;
use hsl::host::{CallContext, HostSet, NativeStep, Registry, ThrownKind};
use hsl::{Array, ScriptError, Setup, Value, Vm, debug};
use mail_message::transfer_encoding::base64_encode;

use crate::hooks::values::{as_data, put, text};

/// A script at a breakpoint, or behind an exception that it did not catch.
#[derive(Debug)]
pub struct Stop {
    /// The number of the breakpoint, as the debugger chose it; empty for an exception.
    id: String,
    /// The session, as the debugger called it.
    debugid: String,
    location: Option<pb::Location>,
    /// Variables, as JSON.
    values: String,
    /// Functions under way, outermost first.
    callstack: Vec<String>,
}

/// Where an execution keeps its stop until the driver takes it.
#[derive(Debug, Default)]
struct Place(Option<Stop>);

/// Registers what the compiler calls at `__debug`.
pub fn register(registry: &mut Registry) {
    registry.function(
        &format!("{}(array items, array variables) -> none", debug::BREAKPOINT),
        "called by the compiler",
        |context: &mut CallContext<'_>, args: &mut [Value]| {
            let stop = Stop::at_breakpoint(context, args);
            match context.state::<Place>() {
                Some(place) => place.0 = Some(stop),
                // Nobody watches this execution.
                None => return NativeStep::Return(Value::None),
            }
            // The driver comes back when the debugger says so.
            NativeStep::suspend(std::future::ready(Ok(Value::None)))
        },
    );
}

/// The function alone, to go on top of another set.
pub fn breakpoints() -> std::sync::Arc<HostSet> {
    let mut registry = Registry::new();
    register(&mut registry);
    registry.freeze()
}

/// Makes an execution stop at its breakpoints; without this it passes them.
pub fn watch(setup: &mut Setup) {
    setup.states.push(Box::new(Place::default()));
}

/// The breakpoint at which an execution stands that just began to wait.
pub fn take_stop(vm: &mut Vm) -> Option<Stop> {
    let mut stop = vm.state::<Place>()?.0.take()?;
    stop.callstack = vm.call_stack();
    stop.callstack.reverse();
    Some(stop)
}

impl Stop {
    fn at_breakpoint(context: &CallContext<'_>, args: &[Value]) -> Self {
        let items: Vec<String> = match args.first() {
            Some(Value::Array(items)) => items.values().map(text).collect(),
            _ => Vec::new(),
        };
        let item = |at: usize| items.get(at).cloned().unwrap_or_default();
        let mut values = Array::new();
        if let Some(Value::Array(variables)) = args.get(1) {
            for (name, value) in variables.iter() {
                values.insert(name, Value::Array(shown(value)));
            }
        }
        Self {
            id: item(1),
            debugid: item(0),
            location: context
                .location()
                .map(|(file, place)| location(&file, place.line.into(), place.column.into())),
            values: json(values),
            callstack: Vec::new(),
        }
    }

    /// An exception that nobody caught.
    #[must_use]
    pub fn exception(error: &ScriptError) -> Self {
        let message = error.diagnostic().message();
        let mut thrown = match error.thrown() {
            ThrownKind::Value(value) => shown(value),
            ThrownKind::Error(_) | ThrownKind::Limit(_) => shown(&Value::from(message.to_owned())),
        };
        put(&mut thrown, "uncaught", true);
        put(&mut thrown, "message", message.to_owned());
        let mut values = Array::new();
        put(&mut values, "__throw", Value::Array(thrown));
        let plain = error.diagnostic().plain(error.sources());
        let at = |file: String| location(&file, plain.line.into(), plain.column.into());
        Self {
            id: String::new(),
            debugid: String::new(),
            location: plain.file.map(at),
            values: json(values),
            callstack: Vec::new(),
        }
    }

    /// The message of the control protocol. `transactionid` is empty where there is none, `time` counts
    /// since the Unix epoch.
    #[must_use]
    pub fn response(self, transactionid: String, time: Duration) -> pb::HslBreakPointResponse {
        pb::HslBreakPointResponse {
            id: self.id,
            debugid: self.debugid,
            transactionid,
            location: self.location,
            time: time.as_secs_f64(),
            values: self.values,
            callstack: self.callstack.into_iter().map(|function| Frame { function }).collect(),
        }
    }
}

/// A value with its format.
fn shown(value: &Value) -> Array {
    let mut out = Array::new();
    match value {
        Value::String(octets) if std::str::from_utf8(octets).is_err() => {
            put(&mut out, "format", "base64");
            put(&mut out, "value", base64_encode(octets));
        }
        value => {
            put(&mut out, "format", "json");
            // Octets within, or nested too deep: as `echo` shows it.
            let data = hsl_std::value_to_json(&as_data(value.clone()))
                .or_else(|| hsl_std::value_to_json(&Value::from(text(value))));
            put(&mut out, "value", data.unwrap_or_else(|| "null".to_owned()));
        }
    }
    out
}

/// An object of variables as JSON; without them when that is too much.
fn json(values: Array) -> String {
    let text = hsl_std::value_to_json(&Value::Array(values));
    text.filter(|text| text.starts_with('{')).unwrap_or_else(|| "{}".to_owned())
}

fn location(file: &str, line: u64, column: u64) -> pb::Location {
    pb::Location {
        beginline: line,
        endline: line,
        begincolumn: column,
        endcolumn: column,
        file: file.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hsl::{Compiler, Step};

    fn run(script: &str) -> (Vm, Step) {
        let mut registry = Registry::new();
        register(&mut registry);
        let host = registry.freeze();
        let program = Compiler::new(&host).compile("t", "t.hsl", script.as_bytes()).unwrap();
        let mut setup = Setup::default();
        watch(&mut setup);
        let mut vm = Vm::new(&program, setup);
        let step = vm.run(1_000);
        (vm, step)
    }

    #[test]
    fn a_breakpoint_shows_variables_and_the_calls_from_the_outside_in() {
        let script = "function inner($x) {\n__debug [\"session\", \"7\"]; return $x;\n}\n\
                      function outer($x) { return inner($x); }\n\
                      outer([\"k\" => \"v\", \"n\" => 1]);";
        let (mut vm, step) = run(script);
        assert!(matches!(step, Step::Suspended(_)));
        let stop = take_stop(&mut vm).unwrap().response("id".into(), Duration::from_secs(5));
        assert_eq!((stop.id.as_str(), stop.debugid.as_str()), ("7", "session"));
        assert_eq!((stop.transactionid.as_str(), stop.time), ("id", 5.0));
        assert_eq!(stop.location.unwrap().beginline, 2);
        assert_eq!(stop.values, r#"{"x":{"format":"json","value":"{\"k\":\"v\",\"n\":1}"}}"#);
        let calls: Vec<_> = stop.callstack.iter().map(|frame| frame.function.as_str()).collect();
        assert_eq!(calls, ["outer", "inner"]);
        assert!(take_stop(&mut vm).is_none(), "each stop is told once");
    }

    #[test]
    fn what_json_cannot_hold_is_shown_as_text() {
        let (mut vm, _) = run("$x = [\"\\xff\", 1]; __debug [\"s\", \"1\"];");
        let stop = take_stop(&mut vm).unwrap().response(String::new(), Duration::ZERO);
        assert!(stop.values.contains("\u{fffd}"), "{}", stop.values);
        let (mut vm, _) = run("__debug [\"s\", \"1\"];");
        let stop = take_stop(&mut vm).unwrap().response(String::new(), Duration::ZERO);
        assert_eq!(stop.values, "{}");
    }

    #[test]
    fn octets_that_are_no_text_come_as_base64() {
        let (mut vm, _) = run("$x = \"\\xff\\x00\"; $y = none; __debug [\"s\", \"1\"];");
        let stop = take_stop(&mut vm).unwrap().response(String::new(), Duration::ZERO);
        let wanted =
            r#"{"x":{"format":"base64","value":"/wA="},"y":{"format":"json","value":"null"}}"#;
        assert_eq!(stop.values, wanted);
    }

    #[test]
    fn an_exception_has_no_id_and_says_what_was_thrown() {
        for (script, wanted) in [
            (
                "throw [1];",
                r#"{"__throw":{"format":"json","value":"[1]","uncaught":true,"message":"[0=>1]"}}"#,
            ),
            (
                "$x = 1 % 0; echo $x . [] . Exception(\"\")->nothing();",
                r#""uncaught":true,"message":""#,
            ),
        ] {
            let (_, Step::Threw(error)) = run(script) else { panic!("{script} does not throw") };
            let stop = Stop::exception(&error).response(String::new(), Duration::ZERO);
            assert_eq!((stop.id.as_str(), stop.location.unwrap().beginline), ("", 1));
            assert!(stop.values.contains(wanted), "{}", stop.values);
        }
    }

    #[test]
    fn breakpoints_are_passed_where_nobody_watches() {
        let mut registry = Registry::new();
        register(&mut registry);
        let host = registry.freeze();
        let script = b"__debug [\"s\", \"1\"]; return 5;";
        let program = Compiler::new(&host).compile("t", "t.hsl", script).unwrap();
        let step = Vm::new(&program, Setup::default()).run(1_000);
        assert!(matches!(step, Step::Done(Value::Number(5.0))));
    }
}
