//! The one-way rule between rooms, read out of `cargo metadata`.
//!
//! Storeys: words know nobody, engines know words, adapters know engines, programs know all below.
//! Edges between adapters are listed by name. The forbidden edges of the ground plan follow from the
//! table, and the named ones are checked once more by themselves so that a failure says what broke.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// Every room with its storey. Rooms beside the house (tests and their tools) are not in it.
const STOREYS: &[(&str, u8)] = &[
    ("mta-types", 0),
    ("plugin-abi", 0),
    ("config", 1),
    ("control", 1),
    ("hsl", 1),
    ("mail-message", 1),
    ("queue", 1),
    ("smtp", 1),
    ("dns", 2),
    ("hsl-std", 2),
    ("mail-client", 2),
    ("plugin-host", 2),
    ("queue-records", 2),
    ("script-host", 2),
    ("spool", 2),
    ("telemetry", 2),
    ("tls-policy", 2),
    ("halonctl", 3),
    ("hsh", 3),
    ("mta-admin", 3),
    ("mta-daemon", 3),
    ("mta-utils", 3),
];

/// Adapters that may know another adapter.
const SIDEWAYS: &[(&str, &str)] = &[
    ("tls-policy", "dns"),
    ("hsl-std", "dns"),
    ("hsl-std", "tls-policy"),
    ("mail-client", "dns"),
    ("mail-client", "hsl-std"),
    ("mail-client", "script-host"),
    ("mail-client", "spool"),
    ("mail-client", "tls-policy"),
    ("queue-records", "spool"),
    ("script-host", "dns"),
    ("script-host", "hsl-std"),
    ("script-host", "plugin-host"),
];

/// Rooms that anybody may use in tests, and nobody otherwise.
const BESIDE: &[&str] = &["testkit", "system-tests", "abi-host"];

/// Libraries behind a wall: only these rooms may know them.
const WALLS: &[(&str, &[&str])] = &[
    ("hickory-resolver", &["dns"]),
    ("hickory-proto", &["dns"]),
    ("rustls", &["tls-policy", "mta-admin"]),
    ("tokio-rustls", &["tls-policy", "mta-admin"]),
    ("openssl", &["hsl-std", "plugin-host"]),
    ("axum", &["mta-admin"]),
];

struct Package {
    name: String,
    /// Names of what it depends on outside of tests.
    uses: BTreeSet<String>,
}

fn packages() -> Vec<Package> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let packages = metadata["packages"].as_array().expect("packages").iter();
    packages
        .map(|package| Package {
            name: package["name"].as_str().expect("a name").to_owned(),
            uses: package["dependencies"]
                .as_array()
                .expect("dependencies")
                .iter()
                .filter(|dependency| dependency["kind"].is_null())
                .map(|dependency| dependency["name"].as_str().expect("a name").to_owned())
                .collect(),
        })
        .collect()
}

#[test]
fn arrows_point_one_way() {
    let storeys: BTreeMap<&str, u8> = STOREYS.iter().copied().collect();
    let mut broken = Vec::new();
    for package in packages() {
        if BESIDE.contains(&package.name.as_str()) {
            continue;
        }
        let Some(storey) = storeys.get(package.name.as_str()) else {
            broken.push(format!("{} has no storey: add it to the table", package.name));
            continue;
        };
        for used in &package.uses {
            if BESIDE.contains(&used.as_str()) {
                broken.push(format!("{} -> {used} outside of tests", package.name));
            }
            let Some(below) = storeys.get(used.as_str()) else { continue };
            let sideways = SIDEWAYS.contains(&(package.name.as_str(), used.as_str()))
                || (*storey == 2 && used == "telemetry");
            if below >= storey && !sideways {
                broken.push(format!("{} -> {used}", package.name));
            }
        }
    }
    assert!(broken.is_empty(), "forbidden edges:\n{}", broken.join("\n"));
}

#[test]
fn the_four_named_edges_do_not_exist() {
    let packages = packages();
    let uses = |name: &str, what: &str| {
        packages.iter().any(|package| package.name == name && package.uses.contains(what))
    };
    for mail in ["smtp", "mail-message", "queue", "spool"] {
        assert!(!uses("hsl", mail), "hsl never sees mail");
    }
    assert!(!uses("queue", "spool"), "queue never sees the spool");
    for client in ["halonctl", "mta-admin"] {
        assert!(!uses(client, "mta-daemon"), "{client} speaks the control protocol");
    }
}

#[test]
fn libraries_stay_behind_their_walls() {
    for package in packages() {
        if BESIDE.contains(&package.name.as_str()) {
            continue;
        }
        for (library, rooms) in WALLS {
            assert!(
                !package.uses.contains(*library) || rooms.contains(&package.name.as_str()),
                "{} must not know {library}",
                package.name
            );
        }
    }
}
