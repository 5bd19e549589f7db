//! Finds the responses in what a session sends.
//!
//! Text is collected up to a line end, and literals are passed on as they come, so that a message of any size needs
//! little memory.

use io_common::server::OutputFilter;

use super::fetch_items::FetchItems;
use super::line_defects;
use super::profile::Profile;

/// The longest line that is changed, in bytes. A longer one, such as a long SEARCH response, is passed on as it comes.
const LINE_LIMIT: usize = 1024 * 1024;

/// Changes the output of one session.
pub(super) struct Rewriter {
    profile: &'static Profile,
    /// The text since the last line end.
    line: Vec<u8>,
    /// The bytes that the current literal still has.
    literal: u64,
    place: Place,
}

enum Place {
    /// Before the greeting.
    Greeting,
    /// At the start of a response.
    Start,
    /// In a response that is passed on, after a literal or a very long text.
    Other {
        name: Vec<u8>,
    },
    Fetch(Box<FetchItems>),
}

impl Rewriter {
    pub(super) const fn new(profile: &'static Profile) -> Self {
        Self { profile, line: Vec::new(), literal: 0, place: Place::Greeting }
    }

    fn take_literal<'b>(&mut self, bytes: &'b [u8], out: &mut Vec<u8>) -> &'b [u8] {
        let count = usize::try_from(self.literal).unwrap_or(usize::MAX).min(bytes.len());
        let (literal, rest) = bytes.split_at_checked(count).unwrap_or((bytes, &[]));
        self.literal -= count as u64;
        match &mut self.place {
            Place::Fetch(items) => items.literal(literal, out),
            _ => out.extend_from_slice(literal),
        }
        rest
    }

    /// Takes text that ends with a line end.
    fn take_line(&mut self, out: &mut Vec<u8>) {
        let line = std::mem::take(&mut self.line);
        let place = std::mem::replace(&mut self.place, Place::Start);
        let name = match &place {
            Place::Other { name } => name.clone(),
            _ => line_defects::response_name(&line).to_ascii_uppercase(),
        };
        let literal = match place {
            Place::Greeting => None,
            Place::Start if is_status(&line, &name) => None,
            _ => literal_size(&line),
        };
        self.place = match place {
            Place::Greeting => {
                line_defects::greeting(&line, self.profile, out);
                Place::Start
            }
            Place::Start if name == b"FETCH" => {
                let start = line.iter().position(|byte| *byte == b'(').map_or(line.len(), |at| at + 1);
                let (head, items) = line.split_at_checked(start).unwrap_or((&line, &[]));
                out.extend_from_slice(head);
                self.take_items(Box::new(FetchItems::new()), items, literal, out)
            }
            Place::Start if literal.is_some() => {
                out.extend_from_slice(&line);
                Place::Other { name }
            }
            Place::Start => {
                line_defects::line(&line, self.profile, out);
                Place::Start
            }
            Place::Fetch(items) => self.take_items(items, &line, literal, out),
            Place::Other { name } if literal.is_some() => {
                out.extend_from_slice(&line);
                Place::Other { name }
            }
            Place::Other { name } => {
                line_defects::end_of_line(&name, &line, self.profile, out);
                Place::Start
            }
        };
        self.literal = literal.unwrap_or_default();
        // The next line can use the memory.
        self.line = line;
        self.line.clear();
        self.line.shrink_to(1024);
    }

    fn take_items(
        &self,
        mut items: Box<FetchItems>,
        text: &[u8],
        literal: Option<u64>,
        out: &mut Vec<u8>,
    ) -> Place {
        items.text(text, self.profile, out);
        if literal.is_some() { Place::Fetch(items) } else { Place::Start }
    }

    /// Passes on the start of a very long line.
    fn pass_on(&mut self, out: &mut Vec<u8>) {
        match &mut self.place {
            Place::Fetch(items) => items.text(&self.line, self.profile, out),
            Place::Other { .. } => out.extend_from_slice(&self.line),
            Place::Greeting | Place::Start => {
                let name = line_defects::response_name(&self.line).to_ascii_uppercase();
                out.extend_from_slice(&self.line);
                self.place = Place::Other { name };
            }
        }
        self.line.clear();
    }
}

impl OutputFilter for Rewriter {
    fn filter(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) {
        while !bytes.is_empty() {
            if self.literal > 0 {
                bytes = self.take_literal(bytes, out);
                continue;
            }
            let end = bytes.iter().position(|byte| *byte == b'\n').map(|at| at + 1);
            let (text, rest) = bytes.split_at_checked(end.unwrap_or(bytes.len())).unwrap_or((bytes, &[]));
            self.line.extend_from_slice(text);
            bytes = rest;
            if end.is_some() {
                self.take_line(out);
            } else if self.line.len() > LINE_LIMIT {
                self.pass_on(out);
            }
        }
    }
}

/// Returns whether the line is a status, a continuation request or a tagged response, which have no literals.
fn is_status(line: &[u8], name: &[u8]) -> bool {
    !line.starts_with(b"* ") || matches!(name, b"OK" | b"NO" | b"BAD" | b"BYE" | b"PREAUTH")
}

/// Returns the size of the literal that a line announces.
fn literal_size(line: &[u8]) -> Option<u64> {
    let line = line.strip_suffix(b"}\r\n")?;
    let digits = line.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let (head, digits) = line.split_at_checked(line.len() - digits)?;
    if !head.ends_with(b"{") {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}
