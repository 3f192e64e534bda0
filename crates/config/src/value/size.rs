//! Sizes: plain octets (`52428800`) or `?(TiB|GiB|MiB|KiB|B)` (`50MiB`).

use std::fmt;
use std::str::FromStr;

use super::InvalidValue;

/// A number of octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Size(pub u64);

impl Size {
    /// The size in octets.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl FromStr for Size {
    type Err = InvalidValue;

    /// Parses octets, or a whole number with one unit behind it.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let scale = if unit.is_empty() {
            Some(1)
        } else {
            UNITS.iter().find(|(name, _)| *name == unit).map(|(_, scale)| *scale)
        };
        scale
            .zip(number.parse::<u64>().ok())
            .and_then(|(scale, number)| number.checked_mul(scale))
            // JSON and YAML readers share exact integers only this far.
            .filter(|octets| *octets <= i64::MAX.unsigned_abs())
            .map(Self)
            .ok_or(InvalidValue::new(
                "a size in octets or with TiB, GiB, MiB, KiB or B, such as `50MiB`",
            ))
    }
}

impl fmt::Display for Size {
    /// Prints with the largest unit that loses nothing.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, scale) =
            UNITS.iter().find(|(_, scale)| self.0 != 0 && self.0 % scale == 0).unwrap_or(&("B", 1));
        write!(f, "{}{unit}", self.0 / scale)
    }
}

const UNITS: [(&str, u64); 5] =
    [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_octets_and_units() {
        for (text, octets) in
            [("0", 0), ("1024", 1024), ("1KiB", 1024), ("50MiB", 52_428_800), ("7B", 7)]
        {
            assert_eq!(text.parse(), Ok(Size(octets)), "{text}");
        }
    }

    #[test]
    fn refuses_other_units_and_overflow() {
        for text in ["", "MiB", "1MB", "1 MiB", "1.5MiB", "-1", "1mib", "9999999999TiB"] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn print_and_parse_are_inverse(octets in 0..i64::MAX.unsigned_abs()) {
            prop_assert_eq!(Size(octets).to_string().parse(), Ok(Size(octets)));
        }
    }
}
