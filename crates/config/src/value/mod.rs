//! Value types of the configuration, each parsed once from its notation.
//!
//! [`duration`] and [`size`] know the units, [`mode`] the octal file modes, [`cidr`] networks,
//! [`matcher`] the patterns of policy, suspension and delivery files, [`rate`] the `N/seconds` form,
//! [`tls`] modes and protocol lists, [`source`] what may be given by path or in place.

pub mod cidr;
pub mod duration;
pub mod matcher;
pub mod mode;
pub mod rate;
pub mod size;
pub mod source;
pub mod tls;

pub use cidr::Cidr;
pub use matcher::{Field, Matcher, Pattern};
pub use mode::Mode;
pub use rate::Rate;
pub use size::Size;
pub use source::Source;
pub use tls::{TlsMode, TlsProtocols};

/// Why a text is not a value of the wanted kind; says what was expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}")]
pub struct InvalidValue {
    /// What would have been right, ready to follow the word "expected".
    pub expected: std::borrow::Cow<'static, str>,
}

impl InvalidValue {
    pub(crate) const fn new(expected: &'static str) -> Self {
        Self { expected: std::borrow::Cow::Borrowed(expected) }
    }

    pub(crate) const fn owned(expected: String) -> Self {
        Self { expected: std::borrow::Cow::Owned(expected) }
    }
}
