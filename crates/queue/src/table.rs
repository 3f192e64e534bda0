//! Rows.
#[derive(Debug)]
pub(crate) struct Scan;
