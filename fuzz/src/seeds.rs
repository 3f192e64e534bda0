//! Runs seeds through a target, for the ordinary tests of the rooms.

use std::fs;
use std::path::Path;

/// Calls `target` with each file of `corpus/<name>`, and with every prefix of it: half of something
/// is what arrives first.
pub(crate) fn run(name: &str, target: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().find_map(|folder| {
        let corpus = folder.join("fuzz/corpus").join(name);
        corpus.is_dir().then_some(corpus)
    });
    let folder = folder.unwrap_or_else(|| panic!("no folder of seeds for {name}"));
    let mut count = 0;
    for entry in fs::read_dir(&folder).expect("a folder of seeds") {
        let octets = fs::read(entry.expect("a seed").path()).expect("a seed");
        for end in 0..=octets.len() {
            target(&octets[..end]);
        }
        count += 1;
    }
    assert!(count > 0, "{} is empty", folder.display());
}
