//! What scripts that wait cost the others: a hook runs while so many executions are parked. The aim
//! is the same time with none and with 100,000, and at most 4 KiB for each of them, which `memory`
//! prints.

use std::sync::Arc;

use hsl::host::{NativeStep, Registry};
use hsl::{Compiler, Program, Setup, Step, Value, Vm};

/// Waits in a function call with a few variables, as a hook that asks a directory does.
const HOOK: &str = r#"
function lookup($domain, $port, $waits) {
	$key = "host:" . $domain . ":" . $port;
	$found = [$key];
	if ($waits) wait();
	return $found;
}
$domain = "example.com";
$hosts = lookup($domain, 25, $waits);
$score = 0;
foreach ($hosts as $host) $score += length($host);
"#;

fn program() -> Arc<Program> {
    let mut registry = Registry::new();
    registry.function("wait() -> none", "waits for ever", |_, _| {
        NativeStep::suspend(std::future::pending())
    });
    registry.function("length(string text) -> number", "octets of a text", |_, args| {
        args[0].as_bytes().map_or(0, <[u8]>::len)
    });
    let host = registry.freeze();
    Compiler::new(&host)
        .with_read_only("waits")
        .compile("hook", "hook.hsl", HOOK.as_bytes())
        .expect("the script compiles")
}

fn start(program: &Arc<Program>, stores: &Setup, waits: bool) -> (Vm, Step) {
    let setup = Setup {
        shared_memory: Arc::clone(&stores.shared_memory),
        cache: Arc::clone(&stores.cache),
        variables: vec![("waits", Value::Bool(waits))],
        ..Setup::default()
    };
    let mut vm = Vm::new(program, setup);
    let step = vm.run(1_000_000);
    (vm, step)
}

/// Parks executions; the future that each waits for stays with it.
fn park(program: &Arc<Program>, stores: &Setup, count: usize) -> Vec<(Vm, Step)> {
    let parked: Vec<_> = (0..count).map(|_| start(program, stores, true)).collect();
    assert!(parked.iter().all(|(_, step)| matches!(step, Step::Suspended(_))));
    parked
}

#[divan::bench(args = [0, 100_000])]
fn one_hook_beside(bencher: divan::Bencher, count: usize) {
    let (program, stores) = (program(), Setup::default());
    let parked = park(&program, &stores, count);
    bencher.bench_local(|| assert!(matches!(start(&program, &stores, false).1, Step::Done(_))));
    drop(parked);
}

/// Returns the octets that the process has in memory, as Linux counts them.
fn resident() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().trim_end_matches("kB").trim().parse::<usize>().ok()? * 1024)
}

fn main() {
    const COUNT: usize = 100_000;
    let (program, stores) = (program(), Setup::default());
    let before = resident();
    let parked = park(&program, &stores, COUNT);
    if let (Some(before), Some(after)) = (before, resident()) {
        println!("memory: {} octets for each parked script", (after - before) / COUNT);
    }
    drop(parked);
    divan::main();
}
