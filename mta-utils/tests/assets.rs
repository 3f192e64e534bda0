//! What packages take from these programs.

use std::process::Command;

#[test]
fn every_program_has_a_man_page() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_halonconfig"));
    assert!(command.arg("--man-pages").arg(folder.path()).status().unwrap().success());
    for name in [
        "man1/halonconfig.1",
        "mta-daemon/man1/hqfcat.1",
        "mta-daemon/man1/hqfeml.1",
        "mta-daemon/man1/hsl-lint.1",
    ] {
        let page = std::fs::read_to_string(folder.path().join(name)).unwrap();
        assert!(page.contains(".SH OPTIONS") || page.contains("Options"), "{name}: {page}");
    }
}
