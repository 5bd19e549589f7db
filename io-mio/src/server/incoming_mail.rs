//! Whole messages, for programs that need no other command of SMTP.

use std::{
    fmt,
    net::SocketAddr,
    sync::mpsc::{Receiver, channel},
    time::Duration,
};

use io_common::{Error, ListenerTls, MailPolicy, MailReceiver, ReceivedMail};

use super::{listener::BoundPort, reactor::Reactor};

/// The messages that a reactor [receives](Reactor::receive_mail), each with its envelope, for another thread. The iterator
/// blocks, and ends when the reactor is dropped. If it is dropped, the server answers every message with a temporary failure.
pub struct IncomingMail {
    address: SocketAddr,
    // A session puts one message into it and waits for the answer, so the limit of connections limits it, and the policy
    // limits its bytes.
    messages: Receiver<ReceivedMail>,
}

impl IncomingMail {
    /// Waits for the next message, `limit` at most.
    pub fn next_within(&mut self, limit: Duration) -> Option<ReceivedMail> {
        self.messages.recv_timeout(limit).ok()
    }

    /// Returns the address that the reactor listens on.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Iterator for IncomingMail {
    type Item = ReceivedMail;

    fn next(&mut self) -> Option<ReceivedMail> {
        self.messages.recv().ok()
    }
}

impl fmt::Debug for IncomingMail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IncomingMail").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Reactor {
    /// Receives whole messages on `address` (port 0: any free port). The policy says who may send them, to whom, and how
    /// large they may be. Each client waits until its message is accepted or rejected. Take the messages on another thread
    /// than the one that runs the reactor.
    ///
    /// # Errors
    /// The operating system refuses the address, there are more than 63 listeners, or there is no thread to check passwords.
    pub fn receive_mail(
        &mut self,
        address: SocketAddr,
        tls: ListenerTls,
        policy: MailPolicy,
    ) -> Result<IncomingMail, Error> {
        let port = BoundPort::bind(address)?;
        let address = port.address().as_socket_addr().unwrap_or(address);
        let settings = policy.settings(tls);
        let (sender, messages) = channel();
        // What cannot be sent is dropped, and so answered with a temporary failure.
        let receiver = MailReceiver::new(policy, move |mail| drop(sender.send(mail)))?;
        self.listen_on(port, None, &settings, move |_| receiver.handler())?;
        Ok(IncomingMail { address, messages })
    }
}
