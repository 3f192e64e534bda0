//! Makes the functions of `HalonMTA.h`, and nothing else, visible to plugins.

fn main() {
    println!("cargo:rerun-if-changed=../crates/plugin-host/exports.list");
    // Tests too: some of them hold the daemon in their own process.
    for programs in ["bins", "tests"] {
        println!(
            "cargo:rustc-link-arg-{programs}=-Wl,--dynamic-list={}/../crates/plugin-host/exports.list",
            env!("CARGO_MANIFEST_DIR")
        );
    }
}
