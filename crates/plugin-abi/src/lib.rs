//! `HalonMTA.h` in Rust.
