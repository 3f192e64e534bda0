//! What can be done to messages, and to which.

use control::{
    condition::{ConditionError, parse_id},
    pb::{
        self, ActionType, Condition, QueueUpdateRequest, TimeValue,
        queue_update_request::{Action as End, Move, Task, action, r#move::Destination},
        time_value,
    },
};

use super::{queue_query::QueueQuery, show};

/// Something to do to messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Parks until somebody releases it.
    Hold,
    /// Tries now.
    Retry,
    /// Ends without a bounce.
    Delete,
    /// Ends with a bounce.
    Bounce,
}

impl Action {
    /// All actions, in the order of buttons.
    pub const ALL: [Self; 4] = [Self::Retry, Self::Hold, Self::Bounce, Self::Delete];

    /// The name in forms and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hold => "hold",
            Self::Retry => "retry",
            Self::Delete => "delete",
            Self::Bounce => "bounce",
        }
    }

    /// The word on buttons.
    #[must_use]
    pub const fn verb(self) -> &'static str {
        match self {
            Self::Hold => "Hold",
            Self::Retry => "Retry now",
            Self::Delete => "Delete",
            Self::Bounce => "Bounce",
        }
    }

    /// What has been done, after "1,204 messages".
    #[must_use]
    pub const fn done(self) -> &'static str {
        match self {
            Self::Hold => "put on hold",
            Self::Retry => "queued for an attempt now",
            Self::Delete => "deleted",
            Self::Bounce => "bounced",
        }
    }

    /// What it means for so many messages, in a sentence.
    #[must_use]
    pub const fn consequence(self, count: u64) -> &'static str {
        match (self, count) {
            (Self::Hold, 1) => "It stays in the queue and is not tried until somebody retries it.",
            (Self::Hold, _) => {
                "They stay in the queue and are not tried until somebody retries them."
            }
            (Self::Retry, 1) => "It is tried as soon as limits allow, also when it is on hold.",
            (Self::Retry, _) => {
                "They are tried as soon as limits allow; those on hold are released."
            }
            (Self::Delete, 1) => "It is gone for good, and its sender is not told.",
            (Self::Delete, _) => "They are gone for good, and their senders are not told.",
            (Self::Bounce, 1) => "It is gone for good, and its sender gets a failure notice.",
            (Self::Bounce, _) => "They are gone for good, and their senders get failure notices.",
        }
    }

    /// Says whether it cannot be taken back.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Delete | Self::Bounce)
    }

    /// Says whether messages that are being delivered can be taken up after the attempt.
    #[must_use]
    pub const fn can_wait(self) -> bool {
        !matches!(self, Self::Retry)
    }

    /// Finds an action by its name.
    #[must_use]
    pub fn find(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.name() == name)
    }
}

/// Which messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// Those with these ids; at least one.
    Ids(Vec<String>),
    /// Those that match the conditions of the page.
    All(QueueQuery),
}

/// Why there is no selection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectionError {
    /// No row is marked.
    #[error("no message is selected")]
    Empty,
    /// Not an id.
    #[error("\"{0}\" is not the id of a message")]
    Id(String),
    /// A condition cannot be read.
    #[error(transparent)]
    Condition(#[from] ConditionError),
}

impl Selection {
    /// Reads the fields of a form: `scope`, the `selected` ids, and the conditions of the page.
    #[must_use]
    pub fn read(fields: &[(String, String)]) -> Self {
        if fields.iter().any(|(name, value)| name == "scope" && value == "all") {
            let query = QueueQuery::read(fields);
            return Self::All(QueueQuery { page: 0, ..query });
        }
        let ids = fields.iter().filter(|(name, _)| name == "selected");
        Self::Ids(ids.map(|(_, value)| value.clone()).collect())
    }

