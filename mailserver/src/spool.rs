//! Receives a message: the session passes its bytes on, and a worker writes them to the store.
//!
//! A small message stays in memory until it is complete, and takes one job on a worker. Of a large message at most
//! some tens of kilobytes are held. The spool does not depend on the protocol.

use std::sync::Arc;

use io_common::{JobGroup, JobHandle, SessionHandle, Workers};
use mailstore::{Store, Upload};

/// How many bytes are collected before a worker writes them, and how many may wait while a worker is writing.
const WRITE_SIZE: usize = 32 * 1024;
const BUFFER_LIMIT: usize = 64 * 1024;

/// A message that is being received.
#[derive(Debug)]
pub(super) struct Spool {
    buffer: Vec<u8>,
    state: State,
    size: u64,
}

#[derive(Debug)]
enum State {
    /// Nothing was written yet.
    New,
    Idle(Box<Upload>),
    Writing(JobHandle<mailstore::Result<Upload>>),
    Failed(mailstore::Error),
}

/// Whether the session should pass on more bytes now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Readiness {
    Ready,
    /// Not until the worker has finished.
    Wait,
}

impl Spool {
    pub(super) fn new() -> Self {
        Self { buffer: Vec::new(), state: State::New, size: 0 }
    }

    /// Returns the number of bytes received.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Adds bytes. They are accepted in any case; an error is reported at the end.
    pub(super) fn push(&mut self, bytes: &[u8], writer: &SpoolWriter<'_>) -> Readiness {
        self.size = self.size.saturating_add(bytes.len() as u64);
        if matches!(self.state, State::Failed(_)) {
            // The rest is read and discarded, so that the session stays in sync.
            return Readiness::Ready;
        }
        self.buffer.extend_from_slice(bytes);
        self.advance(writer)
    }

    /// Continues after a wake-up: the worker may have finished.
    pub(super) fn resume(&mut self, writer: &SpoolWriter<'_>) -> Readiness {
        self.advance(writer)
    }

    fn advance(&mut self, writer: &SpoolWriter<'_>) -> Readiness {
        if let State::Writing(job) = &mut self.state
            && let Some(written) = job.take()
        {
            self.state = match written {
                Ok(Ok(upload)) => State::Idle(Box::new(upload)),
                Ok(Err(error)) => State::Failed(error),
                Err(error) => State::Failed(mailstore::Error::Io(std::io::Error::other(error.to_string()))),
            };
        }
        match &self.state {
            State::Failed(_) => {
                self.buffer = Vec::new();
                return Readiness::Ready;
            }
            State::New | State::Idle(_) if self.buffer.len() >= WRITE_SIZE => self.write(writer),
            State::New | State::Idle(_) | State::Writing(_) => {}
        }
        if self.buffer.len() >= BUFFER_LIMIT { Readiness::Wait } else { Readiness::Ready }
    }

    fn write(&mut self, writer: &SpoolWriter<'_>) {
        let bytes = std::mem::take(&mut self.buffer);
        let upload = match std::mem::replace(&mut self.state, State::New) {
            State::Idle(upload) => Some(*upload),
            _ => None,
        };
        let store = Arc::clone(writer.store);
        let job =
            writer.workers.run(writer.group, writer.session.clone(), move || write(&*store, upload, &bytes));
        self.state = match job {
            Ok(job) => State::Writing(job),
            Err(_) => State::Failed(mailstore::Error::Busy),
        };
    }

    /// Returns whether a worker is writing.
    pub(super) fn is_writing(&self) -> bool {
        matches!(self.state, State::Writing(_))
    }

    /// Continues with an upload that the job of [`finish`](Self::finish) returned, after the caller wrote to it.
    pub(super) fn continue_with(upload: Upload) -> Self {
        Self { buffer: Vec::new(), size: upload.size(), state: State::Idle(Box::new(upload)) }
    }

    /// Returns the job that completes the upload, to be run on a worker; `None` while a worker is still writing.
    pub(super) fn finish(
        &mut self,
    ) -> Option<impl FnOnce(&dyn Store) -> mailstore::Result<Upload> + Send + use<>> {
        if matches!(self.state, State::Writing(_)) {
            return None;
        }
        let bytes = std::mem::take(&mut self.buffer);
        let state = std::mem::replace(&mut self.state, State::New);
        Some(move |store: &dyn Store| match state {
            State::Failed(error) => Err(error),
            State::Idle(upload) => write(store, Some(*upload), &bytes),
            State::New | State::Writing(_) => write(store, None, &bytes),
        })
    }
}

/// What a spool needs to write to the store on a worker.
pub(super) struct SpoolWriter<'w> {
    pub(super) store: &'w Arc<dyn Store>,
    pub(super) workers: &'w Workers,
    pub(super) group: JobGroup,
    pub(super) session: SessionHandle,
}

fn write(store: &dyn Store, upload: Option<Upload>, bytes: &[u8]) -> mailstore::Result<Upload> {
    let mut upload = match upload {
        Some(upload) => upload,
        None => store.upload()?,
    };
    upload.write(bytes)?;
    Ok(upload)
}
