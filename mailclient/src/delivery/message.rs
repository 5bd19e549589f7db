//! The message of a delivery: its envelope and the source of its content.

use std::io::{self, Read, Seek, SeekFrom};

use proto_smtp::{
    client::{Content, Transaction},
    types::{Address, BodyType, ForwardPath, Mail, Rcpt, ReversePath, SyntaxError, SyntaxFault},
};

use super::{
    diagnostic::{DeliveryStage, Diagnostic},
    report::DeliveryReport,
    status::DeliveryStatus,
    validation::{self, AddressCheck, MessageLimits, MessagePart, Problem, ProblemKind},
};
use bytes::Bytes;
use io_common::Error;

/// A message to deliver: its envelope and its content, which is read again for each attempt.
///
/// The content has CRLF line ends and is the whole source. At most about 384 KiB of it are in memory.
#[derive(Debug)]
pub struct Message<S> {
    mail: Mail<'static>,
    /// Why the sender is invalid; `mail` has none then.
    invalid_sender: Option<SyntaxError>,
    recipients: Vec<Recipient>,
    /// The problems that the last check found.
    problems: Vec<Problem>,
    /// The results of earlier runs, by recipient number.
    already_decided: Vec<(usize, DeliveryStatus, Diagnostic)>,
    message_id: Option<String>,
    chunking: Chunking,
    /// The properties of the content, if they are known.
    content: Option<Content>,
    source: S,
}

/// A recipient.
#[derive(Debug)]
enum Recipient {
    Rcpt(Rcpt<'static>),
    Invalid(String, SyntaxError),
}

/// Whether a message is sent as one chunk with BDAT (RFC 3030).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Chunking {
    /// Uses DATA. Only a message of [`BodyType::BinaryMime`] uses BDAT, which it requires.
    #[default]
    WhereNeeded,
    /// Uses BDAT if the server offers CHUNKING: bytes are sent unchanged, without dot-stuffing.
    WhereOffered,
}

impl<S> Message<S> {
    /// A message without recipients. `mail` states what the content needs (SIZE, 8BITMIME, SMTPUTF8). A server that
    /// does not offer it does not get the message, unless its [content](Self::with_content) is known to need less.
    pub const fn new(mail: Mail<'static>, source: S) -> Self {
        Self {
            mail,
            invalid_sender: None,
            recipients: Vec::new(),
            problems: Vec::new(),
            already_decided: Vec::new(),
            message_id: None,
            chunking: Chunking::WhereNeeded,
            content: None,
            source,
        }
    }

    /// A message with the sender `local@domain`, or an empty string for the null path. A message with an invalid sender
    /// is [`Invalid`](DeliveryStatus::Invalid) and not sent.
    #[must_use]
    pub fn from_text(sender: &str, source: S) -> Self {
        match Address::parse(sender) {
            _ if sender.is_empty() => Self::new(Mail::new(ReversePath::Null), source),
            Ok(address) => Self::new(Mail::new(ReversePath::from(address.into_owned())), source),
            Err(error) => {
                Self { invalid_sender: Some(error), ..Self::new(Mail::new(ReversePath::Null), source) }
            }
        }
    }