    /// The fields that [`Self::read`] reads.
    #[must_use]
    pub fn fields(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Ids(ids) => ids.iter().map(|id| ("selected", id.clone())).collect(),
            Self::All(query) => {
                let mut fields = vec![("scope", "all".to_owned())];
                fields.extend(query.conditions.iter().cloned());
                fields
            }
        }
    }

    /// The condition for the daemon.
    ///
    /// # Errors
    ///
    /// [`SelectionError`]; above all, no selection never becomes every message.
    pub fn condition(&self) -> Result<Condition, SelectionError> {
        match self {
            Self::Ids(ids) if ids.is_empty() => Err(SelectionError::Empty),
            Self::Ids(ids) => {
                let mut condition = Condition::default();
                for id in ids {
                    let parsed = parse_id(id).map_err(|_| SelectionError::Id(id.clone()))?;
                    condition.ids.push(parsed);
                }
                Ok(condition)
            }
            Self::All(query) => Ok(query.condition()?),
        }
    }
}

/// What somebody confirmed.
#[derive(Clone, Debug, PartialEq)]
pub struct Confirmed {
    /// What to do.
    pub action: Action,
    /// To which messages.
    pub selection: Selection,
    /// How many there were when the question was asked.
    pub count: u64,
    /// When the question was asked: messages queued later were not in it.
    pub asked: f64,
    /// Whether messages that are being delivered are taken up after the attempt.
    pub waits: bool,
    /// What a bounce reports: enhanced status and text.
    pub report: Option<(action::dsn::Status, String)>,
}

