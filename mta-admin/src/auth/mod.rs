//! Who is there: password hashes, sessions, and the brake on guessing.

pub mod password;
pub mod session;
pub mod throttle;

use subtle::ConstantTimeEq;

/// Makes an unguessable text of 64 hexadecimal digits.
///
/// # Panics
///
/// When the system has no random numbers: nothing can be secret then.
#[must_use]
pub fn random_token() -> String {
    let mut octets = [0; 32];
    getrandom::fill(&mut octets).expect("the system has random numbers");
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

/// Compares two secrets in a time that tells only whether their lengths are equal.
#[must_use]
pub fn is_same_secret(given: &str, expected: &str) -> bool {
    given.as_bytes().ct_eq(expected.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_long_and_differ() {
        let (one, two) = (random_token(), random_token());
        assert_eq!(one.len(), 64);
        assert_ne!(one, two);
        assert!(is_same_secret(&one, &one) && !is_same_secret(&one, &two));
        assert!(!is_same_secret("", &one));
    }
}
