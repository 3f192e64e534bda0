//! The `Received:` line that every hop adds on top (RFC 5321 §4.4).

use std::net::IpAddr;

use mta_types::{Address, Timestamp};

use crate::server::{HelloVerb, Security};

/// The facts of one reception, for [`Trace::header`].
#[derive(Clone, Debug)]
pub struct Trace<'a> {
    /// The name the client gave in HELO; empty when it gave none.
    pub helo: &'a str,
    /// How it greeted.
    pub verb: HelloVerb,
    /// The client's confirmed host name, when there is one.
    pub ptr: Option<&'a str>,
    /// The client's address; `None` for local submission.
    pub ip: Option<IpAddr>,
    /// Our host name.
    pub by: &'a str,
    /// TLS state of the connection.
    pub security: Security,
    /// TLS protocol and cipher, for the comment, such as `TLSv1.3` and `TLS_AES_256_GCM_SHA384`.
    pub tls: Option<(&'a str, &'a str)>,
    /// The client logged in.
    pub authenticated: bool,
    /// The transaction used SMTPUTF8 (RFC 6531 §4.3).
    pub smtputf8: bool,
    /// Our id of the transaction.
    pub id: &'a str,
    /// The recipient; give it only when there is one, so that blind copies stay blind.
    pub recipient: Option<&'a Address>,
    /// When the message came in.
    pub time: Timestamp,
    /// Our zone, in minutes east of Greenwich (-1439 to 1439).
    pub offset_minutes: i16,
}

impl Trace<'_> {
    /// The whole header field, folded, CRLF at its end.
    #[must_use]
    pub fn header(&self) -> String {
        todo!()
    }

    /// The `with` keyword: `SMTP`, `ESMTPSA`, `UTF8LMTPS`, … (RFC 3848, RFC 6531 §4.3).
    #[must_use]
    pub fn protocol(&self) -> &'static str {
        todo!()
    }
}

/// A date-time in the form of RFC 5322 §3.3, such as `Mon, 23 Nov 2026 20:37:33 +0000`.
#[must_use]
pub fn rfc5322_date(_time: Timestamp, _offset_minutes: i16) -> String {
    todo!()
}
