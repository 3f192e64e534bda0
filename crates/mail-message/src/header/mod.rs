//! Header fields: where they are, what their values say, and how new ones are written.
//!
//! [`section`] finds fields in octets and never changes them, [`value`] reads their text,
//! [`write`] folds and encodes new ones. RFC 5322 §2.2 and §3.6.

mod section;
mod value;
mod write;

pub use section::{Field, FieldSpan, HeaderSection, LineEnding};
pub use value::{decode_value, unfold};
pub use write::{HeaderEncoding, HeaderError, WriteOptions, check_name, write_field};
