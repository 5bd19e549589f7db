//! An SMTP client's program under attack: it logs in, sends one message and quits.
//!
//! This module is the application; the machine is the library's, and the server is elsewhere.

use std::sync::Arc;

use io_mio::SmtpClientProtocol;
use proto_mail::{Channel, Cleartext, Credentials, Error, Mechanism, Secure, SendBuffer};
use proto_smtp::Config;
use proto_smtp::client::{AuthOutcome, Client, Event, Outcome, Progress, Transaction};
use proto_smtp::types::{Address, Domain, Mail, Rcpt};

use super::imap_program::credentials;
use super::{Application, Next};
use crate::script;

/// The program and its next step.
#[derive(Debug)]
pub(crate) struct SmtpProgram {
    mechanism: Option<Mechanism>,
    password: String,
    transaction: Transaction,
    body: Vec<u8>,
    /// The offset of the unwritten rest of the body.
    writing: Option<usize>,
    shown: Vec<u8>,
}

/// How a client on one channel authenticates.
type Prove<C> = fn(&mut Client<C>, Mechanism, Credentials, &mut SendBuffer) -> Result<(), Error>;

impl Application for SmtpProgram {
    type Protocol = SmtpClientProtocol;

    fn new(config: &script::Config) -> Option<(Self, Arc<Config>)> {
        let name = Domain::parse(&config.ehlo).ok()?.into_owned();
        let from = Address::parse(&config.from).ok()?.into_owned();
        let rcpt = Address::parse(&config.rcpt).ok()?.into_owned();
        let size = config.body.len() as u64;
        let mechanism = config.auth.as_deref().map(|name| Mechanism::from_name(name.as_bytes()).unwrap());
        let program = Self {
            mechanism,
            password: config.password.clone(),
            transaction: Transaction::new(Mail::new(from)).recipient(Rcpt::new(rcpt)).in_one_chunk(size),
            body: config.body.clone(),
            writing: None,
            shown: Vec::new(),
        };
        Some((program, Arc::new(Config::default().name(name))))
    }

    fn cleartext(&mut self, event: Event<'_>, machine: &mut Client<Cleartext>, tx: &mut SendBuffer) -> Next {
        self.event(&event, machine, Client::<Cleartext>::danger_cleartext_authenticate, tx)
    }

    fn secure(&mut self, event: Event<'_>, machine: &mut Client<Secure>, tx: &mut SendBuffer) -> Next {
        self.event(&event, machine, Client::<Secure>::authenticate, tx)
    }

    fn rest(&mut self, machine: &mut Client<Secure>, tx: &mut SendBuffer) -> Option<Next> {
        // The second half of the message; there is time between the two.
        let from = self.writing.take()?;
        let written = machine.data_writer().and_then(|mut writer| {
            writer.write(&self.body[from..], tx)?;
            writer.finish(tx)
        });
        Some(written.map_or_else(|error| self.refused(error), |()| Next::GoOn))
    }

    fn shown(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.shown)
    }
}

impl SmtpProgram {
    fn event<C: Channel>(
        &mut self,
        event: &Event<'_>,
        client: &mut Client<C>,
        prove: Prove<C>,
        tx: &mut SendBuffer,
    ) -> Next {
        self.shown.extend(format!("{event:?}\n").into_bytes());
        let progress = match event {
            Event::Capabilities(extensions) => {
                let credentials = credentials(self.mechanism, &self.password);
                let offered = extensions.mechanisms();
                let mechanism = match self.mechanism {
                    Some(mechanism) => offered.contains(mechanism).then_some(mechanism),
                    None => offered.choose(offered, &credentials),
                };
                let Some(mechanism) = mechanism else { return Next::Fail };
                match prove(client, mechanism, credentials, tx) {
                    Ok(()) => return Next::GoOn,
                    // Then nothing else is sent either.
                    Err(error) => {
                        let without = self.transaction.start(client, tx);
                        self.shown.extend(format!("{without:?}\n").into_bytes());
                        return self.refused(error);
                    }
                }
            }
            Event::Greeting(_) => return Next::GoOn,
            Event::Auth(AuthOutcome::Accepted(_)) => self.transaction.start(client, tx),
            Event::Auth(_) => return Next::Fail,
            Event::Closed(_) if self.is_delivered() => return Next::Done,
            Event::Closed(_) => return Next::Fail,
            event => self.transaction.event(event, client, tx),
        };
        match progress {
            Ok(Progress::SendData) => self.begin(client, tx),
            Ok(Progress::Done) if self.is_delivered() => {
                client.quit(tx).map_or_else(|error| self.refused(error), |()| Next::GoOn)
            }
            Ok(Progress::Done) => Next::Fail,
            Ok(Progress::Continue) => Next::GoOn,
            Err(error) => self.refused(error),
        }
    }

    fn is_delivered(&self) -> bool {
        self.transaction.recipients().iter().all(|one| matches!(one.outcome(), Outcome::Delivered(_)))
    }

    /// Writes the first half of the message.
    fn begin<C: Channel>(&mut self, client: &mut Client<C>, tx: &mut SendBuffer) -> Next {
        let half = self.body.len() / 2;
        self.writing = Some(half);
        let written = client.data_writer().and_then(|mut writer| writer.write(&self.body[..half], tx));
        written.map_or_else(|error| self.refused(error), |()| Next::GoOn)
    }

    fn refused(&mut self, error: Error) -> Next {
        self.shown.extend(format!("{error}\n").into_bytes());
        Next::Fail
    }
}
