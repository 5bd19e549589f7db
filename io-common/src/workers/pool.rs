//! The worker threads.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use super::{
    job::{JobGroup, JobHandle, JobStep, Slice, lock},
    queue::{Job, Queue, SliceResult},
    statistics::{SliceTimes, WorkerStatistics},
};
use crate::{error::Error, server::session_handle::SessionHandle};

/// A longer slice is reported in the log: its job does not check its [`Slice`] often enough.
const SLOW_SLICE: Duration = Duration::from_millis(500);

/// How long dropping the last [`Workers`] waits for running jobs. After that, their threads are left running.
const JOIN_TIMEOUT: Duration = Duration::from_secs(2);

/// The limits of [`Workers`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct WorkerLimits {
    /// The number of threads, at least 1. Default: 4.
    pub threads: usize,
    /// The maximum number of threads for jobs of one group, at least 1. With fewer than `threads`, long jobs of one group
    /// cannot occupy all of them. Default: 3.
    pub threads_per_group: usize,
    /// The maximum number of waiting jobs of all groups. Default: 8192.
    pub queue: usize,
    /// The maximum number of waiting jobs of one group. Default: 1024.
    pub queue_per_group: usize,
    /// How long a job may run before other jobs have their turn. Default: 50 ms.
    pub slice: Duration,
}

impl Default for WorkerLimits {
    fn default() -> Self {
        Self {
            threads: 4,
            threads_per_group: 3,
            queue: 8192,
            queue_per_group: 1024,
            slice: Duration::from_millis(50),
        }
    }
}

/// A fixed number of threads with bounded queues. Cheap to clone.
///
/// When the last clone is dropped, waiting jobs are dropped, and jobs that run in slices end with their slice.
///
/// Jobs of one session may run at the same time and end in any order. A session that needs an order submits one job at a
/// time.
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
    /// Signalled when a job may be taken, or the queue was closed.
    filled: Condvar,
    /// Signalled when a thread ends.
    ended: Condvar,
    stopping: Arc<AtomicBool>,
    limits: WorkerLimits,
    slices: SliceTimes,
}

impl Workers {
    /// Starts the threads.
    ///
    /// # Errors
    /// The operating system provides no thread.
    pub fn new(limits: WorkerLimits) -> Result<Self, Error> {
        let threads = limits.threads.max(1);
        let shared = Arc::new(Shared {
            queue: Mutex::new(Queue { threads, ..Queue::default() }),
            filled: Condvar::new(),
            ended: Condvar::new(),
            stopping: Arc::default(),
            limits,
            slices: SliceTimes::default(),
        });
        let mut pool = Pool { shared, threads: Vec::new() };
        for number in 0..threads {
            let shared = pool.shared.clone();
            let thread = std::thread::Builder::new()
                .name(format!("worker-{number}"))
                .spawn(move || shared.work())
                .map_err(|error| {
                    lock(&pool.shared.queue).threads = number;
                    Error::io("starting a worker thread")(error)
                })?;
            pool.threads.push(thread);
        }
        Ok(Self { pool: Arc::new(pool) })
    }

    /// Runs `job` on a worker thread and then wakes the session. For jobs of a few milliseconds; see
    /// [`run_in_slices`](Self::run_in_slices) for longer ones. A job whose session is over does not start.
    ///
    /// # Errors
    /// [`Error::QueueFull`]: too many jobs wait. [`Error::GroupQueueFull`]: too many jobs of this group wait. The job was
    /// dropped.
    pub fn run<T: Send + 'static>(
        &self,
        group: JobGroup,
        handle: SessionHandle,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<JobHandle<T>, Error> {
        let mut job = Some(job);
        // A finished job is not called again.
        self.run_in_slices(group, handle, move |_| {
            job.take().map_or(JobStep::More, |job| JobStep::Done(job()))
        })
    }

