//! The patterns of LIST and LSUB (RFC 9051 §6.3.9): `*` matches anything, `%` anything without a hierarchy delimiter.

use std::collections::BTreeMap;

use mailstore::NAME_LIMIT;

/// The hierarchy delimiter.
pub(super) const DELIMITER: char = '/';

/// A reference name joined with a pattern.
///
/// The pattern is a nondeterministic automaton, simulated with one bit per position. Matching a name of n bytes takes
/// n steps, each over as many words as the pattern needs for its bits; there is no backtracking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern {
    /// The number of bytes that are not wildcards, and the number of positions.
    literal: usize,
    positions: usize,
    /// For each byte, the positions that expect it.
    bytes: BTreeMap<u8, Box<[u64]>>,
    /// The positions of the wildcards `%` and `*`.
    level: Box<[u64]>,
    anything: Box<[u64]>,
    /// Whether the pattern ends with `%`.
    ends_with_level: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    Byte(u8),
    /// `%`
    Level,
    /// `*`
    Anything,
}

impl Pattern {
    pub(super) fn new(reference: &str, pattern: &str) -> Self {
        let tokens = tokens(reference, pattern);
        let literal = tokens.iter().filter(|part| matches!(part, Token::Byte(_))).count();
        let words = tokens.len() / 64 + 1;
        let none = || vec![0_u64; words].into_boxed_slice();
        let (mut bytes, mut level, mut anything) = (BTreeMap::new(), none(), none());
        // A pattern that no name can match needs no bits.
        let used = if literal > NAME_LIMIT { &[][..] } else { &tokens[..] };
        for (position, part) in used.iter().enumerate() {
            let bits = match part {
                Token::Byte(byte) => bytes.entry(*byte).or_insert_with(none),
                Token::Level => &mut level,
                Token::Anything => &mut anything,
            };
            if let Some(word) = bits.get_mut(position / 64) {
                *word |= 1 << (position % 64);
            }
        }
        let ends_with_level = tokens.last() == Some(&Token::Level);
        Self { literal, positions: tokens.len(), bytes, level, anything, ends_with_level }
    }

    /// Returns whether the pattern ends with `%`: then LSUB also returns levels above a match.
    pub(super) fn ends_with_level(&self) -> bool {
        self.ends_with_level
    }

    /// Returns whether a name matches. INBOX is case-insensitive.
    pub(super) fn matches(&self, name: &str) -> bool {
        if self.literal > name.len() || name.len() > NAME_LIMIT {
            return false;
        }
        let inbox = name.eq_ignore_ascii_case("INBOX");
        let mut active = vec![0_u64; self.level.len()];
        if let Some(first) = active.first_mut() {
            *first = 1;
        }
        self.skip_wildcards(&mut active);
        for byte in name.bytes() {
            self.step(&mut active, byte, inbox);
            if active.iter().all(|word| *word == 0) {
                return false;
            }
        }
        active.get(self.positions / 64).is_some_and(|word| word >> (self.positions % 64) & 1 == 1)
    }

    /// Consumes one byte of the name: each active position advances if its byte matches, and stays if it is a
    /// wildcard.
    fn step(&self, active: &mut [u64], byte: u8, inbox: bool) {
        let same = self.bytes.get(&byte);
        let folded = byte ^ 0x20;
        let same_folded = self.bytes.get(&folded).filter(|_| inbox && folded.is_ascii_alphabetic());
        let mut carry = 0;
        for (index, word) in active.iter_mut().enumerate() {
            let at = |bits: &[u64]| bits.get(index).copied().unwrap_or(0);
            let advance = *word & (same.map_or(0, |bits| at(bits)) | same_folded.map_or(0, |bits| at(bits)));
            let level = if char::from(byte) == DELIMITER { 0 } else { at(&self.level) };
            *word = (advance << 1) | carry | (*word & (at(&self.anything) | level));
            carry = advance >> 63;
        }
        self.skip_wildcards(active);
    }

    /// Activates the position after each active wildcard, since a wildcard may match nothing. No two wildcards are
    /// adjacent.
    fn skip_wildcards(&self, active: &mut [u64]) {
        let mut carry = 0;
        for (word, (level, anything)) in active.iter_mut().zip(self.level.iter().zip(&self.anything)) {
            // A bit carried from the previous word is not itself a wildcard, because no two wildcards are adjacent.
            let wild = *word & (level | anything);
            *word |= (wild << 1) | carry;
            carry = wild >> 63;
        }
    }
}

fn tokens(reference: &str, pattern: &str) -> Vec<Token> {
    let mut tokens: Vec<Token> = Vec::new();
    for part in reference.bytes().map(Token::Byte).chain(pattern.bytes().map(|byte| match byte {
        b'*' => Token::Anything,
        b'%' => Token::Level,
        byte => Token::Byte(byte),
    })) {
        match (tokens.last(), part) {
            // Adjacent wildcards are merged, so that a pattern is never much longer than the names it can match.
            (Some(Token::Anything), Token::Anything | Token::Level) | (Some(Token::Level), Token::Level) => {}
            (Some(Token::Level), Token::Anything) => {
                tokens.pop();
                tokens.push(Token::Anything);
            }
            _ => tokens.push(part),
        }
    }
    tokens
}

