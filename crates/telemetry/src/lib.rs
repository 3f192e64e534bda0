//! Log, event catalogue, metrics.
#![forbid(unsafe_code)]