    /// Runs `job` on worker threads, slice by slice, and wakes the session when it is done. The job returns
    /// [`JobStep::More`] as soon as its [`Slice`] is over; jobs of other groups and sessions run before its next slice.
    /// A job whose session is over is dropped without a result.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn run_in_slices<T: Send + 'static>(
        &self,
        group: JobGroup,
        handle: SessionHandle,
        mut job: impl FnMut(&Slice) -> JobStep<T> + Send + 'static,
    ) -> Result<JobHandle<T>, Error> {
        let place = Arc::new(Mutex::new(None));
        let result = place.clone();
        let session = handle.clone();
        let run = move |slice: &Slice| {
            let step = catch_unwind(AssertUnwindSafe(|| job(slice)));
            let done = match step {
                Ok(JobStep::More) => return SliceResult::Continue,
                Ok(JobStep::Done(done)) => Ok(done),
                Err(_) => Err(Error::Panicked),
            };
            *lock(&result) = Some(done);
            session.wake();
            SliceResult::Done
        };
        self.pool.shared.push(group, Job { run: Box::new(run), handle: Some(handle) })?;
        Ok(JobHandle { result: place })
    }

    /// Returns how many jobs wait, and how long the slices of jobs have taken since the threads started.
    #[must_use]
    pub fn statistics(&self) -> WorkerStatistics {
        let shared = &self.pool.shared;
        shared.slices.read(lock(&shared.queue).waiting)
    }

    /// Runs `job` on a worker thread without a result.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn detach(&self, group: JobGroup, job: impl FnOnce() + Send + 'static) -> Result<(), Error> {
        let mut job = Some(job);
        let run = move |_: &Slice| {
            if let Some(job) = job.take() {
                job();
            }
            SliceResult::Done
        };
        self.pool.shared.push(group, Job { run: Box::new(run), handle: None })
    }
}

impl fmt::Debug for Workers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waiting = lock(&self.pool.shared.queue).waiting;
        f.debug_struct("Workers")
            .field("threads", &self.pool.threads.len())
            .field("waiting", &waiting)
            .finish_non_exhaustive()
    }
}

impl Shared {
    fn push(&self, group: JobGroup, job: Job) -> Result<(), Error> {
        let mut queue = lock(&self.queue);
        if queue.closed || queue.waiting >= self.limits.queue.max(1) {
            return Err(Error::QueueFull);
        }
        let waiting = queue.groups.get(&group).map_or(0, |group| group.jobs.len());
        if waiting >= self.limits.queue_per_group.max(1) {
            return Err(Error::GroupQueueFull);
        }
        queue.add(group, job, self.limits.threads_per_group.max(1));
        drop(queue);
        self.filled.notify_one();
        Ok(())
    }

    /// The loop of a worker thread.
    fn work(&self) {
        let max_threads = self.limits.threads_per_group.max(1);
        let mut queue = lock(&self.queue);
        while !queue.closed {
            let Some((group, job)) = queue.take(max_threads) else {
                queue = self.filled.wait(queue).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            drop(queue);
            let rest = self.run_slice(group, job);
            queue = lock(&self.queue);
            let closed = queue.closed;
            queue.put_back(group, rest.filter(|_| !closed), max_threads);
            if queue.turns.len() > 1 {
                self.filled.notify_one();
            }
        }
        queue.threads -= 1;
        self.ended.notify_all();
    }

    /// Runs a job for one slice. Returns the job if it is not done.
    fn run_slice(&self, group: JobGroup, mut job: Job) -> Option<Job> {
        if job.handle.as_ref().is_some_and(|handle| !handle.is_open()) {
            dispose(job);
            return None;
        }
        let start = Instant::now();
        let slice = Slice {
            end: start + self.limits.slice,
            stopping: Some(self.stopping.clone()),
            handle: job.handle.clone(),
        };
        // A panic ends only its own job.
        let ran = catch_unwind(AssertUnwindSafe(|| (job.run)(&slice))).unwrap_or(SliceResult::Done);
        let took = start.elapsed();
        self.slices.add(took);
        if took > SLOW_SLICE {
            tracing::warn!(%group, milliseconds = took.as_millis(), "a job occupied a worker thread for too long");
        }
        if ran == SliceResult::Continue {
            return Some(job);
        }
        dispose(job);
        None
    }
}

/// Drops a job. Its destructors may panic.
fn dispose(job: Job) {
    let _ = catch_unwind(AssertUnwindSafe(|| drop(job)));
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::Relaxed);
        let mut queue = lock(&self.shared.queue);
        queue.closed = true;
        queue.turns.clear();
        queue.waiting = 0;
        let jobs: Vec<Job> = queue.groups.drain().flat_map(|(_, group)| group.jobs).collect();
        drop(queue);
        self.shared.filled.notify_all();
        jobs.into_iter().for_each(dispose);
        let me = std::thread::current().id();
        // A job may drop the last clone: a thread cannot join itself.
        let own = usize::from(self.threads.iter().any(|thread| thread.thread().id() == me));
        let queue = lock(&self.shared.queue);
        let ended = self.shared.ended.wait_timeout_while(queue, JOIN_TIMEOUT, |queue| queue.threads > own);
        let left = ended.map_or_else(|error| error.into_inner().0.threads, |(queue, _)| queue.threads);
        if left > own {
            tracing::warn!(threads = left - own, "jobs are still running: their threads are left running");
            return;
        }
        for thread in self.threads.drain(..).filter(|thread| thread.thread().id() != me) {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        atomic::AtomicUsize,
        mpsc::{self, Receiver, Sender},
    };

    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(20);
    const ALICE: JobGroup = JobGroup::account(1);
    const BOB: JobGroup = JobGroup::account(2);

