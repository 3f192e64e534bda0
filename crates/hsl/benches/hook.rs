//! What a hook of ten lines costs from call to verdict: making the machine from a compiled program,
//! running it, dropping it. The aim is 5 microseconds. Ending the script by a native function, as
//! `Accept()` does, is part of it.

use std::sync::Arc;

use hsl::host::{NativeStep, Registry};
use hsl::{Compiler, Program, Setup, Step, Value, Vm};

const HOOK: &str = r#"
$domain = "example.com";
$length = 0;
$score = 0;
foreach (["list", "bulk", "news"] as $word)
	if ($word == $tag) $score += 2;
$key = "rcpt:" . $domain;
if ($score > 5) Reject("no thanks: $key");
$limits = ["example.com" => 10, "example.net" => 20];
if (($limits[$domain] ?? 0) < $score) Reject("too much");
Accept();
"#;

fn program() -> Arc<Program> {
    let mut registry = Registry::new();
    registry.function("Accept() -> none", "ends the script", |_, _| NativeStep::exit(true));
    registry.function("Reject(string reason) -> none", "ends the script", |_, _| {
        NativeStep::exit(false)
    });
    let host = registry.freeze();
    Compiler::new(&host)
        .with_read_only("tag")
        .compile("hook", "hook.hsl", HOOK.as_bytes())
        .expect("the script compiles")
}

#[divan::bench]
fn ten_lines_from_call_to_verdict(bencher: divan::Bencher) {
    let program = program();
    let memory = Setup::default();
    let (shared_memory, cache) = (memory.shared_memory, memory.cache);
    bencher.bench(|| {
        let setup = Setup {
            shared_memory: Arc::clone(&shared_memory),
            cache: Arc::clone(&cache),
            variables: vec![("tag", Value::from("news"))],
            ..Setup::default()
        };
        let mut vm = Vm::new(&program, setup);
        assert!(matches!(vm.run(1_000_000), Step::Exited(_)));
    });
}

fn main() {
    divan::main();
}
