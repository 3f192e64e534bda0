//! New identities for transactions.

use config::startup::UuidVersion;
use mta_types::TransactionId;

/// Makes transaction ids in the form that the configuration asks for.
#[derive(Debug)]
pub(crate) struct IdSource {
    version: UuidVersion,
    /// Node part of time-based ids: random with the multicast bit set, since no network card
    /// stands behind it (RFC 9562 §6.10).
    node: [u8; 6],
}

impl IdSource {
    pub(crate) fn new(version: UuidVersion) -> Self {
        let mut node = [0; 6];
        node.copy_from_slice(&uuid::Uuid::new_v4().as_bytes()[..6]);
        node[0] |= 1;
        Self { version, node }
    }

    pub(crate) fn next(&self) -> TransactionId {
        let id = match self.version {
            UuidVersion::Random => uuid::Uuid::new_v4(),
            UuidVersion::Time => uuid::Uuid::now_v1(&self.node),
        };
        TransactionId::from_bytes(*id.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_differ_and_carry_the_version_asked_for() {
        for (version, number) in [(UuidVersion::Random, 4), (UuidVersion::Time, 1)] {
            let source = IdSource::new(version);
            let (one, two) = (source.next(), source.next());
            assert_ne!(one, two);
            assert_eq!(one.as_bytes()[6] >> 4, number);
        }
    }
}
