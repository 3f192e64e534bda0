//! The queue page: filter, list, and actions on what it shows.

use askama::Template;
use axum::{
    Extension,
    extract::{Query, State as Shared},
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use control::{command::call, pb::queue_list_response::QueueItem};

use super::{
    error::PageError,
    frame::{self, Frame, Section},
    queue_action::Action,
    queue_columns::{self, COLUMNS, Cell, Column},
    queue_query::{FIELDS, Field, PAGE_SIZES, QueueQuery, STATES},
    render, show,
};
use crate::{middleware::login::Visitor, state::State};

/// `GET /queue`
///
/// # Errors
///
/// A page, when the daemon does not answer or there is no such host.
pub async fn show(
    Shared(state): Shared<State>,
    Extension(visitor): Extension<Visitor>,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Result<Response, PageError> {
    let query = QueueQuery::read(&pairs);
    let host = frame::host(&state, query.host.as_deref())?;
    let frame = Frame::new(&state, &visitor, Section::Queue, host);
    let request = match query.request() {
        Ok(request) => request,
        Err(error) => {
            let mistake = Some(format!("\"{}\" does not fit: {}.", error.value, error.cause));
            let view = View { mistake, ..View::new(&frame, &query, Vec::new(), 0) };
            return Ok((StatusCode::BAD_REQUEST, render(&view)).into_response());
        }
    };
    let answer = host.daemon.call(call::QUEUE_LIST, &request).await.map_err(|e| frame.fail(e))?;
    let total = answer.paging.map_or(0, |paging| paging.total);
    let columns = queue_columns::chosen(&query.columns);
    let rows = answer.items.iter().map(|item| Row::new(item, &columns, &frame)).collect();
    Ok(render(&View::new(&frame, &query, rows, total)))
}

#[derive(Template)]
#[template(path = "views/queue_list.html")]
struct View<'a> {
    frame: &'a Frame,
    query: &'a QueueQuery,
    /// What is wrong with the filter.
    mistake: Option<String>,
    filter: Vec<FilterField<'a>>,
    columns: Vec<Head>,
    choices: Vec<(&'static Column, bool)>,
    rows: Vec<Row>,
    total: u64,
    pages: Pages,
}

/// A field of the filter with what is in it: one empty value when there is nothing.
struct FilterField<'a> {
    field: &'static Field,
    values: Vec<&'a str>,
}

/// The head of a column.
struct Head {
    title: &'static str,
    name: &'static str,
    /// Where a click leads.
    link: Option<String>,
    /// `ascending`, `descending` or nothing.
    order: &'static str,
}

struct Row {
    id: String,
    link: String,
    label: String,
    cells: Vec<(&'static Column, Cell)>,
}

impl Row {
    fn new(item: &QueueItem, columns: &[&'static Column], frame: &Frame) -> Self {
        let id = show::id(item);
        let label = format!(
            "{} to {}",
            show::address(item.sender.as_ref()),
            show::address(item.recipient.as_ref())
        );
        let link = super::message_show::url(&id, frame);
        let cells = columns.iter().map(|column| (*column, (column.cell)(item))).collect();
        Self { id, link, label, cells }
    }
}

/// Which part of the list this is.
struct Pages {
    first: u64,
    last: u64,
    number: u64,
    count: u64,
    previous: Option<String>,
    next: Option<String>,
}

impl Pages {
    fn new(query: &QueueQuery, shown: usize, total: u64) -> Self {
        let size = query.page_size();
        let number = query.page.max(1);
        let count = total.div_ceil(size).max(1);
        let before = (number - 1).saturating_mul(size);
        let link = |page| QueueQuery { page, ..query.clone() }.url();
        Self {
            first: if shown == 0 { 0 } else { before + 1 },
            last: if shown == 0 { 0 } else { before + shown as u64 },
            number,
            count,
            // From beyond the end straight back to the last page.
            previous: (number > 1).then(|| link((number - 1).min(count))),
            next: (number < count).then(|| link(number + 1)),
        }
    }
}

impl<'a> View<'a> {
    fn new(frame: &'a Frame, query: &'a QueueQuery, rows: Vec<Row>, total: u64) -> Self {
        let columns = queue_columns::chosen(&query.columns);
        let filter = FIELDS
            .iter()
            .map(|field| {
                let mut values: Vec<&str> = query.values(field.name).collect();
                if values.is_empty() {
                    values.push("");
                }
                FilterField { field, values }
            })
            .collect();
        Self {
            frame,
            query,
            mistake: None,
            filter,
            choices: COLUMNS
                .iter()
                .map(|column| (column, columns.iter().any(|chosen| chosen.name == column.name)))
                .collect(),
            columns: columns.iter().map(|column| head(column, query)).collect(),
            pages: Pages::new(query, rows.len(), total),
            rows,
            total,
        }
    }

    fn states(&self) -> Vec<(&'static str, &'static str, bool)> {
        let is_on = |name: &str| self.query.values("state").any(|value| value == name);
        STATES.iter().map(|(name, label)| (*name, *label, is_on(name))).collect()
    }

    /// Whether the rare conditions must be in sight.
    fn has_rare(&self) -> bool {
        self.filter.iter().any(|f| !f.field.is_common && f.values.iter().any(|v| !v.is_empty()))
    }

    fn sizes(&self) -> impl Iterator<Item = (u64, bool)> {
        PAGE_SIZES.iter().map(|size| (*size, *size == self.query.page_size()))
    }

    fn actions(&self) -> [Action; 4] {
        Action::ALL
    }

    /// What a filter form must carry besides the filter; column and size choices are fields of it.
    fn hidden_of_filter(&self) -> Vec<(&'static str, String)> {
        let kept = QueueQuery { columns: Vec::new(), size: None, ..self.query.clone() };
        let mut pairs = kept.layout_pairs();
        pairs.extend(self.query.host.clone().map(|host| ("host", host)));
        pairs
    }

    fn clear(&self) -> String {
        QueueQuery { conditions: Vec::new(), page: 0, ..self.query.clone() }.url()
    }
}

fn head(column: &'static Column, query: &QueueQuery) -> Head {
    let is_current = column.sort == Some(query.sort().name);
    let order = match (is_current, query.is_ascending) {
        (false, _) => "",
        (true, true) => "ascending",
        (true, false) => "descending",
    };
    let link = column.sort.map(|sort| {
        let is_ascending = is_current && !query.is_ascending;
        QueueQuery { sort: Some(sort), is_ascending, page: 0, ..query.clone() }.url()
    });
    Head { title: column.title, name: column.name, link, order }
}

/// Says whether a cell is a number, for the template.
fn is_number(cell: &Cell) -> bool {
    matches!(cell, Cell::Number(_))
}

/// Says whether nothing is in a cell, for the template.
fn is_empty(cell: &Cell) -> bool {
    matches!(cell, Cell::Text(text) if text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_lead_back_from_beyond_the_end() {
        let query = QueueQuery { page: 9, ..QueueQuery::default() };
        let pages = Pages::new(&query, 0, 120);
        assert_eq!((pages.first, pages.last, pages.count), (0, 0, 3));
        assert_eq!(pages.previous.as_deref(), Some("/queue?page=3"));
        assert_eq!(pages.next, None);
    }

    #[test]
    fn pages_in_the_middle_lead_both_ways() {
        let query = QueueQuery { page: 2, ..QueueQuery::default() };
        let pages = Pages::new(&query, 50, 120);
        assert_eq!((pages.first, pages.last), (51, 100));
        assert_eq!(pages.previous.as_deref(), Some("/queue"));
        assert_eq!(pages.next.as_deref(), Some("/queue?page=3"));
    }
}
