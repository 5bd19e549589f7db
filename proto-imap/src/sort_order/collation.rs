//! How texts are compared (RFC 4790 §9.2, RFC 5051, RFC 5256 §2).

use alloc::string::String;

use unicode_normalization::UnicodeNormalization;

/// How texts are compared. Both ignore case and compare the rest by code point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Collation {
    /// `i;ascii-casemap` (RFC 4790 §9.2): ignores the case of ASCII letters.
    AsciiCasemap,
    /// `i;unicode-casemap` (RFC 5051): ignores the case of all letters, and differences of form that compatibility
    /// decomposition removes. The default of SORT and THREAD (RFC 5255 §4.3).
    #[default]
    UnicodeCasemap,
}

impl Collation {
    /// Returns a text that has the order of this one by code point. Two texts are equal in the collation if these are.
    #[must_use]
    pub fn key(self, text: &str) -> String {
        match self {
            Self::AsciiCasemap => text.to_ascii_uppercase(),
            Self::UnicodeCasemap if text.is_ascii() => text.to_ascii_uppercase(),
            Self::UnicodeCasemap => text.chars().map(titlecase).nfkd().collect(),
        }
    }
}

/// Returns the simple titlecase mapping of a character (RFC 5051 §2): one character, or the same one.
fn titlecase(character: char) -> char {
    match character {
        // The digraphs have forms of their own between lower and upper case.
        'Ǆ'..='ǆ' => 'ǅ',
        'Ǉ'..='ǉ' => 'ǈ',
        'Ǌ'..='ǌ' => 'ǋ',
        'Ǳ'..='ǳ' => 'ǲ',
        // Greek letters with a iota below: upper case is two letters, titlecase one.
        'ᾀ'..='ᾇ' | 'ᾐ'..='ᾗ' | 'ᾠ'..='ᾧ' => {
            char::from_u32(u32::from(character) + 8).unwrap_or(character)
        }
        'ᾳ' => 'ᾼ',
        'ῃ' => 'ῌ',
        'ῳ' => 'ῼ',
        // Georgian letters have no titlecase.
        'ა'..='ჺ' | 'ჽ'..='ჿ' => character,
        _ => {
            let mut upper = character.to_uppercase();
            match (upper.next(), upper.next()) {
                (Some(upper), None) => upper,
                _ => character,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignores_case_and_form() {
        let equal = |a: &str, b: &str, collation: Collation| collation.key(a) == collation.key(b);
        for (a, b, ascii, unicode) in [
            ("Hello", "hELLO", true, true),
            ("Grüße", "GRÜßE", false, true),
            ("Grüße", "GRÜSSE", false, false),
            ("é", "e\u{301}", false, true),
            ("ﬁ", "ﬁ", true, true),
            ("①", "1", false, true),
            ("Σίσυφος", "ΣΊΣΥΦΟΣ", false, true),
            ("ǆ", "Ǆ", false, true),
            ("ᾳ", "ᾼ", false, true),
            ("a", "b", false, false),
            ("собака", "СОБАКА", false, true),
        ] {
            assert_eq!(equal(a, b, Collation::AsciiCasemap), ascii, "{a} {b}");
            assert_eq!(equal(a, b, Collation::UnicodeCasemap), unicode, "{a} {b}");
        }
    }
}
