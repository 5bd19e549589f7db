//! Requests the states of new folders, which tell whether they are renamed ones.

use std::collections::VecDeque;

use proto_imap::client::{Client, Event};
use proto_mail::{Channel, SendBuffer};

use super::account_listing::RequestStatus;
use super::folder_plan::FoldersRequest;
use crate::error::Error;
use crate::imap::Requesting;
use crate::task::{Task, TaskStep};

/// The task that requests the states of folders, one after the other.
#[derive(Debug)]
pub(super) struct StatusRun {
    request: FoldersRequest,
    /// The folders, by their positions in the listing.
    queue: VecDeque<usize>,
    task: Option<(usize, Requesting<RequestStatus>)>,
}

impl StatusRun {
    pub(super) fn new(request: FoldersRequest, folders: Vec<usize>) -> Self {
        Self { request, queue: folders.into(), task: None }
    }

    /// Returns the request with the states that came.
    pub(super) fn into_request(self) -> FoldersRequest {
        FoldersRequest { has_requested_status: true, ..self.request }
    }

    /// Goes on without the state that the server refused.
    pub(super) fn refused(&mut self) {
        self.task = None;
    }

    /// Goes on without the states that did not come.
    pub(super) fn abandon(&mut self) {
        self.task = None;
        self.queue.clear();
    }
}

impl<C: Channel> Task<Client<C>> for StatusRun {
    type Output = ();

    fn ready(&mut self, client: &mut Client<C>, tx: &mut SendBuffer) -> Result<TaskStep<()>, Error> {
        if self.task.is_none() {
            let next = self.queue.pop_front();
            let folder = next.and_then(|at| Some((at, self.request.listing.folders.get(at)?.folder.clone())));
            let Some((at, folder)) = folder else { return Ok(TaskStep::Done(())) };
            self.task = Some((at, Requesting::new(RequestStatus::new(folder))));
        }
        if let Some((_, task)) = &mut self.task {
            task.ready(client, tx)?;
        }
        Ok(TaskStep::Waiting)
    }

    fn event(
        &mut self,
        event: Event<'_>,
        client: &mut Client<C>,
        tx: &mut SendBuffer,
    ) -> Result<TaskStep<()>, Error> {
        let Some((at, task)) = &mut self.task else { return Ok(TaskStep::Waiting) };
        let TaskStep::Done(status) = task.event(event, client, tx)? else { return Ok(TaskStep::Waiting) };
        if let Some(listed) = self.request.listing.folders.get_mut(*at) {
            listed.status = status;
        }
        self.task = None;
        self.ready(client, tx)
            .map(|step| if matches!(step, TaskStep::Done(())) { step } else { TaskStep::Useful })
    }
}
