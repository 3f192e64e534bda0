//! Where a row stands: every legal combination of the protocol's three facets, and the table of
//! moves between them.
//!
//! The control protocol shows a row as one of *queue* `ACTIVE`/`DEFER`, *freeze* `HOLD`/`UPDATE`
//! or *working* `UNKNOWN`/`SENDING`, the last with `updatefreezing`. Here that is one value, so two
//! facets can never disagree. [`State::after`] is the only place that knows which move is legal.

use std::fmt;

/// Where a queued row stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum State {
    /// Queue `ACTIVE`: resolved, waiting for policies to let it go.
    Active,
    /// Queue `DEFER`: waiting for its time; a row that is due stays here until it is taken.
    Defer,
    /// Freeze `HOLD`: parked until somebody moves it.
    Hold,
    /// Freeze `UPDATE`: frozen while an external program changes or exports it.
    Update,
    /// Working `UNKNOWN`: in a hook, in DNS, being moved.
    Unknown,
    /// As [`State::Unknown`], and a freeze takes effect when the work ends.
    UnknownFreezing,
    /// Working `SENDING`: a delivery attempt is in progress.
    Sending,
    /// As [`State::Sending`], and a freeze takes effect when the work ends.
    SendingFreezing,
}

impl State {
    /// Every state, in the order of their discriminants.
    pub const ALL: [Self; 8] = [
        Self::Active,
        Self::Defer,
        Self::Hold,
        Self::Update,
        Self::Unknown,
        Self::UnknownFreezing,
        Self::Sending,
        Self::SendingFreezing,
    ];

    /// The protocol's view of the state.
    #[must_use]
    pub const fn facet(self) -> Facet {
        match self {
            Self::Active => Facet::Queue(QueueFacet::Active),
            Self::Defer => Facet::Queue(QueueFacet::Defer),
            Self::Hold => Facet::Freeze(FreezeFacet::Hold),
            Self::Update => Facet::Freeze(FreezeFacet::Update),
            Self::Unknown => working(WorkingFacet::Unknown, false),
            Self::UnknownFreezing => working(WorkingFacet::Unknown, true),
            Self::Sending => working(WorkingFacet::Sending, false),
            Self::SendingFreezing => working(WorkingFacet::Sending, true),
        }
    }

    /// Tells whether somebody works on the row, so that updates count it as busy.
    #[must_use]
    pub const fn is_working(self) -> bool {
        matches!(self.facet(), Facet::Working { .. })
    }

    /// What `step` makes of a row in this state: the table of moves.
    ///
    /// # Errors
    ///
    /// [`IllegalMove`] when the row cannot make that step from here.
    pub const fn after(self, step: Move) -> Result<Next, IllegalMove> {
        use State::{
            Active, Defer, Hold, Sending, SendingFreezing, Unknown, UnknownFreezing, Update,
        };
        Ok(Next::To(match (step, self) {
            (Move::Prepare, Defer) => Unknown,
            (Move::Seize, Active | Defer | Hold | Update) => Unknown,
            (Move::Activate, Unknown) => Active,
            (Move::Pick, Active) => Sending,
            (Move::Schedule, Active | Defer | Hold | Update | Unknown | Sending) => Defer,
            (Move::Hold, Active | Defer | Hold | Update | Unknown | Sending) => Hold,
            (Move::Freeze, Active | Defer | Hold | Update) => Update,
            (Move::Freeze, Unknown | UnknownFreezing) => UnknownFreezing,
            (Move::Freeze, Sending | SendingFreezing) => SendingFreezing,
            // The freeze that was asked for takes effect wherever the work would have led.
            (Move::Activate, UnknownFreezing) => Update,
            (Move::Schedule | Move::Hold, UnknownFreezing | SendingFreezing) => Update,
            (Move::End, Unknown | UnknownFreezing | Sending | SendingFreezing) => {
                return Ok(Next::Gone);
            }
            (
                Move::Prepare | Move::Seize | Move::Activate | Move::Pick | Move::End,
                Active | Defer | Hold | Update | Unknown | UnknownFreezing | Sending
                | SendingFreezing,
            ) => return Err(IllegalMove { from: self, step }),
        }))
    }
}

