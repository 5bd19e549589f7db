//! The answer to EHLO: what is offered follows from the settings, the channel and what was required.

use proto_core::{Error, Mechanisms, Misuse, SendBuffer};

use super::core::{Core, State, Step};
use super::event::CoreEvent;
use super::reply;
use crate::ascii;
use crate::encode::{self, reply_line};
use crate::types::{Code, Extension, Response, Verb};

impl Core {
    /// Whether an extension is offered now. STARTTLS exists on cleartext only, AUTH under TLS only.
    pub(super) fn offers(&self, extension: Extension) -> bool {
        let set = self.extensions;
        match extension {
            Extension::StartTls => set.contains(extension) && !self.secure,
            Extension::Auth => set.contains(extension) && self.secure && !self.mechanisms().is_empty(),
            // Binary messages come by BDAT and no other way (RFC 3030 §3).
            Extension::BinaryMime => set.contains(extension) && set.contains(Extension::Chunking),
            // It is a promise about this channel, too (RFC 8689 §2).
            Extension::RequireTls => set.contains(extension) && self.secure,
            // What only names commands, or is the application's to keep, is offered as it is set; what has no room here
            // is not.
            Extension::FutureRelease
            | Extension::Limits
            | Extension::Burl
            | Extension::Etrn
            | Extension::Prdr
            | Extension::XClient
            | Extension::XForward => false,
            _ => set.contains(extension),
        }
    }

    /// Answers the client's greeting. It ends an open transaction, as RSET does (RFC 5321 §4.1.4).
    pub(super) fn welcome(&mut self, verb: Verb, tx: &mut SendBuffer) -> Step {
        self.hello = Some(verb);
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
        encode::response(&response, tx);
        let gone = response.code() == Code::UNAVAILABLE;
        self.enter(if gone { State::Closing } else { State::Command });
        Ok(())
    }

    /// The mechanisms that are offered: those that this side speaks, its application answers and the channel allows.
    pub(super) fn mechanisms(&self) -> Mechanisms {
        self.config.mechanisms.intersection(self.config.served).intersection(self.sasl.usable())
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
            match extension {
                Extension::Size => {
                    tx.put(b" ");
                    tx.put(ascii::digits(self.config.limits.message, &mut [0; 20]));
                }
                Extension::Auth => {
                    for mechanism in self.mechanisms().iter() {
                        tx.put(b" ");
                        tx.put(mechanism.name().as_bytes());
                    }
                }
                _ => {}
            }
            tx.put(b"\r\n");
        }
    }
}
