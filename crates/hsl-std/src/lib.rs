//! The standard library of HSL, one file per manual chapter.
//!
//! [`register`] fills a [`Registry`] with everything that needs no mail server around it; what the
//! functions need of their surroundings comes in with [`Services`]. Functions are registered with
//! their signature and one line of documentation, from which [`docs`] prints `functions.json`.
//!
//! A chapter's file holds its registrations first and the work below. Work that knows nothing of
//! the language (codecs, addresses, patterns, times) has a file of its own and is tested there;
//! scripts under `tests/scripts/<chapter>/` pin what a script sees.
//!
//! The module `ffi` is the one place with `unsafe`: what C offers and no safe library wraps.
#![deny(unsafe_code, unsafe_op_in_unsafe_fn, clippy::undocumented_unsafe_blocks)]

mod args;
mod array;
mod crypto;
mod data_types;
mod date_time;
mod der;
mod dns;
pub mod docs;
mod drive;
mod encoding;
mod ffi;
mod file_http;
mod http;
pub mod import;
mod inet;
pub mod keys;
mod ldap;
mod mail;
mod math;
pub mod mime;
mod misc;
mod old_files;
mod old_names;
mod output;
mod protocols;
mod public_suffix;
mod random;
mod rate;
mod regex;
mod regex_engine;
pub mod services;
mod shared_memory;
mod socket;
mod string;
mod strtime;
mod x509;

use hsl::host::Registry;

pub use drive::{DEFAULT_FUEL, Limit, Outcome, SystemClock, drive};
pub use encoding::{value_from_json, value_to_json};
pub use ffi::{descriptor_value, pointer_value};
pub use file_http::{content_of_file, content_of_resource, file_object, file_resource};
pub use ldap::count_entries as count_ldap_entries;
pub use ldap::{filter_octets as ldap_filter, filter_value as ldap_filter_escape};
pub use mail::dmarc::Arrival;
pub use mail::dmarc::register as register_dmarc;
pub use rate::LocalRates;
pub use regex::pattern_of_object;
pub use regex_engine::{Pattern, RegexError};
pub use services::Services;
pub use socket::socket_resource;
pub use x509::object as certificate_object;

/// Registers the whole library.
pub fn register(registry: &mut Registry, services: &Services) {
    array::register(registry);
    crypto::register(registry, services);
    data_types::register(registry);
    date_time::register(registry, services);
    dns::register(registry, services);
    encoding::register(registry);
    ffi::register(registry, services);
    file_http::register(registry, services);
    http::register(registry, services);
    ldap::register(registry, services);
    mail::register(registry, services);
    math::register(registry);
    mime::register(registry, services);
    misc::register(registry, services);
    protocols::register(registry, services);
    public_suffix::register(registry, services);
    rate::register(registry, services);
    regex::register(registry);
    shared_memory::register(registry);
    socket::register(registry, services);
    string::register(registry);
    x509::register(registry);
    old_files::register(registry, services);
    old_names::register(registry, services);
}
