//! Character classes of the grammar, words as numbers, and decimal digits.

/// `atext` (RFC 5322 §3.2.3), with the additions of RFC 6531 §3.3.
pub(crate) const ATEXT: u8 = 1;
/// The characters of a `sub-domain`: letters, digits, hyphens, and the underscore, which names of hosts in use have.
pub(crate) const LDH: u8 = 2;
/// `qtextSMTP` (RFC 5321 §4.1.2): characters that need no backslash between quotes.
pub(crate) const QTEXT: u8 = 4;
/// `esmtp-value` (RFC 5321 §4.1.2).
pub(crate) const VALUE: u8 = 8;
/// `xchar` (RFC 3461 §4): characters that stand for themselves in xtext.
pub(crate) const XCHAR: u8 = 16;
/// Letters and digits.
pub(crate) const ALNUM: u8 = 32;
/// `dcontent` (RFC 5321 §4.1.3): the characters of an address literal.
pub(crate) const DCONTENT: u8 = 64;

const CLASSES: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = class_of(byte as u8);
        byte += 1;
    }
    table
}

const fn class_of(byte: u8) -> u8 {
    let mut class = 0;
    if byte >= 0x80 {
        // A part of a UTF-8 sequence, which is validated separately.
        return ATEXT | LDH | QTEXT | VALUE;
    }
    if byte.is_ascii_alphanumeric() {
        class |= ALNUM | ATEXT | LDH;
    }
    if matches!(byte, b'-' | b'_') {
        class |= LDH;
    }
    if is_atext_symbol(byte) {
        class |= ATEXT;
    }
    if byte == b' ' || (byte.is_ascii_graphic() && byte != b'"' && byte != b'\\') {
        class |= QTEXT;
    }
    if byte.is_ascii_graphic() && byte != b'=' {
        class |= VALUE;
        if byte != b'+' {
            class |= XCHAR;
        }
    }
    if byte.is_ascii_graphic() && !matches!(byte, b'[' | b'\\' | b']') {
        class |= DCONTENT;
    }
    class
}

const fn is_atext_symbol(byte: u8) -> bool {
    matches!(
        byte,
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

/// Whether a byte is in one of the classes.
pub(crate) const fn is(byte: u8, classes: u8) -> bool {
    CLASSES[byte as usize] & classes != 0
}

/// Returns the bytes as text if they are UTF-8 without control characters.
pub(crate) fn printable(bytes: &[u8]) -> Option<&str> {
    let clean = bytes.iter().all(|&byte| byte >= b' ' && byte != 0x7f);
    if clean { classed(bytes) } else { None }
}

/// Returns the bytes as text if they are UTF-8 without control characters. Each byte was found in a class: no class
/// holds an ASCII control character, so that only other characters are checked.
pub(crate) fn classed(bytes: &[u8]) -> Option<&str> {
    let text = core::str::from_utf8(bytes).ok()?;
    (text.is_ascii() || !text.chars().any(char::is_control)).then_some(text)
}

/// Converts a word of at most eight letters, digits and hyphens to a number, ignoring letter case. A longer word is 0.
#[inline]
pub(crate) const fn word(bytes: &[u8]) -> u64 {
    if bytes.len() > 8 {
        return 0;
    }
    let (mut word, mut at) = (0, 0);
    while at < bytes.len() {
        // Clearing this bit makes lower case upper case and makes no other byte a letter. Bytes that are not allowed in
        // a word stay different from those that are.
        word = word << 8 | (bytes[at] & 0xdf) as u64;
        at += 1;
    }
    word
}

/// Parses a number of at most twenty decimal digits that fits into 64 bits.
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

/// Writes a number as decimal digits into `room`.
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
    fn follows_the_classes_of_the_grammar() {
        for byte in 0..=255u8 {
            let graphic = byte.is_ascii_graphic();
            assert_eq!(
                is(byte, ATEXT),
                byte >= 0x80 || (graphic && !b"()<>[]:;@\\,.\"".contains(&byte)),
                "{byte}"
            );
            assert_eq!(is(byte, VALUE), byte >= 0x80 || (graphic && byte != b'='), "{byte}");
            assert_eq!(is(byte, XCHAR), graphic && byte != b'=' && byte != b'+', "{byte}");
            assert_eq!(is(byte, DCONTENT), matches!(byte, 33..=90 | 94..=126), "{byte}");
            assert_eq!(is(byte, QTEXT), byte >= 0x80 || matches!(byte, 32..=33 | 35..=91 | 93..=126));
            assert!(!byte.is_ascii_control() || !is(byte, 0x7f), "no class holds a control character");
        }
    }

    #[test]
    fn distinguishes_words_except_for_letter_case() {
        assert_eq!(word(b"smtputf8"), word(b"SMTPUTF8"));
        assert_eq!(word(b"SMTPUTF8X"), 0);
        let mut seen = std::collections::BTreeMap::new();
        for byte in (0..128u8).filter(|&byte| is(byte, ALNUM) || byte == b'-') {
            let upper = byte.to_ascii_uppercase();
            assert_eq!(*seen.entry(word(&[b'A', byte])).or_insert(upper), upper);
        }
    }

    #[test]
    fn parses_and_writes_numbers() {
        for value in [0, 9, 10, 12_345, u64::MAX] {
            assert_eq!(number(digits(value, &mut [0; 20])), Some(value));
        }
        for bad in ["", "-1", "+5", "1a", " 1", "18446744073709551616", "000000000000000000001"] {
            assert_eq!(number(bad.as_bytes()), None, "{bad}");
        }
    }
}
