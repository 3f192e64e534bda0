//! The standard library of HSL.
#![forbid(unsafe_code)]
#![allow(dead_code)]
mod encoding { pub(crate) mod base; pub(crate) mod csv_records; }
mod inet;
mod mail { mod address; mod xtext; }
pub mod regex_engine;
mod strtime;
