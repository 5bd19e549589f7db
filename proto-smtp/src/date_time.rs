//! Dates and times of parameters: `date-time` (RFC 3339 §5.6).

use core::fmt;

use crate::ascii;
use crate::syntax::{SyntaxError, SyntaxFault};

/// A date and a time of day with their offset from UTC.
///
/// It is written with upper-case `T` and `Z`, as the RFC recommends. A fraction of a second keeps nine digits. Values
/// are equal if all their fields are; compare instants by [`unix_seconds`](Self::unix_seconds).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DateTime {
    year: u16,
    month: u8,
    day: u8,
    hour: u8,
    minute: u8,
    /// 60 is a leap second.
    second: u8,
    nanosecond: u32,
    /// In minutes; positive east of Greenwich.
    offset: i16,
}

impl DateTime {
    /// Parses a `date-time`.
    ///
    /// # Errors
    /// The text is malformed, or names a date or time that does not exist.
    pub fn parse(text: &str) -> Result<Self, SyntaxError> {
        let mut digits = Digits { rest: text.as_bytes() };
        digits
            .date_time()
            .filter(Self::exists)
            .ok_or_else(|| SyntaxError::in_text(text, 0, SyntaxFault::Value))
    }

    /// Converts seconds since 1970-01-01T00:00:00Z to a date and time in UTC. `None` outside the years 0 to 9999.
    #[must_use]
    pub fn from_unix_seconds(seconds: i64) -> Option<Self> {
        let (days, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
        // Years begin in March here, so that the leap day is the last day of a year.
        let day = days.checked_add(719_468)?;
        let (era, of_era) = (day.div_euclid(146_097), day.rem_euclid(146_097));
        let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month = (5 * of_year + 2) / 153;
        let year = era * 400 + year_of_era + i64::from(month >= 10);
        Some(Self {
            year: u16::try_from(year).ok().filter(|year| *year <= 9999)?,
            month: u8::try_from(if month < 10 { month + 3 } else { month - 9 }).ok()?,
            day: u8::try_from(of_year - (153 * month + 2) / 5 + 1).ok()?,
            hour: u8::try_from(rest / 3600).ok()?,
            minute: u8::try_from(rest / 60 % 60).ok()?,
            second: u8::try_from(rest % 60).ok()?,
            nanosecond: 0,
            offset: 0,
        })
    }

    /// Returns the seconds since 1970-01-01T00:00:00Z, without the fraction. A leap second counts as the second after
    /// it.
    #[must_use]
    pub fn unix_seconds(&self) -> i64 {
        let (year, month, day) = (i64::from(self.year), i64::from(self.month), i64::from(self.day));
        let year = if month <= 2 { year - 1 } else { year };
        let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
        let of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
        let of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year;
        let days = era * 146_097 + of_era - 719_468;
        let of_day = i64::from(self.hour) * 3600 + i64::from(self.minute) * 60 + i64::from(self.second);
        days * 86_400 + of_day - i64::from(self.offset) * 60
    }

    /// Whether the date and the time exist.
    fn exists(&self) -> bool {
        let leap =
            self.year.is_multiple_of(4) && (!self.year.is_multiple_of(100) || self.year.is_multiple_of(400));
        let days = match self.month {
            4 | 6 | 9 | 11 => 30,
            2 if leap => 29,
            2 => 28,
            _ => 31,
        };
        (1..=12).contains(&self.month)
            && (1..=days).contains(&self.day)
            && self.hour <= 23
            && self.minute <= 59
            && self.second <= 60
    }
}

impl fmt::Display for DateTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { year, month, day, hour, minute, second, .. } = self;
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")?;
        if self.nanosecond != 0 {
            let (mut fraction, mut width) = (self.nanosecond, 9);
            while fraction.is_multiple_of(10) {
                fraction /= 10;
                width -= 1;
            }
            write!(f, ".{fraction:0width$}")?;
        }
        if self.offset == 0 {
            return f.write_str("Z");
        }
        let sign = if self.offset < 0 { '-' } else { '+' };
        let minutes = self.offset.unsigned_abs();
        write!(f, "{sign}{:02}:{:02}", minutes / 60, minutes % 60)
    }
}

/// The rest of the text that is parsed.
struct Digits<'t> {
    rest: &'t [u8],
}

