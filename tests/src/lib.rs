//! Whole-daemon stories live in `tests/`.
#![forbid(unsafe_code)]
