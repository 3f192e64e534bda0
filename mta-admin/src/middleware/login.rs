//! Lets requests with a session pass and sends the others to the login page.

use std::time::Instant;

use axum::{
    extract::{Request, State as Shared},
    http::{HeaderMap, Method, Uri, header},
    middleware::Next,
    response::{IntoResponse as _, Redirect, Response},
};

use crate::{auth::session::Session, pages::encode_query, state::State};

/// The cookie that names a session.
pub const COOKIE: &str = "mta_admin_session";

/// Who makes a request; only behind [`check`].
#[derive(Clone, Debug)]
pub struct Visitor {
    /// The session.
    pub session: Session,
    /// The token that names it.
    pub token: String,
}

/// Finds the session and hands it to the handler as a [`Visitor`].
pub async fn check(Shared(state): Shared<State>, mut request: Request, next: Next) -> Response {
    let token = cookie(request.headers(), COOKIE).map(str::to_owned);
    let found = token.and_then(|token| {
        let session = state.sessions.find(&token, Instant::now())?;
        Some(Visitor { session, token })
    });
    match found {
        Some(visitor) => {
            request.extensions_mut().insert(visitor);
            next.run(request).await
        }
        None => Redirect::to(&login_url(request.method(), request.uri())).into_response(),
    }
}

/// The login page, with the way back to a page; forms are not repeated after a login.
fn login_url(method: &Method, uri: &Uri) -> String {
    let back = uri.path_and_query().map_or("/", |path| path.as_str());
    if *method != Method::GET || back == "/" {
        return "/login".into();
    }
    format!("/login?{}", encode_query([("next", back)]))
}

/// The value of a cookie.
pub fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find_map(|(key, value)| (key == name).then_some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_found_among_others() {
        let mut headers = HeaderMap::new();
        headers.append(header::COOKIE, "a=1; xsid=2".parse().unwrap());
        headers.append(header::COOKIE, "sid=3".parse().unwrap());
        assert_eq!(cookie(&headers, "sid"), Some("3"));
        assert_eq!(cookie(&headers, "id"), None);
    }

    #[test]
    fn the_way_back_survives_as_one_parameter() {
        let uri = "/queue?state=DEFER&page=2".parse().unwrap();
        let url = login_url(&Method::GET, &uri);
        assert_eq!(url, "/login?next=%2Fqueue%3Fstate%3DDEFER%26page%3D2");
        assert_eq!(login_url(&Method::POST, &uri), "/login");
    }
}
