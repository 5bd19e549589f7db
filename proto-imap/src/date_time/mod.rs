//! Dates and times in IMAP's format (RFC 9051 §9 `date`, `date-time`).
//!
//! A value is always a date in the calendar. Time zones are offsets in minutes. This module never reads a clock.

pub(crate) mod encode;
pub(crate) mod parse;

use crate::grammar::owned::plain;

/// A day: `1-Feb-2024`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date {
    year: u16,
    month: u8,
    day: u8,
}

/// A date and a time of day, with the offset from UTC: `"01-Feb-2024 13:05:09 +0100"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DateTime {
    date: Date,
    hour: u8,
    minute: u8,
    second: u8,
    zone: i16,
}

/// The names of the months, in the grammar's spelling.
pub(crate) const MONTHS: [&[u8; 3]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];

impl Date {
    /// Creates a date in the years 0 to 9999; `None` if it is not in the calendar.
    #[must_use]
    pub const fn new(year: u16, month: u8, day: u8) -> Option<Self> {
        if year > 9999 || day == 0 || day > days_of_month(year, month) {
            return None;
        }
        Some(Self { year, month, day })
    }

    /// Returns the year, 0 to 9999.
    #[must_use]
    pub const fn year(self) -> u16 {
        self.year
    }

    /// Returns the month, 1 to 12.
    #[must_use]
    pub const fn month(self) -> u8 {
        self.month
    }

    /// Returns the day of the month, 1 to 31.
    #[must_use]
    pub const fn day(self) -> u8 {
        self.day
    }

    /// Returns the number of days since 1970-01-01.
    #[must_use]
    pub const fn days_since_epoch(self) -> i64 {
        // Years are counted from March, so that the leap day is the last day of a year. The days before a month are
        // then linear.
        let march_year = self.year as i64 - (self.month <= 2) as i64;
        let era = march_year.div_euclid(400);
        let year_of_era = march_year.rem_euclid(400);
        let month = (self.month as i64 + 9) % 12;
        let day_of_year = (153 * month + 2) / 5 + self.day as i64 - 1;
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        era * 146_097 + day_of_era - 719_468
    }

    /// Returns the date that is this number of days after 1970-01-01; `None` outside the years 0 to 9999.
    #[must_use]
    pub const fn from_days_since_epoch(days: i64) -> Option<Self> {
        if days < -719_528 || days > 2_932_896 {
            return None;
        }
        let shifted = days + 719_468;
        let era = shifted.div_euclid(146_097);
        let day_of_era = shifted.rem_euclid(146_097);
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let march_month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * march_month + 2) / 5 + 1;
        let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
        let year = year_of_era + era * 400 + (month <= 2) as i64;
        Self::new(year as u16, month as u8, day as u8)
    }
}

impl DateTime {
    /// Creates a time. `zone` is the offset from UTC in minutes, less than a hundred hours. A leap second (60) is
    /// allowed. Returns `None` if there is no such time.
    #[must_use]
    pub const fn new(date: Date, hour: u8, minute: u8, second: u8, zone: i16) -> Option<Self> {
        if hour > 23 || minute > 59 || second > 60 || zone <= -6000 || zone >= 6000 {
            return None;
        }
        Some(Self { date, hour, minute, second, zone })
    }

    /// Returns the date in the time's own zone.
    #[must_use]
    pub const fn date(self) -> Date {
        self.date
    }

    /// Returns the hour, 0 to 23.
    #[must_use]
    pub const fn hour(self) -> u8 {
        self.hour
    }

    /// Returns the minute, 0 to 59.
    #[must_use]
    pub const fn minute(self) -> u8 {
        self.minute
    }

    /// Returns the second, 0 to 60.
    #[must_use]
    pub const fn second(self) -> u8 {
        self.second
    }

    /// Returns the offset from UTC in minutes, positive in the east.
    #[must_use]
    pub const fn zone(self) -> i16 {
        self.zone
    }

    /// Returns the number of seconds since 1970-01-01 00:00:00 UTC.
    #[must_use]
    pub const fn timestamp(self) -> i64 {
        self.date.days_since_epoch() * 86_400
            + self.hour as i64 * 3600
            + self.minute as i64 * 60
            + self.second as i64
            - self.zone as i64 * 60
    }

    /// Returns the time that is this number of seconds after 1970-01-01 00:00:00 UTC, in a zone (minutes east of
    /// UTC). `None` outside the years 0 to 9999.
    #[must_use]
    pub const fn from_timestamp(seconds: i64, zone: i16) -> Option<Self> {
        let Some(local) = seconds.checked_add(zone as i64 * 60) else { return None };
        let Some(date) = Date::from_days_since_epoch(local.div_euclid(86_400)) else { return None };
        let second = local.rem_euclid(86_400);
        Self::new(date, (second / 3600) as u8, (second / 60 % 60) as u8, (second % 60) as u8, zone)
    }
}

const fn days_of_month(year: u16, month: u8) -> u8 {
    match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        _ => 0,
    }
}

plain!(Date, DateTime);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejects_dates_outside_the_calendar() {
        assert!(Date::new(2024, 2, 29).is_some());
        assert!(Date::new(2023, 2, 29).is_none());
        assert!(Date::new(1900, 2, 29).is_none());
        assert!(Date::new(2024, 13, 1).is_none());
        assert!(Date::new(2024, 0, 1).is_none());
        assert!(Date::new(2024, 1, 0).is_none());
    }

    #[test]
    fn round_trips_timestamps() {
        let date = Date::new(1996, 7, 17).unwrap();
        let time = DateTime::new(date, 2, 44, 25, -7 * 60).unwrap();
        assert_eq!(time.timestamp(), 837_596_665);
        assert_eq!(DateTime::from_timestamp(837_596_665, -7 * 60), Some(time));
        assert_eq!(DateTime::from_timestamp(i64::MAX, 1), None);
        for days in (-719_528..2_932_896).step_by(97) {
            assert_eq!(Date::from_days_since_epoch(days).unwrap().days_since_epoch(), days);
        }
    }
}
