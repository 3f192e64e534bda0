//! `array_sort`: a merge sort that asks a callback of the script for every comparison.
//!
//! Comparisons are what costs, as each one is a call of the script. Runs are merged from the bottom
//! up, and two runs that are in order already take one comparison, so a sorted array of n values
//! takes n − 1 and any array at most about n log₂ n. Equal values keep their order. A callback that
//! contradicts itself gives some order, never an endless loop.

use hsl::host::{CallContext, Continuation, NativeStep};
use hsl::value::{Array, Key, Value};
use smallvec::smallvec;

/// Starts sorting; `callback(a, b)` is true if a comes before b.
pub(super) fn start(callback: Value, array: &Array, by_key: bool) -> NativeStep {
    let entries: Vec<(Key, Value)> =
        array.iter().map(|(key, value)| (key, value.clone())).collect();
    let order = Order::new(entries.len());
    Box::new(Sort { callback, entries, order, by_key }).step()
}

struct Sort {
    callback: Value,
    entries: Vec<(Key, Value)>,
    order: Order,
    by_key: bool,
}

impl Sort {
    fn step(mut self: Box<Self>) -> NativeStep {
        let Some((a, b)) = self.order.question() else {
            return NativeStep::Return(self.finish());
        };
        NativeStep::Call {
            function: self.callback.clone(),
            arguments: smallvec![self.operand(a), self.operand(b)],
            then: self,
        }
    }

    fn operand(&self, at: usize) -> Value {
        match self.entries.get(at) {
            Some((key, _)) if self.by_key => key.to_value(),
            Some((_, value)) => value.clone(),
            None => Value::None,
        }
    }

    fn finish(mut self) -> Value {
        let mut out = Array::new();
        for &at in &self.order.order {
            if let Some((key, value)) = self.entries.get_mut(at as usize) {
                out.insert(key.clone(), value.take());
            }
        }
        out.into()
    }
}

impl Continuation for Sort {
    fn resume(mut self: Box<Self>, _: &mut CallContext<'_>, value: Value) -> NativeStep {
        self.order.answer(value.is_truthy());
        self.step()
    }
}

/// The sort itself: which elements to compare next, by position in the array.
struct Order {
    /// Positions of elements: runs of `width` that are in order.
    order: Vec<u32>,
    /// Runs of twice the width, as far as they are merged.
    merged: Vec<u32>,
    width: usize,
    merge: Option<Merge>,
}

/// Two neighbouring runs of `order` on their way into `merged`.
#[derive(Clone, Copy)]
struct Merge {
    left: usize,
    middle: usize,
    right: usize,
    end: usize,
    /// The first question is whether the runs are in order as they are.
    is_first: bool,
}

// Positions in `order` stay below its length: `left < middle` and `right < end <= order.len()` hold
// for every merge under way.
impl Order {
    fn new(len: usize) -> Self {
        // Keys are 32 bits wide, so positions fit.
        let order = (0..len as u32).collect();
        Self { order, merged: Vec::with_capacity(len), width: 1, merge: None }
    }

    /// The two elements to compare next: does the first come before the second? `None` when the
    /// order is found.
    fn question(&mut self) -> Option<(usize, usize)> {
        loop {
            if let Some(merge) = self.merge {
                let other = if merge.is_first { merge.middle - 1 } else { merge.left };
                return Some((self.order[merge.right] as usize, self.order[other] as usize));
            }
            let left = self.merged.len();
            let middle = (left + self.width).min(self.order.len());
            let end = (middle + self.width).min(self.order.len());
            if middle < end {
                self.merge = Some(Merge { left, middle, right: middle, end, is_first: true });
            } else if self.width >= self.order.len() {
                return None;
            } else if left < self.order.len() {
                // A run without neighbour.
                self.merged.extend_from_slice(&self.order[left..]);
            } else {
                std::mem::swap(&mut self.order, &mut self.merged);
                self.merged.clear();
                self.width *= 2;
            }
        }
    }

    /// Takes the answer to the last question.
    fn answer(&mut self, right_first: bool) {
        // A question is only asked while a merge is under way.
        let Some(mut merge) = self.merge.take() else { return };
        if merge.is_first {
            if right_first {
                merge.is_first = false;
                self.merge = Some(merge);
            } else {
                self.merged.extend_from_slice(&self.order[merge.left..merge.end]);
            }
            return;
        }
        if right_first {
            self.merged.push(self.order[merge.right]);
            merge.right += 1;
        } else {
            self.merged.push(self.order[merge.left]);
            merge.left += 1;
        }
        if merge.left == merge.middle || merge.right == merge.end {
            self.merged.extend_from_slice(&self.order[merge.left..merge.middle]);
            self.merged.extend_from_slice(&self.order[merge.right..merge.end]);
        } else {
            self.merge = Some(merge);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Sorts with a comparison in Rust, counting the questions.
    fn sort(items: &[i32], before: impl Fn(i32, i32) -> bool) -> (Vec<i32>, usize) {
        let mut order = Order::new(items.len());
        let mut questions = 0;
        while let Some((a, b)) = order.question() {
            questions += 1;
            order.answer(before(items[a], items[b]));
        }
        (order.order.iter().map(|&at| items[at as usize]).collect(), questions)
    }

    #[test]
    fn a_sorted_array_takes_one_question_for_each_neighbour() {
        let items: Vec<i32> = (0..1000).collect();
        assert_eq!(sort(&items, |a, b| a < b), (items, 999));
    }

    #[test]
    fn a_callback_that_always_says_yes_comes_to_an_end() {
        let (sorted, questions) = sort(&[1; 1000], |_, _| true);
        assert_eq!(sorted.len(), 1000);
        assert!(questions < 12_000);
    }

    proptest! {
        #[test]
        fn sorts_with_at_most_n_log_n_questions(items in prop::collection::vec(-50..50, 0..200)) {
            let (sorted, questions) = sort(&items, |a, b| a < b);
            let mut expected = items.clone();
            expected.sort_unstable();
            prop_assert_eq!(sorted, expected);
            let n = items.len().max(2) as f64;
            prop_assert!(questions as f64 <= n * (n.log2().ceil() + 1.0));
        }
    }
}
