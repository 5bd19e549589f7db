//! Commands of extensions that few servers have: HELP with a topic, ETRN (RFC 1985), BURL (RFC 4468), XCLIENT and
//! XFORWARD (as Postfix documents them).
//!
//! This file knows what they change in a session. What they mean is the application's part: it is asked.

use alloc::boxed::Box;
use alloc::string::String;

use proto_mail::{Error, Misuse, RecvBuffer, Secret, SendBuffer};

use super::Reply;
use super::core::{Core, State, Step};
use super::event::CoreEvent;
use super::reply::Question;
use super::transaction::syntax;
use crate::attributes::{Attribute, Attributes};
use crate::chunking::ChunkEnd;
use crate::command::{Command, Verb, split_verb};
use crate::extension::{Extension, ExtensionSet};
use crate::response::Response;
use crate::secret_bytes::SecretBytes;

/// Where messages came from, as XFORWARD says.
#[derive(Debug, Default)]
pub(super) struct Forwarded {
    /// What the application is asked about.
    asked: Option<Box<Attributes<'static>>>,
    /// What was said for the transaction that comes next.
    next: Option<Box<Attributes<'static>>>,
    /// What was said for the one that is open, or was last.
    open: Option<Box<Attributes<'static>>>,
}

impl Forwarded {
    /// A transaction begins: what was said is for this one alone.
    pub(super) fn begin(&mut self) {
        self.open = self.next.take();
    }

    /// What was said is forgotten.
    pub(super) fn forget(&mut self) {
        self.next = None;
    }
}

/// What is offered before the application has said whom it trusts.
pub(super) const fn untrusting(set: ExtensionSet) -> ExtensionSet {
    set.without(Extension::XClient).without(Extension::XForward)
}

impl Core {
    /// Asks the application about a command that borrows its line; `None` if it is none of these.
    pub(super) fn ask_extra<'i>(&mut self, verb: Verb, command: Command<'i>) -> Option<CoreEvent<'i>> {
        Some(match command {
            Command::Vrfy(text) => CoreEvent::Vrfy(text, self.ask(verb, Question::Information)),
            Command::Expn(text) => CoreEvent::Expn(text, self.ask(verb, Question::Information)),
            Command::Help(text) => CoreEvent::Help(text, self.ask(verb, Question::Information)),
            Command::Etrn(node) => CoreEvent::Etrn(node, self.ask(verb, Question::Information)),
            Command::XClient(said) => {
                let login = said.text(Attribute::Login).is_some();
                CoreEvent::XClient(said, self.ask(verb, Question::XClient { login }))
            }
            Command::XForward(said) => {
                self.forwarded.asked = Some(Box::new(said.clone().into_owned()));
                CoreEvent::XForward(said, self.ask(verb, Question::XForward))
            }
            _ => return None,
        })
    }

    /// What was said of the transaction that is open, or comes next.
    pub(super) fn forwarded(&self) -> Option<&Attributes<'static>> {
        let forwarded = if self.transaction.is_some() { &self.forwarded.open } else { &self.forwarded.next };
        forwarded.as_deref()
    }

    /// XFORWARD was answered: what it says is added to what was said before.
    pub(super) fn forward(&mut self, accepted: bool) {
        let Some(asked) = self.forwarded.asked.take().filter(|_| accepted) else { return };
        match &mut self.forwarded.next {
            Some(next) => next.overwrite(*asked),
            next => *next = Some(asked),
        }
    }

    /// XCLIENT was accepted: another client's session begins. What counts against the one who speaks is not forgotten.
    pub(super) fn restart(&mut self, tx: &mut SendBuffer) {
        self.hello = None;
        self.transaction = None;
        self.authenticated = false;
        self.extensions = untrusting(self.config.extensions);
        self.forwarded = Forwarded::default();
        self.say_ready(tx);
        self.enter(State::Command);
    }

    /// XCLIENT is accepted, and who it says has logged in is believed to have.
    pub(super) fn trust_login(&mut self, reply: Reply, tx: &mut SendBuffer) -> Result<(), Error> {
        if self.question(&reply)? == (Question::XClient { login: true }) {
            self.restart(tx);
            self.authenticated = true;
            return Ok(());
        }
        // The client waits and must have its answer, even if the program has asked for what cannot be.
        self.reply(reply, &Response::try_again(), tx)?;
        Err(Misuse::WrongState.into())
    }

    /// `BURL`, where the state allows it. The URL is a secret: its line is wiped.
    pub(super) fn burl(&mut self, (len, whole): (usize, usize), rx: &mut RecvBuffer) -> Result<Step, Error> {
        let line = rx.bytes().get(..len).unwrap_or_default();
        let (verb, rest) = split_verb(line);
        let read = match Command::parse_arguments(verb, line, rest) {
            Ok(Command::Burl { url, end }) => Ok((secret_url(&url), end)),
            Ok(_) => return Ok(Step::Again),
            Err(error) => Err(syntax(verb, error)),
        };
        rx.consume_wiping(whole);
        Ok(match read {
            Ok((url, end)) => {
                let reply = self.ask(verb, Question::Url(end));
                Step::event(CoreEvent::Burl(url, end, reply))
            }
            Err(refusal) => self.refuse_part(verb, refusal, ChunkEnd::More),
        })
    }

    /// BURL was answered.
    pub(super) fn url_taken(&mut self, end: ChunkEnd, accepted: bool) {
        match &mut self.transaction {
            Some(transaction) if accepted && end == ChunkEnd::More => {
                transaction.chunked = Some(transaction.chunked.unwrap_or(0));
            }
            // Whole or not, it is over: a message without one of its parts is no message.
            _ => self.transaction = None,
        }
    }
}

/// The URL as an owned secret. It was checked to be US-ASCII.
fn secret_url(url: &SecretBytes<'_>) -> Secret<String> {
    Secret::new(core::str::from_utf8(url.expose()).unwrap_or_default().into())
}
