//! How fast text becomes a tree. The aim is 20 MB of source per second on one core.

use divan::Bencher;
use divan::counter::BytesCount;
use hsl::lexer::Lexer;
use hsl::parser::{Limits, parse};
use hsl::source::{FileId, SourceFile};
use hsl::symbol::Interner;
use hsl::token::TokenKind;

/// A bit of everything that real scripts are made of, in about their proportions.
const SCRIPT: &str = include_str!("parse.hsl");

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

fn main() {
    divan::main();
}
