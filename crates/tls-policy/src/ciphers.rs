//! Lists of ciphers in the notation of OpenSSL, as configurations and scripts write them.
//!
//! A list chooses and orders the suites of TLS 1.2; those of TLS 1.3 are always there, as with
//! OpenSSL. What a list asks for by name and is not implemented is an error, so that nobody believes
//! to have it; exclusions of what is not there anyway are harmless.

use std::fmt;

use rustls::{CipherSuite, SupportedCipherSuite};

/// The suites that may be spoken, in order of preference.
#[derive(Clone)]
pub struct Ciphers {
    pub(crate) suites: Vec<SupportedCipherSuite>,
}

/// A list that cannot be honoured.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CipherError {
    /// A cipher, or group of ciphers, that does not exist here.
    #[error("cipher {0:?} is not available in this implementation")]
    Unavailable(String),
    /// Nothing is left for TLS 1.2.
    #[error("no available cipher remains of the list")]
    Empty,
}

impl fmt::Debug for Ciphers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.suites.iter().map(SupportedCipherSuite::suite)).finish()
    }
}

impl Ciphers {
    /// Reads a list: names and groups divided by `:`, `,` or spaces, `!` and `-` in front to take
    /// away, `+` in front to move to the end, `A+B` for what belongs to both, `@STRENGTH` and
    /// `@SECLEVEL=n`, which every suite here satisfies.
    ///
    /// # Errors
    ///
    /// [`CipherError`] for names of what is not implemented, and for a list that leaves nothing.
    pub fn parse(text: &str) -> Result<Self, CipherError> {
        let all = rustls::crypto::ring::default_provider().cipher_suites;
        let mut chosen: Vec<&Suite> = Vec::new();
        let mut banned: Vec<&Suite> = Vec::new();
        for word in text.split([':', ',', ' ', ';']).filter(|word| !word.is_empty()) {
            let (sign, name) = match word.split_at_checked(1) {
                Some((sign @ ("!" | "-" | "+"), name)) => (sign, name),
                Some(("@", name)) if name == "STRENGTH" || name.starts_with("SECLEVEL=") => {
                    continue;
                }
                _ => ("", word),
            };
            let members: Vec<&Suite> = SUITES.iter().filter(|suite| suite.is_in(name)).collect();
            match sign {
                "" => {
                    if members.is_empty() {
                        return Err(CipherError::Unavailable(word.to_owned()));
                    }
                    let is_new = |suite: &&Suite| {
                        !chosen.iter().chain(&banned).any(|known| known.id == suite.id)
                    };
                    let new: Vec<&Suite> = members.into_iter().filter(is_new).collect();
                    chosen.extend(new);
                }
                "+" => {
                    let is_member =
                        |suite: &&Suite| members.iter().any(|member| member.id == suite.id);
                    let (last, first): (Vec<_>, Vec<_>) = chosen.into_iter().partition(is_member);
                    chosen = first.into_iter().chain(last).collect();
                }
                sign => {
                    chosen.retain(|suite| !members.iter().any(|member| member.id == suite.id));
                    if sign == "!" {
                        banned.extend(members);
                    }
                }
            }
        }
        let chosen = chosen
            .iter()
            .filter_map(|suite| all.iter().find(|known| known.suite() == suite.id).copied());
        let older: Vec<SupportedCipherSuite> = chosen.collect();
        if older.is_empty() {
            return Err(CipherError::Empty);
        }
        let newer = all.iter().filter(|suite| suite.tls13().is_some()).copied();
        Ok(Self { suites: newer.chain(older).collect() })
    }
}

/// A suite of TLS 1.2 with its name and what groups it belongs to.
struct Suite {
    id: CipherSuite,
    name: &'static str,
    groups: &'static [&'static str],
}

impl Suite {
    fn is_in(&self, name: &str) -> bool {
        self.name == name
            || name.split('+').all(|group| {
                EVERYWHERE.contains(&group) || self.groups.contains(&group) || self.name == group
            })
    }
}

/// Groups that hold all of them.
const EVERYWHERE: [&str; 9] =
    ["ALL", "DEFAULT", "HIGH", "TLSv1.2", "ECDHE", "EECDH", "kECDHE", "kEECDH", "FIPS"];

/// In OpenSSL's order of preference.
const SUITES: [Suite; 6] = [
    Suite {
        id: CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        name: "ECDHE-ECDSA-AES256-GCM-SHA384",
        groups: &["aECDSA", "ECDSA", "AES", "AES256", "AESGCM", "SHA384"],
    },
    Suite {
        id: CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        name: "ECDHE-RSA-AES256-GCM-SHA384",
        groups: &["aRSA", "AES", "AES256", "AESGCM", "SHA384"],
    },
    Suite {
        id: CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        name: "ECDHE-ECDSA-CHACHA20-POLY1305",
        groups: &["aECDSA", "ECDSA", "CHACHA20", "SHA256"],
    },
    Suite {
        id: CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
        name: "ECDHE-RSA-CHACHA20-POLY1305",
        groups: &["aRSA", "CHACHA20", "SHA256"],
    },
    Suite {
        id: CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        name: "ECDHE-ECDSA-AES128-GCM-SHA256",
        groups: &["aECDSA", "ECDSA", "AES", "AES128", "AESGCM", "SHA256"],
    },
    Suite {
        id: CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        name: "ECDHE-RSA-AES128-GCM-SHA256",
        groups: &["aRSA", "AES", "AES128", "AESGCM", "SHA256"],
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    fn older(text: &str) -> Result<Vec<&'static str>, CipherError> {
        let list = Ciphers::parse(text)?;
        let newer = list.suites.iter().filter(|suite| suite.tls13().is_some()).count();
        assert_eq!(newer, 3, "{text}");
        let name = |id| SUITES.iter().find(|suite| suite.id == id).map(|suite| suite.name);
        Ok(list.suites.iter().filter_map(|suite| name(suite.suite())).collect())
    }

    #[test]
    fn lists_choose_and_order() {
        assert_eq!(older("HIGH:!aNULL:!MD5:@STRENGTH").unwrap().len(), 6);
        assert_eq!(older("ALL:@SECLEVEL=2").unwrap().len(), 6);
        let one = "ECDHE-RSA-AES128-GCM-SHA256";
        assert_eq!(older(one).unwrap(), [one]);
        assert_eq!(older("ECDHE+AESGCM+aRSA").unwrap(), ["ECDHE-RSA-AES256-GCM-SHA384", one]);
        assert_eq!(older("HIGH:!AES:!aECDSA").unwrap(), ["ECDHE-RSA-CHACHA20-POLY1305"]);
        assert_eq!(older("aRSA,+AES256").unwrap().last(), Some(&"ECDHE-RSA-AES256-GCM-SHA384"));
        assert_eq!(older("!CHACHA20:aRSA:CHACHA20").unwrap().len(), 2);
        assert_eq!(older("-CHACHA20:aRSA").unwrap().len(), 3);
    }

    #[test]
    fn what_is_not_there_is_an_error_and_never_left_out() {
        for name in ["AES128-SHA", "RC4", "DHE-RSA-AES256-GCM-SHA384", "x", "ECDHE+RC4"] {
            let text = format!("HIGH:{name}");
            assert_eq!(older(&text), Err(CipherError::Unavailable(name.to_owned())));
        }
        for text in ["", "HIGH:!ALL", "!ALL:HIGH"] {
            assert_eq!(older(text), Err(CipherError::Empty), "{text}");
        }
    }
}
