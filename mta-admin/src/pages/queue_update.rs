//! Carries out what was confirmed, and goes back to the list.

use axum::{
    extract::State as Shared,
    http::StatusCode,
    response::{IntoResponse as _, Redirect, Response},
};
use control::command::call;

use super::{
    error::PageError,
    frame::{self, Frame, Section},
    queue_action::{Action, Confirmed, Selection, parse_status},
    queue_confirm::no_action,
    queue_query::QueueQuery,
};
use crate::{middleware::csrf::CheckedForm, state::State};

/// Octets of the text that a bounce reports.
const MAX_REPORT: usize = 500;

/// `POST /queue/update`
///
/// # Errors
///
/// A page, when the form is incomplete or the daemon refuses.
pub async fn update(
    Shared(state): Shared<State>,
    form: CheckedForm,
) -> Result<Response, PageError> {
    let host = frame::host(&state, form.field("host"))?;
    let frame = || Frame::new(&state, &form.visitor, Section::Queue, host);
    let confirmed = read(&form).map_err(|error| frame().fail(error))?;
    let request = confirmed.request().map_err(|error| frame().fail(error))?;
    let answer = host
        .daemon
        .call(call::QUEUE_UPDATE, &request)
        .await
        .map_err(|error| frame().fail(error))?;
    tracing::info!(
        user = form.visitor.session.username,
        host = host.name,
        action = confirmed.action.name(),
        affected = answer.affected,
        busy = answer.working,
        "admin.queue_updated"
    );
    state.sessions.put_notice(&form.visitor.token, confirmed.outcome(&answer));
    Ok(Redirect::to(&QueueQuery::read(&form.fields).url()).into_response())
}

fn read(form: &CheckedForm) -> Result<Confirmed, PageError> {
    let action = form.field("action").and_then(Action::find).ok_or_else(no_action)?;
    let count = form.field("count").and_then(|count| count.parse().ok());
    let asked = form.field("asked").and_then(|asked| asked.parse().ok());
    let asked = asked.filter(|asked: &f64| asked.is_finite());
    // A limit of 0 would be none.
    let (Some(count), Some(asked)) = (count.filter(|count| *count > 0), asked) else {
        return Err(PageError::new(StatusCode::BAD_REQUEST, "The action was not confirmed")
            .with_hint("Go back to the queue and start again."));
    };
    Ok(Confirmed {
        action,
        selection: Selection::read(&form.fields),
        count,
        asked,
        waits: form.field("waits").is_some(),
        report: if action == Action::Bounce { report(form)? } else { None },
    })
}

/// What the bounce shall say; nothing when both fields are empty.
fn report(
    form: &CheckedForm,
) -> Result<Option<(control::pb::queue_update_request::action::dsn::Status, String)>, PageError> {
    let status = form.field("status").unwrap_or_default().trim();
    let text = form.field("text").unwrap_or_default().trim();
    if status.is_empty() && text.is_empty() {
        return Ok(None);
    }
    let status = if status.is_empty() { "5.0.0" } else { status };
    let Some(status) = parse_status(status) else {
        return Err(PageError::new(StatusCode::BAD_REQUEST, "This is no status of a failure")
            .with_text("Nothing was changed.")
            .with_hint("Go back and write a status such as 5.7.1, or leave the field empty."));
    };
    // It becomes part of a header of the notice.
    if text.len() > MAX_REPORT || text.chars().any(char::is_control) {
        return Err(PageError::new(StatusCode::BAD_REQUEST, "The text is too long for a notice")
            .with_text("Nothing was changed.")
            .with_hint("Go back and write one line of at most 500 characters."));
    }
    Ok(Some((status, text.to_owned())))
}
