//! Native functions that call a function of the script over and over: whether the call is repeated in
//! its frame or made anew, a script cannot tell.

use hsl::host::{CallContext, Continuation, Limits, NativeStep, Registry};
use hsl::{Compiler, ScriptError, Setup, Step, Value, Vm};

/// `sum(callback, count)`: the sum of the callback's values for 0 … count − 1.
struct Sum {
    callback: Value,
    next: f64,
    count: f64,
    sum: f64,
    may_repeat: bool,
}

impl Sum {
    fn step(self: Box<Self>) -> NativeStep {
        if self.next >= self.count {
            return self.sum.into();
        }
        let arguments = [Value::Number(self.next)].into_iter().collect();
        NativeStep::Call { function: self.callback.clone(), arguments, then: self }
    }

    fn take(&mut self, value: &Value) {
        self.sum += value.as_number().unwrap_or(f64::NAN);
        self.next += 1.0;
    }
}

impl Continuation for Sum {
    fn resume(mut self: Box<Self>, _: &mut CallContext<'_>, value: Value) -> NativeStep {
        self.take(&value);
        self.step()
    }

    fn again(&mut self, value: &mut Value, arguments: &mut [Value]) -> bool {
        if !self.may_repeat || self.next + 1.0 >= self.count {
            return false;
        }
        self.take(value);
        arguments[0] = Value::Number(self.next);
        true
    }
}

/// How a run went: its value or error, how often its fuel ran out, and how often it waited.
struct Ran {
    end: Result<Value, ScriptError>,
    slices: usize,
    waits: usize,
}

fn run(text: &str, may_repeat: bool, limits: Limits) -> Ran {
    let mut registry = Registry::new();
    registry.function("sum(function callback, number count) -> number", "sums", move |_, args| {
        let (callback, count) = (args[0].take(), args[1].as_number().unwrap());
        Box::new(Sum { callback, next: 0.0, count, sum: 0.0, may_repeat }).step()
    });
    registry.function("wait(any value) -> any", "waits", |_, args| {
        let value = args[0].take();
        NativeStep::suspend(async move { Ok(value) })
    });
    let host = registry.freeze();
    let program = Compiler::new(&host).compile("main", "main.hsl", text.as_bytes()).unwrap();
    let mut vm = Vm::new(&program, Setup { limits, ..Setup::default() });
    let (mut slices, mut waits) = (0, 0);
    let end = loop {
        match vm.run(100) {
            Step::Done(value) => break Ok(value),
            Step::Threw(error) => break Err(error),
            Step::Exited(_) => panic!("nothing here exits"),
            Step::OutOfFuel => slices += 1,
            Step::Suspended(mut wait) => {
                waits += 1;
                let mut context = std::task::Context::from_waker(std::task::Waker::noop());
                match wait.as_mut().poll(&mut context) {
                    std::task::Poll::Ready(result) => vm.resume(result),
                    std::task::Poll::Pending => panic!("the value is there already"),
                }
            }
        }
    };
    Ran { end, slices, waits }
}

/// Runs both ways and returns the value, which must be the same.
fn value(text: &str) -> (Value, Ran, Ran) {
    let repeated = run(text, true, Limits::default());
    let anew = run(text, false, Limits::default());
    let value = repeated.end.as_ref().unwrap().clone();
    assert_eq!(&value, anew.end.as_ref().unwrap());
    (value, repeated, anew)
}

#[test]
fn callbacks_without_calls_and_loops_take_fuel() {
    let (sum, repeated, anew) = value("return sum(function ($x) { return $x; }, 10000);");
    assert_eq!(sum, Value::from(49_995_000));
    assert!((90..=110).contains(&repeated.slices), "{}", repeated.slices);
    assert!((90..=110).contains(&anew.slices), "{}", anew.slices);
}

#[test]
fn a_callback_starts_with_unset_variables_each_time() {
    let text = "return sum(function ($x) {
        if ($x % 2 == 0) $mark = 1;
        return isset($mark) ? 1 : 0;
    }, 1000);";
    assert_eq!(value(text).0, Value::from(500));
}

#[test]
fn a_callback_may_wait_between_repetitions() {
    let text = "return sum(function ($x) { if ($x % 10 == 0) return wait($x); return $x; }, 1000);";
    let (sum, repeated, anew) = value(text);
    assert_eq!(sum, Value::from(499_500));
    assert_eq!((repeated.waits, anew.waits), (100, 100));
}

#[test]
fn callbacks_with_captures_defaults_and_rests_get_what_they_declare() {
    for (text, sum) in [
        ("$k = 2; return sum(function ($x) closure ($k) { $k += 1; return $k; }, 10);", 75),
        ("return sum(function ($x, $y = 3) { $z = $y; $y = 0; return $z; }, 10);", 30),
        ("return sum(function (...$all) { return $all[0]; }, 10);", 45),
        ("return sum(function ($x) { return sum(function ($y) { return $y; }, $x); }, 5);", 10),
        (
            "class C { constructor() { $this->n = 2; } function f($x) { return $this->n; } }
            $c = C(); return sum($c->f, 10);",
            20,
        ),
    ] {
        assert_eq!(value(text).0, Value::from(sum), "{text}");
    }
}

#[test]
fn an_exception_of_a_callback_ends_the_native_function_and_says_where() {
    let text = "function f($x) {\n if ($x == 7) throw Exception(\"seven\");\n return $x;\n}\n\
        try { sum(f, 10); } catch ($error) { return $error->message(); }";
    assert_eq!(value(text).0, Value::from("seven"));
    let text = "function f($x) {\n if ($x == 7) return $x + [];\n return $x;\n}\nsum(f, 10);";
    for may_repeat in [true, false] {
        let error = run(text, may_repeat, Limits::default()).end.unwrap_err().to_string();
        assert!(error.contains("on line 2"), "{error}");
    }
}

#[test]
fn what_callbacks_keep_counts_against_the_memory_limit() {
    let text =
        "$kept = []; function f($x) { global $kept; $kept[] = $x . \"text\" * 1000; return 0; }
        return sum(f, 100000);";
    for may_repeat in [true, false] {
        let limits = Limits { memory: 4 << 20, ..Limits::default() };
        let error = run(text, may_repeat, limits).end.unwrap_err().to_string();
        assert!(error.contains("memory limit"), "{error}");
    }
}
