//! What is delivered: an envelope, and where the octets come from.
//!
//! It knows what a caller says of a message. It does not know how it is sent.

use std::io::{self, Read, Seek, SeekFrom};

use proto_smtp::{
    client::{Content, Transaction},
    types::{Address, BodyType, ForwardPath, Mail, Rcpt, ReversePath, SyntaxError, SyntaxFault},
};

use super::{
    DeliveryReport, DeliveryStage, DeliveryStatus, Diagnostic, MessageLimits, MessagePart, Problem,
    ProblemKind,
    validation::{self, AddressCheck},
};
use crate::Error;

/// A message to deliver: its envelope, and its octets, which are read again for each try.
///
/// The octets have CRLF line ends. They go from where the source begins to where it ends; about 384 KiB of them
/// are in memory at most.
#[derive(Debug)]
pub struct Message<S> {
    mail: Mail<'static>,
    /// Why the sender cannot be read; `mail` has none then.
    unreadable: Option<SyntaxError>,
    recipients: Vec<Recipient>,
    /// What the last check found.
    problems: Vec<Problem>,
    /// What is known of recipients from before, by their number.
    already_decided: Vec<(usize, DeliveryStatus, Diagnostic)>,
    message_id: Option<String>,
    chunking: Chunking,
    /// What is known of the octets.
    content: Option<Content>,
    source: S,
}

/// A recipient, as far as it could be read.
#[derive(Debug)]
enum Recipient {
    Rcpt(Rcpt<'static>),
    Unreadable(String, SyntaxError),
}

/// Whether a message may go as one chunk, by BDAT (RFC 3030).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Chunking {
    /// By DATA; only a message of [`BodyType::BinaryMime`] goes by BDAT, since it can go no other way.
    #[default]
    WhereNeeded,
    /// By BDAT where the server offers CHUNKING: octet by octet as it is, and no dots are looked for.
    WhereOffered,
}

impl<S: Read + Seek> Message<S> {
    /// A message from there, to nobody yet. `mail` says what the octets need (SIZE, 8BITMIME, SMTPUTF8): a server that
    /// does not offer it is not sent the message, unless its [content](Self::with_content) is known to need less.
    pub const fn new(mail: Mail<'static>, source: S) -> Self {
        Self {
            mail,
            unreadable: None,
            recipients: Vec::new(),
            problems: Vec::new(),
            already_decided: Vec::new(),
            message_id: None,
            chunking: Chunking::WhereNeeded,
            content: None,
            source,
        }
    }

    /// A message from whom somebody wrote down: `local@domain`, or nothing for the null path. One that cannot be read is
    /// [`Invalid`](DeliveryStatus::Invalid), and is not sent.
    #[must_use]
    pub fn from_text(sender: &str, source: S) -> Self {
        match Address::parse(sender) {
            _ if sender.is_empty() => Self::new(Mail::new(ReversePath::Null), source),
            Ok(address) => Self::new(Mail::new(ReversePath::from(address.into_owned())), source),
            Err(error) => Self { unreadable: Some(error), ..Self::new(Mail::new(ReversePath::Null), source) },
        }
    }

