//! Every URL.

use axum::{
    Router,
    extract::DefaultBodyLimit,
    middleware::{from_fn, from_fn_with_state},
    response::Redirect,
    routing::{get, post},
};

use crate::{
    api,
    middleware::{headers, login, origin},
    pages::{
        asset_show, error, message_show, queue_confirm, queue_list, queue_update, session_create,
        session_end, stats_show,
    },
    state::State,
};

/// Octets of a form: the ids of the largest page, several times over.
const MAX_FORM: usize = 256 << 10;

/// Makes the service of a listener that takes requests of `max_size` octets at the door.
pub fn router(state: State, max_size: u64) -> Router {
    let pages = Router::new()
        .route("/", get(async || Redirect::to("/queue")))
        .route("/logout", post(session_end::end))
        .route("/queue", get(queue_list::show))
        .route("/queue/confirm", post(queue_confirm::show))
        .route("/queue/message", get(message_show::show))
        .route("/queue/update", post(queue_update::update))
        .route("/stats", get(stats_show::show))
        .route_layer(from_fn_with_state(state.clone(), login::check));
    let open = Router::new()
        .route("/assets/{name}", get(asset_show::show))
        .route("/login", get(session_create::show).post(session_create::create));
    let forms =
        pages.merge(open).layer(from_fn(origin::check)).layer(DefaultBodyLimit::max(MAX_FORM));
    let max_size = usize::try_from(max_size).unwrap_or(usize::MAX);
    let door = Router::new()
        .route("/api/protobuf", post(api::protobuf::call))
        .layer(DefaultBodyLimit::max(max_size));
    forms.merge(door).fallback(error::not_found).layer(from_fn(headers::add)).with_state(state)
}
