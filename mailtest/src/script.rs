//! Scripts of fake servers: parsing, and matching of what the client says.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// The most time that a `wait` step may take.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// One step of a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// The server sends this line.
    Send(String),
    /// The server sends these bytes, without a line end.
    SendBytes(String),
    /// The client must send a line that matches.
    Expect(String),
    /// TLS starts.
    Tls,
    /// The server does nothing for a while.
    Wait(Duration),
    /// The server closes the connection.
    Close,
}

/// A step, and the number of its line.
pub(crate) type NumberedStep = (usize, Step);

/// What is wrong with a script, or how a client departed from it.
#[derive(Debug)]
#[non_exhaustive]
pub enum ScriptError {
    /// A line of the script is no step.
    Syntax {
        /// The number of the line, from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// No client connected in time.
    NoClient,
    /// The client sent something else than the script expects.
    Unexpected {
        /// The number of the script's line, from 1.
        line: usize,
        /// What the script expects.
        expected: String,
        /// What the client sent; `None` if it closed the connection or sent nothing in time.
        received: Option<String>,
    },
    /// The connection broke, or TLS failed.
    Io {
        /// The number of the script's line, from 1.
        line: usize,
        /// The error.
        source: std::io::Error,
    },
}

impl fmt::Display for ScriptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax { line, reason } => write!(f, "line {line} of the script: {reason}"),
            Self::NoClient => f.write_str("no client connected"),
            Self::Unexpected { line, expected, received: Some(received) } => {
                write!(f, "line {line} of the script expects {expected:?}, and the client sent {received:?}")
            }
            Self::Unexpected { line, expected, received: None } => {
                write!(f, "line {line} of the script expects {expected:?}, and the client sent nothing")
            }
            Self::Io { line, source } => write!(f, "line {line} of the script: {source}"),
        }
    }
}

impl std::error::Error for ScriptError {}

/// Parses a script. Empty lines and lines that begin with `#` are comments.
pub(crate) fn parse(script: &str) -> Result<Vec<NumberedStep>, ScriptError> {
    let lines = (1..).zip(script.lines().map(str::trim_start));
    let steps = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    steps.map(|(number, line)| step(number, line).map(|step| (number, step))).collect()
}

fn step(number: usize, line: &str) -> Result<Step, ScriptError> {
    let syntax = |reason: &str| ScriptError::Syntax { line: number, reason: reason.to_owned() };
    if let Some(text) = line.strip_prefix("S:") {
        return Ok(Step::Send(one_space_less(text)));
    }
    if let Some(text) = line.strip_prefix("S-:") {
        return Ok(Step::SendBytes(one_space_less(text)));
    }
    if let Some(text) = line.strip_prefix("C:") {
        return Ok(Step::Expect(one_space_less(text)));
    }
    match line.trim_end().split_once(' ').unwrap_or((line.trim_end(), "")) {
        ("tls", "") => Ok(Step::Tls),
        ("close", "") => Ok(Step::Close),
        ("wait", time) => duration(time)
            .map(Step::Wait)
            .ok_or_else(|| syntax("expected wait 250ms or wait 2s, at most 60s")),
        _ => Err(syntax("expected S: TEXT, S-: TEXT, C: PATTERN, tls, wait TIME or close")),
    }
}

fn one_space_less(text: &str) -> String {
    text.strip_prefix(' ').unwrap_or(text).to_owned()
}

fn duration(text: &str) -> Option<Duration> {
    let duration = match text.strip_suffix("ms") {
        Some(number) => Duration::from_millis(number.parse().ok()?),
        None => Duration::from_secs(text.strip_suffix('s')?.parse().ok()?),
    };
    (duration <= MAX_WAIT).then_some(duration)
}

/// What the client's lines said in the places of `$name`.
#[derive(Debug, Default)]
pub(crate) struct Variables(BTreeMap<String, String>);

