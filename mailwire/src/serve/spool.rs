//! A message on its way in: bytes come on the loop, and a worker writes them to the store's upload.
//!
//! Small messages stay here until they are complete and cost one step on a worker; of a large one no more than some
//! tens of kilobytes are held, whatever its size. This file does not know which protocol the bytes came by.

use std::sync::Arc;

use io_mio::{JobGroup, JobHandle, SessionHandle, Workers};
use mailstore::{Store, Upload};

/// What is gathered before a worker writes it, and how much may wait while one is writing, in octets.
const GATHER: usize = 32 * 1024;
const HOLD: usize = 64 * 1024;

/// A message on its way in.
#[derive(Debug)]
pub(super) struct Spool {
    gathered: Vec<u8>,
    state: State,
    size: u64,
}

#[derive(Debug)]
enum State {
    /// Nothing was written yet.
    New,
    Here(Box<Upload>),
    Writing(JobHandle<mailstore::Result<Upload>>),
    Failed(mailstore::Error),
}

/// Whether more octets are welcome now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    Yes,
    /// Not before the worker is done.
    Wait,
}

impl Spool {
    pub(super) fn new() -> Self {
        Self { gathered: Vec::new(), state: State::New, size: 0 }
    }

    /// How many octets came.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Takes octets in. They are taken whatever the answer is; a failure shows at the end.
    pub(super) fn push(&mut self, octets: &[u8], writer: &Writer<'_>) -> Room {
        self.size = self.size.saturating_add(octets.len() as u64);
        if matches!(self.state, State::Failed(_)) {
            // The rest is read and dropped, so that the session stays in step.
            return Room::Yes;
        }
        self.gathered.extend_from_slice(octets);
        self.advance(writer)
    }

    /// The session was woken: the worker may be done.
    pub(super) fn woken(&mut self, writer: &Writer<'_>) -> Room {
        self.advance(writer)
    }

    fn advance(&mut self, writer: &Writer<'_>) -> Room {
        if let State::Writing(later) = &mut self.state
            && let Some(written) = later.take()
        {
            self.state = match written {
                Ok(Ok(upload)) => State::Here(Box::new(upload)),
                Ok(Err(error)) => State::Failed(error),
                Err(error) => State::Failed(mailstore::Error::Io(std::io::Error::other(error.to_string()))),
            };
        }
        match &self.state {
            State::Failed(_) => {
                self.gathered = Vec::new();
                return Room::Yes;
            }
            State::New | State::Here(_) if self.gathered.len() >= GATHER => self.write(writer),
            State::New | State::Here(_) | State::Writing(_) => {}
        }
        if self.gathered.len() >= HOLD { Room::Wait } else { Room::Yes }
    }

    fn write(&mut self, writer: &Writer<'_>) {
        let octets = std::mem::take(&mut self.gathered);
        let upload = match std::mem::replace(&mut self.state, State::New) {
            State::Here(upload) => Some(*upload),
            _ => None,
        };
        let store = Arc::clone(writer.store);
        let later =
            writer.workers.run(writer.group, writer.remote.clone(), move || write(&*store, upload, &octets));
        self.state = match later {
            Ok(later) => State::Writing(later),
            Err(_) => State::Failed(mailstore::Error::Busy),
        };
    }

    /// The message is complete: what is to be done on a worker to have the whole upload. `None` while one is still
    /// writing.
    pub(super) fn finish(
        &mut self,
    ) -> Option<impl FnOnce(&dyn Store) -> mailstore::Result<Upload> + Send + use<>> {
        if matches!(self.state, State::Writing(_)) {
            return None;
        }
        let octets = std::mem::take(&mut self.gathered);
        let state = std::mem::replace(&mut self.state, State::New);
        Some(move |store: &dyn Store| match state {
            State::Failed(error) => Err(error),
            State::Here(upload) => write(store, Some(*upload), &octets),
            State::New | State::Writing(_) => write(store, None, &octets),
        })
    }
}

/// Who writes.
pub(super) struct Writer<'w> {
    pub(super) store: &'w Arc<dyn Store>,
    pub(super) workers: &'w Workers,
    pub(super) group: JobGroup,
    pub(super) remote: SessionHandle,
}

fn write(store: &dyn Store, upload: Option<Upload>, octets: &[u8]) -> mailstore::Result<Upload> {
    let mut upload = match upload {
        Some(upload) => upload,
        None => store.upload()?,
    };
    upload.write(octets)?;
    Ok(upload)
}