    /// Sets what the content needs (SIZE, 8BITMIME, SMTPUTF8) and other parameters of MAIL. The sender stays.
    #[must_use]
    pub fn with_mail(mut self, change: impl FnOnce(Mail<'static>) -> Mail<'static>) -> Self {
        let from = self.mail.from.clone();
        self.mail = change(self.mail);
        self.mail.from = from;
        self
    }

    /// Adds a recipient. Recipients keep their order.
    #[must_use]
    pub fn recipient(mut self, rcpt: Rcpt<'static>) -> Self {
        self.recipients.push(Recipient::Rcpt(rcpt));
        self
    }

    /// Adds the recipient `local@domain`. An invalid one is [`Invalid`](DeliveryStatus::Invalid); the others get the
    /// message.
    #[must_use]
    pub fn recipient_text(mut self, text: &str) -> Self {
        self.recipients.push(match Address::parse(text) {
            Ok(address) => Recipient::Rcpt(Rcpt::new(ForwardPath::from(address.into_owned()))),
            Err(error) => Recipient::Invalid(text.to_owned(), error),
        });
        self
    }

    /// Sets the result of a recipient, by its number. The recipient is not sent to, and the report contains this
    /// result. Use it to continue an earlier run.
    #[must_use]
    pub fn already_decided(mut self, recipient: usize, status: DeliveryStatus, answer: Diagnostic) -> Self {
        self.already_decided.push((recipient, status, answer));
        self
    }

    /// Sets the identifier for the report.
    #[must_use]
    pub fn message_id(mut self, message_id: Option<String>) -> Self {
        self.message_id = message_id;
        self
    }

    /// Sets whether BDAT is used. Default: [`Chunking::WhereNeeded`].
    #[must_use]
    pub const fn chunking(mut self, chunking: Chunking) -> Self {
        self.chunking = chunking;
        self
    }

    /// Sets the known properties of the content, from a [`ContentScan`](proto_smtp::client::ContentScan). If the content
    /// needs less than was requested, a server that offers less gets the message, too: see [`Transaction::with_content`].
    /// [`check`](Self::check) determines them as well.
    #[must_use]
    pub const fn with_content(mut self, content: Content) -> Self {
        self.content = Some(content);
        self
    }

    /// Returns the declared size in bytes (SIZE), if there is one.
    #[must_use]
    pub const fn size(&self) -> Option<u64> {
        self.mail.size
    }

    /// Returns a report of this message before its first attempt: every valid recipient waits.
    #[must_use]
    pub fn report(&self) -> DeliveryReport {
        let text = |recipient: &Recipient| match recipient {
            Recipient::Rcpt(rcpt) => rcpt.to.address().map_or("Postmaster", Address::as_str).to_owned(),
            Recipient::Invalid(text, _) => text.clone(),
        };
        let mut report = DeliveryReport::new(self.message_id.clone(), self.recipients.iter().map(text));
        for (number, status, answer) in &self.already_decided {
            report.exclude(*number, *status, answer.clone());
        }
        let address_problems = self.address_problems();
        for problem in self.problems.iter().chain(&address_problems) {
            let invalid = |number, report: &mut DeliveryReport| {
                let answer = Diagnostic::without_reply(DeliveryStage::Check, problem.to_string());
                report.exclude(number, DeliveryStatus::Invalid, answer);
            };
            match problem.recipient() {
                Some(index) => invalid(usize::try_from(index).unwrap_or(usize::MAX), &mut report),
                None => report.pending().into_iter().for_each(|number| invalid(number, &mut report)),
            }
        }
        report
    }

    /// Returns the problems of invalid addresses.
    fn address_problems(&self) -> Vec<Problem> {
        let problem = |field, index: Option<u64>, error: &SyntaxError| {
            let long = matches!(
                error.fault(),
                SyntaxFault::LocalPartTooLong | SyntaxFault::DomainTooLong | SyntaxFault::PathTooLong
            );
            let fault = if long { ProblemKind::TooLong } else { ProblemKind::Syntax };
            Problem::new(field, index, fault, error.to_string())
        };
        let sender = self.invalid_sender.iter().map(|error| problem(MessagePart::Sender, None, error));
        let recipients = (0..).zip(&self.recipients).filter_map(|(index, recipient)| match recipient {
            Recipient::Invalid(_, error) => Some(problem(MessagePart::Recipient, Some(index), error)),
            Recipient::Rcpt(_) => None,
        });
        sender.chain(recipients).collect()
    }

    /// Returns this recipient, if it is valid.
    pub(super) fn rcpt(&self, number: usize) -> Option<&Rcpt<'static>> {
        match self.recipients.get(number)? {
            Recipient::Rcpt(rcpt) if self.invalid_sender.is_none() => Some(rcpt),
            _ => None,
        }
    }

    /// Returns the transaction for these recipients. With a size, the message is sent as one chunk.
    pub(super) fn transaction(&self, numbers: &[usize], size: Option<u64>) -> Transaction {
        let mut transaction = Transaction::new(self.mail.clone());
        if let Some(content) = self.content {
            transaction = transaction.with_content(content);
        }
        if let Some(bytes) = size {
            transaction = transaction.in_one_chunk(bytes);
        }
        let recipients = numbers.iter().filter_map(|number| self.rcpt(*number));
        recipients.fold(transaction, |transaction, rcpt| transaction.recipient(rcpt.clone()))
    }

    /// Returns whether a transaction needs the size of the source.
    pub(super) fn measure(&self) -> Measure {
        let is_one_chunk =
            self.chunking == Chunking::WhereOffered || self.mail.body == Some(BodyType::BinaryMime);
        if is_one_chunk { Measure::Size } else { Measure::Nothing }
    }

    /// Returns the check of the content.
    pub(super) fn content_check(&self, limits: &MessageLimits) -> ContentCheck {
        ContentCheck { mail: self.mail.clone(), limits: *limits }
    }

