//! The question before an action: what happens to how many messages.

use std::time::SystemTime;

use askama::Template;
use axum::{extract::State as Shared, http::StatusCode, response::Response};
use control::{
    command::call,
    pb::{Paging, QueueListRequest},
};

use super::{
    error::PageError,
    frame::{self, Frame, Section},
    queue_action::{Action, Selection, SelectionError},
    queue_query::QueueQuery,
    render, show,
};
use crate::{middleware::csrf::CheckedForm, state::State};

/// Messages that the question shows as examples.
const EXAMPLES: u64 = 10;

/// `POST /queue/confirm`: changes nothing, but carries too many ids for an address.
///
/// # Errors
///
/// A page, when nothing is selected or the daemon does not answer.
pub async fn show(Shared(state): Shared<State>, form: CheckedForm) -> Result<Response, PageError> {
    let host = frame::host(&state, form.field("host"))?;
    let frame = Frame::new(&state, &form.visitor, Section::Queue, host);
    let (action, selection) = choice(&form).ok_or_else(|| frame.fail(no_action()))?;
    let back = QueueQuery::read(&form.fields);
    let condition = selection.condition().map_err(|error| frame.fail(error))?;
    let request = QueueListRequest {
        conditions: Some(condition),
        sortings: Vec::new(),
        paging: Some(Paging { offset: 0, limit: EXAMPLES }),
    };
    let asked = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0.0, |since_epoch| since_epoch.as_secs_f64());
    let answer = host.daemon.call(call::QUEUE_LIST, &request).await.map_err(|e| frame.fail(e))?;
    let count = answer.paging.map_or(0, |paging| paging.total);
    if count == 0 {
        return Err(frame.fail(
            PageError::new(StatusCode::NOT_FOUND, "These messages are no longer in the queue")
                .with_text("They were delivered or removed meanwhile. Nothing was changed."),
        ));
    }
    let everything = matches!(&selection, Selection::All(query) if query.matches_all());
    let examples = answer
        .items
        .iter()
        .map(|item| {
            let from = show::address(item.sender.as_ref());
            (from, show::address(item.recipient.as_ref()), item.subject.clone())
        })
        .collect();
    Ok(render(&View { frame: &frame, action, selection, count, asked, everything, examples, back }))
}

/// Reads a button of a row (`row=delete/transaction:queue`), or one for the selection.
fn choice(form: &CheckedForm) -> Option<(Action, Selection)> {
    if let Some((action, id)) = form.field("row").and_then(|row| row.split_once('/')) {
        return Some((Action::find(action)?, Selection::Ids(vec![id.to_owned()])));
    }
    Some((Action::find(form.field("action")?)?, Selection::read(&form.fields)))
}

pub(super) fn no_action() -> PageError {
    PageError::new(StatusCode::BAD_REQUEST, "No action is chosen")
        .with_hint("Go back and choose one.")
}

impl From<SelectionError> for PageError {
    fn from(error: SelectionError) -> Self {
        match error {
            SelectionError::Empty => Self::new(StatusCode::BAD_REQUEST, "No message is selected")
                .with_text("Nothing was changed.")
                .with_hint("Go back and mark some messages, or choose all that match the filter."),
            error => Self::new(StatusCode::BAD_REQUEST, "The selection cannot be read")
                .with_text(error.to_string()),
        }
    }
}

#[derive(Template)]
#[template(path = "views/queue_confirm.html")]
struct View<'a> {
    frame: &'a Frame,
    action: Action,
    selection: Selection,
    count: u64,
    asked: f64,
    everything: bool,
    /// Sender, recipient, subject.
    examples: Vec<(String, String, String)>,
    /// The page to go back to.
    back: QueueQuery,
}

impl View<'_> {
    fn question(&self) -> String {
        let verb = match self.action {
            Action::Retry => "Retry",
            action => action.verb(),
        };
        let tail = match self.action {
            Action::Retry => " now",
            _ => "",
        };
        let count = show::messages(self.count);
        if self.everything {
            format!("{verb} all {count} in the queue{tail}?")
        } else {
            format!("{verb} {count}{tail}?")
        }
    }

    fn hidden(&self) -> Vec<(&'static str, String)> {
        let mut pairs = self.selection.fields();
        if matches!(self.selection, Selection::Ids(_)) {
            // The way back; the selection itself has no conditions.
            pairs.extend(self.back.conditions.iter().cloned());
        }
        pairs.extend(self.back.host.clone().map(|host| ("host", host)));
        pairs.extend(self.back.layout_pairs());
        if self.back.page > 1 {
            pairs.push(("page", self.back.page.to_string()));
        }
        pairs.push(("action", self.action.name().to_owned()));
        pairs.push(("count", self.count.to_string()));
        pairs.push(("asked", format!("{:.6}", self.asked)));
        pairs
    }

    fn rest(&self) -> u64 {
        self.count.saturating_sub(self.examples.len() as u64)
    }
}
