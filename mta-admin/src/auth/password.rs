//! Password hashes: Argon2id for new ones, bcrypt for those of existing `web.yaml` files.

use std::{fmt, str::FromStr, sync::OnceLock};

use argon2::{
    Argon2, PasswordHasher as _, PasswordVerifier as _, password_hash::phc::PasswordHash as Phc,
};

/// A hash that a password can be compared with.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(String);

/// A text that is no hash we can use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidHash {
    /// Not one of the forms.
    #[error("expected a password hash: $argon2id$… (made by \"mta-admin user add\") or $2y$…")]
    Form,
    /// So dear that a login would stop the others.
    #[error("the password hash takes too much memory or time")]
    TooDear,
}

impl PasswordHash {
    /// Reads a PHC string of Argon2, or a bcrypt hash.
    ///
    /// # Errors
    ///
    /// [`InvalidHash`]: another form, or costs above 256 MiB, 64 passes or bcrypt 15.
    pub fn parse(text: &str) -> Result<Self, InvalidHash> {
        if is_bcrypt(text) {
            let parts = bcrypt::HashParts::from_str(text).map_err(|_| InvalidHash::Form)?;
            if parts.get_cost() > MAX_BCRYPT_COST {
                return Err(InvalidHash::TooDear);
            }
            return Ok(Self(text.to_owned()));
        }
        let phc = Phc::new(text).map_err(|_| InvalidHash::Form)?;
        if !phc.algorithm.as_str().starts_with("argon2") || phc.hash.is_none() {
            return Err(InvalidHash::Form);
        }
        let params = argon2::Params::try_from(&phc).map_err(|_| InvalidHash::Form)?;
        if params.m_cost() > MAX_MEMORY_KIB || params.t_cost() > MAX_PASSES {
            return Err(InvalidHash::TooDear);
        }
        Ok(Self(text.to_owned()))
    }

    /// Hashes a password with Argon2id and a fresh salt; takes tens of milliseconds.
    ///
    /// # Errors
    ///
    /// The library's, when the system has no random numbers.
    pub fn make(password: &str) -> Result<Self, argon2::password_hash::Error> {
        let hash: Phc = Argon2::default().hash_password(password.as_bytes())?;
        Ok(Self(hash.to_string()))
    }

    /// The hash as it stands in files.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Compares a password; takes tens of milliseconds.
    #[must_use]
    pub fn verify(&self, password: &str) -> bool {
        if is_bcrypt(&self.0) {
            return bcrypt::verify(password, &self.0).unwrap_or(false);
        }
        Phc::new(&self.0)
            .is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok())
    }

    /// Compares a password with nobody's hash, so that unknown users take as long as known ones.
    pub fn verify_nobody(password: &str) {
        static NOBODY: OnceLock<Option<PasswordHash>> = OnceLock::new();
        let nobody = NOBODY.get_or_init(|| Self::make(&super::random_token()).ok());
        let _ = nobody.as_ref().map(|hash| hash.verify(password));
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash")
    }
}

fn is_bcrypt(text: &str) -> bool {
    ["$2y$", "$2b$", "$2a$"].iter().any(|prefix| text.starts_with(prefix))
}

/// Several logins at once must fit the memory of a mail host.
const MAX_MEMORY_KIB: u32 = 256 << 10;
/// Some seconds at the usual memory.
const MAX_PASSES: u32 = 64;
/// Some seconds; each step doubles.
const MAX_BCRYPT_COST: u32 = 15;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_hash_accepts_its_password_only() {
        let hash = PasswordHash::make("correct horse").unwrap();
        assert!(hash.as_str().starts_with("$argon2id$"));
        assert!(hash.verify("correct horse"));
        assert!(!hash.verify("correct horsf") && !hash.verify(""));
        assert_eq!(PasswordHash::parse(hash.as_str()), Ok(hash));
    }

    #[test]
    fn hashes_of_the_reference_product_are_accepted() {
        // The well-known test vector of crypt_blowfish.
        let text = "$2y$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";
        let hash = PasswordHash::parse(text).unwrap();
        assert!(hash.verify("U*U") && !hash.verify("U*V"));
    }

    #[test]
    fn plain_texts_and_dear_hashes_are_refused() {
        for text in ["", "secret", "$1$abc$def", "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ"] {
            assert_eq!(PasswordHash::parse(text), Err(InvalidHash::Form), "{text}");
        }
        let dear = "$2y$20$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";
        assert_eq!(PasswordHash::parse(dear), Err(InvalidHash::TooDear));
        let hash = PasswordHash::make("x").unwrap();
        let large = hash.as_str().replace("m=19456", "m=1048576");
        assert_eq!(PasswordHash::parse(&large), Err(InvalidHash::TooDear));
    }

    #[test]
    fn hashes_stay_out_of_debug_output() {
        let hash = PasswordHash::make("x").unwrap();
        assert_eq!(format!("{hash:?}"), "PasswordHash");
    }
}
