//! hsh
fn main() {}
