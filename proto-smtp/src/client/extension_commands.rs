//! The commands of rare extensions: ETRN (RFC 1985), BURL (RFC 4468), XCLIENT and XFORWARD (as Postfix documents them).

use proto_mail::{Channel, Error, Misuse, SendBuffer};

use super::core::{Core, ServerHello, State};
use super::event::Step;
use super::machine::Client;
use crate::attributes::{Attributes, ProxyCommand};
use crate::burl::is_absolute_url;
use crate::chunking::ChunkEnd;
use crate::command::Command;
use crate::etrn::EtrnNode;
use crate::extension::{Extension, ExtensionSet};
use crate::secret_bytes::SecretBytes;

/// The longest line of XCLIENT and XFORWARD in bytes, with CRLF.
const MAX_LINE: usize = 512;

impl<C: Channel> Client<C> {
    /// Gives ETRN: asks the server to deliver the mail that waits for this node, over a connection that the server opens.
    ///
    /// # Errors
    /// [`NotOffered`](Misuse::NotOffered) if the server does not offer ETRN; [`WrongState`](Misuse::WrongState) if a transaction is open or
    /// a pending reply must be received first.
    pub fn etrn(&mut self, node: &EtrnNode<'_>, tx: &mut SendBuffer) -> Result<(), Error> {
        self.core.check_group()?;
        self.core.check_offered(ExtensionSet::NONE.with(Extension::Etrn))?;
        self.core.check_no_transaction()?;
        self.core.send(&Command::Etrn(node.clone()), Step::Etrn, tx);
        Ok(())
    }

    /// Gives BURL instead of a chunk: the server fetches this part of the message from the URL, which is treated as a
    /// secret. The reply is that of a chunk: [`Step::Chunk`], or [`Step::Message`] for the last part.
    ///
    /// # Errors
    /// [`NotOffered`](Misuse::NotOffered) if the server does not offer BURL; [`InvalidArgument`](Misuse::InvalidArgument) if the text is not
    /// an absolute URL; [`WrongState`](Misuse::WrongState) as for [`bdat`](Self::bdat).
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
            ChunkEnd::More => self.core.replies.push(Step::Chunk, tx),
            ChunkEnd::Last => self.core.expect_message_replies(tx),
        }
        Ok(())
    }

    /// Gives XCLIENT: the client acts for another one. Once it is accepted the session restarts, also without its
    /// authentication. The client sends EHLO by itself, and [`Event::Capabilities`](super::Event) follows.
    ///
    /// # Errors
    /// [`NotOffered`](Misuse::NotOffered) if the server does not offer XCLIENT; [`WrongState`](Misuse::WrongState) if a transaction is open
    /// or a reply is pending, or on cleartext if the settings do not allow it; [`InvalidArgument`](Misuse::InvalidArgument)
    /// if there is no attribute, the server has not announced one of them, or the line would be longer than 512 bytes.
    /// Nothing was written then.
    pub fn xclient(&mut self, attributes: &Attributes<'_>, tx: &mut SendBuffer) -> Result<(), Error> {
        self.check_mail()?;
        self.core.check_alone()?;
        self.core.check_proxy(ProxyCommand::XClient, attributes)?;
        self.core.send(&Command::XClient(attributes.clone()), Step::XClient, tx);
        Ok(())
    }

    /// Gives XFORWARD: names the origin of the next message. The attributes are added to those of earlier commands, and
    /// apply until the end of the next transaction.
    ///
    /// # Errors
    /// As [`xclient`](Self::xclient); but other replies may be pending, as for [`mail`](Self::mail).
    pub fn xforward(&mut self, attributes: &Attributes<'_>, tx: &mut SendBuffer) -> Result<(), Error> {
        self.check_mail()?;
        self.core.check_proxy(ProxyCommand::XForward, attributes)?;
        self.core.send(&Command::XForward(attributes.clone()), Step::XForward, tx);
        Ok(())
    }
}

impl Core {
    /// Checks that no transaction is open, and that no pending command may open one.
    fn check_no_transaction(&self) -> Result<(), Error> {
        if self.transactions.is_open || !self.replies.is_empty() {
            Err(Misuse::WrongState.into())
        } else {
            Ok(())
        }
    }

    fn check_proxy(&self, command: ProxyCommand, attributes: &Attributes<'_>) -> Result<(), Error> {
        let extension = command.extension();
        self.check_offered(ExtensionSet::NONE.with(extension))?;
        let chained = command == ProxyCommand::XForward && self.replies.last() == Some(Step::XForward);
        if !chained {
            self.check_no_transaction()?;
        }
        let announced = |attribute| match (self.capabilities(), command) {
            (None, _) => false,
            (Some(server), ProxyCommand::XClient) => server.xclient().any(|one| one == attribute),
            (Some(server), ProxyCommand::XForward) => server.xforward().any(|one| one == attribute),
        };
        let good = attributes.command() == command
            && !attributes.is_empty()
            && attributes.iter().all(|(attribute, _)| announced(attribute));
        let words =
            attributes.iter().map(|(attribute, value)| attribute.name().len() + value.wire().len() + 2);
        let line = extension.keyword().len() + words.sum::<usize>() + 2;
        if good && line <= MAX_LINE { Ok(()) } else { Err(Misuse::InvalidArgument.into()) }
    }

    /// XCLIENT was accepted: the session restarts, and nothing is known about it.
    pub(super) fn restart(&mut self) {
        self.hello = ServerHello::Unknown;
        self.state = State::HelloDue;
    }
}
