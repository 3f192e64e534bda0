//! What programs talk to, in place of people.

pub mod protobuf;
