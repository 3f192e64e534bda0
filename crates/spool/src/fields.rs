//! A compact, versioned encoding for metadata of messages and rows: tagged fields.
//!
//! The spool does not look inside what it stores; this is the encoding its users share, so that
//! `hqfcat` reads what `smtpd` wrote. A record is one version octet and then fields, each a tag, a
//! length and that many octets; tag and length are LEB128 numbers (seven bits per octet, lowest
//! first). A tag may repeat (lists); unknown tags are skipped, so fields can be added without a new
//! version. The tags of mail metadata are in [`tag`].

/// The version octet written in front.
pub const VERSION: u8 = 1;

/// Numbers of the fields of messages and rows. A number, once given, keeps its meaning for ever.
///
/// Integers are unsigned little-endian without leading zero octets; times are microseconds since
/// 1970; texts are UTF-8 or the octets the peer sent. Message fields are below 64, fields of a
/// row's constant part from 64, fields of a row's state from 96.
pub mod tag {
    macro_rules! tags {
        ($($(#[doc = $doc:literal])+ $name:ident = $number:literal;)+) => {
            $($(#[doc = $doc])+ pub const $name: u32 = $number;)+
            /// Every tag with its name, for tools that print records.
            pub const NAMES: &[(u32, &str)] = &[$(($number, stringify!($name))),+];
        };
    }
    tags! {
        /// When the message was received: time.
        TS = 1;
        /// The server (listener) that received it: text.
        SERVERID = 2;
        /// Sender localpart: text; missing with the domain for the null sender.
        SENDER_LOCALPART = 3;
        /// Sender domain: text.
        SENDER_DOMAIN = 4;
        /// The peer's address: text.
        SENDERIP = 5;
        /// The peer's HELO or EHLO name: text.
        SENDERHELO = 6;
        /// The name the peer authenticated as: text.
        SASLUSERNAME = 7;
        /// Decoded subject: text.
        SUBJECT = 8;
        /// DSN ENVID: text, decoded.
        DSN_ENVID = 9;
        /// DSN RET: text, `FULL` or `HDRS`.
        DSN_RET = 10;
        /// Stage of the configuration that accepted it: text.
        STAGEID = 11;
        /// Whether SMTPUTF8 is needed onward: integer 0 or 1.
        SMTPUTF8 = 12;
        /// Message metadata set by scripts, one entry per field: a nested record with
        /// [`ENTRY_KEY`] and [`ENTRY_VALUE`]; in a row's part or state it belongs to that row.
        METADATA = 13;
        /// Key of a metadata entry: text.
        ENTRY_KEY = 14;
        /// Value of a metadata entry: text.
        ENTRY_VALUE = 15;
        /// Tenant: text.
        TENANT = 16;
        /// Whether the content has octets beyond ASCII: integer 0 or 1.
        EIGHTBIT = 17;

        /// Recipient localpart: text.
        RECIPIENT_LOCALPART = 64;
        /// Recipient domain: text.
        RECIPIENT_DOMAIN = 65;
        /// Transport: text.
        TRANSPORTID = 66;
        /// Job: text.
        JOBID = 67;
        /// Grouping: text.
        GROUPING = 68;
        /// A tag; repeats: text.
        TAG = 69;
        /// A quota it counts in; repeats: text.
        QUOTA = 70;
        /// DSN NOTIFY: text as in the command.
        DSN_NOTIFY = 71;
        /// DSN ORCPT: text as in the command.
        DSN_ORCPT = 72;
        /// Priority 0 or 1: integer.
        PRIORITY = 73;
        /// A local address to send from; repeats: text.
        LOCALIP = 74;
        /// Whether the local addresses are tried in order: integer 0 or 1.
        LOCALIPSORDERED = 75;
        /// Fixed remote address: text.
        REMOTEIP = 76;
        /// Fixed remote MX: text.
        REMOTEMX = 77;
        /// Changes to the message for this recipient: octets in the daemon's own encoding.
        PATCH = 78;

        /// `0` active, `1` defer, `2` hold: integer.
        STATE = 96;
        /// Attempts so far: integer.
        RETRY = 97;
        /// When the next attempt is due: time.
        RETRYTS = 98;
        /// Delay that led to it: microseconds.
        RETRYDELAY = 99;
        /// Why it was deferred: text.
        RETRYREASON = 100;
    }
}

/// Builds one record.
#[derive(Clone, Debug)]
pub struct FieldWriter {
    out: Vec<u8>,
}

impl Default for FieldWriter {
    fn default() -> Self {
        Self::new()
    }
}

impl FieldWriter {
    /// An empty record.
    #[must_use]
    pub fn new() -> Self {
        Self { out: vec![VERSION] }
    }

    /// An empty record in a buffer that is reused.
    #[must_use]
    pub fn reuse(mut buffer: Vec<u8>) -> Self {
        buffer.clear();
        buffer.push(VERSION);
        Self { out: buffer }
    }

    /// Adds a field of octets or text.
    pub fn octets(&mut self, tag: u32, value: &[u8]) -> &mut Self {
        self.number(u64::from(tag));
        self.number(value.len() as u64);
        self.out.extend_from_slice(value);
        self
    }

    /// Adds a field with an integer.
    pub fn integer(&mut self, tag: u32, value: u64) -> &mut Self {
        let used = 8 - value.leading_zeros() as usize / 8;
        // `used` is 0..=8.
        self.octets(tag, &value.to_le_bytes()[..used])
    }

    /// The finished record.
    #[must_use]
    pub fn finish(self) -> Box<[u8]> {
        self.out.into_boxed_slice()
    }

    /// The finished record, borrowed: for use with [`FieldWriter::reuse`].
    #[must_use]
    pub fn as_octets(&self) -> &[u8] {
        &self.out
    }

    /// Gives the buffer back.
    #[must_use]
    pub fn into_buffer(self) -> Vec<u8> {
        self.out
    }

    fn number(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.out.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.out.push(value as u8);
    }
}

/// Reads one record, field by field.
#[derive(Clone, Debug)]
pub struct FieldReader<'a> {
    rest: &'a [u8],
}

impl<'a> FieldReader<'a> {
    /// Starts on a record. An empty one has no fields.
    ///
    /// # Errors
    ///
    /// [`FieldError`] when a version this program does not know is in front.
    pub fn new(record: &'a [u8]) -> Result<Self, FieldError> {
        match record.split_first() {
            None => Ok(Self { rest: record }),
            Some((&VERSION, rest)) => Ok(Self { rest }),
            Some(_) => Err(FieldError),
        }
    }

    fn number(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let (&octet, rest) = self.rest.split_first()?;
            self.rest = rest;
            let bits = u64::from(octet & 0x7F);
            if shift == 63 && bits > 1 {
                return None;
            }
            value |= bits << shift;
            if octet < 0x80 {
                return Some(value);
            }
        }
        None
    }

    fn field(&mut self) -> Option<Field<'a>> {
        let tag = u32::try_from(self.number()?).ok()?;
        let len = usize::try_from(self.number()?).ok()?;
        let (value, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(Field { tag, value })
    }
}

impl<'a> Iterator for FieldReader<'a> {
    type Item = Result<Field<'a>, FieldError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        Some(self.field().ok_or_else(|| {
            self.rest = &[];
            FieldError
        }))
    }
}