impl Digits<'_> {
    /// `full-date "T" partial-time time-offset` and the end of the text
    fn date_time(&mut self) -> Option<DateTime> {
        let year = self.number(4)?;
        let month = self.skip(b"-")?.number(2)? as u8;
        let day = self.skip(b"-")?.number(2)? as u8;
        let hour = self.skip(b"Tt")?.number(2)? as u8;
        let minute = self.skip(b":")?.number(2)? as u8;
        let second = self.skip(b":")?.number(2)? as u8;
        let nanosecond = self.fraction()?;
        let offset = self.offset()?;
        self.rest.is_empty().then_some(DateTime {
            year,
            month,
            day,
            hour,
            minute,
            second,
            nanosecond,
            offset,
        })
    }

    /// A number of exactly `len` digits, at most four.
    fn number(&mut self, len: usize) -> Option<u16> {
        let (digits, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        u16::try_from(ascii::number(digits)?).ok()
    }

    /// Skips one of these bytes.
    fn skip(&mut self, any_of: &[u8]) -> Option<&mut Self> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        any_of.contains(first).then_some(self)
    }

    /// `time-secfrac = "." 1*DIGIT`, optional, in nanoseconds
    fn fraction(&mut self) -> Option<u32> {
        let Some(tail) = self.rest.strip_prefix(b".") else { return Some(0) };
        let len = tail.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (digits, rest) = tail.split_at_checked(len)?;
        self.rest = rest;
        let kept = (0..9)
            .fold(0, |sum, place| sum * 10 + digits.get(place).map_or(0, |digit| u32::from(digit - b'0')));
        (len > 0).then_some(kept)
    }

    /// `time-offset = "Z" / ( "+" / "-" ) time-hour ":" time-minute`, in minutes.
    fn offset(&mut self) -> Option<i16> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        let sign = match first {
            b'Z' | b'z' => return Some(0),
            b'+' => 1,
            b'-' => -1,
            _ => return None,
        };
        let hours = self.number(2).filter(|hours| *hours <= 23)?;
        let minutes = self.skip(b":")?.number(2).filter(|minutes| *minutes <= 59)?;
        i16::try_from(hours * 60 + minutes).ok().map(|minutes| sign * minutes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn parses_and_writes_dates() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2014-04-03T23:01:00Z", 1_396_566_060),
            ("2000-02-29T12:00:00.5Z", 951_825_600),
            ("1996-12-19T16:39:57-08:00", 851_042_397),
            ("1990-12-31T23:59:60Z", 662_688_000),
            ("0000-01-01T00:00:00Z", -62_167_219_200),
            ("9999-12-31T23:59:59.999999999+23:59", 253_402_214_459),
        ] {
            let read = DateTime::parse(text).unwrap();
            assert_eq!(read.to_string(), text);
            assert_eq!(read.unix_seconds(), seconds, "{text}");
            let utc = DateTime::from_unix_seconds(seconds).unwrap();
            assert_eq!(utc.unix_seconds(), seconds, "{utc}");
        }
        assert_eq!(DateTime::parse("2014-04-03t23:01:00.10z").unwrap().to_string(), "2014-04-03T23:01:00.1Z");
        assert_eq!(DateTime::from_unix_seconds(253_402_300_800), None);
        assert_eq!(DateTime::from_unix_seconds(i64::MIN), None);
        assert_eq!(DateTime::from_unix_seconds(i64::MAX), None);
    }

    #[test]
    fn rejects_dates_that_do_not_exist() {
        for bad in [
            "",
            "2014-04-03",
            "2014-04-03T23:01:00",
            "2014-04-03 23:01:00Z",
            "2014-13-01T00:00:00Z",
            "2014-00-01T00:00:00Z",
            "2014-04-31T00:00:00Z",
            "1900-02-29T00:00:00Z",
            "2014-04-00T00:00:00Z",
            "2014-04-03T24:00:00Z",
            "2014-04-03T23:60:00Z",
            "2014-04-03T23:01:61Z",
            "2014-04-03T23:01:00.Z",
            "2014-04-03T23:01:00+24:00",
            "2014-04-03T23:01:00+0100",
            "2014-04-03T23:01:00ZZ",
            "2014-04-03T23:01:00Z\r\n",
            "-014-04-03T23:01:00Z",
            "+014-04-03T23:01:00Z",
            "2014-4-03T23:01:00Z",
        ] {
            assert!(DateTime::parse(bad).is_err(), "{bad:?}");
        }
    }
}
