//! The texts of a search, found in one pass over each text of a message.
//!
//! Each text of a message is decoded once and read once, however many keys a search has. All search texts form one
//! Aho-Corasick automaton, which reads a text piece by piece.
//!
//! Texts are compared in a [`Collation`]. An index of texts always has the folding of the default one: a text that contains
//! another one in any collation contains it there, because each character is folded on its own.

use alloc::borrow::{Cow, ToOwned};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;

use aho_corasick::automaton::{Automaton, StateID};
use aho_corasick::nfa::contiguous::NFA;
use aho_corasick::{Anchored, BuildError};

use crate::sort_order::{Collation, fold_character};

use super::fuzzy::{ScopedWords, SearchWord, WordMatch, WordReader};

/// The part of a message in which a text is searched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextScope<'a> {
    /// An address of the envelope's From field: `name <mailbox@host>`, or `mailbox@host` if it has no name.
    From,
    /// An address of the envelope's To field.
    To,
    /// An address of the envelope's Cc field.
    Cc,
    /// An address of the envelope's Bcc field.
    Bcc,
    /// The envelope's subject.
    Subject,
    /// The value of a header field with this name, in any case.
    Field(&'a str),
    /// A whole header field: `name: value`.
    Header,
    /// A text part of the body.
    Body,
}

/// A [`TextScope`] that owns the name, in lower case.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Scope {
    From,
    To,
    Cc,
    Bcc,
    Subject,
    Field(String),
    Header,
    Body,
}

impl From<TextScope<'_>> for Scope {
    fn from(scope: TextScope<'_>) -> Self {
        match scope {
            TextScope::From => Self::From,
            TextScope::To => Self::To,
            TextScope::Cc => Self::Cc,
            TextScope::Bcc => Self::Bcc,
            TextScope::Subject => Self::Subject,
            TextScope::Field(name) => Self::Field(name.to_ascii_lowercase()),
            TextScope::Header => Self::Header,
            TextScope::Body => Self::Body,
        }
    }
}

/// Identifies one text in one scope.
pub(super) type TermId = usize;

/// Identifies one word in one scope that is matched approximately.
pub(super) type WordId = usize;

/// All texts of a search.
#[derive(Debug, Default)]
pub(super) struct SearchTerms {
    collation: Collation,
    automaton: Option<NFA>,
    texts: Vec<String>,
    /// For each scope, the texts searched there.
    scopes: BTreeMap<Scope, ScopeTerms>,
    count: usize,
    /// The words that are matched approximately. Each scope of one has a text, too.
    words: ScopedWords<Scope>,
}

#[derive(Debug, Default)]
struct ScopeTerms {
    by_text: BTreeMap<usize, TermId>,
    empty: Option<TermId>,
}

/// The terms that were found.
#[derive(Debug, Clone)]
pub(super) struct FoundTerms {
    terms: Vec<bool>,
    words: Vec<WordMatch>,
}

/// The progress within one text.
#[derive(Debug, Default)]
pub(super) struct TextProgress {
    state: Option<StateID>,
    /// The matching states of the automaton that were already recorded.
    recorded: BTreeSet<StateID>,
    word: WordReader,
}

impl SearchTerms {
    pub(super) fn new(collation: Collation) -> Self {
        Self { collation, ..Self::default() }
    }

    /// Adds a text to search for.
    pub(super) fn add(&mut self, scope: TextScope<'_>, text: &str) -> TermId {
        let text = self.collation.fold(text);
        let next = self.count;
        let scope_terms = self.scopes.entry(scope.into()).or_default();
        let term = if text.is_empty() {
            *scope_terms.empty.get_or_insert(next)
        } else {
            let number = self.texts.iter().position(|one| *one == text).unwrap_or_else(|| {
                self.texts.push(text.to_owned());
                self.texts.len() - 1
            });
            *scope_terms.by_text.entry(number).or_insert(next)
        };
        self.count = self.count.max(term + 1);
        term
    }

    /// Adds a word that is matched approximately.
    pub(super) fn add_word(&mut self, scope: TextScope<'_>, word: SearchWord) -> WordId {
        self.words.add(scope.into(), word)
    }

    /// Returns the number of words that are matched approximately.
    pub(super) fn word_count(&self) -> usize {
        self.words.len()
    }

    /// Builds the automaton, once all texts are added.
    ///
    /// # Errors
    /// There are too many texts.
    pub(super) fn build(&mut self) -> Result<(), BuildError> {
        if !self.texts.is_empty() {
            self.automaton = Some(NFA::builder().dense_depth(1).build(&self.texts)?);
        }
        Ok(())
    }

