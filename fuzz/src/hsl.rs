//! What the fuzz targets of `crates/hsl` do with their input.
//!
//! Plain functions, so that the corpus also runs as an ordinary test (`crates/hsl/tests/corpus.rs`).
//! A broken promise panics.

use hsl::diagnostic::{Diagnostic, Style};
use hsl::host::{Limits as RunLimits, NativeStep, Registry};
use hsl::lexer::Lexer;
use hsl::parser::{Limits, parse};
use hsl::print::{self, Grouping};
use hsl::source::{FileId, SourceFile, SourceMap};
use hsl::symbol::Interner;
use hsl::token::TokenKind;
use hsl::{Compiler, Setup, Step, Value, Vm};

/// Tokens follow one another without overlap, lie within the text and come to an end.
pub(crate) fn lexer(text: &[u8]) {
    let file = SourceFile::new(FileId::new(0), "fuzz", None, text.to_vec());
    let mut lexer = Lexer::new(&file);
    let mut end = 0;
    loop {
        match lexer.next_token() {
            Err(error) => return check_place(&error, text.len()),
            Ok(token) => {
                assert!(token.start >= end, "a token starts inside the one before");
                assert!(token.end as usize <= text.len(), "a token ends behind the text");
                end = token.end;
                if token.kind == TokenKind::EndOfFile {
                    assert_eq!(lexer.next_token(), Ok(token), "the end stays the end");
                    return;
                }
                assert!(token.start < token.end, "an empty token");
            }
        }
    }
}

/// Whatever parses can be printed and parsed again, and means the same; whatever does not has an
/// error that can be shown.
pub(crate) fn parser(text: &[u8]) {
    let mut sources = SourceMap::new();
    let mut interner = Interner::new();
    let limits = Limits::default();
    let file = sources.add("fuzz", None, text.to_vec());
    let script = match parse(&file, &mut interner, &limits) {
        Ok(script) => script,
        Err(error) => {
            check_place(&error, text.len());
            let rendered = error.render(&sources, Style::Plain);
            assert!(rendered.contains(error.message()), "the message is not shown");
            let plain = error.plain(&sources);
            assert!(plain.line > 0 && plain.column > 0, "an error without place");
            return;
        }
    };
    let printed = print::script(&script, &interner, Grouping::Needed);
    let again = sources.add("printed", None, printed);
    let again = parse(&again, &mut interner, &limits)
        .unwrap_or_else(|error| panic!("{}", error.render(&sources, Style::Plain)));
    assert_eq!(
        print::script(&script, &interner, Grouping::Explicit),
        print::script(&again, &interner, Grouping::Explicit),
        "printing changed the meaning"
    );
}

/// Whatever compiles runs in small slices and small limits, ends or is given up half-way, and nothing
/// of it panics; an error can be shown.
pub(crate) fn machine(text: &[u8]) {
    let mut registry = Registry::new();
    registry
        .function("wait(any value) -> any", "waits, then gives its argument", |_, args| {
            let value = args[0].take();
            NativeStep::suspend(async move { Ok(value) })
        })
        .function("apply(function f, any ...values) -> any", "calls f", |_, args| {
            let function = args[0].clone();
            NativeStep::call(function, args[1..].to_vec(), |_, value| NativeStep::Return(value))
        });
    let host = registry.freeze();
    let program = match Compiler::new(&host).compile("fuzz", "fuzz", text) {
        Ok(program) => program,
        Err(error) => {
            for diagnostic in &error.diagnostics {
                let rendered = diagnostic.render(&error.sources, Style::Plain);
                assert!(rendered.contains(diagnostic.message()), "the message is not shown");
            }
            return;
        }
    };
    let limits = RunLimits { depth: 16, memory: 1 << 20, ..RunLimits::default() };
    let mut vm = Vm::new(&program, Setup { limits, ..Setup::default() });
    for slice in 0..100 {
        match vm.run(1 + slice % 7 * 10) {
            Step::OutOfFuel => {}
            Step::Suspended(_) => vm.resume(Ok(Value::from("waited"))),
            Step::Done(_) | Step::Exited(_) => return,
            Step::Threw(error) => {
                let rendered = error.diagnostic().render(error.sources(), Style::Plain);
                assert!(!rendered.is_empty(), "an error without text");
                return;
            }
        }
    }
}

fn check_place(error: &Diagnostic, length: usize) {
    let span = error.span().expect("errors of text have a place");
    assert!(span.start <= span.end && span.end as usize <= length, "{span:?} of {length}");
}
