//! The program `smtpd` as a process: what only a process shows.

mod crash;
mod kill;
mod kit;
mod object_storage;
mod plugins;
mod program;
mod script_limits;
mod support;
mod suspended;
