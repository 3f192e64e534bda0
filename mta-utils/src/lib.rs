//! Small programs over the libraries.
#![forbid(unsafe_code)]
