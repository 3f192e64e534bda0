//! MIME: the parts of a message as ranges of its octets.
//!
//! [`tree`] finds parts, [`params`] reads the fields that describe them. RFC 2045, 2046, 2183, 2231.

mod params;
mod tree;

pub(crate) use params::write_parameter;
pub use params::{ContentType, Parameters, parse_disposition};
pub use tree::{Defect, Multipart, Part, PartId, Tree};
