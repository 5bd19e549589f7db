//! A client under TLS with a scripted server: the test feeds the server's lines one by one and checks the client's
//! reaction.

use std::sync::Arc;

use proto_imap::Config;
use proto_imap::client::{Client, LoginMethod};
use proto_imap::types::Command;
use proto_mail::{Credentials, Error, RecvBuffer, Secure, SendBuffer, WaitFor};

/// The client and its buffers.
pub struct Talk {
    pub client: Client<Secure>,
    pub rx: RecvBuffer,
    pub tx: SendBuffer,
}

impl Talk {
    /// Creates a client before the greeting.
    pub fn silent() -> Self {
        let client = Client::<Secure>::new(Arc::new(Config::default()), Secure::trusted_local());
        Self { client, rx: RecvBuffer::new(), tx: SendBuffer::new() }
    }

    /// Creates a client after a greeting, `OK` or `PREAUTH`, that lists these capabilities.
    pub fn greeted(greeting: &str, capabilities: &str) -> Self {
        let mut talk = Self::silent();
        talk.hear(&format!("* {greeting} [CAPABILITY IMAP4rev1 {capabilities}] ready\r\n")).unwrap();
        talk
    }

    /// Receives this text from the server. Returns the application's events.
    pub fn hear(&mut self, text: &str) -> Result<Vec<String>, Error> {
        self.rx.extend(text.as_bytes());
        let mut events = Vec::new();
        while let Some(event) = self.client.next_event(&mut self.rx, &mut self.tx)? {
            events.push(format!("{event:?}"));
        }
        Ok(events)
    }

    /// Closes the connection from the server's side.
    pub fn close(&mut self) -> Result<Vec<String>, Error> {
        self.rx.close();
        self.hear("")
    }

    pub fn send(&mut self, command: &Command<'_>) {
        self.client.send(command, &mut self.tx).unwrap();
    }

    pub fn authenticate(&mut self, credentials: Credentials, method: LoginMethod) -> Result<(), Error> {
        self.client.authenticate(method, &credentials, &mut self.tx).map(|_| ())
    }

    /// Sends the client's output and returns it.
    pub fn said(&mut self) -> String {
        String::from_utf8(self.tx.take()).unwrap()
    }

    pub fn waits_for(&self) -> WaitFor {
        self.client.wait().awaited
    }
}
