//! Scripts that try to bring the compiler or the machine down: every one ends with an error or a
//! value, never with a panic or an exhausted stack.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hsl::host::{HostSet, Limits, Registry};
use hsl::shared_memory::SharedMemory;
use hsl::{Compiler, Setup, Step, Vm};

/// A host whose objects of class `Counted` are counted while they live.
fn counting(alive: &'static AtomicUsize) -> Arc<HostSet> {
    struct Counted(&'static AtomicUsize);
    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::SeqCst);
        }
    }
    let mut registry = Registry::new();
    registry.class("Counted", "counts itself", |class| {
        class.constructor("Counted()", "makes one", move |context, _| {
            alive.fetch_add(1, Ordering::SeqCst);
            context.new_object(Counted(alive))
        });
    });
    registry.freeze()
}

/// Compiles and runs; returns the error, if any.
fn run(text: &str) -> Result<(), String> {
    let host = Registry::new().freeze();
    let program = Compiler::new(&host)
        .compile("main", "main.hsl", text.as_bytes())
        .map_err(|error| error.to_string())?;
    let mut vm = Vm::new(
        &program,
        Setup {
            limits: Limits { depth: 256, memory: 16 << 20, ..Limits::default() },
            ..Setup::default()
        },
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
    static ALIVE: AtomicUsize = AtomicUsize::new(0);
    let host = counting(&ALIVE);
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

#[test]
fn objects_that_executions_share_do_not_grow_without_end() {
    static ALIVE: AtomicUsize = AtomicUsize::new(0);
    let host = counting(&ALIVE);
    // Each has a name of its own, is small when it is stored, and is known by two names.
    let text = r#"class Node {}
        barrier $n => $v { $v = Node(); barrier "$n again" => $w { $w = $v; } }
        barrier $n => $v { $v->counted = Counted(); $v->text = "x" * 100000 . $n; $v = none; }"#;
    let program = Compiler::new(&host)
        .with_read_only("n")
        .compile("main", "main.hsl", text.as_bytes())
        .unwrap();
    let memory = SharedMemory::with_limit(1 << 20);
    let mut errors = Vec::new();
    for n in 0..200 {
        let setup = Setup {
            shared_memory: Arc::clone(&memory),
            variables: vec![("n", hsl::Value::from(format!("key{n}")))],
            ..Setup::default()
        };
        let mut vm = Vm::new(&program, setup);
        loop {
            match vm.run(100_000) {
                Step::OutOfFuel => {}
                Step::Threw(error) => break errors.push(error.to_string()),
                _ => break,
            }
        }
        drop(vm);
        assert!(memory.octets() <= 1 << 20);
        assert!(ALIVE.load(Ordering::SeqCst) <= 12, "{}", ALIVE.load(Ordering::SeqCst));
    }
    let first = errors.first().expect("an error");
    assert!(
        first.contains("shared memory limit of 1048576 bytes exceeded: the value of"),
        "{first}"
    );
    assert!(first.contains(" in main.hsl on line 3, column "), "{first}");
}

#[test]
fn circles_are_freed_beside_what_is_shared() {
    static ALIVE: AtomicUsize = AtomicUsize::new(0);
    let host = counting(&ALIVE);
    // A circle that only globals know, one of a function, one behind an array; and one that is shared, by
    // a function that changes what it captured and a variable of the script.
    let text = r#"class Node { constructor() { $this->self = [$this]; $this->c = Counted(); } }
        function f() { $x = Counted(); $g = none; $g = function () closure ($g, $x) {}; $n = Node(); }
        f(); f();
        $h = function () closure ($h) { global $kept; }; $kept = Node();
        barrier "shared" => $next {
            if (isset($next)) { $number = $next(); if ($number != $expected) throw $number; }
            else {
                $count = 0; $other = Node(); $other->other = Node(); $other->other->back = $other;
                $next = function () closure ($count, $other) {
                    global $step;
                    $count += $step;
                    return isset($other->other->back->c) ? $count : "emptied";
                };
            }
        }
        $step = 1;
        barrier "replaced" => $v { $v = Node(); }"#;
    let program = Compiler::new(&host)
        .with_read_only("expected")
        .compile("main", "main.hsl", text.as_bytes())
        .unwrap();
    let memory = SharedMemory::new();
    for n in 0..50 {
        let setup = Setup {
            shared_memory: Arc::clone(&memory),
            variables: vec![("expected", hsl::Value::from(n))],
            ..Setup::default()
        };
        let mut vm = Vm::new(&program, setup);
        loop {
            match vm.run(1_000) {
                Step::OutOfFuel => {}
                Step::Done(_) => break,
                Step::Threw(error) => panic!("{error}"),
                _ => unreachable!("nothing waits"),
            }
        }
        drop(vm);
        // The shared circle of two, and the node among the variables of the script that made it; the node
        // that took the place of another one, and with it the variables of its script.
        let of_the_last = if n == 0 { 1 } else { 2 };
        assert_eq!(ALIVE.load(Ordering::SeqCst), 3 + of_the_last, "after {n}");
    }
    let owner = memory.new_owner();
    for name in ["shared", "replaced"] {
        memory.try_with(name.as_bytes(), owner, |place| place.take());
    }
    memory.let_go(owner);
    assert_eq!(ALIVE.load(Ordering::SeqCst), 0);
}

#[test]
fn a_script_takes_as_many_steps_as_it_may_however_they_are_sliced() {
    let host = Registry::new().freeze();
    let end = |text: &str, slice: u64| {
        let program = Compiler::new(&host).compile("main", "main.hsl", text.as_bytes()).unwrap();
        let limits = Limits { fuel: Some(1_000), ..Limits::default() };
        let mut vm = Vm::new(&program, Setup { limits, ..Setup::default() });
        loop {
            match vm.run(slice) {
                Step::Done(value) => return Ok(value.as_number()),
                Step::Threw(error) => return Err(error.to_string()),
                Step::OutOfFuel => {}
                _ => panic!("neither done nor failed"),
            }
        }
    };
    for slice in [1, 7, 999, 1_000, u64::MAX] {
        let below = "$n = 0; while ($n < 900) $n += 1; return $n;";
        assert_eq!(end(below, slice), Ok(Some(900.0)), "{slice}");
        for (text, line) in [
            ("\nforever {}", 2),
            ("forever {\n try { forever {} } catch ($e) {}\n}", 2),
            ("function f() { return 1; }\n$n = 0;\nwhile ($n < 700) { $n += f(); }", 3),
        ] {
            let error = end(text, slice).unwrap_err();
            assert!(error.contains("fuel limit of 1000 steps exceeded"), "{slice}: {error}");
            assert!(error.contains(&format!("on line {line}")), "{slice}: {error}");
        }
    }
}
