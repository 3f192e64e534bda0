//! The example scripts of the packages do what their comments say.

mod support;

use std::path::PathBuf;

use hsl_std::import::FileLoader;

fn run(example: &str) -> String {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../packaging/examples/scripts");
    let path = folder.join(example).canonicalize().unwrap();
    let text = std::fs::read(&path).unwrap();
    let loader = FileLoader::new().with_free_paths();
    let report =
        support::run_file(&FileLoader::identity_of(&path), &text, &loader, |s| s.ffi = true);
    assert_eq!(report.error, None);
    String::from_utf8(report.echoed).unwrap()
}

#[test]
fn the_columns_of_a_csv_file_have_the_types_of_its_schema() {
    assert_eq!(
        run("csv-schema/customers.hsl"),
        "example.org: 1000 per hour, postmaster@example.org\n\
         example.net: 100 per hour, nobody to call\n\
         example.com: 20 per hour, Desk, second floor\n"
    );
}

#[test]
fn c_reads_a_file_object_as_a_stream() {
    assert_eq!(run("ffi-file/lines.hsl"), "5 lines, at the end: 1\nthe first is Subject: hello\n");
}
