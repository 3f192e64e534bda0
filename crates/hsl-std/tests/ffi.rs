//! FFI against the C library: types, memory, ownership, callbacks, streams.

mod support;

use hsl::host::Limits;

fn run(script: &str) -> String {
    let report = support::run_with(script.as_bytes(), Limits::default(), |s| s.ffi = true);
    assert_eq!(report.error, None, "{script}");
    String::from_utf8(report.echoed).unwrap().trim_end().to_owned()
}

fn error_of(script: &str) -> String {
    let script = format!("{LIBRARY}{script}");
    let report = support::run_with(script.as_bytes(), Limits::default(), |s| s.ffi = true);
    report.error.expect("an error")
}

fn run_with_library(script: &str) -> String {
    run(&format!("{LIBRARY}{script}"))
}

const LIBRARY: &str = r#"
$c = FFI("libc.so.6");
$pointer = FFI::type("pointer");
$int = FFI::type("sint32");
$long = FFI::type("sint64");
$size = FFI::type("uint64");
$void = FFI::type("void");
"#;

#[test]
fn strings_and_numbers_become_arguments_and_results_values() {
    let script = r#"
        $strlen = $c->func("strlen", [$pointer], $size);
        echo FFI::number($strlen("hello"));
        $labs = $c->func("labs", [$long], $long);
        echo FFI::number($labs(-7));
        echo FFI::number($labs(FFI::cnumber($long, -9007199254740991)));
        $m = FFI("libm.so.6");
        $pow = $m->func("pow", [FFI::type("double"), FFI::type("double")], FFI::type("double"));
        echo FFI::number($pow(2, 0.5));
        $fabsf = $m->func("fabsf", [FFI::type("float")], FFI::type("float"));
        echo FFI::number($fabsf(-1.5));
        $tolower = $c->func("tolower", [$int], $int);
        echo FFI::number($tolower(65));
    "#;
    let expected = "5\n7\n9007199254740991\n1.4142135623730951\n1.5\n97";
    assert_eq!(run_with_library(script), expected);
}

#[test]
fn null_is_none_and_missing_symbols_are_none() {
    let script = r#"
        $getenv = $c->func("getenv", [$pointer], $pointer);
        echo $getenv("NO_SUCH_VARIABLE_HERE");
        echo $c->func("no_such_function", [], $void);
        echo $c->symbol("no_such_symbol");
        echo is_none($c->symbol("environ"));
        $free = $c->func("free", [$pointer], $void);
        echo $free(none);
        echo FFI::deref(FFI::nullptr());
        echo FFI::number(FFI::nullptr());
    "#;
    let script =
        script.replace("is_none($c->symbol(\"environ\"))", "$c->symbol(\"environ\") === none");
    assert_eq!(run_with_library(&script), "none\nnone\nnone\nfalse\nnone\nnone\n0");
}

#[test]
fn variadic_arguments_are_promoted_as_c_does_it() {
    let script = r#"
        $snprintf = $c->func("snprintf", [$pointer, $size, $pointer, FFI::type("...")], $int);
        $buffer = FFI::allocate(64);
        echo FFI::number($snprintf($buffer, 64, "%d %s %.1f %c %ld",
            FFI::cnumber(FFI::type("sint8"), -5), FFI::cstring("text"),
            FFI::cnumber(FFI::type("float"), 2.5), FFI::cnumber(FFI::type("uint8"), 65),
            FFI::cnumber($long, 5000000000)));
        echo FFI::string($buffer);
    "#;
    assert_eq!(run_with_library(script), "24\n-5 text 2.5 A 5000000000");
}

#[test]
fn memory_is_copied_read_offset_and_dereferenced() {
    let script = r#"
        $m = FFI::allocate(16);
        FFI::memcpy($m, "\x01\x02\x03\x04abc");
        echo FFI::number(FFI::deref($m, FFI::type("uint32")));
        echo FFI::number(FFI::deref($m, FFI::type("uint8")));
        echo FFI::string(FFI::offset($m, 4));
        echo FFI::string(FFI::offset($m, 5), 2);
        $strtol = $c->func("strtol", [$pointer, $pointer, $int], $long);
        $text = FFI::cstring("42rest");
        $end = FFI::nullptr();
        echo FFI::number($strtol($text, FFI::byref($end), 10));
        echo FFI::string($end);
        $n = FFI::cnumber($int, 7);
        echo FFI::number(FFI::deref(FFI::byref($n), $int));
        echo FFI::number64(FFI::cnumber($long, -2));
        echo FFI::number64(FFI::cnumber($size, 4294967297));
    "#;
    assert_eq!(
        run_with_library(script),
        "67305985\n1\nabc\nbc\n42\nrest\n7\n[0=>4294967295,1=>4294967294]\n[0=>1,1=>1]"
    );
}

#[test]
fn c_calls_functions_of_the_script() {
    let script = r#"
        $qsort = $c->func("qsort", [$pointer, $size, $size, $pointer], $void);
        $memory = FFI::allocate(4);
        FFI::memcpy($memory, "dacb");
        $byte = FFI::type("uint8");
        $calls = 0;
        $compare = FFI::callback([$pointer, $pointer], $int,
            function ($a, $b) closure ($byte, $int, $calls) {
                $calls += 1;
                if ($calls == 1) { echo "called"; }
                $a = FFI::number(FFI::deref($a, $byte));
                $b = FFI::number(FFI::deref($b, $byte));
                return FFI::cnumber($int, $a - $b);
            });
        $qsort($memory, 4, 1, $compare);
        echo FFI::string($memory, 4);
        echo $calls > 3;
    "#;
    assert_eq!(run_with_library(script), "called\nabcd\ntrue");
}

