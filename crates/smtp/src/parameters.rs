//! ESMTP parameters of MAIL and RCPT: keys in upper case, values as they came.

use std::fmt;

/// The parameters of one MAIL or RCPT command (RFC 5321 §4.1.2), in their order.
///
/// Values stay raw: xtext is not decoded, so that they can be passed on unchanged.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Parameters {
    entries: Vec<(Box<str>, Option<Box<str>>)>,
}

impl Parameters {
    /// No parameters.
    #[must_use]
    pub const fn new() -> Self {
        Self { entries: Vec::new() }
    }

    /// Parses `KEY=value KEY …`, separated by spaces.
    ///
    /// # Errors
    ///
    /// [`ParameterError`] when a key or value has a character it may not have, or a key comes
    /// twice.
    pub fn parse(text: &str) -> Result<Self, ParameterError> {
        let mut parameters = Self::new();
        for word in text.split(' ').filter(|word| !word.is_empty()) {
            let (key, value) = match word.split_once('=') {
                Some((key, value)) => (key, Some(value)),
                None => (word, None),
            };
            parameters.push(key, value)?;
        }
        Ok(parameters)
    }

    /// Adds a parameter; the key is put into upper case.
    ///
    /// # Errors
    ///
    /// As [`Parameters::parse`]; `Many` for more than 32.
    pub fn push(&mut self, key: &str, value: Option<&str>) -> Result<(), ParameterError> {
        let key_ok = key.starts_with(|c: char| c.is_ascii_alphanumeric())
            && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if !key_ok {
            return Err(ParameterError::BadKey);
        }
        // esmtp-value is any CHAR but "=", space and controls. Compat: base64 padding and `=` in
        // ENVID of real clients is let through.
        if value.is_some_and(|v| v.is_empty() || v.chars().any(|c| c == ' ' || c.is_control())) {
            return Err(ParameterError::BadValue);
        }
        let key = key.to_ascii_uppercase().into_boxed_str();
        if self.has(&key) {
            return Err(ParameterError::Twice);
        }
        if self.entries.len() >= MAX_PARAMETERS {
            return Err(ParameterError::Many);
        }
        self.entries.push((key, value.map(Box::from)));
        Ok(())
    }

    /// The value of a parameter: `None` when absent, `Some("")` when it came without a value.
    /// `key` is in upper case.
    #[must_use]
    pub fn value(&self, key: &str) -> Option<&str> {
        let (_, value) = self.entries.iter().find(|(name, _)| **name == *key)?;
        Some(value.as_deref().unwrap_or_default())
    }

    /// Tells whether a parameter came; `key` is in upper case.
    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        self.entries.iter().any(|(name, _)| **name == *key)
    }

    /// The declared size (RFC 1870); `None` when absent or no number.
    #[must_use]
    pub fn size(&self) -> Option<u64> {
        self.value("SIZE")?.parse().ok()
    }

    /// Tells whether SMTPUTF8 was asked for (RFC 6531).
    #[must_use]
    pub fn is_smtputf8(&self) -> bool {
        self.has("SMTPUTF8")
    }

    /// Key and value pairs in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.entries.iter().map(|(key, value)| (&**key, value.as_deref()))
    }

    /// Tells whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl fmt::Display for Parameters {
    /// Writes `KEY=value KEY`, separated by single spaces.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (key, value)) in self.iter().enumerate() {
            if index > 0 {
                f.write_str(" ")?;
            }
            f.write_str(key)?;
            if let Some(value) = value {
                write!(f, "={value}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Parameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Parameters({self})")
    }
}

/// Why a text is no list of parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParameterError {
    /// The key is empty or has a character other than letters, digits and `-`.
    #[error("malformed parameter name")]
    BadKey,
    /// The value is empty or has a space or a control character.
    #[error("malformed parameter value")]
    BadValue,
    /// A key came twice.
    #[error("parameter given twice")]
    Twice,
    /// More than 32 parameters.
    #[error("too many parameters")]
    Many,
}

/// No extension set comes near; it bounds the search for repeated keys.
const MAX_PARAMETERS: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_upper_case_and_values_stay_raw() {
        let parameters =
            Parameters::parse(" size=10  Body=8bitmime smtputf8 ENVID=a+2Bb=").unwrap();
        assert_eq!(parameters.to_string(), "SIZE=10 BODY=8bitmime SMTPUTF8 ENVID=a+2Bb=");
        assert_eq!(parameters.size(), Some(10));
        assert!(parameters.is_smtputf8());
        assert_eq!(parameters.value("SMTPUTF8"), Some(""));
        assert_eq!(parameters.value("RET"), None);
        assert!(Parameters::parse("").unwrap().is_empty());
    }

    #[test]
    fn malformed_lists_are_refused() {
        for (text, error) in [
            ("=x", ParameterError::BadKey),
            ("-A=x", ParameterError::BadKey),
            ("A_B", ParameterError::BadKey),
            ("Ä=x", ParameterError::BadKey),
            ("A=", ParameterError::BadValue),
            ("A=\tx", ParameterError::BadValue),
            ("A=1 a=2", ParameterError::Twice),
        ] {
            assert_eq!(Parameters::parse(text), Err(error), "{text}");
        }
        let many: Vec<String> = (0..33).map(|n| format!("K{n}")).collect();
        assert_eq!(Parameters::parse(&many.join(" ")), Err(ParameterError::Many));
    }

    proptest::proptest! {
        #[test]
        fn parse_undoes_print(text in "([A-Z][A-Z0-9-]{0,5}(=[!-~é]{1,8})? ){0,4}") {
            if let Ok(parameters) = Parameters::parse(&text) {
                proptest::prop_assert_eq!(Parameters::parse(&parameters.to_string()), Ok(parameters));
            }
        }

        #[test]
        fn parsing_never_panics(text in "\\PC{0,60}") {
            let _ = Parameters::parse(&text);
        }
    }
}
