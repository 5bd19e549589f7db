//! XCLIENT and XFORWARD (as Postfix documents them): a proxy names the client that it acts for.

use alloc::boxed::Box;

use proto_mail::{Error, Misuse, SendBuffer};

use super::core::{Core, State};
use super::event::CoreEvent;
use super::forwarded::ForwardedAttributes;
use super::forwarded::without_proxy_commands;
use super::question::{Question, Reply};
use super::session::{Session, Transaction};
use crate::attributes::{Attribute, Attributes};
use crate::command::Verb;
use crate::response::Response;

impl Core {
    pub(super) fn ask_about_xclient<'i>(&mut self, verb: Verb, attributes: Attributes<'i>) -> CoreEvent<'i> {
        let has_login = attributes.text(Attribute::Login).is_some();
        CoreEvent::XClient(attributes, self.ask(verb, Question::XClient { has_login }))
    }

    pub(super) fn ask_about_xforward<'i>(&mut self, verb: Verb, attributes: Attributes<'i>) -> CoreEvent<'i> {
        self.forwarded.pending = Some(Box::new(attributes.clone().into_owned()));
        CoreEvent::XForward(attributes, self.ask(verb, Question::XForward))
    }

    /// Returns the attributes of the open transaction, or of the next one if none is open.
    pub(super) fn forwarded(&self) -> Option<&Attributes<'static>> {
        match &self.session {
            Session::Transaction(Transaction { forwarded, .. }) => forwarded.as_deref(),
            Session::Rejected | Session::Start | Session::Ready => self.forwarded.accepted.as_deref(),
        }
    }

    /// XCLIENT was accepted: the session of another client begins. The counters are kept.
    pub(super) fn restart(&mut self, tx: &mut SendBuffer) {
        self.session = Session::Start;
        self.is_authenticated = false;
        self.offered = without_proxy_commands(self.config.extensions);
        self.forwarded = ForwardedAttributes::default();
        self.counters.note_progress();
        self.encode_greeting(tx);
        self.enter(State::Command);
    }

    /// Accepts XCLIENT and the user name in it.
    pub(super) fn trust_login(&mut self, reply: Reply, tx: &mut SendBuffer) -> Result<(), Error> {
        if self.question(&reply)? == (Question::XClient { has_login: true }) {
            self.restart(tx);
            self.is_authenticated = true;
            return Ok(());
        }
        // The client must get a reply even if the application asked for what is not possible.
        self.reply(reply, &Response::try_again(), tx)?;
        Err(Misuse::WrongState.into())
    }
}
