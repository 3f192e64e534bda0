//! mta-admin
fn main() {}
