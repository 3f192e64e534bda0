//! The five configuration files, from text to types that cannot be wrong.
//!
//! | file | type | load with |
//! | --- | --- | --- |
//! | `smtpd.yaml` | [`Startup`] | [`load_startup`] |
//! | `smtpd-app.yaml` | [`Running`] | [`load_running`] |
//! | `smtpd-policy.yaml` | [`Policy`] | [`load_policy`] |
//! | `smtpd-suspend.yaml` | [`Suspend`] | [`load_suspend`] |
//! | `smtpd-delivery.yaml` | [`Delivery`] | [`load_delivery`] |
//!
//! The way of a file: [`yaml`] turns text into positioned [`Node`]s (bounded: aliases, depth, size);
//! [`keys`] holds one table per file which names every key, its kind, its default and whether this
//! release acts on it; `validate` walks the nodes along the table and reports everything that does
//! not fit; the file's own module then reads the fields and checks what a table cannot say
//! (references, pairs that exclude each other). [`check`] looks at all five together, [`diff`] says in
//! words what a reload changes, [`schema`] prints the tables as JSON Schema.
//!
//! This room does no I/O: texts come in as arguments, files that the configuration names (keys,
//! scripts) are left to the caller as [`Source::Path`].
#![forbid(unsafe_code)]

pub mod delivery;
pub mod diagnostic;
pub mod diff;
pub mod keys;
pub mod node;
pub mod policy;
pub mod running;
pub mod schema;
pub mod startup;
pub mod suspend;
pub mod value;
pub mod yaml;

pub mod check;
mod condition;
mod load;
mod read;
mod validate;

pub use check::{Report, check};
pub use delivery::Delivery;
pub use diagnostic::{Diagnostic, Severity};
pub use diff::{Change, diff};
pub use load::{Loaded, load_delivery, load_policy, load_running, load_startup, load_suspend};
pub use node::{KeyPath, Node};
pub use policy::Policy;
pub use running::Running;
pub use startup::Startup;
pub use suspend::Suspend;
pub use value::{Cidr, Mode, Size, Source};
