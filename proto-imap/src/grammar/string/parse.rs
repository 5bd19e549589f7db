//! Parses strings: quoted, literal, atom, or `NIL` (RFC 9051 §9 `string`, `astring`, `nstring`, `literal8`).
//!
//! A literal is parsed in place; its size was checked when the message was framed.

use crate::grammar::characters::{ASTRING, ENDS_STRING, QUOTED, is, is_lenient_atom_char, span};
use crate::grammar::number::plain_digits;
use crate::grammar::primitive::{byte, close, lenient_atom, nil};
use crate::grammar::repair::Repair;
use crate::grammar::string::{Escapes, IString};
use crate::grammar::{Context, Parsed, expected};
use memchr::{memchr, memchr2};

/// `quoted = DQUOTE *QUOTED-CHAR DQUOTE`; bytes above 127 must be UTF-8.
///
/// *Tolerant*: a double quote ends the string only if a space, `)`, `]` or a line end follows it; after a quote inside the
/// string, only if a value or the name of a FETCH item follows the space, or if it is the last quote of the line; a
/// backslash that escapes nothing is an ordinary character; LF, NUL and any bytes above 127 are allowed.
#[inline]
pub(crate) fn quoted<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, IString<'i>> {
    match plain_quoted(i) {
        Some((rest, raw)) => Ok((rest, IString::quoted(raw, Escapes::None))),
        None => odd_quoted(i, cx),
    }
}

/// Returns the input after a quoted string.
#[inline]
pub(crate) fn skip_quoted<'i>(i: &'i [u8], cx: &Context) -> Option<&'i [u8]> {
    match plain_quoted(i) {
        Some((rest, _)) => Some(rest),
        None => odd_quoted(i, cx).ok().map(|(rest, _)| rest),
    }
}

/// Parses a quoted string of plain ASCII that a space, `)`, `]` or a line end follows. Returns the rest and the bytes
/// between the quotes; `None` for any other string. The strict and the tolerant parser parse such a string alike.
#[inline]
pub(crate) fn plain_quoted(i: &[u8]) -> Option<(&[u8], &[u8])> {
    let body = i.strip_prefix(b"\"")?;
    let len = plain_len(body);
    let raw = body.get(..len)?;
    Some((body.get(len + 1..)?, raw))
}

/// Returns the length of a plain string whose opening quote precedes `body`; [`usize::MAX`] for any other string. A
/// function of its own, because it is called for each string and returns in a register.
#[inline(never)]
fn plain_len(body: &[u8]) -> usize {
    let len = plain_ascii(body);
    let ends = body.get(len) == Some(&b'"')
        && body.get(len.wrapping_add(1)).is_none_or(|next| is(*next, ENDS_STRING));
    if ends { len } else { usize::MAX }
}

