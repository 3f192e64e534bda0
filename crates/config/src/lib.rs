//! Configuration files into types.
#![forbid(unsafe_code)]
