//! Tests of the parser as a whole: hostile nesting, long chains, places and limits.
//!
//! What a piece of syntax means is tested in `tests/syntax/`.

use super::*;
use crate::ast::{ExprKind, StmtKind};
use crate::source::SourceMap;

fn parse_text(text: &str) -> Result<Script, Diagnostic> {
    let file = SourceMap::new().add("t", None, text.into());
    parse(&file, &mut Interner::new(), &Limits::default())
}

fn parse_expr(text: &str) -> Expr {
    let script = parse_text(&format!("{text};")).unwrap_or_else(|error| panic!("{text}: {error}"));
    match script.body.into_iter().next().map(|stmt| stmt.kind) {
        Some(StmtKind::Expr(expr)) => expr,
        other => panic!("{text}: {other:?}"),
    }
}

/// Runs `test` with a stack as small as a careful host might give.
fn on_a_small_stack(test: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().stack_size(SMALL_STACK).spawn(test);
    thread.expect("a thread").join().expect("no panic");
}

/// The stack of a tokio worker, and of a test; optimized, a third of it must do.
const SMALL_STACK: usize = if cfg!(debug_assertions) { 2048 << 10 } else { 640 << 10 };

/// Pieces that nest: what opens, what stands innermost, what closes.
const NESTING: &[(&str, &str, &str)] = &[
    ("(", "1", ")"),
    ("1 + (", "1", ")"),
    ("[", "1", "]"),
    ("array(", "1", ")"),
    ("[1 => ", "1", "]"),
    ("f(", "1", ")"),
    ("$a[", "1", "]"),
    ("$a[1:", "1", "]"),
    ("!", "1", ""),
    ("- ", "1", ""),
    ("not ", "1", ""),
    ("2 ** ", "1", ""),
    ("$a = ", "1", ""),
    ("$a ? 1 : ", "1", ""),
    ("$a ?: ", "1", ""),
    ("$a ? ", "1", " : 1"),
    ("[...", "$a", "]"),
    ("isset($a[", "1", "])"),
    ("match (", "1", ") { default => 1 }"),
    ("match (1) { default => ", "1", " }"),
    ("cache [] f(", "1", ")"),
    ("cache [", "", "] f()"),
    ("function () { return ", "1", "; }"),
    ("1 or 1 and 1 == 1 | 1 ^ 1 & 1 << 1 . 1 + 1 * 1 ** (", "1", ")"),
];

const NESTING_STATEMENTS: &[(&str, &str, &str)] = &[
    ("{", "", "}"),
    ("if (1) ", ";", ""),
    ("if (1) {} else { ", ";", "}"),
    ("if (1) {", ";", "} else if (2) {}"),
    ("while (1) ", ";", ""),
    ("forever ", ";", ""),
    ("for (;;) ", ";", ""),
    ("foreach ($a as $b) ", ";", ""),
    ("switch (1) { default: ", "", "}"),
    ("try { ", "", "} catch ($e) {}"),
    ("barrier 1 { ", "", "}"),
    ("function f() { ", "", "}"),
    ("class A { function f() { ", "", "} }"),
    ("echo function () { ", "", "};"),
];

fn nested(depth: usize, (open, inner, close): (&str, &str, &str), end: &str) -> String {
    format!("{}{inner}{}{end}", open.repeat(depth), close.repeat(depth))
}

#[test]
fn nesting_without_end_is_an_error_and_no_stack_overflow() {
    on_a_small_stack(|| {
        let cases = NESTING.iter().map(|&piece| (piece, ";"));
        let cases = cases.chain(NESTING_STATEMENTS.iter().map(|&piece| (piece, "")));
        for (piece, end) in cases {
            for text in [nested(100_000, piece, end), piece.0.repeat(100_000)] {
                let error = parse_text(&text).expect_err(piece.0);
                assert_eq!(error.message(), "nested deeper than 256 levels", "{}", piece.0);
            }
        }
    });
}