/// Returns the number of leading bytes that are ASCII other than control characters, quotes and backslashes. Checks
/// eight bytes at a time, because half of the bytes that a client receives pass through here.
#[inline]
fn plain_ascii(i: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let mut at = 0;
    while let Some(word) = i.get(at..).and_then(<[u8]>::first_chunk) {
        let word = u64::from_le_bytes(*word);
        // Sets the high bit of each byte that is not plain. The first subtraction finds control characters and quotes,
        // which XOR makes 0x20; the second finds backslashes, which XOR makes 0. A byte above the first one that is
        // found can get a wrong bit, because a subtraction borrows from it.
        let special = (word ^ (ONES * 0x02)).wrapping_sub(ONES * 0x21)
            | (word ^ (ONES * 0x5c)).wrapping_sub(ONES)
            | word;
        let special = special & (ONES << 7);
        if special != 0 {
            return at + (special.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    let rest = i.get(at..).unwrap_or_default();
    at + rest.iter().position(|byte| !is(*byte, QUOTED)).unwrap_or(rest.len())
}

/// Parses any quoted string.
fn odd_quoted<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, IString<'i>> {
    let [b'"', body @ ..] = i else { return expected(i, "a quoted string") };
    let mut at = 0;
    let mut escapes = Escapes::None;
    let mut quotes = InnerQuotes::None;
    loop {
        at += plain_ascii(body.get(at..).unwrap_or_default());
        let Some((special, behind)) = body.get(at..).and_then(<[u8]>::split_first) else {
            return expected(i, "a closing quote");
        };
        match *special {
            b'"' if !cx.is_tolerant() || (ends_string(behind) && quotes.allow_end(behind)) => {
                return Ok((behind, finish_quoted(i, body.get(..at).unwrap_or_default(), escapes, cx)?));
            }
            b'"' => {
                cx.repairs.note(Repair::BareQuote);
                quotes = InnerQuotes::Some;
            }
            b'\\' => match behind.split_first() {
                Some((b'"', end)) if cx.is_salvaging() && ends_string(end) => {
                    cx.repairs.note(Repair::LoneBackslash);
                    return Ok((end, finish_quoted(i, body.get(..at).unwrap_or_default(), escapes, cx)?));
                }
                Some((b'"' | b'\\', _)) => {
                    escapes = Escapes::Some;
                    at += 1;
                }
                _ if cx.repair(Repair::LoneBackslash) => {}
                _ => {
                    return expected(
                        body.get(at..).unwrap_or_default(),
                        "a quote or a backslash after a backslash",
                    );
                }
            },
            0 if cx.repair(Repair::Nul) => {}
            b'\r' if behind.first() == Some(&b'\n') => return expected(i, "a closing quote"),
            b'\r' | b'\n' if cx.repair(Repair::StrayLineEnd) => {}
            0x80.. => {}
            special if is(special, QUOTED) => {}
            _ => return expected(i, "a closing quote"),
        }
        at += 1;
    }
}

/// Whether a string has quotes that are not escaped.
#[derive(Clone, Copy)]
enum InnerQuotes {
    None,
    Some,
}

impl InnerQuotes {
    /// Returns whether a quote before `behind` may end the string. A quoted word in the string ends like the string
    /// itself, so that what follows decides.
    fn allow_end(self, behind: &[u8]) -> bool {
        matches!(self, Self::None) || begins_value(behind) || !has_quote(behind)
    }
}

/// Returns whether the line has another quote.
fn has_quote(behind: &[u8]) -> bool {
    memchr2(b'"', b'\r', behind).is_some_and(|at| behind.get(at) == Some(&b'"'))
}

/// Returns whether a value, the name of a FETCH item or the end of the list or line follows a string.
#[cold]
fn begins_value(behind: &[u8]) -> bool {
    const ITEMS: [&[u8]; 10] = [
        b"BINARY",
        b"BODY",
        b"EMAILID",
        b"ENVELOPE",
        b"FLAGS",
        b"INTERNALDATE",
        b"MODSEQ",
        b"RFC822",
        b"UID ",
        b"X-GM-",
    ];
    let Some(next) = behind.strip_prefix(b" ") else { return true };
    nil(next).is_ok()
        || ITEMS.iter().any(|item| next.starts_with(item))
        || !matches!(next.first(), Some(first) if !matches!(first, b'"' | b'(' | b')' | b'{' | b'~' | b' ' | b'\r' | b'0'..=b'9'))
}

#[inline]
fn ends_string(behind: &[u8]) -> bool {
    behind.first().is_none_or(|byte| is(*byte, ENDS_STRING))
}

fn finish_quoted<'i>(
    i: &'i [u8],
    raw: &'i [u8],
    escapes: Escapes,
    cx: &Context,
) -> Result<IString<'i>, nom::Err<crate::grammar::Expected<'i>>> {
    if !raw.is_ascii() && core::str::from_utf8(raw).is_err() && !cx.repair(Repair::EightBit) {
        return expected(i, "UTF-8").map(|(_, string)| string);
    }
    Ok(IString::quoted(raw, escapes))
}

/// Parses the announcement of a literal: `"{" number64 ["+"] "}" CRLF`. The value is the number of bytes that follow.
///
/// The `+` is valid in commands only. The strict and the tolerant parser both accept it.
pub(crate) fn literal_size<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, u64> {
    let (rest, ()) = byte(i, b'{', "a literal")?;
    let Ok((rest, digits)) = plain_digits(rest) else { return expected(i, "the size of a literal") };
    let size = digits.iter().try_fold(0_u64, |all, digit| {
        all.checked_mul(10).and_then(|all| all.checked_add(u64::from(digit - b'0')))
    });
    let Some(size) = size.filter(|size| *size <= i64::MAX as u64) else {
        return expected(i, "a literal size below 2^63");
    };
    let rest = rest.strip_prefix(b"+").unwrap_or(rest);
    let (rest, ()) = byte(rest, b'}', "the end of a literal's announcement")?;
    match rest {
        [b'\r', b'\n', rest @ ..] => Ok((rest, size)),
        [b'\n', rest @ ..] if cx.repair(Repair::StrayLineEnd) => Ok((rest, size)),
        _ => expected(rest, "a line end after the size of the literal"),
    }
}

/// `literal = "{" number64 ["+"] "}" CRLF *CHAR8`, without NUL.
///
/// *Tolerant*: NUL; a literal that is longer than announced is read up to the next space that begins a value.
pub(crate) fn literal<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, IString<'i>> {
    let (rest, bytes) = counted(i, cx)?;
    if memchr(0, bytes).is_some() && !cx.repair(Repair::Nul) {
        return expected(i, "a literal without NUL");
    }
    if cx.is_tolerant() && !ends_string(rest) && rest.first() != Some(&b'(') {
        return undercounted(i, rest, bytes.len(), cx);
    }
    Ok((rest, IString::new(bytes)))
}

