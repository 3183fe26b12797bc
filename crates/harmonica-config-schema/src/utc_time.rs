//! A moment in records: RFC 3339 in UTC, to the second.
//!
//! In: seconds of the system's clock, or text. Out: `2026-03-01T12:00:00Z`, which sorts as it reads.
//! Invariant: what was written is read back as the same moment; a text that is no moment is refused, never guessed at.

use serde::{Deserialize, Serialize};
use std::fmt::{Display, Formatter, Result as Written};
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const SECONDS_A_DAY: u64 = 24 * 60 * 60;
/// Days of four hundred years, after which the calendar repeats.
const DAYS_AN_ERA: u64 = 146_097;
/// Days from 1 March of the year 0 to 1 January 1970. Years begin in March here, so that a leap day is the last of its year.
const DAYS_TO_1970: u64 = 719_468;
/// The last second of the year 9999: later ones have no text in this form.
const LAST: u64 = 253_402_300_799;

/// A second of Coordinated Universal Time, from 1970 to 9999.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct UtcTime {
    seconds: u64,
}

/// A text that is no moment in UTC.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no moment in UTC; write it as 2026-03-01T12:00:00Z")]
pub struct UtcTimeError {
    /// As found.
    pub text: String,
}

impl UtcTime {
    /// The present, as the system's clock has it.
    pub fn now() -> Self {
        Self::from(SystemTime::now())
    }

    /// Time from an earlier moment to this one; none if it is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_secs(self.seconds.saturating_sub(earlier.seconds))
    }
}

impl From<SystemTime> for UtcTime {
    /// Moments out of range become the nearest one that is in it.
    fn from(time: SystemTime) -> Self {
        let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Self { seconds: seconds.min(LAST) }
    }
}

impl Display for UtcTime {
    fn fmt(&self, f: &mut Formatter<'_>) -> Written {
        let days = self.seconds / SECONDS_A_DAY + DAYS_TO_1970;
        let (era, day) = (days / DAYS_AN_ERA, days % DAYS_AN_ERA);
        // Leap days: one in 4 years (1461 days), none in 100 (36524), one in 400 (146096 is the last day of an era).
        let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
        let day = day - (365 * year + year / 4 - year / 100);
        // Months of 31, 30, 31, 30, 31 days from March on.
        let month = (5 * day + 2) / 153;
        let day = day - (153 * month + 2) / 5 + 1;
        let (year, month) = (era * 400 + year + month / 10, (month + 2) % 12 + 1);
        let second = self.seconds % SECONDS_A_DAY;
        let (hour, minute) = (second / 3600, second / 60 % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{:02}Z", second % 60)
    }
}

impl FromStr for UtcTime {
    type Err = UtcTimeError;

    fn from_str(text: &str) -> Result<Self, UtcTimeError> {
        let refuse = || UtcTimeError { text: text.to_owned() };
        let number = |from: usize, to: usize| -> Option<u64> {
            text.get(from..to).filter(|part| part.bytes().all(|b| b.is_ascii_digit()))?.parse().ok()
        };
        let fields = || {
            let date = [number(0, 4)?, number(5, 7)?, number(8, 10)?];
            Some((date, [number(11, 13)?, number(14, 16)?, number(17, 19)?]))
        };
        let ([year, month, day], [hour, minute, second]) = fields().ok_or_else(refuse)?;
        if year < 1970 || !(1..=12).contains(&month) || day == 0 {
            return Err(refuse());
        }
        let (march_year, march_month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
        let (era, of_era) = (march_year / 400, march_year % 400);
        let day_of_year = (153 * march_month + 2) / 5 + day - 1;
        let days = era * DAYS_AN_ERA + of_era * 365 + of_era / 4 - of_era / 100 + day_of_year;
        let seconds = (days - DAYS_TO_1970) * SECONDS_A_DAY + hour * 3600 + minute * 60 + second;
        // A day or an hour that there is not would be written otherwise.
        let time = Self { seconds };
        if seconds <= LAST && time.to_string() == text { Ok(time) } else { Err(refuse()) }
    }
}

impl From<UtcTime> for String {
    fn from(time: UtcTime) -> Self {
        time.to_string()
    }
}

impl TryFrom<String> for UtcTime {
    type Error = UtcTimeError;

    fn try_from(text: String) -> Result<Self, UtcTimeError> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_moments_have_their_text() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_251_199, "2024-02-29T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (LAST, "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!(UtcTime { seconds }.to_string(), text);
            assert_eq!(text.parse(), Ok(UtcTime { seconds }));
        }
    }

    #[test]
    fn every_day_of_eight_centuries_is_read_back() {
        for day in 0..2 * DAYS_AN_ERA {
            let time = UtcTime { seconds: day * SECONDS_A_DAY + 3_661 };
            assert_eq!(time.to_string().parse(), Ok(time));
        }
    }

    #[test]
    fn what_is_no_moment_is_refused() {
        for text in [
            "",
            "yesterday",
            "2025-02-29T00:00:00Z",
            "2025-13-01T00:00:00Z",
            "2025-01-01T24:00:00Z",
            "2025-01-01T00:00:00+01:00",
            "2025-01-01 00:00:00Z",
            "1969-12-31T23:59:59Z",
            "ä025-01-01T00:00:00Z",
        ] {
            assert!(text.parse::<UtcTime>().is_err(), "{text}");
        }
        let json = serde_json::to_string(&UtcTime { seconds: 1 }).unwrap();
        assert_eq!(json, "\"1970-01-01T00:00:01Z\"");
        assert!(serde_json::from_str::<UtcTime>("\"soon\"").unwrap_err().to_string().contains("soon"));
    }
}
