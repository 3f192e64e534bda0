//! SMTP without sockets.
#![forbid(unsafe_code)]
