//! The thin runner of a sync for blocking threads.

use std::time::{Duration, Instant};

use io_mio::Connector;
use mailstore::SyncStore;
use proto_mail::{Cleartext, Secure};

use super::action::{SyncAction, SyncEnd, SyncJob};
use super::engine::SyncEngine;
use super::event::SyncEvent;
use crate::blocking::StopCheck;
use crate::endpoint::{CredentialSource, Encryption, Endpoint};
use crate::error::Error;
use crate::imap::{ImapChannel, Session};

/// The longest time between two checks whether to stop while the run waits.
const CHECK_INTERVAL: Duration = Duration::from_millis(50);

/// Runs a sync. Blocks until it is over. `observer` is told what happens; `stop` ends the run early, and what was received
/// is stored.
pub fn run(
    endpoint: &Endpoint,
    connector: &Connector,
    credentials: &dyn CredentialSource,
    store: &dyn SyncStore,
    job: SyncJob,
    stop: &StopCheck,
    observer: &mut dyn FnMut(SyncEvent),
) -> SyncEnd {
    let runner = Runner { endpoint, connector, credentials, store, stop, observer };
    let engine = SyncEngine::new(endpoint, job);
    if endpoint.encryption_mode() == Encryption::Required {
        runner.run::<Secure>(engine)
    } else {
        runner.run::<Cleartext>(engine)
    }
}

struct Runner<'r> {
    endpoint: &'r Endpoint,
    connector: &'r Connector,
    credentials: &'r dyn CredentialSource,
    store: &'r dyn SyncStore,
    stop: &'r StopCheck,
    observer: &'r mut dyn FnMut(SyncEvent),
}

impl Runner<'_> {
    fn run<C: ImapChannel>(self, mut engine: SyncEngine) -> SyncEnd {
        let mut session: Option<Session<C>> = None;
        loop {
            while let Some(event) = engine.take_event() {
                (self.observer)(event);
            }
            match engine.next_action() {
                SyncAction::Connect => {
                    drop(session.take());
                    session = self.connect(&mut engine);
                }
                SyncAction::Drive => {
                    if let Some(session) = &mut session
                        && let Err(error) = session.run(&mut engine, || self.credentials.renewed_token())
                    {
                        engine.session_failed(error);
                    }
                }
                SyncAction::Store(job) => engine.stored(job.run(self.store)),
                SyncAction::Wait(time) => {
                    if let Err(error) = self.sleep(time) {
                        engine.stop(error);
                    }
                }
                SyncAction::Done(end) => {
                    if let (Some(session), SyncEnd::Complete | SyncEnd::Incomplete) = (session, &end) {
                        session.log_out();
                    }
                    return end;
                }
            }
        }
    }

    fn connect<C: ImapChannel>(&self, engine: &mut SyncEngine) -> Option<Session<C>> {
        if let Err(error) = self.stop.check() {
            engine.stop(error);
            return None;
        }
        let mut session = match C::open(self.endpoint, self.connector) {
            Ok(session) => session,
            Err(error) => {
                engine.connect_failed(error);
                return None;
            }
        };
        session.stop_with(self.stop);
        match self.credentials.credentials() {
            Ok(credentials) => engine.connected(credentials),
            Err(error) => engine.stop(error),
        }
        Some(session)
    }

    fn sleep(&self, time: Duration) -> Result<(), Error> {
        let until = Instant::now() + time;
        loop {
            self.stop.check()?;
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            std::thread::sleep(left.min(CHECK_INTERVAL));
        }
    }
}
