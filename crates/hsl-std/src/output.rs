//! Texts that grow piece by piece, within what an execution may use.
//!
//! A small value can have a huge text: an array may hold another one many times over. So a text is
//! held against the limit while it grows, not when it is complete.

use hsl::host::{CallContext, Thrown};
use hsl::value::Value;

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
        if let Value::String(text) = value {
            return self.extend(text);
        }
        let left = self.most.saturating_sub(self.octets.len());
        let written = hsl::ops::dump_within(value, &mut self.octets, left);
        if written.is_err() || self.octets.len() > self.most {
            return Err(Stop::Full);
        }
        Ok(())
    }

    /// Whether nothing was written so far.
    pub(crate) fn is_empty(&self) -> bool {
        self.octets.is_empty()
    }

    /// The text.
    pub(crate) fn into_octets(self) -> Vec<u8> {
        self.octets
    }
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

#[cfg(test)]
mod tests {
    use hsl::value::{Array, Key};

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
        assert!(out.octets.capacity() <= 1 << 20);
        assert_eq!(text(&Value::from("12345"), 4), Err(Stop::Full));
        assert_eq!(text(&Value::from("1234"), 4).unwrap(), b"1234");
    }
}
