//! Refuses requests that change something when another site's page makes them.
//!
//! The form tokens refuse them as well; this also covers the login, which has no session yet.

use axum::{
    extract::Request,
    http::{HeaderMap, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};

use crate::pages::error::PageError;

/// Lets safe methods and requests of our own pages pass.
pub async fn check(request: Request, next: Next) -> Response {
    let is_safe = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    if is_safe || is_ours(request.headers()) {
        return next.run(request).await;
    }
    PageError::new(StatusCode::FORBIDDEN, "This form came from another site")
        .with_text("It was not accepted, and nothing was changed.")
        .with_hint(
            "If you came here through a reverse proxy, it must pass the Host header on unchanged.",
        )
        .into_response()
}

/// Browsers say where a form came from; programs that say nothing have no cookies to abuse.
fn is_ours(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(site) = text(header::HeaderName::from_static("sec-fetch-site")) {
        return matches!(site, "same-origin" | "none");
    }
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
    origin.is_some_and(|(_, authority)| text(header::HOST) == Some(authority))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ours(pairs: &[(&'static str, &str)]) -> bool {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.insert(*name, value.parse().unwrap());
        }
        is_ours(&headers)
    }

    #[test]
    fn other_origins_are_told_from_ours() {
        assert!(ours(&[("host", "mx:8080"), ("origin", "http://mx:8080")]));
        assert!(ours(&[("host", "mx:8080")]));
        assert!(ours(&[("sec-fetch-site", "same-origin"), ("origin", "null")]));
        assert!(!ours(&[("host", "mx:8080"), ("origin", "http://mx:9090")]));
        assert!(!ours(&[("host", "mx"), ("origin", "null")]));
        assert!(!ours(&[("sec-fetch-site", "cross-site")]));
        assert!(!ours(&[("sec-fetch-site", "same-site")]));
    }
}
