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
    let items = |operands: &mut dyn Iterator<Item = Value>| {
        // Keys are 32 bits wide, so positions fit.
        operands.zip(0..).map(|(operand, at)| Item { operand, at }).collect::<Vec<_>>()
    };
    let sort = if by_key {
        Sort {
            callback,
            order: Order::new(items(&mut array.keys().map(|key| key.to_value()))),
            keys: None,
            values: Some(array.values().cloned().collect()),
            is_answered: false,
        }
    } else {
        Sort {
            callback,
            order: Order::new(items(&mut array.values().cloned())),
            keys: array.as_list().is_none().then(|| array.keys().collect()),
            values: None,
            is_answered: false,
        }
    };
    Box::new(sort).step()
}

struct Sort {
    callback: Value,
    order: Order<Item>,
    /// The keys by position, unless they are the positions or what is sorted.
    keys: Option<Vec<Key>>,
    /// The values by position, unless they are what is sorted.
    values: Option<Vec<Value>>,
    /// Whether `order` has the last answer already.
    is_answered: bool,
}

/// What the callback compares, and where in the array it comes from. Both move as one: the sort reads
/// memory from front to back.
#[derive(Default)]
struct Item {
    operand: Value,
    at: u32,
}

impl Sort {
    fn step(mut self: Box<Self>) -> NativeStep {
        let Some((a, b)) = self.order.question() else {
            return NativeStep::Return(self.finish());
        };
        let arguments = smallvec![a.operand.clone(), b.operand.clone()];
        NativeStep::Call { function: self.callback.clone(), arguments, then: self }
    }

    fn finish(self) -> Value {
        let Self { order, mut keys, mut values, .. } = self;
        let entries = order.order.into_iter().map(|Item { operand, at }| {
            if let Some(values) = &mut values {
                let value = values.get_mut(at as usize).map(Value::take).unwrap_or_default();
                return (Key::from_value(&operand), value);
            }
            let key = match &mut keys {
                Some(keys) => keys.get_mut(at as usize).map(|key| {
                    std::mem::replace(key, Key::Int(0)) // each is taken once
                }),
                None => i32::try_from(at).ok().map(Key::Int),
            };
            (key.unwrap_or(Key::Int(0)), operand)
        });
        Array::from_distinct(entries).into()
    }
}

impl Continuation for Sort {
    fn resume(mut self: Box<Self>, _: &mut CallContext<'_>, value: Value) -> NativeStep {
        if !std::mem::take(&mut self.is_answered) {
            self.order.answer(value.is_truthy());
        }
        self.step()
    }

    fn again(&mut self, value: &mut Value, arguments: &mut [Value]) -> bool {
        self.order.answer(value.is_truthy());
        if let (Some((a, b)), [first, second]) = (self.order.question(), arguments) {
            first.clone_from(&a.operand);
            second.clone_from(&b.operand);
            return true;
        }
        self.is_answered = true;
        false
    }
}

/// The sort itself: which items to compare next.
struct Order<T> {
    /// Runs of `width` that are in order.
    order: Vec<T>,
    /// Runs of twice the width, as far as they are merged.
    merged: Vec<T>,
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
impl<T: Default> Order<T> {
    fn new(items: Vec<T>) -> Self {
        let merged = Vec::with_capacity(items.len());
        Self { order: items, merged, width: 1, merge: None }
    }

    /// The two items to compare next: does the first come before the second? `None` when the order
    /// is found.
    #[inline]
    fn question(&mut self) -> Option<(&T, &T)> {
        if self.merge.is_none() {
            self.next_merge();
        }
        let merge = self.merge?;
        let other = if merge.is_first { merge.middle - 1 } else { merge.left };
        Some((&self.order[merge.right], &self.order[other]))
    }

    /// Looks for the next pair of runs.
    fn next_merge(&mut self) {
        loop {
            let left = self.merged.len();
            let middle = (left + self.width).min(self.order.len());
            let end = (middle + self.width).min(self.order.len());
            if middle < end {
                let merge = Merge { left, middle, right: middle, end, is_first: true };
                self.merge = Some(merge);
                return;
            } else if self.width >= self.order.len() {
                return;
            } else if left < self.order.len() {
                // A run without neighbour.
                self.take(left..middle);
            } else {
                std::mem::swap(&mut self.order, &mut self.merged);
                self.merged.clear();
                self.width *= 2;
            }
        }
    }

    /// Takes the answer to the last question.
    #[inline]
    fn answer(&mut self, right_first: bool) {
        // A question is only asked while a merge is under way.
        let Some(merge) = &mut self.merge else { return };
        if merge.is_first {
            if !right_first {
                let whole = merge.left..merge.end;
                self.merge = None;
                self.take(whole);
                return;
            }
            merge.is_first = false;
            if merge.left + 1 < merge.middle {
                return;
            }
            // A run of one: the answer is that to the next question as well.
        }
        let next = if right_first { &mut merge.right } else { &mut merge.left };
        let at = *next;
        *next += 1;
        let Merge { left, middle, right, end, .. } = *merge;
        self.merged.push(std::mem::take(&mut self.order[at]));
        if left == middle || right == end {
            self.merge = None;
            self.take(left..middle);
            self.take(right..end);
        }
    }

    /// Moves items that are in order.
    fn take(&mut self, range: std::ops::Range<usize>) {
        self.merged.extend(self.order[range].iter_mut().map(std::mem::take));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Sorts with a comparison in Rust, counting the questions.
    fn sort(items: &[i32], before: impl Fn(i32, i32) -> bool) -> (Vec<i32>, usize) {
        let mut order = Order::new(items.to_vec());
        let mut questions = 0;
        while let Some((&a, &b)) = order.question() {
            questions += 1;
            order.answer(before(a, b));
        }
        (order.order, questions)
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
