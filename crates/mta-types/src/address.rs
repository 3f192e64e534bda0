//! Mailboxes of the envelope: local part and domain, and the null sender.
//!
//! The value is what the SMTP parser found: quoting of the local part is already undone, so
//! `"a b"@example.org` has the local part `a b`. Printing quotes again where it is needed.

use std::fmt;

/// An envelope address (RFC 5321 §4.1.2): local part, domain, or neither for the null sender.
///
/// One allocation: both halves are kept in one string. Texts are UTF-8 (RFC 6531).
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// Local part, `@`, domain; empty for the null sender.
    text: Box<str>,
    /// Octets of the local part.
    local_len: u32,
}

impl Address {
    /// The null sender `<>` (RFC 5321 §4.5.5).
    #[must_use]
    pub fn null() -> Self {
        Self::default()
    }

    /// Puts an address together from an unquoted local part and a domain (or address literal).
    ///
    /// An empty domain is allowed (`<postmaster>`, RFC 5321 §4.1.1.3); both empty is the null
    /// sender.
    ///
    /// # Errors
    ///
    /// [`AddressError`] when a part has a control character, the domain an `@` or a space, or a
    /// part is longer than 1,024 octets (RFC 5321 §4.5.3.1 asks for 64 and 255; scripts may go
    /// beyond).
    pub fn new(local: &str, domain: &str) -> Result<Self, AddressError> {
        if local.is_empty() && domain.is_empty() {
            return Ok(Self::null());
        }
        if local.len() > MAX_PART || domain.len() > MAX_PART {
            return Err(AddressError::TooLong);
        }
        if local.chars().chain(domain.chars()).any(char::is_control) {
            return Err(AddressError::ControlCharacter);
        }
        if domain.contains(['@', ' ', '<', '>']) {
            return Err(AddressError::BadDomain);
        }
        let mut text = String::with_capacity(local.len() + 1 + domain.len());
        text.push_str(local);
        text.push('@');
        text.push_str(domain);
        // Bounded by MAX_PART above.
        Ok(Self { text: text.into_boxed_str(), local_len: local.len() as u32 })
    }

    /// Parses the written form, quoted local parts included; an empty text is the null sender.
    ///
    /// Angle brackets are not part of it. Without `@` the whole text is the local part.
    ///
    /// # Errors
    ///
    /// As [`Address::new`], and [`AddressError::BadQuoting`] when a quoted local part does not
    /// close.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let Some(quoted) = text.strip_prefix('"') else {
            let (local, domain) = text.rsplit_once('@').unwrap_or((text, ""));
            return Self::new(local, domain);
        };
        let mut local = String::with_capacity(quoted.len());
        let mut chars = quoted.char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '\\' => local.push(chars.next().ok_or(AddressError::BadQuoting)?.1),
                '"' => {
                    let rest = &quoted[at + 1..];
                    let domain = match rest.strip_prefix('@') {
                        Some(domain) => domain,
                        None if rest.is_empty() => "",
                        None => return Err(AddressError::BadQuoting),
                    };
                    return Self::new(&local, domain);
                }
                _ => local.push(c),
            }
        }
        Err(AddressError::BadQuoting)
    }

    /// The local part without quotes; empty for the null sender.
    #[must_use]
    pub fn local(&self) -> &str {
        self.text.get(..self.local_len as usize).unwrap_or_default()
    }

    /// The domain or address literal as given; empty for the null sender and bare local parts.
    #[must_use]
    pub fn domain(&self) -> &str {
        self.text.get(self.local_len as usize + 1..).unwrap_or_default()
    }

    /// Tells whether this is the null sender.
    #[must_use]
    pub fn is_null(&self) -> bool {
        self.text.is_empty()
    }

    /// Tells whether printing needs SMTPUTF8 (RFC 6531): any character beyond ASCII.
    #[must_use]
    pub fn is_utf8(&self) -> bool {
        !self.text.is_ascii()
    }

    /// The address in lower case, quoted where needed: what scripts see as `$sender`.
    ///
    /// Letters beyond ASCII are left alone.
    #[must_use]
    pub fn to_lowercase(&self) -> String {
        let mut text = self.to_string();
        text.make_ascii_lowercase();
        text
    }
}

