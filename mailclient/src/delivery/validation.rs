//! Checking a message before it is sent (RFC 5321 §4.5.3.1, RFC 5322 §2.1.1 and §3.6).

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

/// The limits of a message. Addresses have those of RFC 5321 §4.5.3.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageLimits {
    /// The maximum number of recipients. Default: 10,000. A server that accepts fewer at once gets several transactions.
    pub recipients: usize,
    /// The maximum length of a line without its end, in bytes. Default: 998 (RFC 5322 §2.1.1, RFC 5321 §4.5.3.1.6).
    pub line_bytes: u64,
    /// The maximum size of the header, in bytes. Default: 1 MiB.
    pub header_bytes: u64,
    /// The maximum size of the message, in bytes. Default: 64 MiB.
    pub message_bytes: u64,
    /// Which addresses are allowed.
    pub addresses: AddressPolicy,
}

/// Which addresses a message may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum AddressPolicy {
    /// All. Those beyond US-ASCII need a server that offers SMTPUTF8 (RFC 6531).
    #[default]
    All,
    /// US-ASCII only, which every server accepts.
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

/// A problem of a message, and where it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The part of the message.
    pub field: MessagePart,
    /// The number of the recipient, header line or body line, counted from zero; `None` if it concerns no single one.
    pub index: Option<u64>,
    /// The kind of problem.
    pub problem: ProblemKind,
    /// A description.
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
    /// The body.
    Body,
    /// The message as a whole.
    Message,
}

/// The kind of a problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ProblemKind {
    /// A syntax error.
    Syntax,
    /// Too many bytes.
    TooLong,
    /// Too many items.
    TooMany,
    /// Something required is missing.
    Missing,
    /// A duplicate.
    Duplicate,
    /// It needs SMTPUTF8, which is not requested or not wanted.
    NeedsSmtpUtf8,
    /// It needs 8BITMIME, which is not requested.
    NeedsEightBitMime,
    /// A CR without LF.
    BareCr,
    /// An LF without CR.
    BareLf,
    /// A NUL byte.
    Nul,
    /// The declared size is wrong.
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

    /// Returns the recipient that it concerns; `None` if it concerns the whole message.
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

/// Checks recipients one after the other.
#[derive(Debug, Default)]
pub(super) struct AddressCheck {
    seen: BTreeMap<(String, String), u64>,
}

impl AddressCheck {
    /// Checks a recipient.
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

/// Checks a sender.
pub(super) fn sender(mail: &Mail<'_>, limits: &MessageLimits) -> Option<Problem> {
    let text = beyond_ascii(mail.from.address()?, mail, limits)?;
    Some(Problem::new(MessagePart::Sender, None, ProblemKind::NeedsSmtpUtf8, text))
}

fn beyond_ascii(address: &Address<'_>, mail: &Mail<'_>, limits: &MessageLimits) -> Option<String> {
    let wanted = limits.addresses == AddressPolicy::AsciiOnly && !mail.utf8 && !address.is_ascii();
    wanted.then(|| "it has characters beyond US-ASCII, which need SMTPUTF8".to_owned())
}

/// Checks the content. Returns the first problem of each kind, and the properties of the content if it was read to its
/// end.
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
                read.iter().for_each(|byte| scan.byte(*byte));
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        if scan.bytes > limits.message_bytes {
            return Ok((scan.finish(), None));
        }
    }
}

/// How many bytes of a header line are kept to identify its field.
const MAX_FIELD_NAME: usize = 128;

/// The state of a check of the content.
struct Scan<'a> {
    limits: &'a MessageLimits,
    mail: &'a Mail<'a>,
    problems: BTreeMap<(MessagePart, ProblemKind), Problem>,
    part: MessagePart,
    bytes: u64,
    /// The number of the line in its part, its length so far, and its beginning.
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
            bytes: 0,
            line: 0,
            length: 0,
            name: Vec::new(),
            after_cr: false,
            from: 0,
            date: 0,
        }
    }

    fn byte(&mut self, byte: u8) {
        self.bytes = self.bytes.saturating_add(1);
        if std::mem::replace(&mut self.after_cr, byte == b'\r') {
            if byte == b'\n' {
                return self.end_line();
            }
            self.bare(ProblemKind::BareCr, "a CR that no LF follows");
        }
        match byte {
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
        if self.part == MessagePart::Header && self.name.len() < MAX_FIELD_NAME {
            self.name.push(byte);
        }
    }

    fn end_line(&mut self) {
        if self.length > self.limits.line_bytes && !self.is_binary() {
            let text = format!("{} bytes, and {} is the maximum", self.length, self.limits.line_bytes);
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
        if self.bytes > self.limits.header_bytes {
            let text = format!("more than {} bytes", self.limits.header_bytes);
            self.whole(MessagePart::Header, ProblemKind::TooLong, text);
        }
        if matches!(self.name.first(), Some(b' ' | b'\t')) && self.line > 0 {
            return;
        }
        let name = self.name.split(|byte| *byte == b':').next().unwrap_or_default();
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
        let cut = self.bytes > self.limits.message_bytes;
        if cut {
            let text = format!("more than {} bytes", self.limits.message_bytes);
            self.whole(MessagePart::Message, ProblemKind::TooLong, text);
        } else if let Some(size) = self.mail.size.filter(|size| *size < self.bytes) {
            let text = format!("declared as {size} bytes, but has {}", self.bytes);
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

    /// Reports a fault that only a binary body may contain.
    fn bare(&mut self, fault: ProblemKind, text: &'static str) {
        if !self.is_binary() {
            self.find(fault, text);
        }
    }

    fn beyond_ascii(&mut self) {
        if self.part == MessagePart::Header && !self.mail.utf8 {
            self.find(ProblemKind::NeedsSmtpUtf8, "bytes beyond US-ASCII, which need SMTPUTF8");
        } else if self.part == MessagePart::Body && matches!(self.mail.body, None | Some(BodyType::SevenBit))
        {
            self.find(ProblemKind::NeedsEightBitMime, "bytes beyond US-ASCII, which need 8BITMIME");
        }
    }

    /// Reports a problem of this line.
    fn find(&mut self, fault: ProblemKind, text: impl Into<Cow<'static, str>>) {
        let (part, line) = (self.part, self.line);
        self.problems
            .entry((part, fault))
            .or_insert_with(|| Problem::new(part, line, fault, text.into().into_owned()));
    }

    /// Reports a problem that belongs to no single line. Combines two of the same kind.
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

    /// A reader that returns one byte per read.
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
    fn finds_each_problem_and_its_place() {
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
    fn allows_what_the_message_requests() {
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
    fn displays_and_serialises_problems() {
        let problem =
            Problem::new(MessagePart::Recipient, 2, ProblemKind::Duplicate, "the same as recipient 1");
        assert_eq!(problem.to_string(), "recipient 3: the same as recipient 1");
        let json =
            r#"{"field":"recipient","index":2,"problem":"duplicate","text":"the same as recipient 1"}"#;
        assert_eq!(serde_json::to_string(&problem).unwrap(), json);
    }
}
