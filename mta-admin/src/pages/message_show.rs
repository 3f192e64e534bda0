//! One message: everything the queue knows of it.

use askama::Template;
use axum::{
    Extension,
    extract::{Query, State as Shared},
    http::StatusCode,
    response::Response,
};
use control::{
    command::call,
    condition::parse_id,
    pb::{Condition, Paging, QueueListRequest, queue_list_response::QueueItem},
};

use super::{
    encode_query,
    error::PageError,
    frame::{self, Frame, Section},
    queue_action::Action,
    queue_columns::{self, Cell},
    render, show,
};
use crate::{middleware::login::Visitor, state::State};

/// The address of a message's page.
#[must_use]
pub fn url(id: &str, frame: &Frame) -> String {
    let mut pairs = vec![("id", id)];
    if frame.has_hosts() {
        pairs.push(("host", &frame.host));
    }
    format!("/queue/message?{}", encode_query(pairs))
}

/// `GET /queue/message`
///
/// # Errors
///
/// A page, when there is no such message or the daemon does not answer.
pub async fn show(
    Shared(state): Shared<State>,
    Extension(visitor): Extension<Visitor>,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Result<Response, PageError> {
    let field = |name| pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let host = frame::host(&state, field("host"))?;
    let frame = Frame::new(&state, &visitor, Section::Queue, host);
    let id = field("id").and_then(|id| parse_id(id).ok());
    let id = id.ok_or_else(|| {
        let error = PageError::new(StatusCode::BAD_REQUEST, "This is no message id");
        frame.fail(error.with_hint("A message id is written transaction:queue."))
    })?;
    let request = QueueListRequest {
        conditions: Some(Condition { ids: vec![id], ..Condition::default() }),
        sortings: Vec::new(),
        paging: Some(Paging { offset: 0, limit: 1 }),
    };
    let answer = host.daemon.call(call::QUEUE_LIST, &request).await.map_err(|e| frame.fail(e))?;
    let Some(item) = answer.items.first() else {
        let error = PageError::new(StatusCode::NOT_FOUND, "This message is not in the queue");
        let error = error.with_text("It was delivered, bounced or removed, or the id is misspelt.");
        return Err(frame.fail(error));
    };
    Ok(render(&View::new(&frame, item)))
}

#[derive(Template)]
#[template(path = "views/message_show.html")]
struct View<'a> {
    frame: &'a Frame,
    item: &'a QueueItem,
    id: String,
    groups: Vec<Group>,
    metadata: Vec<(&'a str, &'a str)>,
    host: Option<&'a str>,
}

/// Facts under a heading; facts that are not known are left out.
struct Group {
    title: &'static str,
    facts: Vec<(&'static str, Cell)>,
}

impl<'a> View<'a> {
    fn new(frame: &'a Frame, item: &'a QueueItem) -> Self {
        let mut metadata: Vec<_> =
            item.metadata.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        metadata.sort_unstable();
        Self {
            frame,
            item,
            id: show::id(item),
            groups: groups(item),
            metadata,
            host: frame.has_hosts().then_some(frame.host.as_str()),
        }
    }

    fn actions(&self) -> [Action; 4] {
        Action::ALL
    }

    fn state(&self) -> (&'static str, &'static str) {
        show::state(self.item)
    }
}

fn groups(item: &QueueItem) -> Vec<Group> {
    let text = |text: &str| Cell::Text(text.to_owned());
    let address = |address| {
        let (first, second) = show::address_parts(address);
        Cell::Address(first, second)
    };
    let dsn = item.dsn.clone().unwrap_or_default();
    let moment =
        |seconds| show::moment(seconds).map_or_else(|| Cell::Text(String::new()), Cell::Moment);
    let groups = [
        (
            "Message",
            vec![
                ("Sender", address(item.sender.as_ref())),
                ("Recipient", address(item.recipient.as_ref())),
                ("Subject", text(&item.subject)),
                ("Size", Cell::Number(show::size(item.size))),
                ("Id", text(&show::id(item))),
                ("Queue file", text(&item.hqfpath)),
            ],
        ),
        (
            "Delivery",
            vec![
                ("Attempts", Cell::Number(show::number(item.retrycount))),
                ("Next attempt", Cell::Text(queue_columns::next_attempt(item))),
                ("Sending for", Cell::Text(queue_columns::sending_for(item))),
                ("Last error", text(&item.retryreason)),
                ("Transport", text(&item.transportid)),
                ("Grouping", text(&item.grouping)),
                ("Local addresses", text(&item.localips.join(", "))),
                ("Remote address", text(&item.remoteip)),
                ("Remote host", text(&item.remotemx)),
                ("Priority", Cell::Number(show::number(item.priority))),
                ("Queued with hold", text(if item.hold { "yes" } else { "" })),
                ("Tags", text(&item.tags.join(", "))),
            ],
        ),
        (
            "Origin",
            vec![
                ("Queued", moment(item.ts)),
                ("Server", text(&item.serverid)),
                ("Received from", text(&item.senderip)),
                ("HELO", text(&item.senderhelo)),
                ("Authenticated as", text(&item.saslusername)),
                ("Job", text(&item.jobid)),
                ("Live stage", text(&item.stageid)),
                ("Quotas", text(&item.quotas.join(", "))),
            ],
        ),
        (
            "Delivery status notification",
            vec![
                ("Notify", text(&dsn.notify)),
                ("Return", text(&dsn.ret)),
                ("Envelope id", text(&dsn.envid)),
                ("Original recipient", text(&dsn.orcpt)),
            ],
        ),
    ];
    let is_known = |(_, cell): &(&str, Cell)| *cell != Cell::Text(String::new());
    let keep = |(title, facts): (&'static str, Vec<_>)| Group {
        title,
        facts: facts.into_iter().filter(is_known).collect(),
    };
    groups.into_iter().map(keep).filter(|group| !group.facts.is_empty()).collect()
}
