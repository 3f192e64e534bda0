//! The queue as a pure machine.
#![forbid(unsafe_code)]
