//! Numbers, strings, flags, dates: how each is written (RFC 9051 §9).

use super::Sink;
use crate::parse::primitive::{is_astring_char, is_atom_char};
use crate::parse::{Context, value::value as parse_value};
use crate::types::date::MONTHS;
use crate::types::{DateTime, Flag, IString, LazyList, Tag};

/// Longer strings than this go as literals: many servers and clients limit lines, none literals that small.
const LONGEST_QUOTED: usize = 1024;

/// `number`, `number64`: one that is greater than the grammar's greatest, 2⁶³ - 1, is cut to that.
pub fn number(number: u64, out: &mut (impl Sink + ?Sized)) {
    // 2^64 has 20 digits, 2^63 has 19.
    let mut digits = [0_u8; 20];
    let mut begin = digits.len();
    let mut rest = number.min(i64::MAX as u64);
    while let Some(digit) = begin.checked_sub(1).and_then(|at| digits.get_mut(at)) {
        *digit = b'0' + (rest % 10) as u8;
        begin -= 1;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.put(digits.get(begin..).unwrap_or_default());
}

/// `string`: quoted if it is short and plain, a literal otherwise. NULs are left out: no string of the grammar can have
/// one.
pub fn string(string: IString<'_>, out: &mut (impl Sink + ?Sized)) {
    let mut octets = string.iter();
    let length = octets.clone().count();
    let plain = octets.all(|octet| octet.is_ascii() && !matches!(octet, 0 | b'\r' | b'\n'));
    if plain && length <= LONGEST_QUOTED {
        quoted(string, out);
    } else {
        literal(string, out);
    }
}

fn quoted(string: IString<'_>, out: &mut (impl Sink + ?Sized)) {
    out.put(b"\"");
    pieces(string, out, |octet| matches!(octet, b'"' | b'\\'), |octet, out| out.put(&[b'\\', octet]));
    out.put(b"\"");
}

fn literal(string: IString<'_>, out: &mut (impl Sink + ?Sized)) {
    let length = string.iter().filter(|octet| *octet != 0).count();
    literal_header(length as u64, out);
    pieces(string, out, |octet| octet == 0, |_, _| {});
}

/// Writes the octets of a string in as long pieces as can be, and the special ones otherwise.
fn pieces<S: Sink + ?Sized>(
    string: IString<'_>,
    out: &mut S,
    is_special: impl Fn(u8) -> bool,
    special: impl Fn(u8, &mut S),
) {
    if string.raw().len() == string.iter().count() {
        let mut rest = string.raw();
        while let Some(at) = rest.iter().position(|octet| is_special(*octet)) {
            let (before, behind) = rest.split_at(at);
            out.put(before);
            let Some((octet, behind)) = behind.split_first() else { break };
            special(*octet, out);
            rest = behind;
        }
        out.put(rest);
        return;
    }
    for octet in string.iter() {
        if is_special(octet) { special(octet, out) } else { out.put(&[octet]) }
    }
}

/// `"{" number64 "}" CRLF`: the announcement of a literal whose octets the caller writes.
pub fn literal_header(size: u64, out: &mut (impl Sink + ?Sized)) {
    out.put(b"{");
    number(size, out);
    out.put(b"}\r\n");
}

/// `astring`: an atom if it can be one (and is not `NIL`), a string otherwise.
pub fn astring(astring: IString<'_>, out: &mut (impl Sink + ?Sized)) {
    let atom = !astring.is_empty()
        && astring.iter().all(is_astring_char)
        && !astring.eq_ignore_ascii_case(b"NIL")
        && astring.raw().len() <= LONGEST_QUOTED;
    if atom { out.put(astring.raw()) } else { string(astring, out) }
}

/// `nstring`
pub fn nstring(nstring: Option<IString<'_>>, out: &mut (impl Sink + ?Sized)) {
    match nstring {
        Some(value) => string(value, out),
        None => out.put(b"NIL"),
    }
}

/// `tag`
pub fn tag(tag: Tag<'_>, out: &mut (impl Sink + ?Sized)) {
    out.put(tag.as_bytes());
}

/// A value that is kept as it came: written if it follows the grammar strictly, as `NIL` otherwise.
pub fn value(value: IString<'_>, out: &mut (impl Sink + ?Sized)) {
    let raw = value.raw();
    let strict = matches!(parse_value(raw, &Context::strict()), Ok((b"", _)));
    out.put(if strict { raw } else { b"NIL" });
}

/// Whether a name can be written as an atom.
pub(crate) fn is_atom(name: IString<'_>) -> bool {
    !name.is_empty() && name.raw().iter().copied().all(is_atom_char)
}

/// `flag`. Nothing, if it is a keyword that was read tolerantly and is no atom.
pub fn flag(flag: Flag<'_>, out: &mut (impl Sink + ?Sized)) {
    if can_be_written(flag) {
        if flag.has_backslash() {
            out.put(b"\\");
        }
        out.put(flag.name());
    }
}

fn can_be_written(flag: Flag<'_>) -> bool {
    match flag {
        Flag::Keyword(keyword) | Flag::Extension(keyword) => keyword.is_atom(),
        _ => true,
    }
}

/// `flag-list`. `\*` is left out: it is for PERMANENTFLAGS only.
pub fn flag_list(flags: LazyList<'_, Flag<'_>>, out: &mut (impl Sink + ?Sized)) {
    let is_flag = |flag: &Flag<'_>| can_be_written(*flag) && !matches!(flag, Flag::Any);
    parenthesised(flags.iter().filter(is_flag), out, flag);
}

/// `"(" [flag-perm *(SP flag-perm)] ")"`: a [`flag_list`] in which `\*` can be.
pub fn flag_perm_list(flags: LazyList<'_, Flag<'_>>, out: &mut (impl Sink + ?Sized)) {
    parenthesised(flags.iter().filter(|flag| can_be_written(*flag)), out, flag);
}

/// `"(" [item *(SP item)] ")"`
pub(crate) fn parenthesised<T, S: Sink + ?Sized>(
    items: impl IntoIterator<Item = T>,
    out: &mut S,
    item: impl Fn(T, &mut S),
) {
    out.put(b"(");
    separated(items, out, item);
    out.put(b")");
}

/// `[item *(SP item)]`
pub(crate) fn separated<T, S: Sink + ?Sized>(
    items: impl IntoIterator<Item = T>,
    out: &mut S,
    item: impl Fn(T, &mut S),
) {
    for (index, one) in items.into_iter().enumerate() {
        if index > 0 {
            out.put(b" ");
        }
        item(one, out);
    }
}

/// `date-time`
pub fn date_time(time: DateTime, out: &mut (impl Sink + ?Sized)) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::primitive::date_time as parse_date_time;
    use alloc::string::String;
    use alloc::vec::Vec;

    fn written(write: impl Fn(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn numbers() {
        for value in [0, 7, 10, 99, 4_294_967_295, i64::MAX as u64] {
            assert_eq!(written(|out| number(value, out)), alloc::format!("{value}"));
        }
        assert_eq!(written(|out| number(u64::MAX, out)), "9223372036854775807");
    }

    #[test]
    fn each_string_takes_the_form_it_needs() {
        let cases: &[(&[u8], &str, &str)] = &[
            (b"INBOX", "INBOX", "\"INBOX\""),
            (b"", "\"\"", "\"\""),
            (b"nil", "\"nil\"", "\"nil\""),
            (b"a b", "\"a b\"", "\"a b\""),
            (br#"a"b\"#, r#""a\"b\\""#, r#""a\"b\\""#),
            (b"a\r\nb", "{4}\r\na\r\nb", "{4}\r\na\r\nb"),
            (b"a\0b", "{2}\r\nab", "{2}\r\nab"),
            ("é".as_bytes(), "{2}\r\né", "{2}\r\né"),
        ];
        for (octets, as_astring, as_string) in cases {
            assert_eq!(written(|out| astring(IString::new(octets), out)), *as_astring);
            assert_eq!(written(|out| string(IString::new(octets), out)), *as_string);
        }
        let long = [b'a'; 1025];
        assert!(written(|out| astring(IString::new(&long), out)).starts_with("{1025}\r\n"));
    }

    #[test]
    fn a_keyword_that_is_no_atom_is_not_written() {
        let flags = crate::parse::primitive::flag_list(br"(\Seen a] $b)", &Context::tolerant()).unwrap().1;
        assert_eq!(written(|out| flag_list(flags, out)), r"(\Seen $b)");
    }

    #[test]
    fn values_are_checked() {
        assert_eq!(written(|out| value(IString::new(b"(a \"b\" {1}\r\nc)"), out)), "(a \"b\" {1}\r\nc)");
        for bad in [&b"a\r\nb"[..], b"a b", b"", b")", b"{9}\r\na"] {
            assert_eq!(written(|out| value(IString::new(bad), out)), "NIL");
        }
    }

    #[test]
    fn dates_there_and_back() {
        let text = "\"17-Jul-1996 02:44:25 -0730\"";
        let (_, time) = parse_date_time(text.as_bytes()).unwrap();
        assert_eq!(written(|out| date_time(time, out)), text);
    }
}
