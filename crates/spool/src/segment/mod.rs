//! The append-only log: how records lie in a segment ([`format`]), finding them again
//! ([`reader`]), making and sealing segments ([`writer`]).

pub(crate) mod format;
pub(crate) mod reader;
pub(crate) mod writer;
