//! Character classes of the grammar (RFC 9051 §9 `ATOM-CHAR`, `ASTRING-CHAR`, `list-char`, …).

pub(crate) const ATOM: u8 = 1;

pub(crate) const ASTRING: u8 = 2;

const LIST: u8 = 4;

pub(crate) const TAG: u8 = 8;

pub(crate) const QUOTED: u8 = 16;

pub(crate) const LENIENT_ATOM: u8 = 32;

pub(crate) const LENIENT_FLAG: u8 = 64;

pub(crate) const ENDS_STRING: u8 = 128;

/// The classes of each byte, one bit for each class.
static CLASSES: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let byte = index as u8;
        let printable = byte > b' ' && byte < 0x7f;
        let atom = printable && !matches!(byte, b'(' | b')' | b'{' | b'%' | b'*' | b'"' | b'\\' | b']');
        let mut class = 0;
        if atom {
            class |= ATOM;
        }
        if atom || byte == b']' {
            class |= ASTRING;
        }
        if atom || matches!(byte, b']' | b'%' | b'*') {
            class |= LIST;
        }
        if (atom || byte == b']') && byte != b'+' {
            class |= TAG;
        }
        if byte < 0x80 && !matches!(byte, 0 | b'\r' | b'\n' | b'"' | b'\\') {
            class |= QUOTED;
        }
        if byte > b' ' && byte != 0x7f && !matches!(byte, b'(' | b')') {
            class |= LENIENT_FLAG;
            if byte != b'"' {
                class |= LENIENT_ATOM;
            }
        }
        if matches!(byte, b' ' | b')' | b']' | b'\r' | b'\n') {
            class |= ENDS_STRING;
        }
        table[index] = class;
        index += 1;
    }
    table
}

#[inline]
pub(crate) fn is(byte: u8, class: u8) -> bool {
    CLASSES[byte as usize] & class != 0
}

/// `ATOM-CHAR = <any CHAR except atom-specials>`
#[must_use]
#[inline]
pub(crate) fn is_atom_char(byte: u8) -> bool {
    is(byte, ATOM)
}

/// `ASTRING-CHAR = ATOM-CHAR / resp-specials`
#[must_use]
#[inline]
pub(crate) fn is_astring_char(byte: u8) -> bool {
    is(byte, ASTRING)
}

/// `list-char = ATOM-CHAR / list-wildcards / resp-specials`
#[must_use]
#[inline]
pub(crate) fn is_list_char(byte: u8) -> bool {
    is(byte, LIST)
}

/// `tag = 1*<any ASTRING-CHAR except "+">`
#[must_use]
#[inline]
pub(crate) fn is_tag_char(byte: u8) -> bool {
    is(byte, TAG)
}

/// Returns whether a tolerantly parsed flag may contain the byte: any except spaces, parentheses and control
/// characters.
#[must_use]
#[inline]
pub(crate) fn is_lenient_flag_char(byte: u8) -> bool {
    is(byte, LENIENT_FLAG)
}

/// Returns whether a tolerantly parsed atom may contain the byte: as for flags, without the double quote.
#[must_use]
#[inline]
pub(crate) fn is_lenient_atom_char(byte: u8) -> bool {
    is(byte, LENIENT_ATOM)
}

/// Splits `i` after its leading bytes of a class.
#[inline]
pub(crate) fn span(i: &[u8], class: u8) -> (&[u8], &[u8]) {
    let end = i.iter().position(|byte| !is(*byte, class)).unwrap_or(i.len());
    i.split_at(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_follow_the_grammar() {
        for byte in 0..=255_u8 {
            let special =
                matches!(byte, b'(' | b')' | b'{' | b' ' | 0..=0x1f | 0x7f..) || b"%*\"\\]".contains(&byte);
            assert_eq!(is_atom_char(byte), !special, "{byte}");
            assert_eq!(is_astring_char(byte), !special || byte == b']', "{byte}");
            assert_eq!(is_tag_char(byte), (!special || byte == b']') && byte != b'+', "{byte}");
            assert_eq!(is_list_char(byte), !special || b"]%*".contains(&byte), "{byte}");
        }
    }
}
