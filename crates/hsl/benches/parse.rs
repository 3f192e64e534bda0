//! How fast text becomes a tree, and a program. The aim is 20 MB of source per second on one core.

use divan::Bencher;
use divan::counter::BytesCount;
use hsl::Compiler;
use hsl::host::Registry;
use hsl::lexer::Lexer;
use hsl::parser::{Limits, parse};
use hsl::source::{FileId, SourceFile};
use hsl::symbol::Interner;
use hsl::token::TokenKind;

/// A bit of everything that real scripts are made of, in about their proportions.
const SCRIPT: &str = include_str!("parse.hsl");

/// Functions and a class of a real script; `@` stands for a number that makes the names differ.
const UNIT: &str = include_str!("compile.hsl");

fn file(copies: usize) -> SourceFile {
    SourceFile::new(FileId::new(0), "bench", None, SCRIPT.repeat(copies).into_bytes())
}

#[divan::bench(args = [1, 100])]
fn lexer(bencher: Bencher, copies: usize) {
    let file = file(copies);
    bencher.counter(BytesCount::new(file.text().len())).bench(|| {
        let mut lexer = Lexer::new(&file);
        let mut tokens = 0;
        while lexer.next_token().is_ok_and(|token| token.kind != TokenKind::EndOfFile) {
            tokens += 1;
        }
        tokens
    });
}

/// With the time to drop the tree.
#[divan::bench(args = [1, 100])]
fn parser(bencher: Bencher, copies: usize) {
    let file = file(copies);
    bencher.counter(BytesCount::new(file.text().len())).bench(|| {
        let mut interner = Interner::new();
        parse(&file, &mut interner, &Limits::default()).is_ok()
    });
}

/// From text to a program that can run: lexer, parser and compiler, and the time to drop all of it.
#[divan::bench(args = [1, 100])]
fn compiler(bencher: Bencher, copies: usize) {
    let text: String = (0..copies).map(|at| UNIT.replace('@', &at.to_string())).collect();
    let mut registry = Registry::new();
    registry.function("length(any value) -> number", "how much it holds", |_, _| 0);
    registry.function("strip(string text) -> string", "without space", |_, args| args[0].take());
    let host = registry.freeze();
    bencher.counter(BytesCount::new(text.len())).bench(|| {
        Compiler::new(&host).compile("main", "main.hsl", text.as_bytes()).expect("it compiles")
    });
}

fn main() {
    divan::main();
}
