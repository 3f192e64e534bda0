//! Messages that survive the plug.
#![forbid(unsafe_code)]
