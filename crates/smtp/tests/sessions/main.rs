//! Whole conversations over the public API: dialogues, smuggling, splits, both sides together.

mod both;
mod client;
mod drive;
mod hostile;
mod server;
mod smuggling;
