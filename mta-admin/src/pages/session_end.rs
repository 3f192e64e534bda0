//! Logging out.

use axum::{
    Extension,
    extract::State as Shared,
    response::{IntoResponse as _, Redirect, Response},
};

use super::session_create::set_cookie;
use crate::{
    middleware::{csrf::CheckedForm, login::COOKIE},
    server::Peer,
    state::State,
};

/// `POST /logout`
pub async fn end(
    Shared(state): Shared<State>,
    Extension(peer): Extension<Peer>,
    form: CheckedForm,
) -> Response {
    state.sessions.end(&form.visitor.token);
    let mut response = Redirect::to("/login").into_response();
    set_cookie(&mut response, COOKIE, "", peer, Some(0));
    response
}
