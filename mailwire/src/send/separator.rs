//! Decides which lines of an mbox file that begin with `From ` separate messages, and which are text.
//!
//! A separator has an address and a date as `asctime` writes it, perhaps with a time zone, and a header field follows in
//! the next line (RFC 4155, appendix A). Some programs write only `From ` or `From NAME`. If the first line of a file is
//! like this, such lines are separators. In any other file, such a line is a separator only if it cannot be text.

/// The form of a line that begins with `From `.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FromLine {
    /// It ends with a date.
    Dated,
    /// It has at most one word after `From `.
    Bare,
    /// Anything else is text.
    Prose,
}

/// The form of the next line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NextLine {
    /// A common header field.
    KnownField,
    /// Possibly a header field.
    Field,
    /// An empty line or the end of the file.
    Empty,
    /// Text.
    Text,
}

/// The form of the first line of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FirstLine {
    /// It has a date.
    Dated,
    /// It has no date.
    Bare,
}

/// The meaning of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LineKind {
    /// It separates messages.
    Separator,
    /// It is part of a message.
    Text,
    /// It could be either.
    Ambiguous,
}

/// The line before a line that begins with `From `.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PreviousLine {
    Empty,
    Text,
}

/// Classifies a line that is not the first of its file. `first` is the form of the file's first line.
pub(super) const fn classify(
    line: FromLine,
    next: NextLine,
    first: FirstLine,
    previous: PreviousLine,
) -> LineKind {
    let is_bare_file = matches!(first, FirstLine::Bare);
    let after_empty = matches!(previous, PreviousLine::Empty);
    match (line, next) {
        (FromLine::Prose, _) | (_, NextLine::Text) => LineKind::Text,
        (FromLine::Dated, NextLine::KnownField | NextLine::Field) => LineKind::Separator,
        // A message without a header.
        (FromLine::Dated, NextLine::Empty) if after_empty => LineKind::Separator,
        (FromLine::Dated, NextLine::Empty) => LineKind::Text,
        (FromLine::Bare, NextLine::KnownField | NextLine::Field) if is_bare_file => LineKind::Separator,
        (FromLine::Bare, NextLine::Empty) if is_bare_file && after_empty => LineKind::Separator,
        (FromLine::Bare, NextLine::KnownField) if after_empty => LineKind::Separator,
        (FromLine::Bare, NextLine::KnownField) => LineKind::Ambiguous,
        (FromLine::Bare, _) => LineKind::Text,
    }
}

/// Returns the form of a line that begins with `From `.
pub(super) fn from_line(line: &[u8]) -> FromLine {
    let line = String::from_utf8_lossy(line);
    let words: Vec<&str> = line.split_ascii_whitespace().skip(1).collect();
    if (0..words.len()).any(|at| words.get(at..).is_some_and(is_date)) {
        FromLine::Dated
    } else if words.len() <= 1 {
        FromLine::Bare
    } else {
        FromLine::Prose
    }
}

/// Returns whether the words are a date: `Sat Jan  3 01:05:34 1996` with a zone before or after the year, or a date of RFC
/// 5322 or RFC 3339. `remote from HOST` may follow.
fn is_date(words: &[&str]) -> bool {
    let words = match words.iter().position(|word| *word == "remote") {
        Some(at) => words.get(..at).unwrap_or_default(),
        None => words,
    };
    let Some((day, rest)) = words.split_first() else { return false };
    if is_iso_date(day, rest) {
        return true;
    }
    if !is_one_of(day.trim_end_matches(','), &DAYS) {
        return false;
    }
    let has = |is: fn(&str) -> bool| rest.iter().filter(|word| is(word)).count() == 1;
    let known = |word: &&str| {
        is_one_of(word, &MONTHS) || is_day(word) || is_time(word) || is_year(word) || is_zone(word)
    };
    has(|word| is_one_of(word, &MONTHS))
        && has(is_day)
        && has(is_time)
        && has(is_year)
        && rest.iter().all(known)
}

/// Returns whether the words are a date of RFC 3339: `2020-01-02 10:11:12` or `2020-01-02T10:11:12Z`, perhaps with a zone
/// after it.
fn is_iso_date(first: &str, rest: &[&str]) -> bool {
    let (date, time, zones) = match (first.split_once('T'), rest.split_first()) {
        (Some((date, time)), _) => (date, time, rest),
        (None, Some((time, zones))) => (first, *time, zones),
        (None, None) => return false,
    };
    let parts: Vec<&str> = date.split('-').collect();
    let is_date = matches!(parts.as_slice(), [year, month, day] if is_year(year)
        && is_digits(month, 2..=2) && is_digits(day, 2..=2));
    // A zone may follow the seconds without a space; fractions of a second may come between.
    let time = time.find(['Z', '+', '-', '.']).and_then(|end| time.get(..end)).unwrap_or(time);
    is_date && is_time(time) && zones.iter().all(|word| is_zone(word))
}

const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

fn is_one_of(word: &str, names: &[&str]) -> bool {
    names.iter().any(|name| name.eq_ignore_ascii_case(word))
}

