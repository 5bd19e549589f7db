//! The mail transaction: which commands are allowed, and what MAIL and RCPT may request (RFC 5321 §3.3, §4.1.4).
//!
//! The state is checked first: a command that is not allowed now is rejected before its arguments are parsed.

use core::num::NonZeroU32;

use proto_mail::{Error, SendBuffer};

use super::core::{Core, State};
use super::event::CoreEvent;
use super::fixed_replies::{self as reply, syntax};
use super::question::Question;
use super::session::{MailOptions, Session};
use crate::address::Address;
use crate::body_type::BodyType;
use crate::command::{Command, Verb, split_verb};
use crate::config::{Dialect, UnknownParameters};
use crate::deliver_by::ByMode;
use crate::dsn::OriginalRecipient;
use crate::extension::{Extension, ExtensionSet};
use crate::mail::Mail;
use crate::parameter::Parameters;
use crate::rcpt::Rcpt;
use crate::reply_code::Code;
use crate::response::Response;

impl Core {
    /// Returns the reply to a command that is not allowed now. Its arguments were not parsed.
    pub(super) fn rejection(&self, verb: Verb) -> Option<Response<'static>> {
        let bad_sequence = |text| Some(Response::fixed(Code::BAD_SEQUENCE, reply::ORDER, text));
        let is_lmtp = self.config.dialect == Dialect::Lmtp;
        let is_secure = self.channel.is_secure;
        let has_hello = self.session.has_hello();
        match verb {
            Verb::Quit => {}
            _ if matches!(self.session, Session::Rejected) => {
                return bad_sequence("No service here; say QUIT");
            }
            Verb::Other => return Some(reply::NOT_RECOGNIZED),
            Verb::Ehlo | Verb::Helo if is_lmtp => return Some(reply::NOT_RECOGNIZED),
            Verb::Lhlo if !is_lmtp => return Some(reply::NOT_RECOGNIZED),
            Verb::StartTls if is_secure => return bad_sequence("TLS is already active"),
            Verb::StartTls if !self.offers(Extension::StartTls) => return Some(reply::NOT_IMPLEMENTED),
            Verb::Auth if !is_secure && self.offers(Extension::StartTls) => {
                return Some(reply::NEEDS_TLS);
            }
            Verb::Auth if !is_secure => {
                return Some(Response::fixed(Code::ENCRYPTION, (7, 11), "Authentication needs TLS"));
            }
            Verb::Auth if !self.offers(Extension::Auth) => return Some(reply::NOT_IMPLEMENTED),
            Verb::Auth if self.is_authenticated => return bad_sequence("You have authenticated already"),
            Verb::Bdat if !self.offers(Extension::Chunking) => return Some(reply::NOT_IMPLEMENTED),
            Verb::Expn | Verb::Etrn | Verb::Burl | Verb::XClient | Verb::XForward
                if !Self::extension_of(verb).is_some_and(|extension| self.offers(extension)) =>
            {
                return Some(reply::NOT_IMPLEMENTED);
            }
            Verb::Mail | Verb::Rcpt | Verb::Data | Verb::Bdat | Verb::Vrfy | Verb::Expn | Verb::Etrn
                if !is_secure && self.config.requires_tls() =>
            {
                return Some(reply::NEEDS_TLS);
            }
            Verb::Burl if has_hello && !self.is_authenticated => {
                return Some(reply::NEEDS_AUTHENTICATION);
            }
            Verb::Mail | Verb::Vrfy | Verb::Expn | Verb::Etrn
                if has_hello && !self.is_authenticated && self.config.requires_authentication() =>
            {
                return Some(reply::NEEDS_AUTHENTICATION);
            }
            _ => {}
        }
        let phase = self.session.phase();
        if !phase.allows(verb) {
            return bad_sequence(phase.rejection_text(verb));
        }
        let is_binary = self.session.transaction().is_some_and(|transaction| transaction.options.is_binary);
        (is_binary && verb == Verb::Data).then_some(reply::BINARY_NEEDS_CHUNKS)
    }

    /// The extension of a command that exists only where it is offered.
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

    /// Parses a command whose event borrows its line, and yields the event or rejects the command.
    pub(super) fn parse_line<'i>(
        &mut self,
        verb: Verb,
        line: &'i [u8],
        tx: &mut SendBuffer,
    ) -> Result<CoreEvent<'i>, Error> {
        let (_, rest) = split_verb(line);
        let rejection = match Command::parse_arguments(verb, line, rest) {
            Ok(Command::Mail(mail)) => match self.count_mail().and_then(|()| self.check_mail(&mail)) {
                Ok(options) => return Ok(CoreEvent::Mail(mail, self.ask(verb, Question::Mail(options)))),
                Err(rejection) => rejection,
            },
            Ok(Command::Rcpt(rcpt)) => match self.check_rcpt(&rcpt) {
                None => return Ok(CoreEvent::Rcpt(rcpt, self.ask(verb, Question::Rcpt))),
                Some(rejection) => rejection,
            },
            Ok(Command::Ehlo(name) | Command::Helo(name) | Command::Lhlo(name)) => {
                self.enter(State::Hello(verb));
                return Ok(CoreEvent::Hello(verb, name));
            }
            Ok(command) => match self.ask_about(verb, command) {
                Some(event) => return Ok(event),
                None => reply::NOT_RECOGNIZED,
            },
            Err(error) => syntax(verb, error),
        };
        // A transient rejection is not the client's error: it sends the rest in another transaction or session.
        if rejection.is_transient() {
            rejection.encode(tx);
            if rejection.code() == Code::UNAVAILABLE {
                self.enter(State::Closing);
            }
        } else {
            self.reject(&rejection, tx)?;
        }
        Ok(CoreEvent::Refused(verb, rejection))
    }

    /// Asks the application about a command that has no effect on a transaction. `None` for other commands.
    fn ask_about<'i>(&mut self, verb: Verb, command: Command<'i>) -> Option<CoreEvent<'i>> {
        Some(match command {
            Command::Vrfy(text) => CoreEvent::Vrfy(text, self.ask(verb, Question::Information)),
            Command::Expn(text) => CoreEvent::Expn(text, self.ask(verb, Question::Information)),
            Command::Help(text) => CoreEvent::Help(text, self.ask(verb, Question::Information)),
            Command::Etrn(node) => CoreEvent::Etrn(node, self.ask(verb, Question::Information)),
            Command::XClient(attributes) => self.ask_about_xclient(verb, attributes),
            Command::XForward(attributes) => self.ask_about_xforward(verb, attributes),
            _ => return None,
        })
    }

    fn count_mail(&mut self) -> Result<(), Response<'static>> {
        let max = self.config.extension_parameters.limits.mails.map(NonZeroU32::get);
        if self.counters.note_mail(max) { Ok(()) } else { Err(reply::TOO_MANY_MAILS) }
    }

    fn check_mail(&self, mail: &Mail<'_>) -> Result<MailOptions, Response<'static>> {
        // REQUIRETLS on a cleartext channel is always rejected: the promise would be broken already.
        if self.is_unknown(mail.extensions(), &mail.parameters)
            || (mail.require_tls && !self.channel.is_secure)
        {
            return Err(reply::UNKNOWN_PARAMETER);
        }
        if mail.size.is_some_and(|size| size > self.config.limits.message) {
            return Err(reply::MESSAGE_TOO_LARGE);
        }
        match self.out_of_range(mail) {
            Some(rejection) => Err(rejection),
            None => Ok(MailOptions {
                utf8: mail.utf8,
                is_binary: mail.body == Some(BodyType::BinaryMime),
                prdr: mail.prdr && self.offers(Extension::Prdr),
            }),
        }
    }

    /// Checks values against the announced parameters of their extensions.
    fn out_of_range(&self, mail: &Mail<'_>) -> Option<Response<'static>> {
        let announced = &self.config.extension_parameters;
        if let (Some(by), Some(least)) = (mail.by, announced.min_by_time)
            && by.mode() == ByMode::Return
            && i64::from(by.seconds()) < i64::from(least)
        {
            return Some(reply::TIME_TOO_SHORT);
        }
        if let (Some(hold), Some(most)) = (mail.hold(), announced.future_release)
            && !most.allows(hold)
        {
            return Some(reply::HELD_TOO_LONG);
        }
        let (solicit, unwanted) = (mail.solicit()?, announced.no_soliciting.as_ref()?);
        solicit.intersects(unwanted).then_some(reply::UNWANTED)
    }

    /// Whether a parameter is unknown or not offered, and is to be rejected for that.
    fn is_unknown(&self, needed: ExtensionSet, parameters: &Parameters<'_>) -> bool {
        self.config.unknown_parameters == UnknownParameters::Reject
            && (parameters.has_unknown() || !needed.iter().all(|extension| self.offers(extension)))
    }

    fn check_rcpt(&mut self, rcpt: &Rcpt<'_>) -> Option<Response<'static>> {
        if self.is_unknown(rcpt.extensions(), &rcpt.parameters) {
            return Some(reply::UNKNOWN_PARAMETER);
        }
        let limits = self.limits();
        let transaction = self.session.transaction_mut()?;
        let is_ascii = rcpt.to.address().is_none_or(Address::is_ascii)
            && rcpt.original().as_ref().is_none_or(OriginalRecipient::is_ascii);
        if !transaction.options.utf8 && !is_ascii {
            return Some(reply::NEEDS_UTF8);
        }
        let max = limits.recipients.map_or(0, NonZeroU32::get);
        if transaction.recipients >= usize::try_from(max).unwrap_or(usize::MAX) {
            return Some(reply::TOO_MANY_RECIPIENTS);
        }
        let max = limits.recipient_domains?.get();
        (!transaction.domains.propose(rcpt.to.address(), max)).then_some(reply::TOO_MANY_DOMAINS)
    }
}
