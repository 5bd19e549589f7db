//! IDLE: changes as they happen (RFC 2177).

use io_common::client::ImapState;
use proto_imap::types::{Owned, Untagged};
use proto_mail::{Channel, Secure};

use super::client::ImapClient;
use crate::error::Error;

/// IDLE in progress. [`next`](Self::next) renews it before the server would end it (RFC 2177: 29 minutes).
///
/// Dropping it ends IDLE at the next command.
#[derive(Debug)]
#[must_use = "call `next` for the changes, and `done` at the end"]
pub struct Idle<'c, C: Channel = Secure> {
    client: &'c mut ImapClient<C>,
}

impl<C: Channel> ImapClient<C> {
    /// Starts IDLE: the server reports changes as they happen.
    ///
    /// # Errors
    /// Those of [`Client::idle`](proto_imap::client::Client::idle); [`Error::Imap`] if the server refuses; the connection
    /// or the session failed.
    pub async fn idle(&mut self) -> Result<Idle<'_, C>, Error> {
        self.begin_idle().await?;
        Ok(Idle { client: self })
    }

    async fn begin_idle(&mut self) -> Result<(), Error> {
        let id = self.session.start(|state, client, tx| state.send_idle(client, tx)).await?;
        self.session.until(|event, state, _, _| state.idle_accepted(id, event)).await
    }
}

impl<C: Channel> Idle<'_, C> {
    /// Returns the next change: `EXISTS`, `EXPUNGE` and others. Changes of a message's flags are not among them; fetch the
    /// flags to learn them.
    ///
    /// # Errors
    /// The server refuses to continue IDLE; the connection or the session failed.
    pub async fn next(&mut self) -> Result<Owned<Untagged<'static>>, Error> {
        loop {
            if !self.client.session.state.is_idling() {
                self.client.begin_idle().await?;
            }
            let change = self.client.session.until(|event, _, _, _| ImapState::idle_change(event));
            if let Some(change) = change.await? {
                return Ok(change);
            }
        }
    }

    /// Ends IDLE and waits for the server's confirmation.
    ///
    /// # Errors
    /// The connection or the session failed.
    pub async fn done(self) -> Result<(), Error> {
        self.client.session.settle().await
    }
}
