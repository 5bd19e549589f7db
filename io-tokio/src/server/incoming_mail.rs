//! Whole messages, for programs that need no other command of SMTP.

use std::{fmt, net::SocketAddr};

use io_common::{ListenerTls, MailPolicy, MailReceiver, ReceivedMail};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::listener::{BoundPort, Server};
use crate::error::Error;

/// The messages that a server [receives](Server::receive_mail), each with its envelope. If it is dropped, the server answers
/// every message with a temporary failure.
pub struct IncomingMail {
    address: SocketAddr,
    // A session puts one message into it and waits for the answer, so the limit of connections limits it, and the policy
    // limits its bytes.
    messages: UnboundedReceiver<ReceivedMail>,
}

impl IncomingMail {
    /// Waits for the next message. `None`: the server has ended. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<ReceivedMail> {
        self.messages.recv().await
    }

    /// Returns the address that the server listens on.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

impl fmt::Debug for IncomingMail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IncomingMail").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Server {
    /// Receives whole messages on `address` (port 0: any free port). The policy says who may send them, to whom, and how
    /// large they may be. Each client waits until its message is accepted or rejected.
    ///
    /// # Errors
    /// The operating system refuses the address, or provides no thread to check passwords.
    pub async fn receive_mail(
        &mut self,
        address: SocketAddr,
        tls: ListenerTls,
        policy: MailPolicy,
    ) -> Result<IncomingMail, Error> {
        let port = BoundPort::bind(address).await?;
        let address = port.address().as_socket_addr().unwrap_or(address);
        let settings = policy.settings(tls);
        let (sender, messages) = unbounded_channel();
        // What cannot be sent is dropped, and so answered with a temporary failure.
        let receiver = MailReceiver::new(policy, move |mail| drop(sender.send(mail)))?;
        self.listen_on(port, None, &settings, move |_| receiver.handler())?;
        Ok(IncomingMail { address, messages })
    }
}
