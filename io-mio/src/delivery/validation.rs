//! What is wrong with a message, found before anything of it is sent.
//!
//! It knows what addresses and octets must be like to travel (RFC 5321 §4.5.3.1, RFC 5322 §2.1.1 and §3.6), field by
//! field. What a server makes of them it does not know.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    fmt,
    io::{self, Read},
};

use proto_smtp::{
    client::{Content, ContentScan},
    types::{Address, BodyType, Mail},
};
use serde::Serialize;

/// What a message may be at most. What an address may be is not set: RFC 5321 §4.5.3.1 says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageLimits {
    /// Recipients. 10 000 unless set; a server that takes fewer at once gets them in several transactions.
    pub recipients: usize,
    /// The longest line without its end, in octets. 998 unless set (RFC 5322 §2.1.1, RFC 5321 §4.5.3.1.6).
    pub line_bytes: u64,
    /// The header, in octets. 1 MiB unless set.
    pub header_bytes: u64,
    /// The whole message, in octets. 64 MiB unless set.
    pub message_bytes: u64,
    /// Which addresses there may be.
    pub addresses: AddressPolicy,
}

/// Which addresses a message may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum AddressPolicy {
    /// All: those beyond US-ASCII go to servers that offer SMTPUTF8 (RFC 6531).
    #[default]
    All,
    /// Those that every server can be given.
    AsciiOnly,
}

impl Default for MessageLimits {
    fn default() -> Self {
        Self {
            recipients: 10_000,
            line_bytes: 998,
            header_bytes: 1024 * 1024,
            message_bytes: 64 * 1024 * 1024,
            addresses: AddressPolicy::default(),
        }
    }
}

/// Something that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// In what.
    pub field: MessagePart,
    /// In which value of it, counted from zero: a recipient, a line of the header, a line of the body. None where it is
    /// in no single one.
    pub index: Option<u64>,
    /// What kind of thing it is.
    pub problem: ProblemKind,
    /// The same in words.
    pub text: String,
}

/// A part of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum MessagePart {
    /// The envelope's sender.
    Sender,
    /// The envelope's recipients.
    Recipient,
    /// The header.
    Header,
    /// What follows the header.
    Body,
    /// The message as a whole.
    Message,
}

/// What can be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ProblemKind {
    /// It cannot be read as what it should be.
    Syntax,
    /// It has more octets than it may.
    TooLong,
    /// There are more of them than there may be.
    TooMany,
    /// There is none, and there must be.
    Missing,
    /// It was there before.
    Duplicate,
    /// It goes with SMTPUTF8 only, which the message does not ask for or which is not wanted.
    NeedsSmtpUtf8,
    /// It goes with 8BITMIME only, which the message does not ask for.
    NeedsEightBitMime,
    /// A CR that ends no line.
    BareCr,
    /// An LF that ends no line.
    BareLf,
    /// A NUL.
    Nul,
    /// The size that the message is said to have is not its size.
    WrongSize,
}

impl Problem {
    pub(super) fn new(
        field: MessagePart,
        index: impl Into<Option<u64>>,
        problem: ProblemKind,
        text: impl Into<String>,
    ) -> Self {
        Self { field, index: index.into(), problem, text: text.into() }
    }

    /// Which recipient it costs; none if it costs the message.
    pub(super) fn recipient(&self) -> Option<u64> {
        self.index.filter(|_| self.field == MessagePart::Recipient)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.field {
            MessagePart::Sender => "sender",
            MessagePart::Recipient => "recipient",
            MessagePart::Header => "header",
            MessagePart::Body => "body",
            MessagePart::Message => "message",
        })?;
        match (self.field, self.index) {
            (MessagePart::Header | MessagePart::Body, Some(index)) => {
                write!(f, " line {}", index.saturating_add(1))?
            }
            (_, Some(index)) => write!(f, " {}", index.saturating_add(1))?,
            (_, None) => {}
        }
        write!(f, ": {}", self.text)
    }
}

/// Looks at addresses one after the other.
#[derive(Debug, Default)]
pub(super) struct AddressCheck {
    seen: BTreeMap<(String, String), u64>,
}