/// `literal8 = "~{" number64 "}" CRLF *OCTET`
pub(crate) fn literal8<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, IString<'i>> {
    let (rest, ()) = byte(i, b'~', "a literal8")?;
    let (rest, bytes) = counted(rest, cx)?;
    Ok((rest, IString::new(bytes)))
}

/// `nstring / literal8`
pub(crate) fn nstring8<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, Option<IString<'i>>> {
    if i.first() == Some(&b'~') {
        return literal8(i, cx).map(|(rest, value)| (rest, Some(value)));
    }
    nstring(i, cx)
}

fn counted<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, &'i [u8]> {
    let (rest, size) = literal_size(i, cx)?;
    match usize::try_from(size).ok().and_then(|size| rest.split_at_checked(size)) {
        Some((bytes, rest)) => Ok((rest, bytes)),
        None => expected(i, "as many bytes as the literal announces"),
    }
}

/// Handles a literal with too small an announced size, for example in characters instead of bytes. The string extends
/// to the start of the next value.
#[cold]
fn undercounted<'i>(i: &'i [u8], rest: &'i [u8], counted: usize, cx: &Context) -> Parsed<'i, IString<'i>> {
    let line = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n')).unwrap_or(rest.len());
    let line = rest.get(..line).unwrap_or_default();
    let next = (0..line.len()).find(|at| {
        let here = line.get(*at..).unwrap_or_default();
        here.starts_with(b" NIL")
            || here.starts_with(b" \"")
            || here.starts_with(b" (")
            || here.starts_with(b" {")
    });
    let Some(more) = next.or_else(|| memchr(b')', line)) else {
        return expected(rest, "a space after the literal");
    };
    let begin = i.len() - rest.len() - counted;
    let (Some(bytes), Some(rest)) = (i.get(begin..begin + counted + more), rest.get(more..)) else {
        return expected(rest, "a space after the literal");
    };
    cx.repairs.note(Repair::LiteralSize);
    Ok((rest, IString::new(bytes)))
}

/// `string = quoted / literal`. *Tolerant*: an atom; `NIL` or `()` as the empty string; a literal8.
#[inline]
pub(crate) fn string<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, IString<'i>> {
    match i.first() {
        Some(b'"') => quoted(i, cx),
        Some(b'{') => literal(i, cx),
        _ => lenient_string(i, cx).map(|(rest, string)| (rest, string.unwrap_or(IString::EMPTY))),
    }
}

