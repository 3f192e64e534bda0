//! Runs scripts over inputs, for the targets of what scripts may call.
//!
//! A script throws a text with `promise` in it when one is broken; any other error is the right of
//! the function that was called.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use hsl::host::{Limits, Registry};
use hsl::{Compiler, Program, Setup, Value, Vm};
use hsl_std::{Outcome, Services, drive};

/// Compiles `text` with the whole library; `variables` are what [`run`] will give it.
pub(crate) fn compile(
    services: &Services,
    more: impl FnOnce(&mut Registry),
    variables: &[&str],
    text: &str,
) -> Arc<Program> {
    let mut registry = Registry::new();
    hsl_std::register(&mut registry, services);
    more(&mut registry);
    let host = registry.freeze();
    let compiler = Compiler::new(&host);
    let compiler = variables.iter().fold(compiler, |compiler, name| compiler.with_read_only(name));
    compiler.compile("fuzz", "fuzz", text.as_bytes()).unwrap_or_else(|error| panic!("{error}"))
}

/// Runs a program to its end, which must come soon and without a broken promise.
pub(crate) fn run(
    program: &Arc<Program>,
    variables: Vec<(&'static str, Value)>,
    states: Vec<Box<dyn Any + Send>>,
) {
    let setup = Setup {
        limits: Limits { memory: 16 << 20, ..Limits::default() },
        variables,
        states,
        ..Setup::default()
    };
    let mut vm = Vm::new(program, setup);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let ending = runtime.expect("a runtime").block_on(async {
        tokio::time::timeout(PATIENCE, drive(&mut vm, 10_000, None, || {})).await
    });
    let ending = ending.expect("does not come to an end");
    if let Outcome::Failed(error) = ending {
        let text = error.diagnostic().message();
        assert!(!text.contains("promise"), "{text}");
    }
}

const PATIENCE: Duration = Duration::from_secs(10);
