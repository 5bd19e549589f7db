//! Approximate matching of words, for FUZZY (RFC 6203).
//!
//! A text is divided into words: letters and digits, without differences of case and without diacritics. A word of a search
//! matches a word that is the same, that begins with it, or that does so with one typing error: a letter that is missing,
//! added, replaced, or exchanged with the next one.
//!
//! Words are compared one at a time as they are read. This takes memory for one word, and time in proportion to the text and
//! to the number of different words in the search.

use alloc::string::String;
use alloc::vec::Vec;

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// The letters of a word that count. Of a longer word in a message, only the beginning is compared; one in a search is
/// found only exactly.
const WORD: usize = 40;

/// The shortest word of a search that finds longer words.
const SHORTEST_PREFIX: usize = 2;

/// The shortest word of a search that may contain an error.
const SHORTEST_WITH_ERROR: usize = 4;

/// How well a word of a message matches one of a search.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) enum WordMatch {
    /// Not at all.
    #[default]
    None,
    /// With an error.
    WithError,
    /// It begins with it.
    Prefix,
    /// It is the same.
    Whole,
}

impl WordMatch {
    /// Returns how relevant the match is: 0 to 100.
    pub(super) const fn score(self) -> u32 {
        match self {
            Self::None => 0,
            Self::WithError => 40,
            Self::Prefix => 70,
            Self::Whole => 90,
        }
    }
}

/// A word of a search.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SearchWord(Vec<char>);

impl SearchWord {
    /// Returns how well a word of a message matches.
    fn compare(&self, word: &[char]) -> WordMatch {
        let wanted = &*self.0;
        let same = wanted.iter().zip(word).take_while(|(one, other)| one == other).count();
        let (Some(wanted_rest), Some(rest)) = (wanted.get(same..), word.get(same..)) else {
            return WordMatch::None;
        };
        if wanted_rest.is_empty() {
            return match () {
                () if rest.is_empty() => WordMatch::Whole,
                () if wanted.len() >= SHORTEST_PREFIX => WordMatch::Prefix,
                () => WordMatch::None,
            };
        }
        if wanted.len() >= SHORTEST_WITH_ERROR && begins_with_one_error(wanted_rest, rest) {
            WordMatch::WithError
        } else {
            WordMatch::None
        }
    }
}

/// Returns whether a word begins like another one after a single error at the first letter, where they differ.
fn begins_with_one_error(wanted: &[char], word: &[char]) -> bool {
    let begins = |word: Option<&[char]>, wanted: Option<&[char]>| match (word, wanted) {
        (Some(word), Some(wanted)) => word.starts_with(wanted),
        _ => false,
    };
    let exchanged = matches!((wanted, word), ([a, b, ..], [c, d, ..]) if a == d && b == c);
    begins(word.get(1..), wanted.get(1..))
        || begins(Some(word), wanted.get(1..))
        || begins(word.get(1..), Some(wanted))
        || (exchanged && begins(word.get(2..), wanted.get(2..)))
}

/// The words of a text, or of a search.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum TextWord {
    /// A word that is matched approximately.
    Approximate(SearchWord),
    /// A word that is matched exactly, because it is too long or its script is written without spaces.
    Exact(String),
}

/// Divides the text of a search into words.
pub(super) fn search_words(text: &str) -> Vec<TextWord> {
    let (mut words, mut reader) = (Vec::new(), WordReader::default());
    // The original of the word that is being read.
    let mut original = String::new();
    let mut has_long_word = false;
    let mut end = |word: &[char], original: &mut String, exact: bool| {
        let original = core::mem::take(original);
        if !word.is_empty() {
            words.push(if exact || word.iter().any(|letter| is_written_without_spaces(*letter)) {
                TextWord::Exact(original)
            } else {
                TextWord::Approximate(SearchWord(word.to_vec()))
            });
        }
    };
    for character in text.chars() {
        if is_delimiter(character) {
            end(reader.word(), &mut original, has_long_word);
            reader.clear();
            has_long_word = false;
        } else {
            original.push(character);
            has_long_word |= !reader.push(character);
        }
    }
    end(reader.word(), &mut original, has_long_word);
    words
}

/// Reads words.
#[derive(Debug, Default)]
pub(super) struct WordReader(Vec<char>);

impl WordReader {
    /// Reads a piece of a text, and calls `found` with each word that ends in it.
    pub(super) fn read(&mut self, text: &str, found: &mut impl FnMut(&[char])) {
        for character in text.chars() {
            if is_delimiter(character) {
                self.end(found);
            } else {
                self.push(character);
            }
        }
    }

    /// Ends the text. Calls `found` with the last word.
    pub(super) fn end(&mut self, found: &mut impl FnMut(&[char])) {
        if !self.0.is_empty() {
            found(&self.0);
            self.clear();
        }
    }

    fn word(&self) -> &[char] {
        &self.0
    }

    fn clear(&mut self) {
        self.0.clear();
    }

    /// Adds a letter without its case and its diacritics. Returns false if the word is too long for it.
    fn push(&mut self, character: char) -> bool {
        if character.is_ascii() {
            return self.push_folded(character.to_ascii_lowercase());
        }
        let letters = core::iter::once(character).nfkd().filter(|letter| !is_combining_mark(*letter));
        letters.flat_map(char::to_lowercase).fold(true, |fits, letter| {
            let letter = if letter == 'ς' { 'σ' } else { letter };
            self.push_folded(letter) && fits
        })
    }