#[test]
fn nesting_up_to_the_limit_fits_a_small_stack() {
    on_a_small_stack(|| {
        let cases = NESTING.iter().map(|&piece| (piece, ";"));
        let cases = cases.chain(NESTING_STATEMENTS.iter().map(|&piece| (piece, "")));
        for (piece, end) in cases {
            // The deepest that is taken; found by halving, since pieces count differently.
            let (mut good, mut bad) = (1, 300);
            while bad - good > 1 {
                let middle = usize::midpoint(good, bad);
                match parse_text(&nested(middle, piece, end)) {
                    Ok(_) => good = middle,
                    Err(_) => bad = middle,
                }
            }
            assert!(good >= 18, "{} nests only {good} times", piece.0);
            drop(parse_text(&nested(good, piece, end)).expect(piece.0).clone());
        }
    });
}

#[test]
fn chains_of_any_length_are_flat() {
    on_a_small_stack(|| {
        for (first, step) in [
            ("1", " + 1"),
            ("1", " - 1 * 2"),
            ("1", " . 2"),
            ("1", " == 1"),
            ("1", " and 1"),
            ("1", " or 1 and 1"),
            ("$a", " ?? 1"),
            ("$a", "->b"),
            ("$a", "->b()"),
            ("$a", "[0]"),
            ("$a", "[1:2]"),
            ("f", "()"),
            ("[1", ", 1"),
            ("f(1", ", 1"),
        ] {
            let end = match first {
                "[1" => "]",
                "f(1" => ")",
                _ => "",
            };
            let text = format!("{first}{}{end};", step.repeat(100_000));
            let script = parse_text(&text).unwrap_or_else(|error| panic!("{step}: {error}"));
            assert_eq!(script.body.len(), 1);
        }
        let text = format!("if (1) ;{}", " else if (2) ;".repeat(100_000));
        let script = parse_text(&text).expect("a long if");
        assert!(matches!(&script.body[0].kind, StmtKind::If { arms, .. } if arms.len() == 100_001));
    });
}

#[test]
fn hostile_text_takes_linear_time() {
    // Each of these would take minutes if one step looked at all that came before.
    let many = 50_000;
    for text in [
        "$a[][][] = 1;".repeat(many / 10),
        format!("[{}] = 1;", "$a[], ".repeat(many)),
        format!("function f({}) {{}}", "$a, ".repeat(many)),
        format!("\"{}\";", "$a\\n".repeat(many)),
        format!("#/{}/;", "\\/".repeat(many)),
        format!("class A {{ {} }}", "static $a = 1;".repeat(many)),
        "'".repeat(many),
        "'a'b".repeat(many),
        "/*".repeat(many),
        "\"".repeat(many),
        "$a ? ".repeat(many),
        "function (".repeat(many),
    ] {
        // Good or bad does not matter here; coming back does.
        let _ = parse_text(&text);
    }
}

#[test]
fn spans_cover_what_was_written() {
    let text = "echo ($a + f(1)[2] . \"x\") ?: -$b++;";
    let script = parse_text(text).expect(text);
    let StmtKind::Echo(expr) = &script.body[0].kind else {
        panic!("{script:?}");
    };
    let cut = |span: Span| &text[span.start as usize..span.end as usize];
    assert_eq!(cut(script.body[0].span), text);
    assert_eq!(cut(expr.span), "($a + f(1)[2] . \"x\") ?: -$b++");
    let ExprKind::Conditional { condition, otherwise, .. } = &expr.kind else {
        panic!("{expr:?}");
    };
    assert_eq!(cut(condition.span), "($a + f(1)[2] . \"x\")");
    assert_eq!(cut(otherwise.span), "-$b++");
    let ExprKind::Binary { first, steps } = &condition.kind else {
        panic!("{condition:?}");
    };
    assert_eq!(cut(first.span), "$a + f(1)[2]");
    assert_eq!(cut(steps[0].op_span), ".");
    let ExprKind::Binary { steps, .. } = &first.kind else {
        panic!("{first:?}");
    };
    let ExprKind::Postfix { base, suffixes } = &steps[0].operand.kind else {
        panic!("{steps:?}");
    };
    assert_eq!(cut(base.span), "f");
    assert_eq!(cut(suffixes[0].span), "(1)");
    assert_eq!(cut(suffixes[1].span), "[2]");
}