    /// What the octets need (SIZE, 8BITMIME, SMTPUTF8) and what else is asked for; the sender stays.
    #[must_use]
    pub fn with_mail(mut self, ask: impl FnOnce(Mail<'static>) -> Mail<'static>) -> Self {
        let from = self.mail.from.clone();
        self.mail = ask(self.mail);
        self.mail.from = from;
        self
    }

    /// Adds a recipient. They keep their order.
    #[must_use]
    pub fn recipient(mut self, rcpt: Rcpt<'static>) -> Self {
        self.recipients.push(Recipient::Rcpt(rcpt));
        self
    }

    /// Adds a recipient as somebody wrote it: `local@domain`. One that cannot be read is [`Invalid`](DeliveryStatus::Invalid);
    /// the others get the message.
    #[must_use]
    pub fn recipient_text(mut self, text: &str) -> Self {
        self.recipients.push(match Address::parse(text) {
            Ok(address) => Recipient::Rcpt(Rcpt::new(ForwardPath::from(address.into_owned()))),
            Err(error) => Recipient::Unreadable(text.to_owned(), error),
        });
        self
    }

    /// What became of a recipient before, by its number in the order of the message: it is not sent to, and the report
    /// says so. For a program that goes on where another run of it has stopped.
    #[must_use]
    pub fn already_decided(mut self, recipient: usize, status: DeliveryStatus, answer: Diagnostic) -> Self {
        self.already_decided.push((recipient, status, answer));
        self
    }

    /// The identifier that the report is to show.
    #[must_use]
    pub fn message_id(mut self, message_id: Option<String>) -> Self {
        self.message_id = message_id;
        self
    }

    /// Whether it may go as one chunk. [`Chunking::WhereNeeded`] unless set.
    #[must_use]
    pub const fn chunking(mut self, chunking: Chunking) -> Self {
        self.chunking = chunking;
        self
    }

    /// The octets are known to be like this (a [`ContentScan`](proto_smtp::client::ContentScan) tells it while they are
    /// written). Where they have less to them than was asked for, a server that offers less gets the message all the
    /// same: see [`Transaction::with_content`]. [`check`](Self::check) finds it out, too.
    #[must_use]
    pub const fn with_content(mut self, content: Content) -> Self {
        self.content = Some(content);
        self
    }

    /// How many octets it has, if that was said (SIZE).
    #[must_use]
    pub const fn size(&self) -> Option<u64> {
        self.mail.size
    }

    /// Looks at everything before anything is sent, and remembers what is wrong: in the [`report`](Self::report) a
    /// recipient with a problem of its own is [`Invalid`](DeliveryStatus::Invalid) and the others are not; any other problem is
    /// everybody's. Empty: nothing is wrong.
    ///
    /// The source is read once, to its end or to the limit.
    ///
    /// # Errors
    /// The source cannot be read.
    pub fn check(&mut self, limits: &MessageLimits) -> Result<&[Problem], Error> {
        self.problems = self.unreadable();
        if self.unreadable.is_none() {
            self.problems.extend(validation::sender(&self.mail, limits));
        }
        let recipients = self.recipients.len();
        if recipients == 0 || recipients > limits.recipients {
            let (fault, text) = match recipients {
                0 => (ProblemKind::Missing, "none".to_owned()),
                many => (
                    ProblemKind::TooMany,
                    format!("{many} recipients, and {} is the most", limits.recipients),
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
        self.source.seek(SeekFrom::Start(0)).map_err(unreadable)?;
        let (problems, content) =
            validation::content(&mut self.source, &self.mail, limits).map_err(unreadable)?;
        self.problems.extend(problems);
        self.content = content.or(self.content);
        self.problems.sort_by_key(|problem| (problem.field, problem.index, problem.problem));
        Ok(&self.problems)
    }

    /// A report of this message before it is tried: every recipient waits, but those that cannot get it.
    #[must_use]
    pub fn report(&self) -> DeliveryReport {
        let text = |recipient: &Recipient| match recipient {
            Recipient::Rcpt(rcpt) => rcpt.to.address().map_or("Postmaster", Address::as_str).to_owned(),
            Recipient::Unreadable(text, _) => text.clone(),
        };
        let mut report = DeliveryReport::new(self.message_id.clone(), self.recipients.iter().map(text));
        for (number, status, answer) in &self.already_decided {
            report.exclude(*number, *status, answer.clone());
        }
        let unreadable = self.unreadable();
        for problem in self.problems.iter().chain(&unreadable) {
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

    /// What could not be read when it was given.
    fn unreadable(&self) -> Vec<Problem> {
        let problem = |field, index: Option<u64>, error: &SyntaxError| {
            let long = matches!(
                error.fault(),
                SyntaxFault::LocalPartTooLong | SyntaxFault::DomainTooLong | SyntaxFault::PathTooLong
            );
            let fault = if long { ProblemKind::TooLong } else { ProblemKind::Syntax };
            Problem::new(field, index, fault, error.to_string())
        };
        let sender = self.unreadable.iter().map(|error| problem(MessagePart::Sender, None, error));
        let recipients = (0..).zip(&self.recipients).filter_map(|(index, recipient)| match recipient {
            Recipient::Unreadable(_, error) => Some(problem(MessagePart::Recipient, Some(index), error)),
            Recipient::Rcpt(_) => None,
        });
        sender.chain(recipients).collect()
    }

    /// This recipient, if there is one that can get the message.
    pub(super) fn rcpt(&self, number: usize) -> Option<&Rcpt<'static>> {
        match self.recipients.get(number)? {
            Recipient::Rcpt(rcpt) if self.unreadable.is_none() => Some(rcpt),
            _ => None,
        }
    }

    /// The transaction for these recipients, and how many octets it has at most; the source stands at its beginning.
    pub(super) fn transaction(&mut self, numbers: &[usize]) -> Result<(Transaction, u64), Error> {
        let mut transaction = Transaction::new(self.mail.clone());
        if let Some(content) = self.content {
            transaction = transaction.with_content(content);
        }
        let mut octets = u64::MAX;
        if self.chunking == Chunking::WhereOffered || self.mail.body == Some(BodyType::BinaryMime) {
            octets = self.source.seek(SeekFrom::End(0)).map_err(unreadable)?;
            transaction = transaction.in_one_chunk(octets);
        }
        self.source.seek(SeekFrom::Start(0)).map_err(unreadable)?;
        let recipients = numbers.iter().filter_map(|number| self.rcpt(*number));
        let transaction =
            recipients.fold(transaction, |transaction, rcpt| transaction.recipient(rcpt.clone()));
        Ok((transaction, octets))
    }

    pub(super) const fn source(&mut self) -> &mut S {
        &mut self.source
    }

    /// Whether nothing but recipients asks for SMTPUTF8: the others can do without it.
    pub(super) fn is_ascii_without_recipients(&self) -> bool {
        let needs_utf8 = self.mail.utf8 && self.content.is_none_or(|content| content.needs_utf8());
        !needs_utf8 && self.mail.from.address().is_none_or(Address::is_ascii)
    }
}

pub(super) const fn unreadable(source: io::Error) -> Error {
    Error::Io { doing: "reading the message", source }
}
