//! The Halon Scripting Language.
#![forbid(unsafe_code)]