#[test]
fn numbers_have_the_nearest_value() {
    for (text, value) in [
        ("0", 0.0),
        ("007", 7.0),
        ("1_000.25", 1000.25),
        ("0.1", 0.1),
        ("9007199254740993", 9_007_199_254_740_992.0),
        ("0xff_FF", 65535.0),
        ("0o17", 15.0),
        ("0b1_01", 5.0),
        ("0x20000000000001", 9_007_199_254_740_992.0),
        ("0x20000000000003", 9_007_199_254_740_996.0),
        ("123456789012345678901234567890", 123_456_789_012_345_680_000_000_000_000.0),
    ] {
        assert_eq!(parse_expr(text).kind, ExprKind::Number(value), "{text}");
    }
    for text in [format!("1{}", "0".repeat(400)), format!("0x{}", "f".repeat(40))] {
        let error = parse_text(&format!("{text};")).expect_err("too large");
        assert_eq!(error.message(), "this number is too large");
    }
}

#[test]
fn strings_mean_their_bytes() {
    for (text, bytes) in [
        (r#""""#, &b""[..]),
        (r#""a\\b\"c\$d""#, br#"a\b"c$d"#),
        (r#""\n\r\t\x00\xfF""#, b"\n\r\t\x00\xff"),
        // Compat: unknown escapes stay as they are.
        (r#""\q\x4\xg0\0""#, br"\q\x4\xg0\0"),
        (r#""$ $1 ${ ${1} ${a b} 5$""#, b"$ $1 ${ ${1} ${a b} 5$"),
        ("\"a\nb\"", b"a\nb"),
        ("''a\\n$b'c''", b"a\\n$b'c"),
        ("'}x'a''b'}x'", b"a''b"),
        ("''''", b""),
        ("\"\u{e9}\"", "\u{e9}".as_bytes()),
    ] {
        assert_eq!(parse_expr(text).kind, ExprKind::String(bytes.into()), "{text}");
    }
}

#[test]
fn a_file_may_be_any_bytes() {
    let file = SourceMap::new().add("t", None, b"echo \"\xff\xfe\";\xff".to_vec());
    let error = parse(&file, &mut Interner::new(), &Limits::default()).expect_err("a stray byte");
    assert_eq!(error.message(), "unexpected byte 0xff");
    assert_eq!(file.location(error.span().expect("a place").start).column, 11);
}

#[test]
fn the_nesting_limit_can_be_set() {
    let file = SourceMap::new().add("t", None, b"((1));".to_vec());
    let parse = |nesting| parse(&file, &mut Interner::new(), &Limits { nesting });
    assert!(parse(4).is_ok());
    assert!(parse(3).is_err());
}

#[test]
fn only_text_that_more_text_could_mend_is_incomplete() {
    for text in [
        "echo 1",
        "if (1) {",
        "f(1,",
        "$a = [1",
        "echo \"a",
        "''a",
        "/* a",
        "#/a",
        "$a =",
        "if (1)",
        "function f",
        "class A { ",
        "match (1) {",
        "switch (1) {",
        "import { a",
        "1 +",
        "for (;;",
    ] {
        let error = parse_text(text).expect_err(text);
        assert!(error.is_incomplete(), "{text}: {error}");
    }
    for text in ["echo 1 2", "f(1;", "}", "$a = ;", "1e5", "[] = 1;", "$a && $b", "echo 1;)"] {
        let error = parse_text(text).expect_err(text);
        assert!(!error.is_incomplete(), "{text}: {error}");
    }
}
