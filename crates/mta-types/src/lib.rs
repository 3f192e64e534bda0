//! The vocabulary every other room speaks.
#![forbid(unsafe_code)]
