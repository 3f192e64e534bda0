//! The types of C that scripts name, and the octets of their values.

use hsl::host::Thrown;
use hsl::value::{Resource, Value};
use libffi::middle::Type;

/// A type by name. Structures do not exist: scripts reach into them with offsets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CType {
    Void,
    Uint8,
    Sint8,
    Uint16,
    Sint16,
    Uint32,
    Sint32,
    Uint64,
    Sint64,
    Float,
    Double,
    Pointer,
    /// `...`: what follows is of the types of the arguments given.
    Variadic,
}

impl CType {
    pub(super) fn parse(name: &[u8]) -> Result<Self, Thrown> {
        let found = NAMES.iter().find(|(known, _)| known.as_bytes() == name);
        found.map(|(_, kind)| *kind).ok_or_else(|| {
            Thrown::new(format!("FFI::type() does not know the type \"{}\"", name.escape_ascii()))
        })
    }

    pub(super) fn name(self) -> &'static str {
        NAMES.iter().find(|(_, kind)| *kind == self).map_or("", |(name, _)| name)
    }

    /// Reads a type out of a value of the script.
    pub(super) fn of(value: Option<&Value>) -> Result<Self, Thrown> {
        let resource = value.and_then(Value::as_resource);
        let found = resource.and_then(Resource::get::<Self>);
        found.map(|kind| *kind).ok_or_else(|| Thrown::new("FFI needs a type made by FFI::type()"))
    }

    pub(super) fn to_value(self) -> Value {
        Value::Resource(Resource::new("FFIType", self))
    }

    /// Whether it is a number.
    pub(super) fn is_number(self) -> bool {
        !matches!(self, Self::Void | Self::Pointer | Self::Variadic)
    }

    pub(super) fn to_library(self) -> Type {
        match self {
            Self::Void | Self::Variadic => Type::void(),
            Self::Uint8 => Type::u8(),
            Self::Sint8 => Type::i8(),
            Self::Uint16 => Type::u16(),
            Self::Sint16 => Type::i16(),
            Self::Uint32 => Type::u32(),
            Self::Sint32 => Type::i32(),
            Self::Uint64 => Type::u64(),
            Self::Sint64 => Type::i64(),
            Self::Float => Type::f32(),
            Self::Double => Type::f64(),
            Self::Pointer => Type::pointer(),
        }
    }

    /// What the type becomes as an argument behind `...` (C11 6.5.2.2).
    pub(super) fn promoted(self) -> Self {
        match self {
            Self::Uint8 | Self::Sint8 | Self::Uint16 | Self::Sint16 => Self::Sint32,
            Self::Float => Self::Double,
            other => other,
        }
    }

    /// The octets of `number`, cut to the type as C does it.
    pub(super) fn pack(self, number: f64) -> [u8; 8] {
        // Numbers beyond the signed range are unsigned ones; others wrap as two's complement.
        let integer = if number >= 0.0 { number as u64 } else { number as i64 as u64 };
        match self {
            Self::Float => (u64::from((number as f32).to_bits())).to_ne_bytes(),
            Self::Double => number.to_ne_bytes(),
            // The low octets hold the smaller types: the machines this runs on are little endian.
            _ => integer.to_le_bytes(),
        }
    }

    /// The value as a whole number, sign extended; the bits of fractions are cut off.
    pub(super) fn integer(self, octets: [u8; 8]) -> u64 {
        let word = u64::from_le_bytes(octets);
        match self {
            Self::Uint8 => u64::from(word as u8),
            Self::Sint8 => i64::from(word as i8) as u64,
            Self::Uint16 => u64::from(word as u16),
            Self::Sint16 => i64::from(word as i16) as u64,
            Self::Uint32 => u64::from(word as u32),
            Self::Sint32 => i64::from(word as i32) as u64,
            Self::Float | Self::Double => self.number(octets) as i64 as u64,
            _ => word,
        }
    }

    /// The value as a number of the script.
    pub(super) fn number(self, octets: [u8; 8]) -> f64 {
        match self {
            Self::Float => f64::from(f32::from_bits(u64::from_le_bytes(octets) as u32)),
            Self::Double => f64::from_le_bytes(octets),
            Self::Sint8 | Self::Sint16 | Self::Sint32 | Self::Sint64 => {
                self.integer(octets) as i64 as f64
            }
            _ => self.integer(octets) as f64,
        }
    }

    /// Octets that a value takes in memory.
    pub(super) fn width(self) -> usize {
        match self {
            Self::Void | Self::Variadic => 0,
            Self::Uint8 | Self::Sint8 => 1,
            Self::Uint16 | Self::Sint16 => 2,
            Self::Uint32 | Self::Sint32 | Self::Float => 4,
            Self::Uint64 | Self::Sint64 | Self::Double | Self::Pointer => 8,
        }
    }
}

const NAMES: [(&str, CType); 13] = [
    ("void", CType::Void),
    ("uint8", CType::Uint8),
    ("sint8", CType::Sint8),
    ("uint16", CType::Uint16),
    ("sint16", CType::Sint16),
    ("uint32", CType::Uint32),
    ("sint32", CType::Sint32),
    ("uint64", CType::Uint64),
    ("sint64", CType::Sint64),
    ("float", CType::Float),
    ("double", CType::Double),
    ("pointer", CType::Pointer),
    ("...", CType::Variadic),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_cut_to_their_type_as_c_does_it() {
        let table = [
            (CType::Uint8, 300.0, 44.0),
            (CType::Sint8, 200.0, -56.0),
            (CType::Uint16, -1.0, 65535.0),
            (CType::Sint32, -5.0, -5.0),
            (CType::Uint64, 9007199254740991.0, 9007199254740991.0),
            (CType::Sint64, -9007199254740991.0, -9007199254740991.0),
            (CType::Double, 1.5, 1.5),
            (CType::Float, 0.5, 0.5),
        ];
        for (kind, given, expected) in table {
            assert_eq!(kind.number(kind.pack(given)), expected, "{kind:?} {given}");
        }
    }
}
