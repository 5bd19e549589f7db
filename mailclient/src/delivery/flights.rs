//! Futures that run at the same time in one task.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

type Flight<'f, T> = Pin<Box<dyn Future<Output = T> + Send + 'f>>;

/// Futures that run at the same time in one task. Only those that were woken are polled.
pub(super) struct Flights<'f, T> {
    flights: Vec<(Flight<'f, T>, Arc<FlightWaker>)>,
    /// Wakes the task.
    task: Arc<Mutex<Waker>>,
}

/// Wakes the task, and says which future is ready.
struct FlightWaker {
    is_woken: AtomicBool,
    task: Arc<Mutex<Waker>>,
}

impl Wake for FlightWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.is_woken.swap(true, Ordering::AcqRel) {
            self.task.lock().unwrap_or_else(PoisonError::into_inner).wake_by_ref();
        }
    }
}

impl<'f, T> Flights<'f, T> {
    pub(super) fn new() -> Self {
        Self { flights: Vec::new(), task: Arc::new(Mutex::new(Waker::noop().clone())) }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.flights.is_empty()
    }

    /// Adds a future. The next [`poll_next`](Self::poll_next) polls it.
    pub(super) fn push(&mut self, future: impl Future<Output = T> + Send + 'f) {
        let waker = FlightWaker { is_woken: AtomicBool::new(true), task: self.task.clone() };
        self.flights.push((Box::pin(future), Arc::new(waker)));
    }

    /// Waits until all futures have ended.
    pub(super) async fn join(&mut self) {
        while !self.is_empty() {
            poll_fn(|cx| self.poll_next(cx)).await;
        }
    }

    /// Returns the result of a future that has ended. The caller polls again after a result.
    pub(super) fn poll_next(&mut self, cx: &Context<'_>) -> Poll<T> {
        self.task.lock().unwrap_or_else(PoisonError::into_inner).clone_from(cx.waker());
        for at in 0..self.flights.len() {
            let Some((future, waker)) = self.flights.get_mut(at) else { break };
            if !waker.is_woken.swap(false, Ordering::AcqRel) {
                continue;
            }
            let own = Waker::from(waker.clone());
            if let Poll::Ready(done) = future.as_mut().poll(&mut Context::from_waker(&own)) {
                drop(self.flights.swap_remove(at));
                return Poll::Ready(done);
            }
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, sync::atomic::AtomicUsize};

    use super::*;

    struct Counter(AtomicUsize);

    impl Wake for Counter {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn polls_only_woken_futures() {
        let (polls, wakers) = (Mutex::new([0; 2]), Mutex::new([const { None }; 2]));
        let may_end = AtomicBool::new(false);
        let mut flights = Flights::new();
        for number in 0..2 {
            let (polls, wakers, may_end) = (&polls, &wakers, &may_end);
            flights.push(poll_fn(move |cx| {
                polls.lock().unwrap_or_else(PoisonError::into_inner)[number] += 1;
                wakers.lock().unwrap_or_else(PoisonError::into_inner)[number] = Some(cx.waker().clone());
                if may_end.load(Ordering::SeqCst) { Poll::Ready(number) } else { Poll::Pending }
            }));
        }
        let task = Arc::new(Counter(AtomicUsize::new(0)));
        let waker = Waker::from(task.clone());
        let cx = Context::from_waker(&waker);
        let wake = |number: usize| {
            let waker: Option<Waker> = wakers.lock().unwrap_or_else(PoisonError::into_inner)[number].clone();
            waker.map(|waker| waker.wake())
        };
        let polled = Cell::new([0; 2]);
        let counted = || {
            polled.set(*polls.lock().unwrap_or_else(PoisonError::into_inner));
            polled.get()
        };
        assert!(flights.poll_next(&cx).is_pending());
        assert_eq!(counted(), [1, 1]);
        assert!(flights.poll_next(&cx).is_pending());
        assert_eq!(counted(), [1, 1]);
        // A second wake before the poll does not wake the task again.
        assert_eq!((wake(1), wake(1), task.0.load(Ordering::SeqCst)), (Some(()), Some(()), 1));
        may_end.store(true, Ordering::SeqCst);
        assert_eq!(flights.poll_next(&cx), Poll::Ready(1));
        assert_eq!(counted(), [1, 2]);
        assert!(flights.poll_next(&cx).is_pending());
        wake(0);
        assert_eq!(flights.poll_next(&cx), Poll::Ready(0));
        assert!(flights.is_empty() && flights.poll_next(&cx).is_pending());
    }
}
