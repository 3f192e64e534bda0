//! TLS of deliveries: how hard to insist, and which protocol versions may be spoken.

use std::str::FromStr;

use super::InvalidValue;

/// How a delivery session treats STARTTLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TlsMode {
    /// TLSA records decide; without them opportunistic.
    Dane,
    /// As `dane`; where there are no TLSA records, TLS with a verified certificate is required.
    DaneFallbackRequireVerify,
    /// Usable TLSA records are required.
    DaneRequire,
    /// Never.
    Disabled,
    /// TLS when offered, certificate not looked at.
    Optional,
    /// TLS when offered, and then the certificate must be good.
    OptionalVerify,
    /// TLS or no delivery, certificate not looked at.
    Require,
    /// TLS with a good certificate or no delivery.
    RequireVerify,
}

impl TlsMode {
    /// Every mode with its word.
    pub const WORDS: &'static [(&'static str, Self)] = &[
        ("disabled", Self::Disabled),
        ("optional", Self::Optional),
        ("optional_verify", Self::OptionalVerify),
        ("dane", Self::Dane),
        ("dane_require", Self::DaneRequire),
        ("dane_fallback_require_verify", Self::DaneFallbackRequireVerify),
        ("require", Self::Require),
        ("require_verify", Self::RequireVerify),
    ];

    /// The word of the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::WORDS.iter().find(|(_, mode)| *mode == self).map_or("disabled", |(word, _)| word)
    }

    /// Tells whether TLSA records are looked up.
    #[must_use]
    pub const fn is_dane(self) -> bool {
        matches!(self, Self::Dane | Self::DaneRequire | Self::DaneFallbackRequireVerify)
    }
}

impl FromStr for TlsMode {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::WORDS
            .iter()
            .find(|(word, _)| *word == text)
            .map(|(_, mode)| *mode)
            .ok_or(InvalidValue::new("a TLS mode such as `optional`, `dane` or `require_verify`"))
    }
}

/// The protocol versions a session may speak. At least one of them is allowed.
///
/// # Compatibility
///
/// The notation is a comma-separated list: `!Name` takes a version away from all, `Name` alone allows
/// just the named ones. SSLv2 to TLSv1.1 are not implemented; leaving them un-excluded is harmless,
/// asking for them by name is an error, so that nobody believes to have them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TlsProtocols {
    /// TLS 1.2 (RFC 5246) may be spoken.
    pub tls12: bool,
    /// TLS 1.3 (RFC 8446) may be spoken.
    pub tls13: bool,
}

impl FromStr for TlsProtocols {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut named = [false; NAMES.len()];
        let mut excluded = [false; NAMES.len()];
        for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            let (name, list) = match word.strip_prefix('!') {
                Some(name) => (name, &mut excluded),
                None => (word, &mut named),
            };
            let index = NAMES.iter().position(|known| known.eq_ignore_ascii_case(name));
            let Some(slot) = index.and_then(|index| list.get_mut(index)) else {
                return Err(InvalidValue::new(
                    "a list of SSLv2, SSLv3, TLSv1, TLSv1.1, TLSv1.2, TLSv1.3, each optionally with `!`",
                ));
            };
            *slot = true;
        }
        let [ssl2, ssl3, tls10, tls11, tls12, tls13] = named;
        if ssl2 || ssl3 || tls10 || tls11 {
            return Err(InvalidValue::new(
                "TLSv1.2 or TLSv1.3 (older versions are not available in this implementation)",
            ));
        }
        let all = !(tls12 || tls13);
        let [.., not12, not13] = excluded;
        let allowed = Self { tls12: (all || tls12) && !not12, tls13: (all || tls13) && !not13 };
        if !(allowed.tls12 || allowed.tls13) {
            return Err(InvalidValue::new("at least one of TLSv1.2 and TLSv1.3 to remain"));
        }
        Ok(allowed)
    }
}

const NAMES: [&str; 6] = ["SSLv2", "SSLv3", "TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exclusions_leave_the_rest() {
        let both = TlsProtocols { tls12: true, tls13: true };
        assert_eq!("!SSLv2,!SSLv3".parse(), Ok(both));
        assert_eq!("!SSLv2, !SSLv3, !TLSv1, !TLSv1.1".parse(), Ok(both));
        assert_eq!("".parse(), Ok(both));
        assert_eq!("!TLSv1.3".parse(), Ok(TlsProtocols { tls12: true, tls13: false }));
        assert_eq!("TLSv1.3".parse(), Ok(TlsProtocols { tls12: false, tls13: true }));
    }

    #[test]
    fn never_promises_what_cannot_be_spoken() {
        for text in
            ["SSLv3", "TLSv1,TLSv1.2", "!TLSv1.2,!TLSv1.3", "TLSv1.2,!TLSv1.2", "TLSv1.4", "!"]
        {
            assert!(text.parse::<TlsProtocols>().is_err(), "{text}");
        }
    }

    #[test]
    fn every_mode_reads_its_own_word() {
        for (word, mode) in TlsMode::WORDS {
            assert_eq!(word.parse(), Ok(*mode));
            assert_eq!(mode.as_str(), *word);
        }
    }
}
