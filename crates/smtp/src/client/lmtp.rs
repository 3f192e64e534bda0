//! What LMTP does differently: one reply per accepted recipient after the content (RFC 2033 §4.2).

use std::collections::VecDeque;

use super::State;
use super::pipeline::{Fate, Transaction};
use super::session::Expected;

/// Expects the replies to the content, in the order of the accepted recipients.
pub(super) fn expect_replies(transaction: &Transaction, expected: &mut VecDeque<Expected>) {
    for (recipient, fate) in transaction.fates.iter().enumerate() {
        if *fate == Fate::Accepted {
            expected.push_back(Expected { state: State::Eod, recipient, last: true });
        }
    }
}
