//! The source of a message for tokio: it is read on a worker thread.

use std::{
    future::pending,
    io::{Read, Seek},
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
};

use bytes::Bytes;
use io_common::Error;

use super::{
    message::{Measure, Message, read_source, rewind_source},
    upload::CHUNK,
    validation::MessageLimits,
};
use crate::tokio::BlockingJobs;

/// A source that a job on a worker thread borrows.
pub(super) struct LentSource<S> {
    /// `None` while a job has it.
    source: Option<S>,
    /// The first chunk, which was read when the source was rewound: a small message needs one job.
    first: Option<Bytes>,
}

impl<S> LentSource<S> {
    pub(super) const fn new(source: S) -> Self {
        Self { source: Some(source), first: None }
    }

    /// Returns the source. `None`: its job was cancelled, because tokio shuts down.
    pub(super) fn into_inner(self) -> Option<S> {
        self.source
    }
}

impl<S: Send + 'static> LentSource<S> {
    /// Runs a job with the source. A panic in it continues here.
    async fn run<R: Send + 'static>(
        &mut self,
        jobs: &BlockingJobs,
        job: impl FnOnce(&mut S) -> R + Send + 'static,
    ) -> R {
        // Without a source, tokio shuts down and polls nothing any more.
        let Some(mut source) = self.source.take() else { return pending().await };
        let work = move || {
            let result = catch_unwind(AssertUnwindSafe(|| job(&mut source)));
            (source, result)
        };
        let Ok((source, result)) = jobs.run(work).await else { return pending().await };
        self.source = Some(source);
        result.unwrap_or_else(|panic| resume_unwind(panic))
    }
}

impl<S: Read + Seek + Send + 'static> Message<LentSource<S>> {
    /// As [`Message::rewind`], on a worker thread.
    pub(super) async fn rewind_lent(&mut self, jobs: &BlockingJobs) -> Result<Option<u64>, Error> {
        let measure = self.measure();
        let source = self.source_mut();
        let (size, first) = source.run(jobs, move |source| rewind_and_read(source, measure)).await?;
        source.first = Some(first);
        Ok(size)
    }

    /// As [`Message::read`], on a worker thread.
    pub(super) async fn read_lent(&mut self, most: usize, jobs: &BlockingJobs) -> Result<Bytes, Error> {
        let source = self.source_mut();
        match source.first.take() {
            Some(mut first) => {
                first.truncate(most);
                Ok(first)
            }
            None => source.run(jobs, move |source| read_source(source, most)).await,
        }
    }

    /// As [`Message::check`], on a worker thread.
    pub(super) async fn check_lent(
        &mut self,
        limits: &MessageLimits,
        jobs: &BlockingJobs,
    ) -> Result<(), Error> {
        let check = self.content_check(limits);
        let found = self.source_mut().run(jobs, move |source| check.run(source)).await?;
        self.apply_check(limits, found);
        Ok(())
    }
}

fn rewind_and_read<S: Read + Seek>(source: &mut S, measure: Measure) -> Result<(Option<u64>, Bytes), Error> {
    let size = rewind_source(source, measure)?;
    Ok((size, read_source(source, CHUNK)?))
}
