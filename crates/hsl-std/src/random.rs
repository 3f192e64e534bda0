//! Random octets and numbers, from the generator of libcrypto.

use hsl::host::Thrown;

/// Random octets.
///
/// # Errors
///
/// When the generator has no entropy.
pub(crate) fn bytes(count: usize) -> Result<Vec<u8>, Thrown> {
    let mut out = vec![0; count];
    openssl::rand::rand_bytes(&mut out).map_err(|_| Thrown::new("no random numbers"))?;
    Ok(out)
}

/// A random 64-bit number.
///
/// # Panics
///
/// Never: a generator without entropy gives a number derived from the process's hash seed.
pub(crate) fn word() -> u64 {
    use std::hash::{BuildHasher, RandomState};

    let mut octets = [0; 8];
    match openssl::rand::rand_bytes(&mut octets) {
        Ok(()) => u64::from_ne_bytes(octets),
        Err(_) => RandomState::new().hash_one(0),
    }
}

/// A random number below `end`, which is at least 1. Every number is equally likely.
pub(crate) fn below(end: usize) -> usize {
    let end = end.max(1) as u64;
    // Numbers past the last whole multiple would favour the low ones.
    let limit = u64::MAX - u64::MAX % end;
    loop {
        let word = word();
        if word < limit {
            return (word % end) as usize;
        }
    }
}

/// A random fraction, at least 0 and below 1, with 53 bits.
pub(crate) fn fraction() -> f64 {
    (word() >> 11) as f64 / (1u64 << 53) as f64
}
