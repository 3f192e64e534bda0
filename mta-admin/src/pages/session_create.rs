//! The login page.

use std::time::Instant;

use askama::Template;
use axum::{
    Extension, Form,
    extract::{Query, State as Shared},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Redirect, Response},
};

use super::{error::PageError, render, show};
use crate::{
    auth::{is_same_secret, password::PasswordHash, random_token},
    middleware::{
        csrf,
        login::{COOKIE, cookie},
    },
    server::Peer,
    settings::users::is_username,
    state::State,
};

/// The cookie that must agree with the login form: there is no session yet that could hold a token.
const FORM_COOKIE: &str = "mta_admin_login";
/// Octets of a password: more is no password, and hashing costs time.
const MAX_PASSWORD: usize = 1024;

/// `GET /login`
pub async fn show(
    Shared(state): Shared<State>,
    Extension(peer): Extension<Peer>,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Response {
    let next = pairs.iter().find(|(name, _)| name == "next").map(|(_, value)| value.as_str());
    page(&state, peer, next.unwrap_or("/"), "", "")
}

/// `POST /login`
///
/// # Errors
///
/// A page, when the form is not ours.
pub async fn create(
    Shared(state): Shared<State>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    Form(fields): Form<Vec<(String, String)>>,
) -> Result<Response, PageError> {
    let field = |name: &str| {
        fields.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value.as_str())
    };
    let expected = cookie(&headers, FORM_COOKIE).unwrap_or_default();
    if expected.is_empty() || !is_same_secret(field(csrf::FIELD), expected) {
        return Err(PageError::new(StatusCode::FORBIDDEN, "This form is out of date")
            .with_hint("Go back to the login page, and allow this site to set cookies."));
    }
    let (username, next) = (field("username").trim(), field("next"));
    let remoteip = peer.address.ip();
    let attempt = match state.throttle.attempt(remoteip, username, Instant::now()) {
        Ok(attempt) => attempt,
        Err(wait) => {
            tracing::warn!(%remoteip, user = loggable(username), "admin.login_throttled");
            let text = format!(
                "There were too many failed logins. Try again in {}.",
                show::span(wait.as_secs_f64().ceil())
            );
            let mut response = page(&state, peer, next, username, &text);
            *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
            response.headers_mut().insert(header::RETRY_AFTER, wait.as_secs().max(1).into());
            return Ok(response);
        }
    };
    if !is_password_of(&state, username, field("password")).await {
        tracing::warn!(%remoteip, user = loggable(username), "admin.login_failed");
        let mut response =
            page(&state, peer, next, username, "The user name or the password is wrong.");
        *response.status_mut() = StatusCode::UNAUTHORIZED;
        return Ok(response);
    }
    state.throttle.succeed(attempt);
    tracing::info!(%remoteip, user = username, "admin.login_succeeded");
    let token = state.sessions.start(username, Instant::now());
    let mut response = Redirect::to(local_path(next)).into_response();
    set_cookie(&mut response, COOKIE, &token, peer, None);
    set_cookie(&mut response, FORM_COOKIE, "", peer, Some(0));
    Ok(response)
}

/// Compares a password, away from the threads that serve connections and few at a time.
async fn is_password_of(state: &State, username: &str, password: &str) -> bool {
    let Ok(_permit) = state.password_checks.acquire().await else { return false };
    let hash = state.password_of(username);
    let is_long = password.len() > MAX_PASSWORD;
    let password = if is_long { String::new() } else { password.to_owned() };
    let compare = move || match hash {
        Some(hash) => hash.verify(&password) && !is_long,
        None => {
            PasswordHash::verify_nobody(&password);
            false
        }
    };
    tokio::task::spawn_blocking(compare).await.unwrap_or(false)
}

/// What may stand in the log: people type their password into the wrong field.
fn loggable(username: &str) -> &str {
    if is_username(username) { username } else { "(no user name)" }
}

/// The way back, when it is a path of ours: a foreign one could look like this site and ask again.
fn local_path(next: &str) -> &str {
    let is_local = next.starts_with('/')
        && !next.starts_with("//")
        && next.bytes().all(|octet| octet.is_ascii_graphic() && octet != b'\\');
    if is_local { next } else { "/" }
}

fn page(state: &State, peer: Peer, next: &str, username: &str, mistake: &str) -> Response {
    let token = random_token();
    let view = View {
        csrf: &token,
        next: local_path(next),
        username,
        mistake,
        has_no_users: state.has_no_users(),
    };
    let mut response = render(&view);
    set_cookie(&mut response, FORM_COOKIE, &token, peer, None);
    response
}

/// Sets a cookie for this site's requests only; `max_age` 0 removes it, `None` is until the browser
/// closes.
pub(super) fn set_cookie(
    response: &mut Response,
    name: &str,
    value: &str,
    peer: Peer,
    max_age: Option<u32>,
) {
    let mut text = format!("{name}={value}; Path=/; HttpOnly; SameSite=Strict");
    if peer.is_tls {
        text.push_str("; Secure");
    }
    if let Some(seconds) = max_age {
        text.push_str(&format!("; Max-Age={seconds}"));
    }
    // Names and values are ours: hexadecimal digits or nothing.
    if let Ok(value) = HeaderValue::try_from(text) {
        response.headers_mut().append(header::SET_COOKIE, value);
    }
}

#[derive(Template)]
#[template(path = "views/login.html")]
struct View<'a> {
    csrf: &'a str,
    next: &'a str,
    username: &'a str,
    mistake: &'a str,
    has_no_users: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_back_never_leaves_this_site() {
        assert_eq!(local_path("/queue?a=b%20c"), "/queue?a=b%20c");
        for path in ["", "queue", "//evil", "/\\evil", "https://evil", "/a\r\nb", "/ä"] {
            assert_eq!(local_path(path), "/", "{path:?}");
        }
    }

    #[test]
    fn what_may_be_a_password_stays_out_of_the_log() {
        assert_eq!(loggable("eve"), "eve");
        assert_eq!(loggable("my secret pass!"), "(no user name)");
    }
}
