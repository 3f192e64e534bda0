//! The pages: a file for each, `<noun>_<verb>`, with handler, view and template.
//!
//! [`frame`] is what all pages have around them, [`error`] the page of things that went wrong,
//! [`show`] how values look, [`queue_query`] and [`queue_action`] what the queue pages share.

pub mod asset_show;
pub mod error;
pub mod frame;
pub mod message_show;
pub mod queue_action;
pub mod queue_columns;
pub mod queue_confirm;
pub mod queue_list;
pub mod queue_query;
pub mod queue_update;
pub mod session_create;
pub mod session_end;
pub mod show;
pub mod stats_history;
pub mod stats_show;

use askama::Template;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};

use self::error::PageError;

/// Makes the answer of a page.
pub(crate) fn render(template: &impl Template) -> Response {
    match template.render() {
        Ok(html) => Html(html).into_response(),
        // Only a value that fails to print does that; ours write to a string.
        Err(error) => PageError::new(StatusCode::INTERNAL_SERVER_ERROR, "The page cannot be shown")
            .with_text(error.to_string())
            .into_response(),
    }
}

/// Prints the part of a URL after `?`.
pub(crate) fn encode_query<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut out = String::new();
    for (key, value) in pairs {
        if !out.is_empty() {
            out.push('&');
        }
        encode_part(key, &mut out);
        out.push('=');
        encode_part(value, &mut out);
    }
    out
}

/// Escapes all but the unreserved characters (RFC 3986 §2.3).
fn encode_part(text: &str, out: &mut String) {
    for octet in text.bytes() {
        if octet.is_ascii_alphanumeric() || b"-._~".contains(&octet) {
            out.push(char::from(octet));
        } else {
            out.push_str(&format!("%{octet:02X}"));
        }
    }
}
