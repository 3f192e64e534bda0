//! The clocks of the daemon, read in one place.

use std::sync::OnceLock;
use std::time::SystemTime;

use mta_types::Timestamp;

/// The wall clock.
pub(crate) fn now() -> Timestamp {
    // The engines take time as an argument; this is where it comes from.
    Timestamp::from_system(SystemTime::now())
}

/// Minutes that local time is ahead of UTC at `time`, for header fields.
pub(crate) fn offset_minutes(time: Timestamp) -> i16 {
    static ZONE: OnceLock<jiff::tz::TimeZone> = OnceLock::new();
    let zone = ZONE.get_or_init(jiff::tz::TimeZone::system);
    let seconds = i64::try_from(time.as_secs()).unwrap_or(0);
    let Ok(instant) = jiff::Timestamp::from_second(seconds) else { return 0 };
    i16::try_from(zone.to_offset(instant).seconds() / 60).unwrap_or(0)
}