/// `astring = 1*ASTRING-CHAR / string`. *Tolerant*: any atom.
#[inline]
pub(crate) fn astring<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, IString<'i>> {
    match i.first() {
        Some(b'"') => quoted(i, cx),
        Some(b'{') => literal(i, cx),
        _ => match span(i, ASTRING) {
            (atom @ [_, ..], rest) if !cx.is_tolerant() || !starts_lenient(rest) => {
                Ok((rest, IString::atom(atom)))
            }
            _ => match lenient_atom(i, cx, Repair::StringForm) {
                Ok((rest, atom)) => Ok((rest, IString::atom(atom))),
                Err(error) => Err(error),
            },
        },
    }
}

fn starts_lenient(i: &[u8]) -> bool {
    i.first().is_some_and(|byte| is_lenient_atom_char(*byte))
}

/// `nstring = string / nil`. *Tolerant*: an atom; `()` as `NIL`; a literal8.
#[inline]
pub(crate) fn nstring<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, Option<IString<'i>>> {
    match plain_nstring(i) {
        Some((rest, string)) => Ok((rest, string)),
        None => odd_nstring(i, cx),
    }
}

/// Parses a plain quoted string or `NIL`; `None` for any other string. The strict and the tolerant parser parse these
/// alike.
#[inline(always)]
pub(crate) fn plain_nstring(i: &[u8]) -> Option<(&[u8], Option<IString<'_>>)> {
    match i {
        [b'"', ..] => {
            let (rest, raw) = plain_quoted(i)?;
            Some((rest, Some(IString::quoted(raw, Escapes::None))))
        }
        [b'N' | b'n', b'I' | b'i', b'L' | b'l', rest @ ..] if !starts_lenient(rest) => Some((rest, None)),
        _ => None,
    }
}

#[inline(never)]
fn odd_nstring<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, Option<IString<'i>>> {
    match i.first() {
        Some(b'"') => odd_quoted(i, cx).map(|(rest, string)| (rest, Some(string))),
        Some(b'{') => literal(i, cx).map(|(rest, string)| (rest, Some(string))),
        _ => lenient_string(i, cx),
    }
}

