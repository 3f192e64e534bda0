//! Dates of header fields (RFC 5322 §3.3).

/// Writes a date, such as `Mon, 01 Mar 2021 12:00:00 +0100`.
///
/// `seconds` count from 1970; `offset_minutes` is what the zone adds to UTC, at most a day. Times
/// outside of the years 0 to 9999 are cut off there.
pub fn format(seconds: i64, offset_minutes: i32) -> String {
    let offset = offset_minutes.clamp(-MAX_OFFSET, MAX_OFFSET);
    let local = seconds.clamp(MIN_SECONDS, MAX_SECONDS) + i64::from(offset) * 60;
    let (days, second) = (local.div_euclid(86_400), local.rem_euclid(86_400));
    let (year, month, day) = civil(days);
    // 1970 began on a Thursday.
    let weekday = WEEKDAYS.get((days + 4).rem_euclid(7) as usize).copied().unwrap_or_default();
    let month = MONTHS.get(month).copied().unwrap_or_default();
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let sign = if offset < 0 { '-' } else { '+' };
    let (zone_hours, zone_minutes) = (offset.abs() / 60, offset.abs() % 60);
    format!(
        "{weekday}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} \
         {sign}{zone_hours:02}{zone_minutes:02}"
    )
}

/// Year, month from 0 and day from 1 of a day counted from 1970, by the Gregorian calendar.
///
/// Years are counted from March, so that the leap day is the last of its year; an era of 400 years
/// has 146,097 days.
fn civil(days: i64) -> (i64, usize, i64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12;
    let year = era * 400 + year_of_era + i64::from(month < 2);
    (year, month as usize, day)
}

const WEEKDAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const MAX_OFFSET: i32 = 24 * 60 - 1;
/// The second day of the year 0 and the last but one of 9999, so that no zone leads out.
const MIN_SECONDS: i64 = -62_167_132_800;
const MAX_SECONDS: i64 = 253_402_214_399;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_written_by_the_calendar() {
        let table = [
            (0, 0, "Thu, 01 Jan 1970 00:00:00 +0000"),
            (1_614_596_400, 60, "Mon, 01 Mar 2021 12:00:00 +0100"),
            (951_782_400, 0, "Tue, 29 Feb 2000 00:00:00 +0000"),
            (4_107_542_399, 0, "Sun, 28 Feb 2100 23:59:59 +0000"),
            (1_709_251_199, -210, "Thu, 29 Feb 2024 20:29:59 -0330"),
            (-1, 0, "Wed, 31 Dec 1969 23:59:59 +0000"),
            (i64::MIN, 0, "Sun, 02 Jan 0000 00:00:00 +0000"),
            (i64::MAX, 0, "Thu, 30 Dec 9999 23:59:59 +0000"),
        ];
        for (seconds, offset, expected) in table {
            assert_eq!(format(seconds, offset), expected);
        }
    }
}