    fn push_folded(&mut self, letter: char) -> bool {
        let fits = self.0.len() < WORD;
        if fits {
            self.0.push(letter);
        }
        fits
    }
}

/// Returns whether a character separates words.
fn is_delimiter(character: char) -> bool {
    if character.is_ascii() {
        !character.is_ascii_alphanumeric()
    } else {
        !character.is_alphanumeric() && !is_combining_mark(character)
    }
}

/// Returns whether a letter belongs to a script that does not separate words: Thai, Lao, Burmese, Khmer, and those of China
/// and Japan.
const fn is_written_without_spaces(letter: char) -> bool {
    matches!(letter,
        '\u{0e00}'..='\u{0eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}' | '\u{2e80}'..='\u{31ff}'
        | '\u{3400}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}')
}

/// The words of a search, and in which scope each is searched.
#[derive(Debug)]
pub(super) struct ScopedWords<S>(Vec<(S, SearchWord)>);

impl<S> Default for ScopedWords<S> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<S: PartialEq> ScopedWords<S> {
    /// Adds a word. Returns its number.
    pub(super) fn add(&mut self, scope: S, word: SearchWord) -> usize {
        let known = self.0.iter().position(|(of, one)| *of == scope && *one == word);
        known.unwrap_or_else(|| {
            self.0.push((scope, word));
            self.0.len() - 1
        })
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Compares a word of a message in this scope with all of the search.
    pub(super) fn compare(&self, scope: &S, word: &[char], found: &mut [WordMatch]) -> bool {
        let mut news = false;
        for ((of, wanted), best) in self.0.iter().zip(found) {
            if *best == WordMatch::Whole || of != scope {
                continue;
            }
            let one = wanted.compare(word);
            if one > *best {
                (*best, news) = (one, true);
            }
        }
        news
    }

    pub(super) fn memory(&self) -> usize {
        self.0.len() * (size_of::<(S, SearchWord)>() + WORD * size_of::<char>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    /// The first word of a text, as it is compared.
    fn word(text: &str) -> Vec<char> {
        let (mut reader, mut words) = (WordReader::default(), Vec::new());
        let mut found = |word: &[char]| words.push(word.to_vec());
        reader.read(text, &mut found);
        reader.end(&mut found);
        words.into_iter().next().unwrap_or_default()
    }

    #[test]
    fn compares_words_with_one_error_at_most() {
        for (wanted, text, expected) in [
            ("helo", "hello", WordMatch::WithError),
            ("helo", "help", WordMatch::WithError),
            ("helo", "helo", WordMatch::Whole),
            ("HELO", "helos", WordMatch::Prefix),
            ("helo", "heol", WordMatch::WithError),
            ("helo", "elo", WordMatch::WithError),
            ("helo", "xhelo", WordMatch::WithError),
            ("helo", "hel", WordMatch::WithError),
            ("helo", "he", WordMatch::None),
            ("helo", "hxxo", WordMatch::None),
            ("meetng", "meetings", WordMatch::WithError),
            ("Müller", "muller", WordMatch::Whole),
            ("muller", "MÜLLERS", WordMatch::Prefix),
            ("Ｍuller", "müller", WordMatch::Whole),
            ("cat", "cut", WordMatch::None),
            ("cat", "category", WordMatch::Prefix),
            ("c", "cat", WordMatch::None),
            ("c", "c", WordMatch::Whole),
            ("οδος", "ΟΔΟΣ", WordMatch::Whole),
            ("abcd", "", WordMatch::None),
        ] {
            assert_eq!(SearchWord(word(wanted)).compare(&word(text)), expected, "{wanted} {text}");
        }
    }

    #[test]
    fn divides_texts_into_words() {
        let long = "x".repeat(WORD + 1);
        let words = search_words(&alloc::format!("e-Mail, 42 {long}; 東京 !"));
        let approximate = |text| TextWord::Approximate(SearchWord(word(text)));
        let exact = |text: &str| TextWord::Exact(text.to_string());
        assert_eq!(
            words,
            [approximate("e"), approximate("mail"), approximate("42"), exact(&long), exact("東京")]
        );
        assert!(search_words(" -- ").is_empty());
    }

    #[test]
    fn reads_the_same_words_from_pieces_of_any_length() {
        let text = "Grüße aus Köln, e\u{301}t\u{e9} \u{fdfa}-x";
        let characters: Vec<char> = text.chars().collect();
        let read = |length: usize| {
            let (mut reader, mut words) = (WordReader::default(), Vec::new());
            for piece in characters.chunks(length) {
                reader.read(&piece.iter().collect::<String>(), &mut |word| words.push(word.to_vec()));
            }
            reader.end(&mut |word| words.push(word.to_vec()));
            words
        };
        let whole = read(characters.len());
        assert_eq!(whole.len(), 6);
        for length in 1..5 {
            assert_eq!(read(length), whole, "{length}");
        }
    }

    #[test]
    fn takes_memory_for_one_word() {
        let mut reader = WordReader::default();
        reader.read(&"\u{fdfa}x".repeat(10_000), &mut |_| {});
        assert!(reader.0.capacity() <= 2 * WORD);
    }
}
