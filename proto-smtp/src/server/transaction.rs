//! The mail transaction: which command may come, and what MAIL and RCPT may ask (RFC 5321 §3.3, §4.1.4).
//!
//! State first, arguments second: a command that may not come now is refused before its arguments are looked at.

use alloc::collections::BTreeSet;
use alloc::string::String;
use core::num::NonZeroU32;

use proto_mail::{Error, SendBuffer};

use super::core::{Core, State};
use super::event::CoreEvent;
use super::reply::{self, Question};
use crate::address::Address;
use crate::body_type::BodyType;
use crate::command::{Command, Verb, split_verb};
use crate::command_order::Phase;
use crate::config::{Dialect, UnknownParameters};
use crate::deliver_by::ByMode;
use crate::dsn::OriginalRecipient;
use crate::extension::{Extension, ExtensionSet};
use crate::mail::Mail;
use crate::parameter::Parameters;
use crate::rcpt::Rcpt;
use crate::response::Response;
use crate::status_code::Code;
use crate::syntax::{SyntaxError, SyntaxFault};

/// An open transaction, as far as the machine must know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Transaction {
    /// How many recipients were accepted.
    pub(super) recipients: usize,
    utf8: bool,
    pub(super) binary: bool,
    /// The client wants to know behind the message what became of each recipient.
    pub(super) prdr: bool,
    /// How many bytes have come by BDAT; `None` before the first chunk.
    pub(super) chunked: Option<u64>,
}

/// The domains of a transaction's recipients. Nothing is kept where nobody counts them, and never more than the limit.
#[derive(Debug, Default)]
pub(super) struct Domains {
    accepted: BTreeSet<String>,
    /// That of the recipient whom the application is asked about.
    asked: Option<String>,
}

impl Domains {
    /// Takes note of a recipient's domain; `false` if it would be one too many.
    fn ask(&mut self, address: Option<&Address<'_>>, most: u32) -> bool {
        self.asked = address.map(|address| address.domain().as_str().to_ascii_lowercase());
        let new = self.asked.as_ref().is_some_and(|domain| !self.accepted.contains(domain));
        !new || self.accepted.len() < usize::try_from(most).unwrap_or(usize::MAX)
    }

    /// The recipient was accepted.
    pub(super) fn keep(&mut self) {
        self.accepted.extend(self.asked.take());
    }
}

impl Core {
    /// Where the session stands in the table.
    pub(super) const fn phase(&self) -> Phase {
        match (&self.hello, &self.transaction) {
            (None, _) => Phase::Start,
            (Some(_), None) => Phase::Ready,
            (_, Some(Transaction { chunked: Some(_), .. })) => Phase::Chunk,
            (_, Some(Transaction { recipients: 0, .. })) => Phase::Mail,
            (_, Some(_)) => Phase::Rcpt,
        }
    }

