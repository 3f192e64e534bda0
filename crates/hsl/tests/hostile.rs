//! Scripts that try to bring the compiler or the machine down: every one ends with an error or a
//! value, never with a panic or an exhausted stack.

use std::sync::Arc;

use hsl::host::{Limits, Registry};
use hsl::{Compiler, Setup, Step, Vm};

/// Compiles and runs; returns the error, if any.
fn run(text: &str) -> Result<(), String> {
    let host = Registry::new().freeze();
    let program = Compiler::new(&host)
        .compile("main", "main.hsl", text.as_bytes())
        .map_err(|error| error.to_string())?;
    let mut vm = Vm::new(
        &program,
        Setup { limits: Limits { depth: 256, memory: 16 << 20 }, ..Setup::default() },
    );
    for _ in 0..20 {
        match vm.run(100_000) {
            Step::Done(_) => return Ok(()),
            Step::Threw(error) => return Err(error.to_string()),
            Step::OutOfFuel => {}
            _ => return Err("neither done nor failed".to_owned()),
        }
    }
    Err("out of fuel".to_owned())
}

#[test]
fn deep_syntax_is_compiled_or_refused() {
    for depth in [50, 200, 250, 1_000, 100_000] {
        for (open, middle, close) in [
            ("(", "1", ")"),
            ("[", "$x", "]"),
            ("-", "$x", ""),
            ("function () { return ", "1", "; }"),
            ("$x ? 1 : ", "2", ""),
            ("$a[", "0", "]"),
        ] {
            let text = format!(
                "$x = 1; $a = []; $y = {}{middle}{};",
                open.repeat(depth),
                close.repeat(depth)
            );
            let _ = run(&text);
        }
        let _ = run(&format!("{}{}", "if (true) { ".repeat(depth), "}".repeat(depth)));
    }
}

#[test]
fn long_chains_are_fine() {
    let sum = vec!["$x"; 20_000].join(" + ");
    assert_eq!(run(&format!("$x = 1; $y = {sum};")), Ok(()));
    let text = vec!["$x"; 20_000].join(" . ");
    assert_eq!(run(&format!("$x = 1; $y = {text};")), Ok(()));
    let interpolated = "$x ".repeat(20_000);
    assert_eq!(run(&format!("$x = 1; $y = \"{interpolated}\";")), Ok(()));
    let items = "$x, ".repeat(20_000);
    assert_eq!(run(&format!("$x = 1; $y = [{items}];")), Ok(()));
    assert_eq!(run(&format!("function f(...$a) {{}} $x = 1; f({items});")), Ok(()));
}

#[test]
fn many_variables_are_fine_at_the_top_level_and_refused_in_functions() {
    let assigns: String = (0..2_000).map(|n| format!("$v{n} = {n}; ")).collect();
    assert_eq!(run(&format!("{assigns} if ($v1999 !== 1999) throw 1;")), Ok(()));
    let refused = run(&format!("function f() {{ {assigns} }}"));
    assert!(refused.unwrap_err().contains("too many variables"));
}

#[test]
fn deep_values_are_handled_without_recursion() {
    let keys = "$a = []; for ($i = 0; $i < 30000; $i++) { $b = []; $b[$a] = 1; $a = $b; }";
    assert_eq!(run(keys), Ok(()));
    let nest = "$a = []; for ($i = 0; $i < 60000; $i++) { $a = [$a]; }";
    assert_eq!(run(nest), Ok(()));
    let compare =
        format!("{nest} $b = $a; $b[1] = 2; $c = $a == $b; $d = \"$a\"; $k = []; $k[$a] = 1;");
    assert_eq!(run(&compare), Ok(()));
    let chain = "class N { constructor($n) { $this->n = $n; } } $l = none;
        for ($i = 0; $i < 30000; $i++) $l = N($l);";
    assert_eq!(run(chain), Ok(()));
    let closures = "$f = none; for ($i = 0; $i < 30000; $i++) {
        $f = function ($g) { return function () closure ($g) { return $g; }; }($f); }";
    assert_eq!(run(closures), Ok(()));
}

#[test]
fn endless_work_ends_at_a_limit() {
    for text in [
        "forever {}",
        "function f() { f(); } f();",
        "$s = \"x\"; forever $s .= $s;",
        "$a = [1]; forever $a += $a;",
        "$a = [1]; forever $a = [$a, $a];",
        "$a = []; forever $a = $a * 2 + [1, 2];",
        "class C { constructor() { $this->c = C(); } } C();",
        "$f = function () closure ($f) { return $f(); }; $f();",
        "$o = []; forever $o[][] = 1;",
        "$s = \"%65536s\" * 100; forever $t = ($s . \"\");",
    ] {
        assert!(run(text).is_err(), "{text}");
    }
}

#[test]
fn references_in_a_circle_are_freed_at_the_end() {
    use std::sync::atomic::{AtomicUsize, Ordering};

    static ALIVE: AtomicUsize = AtomicUsize::new(0);
    struct Counted;
    impl Drop for Counted {
        fn drop(&mut self) {
            ALIVE.fetch_sub(1, Ordering::SeqCst);
        }
    }
    let mut registry = Registry::new();
    registry.class("Counted", "counts itself", |class| {
        class.constructor("Counted()", "makes one", |context, _| {
            ALIVE.fetch_add(1, Ordering::SeqCst);
            context.new_object(Counted)
        });
    });
    let host = registry.freeze();
    let text = "class Node { constructor() { $this->self = $this; $this->c = Counted(); } }
        function f() { $x = Counted(); $g = none; $g = function () closure ($g, $x) {}; $n = Node(); }
        for ($i = 0; $i < 10; $i++) f();
        $h = function () closure ($h) { global $kept; }; $kept = Node();";
    let program = Compiler::new(&host).compile("main", "main.hsl", text.as_bytes()).unwrap();
    let mut vm = Vm::new(&program, Setup::default());
    while let Step::OutOfFuel = vm.run(1_000) {}
    drop(vm);
    assert_eq!(ALIVE.load(Ordering::SeqCst), 0);
    assert_eq!(Arc::strong_count(&program), 1);
}
