//! What stands in front of the pages.
//!
//! * [`headers`]: security headers on every answer, a deadline for every request.
//! * [`origin`]: forms of other sites are refused.
//! * [`login`]: pages need a session; the handler finds it as a [`login::Visitor`].
//! * [`csrf`]: the extractor of forms, which refuses those without the session's token.

pub mod csrf;
pub mod headers;
pub mod login;
pub mod origin;
