//! Result codes (RFC 4511 appendix A) and those of the client's own (negative, as in C's libldap).

pub(super) const SERVER_DOWN: i32 = -1;
pub(super) const LOCAL_ERROR: i32 = -2;
pub(super) const DECODING_ERROR: i32 = -4;
pub(super) const TIMEOUT: i32 = -5;
pub(super) const FILTER_ERROR: i32 = -7;
pub(super) const NO_MEMORY: i32 = -10;
pub(super) const CONNECT_ERROR: i32 = -11;

/// The text of a code.
pub(super) fn text(code: i32) -> &'static str {
    TEXTS.iter().find(|(known, _)| *known == code).map_or("Unknown error", |(_, text)| text)
}

const TEXTS: [(i32, &str); 46] = [
    (-11, "Connect error"),
    (-10, "Out of memory"),
    (-7, "Bad search filter"),
    (-5, "Timed out"),
    (-4, "Decoding error"),
    (-2, "Local error"),
    (-1, "Can't contact LDAP server"),
    (0, "Success"),
    (1, "Operations error"),
    (2, "Protocol error"),
    (3, "Time limit exceeded"),
    (4, "Size limit exceeded"),
    (5, "Compare False"),
    (6, "Compare True"),
    (7, "Authentication method not supported"),
    (8, "Strong(er) authentication required"),
    (10, "Referral"),
    (11, "Administrative limit exceeded"),
    (12, "Critical extension is unavailable"),
    (13, "Confidentiality required"),
    (14, "SASL bind in progress"),
    (16, "No such attribute"),
    (17, "Undefined attribute type"),
    (18, "Inappropriate matching"),
    (19, "Constraint violation"),
    (20, "Type or value exists"),
    (21, "Invalid syntax"),
    (32, "No such object"),
    (33, "Alias problem"),
    (34, "Invalid DN syntax"),
    (36, "Alias dereferencing problem"),
    (48, "Inappropriate authentication"),
    (49, "Invalid credentials"),
    (50, "Insufficient access"),
    (51, "Server is busy"),
    (52, "Server is unavailable"),
    (53, "Server is unwilling to perform"),
    (54, "Loop detected"),
    (64, "Naming violation"),
    (65, "Object class violation"),
    (66, "Operation not allowed on non-leaf"),
    (67, "Operation not allowed on RDN"),
    (68, "Already exists"),
    (69, "Cannot modify object class"),
    (71, "Operation affects multiple DSAs"),
    (80, "Internal (implementation specific) error"),
];