impl Confirmed {
    /// The request to the daemon.
    ///
    /// # Errors
    ///
    /// [`SelectionError`].
    pub fn request(&self) -> Result<QueueUpdateRequest, SelectionError> {
        let mut condition = self.selection.condition()?;
        let mut paging = None;
        if let Selection::All(_) = self.selection {
            not_after(&mut condition, self.asked);
            paging = Some(pb::Limit { limit: self.count });
        }
        let to =
            |destination| Task::Move(Move { destination: Some(destination), ..Move::default() });
        let task = match (self.action, &self.report) {
            (Action::Hold, _) => to(Destination::Freeze(pb::Freeze::Hold.into())),
            (Action::Retry, _) => to(Destination::Queue(pb::Queue::Active.into())),
            (Action::Delete, _) => Task::Actiontype(ActionType::Delete.into()),
            (Action::Bounce, None) => Task::Actiontype(ActionType::Bounce.into()),
            (Action::Bounce, Some((status, text))) => {
                let dsn = action::Dsn { status: Some(*status), diagnosticcode: text.clone() };
                Task::Action(End { r#type: ActionType::Bounce.into(), dsn: Some(dsn) })
            }
        };
        Ok(QueueUpdateRequest {
            conditions: Some(condition),
            task: Some(task),
            freeze: self.waits && self.action.can_wait(),
            paging,
            ..QueueUpdateRequest::default()
        })
    }

    /// What happened, in a sentence or two.
    #[must_use]
    pub fn outcome(&self, answer: &pb::QueueUpdateResponse) -> String {
        let mut text = format!("{} {}.", show::messages(answer.affected), self.action.done());
        if answer.working > 0 {
            let busy = show::messages(answer.working);
            let verb = if answer.working == 1 { "is" } else { "are" };
            let then = if self.waits && self.action.can_wait() {
                " and will be taken up when the attempt ends"
            } else {
                " and stayed as they were"
            };
            text.push_str(&format!(" {busy} {verb} being delivered{then}."));
        }
        text
    }
}

/// Leaves out messages that were queued after a moment.
///
/// Bounds within an entry are and-ed while entries are or-ed, so each gets the bound; an entry that
/// has one of its own on that side is kept as narrow as it was.
fn not_after(condition: &mut Condition, seconds: f64) {
    let moment = TimeValue { value: Some(time_value::Value::Absolute(seconds)) };
    if condition.tss.is_empty() {
        condition.tss.push(pb::CompareTime::default());
    }
    for bounds in &mut condition.tss {
        if bounds.lte.is_none() {
            bounds.lte = Some(moment);
        } else if bounds.lt.is_none() {
            bounds.lt = Some(moment);
        }
    }
}

/// Reads an enhanced status code of a failure, such as 5.7.1 (RFC 3463 §2).
#[must_use]
pub fn parse_status(text: &str) -> Option<action::dsn::Status> {
    let mut parts = text.trim().splitn(3, '.').map(|part| {
        let fits = (1..=3).contains(&part.len()) && part.bytes().all(|o| o.is_ascii_digit());
        part.parse::<u32>().ok().filter(|_| fits)
    });
    let (class, subject, detail) = (parts.next()??, parts.next()??, parts.next()??);
    (class == 5).then_some(action::dsn::Status { class, subject, detail })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn confirmed(selection: Selection) -> Confirmed {
        let (action, count) = (Action::Delete, 1204);
        Confirmed { action, selection, count, asked: 1000.0, waits: true, report: None }
    }

    #[test]
    fn no_selection_never_becomes_every_message() {
        for pairs in [&[][..], &[("scope", "selected")], &[("state", "HOLD")], &[("scope", "")]] {
            let selection = Selection::read(&fields(pairs));
            assert_eq!(selection.condition(), Err(SelectionError::Empty), "{pairs:?}");
        }
        assert!(Selection::Ids(vec!["x".into()]).condition().is_err());
    }

    #[test]
    fn a_selection_prints_what_it_reads() {
        for pairs in [
            &[("selected", "a:1"), ("selected", "b:2")][..],
            &[("scope", "all"), ("state", "HOLD"), ("age", ">1")],
        ] {
            let selection = Selection::read(&fields(pairs));
            let back: Vec<_> =
                selection.fields().into_iter().map(|(n, v)| (n.to_owned(), v)).collect();
            assert_eq!(Selection::read(&back), selection);
        }
    }

    #[test]
    fn what_came_after_the_question_is_left_alone() {
        let selection = Selection::read(&fields(&[
            ("scope", "all"),
            ("age", ">60"),
            ("ts", "<2020-01-01T00:00:00"),
        ]));
        let request = confirmed(selection).request().unwrap();
        assert_eq!(request.paging, Some(pb::Limit { limit: 1204 }));
        let tss = request.conditions.unwrap().tss;
        let moment = Some(TimeValue { value: Some(time_value::Value::Absolute(1000.0)) });
        assert_eq!(tss.len(), 2);
        assert!(tss.iter().all(|bounds| bounds.lte == moment));
        assert!(tss.iter().all(|bounds| bounds.lt.is_some()), "the bounds of the filter stay");
    }

    #[test]
    fn selected_messages_have_no_other_condition() {
        let selection = Selection::read(&fields(&[("selected", "a:1"), ("state", "HOLD")]));
        let request = confirmed(selection).request().unwrap();
        let condition = request.conditions.unwrap();
        assert_eq!(condition.ids.len(), 1);
        assert!(condition.freezes.is_empty() && condition.tss.is_empty());
        assert!(request.freeze);
    }

    #[test]
    fn a_retry_does_not_wait_for_attempts() {
        let selection = Selection::Ids(vec!["a:1".into()]);
        let request =
            Confirmed { action: Action::Retry, ..confirmed(selection) }.request().unwrap();
        assert!(!request.freeze);
    }

    #[test]
    fn only_failures_are_a_status_of_a_bounce() {
        let status = action::dsn::Status { class: 5, subject: 7, detail: 1 };
        assert_eq!(parse_status(" 5.7.1 "), Some(status));
        for text in ["", "5", "5.7", "4.7.1", "5.7.x", "5.7.1.2", "5.7.1234", "5.+7.1"] {
            assert_eq!(parse_status(text), None, "{text}");
        }
    }
}
