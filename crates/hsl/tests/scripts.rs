//! Runs every script below `tests/scripts` and compares what it prints with its header.
//!
//! The header is the comment lines at the top: `//> text` is a line that the script must print,
//! `//! text` says that it must end with an error whose message and place contain the text.
//! `//* name` starts another file of the test, which the script imports as `name`.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use hsl::host::{Limits, NativeStep, Registry};
use hsl::module::{ImportKind, ImportRequest, Loaded, ModuleLoader};
use hsl::shared_memory::SharedMemory;
use hsl::{Compiler, Setup, Step, Value, Vm};
use parking_lot::Mutex;

/// The other files of a test.
struct Files(HashMap<String, String>);

impl ModuleLoader for Files {
    fn load(&self, request: &ImportRequest<'_>) -> Result<Loaded, String> {
        let path = String::from_utf8_lossy(request.path).into_owned();
        let text = self.0.get(&path).ok_or("no such file")?;
        match request.kind {
            ImportKind::Data => Ok(Loaded::Data(Value::from(text.trim_end()))),
            _ => Ok(Loaded::Script {
                identity: path.clone(),
                name: path,
                text: text.clone().into_bytes(),
            }),
        }
    }
}

/// The few functions that tests of the language need.
fn host() -> Arc<hsl::host::HostSet> {
    let mut registry = Registry::new();
    registry
        .function("exit(any value) -> none", "ends the script", |_, args| {
            NativeStep::exit(args[0].take())
        })
        .function("wait(any value) -> any", "waits, then gives its argument", |_, args| {
            let value = args[0].take();
            NativeStep::suspend(async move { Ok(value) })
        })
        .function("apply(function f, any ...values) -> any", "calls f", |_, args| {
            let function = args[0].clone();
            let values: Vec<Value> = args[1..].to_vec();
            NativeStep::call(function, values, |_, value| NativeStep::Return(value))
        })
        .function("typed(string s, number n = 7 [, array a])", "checks its arguments", |_, args| {
            Value::list(args.iter().cloned())
        })
        .class("Box", "holds a value", |class| {
            class
                .constructor("Box(any value)", "makes a box", |context, args| {
                    context.new_object(Mutex::new(args[0].take()))
                })
                .method("get()", "the value", |context, _| {
                    Ok(context.state_of_this::<Mutex<Value>>()?.lock().clone())
                })
                .static_function("of(any value)", "makes a box", |context, args| {
                    context.new_object(Mutex::new(args[0].take()))
                });
        })
        .module("extras://tools", |module| {
            module.function("twice(number n) -> number", "twice n", |_, args| {
                Value::Number(args[0].as_number().unwrap_or(0.0) * 2.0)
            });
        });
    registry.freeze()
}

fn run(path: &Path) -> datatest_stable::Result<()> {
    let text = std::fs::read_to_string(path)?;
    let mut expected = Vec::new();
    let mut error = None;
    for line in text.lines() {
        if let Some(line) = line.strip_prefix("//>") {
            expected.push(line.strip_prefix(' ').unwrap_or(line).to_owned());
        } else if let Some(line) = line.strip_prefix("//!") {
            error = Some(line.trim().to_owned());
        } else if !line.starts_with("//") || line.starts_with("//*") {
            break;
        }
    }
    let mut parts = text.split("//* ");
    let main = parts.next().unwrap_or_default();
    let files = parts
        .filter_map(|part| part.split_once('\n'))
        .map(|(name, text)| (name.trim().to_owned(), text.to_owned()))
        .collect();
    let files = Files(files);
    // In pieces, which end in every place there is, and in one go, where calls nest in each other.
    for slice in [3, 1_000_000] {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let outcome = execute(main, &files, &lines, slice);
        let printed = lines.lock().clone();
        let at = format!("in slices of {slice}");
        match (&error, outcome) {
            (None, Err(message)) => {
                return Err(format!("{message} {at}\nprinted: {printed:#?}").into());
            }
            (Some(wanted), Err(message)) if !message.contains(wanted) => {
                return Err(format!("error is {message:?} {at}, should contain {wanted:?}").into());
            }
            (Some(wanted), Ok(())) => {
                return Err(format!("no error {at}, should be {wanted:?}").into());
            }
            _ => {}
        }
        if printed != expected {
            return Err(format!("printed {printed:#?} {at}\nshould be {expected:#?}").into());
        }
    }
    Ok(())
}

fn execute(
    text: &str,
    files: &Files,
    lines: &Arc<Mutex<Vec<String>>>,
    slice: u64,
) -> Result<(), String> {
    let host = host();
    let compiler = Compiler::new(&host)
        .with_loader(files)
        .with_read_only("transaction")
        .with_yielding("sender")
        .with_writable("context");
    let program =
        compiler.compile("main", "main.hsl", text.as_bytes()).map_err(|error| error.to_string())?;
    let sink = Arc::clone(lines);
    let mut vm = Vm::new(
        &program,
        Setup {
            limits: Limits { depth: 100, memory: 8 << 20, ..Limits::default() },
            echo: Box::new(move |text: &[u8]| {
                sink.lock().push(String::from_utf8_lossy(text).into_owned());
            }),
            shared_memory: SharedMemory::with_limit(1 << 20),
            variables: vec![
                ("transaction", Value::map([("id", Value::from("t1"))])),
                ("sender", Value::from("given")),
            ],
            ..Setup::default()
        },
    );
    for _ in 0..2_000_000 {
        match vm.run(slice) {
            Step::Done(_) => return Ok(()),
            Step::Exited(value) => {
                let value = value.downcast::<Value>().map_err(|_| "exited with something else")?;
                lines.lock().push(format!("exit {value:?}"));
                return Ok(());
            }
            Step::Threw(error) => {
                let way = error.way().map(|way| format!("; {way}")).unwrap_or_default();
                return Err(format!("{error}{way}"));
            }
            Step::Suspended(future) => {
                let mut future = future;
                let mut context = std::task::Context::from_waker(std::task::Waker::noop());
                match future.as_mut().poll(&mut context) {
                    std::task::Poll::Ready(result) => vm.resume(result),
                    std::task::Poll::Pending => return Err("waits forever".to_owned()),
                }
            }
            Step::OutOfFuel => {}
        }
    }
    Err("the script does not end".to_owned())
}

datatest_stable::harness! {
    { test = run, root = "tests/scripts", pattern = r"\.hsl$" },
}