impl Variables {
    /// Returns whether a line matches a pattern. `*` stands for any text. `$name` stands for one word: the first use keeps
    /// the word, and later ones must be the same.
    pub(crate) fn matches(&mut self, pattern: &str, line: &str) -> bool {
        let mut found = BTreeMap::new();
        let matches = self.matches_from(pattern, line, &mut found);
        if matches {
            self.0.append(&mut found);
        }
        matches
    }

    fn matches_from(&self, pattern: &str, line: &str, found: &mut BTreeMap<String, String>) -> bool {
        let Some(first) = pattern.chars().next() else { return line.is_empty() };
        if first == '*' {
            let rest = &pattern[1..];
            // A script is the test's own, and its lines are short: trying every place is quick enough.
            return line.char_indices().map(|(at, _)| at).chain([line.len()]).any(|at| {
                let mut tried = found.clone();
                let matches = self.matches_from(rest, &line[at..], &mut tried);
                if matches {
                    *found = tried;
                }
                matches
            });
        }
        if let Some((name, rest)) = variable(pattern) {
            let end = line.find(' ').unwrap_or(line.len());
            let (word, line) = line.split_at(end);
            let known = self.0.get(name).or_else(|| found.get(name)).map(String::as_str);
            if word.is_empty() || known.is_some_and(|known| known != word) {
                return false;
            }
            found.insert(name.to_owned(), word.to_owned());
            return self.matches_from(rest, line, found);
        }
        let matches = line.chars().next().is_some_and(|other| other.eq_ignore_ascii_case(&first));
        matches && self.matches_from(&pattern[first.len_utf8()..], &line[first.len_utf8()..], found)
    }

    /// Puts the words that the client said in the places of `$name`.
    pub(crate) fn expand(&self, text: &str) -> String {
        let mut expanded = String::new();
        let mut rest = text;
        while let Some(at) = rest.find('$') {
            expanded.push_str(&rest[..at]);
            rest = &rest[at..];
            match variable(rest).and_then(|(name, after)| Some((self.0.get(name)?, after))) {
                Some((word, after)) => {
                    expanded.push_str(word);
                    rest = after;
                }
                None => {
                    expanded.push('$');
                    rest = &rest[1..];
                }
            }
        }
        expanded + rest
    }
}

/// Splits `$name` off the beginning.
fn variable(text: &str) -> Option<(&str, &str)> {
    let rest = text.strip_prefix('$')?;
    let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
    (end > 0).then(|| rest.split_at(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_steps_and_names_the_line_of_a_mistake() {
        let script = "# a greeting\nS: 220 hi\n\n  C: EHLO *\nS-: 250\ntls\nwait 250ms\nclose\n";
        let steps = parse(script).unwrap();
        assert_eq!(
            steps,
            [
                (2, Step::Send("220 hi".into())),
                (4, Step::Expect("EHLO *".into())),
                (5, Step::SendBytes("250".into())),
                (6, Step::Tls),
                (7, Step::Wait(Duration::from_millis(250))),
                (8, Step::Close),
            ]
        );
        for wrong in ["S 220", "wait", "wait 61s", "wait x", "open"] {
            let error = parse(&format!("S: 220\n{wrong}")).unwrap_err();
            assert!(matches!(error, ScriptError::Syntax { line: 2, .. }), "{wrong}: {error}");
        }
    }

    #[test]
    fn patterns_have_wildcards_and_variables() {
        let mut variables = Variables::default();
        assert!(variables.matches("$tag LOGIN * \"*\"", "a1 login ann \"x\""));
        assert_eq!(variables.expand("$tag OK $ $unknown $tag."), "a1 OK $ $unknown a1.");
        assert!(variables.matches("$tag NOOP", "a1 NOOP"));
        assert!(!variables.matches("$tag NOOP", "a2 NOOP"), "a variable keeps its word");
        assert!(!variables.matches("EHLO", "EHLO x"));
        assert!(variables.matches("*é*", "caffé!") && !variables.matches("$word", ""));
    }
}
