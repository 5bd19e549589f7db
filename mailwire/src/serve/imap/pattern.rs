//! The patterns of LIST and LSUB (RFC 9051 §6.3.9): `*` stands for anything, `%` for anything within one level.

use mailstore::NAME_LIMIT;

/// What separates the levels of a name.
pub(super) const DELIMITER: char = '/';

/// A reference and a pattern, joined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern {
    parts: Vec<Part>,
    literal: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Octet(u8),
    /// `%`
    Level,
    /// `*`
    Anything,
}

impl Pattern {
    pub(super) fn new(reference: &str, pattern: &str) -> Self {
        let mut parts: Vec<Part> = Vec::new();
        for octet in reference.bytes().map(Part::Octet).chain(pattern.bytes().map(|octet| match octet {
            b'*' => Part::Anything,
            b'%' => Part::Level,
            octet => Part::Octet(octet),
        })) {
            match (parts.last(), octet) {
                // Wildcards in a row are one: the pattern is never much longer than what it can match.
                (Some(Part::Anything), Part::Anything | Part::Level) | (Some(Part::Level), Part::Level) => {}
                (Some(Part::Level), Part::Anything) => {
                    parts.pop();
                    parts.push(Part::Anything);
                }
                _ => parts.push(octet),
            }
        }
        let literal = parts.iter().filter(|part| matches!(part, Part::Octet(_))).count();
        Self { parts, literal }
    }

    /// Whether the pattern ends with `%`: then levels above a match count too.
    pub(super) fn ends_with_level(&self) -> bool {
        self.parts.last() == Some(&Part::Level)
    }

    /// Whether a name matches. INBOX matches in any case.
    pub(super) fn matches(&self, name: &str) -> bool {
        if self.literal > name.len() || name.len() > NAME_LIMIT {
            return false;
        }
        let inbox = name.eq_ignore_ascii_case("INBOX");
        // Which ends of the name can be reached by the parts so far: no backtracking, whatever the pattern.
        let octets = name.as_bytes();
        let mut reached = vec![false; octets.len() + 1];
        reached[0] = true;
        for part in &self.parts {
            match part {
                Part::Octet(octet) => {
                    let same = |at: usize| {
                        octets
                            .get(at)
                            .is_some_and(|one| one == octet || inbox && one.eq_ignore_ascii_case(octet))
                    };
                    for at in (0..octets.len()).rev() {
                        reached[at + 1] = reached[at] && same(at);
                    }
                    reached[0] = false;
                }
                Part::Level | Part::Anything => {
                    for at in 0..octets.len() {
                        let passes = *part == Part::Anything || char::from(octets[at]) != DELIMITER;
                        reached[at + 1] |= reached[at] && passes;
                    }
                }
            }
        }
        reached.last().copied().unwrap_or(false)
    }
}

/// The names above a name, the nearest first.
pub(super) fn above(name: &str) -> impl Iterator<Item = &str> {
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
    fn wildcards() {
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
    fn a_hostile_pattern_costs_little() {
        let pattern = Pattern::new("", &"*a%".repeat(20_000));
        assert!(!pattern.matches(&"a".repeat(NAME_LIMIT)));
        let pattern = Pattern::new("", &format!("{}b", "a*".repeat(400)));
        assert!(!pattern.matches(&"a".repeat(NAME_LIMIT)));
    }

    #[test]
    fn the_names_above() {
        assert_eq!(above("a/b/c").collect::<Vec<_>>(), ["a/b", "a"]);
        assert_eq!(above("a").count(), 0);
    }
}
