//! The standard library of HSL.
#![forbid(unsafe_code)]