/// One step that a row can be asked to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Move {
    /// Its time has come: the pre-delivery hook and DNS take it.
    Prepare,
    /// An update takes it away from where it waits, to run the post-delivery hook on it.
    Seize,
    /// Hook and DNS are done; it waits for pickup.
    Activate,
    /// The pickup lets it go.
    Pick,
    /// It shall be tried at a time.
    Schedule,
    /// It shall be parked.
    Hold,
    /// An external program wants it frozen.
    Freeze,
    /// Delivered, bounced or deleted; only work can end a row.
    End,
}

impl Move {
    /// Every move.
    pub const ALL: [Self; 8] = [
        Self::Prepare,
        Self::Seize,
        Self::Activate,
        Self::Pick,
        Self::Schedule,
        Self::Hold,
        Self::Freeze,
        Self::End,
    ];
}

/// Result of a legal move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The row stands there now.
    To(State),
    /// The row is no more.
    Gone,
}

/// The control protocol's three state families.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Facet {
    /// In one of the two queues.
    Queue(QueueFacet),
    /// Frozen.
    Freeze(FreezeFacet),
    /// Being worked on.
    Working {
        /// With what.
        working: WorkingFacet,
        /// A freeze takes effect when the work ends.
        updatefreezing: bool,
    },
}

/// `Queue` of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum QueueFacet {
    /// 0: waiting for policies.
    Active,
    /// 1: waiting for its time.
    Defer,
}

/// `Freeze` of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FreezeFacet {
    /// 0: parked.
    Hold,
    /// 1: frozen by an external program.
    Update,
}

/// `Working` of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WorkingFacet {
    /// 0: in a hook, in DNS, being moved.
    Unknown,
    /// 1: attempt in progress.
    Sending,
}

/// A move that the table does not allow; the caller and the queue disagree about the row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IllegalMove {
    /// Where the row stands.
    pub from: State,
    /// What it was asked to do.
    pub step: Move,
}

impl fmt::Display for IllegalMove {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a row in state {:?} cannot make the move {:?}", self.from, self.step)
    }
}

impl std::error::Error for IllegalMove {}

const fn working(working: WorkingFacet, updatefreezing: bool) -> Facet {
    Facet::Working { working, updatefreezing }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One line per state, one column per move in the order of `Move::ALL`; `-` is illegal.
    const TABLE: &[(State, [&str; 8])] = &[
        (State::Active, ["-", "Unknown", "-", "Sending", "Defer", "Hold", "Update", "-"]),
        (State::Defer, ["Unknown", "Unknown", "-", "-", "Defer", "Hold", "Update", "-"]),
        (State::Hold, ["-", "Unknown", "-", "-", "Defer", "Hold", "Update", "-"]),
        (State::Update, ["-", "Unknown", "-", "-", "Defer", "Hold", "Update", "-"]),
        (State::Unknown, ["-", "-", "Active", "-", "Defer", "Hold", "UnknownFreezing", "gone"]),
        (
            State::UnknownFreezing,
            ["-", "-", "Update", "-", "Update", "Update", "UnknownFreezing", "gone"],
        ),
        (State::Sending, ["-", "-", "-", "-", "Defer", "Hold", "SendingFreezing", "gone"]),
        (
            State::SendingFreezing,
            ["-", "-", "-", "-", "Update", "Update", "SendingFreezing", "gone"],
        ),
    ];

    #[test]
    fn every_pair_of_state_and_move_is_in_the_table() {
        assert_eq!(TABLE.len(), State::ALL.len());
        for (state, row) in TABLE {
            for (step, expected) in Move::ALL.iter().zip(row) {
                let found = match state.after(*step) {
                    Ok(Next::To(next)) => format!("{next:?}"),
                    Ok(Next::Gone) => "gone".to_owned(),
                    Err(_) => "-".to_owned(),
                };
                assert_eq!(&found, expected, "{state:?} {step:?}");
            }
        }
    }

    #[test]
    fn only_work_ends_a_row() {
        for state in State::ALL {
            assert_eq!(state.after(Move::End).is_ok(), state.is_working(), "{state:?}");
        }
    }
}
