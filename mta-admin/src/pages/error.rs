//! The page of things that went wrong: what, and what to do about it.

use askama::Template;
use axum::{
    http::StatusCode,
    response::{Html, IntoResponse, Response},
};

use super::frame::Frame;
use crate::daemon::DaemonError;

/// Something that ends a request, as a page.
#[derive(Clone, Debug)]
pub struct PageError {
    status: StatusCode,
    title: String,
    text: String,
    hint: &'static str,
    frame: Option<Box<Frame>>,
}

impl PageError {
    /// Makes an error with a title, without a full stop.
    #[must_use]
    pub fn new(status: StatusCode, title: impl Into<String>) -> Self {
        Self { status, title: title.into(), text: String::new(), hint: "", frame: None }
    }

    /// Adds what happened, in sentences.
    #[must_use]
    pub fn with_text(mut self, text: impl Into<String>) -> Self {
        self.text = text.into();
        self
    }

    /// Adds what to do about it, in sentences.
    #[must_use]
    pub const fn with_hint(mut self, hint: &'static str) -> Self {
        self.hint = hint;
        self
    }

    /// Puts the page into a frame.
    #[must_use]
    pub fn within(mut self, frame: Frame) -> Self {
        self.frame = Some(Box::new(frame));
        self
    }
}

impl From<DaemonError> for PageError {
    fn from(error: DaemonError) -> Self {
        tracing::warn!(error = error_chain(&error), "admin.call_failed");
        let (status, title) = match &error {
            DaemonError::Failed(_) => (StatusCode::BAD_GATEWAY, "The mail daemon refused"),
            DaemonError::TimedOut(_) => {
                (StatusCode::GATEWAY_TIMEOUT, "The mail daemon does not answer")
            }
            _ => (StatusCode::BAD_GATEWAY, "The mail daemon cannot be reached"),
        };
        Self::new(status, title).with_hint(error.hint()).with_text(sentence(&error_chain(&error)))
    }
}

/// An error with its causes, on one line.
pub(crate) fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// Makes a sentence of an error text.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|letter| letter.to_uppercase().to_string());
    let stop = if text.ends_with(['.', '!', '?']) { "" } else { "." };
    format!("{}{}{stop}", first.unwrap_or_default(), letters.as_str())
}

#[derive(Template)]
#[template(path = "views/error.html")]
struct FramedView<'a> {
    frame: &'a Frame,
    error: &'a PageError,
}

#[derive(Template)]
#[template(path = "views/error_bare.html")]
struct BareView<'a> {
    error: &'a PageError,
}

impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        let html = match &self.frame {
            Some(frame) => FramedView { frame, error: &self }.render(),
            None => BareView { error: &self }.render(),
        };
        // What cannot be shown as a page is shown as a text.
        let body =
            html.map_or_else(|_| self.title.clone().into_response(), |h| Html(h).into_response());
        (self.status, body).into_response()
    }
}

/// The answer to addresses that do not exist.
pub async fn not_found() -> PageError {
    PageError::new(StatusCode::NOT_FOUND, "There is no such page")
        .with_text("The address is misspelt, or the page is gone.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_texts_become_sentences() {
        assert_eq!(sentence("there is no socket"), "There is no socket.");
        assert_eq!(sentence("é!"), "É!");
        assert_eq!(sentence(""), ".");
    }
}
