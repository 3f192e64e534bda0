//! What a message is called: a transaction is a UUID, a queued recipient a number within it.
//!
//! Printed forms are the reference product's: `b186d406-0c36-11ea-8dda-005056914940` and, for one
//! queued recipient, the same with `:1` behind it.

use std::fmt;
use std::str::FromStr;

/// Identity of one mail transaction: sixteen octets, printed as a lower-case UUID (RFC 9562 §4).
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransactionId(pub [u8; 16]);

impl TransactionId {
    /// The id that no transaction carries: all octets zero.
    pub const NIL: Self = Self([0; 16]);

    /// Takes the id from its sixteen octets, most significant first.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The sixteen octets, most significant first.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Writes the 36 characters of the printed form into `out`.
    #[must_use]
    pub fn to_ascii(self) -> [u8; 36] {
        let mut out = [b'-'; 36];
        let mut at = 0;
        for (index, byte) in self.0.iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                at += 1;
            }
            // `at` runs over 0..36: 32 digits and four gaps.
            out[at] = HEX[usize::from(byte >> 4)];
            out[at + 1] = HEX[usize::from(byte & 15)];
            at += 2;
        }
        out
    }
}

impl fmt::Display for TransactionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ascii = self.to_ascii();
        // The table holds ASCII only, so this never falls back.
        f.write_str(std::str::from_utf8(&ascii).unwrap_or_default())
    }
}

impl fmt::Debug for TransactionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for TransactionId {
    type Err = InvalidId;

    /// Parses the 36-character form; upper-case digits are accepted.
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let bytes = text.as_bytes();
        if bytes.len() != 36 {
            return Err(InvalidId);
        }
        let mut out = [0_u8; 16];
        let mut at = 0;
        for (index, slot) in out.iter_mut().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                if bytes[at] != b'-' {
                    return Err(InvalidId);
                }
                at += 1;
            }
            let high = char::from(bytes[at]).to_digit(16).ok_or(InvalidId)?;
            let low = char::from(bytes[at + 1]).to_digit(16).ok_or(InvalidId)?;
            *slot = u8::try_from(high * 16 + low).map_err(|_| InvalidId)?;
            at += 2;
        }
        Ok(Self(out))
    }
}

/// Number of a recipient's copy within its transaction, counted from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueId(pub u32);

impl fmt::Display for QueueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Identity of one queued recipient copy, printed `transaction:queue`.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId {
    /// The transaction that brought the message in.
    pub transaction: TransactionId,
    /// Which of its recipients.
    pub queue: QueueId,
}

impl MessageId {
    /// Puts both halves together.
    #[must_use]
    pub const fn new(transaction: TransactionId, queue: QueueId) -> Self {
        Self { transaction, queue }
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.transaction, self.queue)
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for MessageId {
    type Err = InvalidId;

    /// Parses `transaction:queue`.
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let (transaction, queue) = text.split_once(':').ok_or(InvalidId)?;
        if queue.is_empty() || !queue.bytes().all(|b| b.is_ascii_digit()) {
            return Err(InvalidId);
        }
        Ok(Self {
            transaction: transaction.parse()?,
            queue: QueueId(queue.parse().map_err(|_| InvalidId)?),
        })
    }
}

/// The text is no id of the wanted kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidId;

impl fmt::Display for InvalidId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a message id of the form `uuid` or `uuid:number`")
    }
}

impl std::error::Error for InvalidId {}

const HEX: &[u8; 16] = b"0123456789abcdef";

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "b186d406-0c36-11ea-8dda-005056914940";

    #[test]
    fn prints_and_parses_the_documented_example() {
        let id: TransactionId = TEXT.parse().unwrap();
        assert_eq!(id.to_string(), TEXT);
        let message: MessageId = format!("{TEXT}:1").parse().unwrap();
        assert_eq!(message, MessageId::new(id, QueueId(1)));
        assert_eq!(message.to_string(), format!("{TEXT}:1"));
    }

    #[test]
    fn refuses_what_is_no_id() {
        for text in
            ["", "x", "b186d4060c3611ea8dda005056914940", "b186d406-0c36-11ea-8dda_005056914940"]
        {
            assert_eq!(text.parse::<TransactionId>(), Err(InvalidId), "{text}");
        }
        for tail in ["", ":", ":x", ":-1", ":+1", ":1:2", ":99999999999"] {
            assert_eq!(format!("{TEXT}{tail}").parse::<MessageId>(), Err(InvalidId), "{tail}");
        }
    }

    proptest::proptest! {
        #[test]
        fn parse_undoes_print(bytes: [u8; 16], number: u32) {
            let id = MessageId::new(TransactionId(bytes), QueueId(number));
            proptest::prop_assert_eq!(id.to_string().parse(), Ok(id));
        }

        #[test]
        fn parsing_never_panics(text in "\\PC{0,60}") {
            let _ = text.parse::<MessageId>();
        }
    }
}