impl fmt::Display for Address {
    /// Writes the path without angle brackets; nothing for the null sender.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_null() {
            return Ok(());
        }
        write_local(self.local(), f)?;
        if self.domain().is_empty() { Ok(()) } else { write!(f, "@{}", self.domain()) }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{self}>")
    }
}

/// Why two texts make no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AddressError {
    /// The domain has a character that none may have.
    BadDomain,
    /// The quoted local part does not close, or something else than `@` follows it.
    BadQuoting,
    /// A part has a control character.
    ControlCharacter,
    /// A part has more than 1,024 octets.
    TooLong,
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BadDomain => "the domain has a character that is not allowed there",
            Self::BadQuoting => "the quoted local part is not closed",
            Self::ControlCharacter => "the address has a control character",
            Self::TooLong => "the address is too long",
        })
    }
}

impl std::error::Error for AddressError {}

/// Writes a local part, as a quoted string when it is no dot-string (RFC 5321 §4.1.2).
fn write_local(local: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let plain = !local.is_empty()
        && local.split('.').all(|atom| !atom.is_empty() && atom.chars().all(is_atext));
    if plain {
        return f.write_str(local);
    }
    f.write_str("\"")?;
    for c in local.chars() {
        if matches!(c, '"' | '\\') {
            f.write_str("\\")?;
        }
        write!(f, "{c}")?;
    }
    f.write_str("\"")
}

/// Tells whether `c` may stand in an atom (RFC 5322 §3.2.3, RFC 6532 §3.2).
fn is_atext(c: char) -> bool {
    c.is_ascii_alphanumeric() || !c.is_ascii() || "!#$%&'*+-/=?^_`{|}~".contains(c)
}

/// Octets that one half may have; far over RFC 5321 §4.5.3.1, but bounded.
const MAX_PART: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_and_prints() {
        let address = Address::parse("User.Name@Example.ORG").unwrap();
        assert_eq!((address.local(), address.domain()), ("User.Name", "Example.ORG"));
        assert_eq!(address.to_string(), "User.Name@Example.ORG");
        assert_eq!(address.to_lowercase(), "user.name@example.org");
    }

    #[test]
    fn the_null_sender_has_neither_half() {
        for null in [Address::null(), Address::parse("").unwrap(), Address::new("", "").unwrap()] {
            assert!(null.is_null());
            assert_eq!((null.local(), null.domain(), null.to_string().as_str()), ("", "", ""));
        }
    }

    #[test]
    fn quotes_are_undone_and_redone() {
        let address = Address::parse(r#""a \"b\" @c"@example.org"#).unwrap();
        assert_eq!(address.local(), r#"a "b" @c"#);
        assert_eq!(address.domain(), "example.org");
        assert_eq!(address.to_string(), r#""a \"b\" @c"@example.org"#);
        assert_eq!(Address::parse("\"a\"x@y"), Err(AddressError::BadQuoting));
        assert_eq!(Address::parse("\"a"), Err(AddressError::BadQuoting));
    }

    #[test]
    fn control_characters_never_enter() {
        assert_eq!(Address::new("a\r\nRCPT", "b"), Err(AddressError::ControlCharacter));
        assert_eq!(Address::new("a", "b\0"), Err(AddressError::ControlCharacter));
        assert_eq!(Address::new("a", "b c"), Err(AddressError::BadDomain));
        assert_eq!(Address::new(&"a".repeat(2000), "b"), Err(AddressError::TooLong));
    }

    proptest::proptest! {
        #[test]
        fn parse_undoes_print(local in "[ -~]{1,30}", domain in "[a-z0-9.-]{1,30}") {
            let address = Address::new(&local, &domain).unwrap();
            proptest::prop_assert_eq!(Address::parse(&address.to_string()), Ok(address));
        }

        #[test]
        fn parsing_never_panics(text in "\\PC{0,80}") {
            let _ = Address::parse(&text);
        }
    }
}
