//! The catalogue of log events and the code name the same events.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

#[test]
fn code_and_catalogue_name_the_same_events() {
    let known: BTreeSet<&str> = telemetry::event::EVENTS.iter().map(|event| event.name).collect();
    let rooms: BTreeSet<&str> = known.iter().filter_map(|name| name.split('.').next()).collect();
    let mut used = BTreeSet::new();
    for file in sources() {
        let text = std::fs::read_to_string(&file).expect("a source file");
        if text.contains("tracing::") {
            used.extend(event_names(&text, &rooms));
        }
    }
    let missing: Vec<_> = used.iter().filter(|name| !known.contains(name.as_str())).collect();
    assert!(missing.is_empty(), "not in the catalogue: {missing:?}");
    let unused: Vec<_> = known.iter().filter(|name| !used.contains(**name)).collect();
    assert!(unused.is_empty(), "in the catalogue only: {unused:?}");
}

/// Literals of the form `"room.words_with_underscores"`.
fn event_names(text: &str, rooms: &BTreeSet<&str>) -> Vec<String> {
    let literals = text.split('"').skip(1);
    literals
        .filter(|literal| {
            literal.split_once('.').is_some_and(|(room, rest)| {
                rooms.contains(room)
                    && !rest.is_empty()
                    && rest.bytes().all(|octet| octet.is_ascii_lowercase() || octet == b'_')
            })
        })
        .map(str::to_owned)
        .collect()
}

/// Source files of the rooms that log.
fn sources() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut folders = vec![root.join("mta-daemon/src"), root.join("mta-admin/src")];
    for room in
        ["mail-client", "plugin-host", "script-host", "hsl-std", "spool", "dns", "tls-policy"]
    {
        folders.push(root.join("crates").join(room).join("src"));
    }
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder of the tree").flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files
}
