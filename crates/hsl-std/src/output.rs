//! Texts that grow piece by piece, within what an execution may use.
//!
//! A small value can have a huge text: an array may hold another one many times over. So a text is
//! held against the limit while it grows, not when it is complete.

use std::borrow::Cow;

use hsl::host::{CallContext, Thrown};
use hsl::value::{Array, Key, Value};

/// A text being made.
pub(crate) struct Output {
    octets: Vec<u8>,
    most: usize,
}

/// Why there is no text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// It would be longer than allowed.
    Full,
    /// The values have none.
    Unfit,
}

impl Output {
    /// An empty text of at most `most` octets.
    pub(crate) fn new(most: usize) -> Self {
        Self { octets: Vec::new(), most }
    }

    /// Makes sure of room for `more` octets.
    ///
    /// # Errors
    ///
    /// [`Stop::Full`].
    pub(crate) fn room(&mut self, more: usize) -> Result<&mut Vec<u8>, Stop> {
        let needed = self.octets.len().saturating_add(more);
        if needed > self.most {
            return Err(Stop::Full);
        }
        if needed > self.octets.capacity() {
            // By doubling, but not beyond what will ever be needed.
            let wanted = needed.max(self.octets.capacity().saturating_mul(2)).max(128);
            self.octets.reserve_exact(wanted.min(self.most).max(needed) - self.octets.len());
        }
        Ok(&mut self.octets)
    }

    /// Appends octets.
    ///
    /// # Errors
    ///
    /// [`Stop::Full`].
    pub(crate) fn extend(&mut self, octets: &[u8]) -> Result<(), Stop> {
        self.room(octets.len())?.extend_from_slice(octets);
        Ok(())
    }

    /// Appends one octet.
    ///
    /// # Errors
    ///
    /// [`Stop::Full`].
    pub(crate) fn push(&mut self, octet: u8) -> Result<(), Stop> {
        self.room(1)?.push(octet);
        Ok(())
    }

    /// Appends the text of a value, as the language makes it.
    ///
    /// # Errors
    ///
    /// [`Stop::Full`].
    pub(crate) fn text(&mut self, value: &Value) -> Result<(), Stop> {
        match value {
            Value::String(text) => self.extend(text),
            Value::Array(array) => self.dump(array),
            other => {
                hsl::ops::write_text(other, self.room(LEAF_OCTETS)?);
                Ok(())
            }
        }
    }

    /// Whether nothing was written so far.
    pub(crate) fn is_empty(&self) -> bool {
        self.octets.is_empty()
    }

    /// The text.
    pub(crate) fn into_octets(self) -> Vec<u8> {
        self.octets
    }

    /// Appends an array as `hsl::ops::dump` does, which knows no limit.
    fn dump(&mut self, array: &Array) -> Result<(), Stop> {
        // What is still to be written, the next one last.
        let mut work = vec![self.open(array)?];
        while let Some(mut task) = work.pop() {
            if let Some(value) = task.value.take() {
                self.extend(b"=>")?;
                if let Value::Array(inner) = value {
                    let inner = self.open(inner)?;
                    work.extend([task, inner]);
                    continue;
                }
                self.leaf(value)?;
            }
            let Some((key, value)) = task.rest.next() else {
                self.push(b']')?;
                continue;
            };
            if !std::mem::take(&mut task.is_first) {
                self.push(b',')?;
            }
            task.value = Some(value);
            match key {
                Cow::Borrowed(Key::Other(key)) if let Value::Array(key) = &**key => {
                    let key = self.open(key)?;
                    work.extend([task, key]);
                }
                key => {
                    self.leaf(&key.to_value())?;
                    work.push(task);
                }
            }
        }
        Ok(())
    }

    fn open<'a>(&mut self, array: &'a Array) -> Result<Elements<'a>, Stop> {
        self.push(b'[')?;
        Ok(Elements { rest: Box::new(array.pairs()), is_first: true, value: None })
    }

    /// Appends what is no array, strings in quotes.
    fn leaf(&mut self, value: &Value) -> Result<(), Stop> {
        let Value::String(text) = value else {
            hsl::ops::dump(value, self.room(LEAF_OCTETS)?);
            return Ok(());
        };
        self.push(b'"')?;
        let mut quoted = Vec::new();
        for piece in text.chunks(PIECE_OCTETS) {
            quoted.clear();
            hsl::ops::dump(&Value::from(piece), &mut quoted);
            if let [_, inner @ .., _] = &*quoted {
                self.extend(inner)?;
            }
        }
        self.push(b'"')
    }
}

/// What is still to be written of an array.
struct Elements<'a> {
    rest: Box<dyn Iterator<Item = (Cow<'a, Key>, &'a Value)> + 'a>,
    is_first: bool,
    /// The value whose key was written.
    value: Option<&'a Value>,
}

/// Accounts for a text, and turns the end of the work into what a function returns: none for values
/// that have no text.
///
/// # Errors
///
/// The limit error when the text would be longer than the execution may use.
pub(crate) fn finish(
    ctx: &mut CallContext<'_>,
    result: Result<Vec<u8>, Stop>,
) -> Result<Option<Vec<u8>>, Thrown> {
    match result {
        Ok(made) => {
            ctx.charge_memory(made.len())?;
            Ok(Some(made))
        }
        Err(Stop::Unfit) => Ok(None),
        Err(Stop::Full) => {
            ctx.charge_memory(usize::MAX)?;
            Ok(None)
        }
    }
}

/// More than numbers and names of types are long.
const LEAF_OCTETS: usize = 64;
/// Octets that are quoted at once.
const PIECE_OCTETS: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: &Value, most: usize) -> Result<Vec<u8>, Stop> {
        let mut out = Output::new(most);
        out.text(value)?;
        Ok(out.into_octets())
    }

    #[test]
    fn texts_are_those_of_the_language() {
        let long: String = "a\"\n\u{1}é$".repeat(2000);
        let inner = Value::map([("k", Value::from(1.5)), ("none", Value::None)]);
        let mut odd = Array::new();
        odd.insert(Key::from_value(&inner), Value::list([inner.clone(), Value::list([])]));
        odd.insert(Key::from("long"), Value::from(long.as_str()));
        odd.insert(Key::Int(-3), Value::Bool(true));
        for value in [Value::from(long.as_str()), Value::from(0.1), Value::None, odd.into(), inner]
        {
            let wanted = hsl::ops::to_text(&value);
            assert_eq!(text(&value, 1 << 20).as_deref(), Ok(wanted.as_bytes()));
        }
    }

    #[test]
    fn what_is_too_long_stops_within_the_limit() {
        let mut value = Value::from("\u{1}".repeat(100));
        for _ in 0..60 {
            value = Value::list([value.clone(), value]);
        }
        let mut out = Output::new(100_000);
        assert_eq!(out.text(&value), Err(Stop::Full));
        assert!(out.octets.capacity() <= 100_000);
        assert_eq!(text(&Value::from("12345"), 4), Err(Stop::Full));
        assert_eq!(text(&Value::from("1234"), 4).unwrap(), b"1234");
    }
}
