//! Writes dates and times.

use crate::date_time::{Date, DateTime, MONTHS};
use crate::grammar::command_writer::{CommandSink, Writer};
use crate::grammar::sink::Sink;

/// `date-time`
pub(crate) fn date_time(time: DateTime, out: &mut (impl Sink + ?Sized)) {
    let date = time.date();
    let month = MONTHS.get(usize::from(date.month()).wrapping_sub(1)).copied().unwrap_or(b"Jan");
    let zone = time.zone().unsigned_abs();
    let [d0, d1] = two_digits(u16::from(date.day()));
    let ([y0, y1], [y2, y3]) = (two_digits(date.year() / 100), two_digits(date.year() % 100));
    let [h0, h1] = two_digits(u16::from(time.hour()));
    let [n0, n1] = two_digits(u16::from(time.minute()));
    let [s0, s1] = two_digits(u16::from(time.second()));
    let ([z0, z1], [z2, z3]) = (two_digits(zone / 60), two_digits(zone % 60));
    let sign = if time.zone() < 0 { b'-' } else { b'+' };
    let [m0, m1, m2] = *month;
    out.put(&[
        b'"', d0, d1, b'-', m0, m1, m2, b'-', y0, y1, y2, y3, b' ', h0, h1, b':', n0, n1, b':', s0, s1, b' ',
        sign, z0, z1, z2, z3, b'"',
    ]);
}

const fn two_digits(number: u16) -> [u8; 2] {
    [b'0' + (number / 10 % 10) as u8, b'0' + (number % 10) as u8]
}

impl<S: CommandSink> Writer<'_, S> {
    /// `date-text`
    pub(crate) fn date(&mut self, date: Date) {
        let month = usize::from(date.month()).checked_sub(1).and_then(|month| MONTHS.get(month));
        self.number(u64::from(date.day()));
        self.put(b"-");
        self.put(month.map_or(b"Jan", |month| *month));
        self.put(b"-");
        let year = u64::from(date.year());
        for digit in [year / 1000, year / 100 % 10, year / 10 % 10, year % 10] {
            self.number(digit);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::date_time::parse;
    use alloc::vec::Vec;

    #[test]
    fn round_trips_a_date_time() {
        let text = b"\"17-Jul-1996 02:44:25 -0730\"";
        let (_, time) = parse::date_time(text).unwrap();
        let mut out = Vec::new();
        date_time(time, &mut out);
        assert_eq!(out, text);
    }
}
