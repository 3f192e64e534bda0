//! The append-only log: how records lie in a segment ([`format`]), finding them again
//! ([`reader`]), putting them there ([`writer`]).

pub(crate) mod format;
