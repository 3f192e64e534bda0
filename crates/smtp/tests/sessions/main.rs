//! Whole conversations over the public API: dialogues, smuggling, splits, both sides together.

mod both;
mod client;
mod corpus;
mod drive;
mod hostile;
mod server;
mod smuggling;

#[path = "../../../../fuzz/src/smtp.rs"]
mod targets;
