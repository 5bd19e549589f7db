//! What the tokio runner needs from its caller: a clock, a journal, and requests.

use std::{
    future::Future,
    io,
    task::{Context, Poll},
    time::Duration,
};

use ::tokio::sync::mpsc;

use super::{
    clock::{Clock, SystemClock},
    journal::Journal,
};

/// A clock whose waits are futures.
pub trait AsyncClock: Clock + Clone + Send + Sync {
    /// Waits, as [`Clock::sleep`] does.
    fn pause(&mut self, pause: Duration) -> impl Future<Output = ()> + Send;
}

impl AsyncClock for SystemClock {
    fn pause(&mut self, pause: Duration) -> impl Future<Output = ()> + Send {
        ::tokio::time::sleep(pause)
    }
}

/// A [`Journal`] for a task. Its methods are called on the thread that polls the run: they must return soon, or the other
/// sessions of the run wait. A journal that syncs to disk implements
/// [`write_before_final_bytes`](Self::write_before_final_bytes).
///
/// If the run is dropped, [`Journal::attempt_finished`] is called for each message whose transaction was in progress,
/// without a delay. Recipients are [`Uncertain`](super::DeliveryStatus::Uncertain) then if the whole message was sent, and
/// [`Retry`](super::DeliveryStatus::Retry) otherwise: no byte more is sent.
pub trait AsyncJournal<T: Sync>: Journal<T> {
    /// As [`Journal::before_final_bytes`], without blocking. By default it calls that.
    fn write_before_final_bytes(
        &self,
        id: &T,
        recipients: &[usize],
    ) -> impl Future<Output = io::Result<()>> + Send {
        async move { self.before_final_bytes(id, recipients) }
    }
}

impl<T: Sync> AsyncJournal<T> for () {}

/// Where a dispatcher takes its requests from.
///
/// It is implemented for a channel, whose capacity then limits how many requests wait, and for an iterator in
/// [`FromIter`].
pub trait RequestSource<R> {
    /// Polls for the next request. `None`: there are no more.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<R>>;
}

impl<R> RequestSource<R> for mpsc::Receiver<R> {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<R>> {
        self.poll_recv(cx)
    }
}

/// The items of an iterator, which must not block.
#[derive(Debug, Clone)]
pub struct FromIter<I>(pub I);

impl<R, I: Iterator<Item = R>> RequestSource<R> for FromIter<I> {
    fn poll_next(&mut self, _: &mut Context<'_>) -> Poll<Option<R>> {
        Poll::Ready(self.0.next())
    }
}
