//! Octal file modes, always quoted in YAML (`"0660"`), because bare digits would read as decimal.

use std::fmt;
use std::str::FromStr;

use super::InvalidValue;

/// File permission bits or a umask, at most `0o7777`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mode(u32);

impl Mode {
    /// The bits as `chmod(2)` and `umask(2)` take them.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0
    }
}

impl FromStr for Mode {
    type Err = InvalidValue;

    /// Parses three or four octal digits.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let octal = text.bytes().all(|digit| matches!(digit, b'0'..=b'7'));
        if !octal || !matches!(text.len(), 3 | 4) {
            return Err(InvalidValue::new("an octal mode in quotes, such as \"0660\""));
        }
        u32::from_str_radix(text, 8)
            .map(Self)
            .map_err(|_| InvalidValue::new("an octal mode in quotes, such as \"0660\""))
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_octal_digits_only() {
        assert_eq!("0660".parse::<Mode>().map(Mode::bits), Ok(0o660));
        assert_eq!("027".parse::<Mode>().map(Mode::bits), Ok(0o27));
        for text in ["", "0", "0o660", "0888", "00660", "+660", "660 "] {
            assert!(text.parse::<Mode>().is_err(), "{text}");
        }
    }

    #[test]
    fn prints_what_it_reads() {
        assert_eq!("0027".parse::<Mode>().map(|mode| mode.to_string()), Ok("0027".to_owned()));
    }
}
