//! The answer to EHLO: what is offered follows from the settings, the channel and what was required.

use core::fmt;
use core::num::NonZeroU32;

use proto_mail::{Error, Mechanism, Mechanisms, Misuse, SendBuffer};

use super::core::{Core, State, Step};
use super::event::CoreEvent;
use super::reply;
use crate::attributes::Attribute;
use crate::burl::BurlSource;
use crate::command::Verb;
use crate::config::Dialect;
use crate::encode;
use crate::extension::Extension;
use crate::response::Response;
use crate::response::reply_line;
use crate::server_limits::ServerLimits;
use crate::status_code::Code;

impl Core {
    /// Whether an extension is offered now. STARTTLS exists on cleartext only, AUTH under TLS only.
    pub(super) fn offers(&self, extension: Extension) -> bool {
        let set = self.extensions;
        match extension {
            Extension::StartTls => set.contains(extension) && !self.secure,
            Extension::Auth => set.contains(extension) && self.secure && self.has_mechanism(),
            // Binary messages come by BDAT and no other way (RFC 3030 §3).
            Extension::BinaryMime => set.contains(extension) && set.contains(Extension::Chunking),
            // What it is about must be said with it.
            Extension::FutureRelease => {
                set.contains(extension) && self.config.extension_parameters.future_release.is_some()
            }
            Extension::Limits => set.contains(extension) && self.limits().can_be_announced(),
            // It is a promise about this channel, too (RFC 8689 §2).
            Extension::RequireTls => set.contains(extension) && self.secure,
            // A URL is fetched for those alone who are known (RFC 4468 §8).
            Extension::Burl => {
                set.contains(extension) && self.secure && (self.authenticated || self.offers(Extension::Auth))
            }
            // LMTP answers for each recipient as it is.
            Extension::Prdr => set.contains(extension) && self.config.dialect == Dialect::Smtp,
            // What only names commands, or is the application's to keep, is offered as it is set.
            _ => set.contains(extension),
        }
    }

    /// Answers the client's greeting. It ends an open transaction, as RSET does (RFC 5321 §4.1.4).
    pub(super) fn welcome(&mut self, verb: Verb, tx: &mut SendBuffer) -> Step {
        self.hello = Some(verb);
        self.forwarded.forget();
        self.greet(verb, tx);
        self.enter(State::Command);
        match self.transaction.take() {
            Some(_) => Step::event(CoreEvent::Reset),
            None => Step::Again,
        }
    }

    /// Refuses the client's greeting: everything stays as it was before (RFC 5321 §4.1.4).
    pub(super) fn refuse_hello(&mut self, response: &Response<'_>, tx: &mut SendBuffer) -> Result<(), Error> {
        match self.state {
            State::Hello(_) => {}
            State::Failed(error) => return Err(error),
            _ => return Err(Misuse::WrongState.into()),
        }
        let response = reply::refusing(response);
        response.encode(tx);
        let gone = response.code() == Code::UNAVAILABLE;
        self.enter(if gone { State::Closing } else { State::Command });
        Ok(())
    }

    /// The mechanisms that are offered: those that this side speaks, its application answers and the channel allows.
    pub(super) fn mechanisms(&self) -> Mechanisms {
        self.config
            .mechanisms
            .intersection(self.config.offered_mechanisms)
            .intersection(self.sasl.usable_mechanisms())
    }

    fn has_mechanism(&self) -> bool {
        !self.mechanisms().is_empty() || !self.config.custom_mechanisms.is_empty()
    }

    /// What is kept to: the limit on recipients is a setting of its own.
    pub(super) fn limits(&self) -> ServerLimits {
        let limits = self.config.extension_parameters.limits;
        let recipients = u32::try_from(self.config.limits.recipients).unwrap_or(u32::MAX);
        let recipients = limits.recipients.map_or(recipients, |most| recipients.min(most.get()));
        // A server that takes no recipient at all has no way to say so.
        ServerLimits { recipients: NonZeroU32::new(recipients), ..limits }
    }

    /// Writes the answer to EHLO, LHLO or HELO.
    fn greet(&self, verb: Verb, tx: &mut SendBuffer) {
        let name = self.config.name.as_str().as_bytes();
        if verb == Verb::Helo {
            reply_line(Code::OK, b' ', None, name, tx);
            return;
        }
        let mut offered = Extension::ALL.into_iter().filter(|extension| self.offers(*extension)).peekable();
        let separator = if offered.peek().is_some() { b'-' } else { b' ' };
        reply_line(Code::OK, separator, None, name, tx);
        while let Some(extension) = offered.next() {
            let separator = if offered.peek().is_some() { b'-' } else { b' ' };
            let [a, b, c] = Code::OK.digits();
            tx.put(&[a, b, c, separator]);
            tx.put(extension.keyword().as_bytes());
            self.parameters(extension, tx);
            tx.put(b"\r\n");
        }
    }

    /// Writes what stands behind a keyword.
    fn parameters(&self, extension: Extension, tx: &mut SendBuffer) {
        let offers = &self.config.extension_parameters;
        match extension {
            Extension::Size => text(Some(self.config.limits.message), tx),
            Extension::Auth => {
                let others = self.config.custom_mechanisms.iter().map(Mechanism::Custom);
                self.mechanisms().iter().chain(others).for_each(|mechanism| text(Some(mechanism), tx));
            }
            Extension::Limits => text(Some(self.limits()), tx),
            Extension::DeliverBy => text(offers.min_by_time, tx),
            Extension::MtPriority => text(offers.priority_profile.as_ref(), tx),
            Extension::FutureRelease => text(offers.future_release, tx),
            Extension::NoSoliciting => text(offers.no_soliciting.as_ref(), tx),
            Extension::Burl if offers.burl.is_empty() => text(Some(BurlSource::Any), tx),
            Extension::Burl => offers.burl.iter().for_each(|source| text(Some(source), tx)),
            Extension::XClient => attributes(&Attribute::XCLIENT, tx),
            Extension::XForward => attributes(&Attribute::XFORWARD, tx),
            _ => {}
        }
    }
}

/// A space and what writes itself: nothing that does can be made with a CR or LF.
fn text(value: Option<impl fmt::Display>, tx: &mut SendBuffer) {
    if let Some(value) = value {
        encode::display(format_args!(" {value}"), tx);
    }
}

fn attributes(attributes: &[Attribute], tx: &mut SendBuffer) {
    attributes.iter().for_each(|attribute| text(Some(attribute.name()), tx));
}