fn is_digits(word: &str, lengths: std::ops::RangeInclusive<usize>) -> bool {
    lengths.contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_day(word: &str) -> bool {
    is_digits(word, 1..=2)
}

fn is_year(word: &str) -> bool {
    is_digits(word, 4..=4)
}

fn is_time(word: &str) -> bool {
    let parts: Vec<&str> = word.split(':').collect();
    matches!(parts.len(), 2 | 3) && parts.iter().all(|part| is_digits(part, 1..=2))
}

fn is_zone(word: &str) -> bool {
    let offset = word.strip_prefix(['+', '-']).is_some_and(|rest| is_digits(&rest.replace(':', ""), 4..=4));
    offset
        || (word.len() <= 5 && word.bytes().all(|byte| byte.is_ascii_uppercase()))
        || (word.starts_with('(') && word.ends_with(')'))
}

/// Returns the form of the line after a `From ` line. `None` is the end of the file.
pub(super) fn next_line(line: Option<&[u8]>) -> NextLine {
    let Some(line) = line else { return NextLine::Empty };
    if matches!(line, b"" | b"\n" | b"\r\n") {
        return NextLine::Empty;
    }
    // A UUCP relay adds such a second line.
    if line.starts_with(b">From ") {
        return NextLine::Field;
    }
    match field_name(line) {
        Some(name) if is_known(name) => NextLine::KnownField,
        Some(_) => NextLine::Field,
        None => NextLine::Text,
    }
}

/// Returns the field name at the start of a line: printable ASCII before a colon (RFC 5322 §2.2), with white space before
/// the colon allowed (§4.5).
pub(super) fn field_name(line: &[u8]) -> Option<&[u8]> {
    let at = line.iter().position(|byte| *byte == b':')?;
    let name = line.get(..at)?.trim_ascii_end();
    (!name.is_empty() && name.iter().all(u8::is_ascii_graphic)).then_some(name)
}

fn is_known(name: &[u8]) -> bool {
    const KNOWN: [&[u8]; 18] = [
        b"From",
        b"To",
        b"Cc",
        b"Subject",
        b"Date",
        b"Message-ID",
        b"Received",
        b"Return-Path",
        b"Reply-To",
        b"Sender",
        b"MIME-Version",
        b"Content-Type",
        b"Delivered-To",
        b"Envelope-To",
        b"In-Reply-To",
        b"References",
        b"Status",
        b"Content-Length",
    ];
    let is_extension = name.get(..2).is_some_and(|begin| begin.eq_ignore_ascii_case(b"X-"));
    is_extension || KNOWN.iter().any(|known| known.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recognises_dates_with_and_without_zones() {
        for line in [
            "From a@x Sat Jan  3 01:05:34 1996",
            "From - Sat Jan 03 01:05:34 1996",
            "From MAILER-DAEMON Fri Jul  8 12:08:34 2011 +0200",
            "From a@x Sat Jan  3 01:05:34 EST 1996",
            "From a@x Sat Jan  3 01:05 1996 EST",
            "From \"a b\"@x Sat Jan  3 01:05:34 1996 remote from y",
            "From 0123456789abcdef0123456789abcdef01234567 Mon Sep 17 00:00:00 2001",
            "From a@x Sat, 3 Jan 1996 01:05:34 +0000 (UTC)",
            "From a@x Sat Jan  3 01:05:34 1996\r\n",
            "From a@x 2020-01-02 10:11:12",
            "From a@x 2020-01-02 10:11:12 +0100",
            "From a@x 2020-01-02T10:11:12Z",
            "From a@x 2020-01-02T10:11:12.345+01:00\n",
        ] {
            assert_eq!(from_line(line.as_bytes()), FromLine::Dated, "{line}");
        }
        for line in ["From ", "From x\n", "From a@x"] {
            assert_eq!(from_line(line.as_bytes()), FromLine::Bare, "{line}");
        }
        for line in [
            "From my (non technical end) some queries;",
            "From Sat to Sun",
            "From a@x Sat Jan 3",
            "From 2020-01-02 on",
            "From 2020-01-02 10:11:12 nothing was seen",
            "From what I saw on Sat Jan  3 01:05:34 1996 nothing follows",
        ] {
            assert_eq!(from_line(line.as_bytes()), FromLine::Prose, "{line}");
        }
    }

    #[test]
    fn a_separator_needs_a_field_after_it() {
        use LineKind::{Ambiguous, Separator, Text};
        let field = next_line(Some(b"Ticket: 5\n"));
        let known = next_line(Some(b"subject : 5\n"));
        let (text, nothing) = (next_line(Some(b"some words: here\n")), next_line(None));
        assert_eq!(
            (field, known, text, nothing),
            (NextLine::Field, NextLine::KnownField, NextLine::Text, NextLine::Empty)
        );
        let (dated, bare) = (FirstLine::Dated, FirstLine::Bare);
        for previous in [PreviousLine::Text, PreviousLine::Empty] {
            assert_eq!(classify(FromLine::Dated, field, dated, previous), Separator);
            assert_eq!(classify(FromLine::Dated, text, dated, previous), Text);
            assert_eq!(classify(FromLine::Prose, known, bare, previous), Text);
            assert_eq!(classify(FromLine::Bare, field, bare, previous), Separator);
            assert_eq!(classify(FromLine::Bare, field, dated, previous), Text);
        }
        assert_eq!(classify(FromLine::Bare, known, dated, PreviousLine::Text), Ambiguous);
        assert_eq!(classify(FromLine::Bare, known, dated, PreviousLine::Empty), Separator);
    }
}
