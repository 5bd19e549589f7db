//! The messages of a run as delivery requests, one after the other.

use mailclient::delivery::{DeliveryReport, DeliveryRequest, Route};
use proto_mail::Channel;

use super::envelope::Envelope;
use super::job::Job;
use super::message_reader::{MessageReader, OpenContents};
use super::run_state::RunState;
use super::source::Sources;
use super::spool::{MessageInfo, Spool};
use crate::command_error::CommandError;

/// The messages to send.
#[derive(Debug)]
pub(super) enum Messages {
    /// A single message; `None` once it was requested.
    Single(Option<Spool>),
    /// All messages of these sources.
    Many(Sources),
}

impl Messages {
    /// Returns the number of bytes to send, as far as it is known.
    pub(super) fn total_bytes(&self) -> u64 {
        match self {
            Self::Single(spool) => spool.as_ref().map_or(0, |spool| spool.info.size),
            Self::Many(sources) => sources.total_bytes,
        }
    }

    fn is_done(&self) -> bool {
        match self {
            Self::Single(spool) => spool.is_none(),
            Self::Many(sources) => sources.is_done(),
        }
    }
}

/// The delivery requests of a run, all with the same envelope. A message that cannot be sent is reported at once, and
/// does not stop the others.
pub(super) struct Requests<'a, C: Channel> {
    envelope: &'a Envelope,
    messages: Messages,
    run: &'a RunState,
    route: Route<C, CommandError>,
}

impl<'a, C: Channel> Requests<'a, C> {
    pub(super) const fn new(
        envelope: &'a Envelope,
        messages: Messages,
        run: &'a RunState,
        route: Route<C, CommandError>,
    ) -> Self {
        Self { envelope, messages, run, route }
    }

    /// Returns whether every message was read.
    pub(super) fn is_done(&self) -> bool {
        self.messages.is_done()
    }

    fn request(
        &self,
        source: Option<String>,
        info: &MessageInfo,
        reader: MessageReader,
    ) -> Result<DeliveryRequest<Job, MessageReader, Route<C, CommandError>>, CommandError> {
        let contents = reader.closable();
        let recipients = self.envelope.recipients_of(&info.headers)?;
        let mut message = self.envelope.message(info, &recipients, reader)?;
        let mut keys = Vec::new();
        if let Some(journal) = self.run.journal() {
            keys = journal.keys(self.envelope.sender(), &recipients, info.digest);
            for (number, status, diagnostic) in journal.recall(&keys) {
                message = message.already_decided(number, status, diagnostic);
            }
        }
        Ok(DeliveryRequest { id: Job::new(source, keys, contents), message, route: self.route.clone() })
    }
}

impl<C: Channel> Iterator for Requests<'_, C> {
    type Item = DeliveryRequest<Job, MessageReader, Route<C, CommandError>>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (source, request) = match &mut self.messages {
                Messages::Single(spool) => {
                    let spool = spool.take()?;
                    let info = spool.info.clone();
                    (None, self.request(None, &info, MessageReader::held(spool)))
                }
                Messages::Many(sources) => {
                    let (location, spool) = sources.next()?;
                    let source = Some(location.to_string());
                    let request = spool.and_then(|spool| {
                        let info = spool.info.clone();
                        self.request(source.clone(), &info, MessageReader::located(location, spool))
                    });
                    (source, request)
                }
            };
            match request {
                Ok(request) => return Some(request),
                Err(failure) => {
                    let report = DeliveryReport::new(None, self.envelope.recipients.iter().cloned());
                    let job = Job::new(source, Vec::new(), OpenContents::default());
                    self.run.invalid(&job, report, &failure);
                }
            }
        }
    }
}
