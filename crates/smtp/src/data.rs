//! Dot-stuffing both ways (RFC 5321 §4.5.2), with the line-ending policy.
