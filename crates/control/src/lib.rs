//! The control protocol.
#![forbid(unsafe_code)]
