//! The text of HTML, character by character, without a tree: memory does not depend on the input. Nothing is loaded.

/// The longest name of an element or of a character reference that is compared. Longer ones are unknown.
const NAME: usize = 16;

/// The elements whose content is not shown.
const HIDDEN: [&str; 5] = ["head", "script", "style", "template", "title"];

/// Takes the text and the elements of HTML.
pub(crate) trait MarkupSink {
    /// Takes a character of the text.
    fn character(&mut self, character: char);

    /// Takes the start or the end of an element. The name is in lower case, at most 16 bytes, and empty for a comment.
    fn element(&mut self, name: &str, edge: ElementEdge);
}

/// Whether a tag starts or ends an element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ElementEdge {
    Start,
    End,
}

/// The position within HTML.
#[derive(Debug, Default)]
pub(crate) struct Markup {
    state: State,
    /// The hidden element that is open.
    hidden: Option<&'static str>,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Text,
    /// After `&`: the name so far.
    Reference(String),
    /// After `<`: the name so far, with a leading `/` or `!`.
    Name(String),
    /// In a tag, after its name.
    Tag { quote: Option<char>, after_equals: bool },
    /// In a comment: the number of hyphens just before.
    Comment(u8),
}

impl Markup {
    /// Takes the next character.
    pub(crate) fn push(&mut self, character: char, sink: &mut impl MarkupSink) {
        match std::mem::take(&mut self.state) {
            State::Text => self.text(character, sink),
            State::Reference(name) => self.reference(name, character, sink),
            State::Name(name) => self.name(name, character, sink),
            State::Tag { quote, after_equals } => self.state = in_tag(quote, after_equals, character),
            State::Comment(hyphens) => {
                self.state = match character {
                    '>' if hyphens >= 2 => State::Text,
                    '-' => State::Comment(hyphens.saturating_add(1)),
                    _ => State::Comment(0),
                }
            }
        }
    }

    fn text(&mut self, character: char, sink: &mut impl MarkupSink) {
        match character {
            '<' => self.state = State::Name(String::new()),
            _ if self.hidden.is_some() => {}
            '&' => self.state = State::Reference(String::new()),
            _ => sink.character(character),
        }
    }

    fn reference(&mut self, mut name: String, character: char, sink: &mut impl MarkupSink) {
        if (character.is_ascii_alphanumeric() || character == '#') && name.len() < NAME {
            name.push(character);
            self.state = State::Reference(name);
            return;
        }
        match (character, referenced(&name)) {
            (';', Some(found)) => sink.character(found),
            _ => {
                sink.character('&');
                name.chars().for_each(|one| sink.character(one));
                self.text(character, sink);
            }
        }
    }

    fn name(&mut self, mut name: String, character: char, sink: &mut impl MarkupSink) {
        let starts = name.is_empty() && (character.is_ascii_alphabetic() || "/!?".contains(character));
        let goes_on = !name.is_empty() && !character.is_whitespace() && !"/>".contains(character);
        if name.is_empty() && !starts {
            // Not a tag.
            if self.hidden.is_none() {
                sink.character('<');
            }
            return self.text(character, sink);
        }
        if starts || goes_on {
            if name.len() < NAME {
                name.push(character.to_ascii_lowercase());
            }
            self.state = match name == "!--" && self.hidden.is_none() {
                true => State::Comment(0),
                false => State::Name(name),
            };
            return;
        }
        if let Some(hidden) = self.hidden {
            // Within a hidden element only its end counts. The end of a head may be missing.
            let ends = name.strip_prefix('/') == Some(hidden) || (hidden == "head" && name == "body");
            if !ends {
                return;
            }
            self.hidden = None;
        } else {
            self.hidden = HIDDEN.into_iter().find(|element| *element == name);
        }
        let edge = if name.starts_with('/') { ElementEdge::End } else { ElementEdge::Start };
        sink.element(name.trim_start_matches('/'), edge);
        if character != '>' {
            self.state = State::Tag { quote: None, after_equals: false };
        }
    }

    /// Shows what looked like the start of a character reference.
    pub(crate) fn finish(&mut self, sink: &mut impl MarkupSink) {
        if let State::Reference(name) = std::mem::take(&mut self.state) {
            sink.character('&');
            name.chars().for_each(|one| sink.character(one));
        }
    }
}

/// Returns the state after a character of a tag. Only a value can be quoted, so that a stray quote hides no text.
fn in_tag(quote: Option<char>, after_equals: bool, character: char) -> State {
    match quote {
        Some(open) => State::Tag { quote: Some(open).filter(|open| *open != character), after_equals: false },
        None if character == '>' => State::Text,
        None => State::Tag {
            quote: Some(character).filter(|one| after_equals && matches!(one, '"' | '\'')),
            after_equals: character == '=' || (after_equals && character.is_whitespace()),
        },
    }
}

/// Returns the character of a character reference: a number, or a common name.
fn referenced(name: &str) -> Option<char> {
    if let Some(number) = name.strip_prefix('#') {
        let hexadecimal = number.strip_prefix(['x', 'X']);
        let code = match hexadecimal {
            Some(digits) => u32::from_str_radix(digits, 16),
            None => number.parse(),
        };
        return code.ok().and_then(char::from_u32);
    }
    Some(match name {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        "nbsp" => ' ',
        "copy" => '©',
        "reg" => '®',
        "trade" => '™',
        "euro" => '€',
        "pound" => '£',
        "hellip" => '…',
        "mdash" => '—',
        "ndash" => '–',
        "lsquo" => '‘',
        "rsquo" => '’',
        "ldquo" => '“',
        "rdquo" => '”',
        "laquo" => '«',
        "raquo" => '»',
        "bull" => '•',
        "middot" => '·',
        "auml" => 'ä',
        "ouml" => 'ö',
        "uuml" => 'ü',
        "Auml" => 'Ä',
        "Ouml" => 'Ö',
        "Uuml" => 'Ü',
        "szlig" => 'ß',
        "agrave" => 'à',
        "aacute" => 'á',
        "ccedil" => 'ç',
        "egrave" => 'è',
        "eacute" => 'é',
        "ecirc" => 'ê',
        "ntilde" => 'ñ',
        "oacute" => 'ó',
        "shy" => '\u{ad}',
        "zwj" => '\u{200d}',
        "zwnj" => '\u{200c}',
        _ => return None,
    })
}
