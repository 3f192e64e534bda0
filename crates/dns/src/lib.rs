//! Name resolution.
#![forbid(unsafe_code)]
