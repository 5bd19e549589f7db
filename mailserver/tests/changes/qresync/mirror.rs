//! A client that mirrors INBOX: the client machine and the resynchronisation, over a session without sockets.

use std::collections::BTreeMap;
use std::sync::Arc;

use mailserver::ServerContext;
use proto_imap::Config;
use proto_imap::client::{Client, Event};
use proto_imap::resync::{KnownMailbox, Resync, ResyncEvent, ResyncMethod, ResyncedMailbox};
use proto_imap::types::{Command, MailboxName};
use proto_mail::{Credentials, RecvBuffer, Secure, SendBuffer};

use crate::pipe::Session;
use crate::session;

/// What a client has of a mailbox between its sessions.
#[derive(Default)]
pub(crate) struct Mirror {
    pub(crate) known: KnownMailbox,
    /// The flags of each message, sorted.
    pub(crate) messages: BTreeMap<u32, Vec<String>>,
    /// Capabilities of the server that the client ignores.
    pub(crate) hidden: &'static [&'static str],
}

/// What a resynchronisation cost.
#[derive(Debug, Default)]
pub(crate) struct Cost {
    pub(crate) sent: usize,
    pub(crate) received: usize,
    /// How often the client had to wait for the server.
    pub(crate) round_trips: usize,
}

impl Mirror {
    /// Brings the mirror up to date in a session of its own, from the greeting to the end of LOGOUT.
    pub(crate) fn sync(&mut self, context: &Arc<ServerContext>) -> (ResyncMethod, Cost) {
        let config = Config::default().hide_capabilities(self.hidden.iter().copied());
        let mut connection = Connection::new(session(context), config);
        connection.until(|event, client, tx| {
            if matches!(event, Event::Capabilities) {
                let credentials = Credentials::password("ann", "a password");
                client.authenticate(proto_imap::client::LoginMethod::Strongest, &credentials, tx).unwrap();
            }
            matches!(event, Event::Auth(_))
        });
        connection.until(|_, client, _| client.capabilities().is_some());
        let mut resync = Resync::examine(MailboxName::INBOX, std::mem::take(&mut self.known));
        resync.start(&mut connection.client, &mut connection.tx).unwrap();
        let mut done = None;
        connection.until(|event, client, tx| {
            resync.take(&event, client, tx).unwrap();
            while let Some(event) = resync.next_event() {
                done = done.take().or_else(|| self.apply(event));
            }
            done.is_some()
        });
        let done = done.unwrap();
        self.known = done.mailbox;
        assert!(
            self.known.uids.iter().eq(self.messages.keys().copied()),
            "the state has the UIDs of the mirror"
        );
        connection.client.send(&Command::Logout, &mut connection.tx).unwrap();
        connection.until(|event, _, _| matches!(event, Event::Closed));
        (done.method, connection.cost)
    }

    fn apply(&mut self, event: ResyncEvent) -> Option<ResyncedMailbox> {
        match event {
            ResyncEvent::Reset => self.messages.clear(),
            ResyncEvent::New(message) => {
                let known = self.messages.insert(message.uid, flags(&message));
                assert!(known.is_none(), "{} is not new", message.uid);
            }
            ResyncEvent::Changed(message) => {
                let known = self.messages.insert(message.uid, flags(&message));
                assert!(known.is_some(), "{} is new", message.uid);
            }
            ResyncEvent::Vanished(uids) => {
                for uid in uids.iter() {
                    assert!(self.messages.remove(&uid).is_some(), "{uid} was not known");
                }
            }
            ResyncEvent::Done(done) => return Some(*done),
            other => panic!("{other:?}"),
        }
        None
    }
}

fn flags(message: &proto_imap::resync::ResyncedMessage) -> Vec<String> {
    let mut flags: Vec<String> = message.flags.view().iter().map(|flag| flag.to_string()).collect();
    flags.retain(|flag| flag != "\\Recent");
    flags.sort_unstable();
    flags
}

/// The client's end of a session.
struct Connection {
    session: Session,
    client: Client<Secure>,
    rx: RecvBuffer,
    tx: SendBuffer,
    cost: Cost,
}

impl Connection {
    fn new(session: Session, config: Config) -> Self {
        let client = Client::<Secure>::new(config, Secure::trusted_local());
        Self { session, client, rx: RecvBuffer::new(), tx: SendBuffer::new(), cost: Cost::default() }
    }

    /// Passes events to `take` until it returns true.
    fn until(&mut self, mut take: impl FnMut(Event<'_>, &mut Client<Secure>, &mut SendBuffer) -> bool) {
        loop {
            while let Some(event) = self.client.next_event(&mut self.rx, &mut self.tx).unwrap() {
                if take(event, &mut self.client, &mut self.tx) {
                    return;
                }
            }
            let output = self.tx.take();
            self.cost.sent += output.len();
            self.cost.round_trips += usize::from(!output.is_empty() || self.cost.received == 0);
            let received = self.session.answer(&output, |answer| answer.ends_with(b"\r\n"));
            self.cost.received += received.len();
            self.rx.extend(&received);
        }
    }
}
