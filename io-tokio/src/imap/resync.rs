//! The resynchronisation of a mailbox (RFC 7162).

use proto_imap::resync::{Resync, ResyncEvent, ResyncedMailbox};
use proto_mail::Channel;

use super::client::ImapClient;
use crate::error::Error;

impl<C: Channel> ImapClient<C> {
    /// Selects a mailbox and finds out what has changed in it since the client last saw it: by QRESYNC or CONDSTORE if the
    /// server offers them, and from a list of all messages otherwise. Passes each difference to `found`, and returns the new
    /// state, from which the next resynchronisation starts.
    ///
    /// ```no_run
    /// use proto_imap::resync::{KnownMailbox, Resync, ResyncEvent};
    /// use proto_imap::types::MailboxName;
    ///
    /// # async fn example(imap: &mut io_tokio::ImapClient, known: KnownMailbox) -> Result<KnownMailbox, io_tokio::Error> {
    /// let resync = Resync::select(MailboxName::INBOX, known);
    /// let done = imap.resync(resync, |event| match event {
    ///     ResyncEvent::Reset => println!("everything is new"),
    ///     ResyncEvent::New(message) => println!("{} is new", message.uid),
    ///     ResyncEvent::Changed(message) => println!("{} has {:?}", message.uid, message.flags),
    ///     ResyncEvent::Vanished(uids) => println!("{uids:?} are gone"),
    ///     _ => {}
    /// }).await?;
    /// # Ok(done.mailbox)
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Imap`] if the server rejects a command; [`Error::TooManyMessages`]; those of [`Resync::start`];
    /// the connection or the session failed. What was passed to `found` before holds.
    pub async fn resync(
        &mut self,
        mut resync: Resync,
        mut found: impl FnMut(ResyncEvent),
    ) -> Result<ResyncedMailbox, Error> {
        self.session.start(|state, client, tx| state.start_resync(&mut resync, client, tx)).await?;
        self.session
            .until(|event, state, client, tx| state.resync_step(&mut resync, &mut found, &event, client, tx))
            .await
    }
}