/// Returns the parents of a mailbox name, the nearest first.
pub(super) fn parents(name: &str) -> impl Iterator<Item = &str> {
    let mut rest = name;
    std::iter::from_fn(move || {
        let end = rest.rfind(DELIMITER)?;
        rest = rest.get(..end)?;
        Some(rest)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_match_within_and_across_levels() {
        for (reference, pattern, yes, no) in [
            ("", "*", &["INBOX", "a/b/c"][..], &[][..]),
            ("", "%", &["INBOX", "a"], &["a/b"]),
            ("", "%/%", &["a/b"], &["a", "a/b/c"]),
            ("a/", "%", &["a/b"], &["a", "a/b/c", "b"]),
            ("a/", "*", &["a/b", "a/b/c"], &["a"]),
            ("", "a*c", &["ac", "abc", "a/b/c"], &["a", "acd"]),
            ("", "inbox", &["INBOX"], &["inboxes", "in"]),
            ("", "iNb%", &["INBOX"], &["inbx/a"]),
            ("", "Sent", &["Sent"], &["sent", "SENT"]),
            ("", "%*%", &["a/b"], &[]),
            ("", "", &[""], &["a"]),
            ("", "Entwürfe/%", &["Entwürfe/ä"], &["Entwürfe"]),
        ] {
            let pattern = Pattern::new(reference, pattern);
            for name in yes {
                assert!(pattern.matches(name), "{pattern:?} {name}");
            }
            for name in no {
                assert!(!pattern.matches(name), "{pattern:?} {name}");
            }
        }
    }

    #[test]
    fn a_malicious_pattern_is_cheap_to_match() {
        let pattern = Pattern::new("", &"*a%".repeat(20_000));
        assert!(!pattern.matches(&"a".repeat(NAME_LIMIT)));
        let pattern = Pattern::new("", &format!("{}b", "a*".repeat(400)));
        assert!(!pattern.matches(&"a".repeat(NAME_LIMIT)));
    }

    /// A reference implementation with backtracking.
    fn matches_by_backtracking(pattern: &[u8], name: &[u8]) -> bool {
        match (pattern.split_first(), name.split_first()) {
            (None, rest) => rest.is_none(),
            (Some((b'*' | b'%', after)), None) => matches_by_backtracking(after, name),
            (Some((wildcard @ (b'*' | b'%'), after)), Some((byte, rest))) => {
                matches_by_backtracking(after, name)
                    || (*wildcard == b'*' || *byte != b'/') && matches_by_backtracking(pattern, rest)
            }
            (Some((one, after)), Some((byte, rest))) => one == byte && matches_by_backtracking(after, rest),
            (Some(_), None) => false,
        }
    }

    #[test]
    fn matches_like_a_backtracking_implementation() {
        let mut random = fastrand::Rng::with_seed(7);
        let mut text = |letters: &[char], most| -> String {
            let length = random.usize(0..most);
            (0..length).filter_map(|_| random.choice(letters.iter()).copied()).collect()
        };
        let mut matched = 0;
        for _ in 0..20_000 {
            let (pattern, name) = (text(&['a', 'b', '/', '*', '%', '*'], 9), text(&['a', 'b', '/'], 9));
            let expected = matches_by_backtracking(pattern.as_bytes(), name.as_bytes());
            assert_eq!(Pattern::new("", &pattern).matches(&name), expected, "{pattern} {name}");
            matched += usize::from(expected);
        }
        assert!(matched > 1_000);
        // Positions beyond the first word.
        for length in [62, 63, 64, 65, 127, 128, 129] {
            let name = "a".repeat(length);
            for pattern in [format!("{name}%b"), format!("{name}b*")] {
                let pattern = Pattern::new("", &pattern);
                assert!(pattern.matches(&format!("{name}b")), "{length}");
                assert!(!pattern.matches(&name), "{length}");
            }
            assert!(Pattern::new("", &format!("{name}*")).matches(&name), "{length}");
            assert!(Pattern::new("", &format!("*{name}%")).matches(&name), "{length}");
        }
    }

    #[test]
    fn matches_malicious_patterns_against_many_names_quickly() {
        let pattern = Pattern::new("", &format!("{}b", "*a".repeat(20)));
        let names: Vec<String> = (0..8_000).map(|number| format!("{}{number}", "a".repeat(60))).collect();
        let start = std::time::Instant::now();
        for _ in 0..5 {
            assert!(!names.iter().any(|name| pattern.matches(name)));
        }
        // Takes half a second without optimization; backtracking would take hours.
        assert!(start.elapsed() < std::time::Duration::from_secs(20));
    }

    #[test]
    fn lists_the_parents_of_a_name() {
        assert_eq!(parents("a/b/c").collect::<Vec<_>>(), ["a/b", "a"]);
        assert_eq!(parents("a").count(), 0);
    }
}
