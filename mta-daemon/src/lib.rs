//! smtpd.
#![forbid(unsafe_code)]
