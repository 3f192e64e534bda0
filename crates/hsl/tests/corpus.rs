//! Runs the seeds of the fuzz targets, and all syntax tests, through the bodies of the targets.

use std::fs;
use std::path::Path;

#[path = "../../../fuzz/src/hsl.rs"]
mod targets;

/// Calls `target` with each file of a folder, and with every prefix of it: half a script is what
/// people have while they type.
fn run(folder: &str, target: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut count = 0;
    for entry in fs::read_dir(&folder).expect("a folder of seeds") {
        let text = fs::read(entry.expect("a seed").path()).expect("a seed");
        for end in 0..=text.len() {
            target(&text[..end]);
        }
        count += 1;
    }
    assert!(count > 0, "{} is empty", folder.display());
}

#[test]
fn the_lexer_keeps_its_promises_on_all_seeds() {
    run("../../fuzz/corpus/hsl_lexer", targets::lexer);
    run("tests/syntax", targets::lexer);
}

#[test]
fn the_parser_keeps_its_promises_on_all_seeds() {
    run("../../fuzz/corpus/hsl_parser", targets::parser);
    run("tests/syntax", targets::parser);
}

#[test]
fn the_machine_keeps_its_promises_on_all_seeds() {
    run("../../fuzz/corpus/hsl_machine", targets::machine);
}