/// One field of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// Its number.
    pub tag: u32,
    /// Its octets.
    pub value: &'a [u8],
}

impl Field<'_> {
    /// The value as an integer; `None` when it has more than eight octets.
    #[must_use]
    pub fn integer(&self) -> Option<u64> {
        let mut octets = [0; 8];
        octets.get_mut(..self.value.len())?.copy_from_slice(self.value);
        Some(u64::from_le_bytes(octets))
    }
}

/// The octets are no record of tagged fields in a version known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("metadata record is damaged or of an unknown version")]
pub struct FieldError;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn tag_numbers_are_unique() {
        let mut numbers: Vec<u32> = tag::NAMES.iter().map(|(number, _)| *number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), tag::NAMES.len());
    }

    #[test]
    fn a_cut_record_is_an_error_and_then_ends() {
        let mut writer = FieldWriter::new();
        writer.octets(tag::SUBJECT, b"hello");
        let record = writer.finish();
        let mut reader = FieldReader::new(&record[..record.len() - 1]).unwrap();
        assert_eq!(reader.next(), Some(Err(FieldError)));
        assert_eq!(reader.next(), None);
        assert!(FieldReader::new(&[9, 1, 0]).is_err());
    }

    proptest! {
        #[test]
        fn reading_undoes_writing(
            fields in prop::collection::vec((any::<u32>(), prop::collection::vec(any::<u8>(), 0..200)), 0..20),
            number: u64,
        ) {
            let mut writer = FieldWriter::new();
            for (tag, value) in &fields {
                writer.octets(*tag, value);
            }
            writer.integer(7, number);
            let record = writer.finish();
            let mut read: Vec<Field<'_>> =
                FieldReader::new(&record).unwrap().collect::<Result<_, _>>().unwrap();
            prop_assert_eq!(read.pop().unwrap().integer(), Some(number));
            let read: Vec<(u32, Vec<u8>)> =
                read.iter().map(|field| (field.tag, field.value.to_vec())).collect();
            prop_assert_eq!(read, fields);
        }

        #[test]
        fn reading_never_panics(octets in prop::collection::vec(any::<u8>(), 0..100)) {
            if let Ok(reader) = FieldReader::new(&octets) {
                for field in reader.flatten() {
                    let _ = field.integer();
                }
            }
        }
    }
}