impl AddressCheck {
    /// What is wrong with a recipient that could be read.
    pub(super) fn recipient(
        &mut self,
        index: u64,
        address: Option<&Address<'_>>,
        mail: &Mail<'_>,
        limits: &MessageLimits,
    ) -> Option<Problem> {
        let problem = |fault, text: String| Some(Problem::new(MessagePart::Recipient, index, fault, text));
        if let Some(text) = address.and_then(|address| beyond_ascii(address, mail, limits)) {
            return problem(ProblemKind::NeedsSmtpUtf8, text);
        }
        let key = address.map_or_else(Default::default, |address| {
            let local = address.unquoted_local_part().into_owned();
            (local, address.domain().as_str().to_ascii_lowercase())
        });
        let first = *self.seen.entry(key).or_insert(index);
        if first == index {
            return None;
        }
        problem(ProblemKind::Duplicate, format!("the same as recipient {}", first.saturating_add(1)))
    }
}

/// What is wrong with a sender that could be read.
pub(super) fn sender(mail: &Mail<'_>, limits: &MessageLimits) -> Option<Problem> {
    let text = beyond_ascii(mail.from.address()?, mail, limits)?;
    Some(Problem::new(MessagePart::Sender, None, ProblemKind::NeedsSmtpUtf8, text))
}

fn beyond_ascii(address: &Address<'_>, mail: &Mail<'_>, limits: &MessageLimits) -> Option<String> {
    let wanted = limits.addresses == AddressPolicy::AsciiOnly && !mail.utf8 && !address.is_ascii();
    wanted.then(|| "it has characters beyond US-ASCII, which need SMTPUTF8".to_owned())
}

/// What is wrong with the octets, and what they are made of if they were read to their end. Of each kind of problem
/// only the first is told.
pub(super) fn content(
    source: &mut impl Read,
    mail: &Mail<'_>,
    limits: &MessageLimits,
) -> io::Result<(Vec<Problem>, Option<Content>)> {
    let mut content = ContentScan::new();
    let mut scan = Scan::new(mail, limits);
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match source.read(&mut buffer) {
            Ok(0) => return Ok((scan.finish(), Some(content.finish()))),
            Ok(count) => {
                let read = buffer.get(..count).unwrap_or_default();
                content.push(read);
                read.iter().for_each(|octet| scan.octet(*octet));
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        if scan.octets > limits.message_bytes {
            return Ok((scan.finish(), None));
        }
    }
}

/// So much of a line of the header is kept to see which field it is.
const NAME: usize = 128;

struct Scan<'a> {
    limits: &'a MessageLimits,
    mail: &'a Mail<'a>,
    problems: BTreeMap<(MessagePart, ProblemKind), Problem>,
    part: MessagePart,
    octets: u64,
    /// Which line of its part it is, how long it is so far, and how it begins.
    line: u64,
    length: u64,
    name: Vec<u8>,
    after_cr: bool,
    from: u32,
    date: u32,
}

impl<'a> Scan<'a> {
    const fn new(mail: &'a Mail<'a>, limits: &'a MessageLimits) -> Self {
        Self {
            limits,
            mail,
            problems: BTreeMap::new(),
            part: MessagePart::Header,
            octets: 0,
            line: 0,
            length: 0,
            name: Vec::new(),
            after_cr: false,
            from: 0,
            date: 0,
        }
    }

    fn octet(&mut self, octet: u8) {
        self.octets = self.octets.saturating_add(1);
        if std::mem::replace(&mut self.after_cr, octet == b'\r') {
            if octet == b'\n' {
                return self.end_line();
            }
            self.bare(ProblemKind::BareCr, "a CR that no LF follows");
        }
        match octet {
            b'\r' => return,
            b'\n' => {
                self.bare(ProblemKind::BareLf, "an LF without CR before it");
                return self.end_line();
            }
            0 => self.bare(ProblemKind::Nul, "a NUL"),
            0x80.. => self.beyond_ascii(),
            _ => {}
        }
        self.length = self.length.saturating_add(1);
        if self.part == MessagePart::Header && self.name.len() < NAME {
            self.name.push(octet);
        }
    }

    fn end_line(&mut self) {
        if self.length > self.limits.line_bytes && !self.is_binary() {
            let text = format!("{} octets, and {} is the most", self.length, self.limits.line_bytes);
            self.find(ProblemKind::TooLong, text);
        }
        let ends = self.part == MessagePart::Header && self.length == 0;
        if self.part == MessagePart::Header && !ends {
            self.end_header_line();
        }
        self.line = if ends { 0 } else { self.line.saturating_add(1) };
        if ends {
            self.part = MessagePart::Body;
        }
        self.length = 0;
        self.name.clear();
    }