    /// Returns the text of a term, folded as in an index; `None` if it is empty.
    pub(super) fn index_text(&self, term: TermId) -> Option<Cow<'_, str>> {
        let texts = self.scopes.values().flat_map(|scope| &scope.by_text);
        let (number, _) = texts.into_iter().find(|(_, id)| **id == term)?;
        let text = self.texts.get(*number)?;
        Some(match self.collation {
            Collation::UnicodeCasemap => Cow::Borrowed(text),
            _ => Cow::Owned(fold_text(text)),
        })
    }

    /// Returns about how many bytes of memory the texts and their automaton take.
    pub(super) fn memory(&self) -> usize {
        let texts: usize = self.texts.iter().map(|text| text.len() + size_of::<String>()).sum();
        let terms = self.count * 4 * size_of::<usize>();
        texts + terms + self.words.memory() + self.automaton.as_ref().map_or(0, Automaton::memory_usage)
    }

    /// Returns the initial result, in which no term is found.
    pub(super) fn none_found(&self) -> FoundTerms {
        FoundTerms {
            terms: alloc::vec![false; self.count],
            words: alloc::vec![WordMatch::None; self.words.len()],
        }
    }

    pub(super) fn has(&self, scope: TextScope<'_>) -> bool {
        self.scopes.contains_key(&scope.into())
    }

    /// Records that a text of this scope exists, which matches the empty term. Returns true if that is new.
    fn record_text(scope_terms: &ScopeTerms, found: &mut FoundTerms) -> bool {
        scope_terms.empty.is_some_and(|term| found.record(term))
    }

    /// Reads the next piece of a text. Returns true if a new term was found.
    pub(super) fn read(
        &self,
        scope: TextScope<'_>,
        text: &str,
        progress: &mut TextProgress,
        found: &mut FoundTerms,
    ) -> bool {
        let scope = scope.into();
        let Some(scope_terms) = self.scopes.get(&scope) else { return false };
        let mut news = Self::record_text(scope_terms, found);
        if !self.words.is_empty() {
            progress.word.read(text, &mut |word| news |= self.words.compare(&scope, word, &mut found.words));
        }
        let Some(automaton) = &self.automaton else { return news };
        let Ok(start) = automaton.start_state(Anchored::No) else { return news };
        let mut state = progress.state.unwrap_or(start);
        let mut step = |byte: u8| {
            state = automaton.next_state(Anchored::No, state, byte);
            if automaton.is_special(state) && automaton.is_match(state) && progress.recorded.insert(state) {
                for index in 0..automaton.match_len(state) {
                    let text = automaton.match_pattern(state, index).as_usize();
                    news |= scope_terms.by_text.get(&text).is_some_and(|term| found.record(*term));
                }
            }
        };
        match self.collation {
            Collation::Bytes => text.bytes().for_each(step),
            Collation::AsciiCasemap => text.bytes().for_each(|byte| step(byte.to_ascii_lowercase())),
            Collation::UnicodeCasemap => {
                for character in text.chars() {
                    if character.is_ascii() {
                        step(character.to_ascii_lowercase() as u8);
                    } else {
                        let mut put = |one: char| one.encode_utf8(&mut [0; 4]).bytes().for_each(&mut step);
                        fold_character(character, &mut put);
                    }
                }
            }
        }
        progress.state = Some(state);
        news
    }

    /// Ends a text: its last word is complete. Returns true if a new word was found.
    pub(super) fn end(
        &self,
        scope: TextScope<'_>,
        progress: &mut TextProgress,
        found: &mut FoundTerms,
    ) -> bool {
        let mut news = false;
        if !self.words.is_empty() {
            let scope = scope.into();
            progress.word.end(&mut |word| news |= self.words.compare(&scope, word, &mut found.words));
        }
        progress.state = None;
        news
    }
}

impl FoundTerms {
    pub(super) fn contains(&self, term: TermId) -> bool {
        self.terms.get(term).copied().unwrap_or(false)
    }

    /// Returns how well a word was found.
    pub(super) fn word(&self, word: WordId) -> WordMatch {
        self.words.get(word).copied().unwrap_or_default()
    }

    /// Records a term. Returns true if it is new.
    fn record(&mut self, term: TermId) -> bool {
        self.terms.get_mut(term).is_some_and(|found| !core::mem::replace(found, true))
    }
}

/// Maps a text to the form in which a search compares it by default: without differences of case, and decomposed
/// (`i;unicode-casemap`).
#[must_use]
pub fn fold_text(text: &str) -> String {
    Collation::UnicodeCasemap.fold(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_all_terms_in_one_pass_of_pieces_of_any_length() {
        let mut terms = SearchTerms::default();
        let texts = ["GRÜSSE", "sse", "grüß", "ΟΔΟΣ", "never", "s", ""];
        let added: Vec<_> = texts.iter().map(|text| terms.add(TextScope::Body, text)).collect();
        assert_eq!(terms.add(TextScope::Body, "grüsse"), added[0], "the same text in another case");
        let elsewhere = terms.add(TextScope::Subject, "sse");
        terms.build().unwrap();
        let text = "Viele Grüsse, οδος";
        for length in 1..6 {
            let (mut found, mut progress) = (terms.none_found(), TextProgress::default());
            let characters: Vec<char> = text.chars().collect();
            for piece in characters.chunks(length) {
                let piece: String = piece.iter().collect();
                terms.read(TextScope::Body, &piece, &mut progress, &mut found);
            }
            let of: Vec<bool> = added.iter().map(|term| found.contains(*term)).collect();
            assert_eq!(of, [true, true, false, true, false, true, true], "{length}");
            assert!(!found.contains(elsewhere));
        }
    }

    #[test]
    fn finds_nothing_across_two_texts() {
        let mut terms = SearchTerms::default();
        let term = terms.add(TextScope::Body, "ab");
        terms.build().unwrap();
        let (mut found, mut progress) = (terms.none_found(), TextProgress::default());
        terms.read(TextScope::Body, "a", &mut progress, &mut found);
        terms.end(TextScope::Body, &mut progress, &mut found);
        assert!(!terms.read(TextScope::Body, "b", &mut progress, &mut found));
        assert!(!found.contains(term));
    }

    #[test]
    fn an_empty_text_matches_any_field_of_the_name() {
        let mut terms = SearchTerms::default();
        let term = terms.add(TextScope::Field("X-Odd"), "");
        terms.build().unwrap();
        let (mut found, mut progress) = (terms.none_found(), TextProgress::default());
        assert!(!terms.read(TextScope::Field("subject"), "x", &mut progress, &mut found));
        assert!(terms.read(TextScope::Field("x-odd"), "", &mut progress, &mut found));
        assert!(found.contains(term));
    }
}
