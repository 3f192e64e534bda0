//! Speed of the machine on the work that scripts do most.

use std::sync::Arc;

use hsl::host::{Limits, Registry};
use hsl::{Compiler, Program, Setup, Step, Vm};

fn main() {
    divan::main();
}

fn compile(text: &str) -> Arc<Program> {
    let host = Registry::new().freeze();
    Compiler::new(&host)
        .compile("bench", "bench.hsl", text.as_bytes())
        .expect("the script compiles")
}

fn run(program: &Arc<Program>) {
    let limits = Limits { memory: 1 << 30, ..Limits::default() };
    let mut vm = Vm::new(program, Setup { limits, ..Setup::default() });
    loop {
        match vm.run(1_000_000) {
            Step::OutOfFuel => {}
            Step::Done(_) => return,
            Step::Threw(error) => panic!("{error}"),
            _ => panic!("the script neither waits nor exits"),
        }
    }
}

macro_rules! scripts {
    ($($name:ident = $text:expr;)*) => {
        $(
            #[divan::bench(sample_count = 10, sample_size = 1)]
            fn $name(bencher: divan::Bencher) {
                let program = compile($text);
                bencher.bench(|| run(&program));
            }
        )*
    };
}

scripts! {
    fib_27 = "function fib($n) { if ($n < 2) return $n; return fib($n - 1) + fib($n - 2); } fib(27);";
    calls_1e6 = "function f($a, $b) { return $a; } for ($i = 0; $i < 1000000; $i += 1) f($i, 1);";
    methods_1e6 = "class C { constructor() { $this->n = 0; } function inc($by) { $this->n += $by; } }
        $c = C(); for ($i = 0; $i < 1000000; $i += 1) $c->inc(1);";
    properties_1e6 = "class P { constructor() { $this->x = 1; $this->y = 2; $this->z = 3; } }
        $p = P(); $s = 0; for ($i = 0; $i < 1000000; $i += 1) { $s = $s + $p->x + $p->z; $p->y = $s; }";
    string_append_1e6 = "$s = \"\"; for ($i = 0; $i < 1000000; $i += 1) $s .= \"abc\";";
    string_build_1e6 = "$t = 0; for ($i = 0; $i < 1000000; $i += 1) { $s = \"key$i: \" . $i . \"\\r\\n\"; $t += 1; }";
    array_push_1e6 = "$a = []; for ($i = 0; $i < 1000000; $i += 1) $a[] = $i;
        $s = 0; foreach ($a as $v) $s += $v;";
    array_keys_1e6 = "$a = []; for ($i = 0; $i < 1000000; $i += 1) $a[\"k\" . $i % 1000] = $i;";
    loop_1e7 = "$s = 0; for ($i = 0; $i < 10000000; $i += 1) { if ($i % 3 == 0) $s += $i; }";
    one_empty_execution = "";
}