    fn end_header_line(&mut self) {
        if self.octets > self.limits.header_bytes {
            let text = format!("more than {} octets", self.limits.header_bytes);
            self.whole(MessagePart::Header, ProblemKind::TooLong, text);
        }
        if matches!(self.name.first(), Some(b' ' | b'\t')) && self.line > 0 {
            return;
        }
        let name = self.name.split(|octet| *octet == b':').next().unwrap_or_default();
        let is_name = name.len() < self.name.len() && !name.is_empty();
        let name = name.trim_ascii_end();
        if !is_name || !name.iter().all(u8::is_ascii_graphic) {
            self.find(ProblemKind::Syntax, "no field name and colon");
        } else if name.eq_ignore_ascii_case(b"From") {
            self.from = self.from.saturating_add(1);
        } else if name.eq_ignore_ascii_case(b"Date") {
            self.date = self.date.saturating_add(1);
        }
    }

    fn finish(mut self) -> Vec<Problem> {
        let cut = self.octets > self.limits.message_bytes;
        if cut {
            let text = format!("more than {} octets", self.limits.message_bytes);
            self.whole(MessagePart::Message, ProblemKind::TooLong, text);
        } else if let Some(size) = self.mail.size.filter(|size| *size < self.octets) {
            let text = format!("said to have {size} octets, and has {}", self.octets);
            self.whole(MessagePart::Message, ProblemKind::WrongSize, text);
        }
        if self.after_cr {
            self.bare(ProblemKind::BareCr, "a CR that no LF follows");
        }
        if self.length > 0 {
            self.end_line();
        }
        for (name, count) in [("From", self.from), ("Date", self.date)] {
            match count {
                0 if !cut => {
                    self.whole(MessagePart::Header, ProblemKind::Missing, format!("no field {name}"))
                }
                2.. => {
                    self.whole(MessagePart::Header, ProblemKind::Duplicate, format!("{count} fields {name}"))
                }
                _ => {}
            }
        }
        self.problems.into_values().collect()
    }

    fn is_binary(&self) -> bool {
        self.part == MessagePart::Body && self.mail.body == Some(BodyType::BinaryMime)
    }

    /// What only a binary body may hold.
    fn bare(&mut self, fault: ProblemKind, text: &'static str) {
        if !self.is_binary() {
            self.find(fault, text);
        }
    }

    fn beyond_ascii(&mut self) {
        if self.part == MessagePart::Header && !self.mail.utf8 {
            self.find(ProblemKind::NeedsSmtpUtf8, "octets beyond US-ASCII, which need SMTPUTF8");
        } else if self.part == MessagePart::Body && matches!(self.mail.body, None | Some(BodyType::SevenBit))
        {
            self.find(ProblemKind::NeedsEightBitMime, "octets beyond US-ASCII, which need 8BITMIME");
        }
    }

    /// In this line.
    fn find(&mut self, fault: ProblemKind, text: impl Into<Cow<'static, str>>) {
        let (part, line) = (self.part, self.line);
        self.problems
            .entry((part, fault))
            .or_insert_with(|| Problem::new(part, line, fault, text.into().into_owned()));
    }

    /// In no single line. Two of a kind are told in one.
    fn whole(&mut self, field: MessagePart, fault: ProblemKind, text: String) {
        self.problems
            .entry((field, fault))
            .and_modify(|problem| problem.text = format!("{}, {text}", problem.text))
            .or_insert_with(|| Problem::new(field, None, fault, text));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proto_smtp::types::ReversePath;

    use super::*;

    /// Gives one octet at a time.
    struct Drip<'a>(&'a [u8]);

