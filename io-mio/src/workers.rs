//! A few threads for work that blocks (a store, a directory), so that it never stands on the loop.
//!
//! This file knows jobs and results. It knows no session but by its [`Remote`].

use std::{
    collections::VecDeque,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
};

use crate::{Error, Remote};

type Job = Box<dyn FnOnce() + Send>;

/// A fixed number of threads behind a queue of bounded length. Cheap to clone; the threads end when the last clone is
/// dropped and the queue is empty.
///
/// Jobs of one session may run at the same time and end in any order: a session that needs an order gives one job at
/// a time.
#[derive(Clone)]
pub struct Workers {
    pool: Arc<Pool>,
}

struct Pool {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    queue: Mutex<Queue>,
    filled: Condvar,
    limit: usize,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    closed: bool,
}

impl Workers {
    /// So many threads, and room for so many jobs that none of them has begun.
    ///
    /// # Errors
    /// The operating system gives no thread.
    pub fn new(threads: usize, queue: usize) -> Result<Self, Error> {
        let shared =
            Arc::new(Shared { queue: Mutex::default(), filled: Condvar::new(), limit: queue.max(1) });
        let mut pool = Pool { shared, threads: Vec::new() };
        for number in 0..threads.max(1) {
            let shared = pool.shared.clone();
            let thread = std::thread::Builder::new()
                .name(format!("worker-{number}"))
                .spawn(move || shared.work())
                .map_err(Error::io("starting a worker thread"))?;
            pool.threads.push(thread);
        }
        Ok(Self { pool: Arc::new(pool) })
    }

    /// Does `job` on a worker thread and then wakes the session.
    ///
    /// # Errors
    /// [`Error::Busy`]: the queue is full, and nothing was taken on.
    pub fn run<T: Send + 'static>(
        &self,
        remote: Remote,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<Later<T>, Error> {
        let place = Arc::new(Mutex::new(None));
        let result = place.clone();
        self.pool.shared.push(Box::new(move || {
            let done = catch_unwind(AssertUnwindSafe(job)).map_err(|_| Error::Panicked);
            *lock(&result) = Some(done);
            drop(result);
            remote.wake();
        }))?;
        Ok(Later { place })
    }

    /// Does `job` on a worker thread; nobody waits for it.
    ///
    /// # Errors
    /// [`Error::Busy`]: the queue is full, and nothing was taken on.
    pub fn detach(&self, job: impl FnOnce() + Send + 'static) -> Result<(), Error> {
        self.pool.shared.push(Box::new(job))
    }
}

impl fmt::Debug for Workers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waiting = lock(&self.pool.shared.queue).jobs.len();
        f.debug_struct("Workers")
            .field("threads", &self.pool.threads.len())
            .field("waiting", &waiting)
            .finish_non_exhaustive()
    }
}

/// A result that will come. The session is woken when it is there.
#[must_use]
pub struct Later<T> {
    place: Arc<Mutex<Option<Result<T, Error>>>>,
}

impl<T> Later<T> {
    /// The result, once; `None` while it is not there.
    ///
    /// `Some(Err(Panicked))` if the job panicked.
    #[must_use]
    pub fn take(&mut self) -> Option<Result<T, Error>> {
        lock(&self.place).take()
    }
}

impl<T> fmt::Debug for Later<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Later")
    }
}

impl Shared {
    fn push(&self, job: Job) -> Result<(), Error> {
        let mut queue = lock(&self.queue);
        if queue.closed || queue.jobs.len() >= self.limit {
            return Err(Error::Busy);
        }
        queue.jobs.push_back(job);
        drop(queue);
        self.filled.notify_one();
        Ok(())
    }

    fn work(&self) {
        loop {
            let mut queue = lock(&self.queue);
            let job = loop {
                match queue.jobs.pop_front() {
                    Some(job) => break job,
                    None if queue.closed => return,
                    None => queue = self.filled.wait(queue).unwrap_or_else(PoisonError::into_inner),
                }
            };
            drop(queue);
            // A job that panics costs itself only.
            let _ = catch_unwind(AssertUnwindSafe(job));
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        lock(&self.shared.queue).closed = true;
        self.shared.filled.notify_all();
        let me = std::thread::current().id();
        for thread in self.threads.drain(..) {
            // The last clone may be dropped by a job: a thread cannot wait for itself.
            if thread.thread().id() != me {
                let _ = thread.join();
            }
        }
    }
}

/// No code of ours panics while it holds a lock, and what a lock guards is valid at any time.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, time::Duration};

    use super::*;

    #[test]
    fn the_queue_is_bounded_and_a_panic_costs_one_job() {
        let workers = Workers::new(1, 1).unwrap();
        let (release, held) = mpsc::channel::<()>();
        let (began, begun) = mpsc::channel();
        let (said, heard) = mpsc::channel();
        workers
            .detach(move || {
                began.send(()).unwrap();
                held.recv().unwrap();
                panic!("on purpose");
            })
            .unwrap();
        begun.recv().unwrap();
        workers.detach(move || said.send(1).unwrap()).unwrap();
        assert!(matches!(workers.detach(|| ()), Err(Error::Busy)));
        release.send(()).unwrap();
        assert_eq!(heard.recv_timeout(Duration::from_secs(5)), Ok(1));
    }
}
