//! A message as bytes with a view.
#![forbid(unsafe_code)]
