//! Programs around the server: [`hqfcat`] and [`hqfeml`] print queued messages, [`hsl_lint`] checks
//! scripts for editors, [`halonconfig`] packs configuration. Each has a `main` of one line in `bin/`.
#![forbid(unsafe_code)]