    impl Read for Drip<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let Some((first, rest)) = self.0.split_first() else { return Ok(0) };
            buffer[0] = *first;
            self.0 = rest;
            Ok(1)
        }
    }

    fn check(
        text: &str,
        mail: &Mail<'_>,
        limits: &MessageLimits,
    ) -> Vec<(MessagePart, Option<u64>, ProblemKind)> {
        let (problems, made_of) = content(&mut text.as_bytes(), mail, limits).unwrap();
        let dripped = content(&mut Drip(text.as_bytes()), mail, limits).unwrap();
        assert_eq!(dripped, (problems.clone(), made_of));
        problems.iter().map(|problem| (problem.field, problem.index, problem.problem)).collect()
    }

    const HEAD: &str = "From: a@x.example\r\nDate: today\r\n";

    #[test]
    fn each_thing_that_cannot_travel_is_found_where_it_is() {
        use MessagePart::{Body, Header, Message};
        use ProblemKind as F;
        let mail = Mail::new(ReversePath::Null);
        let long = "x".repeat(999);
        type Found = (MessagePart, Option<u64>, ProblemKind);
        let cases: [(String, &[Found]); 14] = [
            (format!("{HEAD}\r\nbody\r\n"), &[]),
            (format!("{HEAD}X: {}\r\n\r\n{}", &long[..995], &long[..998]), &[]),
            (String::new(), &[(Header, None, F::Missing)]),
            ("from : a\r\n folded\r\n\r\n".into(), &[(Header, None, F::Missing)]),
            (format!("{HEAD}{HEAD}\r\n"), &[(Header, None, F::Duplicate)]),
            (format!("{HEAD}no colon\r\n"), &[(Header, Some(2), F::Syntax)]),
            (format!("{HEAD}: no name\r\n"), &[(Header, Some(2), F::Syntax)]),
            (format!("{HEAD}X: {long}\r\n"), &[(Header, Some(2), F::TooLong)]),
            (format!("{HEAD}\r\nx\r\n{long}\r\n"), &[(Body, Some(1), F::TooLong)]),
            (
                format!("{HEAD}\r\na\nb\rc\0\r\n"),
                &[(Body, Some(0), F::BareLf), (Body, Some(1), F::BareCr), (Body, Some(1), F::Nul)],
            ),
            (format!("{HEAD}X: \r\r\n\r\n\r"), &[(Header, Some(2), F::BareCr), (Body, Some(0), F::BareCr)]),
            (format!("{HEAD}X: ä\r\n"), &[(Header, Some(2), F::NeedsSmtpUtf8)]),
            (format!("{HEAD}\r\nä\r\n"), &[(Body, Some(0), F::NeedsEightBitMime)]),
            (format!("{HEAD}\r\n{}", "x\r\n".repeat(400)), &[(Message, None, F::TooLong)]),
        ];
        let limits = MessageLimits { message_bytes: 1200, ..MessageLimits::default() };
        let large = MessageLimits { message_bytes: 4000, ..limits };
        for (text, expected) in cases {
            let limits = if text.contains(&long[..900]) { &large } else { &limits };
            let mut expected = expected.to_vec();
            expected.sort_by_key(|(field, _, fault)| (*field, *fault));
            assert_eq!(check(&text, &mail, limits), expected, "{text:?}");
        }
    }

    #[test]
    fn what_the_message_asks_for_may_be_in_it() {
        let limits = MessageLimits::default();
        let text = format!("{HEAD}X: ä\r\n\r\nä\r\n");
        let mail = Mail::new(ReversePath::Null).with_utf8().with_body(BodyType::EightBitMime);
        assert_eq!(check(&text, &mail, &limits), []);
        let binary = Mail::new(ReversePath::Null).with_body(BodyType::BinaryMime);
        let text = format!("{HEAD}\r\nä\0\r\n\n\r{}", "x".repeat(2000));
        assert_eq!(check(&text, &binary, &limits), []);
        let small = Mail::new(ReversePath::Null).with_size(9);
        let text = format!("{HEAD}\r\n");
        assert_eq!(check(&text, &small, &limits), [(MessagePart::Message, None, ProblemKind::WrongSize)]);
        let exact = Mail::new(ReversePath::Null).with_size(text.len() as u64);
        assert_eq!(check(&text, &exact, &limits), []);
    }

    #[test]
    fn a_problem_says_itself_in_words_and_in_json() {
        let problem =
            Problem::new(MessagePart::Recipient, 2, ProblemKind::Duplicate, "the same as recipient 1");
        assert_eq!(problem.to_string(), "recipient 3: the same as recipient 1");
        let json =
            r#"{"field":"recipient","index":2,"problem":"duplicate","text":"the same as recipient 1"}"#;
        assert_eq!(serde_json::to_string(&problem).unwrap(), json);
    }
}
