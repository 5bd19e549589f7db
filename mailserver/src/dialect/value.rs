//! A parenthesised value of a response as a tree, which is written as it was read.

/// The most lists within each other. A deeper value is not changed.
const DEPTH: usize = 200;

/// A word or a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    /// An atom, a quoted string with its quotes, or a literal with its header.
    Word(Vec<u8>),
    List(Vec<Element>),
}

/// An element of a list, and whether a space precedes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Element {
    pub(super) spaced: bool,
    pub(super) value: Value,
}

impl Element {
    pub(super) fn spaced(value: Value) -> Self {
        Self { spaced: true, value }
    }
}

impl Value {
    pub(super) fn word(text: &[u8]) -> Self {
        Self::Word(text.to_vec())
    }

    /// Reads a whole value. Returns `None` if it is not a list of words and lists.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let (value, rest) = read(bytes, 0)?;
        rest.is_empty().then_some(value)
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Word(text) => out.extend_from_slice(text),
            Self::List(elements) => {
                out.push(b'(');
                for element in elements {
                    if element.spaced {
                        out.push(b' ');
                    }
                    element.value.write(out);
                }
                out.push(b')');
            }
        }
    }

    pub(super) fn is_nil(&self) -> bool {
        self.is_word(b"NIL")
    }

    pub(super) fn is_word(&self, text: &[u8]) -> bool {
        matches!(self, Self::Word(word) if word.eq_ignore_ascii_case(text))
    }

    pub(super) fn elements(&self) -> Option<&[Element]> {
        match self {
            Self::List(elements) => Some(elements),
            Self::Word(_) => None,
        }
    }

    pub(super) fn elements_mut(&mut self) -> Option<&mut Vec<Element>> {
        match self {
            Self::List(elements) => Some(elements),
            Self::Word(_) => None,
        }
    }
}

fn read(bytes: &[u8], depth: usize) -> Option<(Value, &[u8])> {
    let first = *bytes.first()?;
    if first != b'(' {
        let end = word_end(bytes)?;
        let (word, rest) = bytes.split_at_checked(end)?;
        return Some((Value::word(word), rest));
    }
    if depth >= DEPTH {
        return None;
    }
    let mut elements = Vec::new();
    let mut rest = bytes.get(1..)?;
    loop {
        if let Some(after) = rest.strip_prefix(b")") {
            return Some((Value::List(elements), after));
        }
        let spaced = rest.first() == Some(&b' ');
        let (value, after) = read(rest.strip_prefix(b" ").unwrap_or(rest), depth + 1)?;
        elements.push(Element { spaced, value });
        rest = after;
    }
}

/// Returns where the word at the start ends.
fn word_end(bytes: &[u8]) -> Option<usize> {
    match bytes.first()? {
        b'"' => quoted_end(bytes),
        b'{' => {
            let header = bytes.iter().position(|byte| *byte == b'\n')? + 1;
            let size: usize =
                std::str::from_utf8(bytes.get(1..header)?.strip_suffix(b"}\r\n")?).ok()?.parse().ok()?;
            header.checked_add(size).filter(|end| *end <= bytes.len())
        }
        _ => {
            let end = bytes.iter().position(|byte| matches!(byte, b' ' | b'(' | b')')).unwrap_or(bytes.len());
            (end > 0).then_some(end)
        }
    }
}

/// Returns where the quoted string at the start ends.
pub(super) fn quoted_end(bytes: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        match bytes.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_as_they_were_read() {
        for text in [
            "NIL",
            "()",
            "(\"a (\\\" b\" NIL ((\"x\" NIL)(\"y\" {3}\r\n) \" 4)) \"z\")",
            "((\"text\" \"plain\" NIL NIL NIL \"7bit\" 5 1)(\"text\" \"html\" NIL NIL NIL \"7bit\" 5 1) \"mixed\")",
        ] {
            let mut out = Vec::new();
            Value::read(text.as_bytes()).unwrap().write(&mut out);
            assert_eq!(out, text.as_bytes());
        }
        for text in ["", "(", "(a", "a)", "\"a", "{9}\r\nabc", &"(".repeat(10_000)] {
            assert_eq!(Value::read(text.as_bytes()), None, "{text}");
        }
    }
}
