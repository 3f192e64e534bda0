//! TLS set-up for both directions.
#![forbid(unsafe_code)]