#[cold]
fn lenient_string<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, Option<IString<'i>>> {
    if !cx.is_tolerant() {
        return expected(i, "a string");
    }
    if let [b'~', b'{', ..] = i {
        cx.repairs.note(Repair::StringForm);
        return literal8(i, cx).map(|(rest, string)| (rest, Some(string)));
    }
    if let [b'(', behind @ ..] = i
        && let Ok((rest, ())) = close(behind, cx)
    {
        cx.repairs.note(Repair::NilForValue);
        return Ok((rest, None));
    }
    if let Ok((rest, ())) = nil(i)
        && !starts_lenient(rest)
    {
        cx.repairs.note(Repair::NilForValue);
        return Ok((rest, None));
    }
    let (rest, atom) = lenient_atom(i, cx, Repair::StringForm)?;
    Ok((rest, Some(IString::atom(atom))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;

    /// The parser, the input, and the results of strict and tolerant parsing, each with the rest after a bar.
    type Case = (Reader, &'static [u8], Option<&'static str>, Option<&'static str>);
    type Reader = for<'i> fn(&'i [u8], &Context) -> Parsed<'i, Option<IString<'i>>>;

    fn read(reader: Reader, input: &[u8], cx: &Context) -> Option<String> {
        let (rest, value) = reader(input, cx).ok()?;
        let value = value.map_or_else(|| "NIL!".into(), |value| value.to_str_lossy().into_owned());
        Some(alloc::format!("{value}|{}", String::from_utf8_lossy(rest)))
    }

    const STRING: Reader = |i, cx| string(i, cx).map(|(rest, value)| (rest, Some(value)));
    const ASTRING: Reader = |i, cx| astring(i, cx).map(|(rest, value)| (rest, Some(value)));

    #[test]
    fn known_answers() {
        let cases: &[Case] = &[
            (STRING, br#""abc" x"#, Some("abc| x"), Some("abc| x")),
            (STRING, br#""" x"#, Some("| x"), Some("| x")),
            (STRING, br#""a\"b\\c")"#, Some(r#"a"b\c|)"#), Some(r#"a"b\c|)"#)),
            (STRING, "\"Grüße, und mehr\")".as_bytes(), Some("Grüße, und mehr|)"), Some("Grüße, und mehr|)")),
            (STRING, b"\"a\tb and more\")", Some("a\tb and more|)"), Some("a\tb and more|)")),
            (STRING, b"\"\xff\")", None, Some("\u{fffd}|)")),
            (STRING, br#""a"b" x"#, Some(r#"a|b" x"#), Some(r#"a"b| x"#)),
            (STRING, br#""a\b" x"#, None, Some(r"a\b| x")),
            // A quoted word: what follows the quote decides.
            (STRING, br#""a "b" c" NIL"#, Some(r#"a |b" c" NIL"#), Some(r#"a "b" c| NIL"#)),
            (STRING, b"\"a\nb\" x", None, Some("a\nb| x")),
            (STRING, b"\"a\r\nb\" x", None, None),
            (STRING, b"\"a\0b\" x", None, Some("a\0b| x")),
            (STRING, b"\"never closed", None, None),
            (STRING, b"{3}\r\nabc x", Some("abc| x"), Some("abc| x")),
            (STRING, b"{003}\r\nabc x", Some("abc| x"), Some("abc| x")),
            (STRING, b"{3}\nabc x", None, Some("abc| x")),
            (STRING, b"{4}\r\nabc", None, None),
            (STRING, b"{0}\r\n)", Some("|)"), Some("|)")),
            (STRING, b"{2}\r\na\0)", None, Some("a\0|)")),
            (STRING, b"{2}\r\nabcd NIL)", Some("ab|cd NIL)"), Some("abcd| NIL)")),
            (STRING, b"{99999999999999999999}\r\na", None, None),
            (STRING, b"{}\r\na", None, None),
            (STRING, b"~{1}\r\na)", None, Some("a|)")),
            (STRING, b"atom)", None, Some("atom|)")),
            (STRING, b"NIL)", None, Some("|)")),
            (STRING, b"()x", None, Some("|x")),
            (nstring, b"NIL)", Some("NIL!|)"), Some("NIL!|)")),
            (nstring, b"nil)", Some("NIL!|)"), Some("NIL!|)")),
            (nstring, b"() x", None, Some("NIL!| x")),
            (nstring, b"NILS)", None, Some("NILS|)")),
            (nstring, br#""NIL")"#, Some("NIL|)"), Some("NIL|)")),
            (ASTRING, b"INBOX x", Some("INBOX| x"), Some("INBOX| x")),
            (ASTRING, b"a]b x", Some("a]b| x"), Some("a]b| x")),
            (ASTRING, b"a%b x", Some("a|%b x"), Some("a%b| x")),
            (ASTRING, b"NIL x", Some("NIL| x"), Some("NIL| x")),
            (ASTRING, b"", None, None),
            (ASTRING, b" ", None, None),
        ];
        for (reader, input, strict, tolerant) in cases {
            let shown = String::from_utf8_lossy(input);
            assert_eq!(read(*reader, input, &Context::strict()).as_deref(), *strict, "{shown}");
            let cx = Context::tolerant();
            assert_eq!(read(*reader, input, &cx).as_deref(), *tolerant, "{shown}");
            assert_eq!(cx.repairs.total() > 0 && tolerant.is_some(), strict != tolerant, "{shown}");
        }
    }

    #[test]
    fn parses_every_byte_at_every_position() {
        for length in 0..20 {
            for at in 0..length {
                for byte in 1..=255_u8 {
                    let mut input = alloc::vec![b'a'; length];
                    input[at] = byte;
                    input.insert(0, b'"');
                    input.extend_from_slice(b"\")");
                    let plain = !matches!(byte, b'"' | b'\\' | b'\r' | b'\n' | 0x80..);
                    let (rest, _) = quoted(&input, &Context::strict()).unwrap_or((b"", IString::EMPTY));
                    assert_eq!(rest == b")", plain, "{byte} at {at} of {length}");
                }
            }
        }
    }
}