    /// Whether a command may come now; if not, what is said. Its arguments were not looked at.
    pub(super) fn rejection(&self, verb: Verb) -> Option<Response<'static>> {
        let order = |text| Some(Response::fixed(Code::BAD_SEQUENCE, reply::ORDER, text));
        let lmtp = self.config.dialect == Dialect::Lmtp;
        match verb {
            // RFC 5321 §3.1: whoever was refused may only take leave.
            Verb::Quit => {}
            _ if self.turned_away => return order("No service here; say QUIT"),
            Verb::Other => return Some(reply::NOT_RECOGNIZED),
            Verb::Ehlo | Verb::Helo if lmtp => return Some(reply::NOT_RECOGNIZED),
            Verb::Lhlo if !lmtp => return Some(reply::NOT_RECOGNIZED),
            Verb::StartTls if self.secure => return order("TLS is in place"),
            Verb::StartTls if !self.offers(Extension::StartTls) => return Some(reply::NOT_IMPLEMENTED),
            Verb::Auth if !self.secure && self.offers(Extension::StartTls) => {
                return Some(reply::NEEDS_TLS);
            }
            Verb::Auth if !self.secure => {
                return Some(Response::fixed(Code::ENCRYPTION, (7, 11), "Authentication needs TLS"));
            }
            Verb::Auth if !self.offers(Extension::Auth) => return Some(reply::NOT_IMPLEMENTED),
            Verb::Auth if self.authenticated => return order("You have authenticated already"),
            Verb::Bdat if !self.offers(Extension::Chunking) => return Some(reply::NOT_IMPLEMENTED),
            Verb::Expn | Verb::Etrn | Verb::Burl | Verb::XClient | Verb::XForward
                if !Self::extension_of(verb).is_some_and(|extension| self.offers(extension)) =>
            {
                return Some(reply::NOT_IMPLEMENTED);
            }
            Verb::Mail | Verb::Rcpt | Verb::Data | Verb::Bdat | Verb::Vrfy | Verb::Expn | Verb::Etrn
                if !self.secure && self.config.requires_tls() =>
            {
                return Some(reply::NEEDS_TLS);
            }
            Verb::Burl if self.hello.is_some() && !self.authenticated => {
                return Some(reply::NEEDS_AUTHENTICATION);
            }
            Verb::Mail | Verb::Vrfy | Verb::Expn | Verb::Etrn
                if self.hello.is_some() && !self.authenticated && self.config.requires_authentication() =>
            {
                return Some(reply::NEEDS_AUTHENTICATION);
            }
            _ => {}
        }
        let phase = self.phase();
        if !phase.allows(verb) {
            return order(phase.rejection_text(verb));
        }
        match &self.transaction {
            Some(Transaction { binary: true, .. }) if verb == Verb::Data => Some(reply::BINARY_NEEDS_CHUNKS),
            _ => None,
        }
    }

    /// The extension that a command belongs to, of those that are not there unless they are offered.
    const fn extension_of(verb: Verb) -> Option<Extension> {
        Some(match verb {
            Verb::Expn => Extension::Expn,
            Verb::Etrn => Extension::Etrn,
            Verb::Burl => Extension::Burl,
            Verb::XClient => Extension::XClient,
            Verb::XForward => Extension::XForward,
            _ => return None,
        })
    }

    /// Reads a command whose event borrows its line, and asks the application or refuses.
    pub(super) fn judge<'i>(
        &mut self,
        verb: Verb,
        line: &'i [u8],
        tx: &mut SendBuffer,
    ) -> Result<CoreEvent<'i>, Error> {
        let (_, rest) = split_verb(line);
        let refusal = match Command::parse_arguments(verb, line, rest) {
            Ok(Command::Mail(mail)) => match self.count_mail().and_then(|()| self.question_of_mail(&mail)) {
                Ok(transaction) => {
                    return Ok(CoreEvent::Mail(mail, self.ask(verb, Question::Mail(transaction))));
                }
                Err(refusal) => refusal,
            },
            Ok(Command::Rcpt(rcpt)) => match self.objection_to_rcpt(&rcpt) {
                None => return Ok(CoreEvent::Rcpt(rcpt, self.ask(verb, Question::Rcpt))),
                Some(refusal) => refusal,
            },
            Ok(Command::Ehlo(name) | Command::Helo(name) | Command::Lhlo(name)) => {
                self.enter(State::Hello(verb));
                return Ok(CoreEvent::Hello(verb, name));
            }
            Ok(command) => match self.ask_extra(verb, command) {
                Some(event) => return Ok(event),
                None => reply::NOT_RECOGNIZED,
            },
            Err(error) => syntax(verb, error),
        };
        // What is too much is no fault of the client: it sends the rest in another transaction or session.
        if refusal.is_transient() {
            refusal.encode(tx);
            if refusal.code() == Code::UNAVAILABLE {
                self.enter(State::Closing);
            }
        } else {
            self.refuse(&refusal, tx)?;
        }
        Ok(CoreEvent::Refused(verb, refusal))
    }

    /// Every MAIL counts, whatever becomes of it (RFC 9422 §4.1).
    fn count_mail(&mut self) -> Result<(), Response<'static>> {
        let used_up =
            self.config.extension_parameters.limits.mails.is_some_and(|most| self.mails >= most.get());
        self.mails = self.mails.saturating_add(1);
        if used_up { Err(reply::TOO_MANY_MAILS) } else { Ok(()) }
    }

    fn question_of_mail(&self, mail: &Mail<'_>) -> Result<Transaction, Response<'static>> {
        let binary = mail.body == Some(BodyType::BinaryMime);
        // A promise to use TLS that was given where there is none is worth nothing, whoever would look at it.
        if self.is_unknown(mail.extensions(), &mail.parameters) || (mail.require_tls && !self.secure) {
            return Err(reply::UNKNOWN_PARAMETER);
        }
        if mail.size.is_some_and(|size| size > self.config.limits.message) {
            return Err(reply::MESSAGE_TOO_LARGE);
        }
        if let Some(refusal) = self.out_of_bounds(mail) {
            return Err(refusal);
        }
        Ok(Transaction {
            recipients: 0,
            utf8: mail.utf8,
            binary,
            prdr: mail.prdr && self.offers(Extension::Prdr),
            chunked: None,
        })
    }

    /// What is offered, and not so far.
    fn out_of_bounds(&self, mail: &Mail<'_>) -> Option<Response<'static>> {
        let offers = &self.config.extension_parameters;
        if let (Some(by), Some(least)) = (mail.by, offers.min_by_time)
            && by.mode() == ByMode::Return
            && i64::from(by.seconds()) < i64::from(least)
        {
            return Some(reply::TIME_TOO_SHORT);
        }
        if let (Some(hold), Some(most)) = (mail.hold(), offers.future_release)
            && !most.allows(hold)
        {
            return Some(reply::HELD_TOO_LONG);
        }
        let (solicit, unwanted) = (mail.solicit()?, offers.no_soliciting.as_ref()?);
        solicit.intersects(unwanted).then_some(reply::UNWANTED)
    }

    /// Whether there are parameters that are not known or not offered, and are to be refused for that.
    fn is_unknown(&self, needed: ExtensionSet, parameters: &Parameters<'_>) -> bool {
        self.config.unknown_parameters == UnknownParameters::Reject
            && (parameters.has_unknown() || !needed.iter().all(|extension| self.offers(extension)))
    }

    fn objection_to_rcpt(&mut self, rcpt: &Rcpt<'_>) -> Option<Response<'static>> {
        let transaction = *self.transaction.as_ref()?;
        if self.is_unknown(rcpt.extensions(), &rcpt.parameters) {
            return Some(reply::UNKNOWN_PARAMETER);
        }
        let ascii = rcpt.to.address().is_none_or(Address::is_ascii)
            && rcpt.original().as_ref().is_none_or(OriginalRecipient::is_ascii);
        if !transaction.utf8 && !ascii {
            return Some(reply::NEEDS_UTF8);
        }
        let limits = self.limits();
        let most = limits.recipients.map_or(0, NonZeroU32::get);
        if transaction.recipients >= usize::try_from(most).unwrap_or(usize::MAX) {
            return Some(reply::TOO_MANY_RECIPIENTS);
        }
        let most = limits.recipient_domains?.get();
        (!self.domains.ask(rcpt.to.address(), most)).then_some(reply::TOO_MANY_DOMAINS)
    }
}

/// What is said of arguments that cannot be read.
pub(super) fn syntax(verb: Verb, error: SyntaxError) -> Response<'static> {
    let (code, enhanced) = match (error.fault(), verb) {
        (SyntaxFault::NotAscii, _) => (Code::MAILBOX_NAME, (6, 7)),
        (SyntaxFault::Control | SyntaxFault::Encoding, _) => (Code::SYNTAX, (5, 2)),
        (
            SyntaxFault::Path
            | SyntaxFault::NullRecipient
            | SyntaxFault::LocalPart
            | SyntaxFault::MissingDomain
            | SyntaxFault::Domain
            | SyntaxFault::LocalPartTooLong
            | SyntaxFault::DomainTooLong
            | SyntaxFault::PathTooLong,
            Verb::Mail,
        ) => (Code::ARGUMENTS, (1, 7)),
        (
            SyntaxFault::Path
            | SyntaxFault::NullRecipient
            | SyntaxFault::LocalPart
            | SyntaxFault::MissingDomain
            | SyntaxFault::Domain
            | SyntaxFault::LocalPartTooLong
            | SyntaxFault::DomainTooLong
            | SyntaxFault::PathTooLong,
            Verb::Rcpt,
        ) => (Code::ARGUMENTS, (1, 3)),
        (SyntaxFault::Mechanism, _) => (Code::PARAMETER, (5, 4)),
        _ => (Code::ARGUMENTS, (5, 4)),
    };
    Response::fixed(code, enhanced, error.fault().text())
}