#[test]
fn what_a_called_function_does_wrong_is_thrown_when_c_is_back() {
    let sort = |body: &str| {
        format!(
            "$qsort = $c->func(\"qsort\", [$pointer, $size, $size, $pointer], $void);
             $f = FFI::callback([$pointer, $pointer], $int, function ($a, $b) {{ {body} }});
             try {{ $qsort(FFI::allocate(2), 2, 1, $f); }} catch ($e) {{ echo $e->message(); }}"
        )
    };
    let table = [
        ("throw \"stop\";", "stop"),
        ("return 1;", "a function called by C must return an FFI value of type sint32"),
        ("sleep(1);", "a function called by C cannot wait"),
        ("forever { $x = 1; }", "a function called by C takes too long"),
    ];
    for (body, expected) in table {
        let said = run_with_library(&sort(body));
        assert!(said.contains(expected), "{body}: {said}");
    }
}

#[test]
fn ownership_is_taken_and_given_up() {
    let script = r#"
        $strdup = $c->func("strdup", [$pointer], $pointer);
        for ($i = 0; $i < 1000; $i += 1) { $copy = FFI::attach($strdup("x" * 100)); }
        echo length(FFI::string($copy));
        $free = $c->func("free", [$pointer], $void);
        $copy = FFI::attach($strdup("y"), $free);
        echo FFI::string($copy);
        $mine = FFI::allocate(8);
        FFI::memcpy($mine, "given");
        $free(FFI::detach($mine));
        $whole = FFI::cstring("kept alive");
        $part = FFI::offset($whole, 5);
        $whole = none;
        echo FFI::string($part);
        $again = FFI::attach(FFI::attach($strdup("once")));
        echo FFI::string($again);
    "#;
    assert_eq!(run_with_library(script), "100\ny\nalive\nonce");
}

#[test]
fn a_file_is_a_seekable_stream_with_its_present_content_and_position() {
    let script = r#"
        $f = File::String("line one\nline two\nend");
        $f->readline();
        $stream = $f->toFFIValue();
        $ftell = $c->func("ftell", [$pointer], $long);
        $fgets = $c->func("fgets", [$pointer, $int, $pointer], $pointer);
        $fseek = $c->func("fseek", [$pointer, $long, $int], $int);
        echo FFI::number($ftell($stream));
        $buffer = FFI::allocate(100);
        $fgets($buffer, 100, $stream);
        echo FFI::string($buffer);
        echo FFI::number($fseek($stream, -3, 2)) . " " . FFI::number($ftell($f->toFFIValue()));
        $fgets($buffer, 100, $stream);
        echo FFI::string($buffer);
        echo $fgets($buffer, 100, $stream);
        echo $f->tell();
        $f->close();
        echo $f->toFFIValue();
        $fseek($stream, 0, 0);
        $fgets($buffer, 100, $stream);
        echo FFI::string($buffer);
    "#;
    let expected = "9\nline two\n\n0 18\nend\nnone\n9\nnone\nline one";
    assert_eq!(run_with_library(script), expected);
}

#[test]
fn mistakes_that_are_seen_are_errors() {
    let table = [
        ("FFI(\"no-such-library.so\");", "FFI cannot open the library"),
        ("FFI::type(\"int\");", "does not know the type \"int\""),
        ("FFI::cnumber($pointer, 1);", "makes no pointer"),
        ("FFI::string(FFI::nullptr());", "cannot follow a NULL pointer"),
        ("FFI::memcpy(FFI::allocate(2), \"abc\");", "beyond the allocated memory"),
        ("FFI::string(FFI::allocate(2), 3);", "beyond the allocated memory"),
        ("FFI::string(FFI::offset(FFI::allocate(2), -1), 1);", "beyond the allocated memory"),
        ("FFI::deref(FFI::cnumber($int, 1));", "needs a pointer, sint32 given"),
        ("FFI::deref(FFI::allocate(8), $void);", "needs a type with a size"),
        ("$f = $c->func(\"labs\", [$long], $long); $f();", "expects 1 arguments, 0 given"),
        ("$f = $c->func(\"labs\", [$long], $long); $f(\"x\");", "must be sint64, string given"),
        ("$f = $c->func(\"labs\", [$long], $long); $f(FFI::nullptr());", "type sint64, pointer"),
        ("$c->func(\"labs\", [$void], $long);", "void is no argument"),
        ("$c->func(\"f\", [FFI::type(\"...\"), $int], $long);", "must be the last one"),
        ("FFI::attach(FFI::nullptr(), function () {});", "needs a function of a library"),
        ("FFI::allocate(-1);", "needs a size"),
        ("FFI::callback([$void], $int, function () {});", "numbers and pointers only"),
    ];
    for (script, expected) in table {
        let error = error_of(script);
        assert!(error.contains(expected), "{script}: {error}");
    }
    let limits = Limits { memory: 1 << 20, ..Limits::default() };
    let report = support::run_with(b"FFI::allocate(2000000);", limits, |s| s.ffi = true);
    assert!(report.error.unwrap().contains("memory"));
}

#[test]
fn certificates_and_sockets_are_values_of_c() {
    let script = r#"
        import $list from "rsa.crt";
        $crypto = FFI("libcrypto.so.3");
        $version = $crypto->func("X509_get_version", [$pointer], $long);
        $value = $list[0]->toFFIValue();
        echo FFI::number($version($value)) + 1 == $list[0]->version();
        $socket = Socket("AF_UNIX", "SOCK_STREAM");
        $fcntl = $c->func("fcntl", [$int, $int], $int);
        echo FFI::number($fcntl($socket->toFFIValue(), 1)) >= 0;
        $socket->close();
        echo $socket->toFFIValue() === none;
    "#;
    assert_eq!(run_with_library(script), "true\ntrue\ntrue");
}
