//! The reply to EHLO: which extensions are offered, and their parameters.

use core::fmt;
use core::num::NonZeroU32;

use proto_mail::{Error, Mechanism, Mechanisms, Misuse, SendBuffer};

use super::core::{Core, State, Step};
use super::event::CoreEvent;
use super::fixed_replies as reply;
use super::session::Session;
use crate::attributes::Attribute;
use crate::burl::BurlSource;
use crate::command::Verb;
use crate::config::Dialect;
use crate::encode;
use crate::extension::Extension;
use crate::reply_code::Code;
use crate::response::Response;
use crate::response::reply_line;
use crate::server_limits::ServerLimits;

impl Core {
    /// Whether an extension is offered now. STARTTLS is offered on cleartext only, AUTH under TLS only.
    pub(super) fn offers(&self, extension: Extension) -> bool {
        let set = self.offered;
        match extension {
            Extension::StartTls => set.contains(extension) && !self.channel.is_secure,
            Extension::Auth => set.contains(extension) && self.channel.is_secure && self.has_mechanism(),
            // Binary messages come by BDAT and no other way (RFC 3030 §3).
            Extension::BinaryMime => set.contains(extension) && set.contains(Extension::Chunking),
            // Its parameters are required.
            Extension::FutureRelease => {
                set.contains(extension) && self.config.extension_parameters.future_release.is_some()
            }
            Extension::Limits => set.contains(extension) && self.limits().can_be_announced(),
            // The extension promises TLS on this channel, too (RFC 8689 §2).
            Extension::RequireTls => set.contains(extension) && self.channel.is_secure,
            // URLs are fetched for authenticated clients only (RFC 4468 §8).
            Extension::Burl => {
                set.contains(extension)
                    && self.channel.is_secure
                    && (self.is_authenticated || self.offers(Extension::Auth))
            }
            // LMTP replies for each recipient anyway.
            Extension::Prdr => set.contains(extension) && self.config.dialect == Dialect::Smtp,
            // The others only name commands, or are implemented by the application.
            _ => set.contains(extension),
        }
    }

    /// Replies to EHLO, HELO or LHLO. It ends an open transaction, as RSET does (RFC 5321 §4.1.4).
    pub(super) fn answer_hello(&mut self, verb: Verb, tx: &mut SendBuffer) -> Step {
        self.forwarded.clear();
        self.encode_hello_reply(verb, tx);
        self.enter(State::Command);
        let had_transaction = self.session.end_transaction();
        self.session = Session::Ready;
        if had_transaction { Step::event(CoreEvent::Reset) } else { Step::Again }
    }

    /// Rejects EHLO, HELO or LHLO: the session stays as it was (RFC 5321 §4.1.4).
    pub(super) fn refuse_hello(&mut self, response: &Response<'_>, tx: &mut SendBuffer) -> Result<(), Error> {
        match &self.state {
            State::Hello(_) => {}
            State::Failed(error) => return Err(error.clone()),
            _ => return Err(Misuse::WrongState.into()),
        }
        let response = reply::as_rejection(response);
        response.encode(tx);
        let is_closing = response.code() == Code::UNAVAILABLE;
        self.enter(if is_closing { State::Closing } else { State::Command });
        Ok(())
    }

    /// The mechanisms that are offered: those that the settings allow and the channel supports.
    pub(super) fn mechanisms(&self) -> Mechanisms {
        self.config
            .mechanisms
            .intersection(self.config.offered_mechanisms)
            .intersection(self.channel.sasl.usable_mechanisms())
    }

    fn has_mechanism(&self) -> bool {
        !self.mechanisms().is_empty() || !self.config.custom_mechanisms.is_empty()
    }

    /// The limits that are enforced. The limit of recipients is also a setting of its own.
    pub(super) fn limits(&self) -> ServerLimits {
        let limits = self.config.extension_parameters.limits;
        let recipients = u32::try_from(self.config.limits.recipients).unwrap_or(u32::MAX);
        let recipients = limits.recipients.map_or(recipients, |most| recipients.min(most.get()));
        // A limit of zero cannot be announced.
        ServerLimits { recipients: NonZeroU32::new(recipients), ..limits }
    }

    /// Writes the reply to EHLO, LHLO or HELO.
    fn encode_hello_reply(&self, verb: Verb, tx: &mut SendBuffer) {
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
            self.encode_parameters(extension, tx);
            tx.put(b"\r\n");
        }
    }

    /// Writes the parameters of a keyword.
    fn encode_parameters(&self, extension: Extension, tx: &mut SendBuffer) {
        let announced = &self.config.extension_parameters;
        match extension {
            Extension::Size => parameter(Some(self.config.limits.message), tx),
            Extension::Auth => {
                let custom = self.config.custom_mechanisms.iter().map(Mechanism::Custom);
                self.mechanisms().iter().chain(custom).for_each(|mechanism| parameter(Some(mechanism), tx));
            }
            Extension::Limits => parameter(Some(self.limits()), tx),
            Extension::DeliverBy => parameter(announced.min_by_time, tx),
            Extension::MtPriority => parameter(announced.priority_profile.as_ref(), tx),
            Extension::FutureRelease => parameter(announced.future_release, tx),
            Extension::NoSoliciting => parameter(announced.no_soliciting.as_ref(), tx),
            Extension::Burl if announced.burl.is_empty() => parameter(Some(BurlSource::Any), tx),
            Extension::Burl => announced.burl.iter().for_each(|source| parameter(Some(source), tx)),
            Extension::XClient => attribute_names(&Attribute::XCLIENT, tx),
            Extension::XForward => attribute_names(&Attribute::XFORWARD, tx),
            _ => {}
        }
    }
}

/// Writes a space and a value. No such value can hold a CR or LF.
fn parameter(value: Option<impl fmt::Display>, tx: &mut SendBuffer) {
    if let Some(value) = value {
        encode::display(format_args!(" {value}"), tx);
    }
}

fn attribute_names(attributes: &[Attribute], tx: &mut SendBuffer) {
    attributes.iter().for_each(|attribute| parameter(Some(attribute.name()), tx));
}
