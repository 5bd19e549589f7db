//! Commands of extensions that few servers have: ETRN (RFC 1985), BURL (RFC 4468), XCLIENT and XFORWARD (as Postfix
//! documents them).
//!
//! This file knows when they may be given and what must be offered for them.

use proto_mail::{Channel, Error, Misuse, SendBuffer};

use super::Client;
use super::core::Core;
use super::event::Step;
use crate::attributes::{Attributes, ProxyCommand};
use crate::burl::is_absolute_url;
use crate::capabilities::Capabilities;
use crate::chunking::ChunkEnd;
use crate::command::Command;
use crate::etrn::EtrnNode;
use crate::extension::{Extension, ExtensionSet};
use crate::secret_bytes::SecretBytes;

/// The longest line of XCLIENT and XFORWARD in bytes, CRLF included.
const LINE: usize = 512;

impl<C: Channel> Client<C> {
    /// Gives ETRN: the server is to send what waits for this node, over a connection that it makes.
    ///
    /// # Errors
    /// [`NotOffered`](Misuse::NotOffered) if ETRN is not; [`WrongState`](Misuse::WrongState) if a transaction is open or
    /// a reply must be awaited first.
    pub fn etrn(&mut self, node: &EtrnNode<'_>, tx: &mut SendBuffer) -> Result<(), Error> {
        self.core.check_group()?;
        self.core.check_offered(ExtensionSet::NONE.with(Extension::Etrn))?;
        self.core.check_no_transaction()?;
        self.core.command(&Command::Etrn(node.clone()), Step::Etrn, tx);
        Ok(())
    }

    /// Gives BURL in place of a chunk: the server is to fetch this part of the message, or all that is left of it, from
    /// there. The URL counts as a secret. Its reply is that of a chunk: [`Step::Chunk`], or [`Step::Message`] if it is
    /// the last.
    ///
    /// # Errors
    /// [`NotOffered`](Misuse::NotOffered) if BURL is not; [`InvalidArgument`](Misuse::InvalidArgument) if it is no
    /// absolute URL; [`WrongState`](Misuse::WrongState) as for [`bdat`](Self::bdat).
    pub fn burl(&mut self, url: &str, end: ChunkEnd, tx: &mut SendBuffer) -> Result<(), Error> {
        self.check_mail()?;
        self.core.check_offered(ExtensionSet::NONE.with(Extension::Burl))?;
        if !self.core.can_count_replies(end) {
            return Err(Misuse::WrongState.into());
        }
        if !is_absolute_url(url.as_bytes()) {
            return Err(Misuse::InvalidArgument.into());
        }
        Command::Burl { url: SecretBytes::new(url.as_bytes()), end }.encode(tx);
        match end {
            ChunkEnd::More => self.core.expect(Step::Chunk, tx),
            ChunkEnd::Last => self.core.expect_message(tx),
        }
        Ok(())
    }

    /// Gives XCLIENT: the session is to be taken for that of another client. Once it is accepted everything is
    /// forgotten, an authentication too; the client says EHLO by itself, and [`Event::Capabilities`](super::Event)
    /// follows.
    ///
    /// # Errors
    /// [`NotOffered`](Misuse::NotOffered) if XCLIENT is not; [`WrongState`](Misuse::WrongState) if a transaction is open
    /// or a reply is outstanding, or on cleartext where that was not allowed; [`InvalidArgument`](Misuse::InvalidArgument)
    /// if nothing is said, the server has not announced one of the attributes, or the line would be longer than 512
    /// bytes. Nothing was written then.
    pub fn xclient(&mut self, attributes: &Attributes<'_>, tx: &mut SendBuffer) -> Result<(), Error> {
        self.check_mail()?;
        self.core.check_alone()?;
        self.core.check_proxy(ProxyCommand::XClient, attributes)?;
        self.core.command(&Command::XClient(attributes.clone()), Step::XClient, tx);
        Ok(())
    }

    /// Gives XFORWARD: where the next message came from. What is said adds to what was said before, and is forgotten at
    /// the end of the next transaction.
    ///
    /// # Errors
    /// As [`xclient`](Self::xclient); but other commands may be outstanding, as for [`mail`](Self::mail).
    pub fn xforward(&mut self, attributes: &Attributes<'_>, tx: &mut SendBuffer) -> Result<(), Error> {
        self.check_mail()?;
        self.core.check_proxy(ProxyCommand::XForward, attributes)?;
        self.core.command(&Command::XForward(attributes.clone()), Step::XForward, tx);
        Ok(())
    }
}

impl Core {
    /// Whether no transaction is open, nor may be opened by what is outstanding.
    fn check_no_transaction(&self) -> Result<(), Error> {
        if self.open || self.outstanding() > 0 { Err(Misuse::WrongState.into()) } else { Ok(()) }
    }

    fn check_proxy(&self, command: ProxyCommand, attributes: &Attributes<'_>) -> Result<(), Error> {
        let extension = match command {
            ProxyCommand::XClient => Extension::XClient,
            ProxyCommand::XForward => Extension::XForward,
        };
        self.check_offered(ExtensionSet::NONE.with(extension))?;
        let chained = command == ProxyCommand::XForward && self.last_step() == Some(Step::XForward);
        if !chained {
            self.check_no_transaction()?;
        }
        let announced = |attribute| match command {
            ProxyCommand::XClient => self.capabilities.xclient().any(|one| one == attribute),
            ProxyCommand::XForward => self.capabilities.xforward().any(|one| one == attribute),
        };
        let good = attributes.command() == command
            && !attributes.is_empty()
            && attributes.iter().all(|(attribute, _)| announced(attribute));
        let words =
            attributes.iter().map(|(attribute, value)| attribute.name().len() + value.wire().len() + 2);
        let line = extension.keyword().len() + words.sum::<usize>() + 2;
        if good && line <= LINE { Ok(()) } else { Err(Misuse::InvalidArgument.into()) }
    }

    /// XCLIENT was accepted: a new session begins, and nothing is known of it.
    pub(super) fn restart(&mut self) {
        self.capabilities = Capabilities::default();
        self.fallback = false;
        self.begin_hello();
    }
}
