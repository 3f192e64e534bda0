//! Name resolution for the whole product: addresses, MX routes, TXT, PTR and the rest.
//!
//! The only room that knows the resolver library. Start with [`Resolver`]; [`mx`] orders mail
//! exchangers as RFC 5321 §5.1 asks and knows the null MX of RFC 7505. Whether an answer was
//! validated is a type ([`Security`]), never a flag that a caller may forget: today it reflects the
//! AD bit of a validating resolver that the operator trusts.
//!
//! Answers are cached by the library within the bounds of [`Config`]; equal questions that are
//! under way are asked once.
#![forbid(unsafe_code)]

pub mod mx;
mod record;
mod resolver;

pub use record::{Record, RecordKind, RecordValue, records_of_message};
pub use resolver::{
    Addresses, Answer, Config, Confirmation, LookupError, LookupErrorKind, Resolver, Security,
    SetupError, Stats,
};
