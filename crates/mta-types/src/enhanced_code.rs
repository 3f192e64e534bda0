//! Enhanced mail system status codes (RFC 3463): `class.subject.detail`.

use std::fmt;
use std::str::FromStr;

/// An enhanced mail system status code such as `5.1.1` (RFC 3463 §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EnhancedCode {
    /// Success, persistent transient failure, or permanent failure.
    pub class: Class,
    /// What the status is about, 0 to 999 (RFC 3463 §3).
    pub subject: u16,
    /// The precise condition, 0 to 999.
    pub detail: u16,
}

/// First number of an enhanced code (RFC 3463 §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// `2`: done.
    Success,
    /// `4`: may work later.
    Transient,
    /// `5`: will not work.
    Permanent,
}

impl Class {
    /// The digit that stands for the class: 2, 4 or 5.
    #[must_use]
    pub const fn digit(self) -> u8 {
        match self {
            Self::Success => 2,
            Self::Transient => 4,
            Self::Permanent => 5,
        }
    }

    /// The class of a digit; `None` for all but 2, 4 and 5.
    #[must_use]
    pub const fn from_digit(digit: u8) -> Option<Self> {
        match digit {
            2 => Some(Self::Success),
            4 => Some(Self::Transient),
            5 => Some(Self::Permanent),
            _ => None,
        }
    }
}

impl EnhancedCode {
    /// Puts a code together; numbers over 999 are not valid codes, so callers pass literals.
    #[must_use]
    pub const fn new(class: Class, subject: u16, detail: u16) -> Self {
        Self { class, subject, detail }
    }

    /// Takes the code from its three numbers, as scripts give them.
    #[must_use]
    pub fn from_numbers(class: u16, subject: u16, detail: u16) -> Option<Self> {
        let class = Class::from_digit(u8::try_from(class).ok()?)?;
        (subject <= 999 && detail <= 999).then_some(Self { class, subject, detail })
    }
}

impl fmt::Display for EnhancedCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.class.digit(), self.subject, self.detail)
    }
}

impl FromStr for EnhancedCode {
    type Err = InvalidEnhancedCode;

    /// Parses `class.subject.detail`: one digit, then one to three digits each.
    fn from_str(text: &str) -> Result<Self, InvalidEnhancedCode> {
        let mut parts = text.split('.');
        let mut next = |most: usize| {
            let part = parts.next().ok_or(InvalidEnhancedCode)?;
            if part.is_empty() || part.len() > most || !part.bytes().all(|b| b.is_ascii_digit()) {
                return Err(InvalidEnhancedCode);
            }
            part.parse::<u16>().map_err(|_| InvalidEnhancedCode)
        };
        let (class, subject, detail) = (next(1)?, next(3)?, next(3)?);
        if parts.next().is_some() {
            return Err(InvalidEnhancedCode);
        }
        Self::from_numbers(class, subject, detail).ok_or(InvalidEnhancedCode)
    }
}

/// The text is no enhanced status code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidEnhancedCode;

impl fmt::Display for InvalidEnhancedCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not an enhanced status code such as `5.1.1`")
    }
}

impl std::error::Error for InvalidEnhancedCode {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_prints() {
        for text in ["2.0.0", "4.7.1", "5.1.1", "5.999.999"] {
            assert_eq!(text.parse::<EnhancedCode>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn refuses_other_texts() {
        for text in
            ["", "5.1", "5.1.1.1", "3.1.1", "5.1000.1", "5..1", "5.1.1 ", "+5.1.1", "55.1.1"]
        {
            assert!(text.parse::<EnhancedCode>().is_err(), "{text}");
        }
    }
}
