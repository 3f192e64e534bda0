//! Makes the functions of `HalonMTA.h`, and nothing else, visible to plugins.

fn main() {
    println!("cargo:rerun-if-changed=../crates/plugin-host/exports.list");
    println!(
        "cargo:rustc-link-arg-bins=-Wl,--dynamic-list={}/../crates/plugin-host/exports.list",
        env!("CARGO_MANIFEST_DIR")
    );
}
