//! Which mailbox names a LIST or LSUB selects (RFC 9051 §6.3.9): `*` matches anything, `%` anything without a hierarchy
//! delimiter, and INBOX is case-insensitive. For authors of servers.
//!
//! A pattern is a nondeterministic automaton, simulated with one bit per position. Matching a name of n bytes takes n
//! steps, each over as many words as the pattern needs for its bits; there is no backtracking.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::fmt;

use proto_mail::error::ErrorDetails;

/// The limits of a [`ListMatcher`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListLimits {
    /// The maximum number of patterns. The default is 100.
    pub patterns: usize,
    /// The maximum length of all patterns in bytes, each together with the reference name. The default is 8 KiB.
    pub bytes: usize,
    /// The maximum length of a mailbox name in bytes. A longer name never matches. The default is 1 KiB.
    pub name: usize,
}

impl Default for ListLimits {
    fn default() -> Self {
        Self { patterns: 100, bytes: 8 * 1024, name: 1024 }
    }
}

impl ListLimits {
    /// Sets the maximum length of a mailbox name in bytes.
    #[must_use]
    pub const fn name(mut self, bytes: usize) -> Self {
        self.name = bytes;
        self
    }
}

/// The error for a LIST with too many patterns, or patterns that are too long. The server answers NO or BAD with
/// `LIMIT`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooManyPatterns;

impl fmt::Display for TooManyPatterns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("too many patterns, or they are too long")
    }
}

impl core::error::Error for TooManyPatterns {}

impl ErrorDetails for TooManyPatterns {}

/// The patterns of a LIST or LSUB, each joined with the reference name.
///
/// ```
/// use proto_imap::list_matcher::{ListLimits, ListMatcher};
///
/// // a1 LIST "Work/" ("%" "Old*")
/// let matcher = ListMatcher::new("Work/", ["%", "Old*"], Some('/'), &ListLimits::default())?;
/// assert!(matcher.matches("Work/Plans"));
/// assert!(matcher.matches("Work/Old/2024"));
/// assert!(!matcher.matches("Work/Plans/May"));
/// # Ok::<(), proto_imap::list_matcher::TooManyPatterns>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ListMatcher {
    patterns: Vec<Pattern>,
    delimiter: Option<char>,
    name_limit: usize,
}

impl ListMatcher {
    /// Creates a matcher of these patterns, which are decoded. `delimiter` separates the levels of the hierarchy; `None`
    /// if names have no levels.
    ///
    /// # Errors
    /// [`TooManyPatterns`] if the patterns exceed the limits.
    pub fn new<'a>(
        reference: &str,
        patterns: impl IntoIterator<Item = &'a str>,
        delimiter: Option<char>,
        limits: &ListLimits,
    ) -> Result<Self, TooManyPatterns> {
        let mut bytes = 0_usize;
        let mut compiled = Vec::new();
        for pattern in patterns {
            bytes = bytes.saturating_add(reference.len()).saturating_add(pattern.len());
            if compiled.len() >= limits.patterns || bytes > limits.bytes {
                return Err(TooManyPatterns);
            }
            compiled.push(Pattern::new(reference, pattern, limits.name));
        }
        Ok(Self { patterns: compiled, delimiter, name_limit: limits.name })
    }

    /// Returns whether a name matches at least one pattern. `name` is decoded. Only the whole name INBOX is
    /// case-insensitive.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        name.len() <= self.name_limit
            && self.patterns.iter().any(|pattern| pattern.matches(name, self.delimiter))
    }

    /// Returns whether a pattern ends with `%`. LSUB then also returns the levels above a match (RFC 3501 §6.3.9).
    #[must_use]
    pub fn ends_with_percent(&self) -> bool {
        self.patterns.iter().any(|pattern| pattern.ends_with_level)
    }
}

/// Returns the parents of a mailbox name, the nearest first.
pub fn parents(name: &str, delimiter: char) -> impl Iterator<Item = &str> {
    let mut rest = name;
    core::iter::from_fn(move || {
        let end = rest.rfind(delimiter)?;
        rest = rest.get(..end)?;
        Some(rest)
    })
}

