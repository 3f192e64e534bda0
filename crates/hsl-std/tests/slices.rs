//! Work whose length an argument decides gives the thread back in between.

use hsl::host::Registry;
use hsl::{Compiler, Setup, Step, Vm};
use hsl_std::DEFAULT_FUEL;
use hsl_std::services::Services;

/// How often a script gave the thread back before it ended.
fn slices(text: &str) -> usize {
    let mut registry = Registry::new();
    hsl_std::register(&mut registry, &Services::default());
    let host = registry.freeze();
    let program = Compiler::new(&host).compile("file:test.hsl", "test.hsl", text.as_bytes());
    let mut vm = Vm::new(&program.expect("a script"), Setup::default());
    let mut count = 0;
    loop {
        match vm.run(DEFAULT_FUEL) {
            Step::Done(_) => return count,
            Step::OutOfFuel => count += 1,
            _ => panic!("the script did not come to its end"),
        }
    }
}

#[test]
fn parts_within_parts_are_paid_for_at_each_level() {
    let chain = |levels: usize| {
        format!(
            "$m = MIME()->setBody(str_repeat(\"x\", 3000000));
            for ($i = 0; $i < {levels}; $i++) $m = MIME()->appendPart($m);"
        )
    };
    let one = slices(&chain(1));
    // The others copy 300 MB or so.
    assert!(slices(&chain(100)) > one + 50);
}
