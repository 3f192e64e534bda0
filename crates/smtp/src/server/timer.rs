//! Named timers of the receiving side; the driver holds the clock.

use std::time::Duration;

/// What the session is waiting for from its peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Timer {
    /// The next command, or the next line of an AUTH dialogue (RFC 5321 §4.5.3.2.7).
    Command,
    /// The next octets of the content (RFC 5321 §4.5.3.2.5).
    DataBlock,
    /// The end of the TLS handshake.
    TlsHandshake,
    /// The peer to read our last reply and close.
    Closing,
}

impl Timer {
    /// All timers.
    pub const ALL: [Self; 4] = [Self::Command, Self::DataBlock, Self::TlsHandshake, Self::Closing];

    /// How long to wait unless the configuration says otherwise.
    #[must_use]
    pub const fn default_timeout(self) -> Duration {
        Duration::from_secs(match self {
            // RFC 5321 §4.5.3.2.7: at least 5 minutes.
            Self::Command => 300,
            // RFC 5321 §4.5.3.2.5: 3 minutes for each block.
            Self::DataBlock => 180,
            // No RFC names it; a handshake is two round trips.
            Self::TlsHandshake => 30,
            // Nothing is lost when the peer does not close first.
            Self::Closing => 5,
        })
    }
}
