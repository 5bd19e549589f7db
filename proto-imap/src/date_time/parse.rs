//! Parses dates and times.

use crate::date_time::{Date, DateTime, MONTHS};
use crate::grammar::number::plain_digits;
use crate::grammar::primitive::byte;
use crate::grammar::{Parsed, expected};

/// `date-time = DQUOTE date-day-fixed "-" date-month "-" date-year SP time SP zone DQUOTE`
pub(crate) fn date_time(i: &[u8]) -> Parsed<'_, DateTime> {
    let what = "a date and time";
    let Some((text, rest)) = i.split_at_checked(28) else { return expected(i, what) };
    let [b'"', text @ .., b'"'] = text else { return expected(i, what) };
    match date_time_text(text) {
        Some(time) => Ok((rest, time)),
        None => expected(i, what),
    }
}

/// Parses the text between the quotes of a [`date_time`]: exactly 26 bytes.
pub(crate) fn date_time_text(text: &[u8]) -> Option<DateTime> {
    let [
        d0,
        d1,
        b'-',
        m0,
        m1,
        m2,
        b'-',
        year @ ..,
        b' ',
        h0,
        h1,
        b':',
        n0,
        n1,
        b':',
        s0,
        s1,
        b' ',
        sign,
        z0,
        z1,
        z2,
        z3,
    ] = text
    else {
        return None;
    };
    let day = if *d0 == b' ' { decimal(&[*d1])? } else { decimal(&[*d0, *d1])? };
    let year = if year.len() == 4 { decimal(year)? } else { return None };
    let date = Date::new(year, month(&[*m0, *m1, *m2])?, u8::try_from(day).ok()?)?;
    let zone =
        i16::try_from(decimal(&[*z0, *z1])? * 60 + decimal(&[*z2, *z3]).filter(|minutes| *minutes < 60)?)
            .ok()?;
    let zone = match sign {
        b'+' => zone,
        b'-' => -zone,
        _ => return None,
    };
    let two = |a: &u8, b: &u8| decimal(&[*a, *b]).and_then(|value| u8::try_from(value).ok());
    DateTime::new(date, two(h0, h1)?, two(n0, n1)?, two(s0, s1)?, zone)
}

/// Parses a date and time in nearly the right form: spaces anywhere, a one-digit day, and no zone or a name for UTC.
pub(crate) fn lenient_date_time(text: &[u8]) -> Option<DateTime> {
    let mut words = text.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
    let (date, time) = (words.next()?, words.next()?);
    let Ok((b"", date)) = date_text(date) else { return None };
    let mut fields = time.split(|byte| *byte == b':');
    let mut field = || u8::try_from(decimal(fields.next()?)?).ok();
    let (hour, minute, second) = (field()?, field()?, field().unwrap_or(0));
    let zone = match words.next() {
        Some([sign @ (b'+' | b'-'), digits @ ..]) if digits.len() == 4 => {
            let zone = decimal(digits)?;
            let minutes = i16::try_from(zone / 100 * 60 + zone % 100).ok()?;
            if *sign == b'-' { -minutes } else { minutes }
        }
        None | Some(b"GMT" | b"UT" | b"UTC" | b"Z") => 0,
        Some(_) => return None,
    };
    DateTime::new(date, hour, minute, second, zone)
}

/// `date = date-text / DQUOTE date-text DQUOTE`, where `date-text = date-day "-" date-month "-" date-year`
pub(crate) fn date(i: &[u8]) -> Parsed<'_, Date> {
    if let Some((b'"', inner)) = i.split_first() {
        let Ok((rest, date)) = date_text(inner) else { return expected(i, "a date") };
        let (rest, ()) = byte(rest, b'"', "a closing quote")?;
        return Ok((rest, date));
    }
    date_text(i)
}

fn date_text(i: &[u8]) -> Parsed<'_, Date> {
    let parts = |i| {
        let (rest, day): (&[u8], &[u8]) = plain_digits(i).ok().filter(|(_, day)| day.len() <= 2)?;
        let [b'-', m0, m1, m2, b'-', rest @ ..] = rest else { return None };
        let (year, rest) = rest.split_at_checked(4)?;
        let day = u8::try_from(decimal(day)?).ok()?;
        Some((rest, Date::new(decimal(year)?, month(&[*m0, *m1, *m2])?, day)?))
    };
    parts(i).map_or_else(|| expected(i, "a date"), Ok)
}

fn decimal(digits: &[u8]) -> Option<u16> {
    digits.iter().try_fold(0_u16, |all, byte| {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 { None } else { all.checked_mul(10)?.checked_add(u16::from(digit)) }
    })
}

fn month(name: &[u8; 3]) -> Option<u8> {
    let index = MONTHS.iter().position(|month| month.eq_ignore_ascii_case(name))?;
    u8::try_from(index + 1).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_times() {
        let (_, time) = date_time(b"\"17-Jul-1996 02:44:25 -0700\"").unwrap();
        assert_eq!(time.timestamp(), 837_596_665);
        assert_eq!(date_time(b"\" 7-jul-1996 02:44:25 +0000\" x").unwrap().1.date().day(), 7);
        for bad in [
            &b"\"7-Jul-1996 02:44:25 -0700\""[..],
            b"\"00-Jan-0000 00:00:00 +0000\"",
            b"\"30-Feb-2024 00:00:00 +0000\"",
            b"\"01-Jan-2024 24:00:00 +0000\"",
            b"\"01-Jan-2024 00:00:00 +0060\"",
            b"\"01-Jan-2024 00:00:00 00000\"",
            b"01-Jan-2024 00:00:00 +0000",
            b"\"",
        ] {
            assert!(date_time(bad).is_err(), "{bad:?}");
        }
        let same = date_time(b"\"07-Jul-1996 02:44:25 +0000\"").unwrap().1;
        for odd in [&b"7-Jul-1996 02:44:25"[..], b" 7-Jul-1996  02:44:25 GMT", b"07-Jul-1996 02:44:25 +0000"]
        {
            assert_eq!(lenient_date_time(odd), Some(same), "{odd:?}");
        }
        assert_eq!(lenient_date_time(b"yesterday"), None);
        assert_eq!(lenient_date_time(b"07-Jul-1996 02:44:25 -9999"), None);
    }

    #[test]
    fn days() {
        let day = Date::new(1994, 2, 1).unwrap();
        assert_eq!(date(b"1-Feb-1994 x"), Ok((&b" x"[..], day)));
        assert_eq!(date(b"\"01-FEB-1994\")"), Ok((&b")"[..], day)));
        for bad in [&b"001-Feb-1994"[..], b"1-Foo-1994", b"1-Feb-94", b"\"1-Feb-1994", b"31-Feb-1994"] {
            assert!(date(bad).is_err(), "{bad:?}");
        }
    }
}
