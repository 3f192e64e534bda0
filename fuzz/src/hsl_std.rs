//! What the fuzz target of `crates/hsl-std` does with its input.
//!
//! A plain function, so that the corpus also runs as an ordinary test
//! (`crates/hsl-std/tests/fuzz_corpus.rs`). A broken promise panics.

use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};

use hsl::host::{Limits, Registry};
use hsl::{Compiler, Program, Setup, Value, Vm};
use hsl_std::{Outcome, Services, drive};

/// Each decoder takes the text or refuses it; what it made can be encoded and decoded again. The
/// first octet chooses the decoder.
pub(crate) fn decoders(input: &[u8]) {
    let Some((choice, text)) = input.split_first() else { return };
    let programs = programs();
    let index = usize::from(*choice) % (programs.len() + KINDS.len());
    if let Some(kind) = KINDS.get(index) {
        drop(hsl_std::import::decode(kind, text, None, None));
        return;
    }
    let (name, program) = &programs[index - KINDS.len()];
    let setup = Setup {
        limits: Limits { memory: 16 << 20, ..Limits::default() },
        variables: vec![("input", Value::string(text))],
        ..Setup::default()
    };
    let mut vm = Vm::new(program, setup);
    let mut ending = pin!(drive(&mut vm, 10_000, || {}));
    // Decoders wait for nothing but their turn.
    for _ in 0..100_000 {
        match ending.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Outcome::Failed(error)) => {
                let text = error.diagnostic().message();
                assert!(!text.contains("promise"), "{name}: {text}");
                return;
            }
            Poll::Ready(_) => return,
            Poll::Pending => {}
        }
    }
    panic!("{name}: does not come to an end");
}

fn programs() -> &'static [(&'static str, Arc<Program>)] {
    static PROGRAMS: OnceLock<Vec<(&'static str, Arc<Program>)>> = OnceLock::new();
    PROGRAMS.get_or_init(|| {
        let mut registry = Registry::new();
        hsl_std::register(&mut registry, &Services::default());
        let host = registry.freeze();
        let compile = |(name, text): &(&'static str, &str)| {
            let compiler = Compiler::new(&host).with_read_only("input");
            let program = compiler.compile(name, name, text.as_bytes());
            (*name, program.unwrap_or_else(|error| panic!("{name}: {error}")))
        };
        SCRIPTS.iter().map(compile).collect()
    })
}

/// Files that scripts import.
const KINDS: [&str; 4] = ["json", "csv", "yaml", "txt"];

/// Functions that scripts call. A script throws a text with `promise` in it when one is broken; any
/// other error is the decoder's right.
const SCRIPTS: [(&str, &str); 6] = [
    (
        "json",
        "$value = json_decode($input);
         if (is_array($value)) {
             $text = json_encode($value);
             if (is_string($text) and json_encode(json_decode($text)) != $text)
                 throw \"json: a broken promise\";
         }",
    ),
    (
        "base64",
        "base64_decode($input);
         if (base64_decode(base64_encode($input)) != $input) throw \"base64: a broken promise\";",
    ),
    (
        "base32",
        "base32_decode($input);
         if (base32_decode(base32_encode($input)) != $input) throw \"base32: a broken promise\";",
    ),
    (
        "url",
        "url_decode($input);
         if (url_decode(url_encode($input)) != $input) throw \"url: a broken promise\";",
    ),
    (
        "unpack",
        "$format = $input[0:10];
         unpack($format, $input[10:]);
         unpack(\"N\", $input); unpack(\"H*\", $input); unpack(\"a*\", $input);",
    ),
    (
        "csv",
        "csv_decode($input); csv_decode($input, [\"delimiter\" => \";\", \"header\" => false]);",
    ),
];
