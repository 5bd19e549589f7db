//! Which octets the grammar allows where: one table, looked up by octet.
//!
//! This file knows character classes and decimal digits. It knows no rule that is longer than one octet.

/// `atext` (RFC 5322 §3.2.3), and what RFC 6531 §3.3 adds.
pub(crate) const ATEXT: u8 = 1;
/// What a `sub-domain` is made of: letters, digits, hyphens. The underscore is read because hosts bear it.
pub(crate) const LDH: u8 = 2;
/// `qtextSMTP` (RFC 5321 §4.1.2): what needs no backslash between quotes.
pub(crate) const QTEXT: u8 = 4;
/// `esmtp-value` (RFC 5321 §4.1.2).
pub(crate) const VALUE: u8 = 8;
/// `xchar` (RFC 3461 §4): what stands for itself in xtext.
pub(crate) const XCHAR: u8 = 16;
/// Letters and digits.
pub(crate) const ALNUM: u8 = 32;
/// `dcontent` (RFC 5321 §4.1.3): what an address literal is made of.
pub(crate) const DCONTENT: u8 = 64;

const CLASSES: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut octet = 0;
    while octet < 256 {
        table[octet] = class_of(octet as u8);
        octet += 1;
    }
    table
}

const fn class_of(octet: u8) -> u8 {
    let mut class = 0;
    if octet >= 0x80 {
        // A part of an UTF-8 sequence: whether it is a right one is looked at apart, and rarely.
        return ATEXT | LDH | QTEXT | VALUE;
    }
    if octet.is_ascii_alphanumeric() {
        class |= ALNUM | ATEXT | LDH;
    }
    if matches!(octet, b'-' | b'_') {
        class |= LDH;
    }
    if is_atext_symbol(octet) {
        class |= ATEXT;
    }
    if octet == b' ' || (octet.is_ascii_graphic() && octet != b'"' && octet != b'\\') {
        class |= QTEXT;
    }
    if octet.is_ascii_graphic() && octet != b'=' {
        class |= VALUE;
        if octet != b'+' {
            class |= XCHAR;
        }
    }
    if octet.is_ascii_graphic() && !matches!(octet, b'[' | b'\\' | b']') {
        class |= DCONTENT;
    }
    class
}

const fn is_atext_symbol(octet: u8) -> bool {
    matches!(
        octet,
        b'!' | b'#'
            | b'$'
            | b'%'
            | b'&'
            | b'\''
            | b'*'
            | b'+'
            | b'-'
            | b'/'
            | b'='
            | b'?'
            | b'^'
            | b'_'
            | b'`'
            | b'{'
            | b'|'
            | b'}'
            | b'~'
    )
}

/// Whether an octet is of one of these classes.
pub(crate) const fn is(octet: u8, classes: u8) -> bool {
    CLASSES[octet as usize] & classes != 0
}

/// Text that nothing but printable characters is in.
pub(crate) fn printable(octets: &[u8]) -> Option<&str> {
    let clean = octets.iter().all(|&octet| octet >= b' ' && octet != 0x7f);
    if clean { classed(octets) } else { None }
}

/// Text whose octets were all found in a class: no class holds a control character, so that only those outside
/// US-ASCII need a look.
pub(crate) fn classed(octets: &[u8]) -> Option<&str> {
    let text = core::str::from_utf8(octets).ok()?;
    (text.is_ascii() || !text.chars().any(char::is_control)).then_some(text)
}

/// A word of at most eight letters, digits and hyphens as one number, in which case makes no difference. Longer words
/// are 0.
#[inline]
pub(crate) const fn word(octets: &[u8]) -> u64 {
    if octets.len() > 8 {
        return 0;
    }
    let (mut word, mut at) = (0, 0);
    while at < octets.len() {
        // Without this bit lower case is upper case, and nothing else becomes a letter. What is none stays apart from
        // all that may stand in a word.
        word = word << 8 | (octets[at] & 0xdf) as u64;
        at += 1;
    }
    word
}

/// A number in decimal digits, of at most twenty digits and no more than fits.
pub(crate) fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 20 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    if digits.len() < 20 {
        // Nineteen digits always fit.
        return Some(digits.iter().fold(0, |sum, &digit| sum * 10 + u64::from(digit - b'0')));
    }
    digits.iter().try_fold(0u64, |sum, &digit| sum.checked_mul(10)?.checked_add(u64::from(digit - b'0')))
}

/// A number as decimal digits, written into `room`.
pub(crate) fn digits(mut number: u64, room: &mut [u8; 20]) -> &[u8] {
    let mut at = room.len();
    loop {
        at -= 1;
        room[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return &room[at..];
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;

    #[test]
    fn the_classes_are_those_of_the_grammar() {
        for octet in 0..=255u8 {
            let graphic = octet.is_ascii_graphic();
            assert_eq!(
                is(octet, ATEXT),
                octet >= 0x80 || (graphic && !b"()<>[]:;@\\,.\"".contains(&octet)),
                "{octet}"
            );
            assert_eq!(is(octet, VALUE), octet >= 0x80 || (graphic && octet != b'='), "{octet}");
            assert_eq!(is(octet, XCHAR), graphic && octet != b'=' && octet != b'+', "{octet}");
            assert_eq!(is(octet, DCONTENT), matches!(octet, 33..=90 | 94..=126), "{octet}");
            assert_eq!(is(octet, QTEXT), octet >= 0x80 || matches!(octet, 32..=33 | 35..=91 | 93..=126));
            assert!(!octet.is_ascii_control() || !is(octet, 0x7f), "no class holds a control character");
        }
    }

    #[test]
    fn words_are_told_apart_but_for_their_case() {
        assert_eq!(word(b"smtputf8"), word(b"SMTPUTF8"));
        assert_eq!(word(b"SMTPUTF8X"), 0);
        let mut seen = std::collections::BTreeMap::new();
        for octet in (0..128u8).filter(|&octet| is(octet, ALNUM) || octet == b'-') {
            let upper = octet.to_ascii_uppercase();
            assert_eq!(*seen.entry(word(&[b'A', octet])).or_insert(upper), upper);
        }
    }

    #[test]
    fn numbers_are_read_and_written() {
        for value in [0, 9, 10, 12_345, u64::MAX] {
            assert_eq!(number(digits(value, &mut [0; 20])), Some(value));
        }
        for bad in ["", "-1", "+5", "1a", " 1", "18446744073709551616", "000000000000000000001"] {
            assert_eq!(number(bad.as_bytes()), None, "{bad}");
        }
    }
}
