//! An IMAP client's program under attack: it logs in, opens a mailbox, fetches its messages and logs out.
//!
//! This module is the application; the machine is the library's, and the server is elsewhere.

use std::fmt::Debug;
use std::sync::Arc;

use io_mio::ImapClientProtocol;
use proto_imap::Config;
use proto_imap::client::{AuthOutcome, Client, CommandId, Event, LoginMethod};
use proto_imap::types::{
    Command, Condition, FetchAttribute, FetchCommand, LazyList, MailboxName, Section, SelectCommand,
    SequenceSet,
};
use proto_mail::{Channel, Cleartext, Credentials, Error, Mechanism, Secure, SendBuffer};

use super::{Application, Next};
use crate::script::{self, Security, USER};

/// The program and its next step.
#[derive(Debug)]
pub(crate) struct ImapProgram {
    mailbox: String,
    credentials: Option<Credentials>,
    method: LoginMethod,
    doing: Doing,
    /// An incomplete message must not be shown.
    body: Vec<u8>,
    shown: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doing {
    LoggingIn,
    Opening(CommandId),
    Fetching(CommandId),
    Leaving,
}

/// How a client on one channel authenticates.
type Prove<C> = fn(&mut Client<C>, LoginMethod, &Credentials, &mut SendBuffer) -> Result<CommandId, Error>;

impl Application for ImapProgram {
    type Protocol = ImapClientProtocol;

    fn new(config: &script::Config) -> Option<(Self, Arc<Config>)> {
        let mechanism = config.auth.as_deref().map(|name| Mechanism::from_name(name.as_bytes()).unwrap());
        let program = Self {
            mailbox: config.mailbox.clone(),
            credentials: Some(credentials(mechanism, &config.password)),
            method: mechanism.map_or(LoginMethod::Strongest, LoginMethod::Mechanism),
            doing: Doing::LoggingIn,
            body: Vec::new(),
            shown: Vec::new(),
        };
        let settings = match config.security {
            // The user has allowed every danger, so only the machine protects the credentials.
            Security::Plaintext => Config::default().danger_cleartext(),
            _ => Config::default(),
        };
        Some((program, Arc::new(settings)))
    }

    fn cleartext(&mut self, event: Event<'_>, machine: &mut Client<Cleartext>, tx: &mut SendBuffer) -> Next {
        self.event(&event, machine, Client::<Cleartext>::danger_cleartext_authenticate, tx)
    }

    fn secure(&mut self, event: Event<'_>, machine: &mut Client<Secure>, tx: &mut SendBuffer) -> Next {
        self.event(&event, machine, Client::<Secure>::authenticate, tx)
    }

    fn rest(&mut self, _: &mut Client<Secure>, _: &mut SendBuffer) -> Option<Next> {
        None
    }

    fn shown(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.shown)
    }
}

/// The program's credentials.
pub(crate) fn credentials(mechanism: Option<Mechanism>, secret: &str) -> Credentials {
    let password = Credentials::password(USER, secret.as_bytes());
    if mechanism.is_none_or(|mechanism| mechanism.accepts(&password)) {
        password
    } else {
        Credentials::bearer(USER, secret.to_owned())
    }
}

impl ImapProgram {
    fn event<C: Channel>(
        &mut self,
        event: &Event<'_>,
        client: &mut Client<C>,
        prove: Prove<C>,
        tx: &mut SendBuffer,
    ) -> Next {
        self.show(event);
        match event {
            Event::Capabilities if self.doing == Doing::LoggingIn => self.log_in(client, prove, tx),
            Event::Auth(AuthOutcome::Accepted { .. }) => self.open(client, tx),
            Event::Auth(_) => Next::Fail,
            Event::Completed { id, status } => self.completed(*id, status.condition, client, tx),
            Event::Closed if self.doing == Doing::Leaving => Next::Done,
            Event::Closed => Next::Fail,
            _ => Next::GoOn,
        }
    }

    fn show(&mut self, event: &Event<'_>) {
        match event {
            Event::BodyChunk(chunk) => self.body.extend(*chunk),
            Event::BodyEnd => self.shown.append(&mut self.body),
            // Bytes that failed to parse are not data.
            Event::Unparsed(_) => self.line(&"a response that cannot be read"),
            event => self.line(event),
        }
        let status = match event {
            Event::Greeting(status) | Event::Status(status) | Event::Bye(status) => status,
            Event::Completed { status, .. } => status,
            Event::Auth(outcome) => outcome.status(),
            _ => return,
        };
        self.shown.extend(format!("{}\n", status.text).into_bytes());
    }

    fn line(&mut self, what: &impl Debug) {
        // A flood is not kept.
        if self.shown.len() < 1 << 16 {
            self.shown.extend(format!("{what:?}\n").into_bytes());
        }
    }

    fn log_in<C: Channel>(&mut self, client: &mut Client<C>, prove: Prove<C>, tx: &mut SendBuffer) -> Next {
        // After PREAUTH the client does not know its identity.
        if client.state().is_none_or(|state| state.is_authenticated()) {
            return Next::Fail;
        }
        let Some(credentials) = self.credentials.take() else { return Next::GoOn };
        match prove(client, self.method, &credentials, tx) {
            Ok(_) => Next::GoOn,
            Err(error) => self.refused(error),
        }
    }

    fn open<C: Channel>(&mut self, client: &mut Client<C>, tx: &mut SendBuffer) -> Next {
        let mailbox = self.mailbox.clone();
        let examine = Command::Examine(SelectCommand::new(MailboxName::new(&mailbox)));
        match client.send(&examine, tx) {
            Ok(id) => self.doing = Doing::Opening(id),
            Err(error) => return self.refused(error),
        }
        Next::GoOn
    }

    fn completed<C: Channel>(
        &mut self,
        id: CommandId,
        condition: Condition,
        client: &mut Client<C>,
        tx: &mut SendBuffer,
    ) -> Next {
        if condition != Condition::Ok {
            return Next::Fail;
        }
        let given = if self.doing == Doing::Opening(id) {
            let attributes = [FetchAttribute::peek(Section::FULL)];
            let fetch = FetchCommand::new(SequenceSet::from(1..=9), LazyList::new(&attributes));
            client.send(&Command::Fetch(fetch), tx).map(Doing::Fetching)
        } else if self.doing == Doing::Fetching(id) {
            client.logout(tx).map(|_| Doing::Leaving)
        } else {
            return Next::GoOn;
        };
        match given {
            Ok(doing) => self.doing = doing,
            Err(error) => return self.refused(error),
        }
        Next::GoOn
    }

    fn refused(&mut self, error: Error) -> Next {
        self.shown.extend(format!("{error}\n").into_bytes());
        Next::Fail
    }
}
