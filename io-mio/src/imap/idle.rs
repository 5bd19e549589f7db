//! IDLE: changes as they happen (RFC 2177).

use std::time::{Duration, Instant};

use io_common::client::{ClientError, ImapState};
use proto_imap::types::{Owned, Untagged};
use proto_mail::{Channel, Secure};

use super::client::ImapClient;

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
    /// Those of [`Client::idle`](proto_imap::client::Client::idle); [`ClientError::Imap`] if the server refuses; the
    /// connection or the session failed.
    pub fn idle(&mut self) -> Result<Idle<'_, C>, ClientError> {
        self.begin_idle()?;
        Ok(Idle { client: self })
    }

    fn begin_idle(&mut self) -> Result<(), ClientError> {
        let id = self.session.start(|state, client, tx| state.send_idle(client, tx))?;
        self.session.until(|event, state, _, _| state.idle_accepted(id, event))
    }
}

impl<C: Channel> Idle<'_, C> {
    /// Waits for the next change and returns it: `EXISTS`, `EXPUNGE` and others. Changes of a message's flags are not
    /// among them; fetch the flags to learn them.
    ///
    /// # Errors
    /// The server refuses to continue IDLE; the connection or the session failed.
    #[expect(clippy::should_implement_trait, reason = "it fails, and does not end")]
    pub fn next(&mut self) -> Result<Owned<Untagged<'static>>, ClientError> {
        loop {
            if let Some(change) = self.next_until(None)? {
                return Ok(change);
            }
        }
    }

    /// As [`next`](Self::next), but returns `None` if there is no change within this time.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    pub fn next_within(&mut self, limit: Duration) -> Result<Option<Owned<Untagged<'static>>>, ClientError> {
        self.next_until(Instant::now().checked_add(limit))
    }

    /// Returns the next change; `None` when the time has come.
    fn next_until(&mut self, time: Option<Instant>) -> Result<Option<Owned<Untagged<'static>>>, ClientError> {
        loop {
            if !self.client.session.state.is_idling() {
                self.client.begin_idle()?;
            }
            let session = &mut self.client.session;
            let change = match time {
                Some(time) => session.until_time(time, |event, _, _, _| ImapState::idle_change(event))?,
                None => Some(session.until(|event, _, _, _| ImapState::idle_change(event))?),
            };
            match change {
                // The server has ended IDLE.
                Some(None) => {}
                Some(change) => return Ok(change),
                None => return Ok(None),
            }
        }
    }

    /// Ends IDLE and waits for the server's confirmation.
    ///
    /// # Errors
    /// The connection or the session failed.
    pub fn done(self) -> Result<(), ClientError> {
        self.client.session.settle()
    }
}
