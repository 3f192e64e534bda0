//! `crypt`: the one-way forms of pass words that Unix systems keep.
//!
//! Traditional and extended DES, MD5 (`$1$`), bcrypt (`$2a$`, `$2b$`, `$2y$`), SHA-256 (`$5$`) and
//! SHA-512 (`$6$`). The system's own libcrypt is not asked: its name differs between distributions
//! (`libcrypt.so.1`, `.so.2`), and one binary runs on all of them.

use hsl::host::{NativeStep, Registry, Thrown};
use hsl::value::Value;

use crate::args;

/// Registers `crypt`.
pub(super) fn register(registry: &mut Registry) {
    registry.function(
        "crypt(string key, string salt) -> string",
        "the one-way form of a pass word, as crypt of C; *0 for an unusable salt",
        |_, args| {
            let (key, salt) = (args::bytes(args, 0).to_vec(), args::bytes(args, 1).to_vec());
            if is_too_dear(&salt) {
                let message = format!(
                    "crypt() refuses more than {MAX_ROUNDS} rounds, or a bcrypt cost above {MAX_COST}"
                );
                return NativeStep::Throw(Thrown::new(message));
            }
            // Slow by design: not on a thread that serves others.
            match tokio::runtime::Handle::try_current() {
                Ok(runtime) => {
                    let work = runtime.spawn_blocking(move || crypt(&key, &salt));
                    NativeStep::suspend(async move {
                        work.await.map(Value::from).map_err(|error| Thrown::new(error.to_string()))
                    })
                }
                Err(_) => crypt(&key, &salt).into(),
            }
        },
    );
}

/// The form of `key`, or the token of failure (`*0`, or `*1` where the salt is `*0` itself).
fn crypt(key: &[u8], salt: &[u8]) -> String {
    // As in C a key ends at its first NUL.
    let key = key.split(|octet| *octet == 0).next().unwrap_or_default();
    str::from_utf8(salt)
        .ok()
        .filter(|salt| salt.bytes().all(|octet| octet.is_ascii_graphic()))
        .and_then(|salt| pwhash::unix::crypt(key, salt).ok())
        .unwrap_or_else(|| if salt.starts_with(b"*0") { "*1" } else { "*0" }.to_owned())
}

/// Whether the work that a salt asks for is out of bounds.
fn is_too_dear(salt: &[u8]) -> bool {
    let number = |text: &[u8]| {
        let digits = text.iter().take_while(|octet| octet.is_ascii_digit());
        digits.fold(0_u64, |number, digit| {
            number.saturating_mul(10).saturating_add(u64::from(digit - b'0'))
        })
    };
    let prefixes: [&[u8]; 2] = [b"$5$rounds=", b"$6$rounds="];
    if let Some(rest) = prefixes.iter().find_map(|prefix| salt.strip_prefix(*prefix)) {
        return number(rest) > MAX_ROUNDS;
    }
    if let Some(rest) = salt.strip_prefix(b"$sha1$") {
        return number(rest) > MAX_ROUNDS;
    }
    match salt {
        [b'$', b'2', _, b'$', cost @ ..] => number(cost) > MAX_COST,
        _ => false,
    }
}

/// About a second of work.
const MAX_ROUNDS: u64 = 1_000_000;
/// About a second of work.
const MAX_COST: u64 = 14;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_forms_are_those_of_other_systems() {
        let table = [
            ("rasmuslerdorf", "rl", "rl.3StKT.4T8M"),
            ("rasmuslerdorf", "$1$rasmusle$", "$1$rasmusle$rISCgZzpwk3UhDidwXvin0"),
            (
                "U*U",
                "$2a$05$CCCCCCCCCCCCCCCCCCCCC.",
                "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
            ),
            (
                "Hello world!",
                "$5$saltstring",
                "$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5",
            ),
            (
                "Hello world!",
                "$6$saltstring",
                "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1",
            ),
        ];
        for (key, salt, expected) in table {
            assert_eq!(crypt(key.as_bytes(), salt.as_bytes()), expected);
            // The form itself is a salt: that is how pass words are checked.
            assert_eq!(crypt(key.as_bytes(), expected.as_bytes()), expected);
        }
        for (salt, expected) in [("", "*0"), ("$9$x", "*0"), ("*0", "*1"), ("\u{e5}\u{e5}", "*0")] {
            assert_eq!(crypt(b"key", salt.as_bytes()), expected, "{salt}");
        }
    }

    #[test]
    fn work_without_bounds_is_refused() {
        for salt in ["$6$rounds=999999999$x", "$5$rounds=1000001$x", "$2b$15$x", "$2y$31$x"] {
            assert!(is_too_dear(salt.as_bytes()), "{salt}");
        }
        for salt in ["$6$rounds=5000$x", "$6$x", "$2b$10$x", "ab", "", "$2"] {
            assert!(!is_too_dear(salt.as_bytes()), "{salt}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn no_salt_breaks_it(key in ".{0,20}", salt in "(\\$(1|2a|5|6)\\$|_)?[a-z0-9./$=*]{0,12}") {
            if !is_too_dear(salt.as_bytes()) && !salt.starts_with("$2") && !salt.contains("rounds") && !salt.starts_with('_') {
                crypt(key.as_bytes(), salt.as_bytes());
            }
        }
    }
}
