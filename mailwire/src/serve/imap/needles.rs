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
pub(super) type Fact = usize;

/// All texts of a search.
#[derive(Debug, Default)]
pub(super) struct Needles {
    automaton: Option<NFA>,
    texts: Vec<String>,
    /// For each scope, the texts searched there.
    scopes: BTreeMap<Scope, Wanted>,
    facts: usize,
}

#[derive(Debug, Default)]
struct Wanted {
    by_text: HashMap<usize, Fact>,
    empty: Option<Fact>,
}

/// The terms that were found.
#[derive(Debug, Clone)]
pub(super) struct Found(Vec<bool>);

/// The progress within one text.
#[derive(Debug, Default)]
pub(super) struct Reading {
    state: Option<StateID>,
    /// The matching states of the automaton that were already recorded.
    noted: HashSet<StateID>,
}

impl Needles {
    /// Adds a text to search for.
    pub(super) fn add(&mut self, scope: Scope, text: &str) -> Fact {
        let text = fold(text);
        let next = self.facts;
        let wanted = self.scopes.entry(scope).or_default();
        let fact = if text.is_empty() {
            *wanted.empty.get_or_insert(next)
        } else {
            let number = self.texts.iter().position(|one| *one == text).unwrap_or_else(|| {
                self.texts.push(text);
                self.texts.len() - 1
            });
            *wanted.by_text.entry(number).or_insert(next)
        };
        self.facts = self.facts.max(fact + 1);
        fact
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
    pub(super) fn none_found(&self) -> Found {
        Found(vec![false; self.facts])
    }

    pub(super) fn has(&self, scope: &Scope) -> bool {
        self.scopes.contains_key(scope)
    }

    /// Returns whether any term is searched in header fields.
    pub(super) fn has_fields(&self) -> bool {
        self.scopes.keys().any(|scope| matches!(scope, Scope::Field(_) | Scope::Header))
    }

    /// Records that a text of this scope exists, which matches the empty term.
    pub(super) fn note_text(&self, scope: &Scope, found: &mut Found) {
        if let Some(fact) = self.scopes.get(scope).and_then(|wanted| wanted.empty) {
            found.note(fact);
        }
    }

    /// Reads the next piece of a text. Returns true if a new term was found.
    pub(super) fn read(&self, scope: &Scope, text: &str, reading: &mut Reading, found: &mut Found) -> bool {
        let (Some(automaton), Some(wanted)) = (&self.automaton, self.scopes.get(scope)) else { return false };
        let Ok(start) = automaton.start_state(Anchored::No) else { return false };
        let mut state = reading.state.unwrap_or(start);
        let mut news = false;
        let mut step = |byte: u8| {
            state = automaton.next_state(Anchored::No, state, byte);
            if automaton.is_special(state) && automaton.is_match(state) && reading.noted.insert(state) {
                for index in 0..automaton.match_len(state) {
                    let text = automaton.match_pattern(state, index).as_usize();
                    news |= wanted.by_text.get(&text).is_some_and(|fact| found.note(*fact));
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
        reading.state = Some(state);
        news
    }

    /// Reads a whole text.
    pub(super) fn read_all(&self, scope: &Scope, text: &str, found: &mut Found) {
        self.note_text(scope, found);
        self.read(scope, text, &mut Reading::default(), found);
    }
}

impl Found {
    pub(super) fn contains(&self, fact: Fact) -> bool {
        self.0.get(fact).copied().unwrap_or(false)
    }

    /// Records a term. Returns true if it is new.
    fn note(&mut self, fact: Fact) -> bool {
        self.0.get_mut(fact).is_some_and(|found| !std::mem::replace(found, true))
    }
}

impl Reading {
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
        let mut needles = Needles::default();
        let texts = ["GRÜSSE", "sse", "grüß", "ΟΔΟΣ", "never", "s", ""];
        let facts: Vec<_> = texts.iter().map(|text| needles.add(Scope::Body, text)).collect();
        assert_eq!(needles.add(Scope::Body, "grüsse"), facts[0], "the same text in another case");
        let elsewhere = needles.add(Scope::Subject, "sse");
        needles.build().unwrap();
        let text = "Viele Grüsse, οδος";
        for length in 1..6 {
            let (mut found, mut reading) = (needles.none_found(), Reading::default());
            needles.note_text(&Scope::Body, &mut found);
            let characters: Vec<char> = text.chars().collect();
            for piece in characters.chunks(length) {
                let piece: String = piece.iter().collect();
                needles.read(&Scope::Body, &piece, &mut reading, &mut found);
            }
            let of: Vec<bool> = facts.iter().map(|fact| found.contains(*fact)).collect();
            assert_eq!(of, [true, true, false, true, false, true, true], "{length}");
            assert!(!found.contains(elsewhere));
        }
    }

    #[test]
    fn finds_nothing_across_two_texts() {
        let mut needles = Needles::default();
        let fact = needles.add(Scope::Body, "ab");
        needles.build().unwrap();
        let (mut found, mut reading) = (needles.none_found(), Reading::default());
        needles.read(&Scope::Body, "a", &mut reading, &mut found);
        reading.restart();
        assert!(!needles.read(&Scope::Body, "b", &mut reading, &mut found));
        assert!(!found.contains(fact));
    }
}
