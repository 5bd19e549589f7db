//! How texts are compared (RFC 4790 §9.2, RFC 5051, RFC 5256 §2).

use alloc::borrow::ToOwned;
use alloc::string::String;

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::decompose_compatible;

/// How texts are compared: the comparators of SEARCH, SORT and THREAD (RFC 5255 §4). They order texts by code point, apart
/// from what they ignore.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Collation {
    /// `i;octet` (RFC 4790 §9.3): every difference counts.
    Bytes,
    /// `i;ascii-casemap` (RFC 4790 §9.2): ignores the case of ASCII letters.
    AsciiCasemap,
    /// `i;unicode-casemap` (RFC 5051): ignores the case of all letters, and differences of form that compatibility
    /// decomposition removes. The default of SORT and THREAD (RFC 5255 §4.3).
    #[default]
    UnicodeCasemap,
}

impl Collation {
    /// All comparators, the default first.
    pub const ALL: &'static [Self] = &[Self::UnicodeCasemap, Self::AsciiCasemap, Self::Bytes];

    /// Returns the name in the registry of RFC 4790.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bytes => "i;octet",
            Self::AsciiCasemap => "i;ascii-casemap",
            Self::UnicodeCasemap => "i;unicode-casemap",
        }
    }

    /// Maps a text to a form in which a search compares it by bytes. A text contains another one in the collation if its form
    /// contains the other form: each character is mapped on its own.
    #[must_use]
    pub fn fold(self, text: &str) -> String {
        match self {
            Self::Bytes => text.to_owned(),
            Self::AsciiCasemap => text.to_ascii_lowercase(),
            Self::UnicodeCasemap => {
                let mut folded = String::with_capacity(text.len());
                text.chars().for_each(|character| fold_character(character, &mut |one| folded.push(one)));
                folded
            }
        }
    }

    /// Returns a text that has the order of this one by code point. Two texts are equal in the collation if these are.
    #[must_use]
    pub fn key(self, text: &str) -> String {
        match self {
            Self::Bytes => text.to_owned(),
            Self::AsciiCasemap => text.to_ascii_uppercase(),
            Self::UnicodeCasemap if text.is_ascii() => text.to_ascii_uppercase(),
            Self::UnicodeCasemap => text.chars().map(titlecase).nfkd().collect(),
        }
    }
}

/// Calls `put` with what `i;unicode-casemap` compares in place of a character: it has no case, and is decomposed.
pub(crate) fn fold_character(character: char, put: &mut impl FnMut(char)) {
    if character.is_ascii() {
        put(character.to_ascii_lowercase());
    } else {
        decompose_compatible(titlecase(character), |one| put(one.to_ascii_lowercase()));
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
            assert_eq!(equal(a, b, Collation::Bytes), a == b, "{a} {b}");
            assert_eq!(
                Collation::UnicodeCasemap.fold(a) == Collation::UnicodeCasemap.fold(b),
                unicode,
                "{a} {b}"
            );
            assert_eq!(equal(a, b, Collation::UnicodeCasemap), unicode, "{a} {b}");
        }
    }
}
