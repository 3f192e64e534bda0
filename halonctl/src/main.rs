//! halonctl
fn main() {}
