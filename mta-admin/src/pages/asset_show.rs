//! The style sheet, the script and the icon, out of the program itself.

use axum::{
    extract::Path,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
};

use super::error;

/// Changes with each release, so that browsers may keep assets for long.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

const ASSETS: &[(&str, &str, &str)] = &[
    ("admin.css", "text/css; charset=utf-8", include_str!("../../assets/admin.css")),
    ("admin.js", "text/javascript; charset=utf-8", include_str!("../../assets/admin.js")),
    ("icon.svg", "image/svg+xml", include_str!("../../assets/icon.svg")),
];

/// `GET /assets/{name}`
pub async fn show(Path(name): Path<String>, headers: HeaderMap) -> Response {
    let Some((_, kind, text)) = ASSETS.iter().find(|(known, ..)| *known == name) else {
        return error::not_found().await.into_response();
    };
    let etag = format!("\"{}-{:x}\"", VERSION, fingerprint(text));
    let cache = [(header::CACHE_CONTROL, "max-age=3600"), (header::ETAG, etag.as_str())];
    let is_known = headers.get(header::IF_NONE_MATCH).is_some_and(|known| known == etag.as_str());
    if is_known {
        return (StatusCode::NOT_MODIFIED, cache).into_response();
    }
    (cache, [(header::CONTENT_TYPE, *kind)], *text).into_response()
}

/// Tells versions of a text apart (FNV-1a).
fn fingerprint(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, octet| {
        (hash ^ u64::from(octet)).wrapping_mul(0x0100_0000_01b3)
    })
}