/// A reference name joined with a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Pattern {
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
    fn new(reference: &str, pattern: &str, name_limit: usize) -> Self {
        let tokens = tokens(reference, pattern);
        let literal = tokens.iter().filter(|part| matches!(part, Token::Byte(_))).count();
        let words = tokens.len() / 64 + 1;
        let none = || alloc::vec![0_u64; words].into_boxed_slice();
        let (mut bytes, mut level, mut anything) = (BTreeMap::new(), none(), none());
        // A pattern that no name can match needs no bits.
        let used = if literal > name_limit { &[][..] } else { &tokens[..] };
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

    fn matches(&self, name: &str, delimiter: Option<char>) -> bool {
        if self.literal > name.len() {
            return false;
        }
        let inbox = name.eq_ignore_ascii_case("INBOX");
        let mut active = alloc::vec![0_u64; self.level.len()];
        if let Some(first) = active.first_mut() {
            *first = 1;
        }
        self.skip_wildcards(&mut active);
        for byte in name.bytes() {
            self.step(&mut active, byte, delimiter, inbox);
            if active.iter().all(|word| *word == 0) {
                return false;
            }
        }
        active.get(self.positions / 64).is_some_and(|word| word >> (self.positions % 64) & 1 == 1)
    }

    /// Consumes one byte of the name: each active position advances if its byte matches, and stays if it is a
    /// wildcard.
    fn step(&self, active: &mut [u64], byte: u8, delimiter: Option<char>, inbox: bool) {
        let same = self.bytes.get(&byte);
        let folded = byte ^ 0x20;
        let same_folded = self.bytes.get(&folded).filter(|_| inbox && folded.is_ascii_alphabetic());
        let is_delimiter = delimiter == Some(char::from(byte));
        let mut carry = 0;
        for (index, word) in active.iter_mut().enumerate() {
            let at = |bits: &[u64]| bits.get(index).copied().unwrap_or(0);
            let advance = *word & (same.map_or(0, |bits| at(bits)) | same_folded.map_or(0, |bits| at(bits)));
            let level = if is_delimiter { 0 } else { at(&self.level) };
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

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::string::String;
    use proptest::prelude::*;

    fn matcher(reference: &str, pattern: &str) -> ListMatcher {
        let limits = ListLimits { bytes: usize::MAX, ..ListLimits::default() };
        ListMatcher::new(reference, [pattern], Some('/'), &limits).unwrap()
    }

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
            let pattern = matcher(reference, pattern);
            for name in yes {
                assert!(pattern.matches(name), "{pattern:?} {name}");
            }
            for name in no {
                assert!(!pattern.matches(name), "{pattern:?} {name}");
            }
        }
    }

    #[test]
    fn another_delimiter_separates_levels() {
        let limits = ListLimits::default();
        let dots = ListMatcher::new("", ["a.%"], Some('.'), &limits).unwrap();
        assert!(dots.matches("a.b/c") && !dots.matches("a.b.c"));
        let flat = ListMatcher::new("", ["%"], None, &limits).unwrap();
        assert!(flat.matches("a.b/c"));
        assert_eq!(parents("a.b.c", '.').collect::<Vec<_>>(), ["a.b", "a"]);
        assert_eq!(parents("a", '/').count(), 0);
    }

    #[test]
    fn a_name_needs_to_match_only_one_of_several_patterns() {
        let matcher = ListMatcher::new("a/", ["b", "c%"], Some('/'), &ListLimits::default()).unwrap();
        assert!(matcher.matches("a/b") && matcher.matches("a/cd") && !matcher.matches("a/d"));
        assert!(matcher.ends_with_percent());
        assert!(!ListMatcher::default().matches("a"));
    }

    #[test]
    fn limits_the_number_and_the_length_of_patterns() {
        let limits = ListLimits { patterns: 2, bytes: 10, name: 5 };
        let of = |reference: &str, patterns: &[&str]| {
            ListMatcher::new(reference, patterns.iter().copied(), Some('/'), &limits)
        };
        assert!(of("", &["a", "b"]).is_ok());
        assert_eq!(of("", &["a", "b", "c"]), Err(TooManyPatterns));
        assert!(of("1234", &["1", "1"]).is_ok());
        assert_eq!(of("1234", &["1", "12"]), Err(TooManyPatterns));
        let any = of("", &["*"]).unwrap();
        assert!(any.matches("12345") && !any.matches("123456"));
    }

    #[test]
    fn a_malicious_pattern_is_cheap_to_match() {
        let name = "a".repeat(ListLimits::default().name);
        assert!(!matcher("", &"*a%".repeat(20_000)).matches(&name));
        assert!(!matcher("", &format!("{}b", "a*".repeat(400))).matches(&name));
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

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(5_000))]

        #[test]
        fn matches_like_a_backtracking_implementation(pattern in "[ab/*%*]{0,9}", name in "[ab/]{0,9}") {
            let expected = matches_by_backtracking(pattern.as_bytes(), name.as_bytes());
            prop_assert_eq!(matcher("", &pattern).matches(&name), expected);
        }
    }

    #[test]
    fn matches_patterns_of_any_number_of_words() {
        for length in [62, 63, 64, 65, 127, 128, 129] {
            let name = "a".repeat(length);
            for pattern in [format!("{name}%b"), format!("{name}b*")] {
                let pattern = matcher("", &pattern);
                assert!(pattern.matches(&format!("{name}b")), "{length}");
                assert!(!pattern.matches(&name), "{length}");
            }
            assert!(matcher("", &format!("{name}*")).matches(&name), "{length}");
            assert!(matcher("", &format!("*{name}%")).matches(&name), "{length}");
        }
    }

    #[test]
    fn matches_malicious_patterns_against_many_names_quickly() {
        let pattern = matcher("", &format!("{}b", "*a".repeat(20)));
        let names: Vec<String> = (0..8_000).map(|number| format!("{}{number}", "a".repeat(60))).collect();
        let start = cpu_time::ProcessTime::now();
        for _ in 0..5 {
            assert!(!names.iter().any(|name| pattern.matches(name)));
        }
        // Takes half a second without optimization; backtracking would take hours.
        assert!(start.elapsed() < core::time::Duration::from_secs(20));
    }
}
