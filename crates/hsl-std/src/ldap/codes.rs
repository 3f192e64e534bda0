//! Result codes (RFC 4511 appendix A, RFC 3909, RFC 4370, RFC 4528) and those of the client's own
//! (negative, as in C's libldap).

pub(super) const SERVER_DOWN: i32 = -1;
pub(super) const LOCAL_ERROR: i32 = -2;
pub(super) const DECODING_ERROR: i32 = -4;
pub(super) const TIMEOUT: i32 = -5;
pub(super) const FILTER_ERROR: i32 = -7;
pub(super) const NO_MEMORY: i32 = -10;
pub(super) const CONNECT_ERROR: i32 = -11;

/// The text of a code.
pub(super) fn text(code: i32) -> &'static str {
    let unknown = if code < 0 { "Unknown API error" } else { "Unknown error" };
    TEXTS.iter().find(|(known, _)| *known == code).map_or(unknown, |(_, text)| text)
}

const TEXTS: [(i32, &str); 64] = [
    (-17, "Referral Limit Exceeded"),
    (-16, "Client Loop"),
    (-15, "More results to return"),
    (-14, "No results returned"),
    (-13, "Control not found"),
    (-12, "Not Supported"),
    (-11, "Connect error"),
    (-10, "Out of memory"),
    (-9, "Bad parameter to an ldap routine"),
    (-8, "User cancelled operation"),
    (-7, "Bad search filter"),
    (-6, "Unknown authentication method"),
    (-5, "Timed out"),
    (-4, "Decoding error"),
    (-3, "Encoding error"),
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
    (9, "Partial results and referral received"),
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
    (70, "Results too large"),
    (71, "Operation affects multiple DSAs"),
    (80, "Other (e.g., implementation specific) error"),
    (118, "Cancelled"),
    (119, "No Operation to Cancel"),
    (120, "Too Late to Cancel"),
    (121, "Cannot Cancel"),
    (122, "Assertion Failed"),
    (123, "Proxied Authorization Denied"),
];