    /// Checks the envelope, and remembers its problems and those of the content.
    pub(super) fn apply_check(&mut self, limits: &MessageLimits, found: CheckedContent) {
        self.problems = self.address_problems();
        if self.invalid_sender.is_none() {
            self.problems.extend(validation::sender(&self.mail, limits));
        }
        let recipients = self.recipients.len();
        if recipients == 0 || recipients > limits.recipients {
            let (fault, text) = match recipients {
                0 => (ProblemKind::Missing, "none".to_owned()),
                many => (
                    ProblemKind::TooMany,
                    format!("{many} recipients, and {} is the maximum", limits.recipients),
                ),
            };
            self.problems.push(Problem::new(MessagePart::Recipient, None, fault, text));
        }
        let mut addresses = AddressCheck::default();
        for (index, recipient) in (0..).zip(&self.recipients) {
            if let Recipient::Rcpt(rcpt) = recipient {
                self.problems.extend(addresses.recipient(index, rcpt.to.address(), &self.mail, limits));
            }
        }
        self.problems.extend(found.problems);
        self.content = found.content.or(self.content);
        self.problems.sort_by_key(|problem| (problem.field, problem.index, problem.problem));
    }

    /// Returns the source.
    #[cfg(feature = "tokio")]
    pub(super) const fn source_mut(&mut self) -> &mut S {
        &mut self.source
    }

    /// Converts the source. Returns `None` if `convert` does.
    #[cfg(feature = "tokio")]
    pub(super) fn map_source<U>(self, convert: impl FnOnce(S) -> Option<U>) -> Option<Message<U>> {
        let Self { mail, invalid_sender, recipients, problems, already_decided, message_id, .. } = self;
        let source = convert(self.source)?;
        let (chunking, content) = (self.chunking, self.content);
        Some(Message {
            mail,
            invalid_sender,
            recipients,
            problems,
            already_decided,
            message_id,
            chunking,
            content,
            source,
        })
    }

    /// Whether only recipients need SMTPUTF8, so that the others can get the message without it.
    pub(super) fn is_ascii_without_recipients(&self) -> bool {
        let needs_utf8 = self.mail.utf8 && self.content.is_none_or(|content| content.needs_utf8());
        !needs_utf8 && self.mail.from.address().is_none_or(Address::is_ascii)
    }
}

impl<S: Read + Seek> Message<S> {
    /// Checks the message before anything is sent, and returns and remembers the problems. In the [`report`](Self::report)
    /// a recipient with a problem is [`Invalid`](DeliveryStatus::Invalid). Any other problem makes all of them invalid.
    ///
    /// The source is read once, to its end or to the limit.
    ///
    /// # Errors
    /// The source cannot be read.
    pub fn check(&mut self, limits: &MessageLimits) -> Result<&[Problem], Error> {
        let found = self.content_check(limits).run(&mut self.source)?;
        self.apply_check(limits, found);
        Ok(&self.problems)
    }

    /// Rewinds the source, for a new transaction. Returns its size in bytes, if the transaction needs it.
    ///
    /// # Errors
    /// The source cannot be read.
    pub fn rewind(&mut self) -> Result<Option<u64>, Error> {
        let measure = self.measure();
        rewind_source(&mut self.source, measure)
    }

    /// Reads up to this many bytes of the source: fewer only at its end.
    ///
    /// # Errors
    /// The source cannot be read.
    pub fn read(&mut self, most: usize) -> Result<Bytes, Error> {
        read_source(&mut self.source, most)
    }
}

/// Whether the size of a source is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Measure {
    /// A transaction with BDAT announces it.
    Size,
    /// A transaction with DATA does not.
    Nothing,
}

/// The check of a message's content, apart from its source.
pub(super) struct ContentCheck {
    mail: Mail<'static>,
    limits: MessageLimits,
}

/// What a check of the content has found.
pub(super) struct CheckedContent {
    problems: Vec<Problem>,
    content: Option<Content>,
}

impl ContentCheck {
    /// Reads the source from its beginning.
    pub(super) fn run<S: Read + Seek>(&self, source: &mut S) -> Result<CheckedContent, Error> {
        source.seek(SeekFrom::Start(0)).map_err(unreadable)?;
        let (problems, content) =
            validation::content(source, &self.mail, &self.limits).map_err(unreadable)?;
        Ok(CheckedContent { problems, content })
    }
}

/// Rewinds a source. Returns its size, if that is measured.
pub(super) fn rewind_source<S: Seek>(source: &mut S, measure: Measure) -> Result<Option<u64>, Error> {
    let mut size = None;
    if measure == Measure::Size {
        size = Some(source.seek(SeekFrom::End(0)).map_err(unreadable)?);
    }
    source.seek(SeekFrom::Start(0)).map_err(unreadable)?;
    Ok(size)
}

/// Reads up to this many bytes of a source: fewer only at its end.
pub(super) fn read_source<S: Read>(source: &mut S, most: usize) -> Result<Bytes, Error> {
    let mut chunk = Vec::with_capacity(most);
    source.take(most as u64).read_to_end(&mut chunk).map_err(unreadable)?;
    Ok(Bytes::from(chunk))
}

/// The error for a source that cannot be read.
const fn unreadable(source: io::Error) -> Error {
    Error::Io { doing: "reading the message", source }
}
