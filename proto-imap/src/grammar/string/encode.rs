//! Writes strings as an atom, quoted or as a literal, depending on their bytes.

use crate::grammar::characters::{is_astring_char, is_atom_char};
use crate::grammar::sink::{Sink, number};
use crate::grammar::string::IString;

/// The maximum length of a quoted string in bytes. Longer strings are literals, because many peers limit lines but
/// not small literals.
const LONGEST_QUOTED: usize = 1024;

/// `string`: quoted if it is short and plain, a literal otherwise. NULs are left out, because no string of the
/// grammar can contain one.
pub(crate) fn string(string: IString<'_>, out: &mut (impl Sink + ?Sized)) {
    let mut bytes = string.iter();
    let length = bytes.clone().count();
    let plain = bytes.all(|byte| byte.is_ascii() && !matches!(byte, 0 | b'\r' | b'\n'));
    if plain && length <= LONGEST_QUOTED {
        quoted(string, out);
    } else {
        literal(string, out);
    }
}

fn quoted(string: IString<'_>, out: &mut (impl Sink + ?Sized)) {
    out.put(b"\"");
    pieces(string, out, |byte| matches!(byte, b'"' | b'\\'), |byte, out| out.put(&[b'\\', byte]));
    out.put(b"\"");
}

fn literal(string: IString<'_>, out: &mut (impl Sink + ?Sized)) {
    let length = string.iter().filter(|byte| *byte != 0).count();
    literal_header(length as u64, out);
    pieces(string, out, |byte| byte == 0, |_, _| {});
}

/// Writes the bytes of a string in slices that are as long as possible, and the special bytes separately.
fn pieces<S: Sink + ?Sized>(
    string: IString<'_>,
    out: &mut S,
    is_special: impl Fn(u8) -> bool,
    special: impl Fn(u8, &mut S),
) {
    if string.raw().len() == string.iter().count() {
        let mut rest = string.raw();
        while let Some(at) = rest.iter().position(|byte| is_special(*byte)) {
            let (before, behind) = rest.split_at(at);
            out.put(before);
            let Some((byte, behind)) = behind.split_first() else { break };
            special(*byte, out);
            rest = behind;
        }
        out.put(rest);
        return;
    }
    for byte in string.iter() {
        if is_special(byte) { special(byte, out) } else { out.put(&[byte]) }
    }
}

/// `"{" number64 "}" CRLF`: the announcement of a literal whose bytes the caller writes.
pub(crate) fn literal_header(size: u64, out: &mut (impl Sink + ?Sized)) {
    out.put(b"{");
    number(size, out);
    out.put(b"}\r\n");
}

/// `astring`: an atom if it can be one (and is not `NIL`), a string otherwise.
pub(crate) fn astring(astring: IString<'_>, out: &mut (impl Sink + ?Sized)) {
    let atom = !astring.is_empty()
        && astring.iter().all(is_astring_char)
        && !astring.eq_ignore_ascii_case(b"NIL")
        && astring.raw().len() <= LONGEST_QUOTED;
    if atom { out.put(astring.raw()) } else { string(astring, out) }
}

/// `nstring`
pub(crate) fn nstring(nstring: Option<IString<'_>>, out: &mut (impl Sink + ?Sized)) {
    match nstring {
        Some(value) => string(value, out),
        None => out.put(b"NIL"),
    }
}

/// `nstring / literal8`: a literal8 only for a value with a NUL.
pub(crate) fn nstring8(value: Option<IString<'_>>, out: &mut (impl Sink + ?Sized)) {
    match value {
        Some(value) if value.iter().any(|byte| byte == 0) => {
            out.put(b"~");
            literal_header(value.iter().count() as u64, out);
            out.put(&value.as_bytes());
        }
        value => nstring(value, out),
    }
}

/// Returns whether a name can be written as an atom.
pub(crate) fn is_atom(name: IString<'_>) -> bool {
    !name.is_empty() && name.raw().iter().copied().all(is_atom_char)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;
    use alloc::vec::Vec;

    fn written(write: impl Fn(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn writes_each_string_in_the_form_it_needs() {
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
        for (bytes, as_astring, as_string) in cases {
            assert_eq!(written(|out| astring(IString::new(bytes), out)), *as_astring);
            assert_eq!(written(|out| string(IString::new(bytes), out)), *as_string);
        }
        let long = [b'a'; 1025];
        assert!(written(|out| astring(IString::new(&long), out)).starts_with("{1025}\r\n"));
    }
}