    fn workers(threads: usize, queue: usize, queue_per_group: usize) -> Workers {
        let slice = Duration::from_millis(2);
        let threads_per_group = threads.saturating_sub(1);
        Workers::new(WorkerLimits { threads, threads_per_group, queue, queue_per_group, slice }).unwrap()
    }

    /// Occupies one thread until the sender is used or dropped.
    fn occupy(workers: &Workers, group: JobGroup) -> Sender<()> {
        let (release, held) = mpsc::channel::<()>();
        let (start, started) = mpsc::channel();
        workers
            .detach(group, move || {
                start.send(()).unwrap();
                let _ = held.recv();
            })
            .unwrap();
        started.recv_timeout(TIMEOUT).unwrap();
        release
    }

    /// A job that never ends, and counts its slices.
    fn endless(slices: &Arc<AtomicUsize>) -> impl FnMut(&Slice) -> JobStep<()> + Send + 'static {
        let slices = slices.clone();
        move |slice| {
            slices.fetch_add(1, Ordering::SeqCst);
            while !slice.is_over() {
                std::hint::spin_loop();
            }
            JobStep::More
        }
    }

    fn take<T>(later: &mut JobHandle<T>) -> Result<T, Error> {
        let start = Instant::now();
        loop {
            if let Some(result) = later.take() {
                return result;
            }
            assert!(start.elapsed() < TIMEOUT, "there is no result");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn wait_until(holds: impl Fn() -> bool) {
        let start = Instant::now();
        while !holds() {
            assert!(start.elapsed() < TIMEOUT, "the condition never held");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn bounds_the_queue_and_survives_panics() {
        let workers = workers(1, 1, 1);
        let release = occupy(&workers, ALICE);
        let mut panics = workers.run(ALICE, SessionHandle::open(), || panic!("on purpose")).unwrap();
        assert!(matches!(workers.detach(BOB, || ()), Err(Error::QueueFull)));
        release.send(()).unwrap();
        assert!(matches!(take::<()>(&mut panics), Err(Error::Panicked)));
        assert_eq!(take(&mut workers.run(ALICE, SessionHandle::open(), || 1).unwrap()).unwrap(), 1);
    }

    #[test]
    fn a_full_group_queue_leaves_room_for_other_groups() {
        let workers = workers(1, 100, 2);
        let release = occupy(&workers, ALICE);
        workers.detach(ALICE, || ()).unwrap();
        workers.detach(ALICE, || ()).unwrap();
        assert!(matches!(workers.detach(ALICE, || ()), Err(Error::GroupQueueFull)));
        let mut other = workers.run(BOB, SessionHandle::open(), || 7).unwrap();
        release.send(()).unwrap();
        assert_eq!(take(&mut other).unwrap(), 7);
    }

    #[test]
    fn endless_jobs_of_one_account_do_not_delay_another_account() {
        for threads in [1, 4] {
            let workers = workers(threads, 100, 100);
            let slices = Arc::new(AtomicUsize::new(0));
            let sessions: Vec<SessionHandle> = (0..8).map(|_| SessionHandle::open()).collect();
            for session in &sessions {
                let _ = workers.run_in_slices(ALICE, session.clone(), endless(&slices)).unwrap();
            }
            wait_until(|| slices.load(Ordering::SeqCst) > 8);
            let before = slices.load(Ordering::SeqCst);
            let count = slices.clone();
            let job = move || count.load(Ordering::SeqCst);
            let after = take(&mut workers.run(BOB, SessionHandle::open(), job).unwrap()).unwrap();
            // Each thread ends its slice and may have started one more before the job arrived.
            assert!(after - before <= 2 * threads + 2, "{threads} threads: {} slices", after - before);
            sessions.iter().for_each(SessionHandle::end);
        }
    }

    #[test]
    fn jobs_of_one_account_take_turns_with_each_other() {
        let workers = workers(1, 100, 100);
        let slices = Arc::new(AtomicUsize::new(0));
        let long = SessionHandle::open();
        let _ = workers.run_in_slices(ALICE, long.clone(), endless(&slices)).unwrap();
        assert_eq!(take(&mut workers.run(ALICE, SessionHandle::open(), || 3).unwrap()).unwrap(), 3);
        long.end();
    }

    #[test]
    fn one_account_never_occupies_all_threads() {
        let workers = workers(3, 100, 100);
        let held = [occupy(&workers, ALICE), occupy(&workers, ALICE)];
        let mut third = workers.run(ALICE, SessionHandle::open(), || ()).unwrap();
        assert!(take(&mut workers.run(BOB, SessionHandle::open(), || ()).unwrap()).is_ok());
        assert!(third.take().is_none(), "the account occupies two of three threads already");
        drop(held);
        assert!(take(&mut third).is_ok());
    }

    /// Reports when it is dropped.
    struct Dropped(Sender<()>);

    impl Drop for Dropped {
        fn drop(&mut self) {
            let _ = self.0.send(());
        }
    }

    fn dropped() -> (Dropped, Receiver<()>) {
        let (sender, receiver) = mpsc::channel();
        (Dropped(sender), receiver)
    }

    #[test]
    fn a_job_ends_with_its_session() {
        let workers = workers(1, 100, 100);
        let slices = Arc::new(AtomicUsize::new(0));
        let (state, gone) = dropped();
        let session = SessionHandle::open();
        let mut run = endless(&slices);
        let mut later = workers
            .run_in_slices(ALICE, session.clone(), move |slice| {
                let _ = &state;
                run(slice)
            })
            .unwrap();
        wait_until(|| slices.load(Ordering::SeqCst) > 1);
        session.end();
        gone.recv_timeout(TIMEOUT).unwrap();
        assert!(later.take().is_none());

        let release = occupy(&workers, ALICE);
        let session = SessionHandle::open();
        let mut never = workers.run(ALICE, session.clone(), || ()).unwrap();
        session.end();
        release.send(()).unwrap();
        assert!(take(&mut workers.run(ALICE, SessionHandle::open(), || ()).unwrap()).is_ok());
        assert!(never.take().is_none(), "a job whose session is over does not start");
    }

    #[test]
    fn dropping_the_workers_does_not_wait_for_long_jobs() {
        let workers = workers(2, 100, 100);
        let slices = Arc::new(AtomicUsize::new(0));
        let (running, running_gone) = dropped();
        let mut run = endless(&slices);
        let _ = workers
            .run_in_slices(ALICE, SessionHandle::open(), move |slice| {
                let _ = &running;
                run(slice)
            })
            .unwrap();
        let (waiting, waiting_gone) = dropped();
        let stuck = occupy(&workers, BOB);
        let _ = workers.run(BOB, SessionHandle::open(), move || drop(waiting)).unwrap();
        let start = Instant::now();
        drop(workers);
        assert!(start.elapsed() < TIMEOUT / 2, "it waited for the stuck job");
        waiting_gone.recv_timeout(TIMEOUT).unwrap();
        running_gone.recv_timeout(TIMEOUT).unwrap();
        drop(stuck);
    }
}
