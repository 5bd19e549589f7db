//! The texts of a search, found in one pass over each text of a message.
//!
//! Each text of a message is decoded once and read once, however many keys a search has. All search texts form one
//! Aho-Corasick automaton, which reads a text piece by piece. This module accesses neither messages nor the store.
//!
//! Text is compared without regard to case: each character is mapped to lower case, and the Greek final sigma to the
//! regular one.

use std::collections::{BTreeMap, HashMap, HashSet};

use aho_corasick::automaton::{Automaton, StateID};
use aho_corasick::nfa::contiguous::NFA;
use aho_corasick::{Anchored, BuildError};

/// The part of a message in which a text is searched.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Scope {
    From,
    To,
    Cc,
    Bcc,
    Subject,
    /// The header fields of this name, in lower case.
    Field(String),
    /// All header fields, including their names.
    Header,
    /// The text parts.
    Body,
}

/// Identifies one text in one scope.
pub(super) type TermId = usize;

/// All texts of a search.
#[derive(Debug, Default)]
pub(super) struct SearchTerms {
    automaton: Option<NFA>,
    texts: Vec<String>,
    /// For each scope, the texts searched there.
    scopes: BTreeMap<Scope, ScopeTerms>,
    count: usize,
}

#[derive(Debug, Default)]
struct ScopeTerms {
    by_text: HashMap<usize, TermId>,
    empty: Option<TermId>,
}

/// The terms that were found.
#[derive(Debug, Clone)]
pub(super) struct FoundTerms(Vec<bool>);

/// The progress within one text.
#[derive(Debug, Default)]
pub(super) struct TextProgress {
    state: Option<StateID>,
    /// The matching states of the automaton that were already recorded.
    recorded: HashSet<StateID>,
}

impl SearchTerms {
    /// Adds a text to search for.
    pub(super) fn add(&mut self, scope: Scope, text: &str) -> TermId {
        let text = fold(text);
        let next = self.count;
        let scope_terms = self.scopes.entry(scope).or_default();
        let term = if text.is_empty() {
            *scope_terms.empty.get_or_insert(next)
        } else {
            let number = self.texts.iter().position(|one| *one == text).unwrap_or_else(|| {
                self.texts.push(text);
                self.texts.len() - 1
            });
            *scope_terms.by_text.entry(number).or_insert(next)
        };
        self.count = self.count.max(term + 1);
        term
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

    /// Returns the initial result, in which no term is found.
    pub(super) fn none_found(&self) -> FoundTerms {
        FoundTerms(vec![false; self.count])
    }

    pub(super) fn has(&self, scope: &Scope) -> bool {
        self.scopes.contains_key(scope)
    }

    /// Returns whether any term is searched in header fields.
    pub(super) fn has_fields(&self) -> bool {
        self.scopes.keys().any(|scope| matches!(scope, Scope::Field(_) | Scope::Header))
    }

    /// Records that a text of this scope exists, which matches the empty term.
    pub(super) fn record_text(&self, scope: &Scope, found: &mut FoundTerms) {
        if let Some(term) = self.scopes.get(scope).and_then(|scope_terms| scope_terms.empty) {
            found.record(term);
        }
    }

    /// Reads the next piece of a text. Returns true if a new term was found.
    pub(super) fn read(
        &self,
        scope: &Scope,
        text: &str,
        progress: &mut TextProgress,
        found: &mut FoundTerms,
    ) -> bool {
        let (Some(automaton), Some(scope_terms)) = (&self.automaton, self.scopes.get(scope)) else {
            return false;
        };
        let Ok(start) = automaton.start_state(Anchored::No) else { return false };
        let mut state = progress.state.unwrap_or(start);
        let mut news = false;
        let mut step = |byte: u8| {
            state = automaton.next_state(Anchored::No, state, byte);
            if automaton.is_special(state) && automaton.is_match(state) && progress.recorded.insert(state) {
                for index in 0..automaton.match_len(state) {
                    let text = automaton.match_pattern(state, index).as_usize();
                    news |= scope_terms.by_text.get(&text).is_some_and(|term| found.record(*term));
                }
            }
        };
        for character in text.chars() {
            if character.is_ascii() {
                step(character.to_ascii_lowercase() as u8);
            } else {
                folded(character).for_each(|one| one.encode_utf8(&mut [0; 4]).bytes().for_each(&mut step));
            }
        }
        progress.state = Some(state);
        news
    }

    /// Reads a whole text.
    pub(super) fn read_all(&self, scope: &Scope, text: &str, found: &mut FoundTerms) {
        self.record_text(scope, found);
        self.read(scope, text, &mut TextProgress::default(), found);
    }
}

impl FoundTerms {
    pub(super) fn contains(&self, term: TermId) -> bool {
        self.0.get(term).copied().unwrap_or(false)
    }

    /// Records a term. Returns true if it is new.
    fn record(&mut self, term: TermId) -> bool {
        self.0.get_mut(term).is_some_and(|found| !std::mem::replace(found, true))
    }
}

impl TextProgress {
    /// Starts a new text.
    pub(super) fn restart(&mut self) {
        self.state = None;
    }
}

fn fold(text: &str) -> String {
    text.chars().flat_map(folded).collect()
}

fn folded(character: char) -> impl Iterator<Item = char> {
    character.to_lowercase().map(|one| if one == 'ς' { 'σ' } else { one })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_all_terms_in_one_pass_of_pieces_of_any_length() {
        let mut terms = SearchTerms::default();
        let texts = ["GRÜSSE", "sse", "grüß", "ΟΔΟΣ", "never", "s", ""];
        let count: Vec<_> = texts.iter().map(|text| terms.add(Scope::Body, text)).collect();
        assert_eq!(terms.add(Scope::Body, "grüsse"), count[0], "the same text in another case");
        let elsewhere = terms.add(Scope::Subject, "sse");
        terms.build().unwrap();
        let text = "Viele Grüsse, οδος";
        for length in 1..6 {
            let (mut found, mut progress) = (terms.none_found(), TextProgress::default());
            terms.record_text(&Scope::Body, &mut found);
            let characters: Vec<char> = text.chars().collect();
            for piece in characters.chunks(length) {
                let piece: String = piece.iter().collect();
                terms.read(&Scope::Body, &piece, &mut progress, &mut found);
            }
            let of: Vec<bool> = count.iter().map(|term| found.contains(*term)).collect();
            assert_eq!(of, [true, true, false, true, false, true, true], "{length}");
            assert!(!found.contains(elsewhere));
        }
    }

    #[test]
    fn finds_nothing_across_two_texts() {
        let mut terms = SearchTerms::default();
        let term = terms.add(Scope::Body, "ab");
        terms.build().unwrap();
        let (mut found, mut progress) = (terms.none_found(), TextProgress::default());
        terms.read(&Scope::Body, "a", &mut progress, &mut found);
        progress.restart();
        assert!(!terms.read(&Scope::Body, "b", &mut progress, &mut found));
        assert!(!found.contains(term));
    }
}
