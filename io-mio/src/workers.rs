//! Threads for work that blocks (a store, a directory), so that it never runs on the loop.
//!
//! Long jobs run in slices. After each slice a job goes to the back of its group's queue, and the groups take turns:
//! one account cannot keep the threads from the others, whatever its jobs cost. A job whose session is gone is dropped
//! before its next slice.
//!
//! This file knows jobs, groups and results. It knows a session only by its [`SessionHandle`].

mod queue;

use std::{
    fmt,
    net::IpAddr,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use crate::{Error, SessionHandle, admission::network};
use queue::{Job, Queue, Ran};

/// A slice that takes longer than this is reported in the log: its job does not look at its [`Slice`] often enough.
const SLOW_SLICE: Duration = Duration::from_millis(500);

/// How long dropping the last [`Workers`] waits for the jobs that are running. Their threads are left behind then.
const JOIN_TIMEOUT: Duration = Duration::from_secs(2);

/// The jobs that share the threads with the other groups as one: those of an account, or of an address before log-in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct JobGroup(Owner);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Owner {
    Shared,
    Account(i64),
    Address(IpAddr),
}

impl JobGroup {
    /// Jobs that belong to no account and no address.
    pub const SHARED: Self = Self(Owner::Shared);

    /// The jobs of an account.
    #[must_use]
    pub const fn account(id: i64) -> Self {
        Self(Owner::Account(id))
    }

    /// The jobs of the clients at an address (IPv6: in one /64 network), as long as no account is known.
    #[must_use]
    pub fn address(address: IpAddr) -> Self {
        Self(Owner::Address(network(address.to_canonical())))
    }
}

impl fmt::Display for JobGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Owner::Shared => f.write_str("shared"),
            Owner::Account(id) => write!(f, "account {id}"),
            // An address belongs to a person: the log does not need it.
            Owner::Address(_) => f.write_str("address"),
        }
    }
}

/// The limits of [`Workers`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct WorkerLimits {
    /// The number of threads; at least 1.
    pub threads: usize,
    /// The most threads that jobs of one group run on at the same time; fewer than `threads`, if long jobs of one group
    /// must never hold all of them. At least 1.
    pub threads_per_group: usize,
    /// The most jobs that wait, of all groups together.
    pub queue: usize,
    /// The most jobs of one group that wait.
    pub queue_per_group: usize,
    /// How long a job may run before the others have their turn.
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

/// A fixed number of threads behind queues of bounded length. Cheap to clone.
///
/// When the last clone is dropped, jobs that wait are dropped, and jobs that run in slices end with their slice.
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
    /// Signaled when a job may be taken, or the queue was closed.
    filled: Condvar,
    /// Signaled when a thread ends.
    ended: Condvar,
    stopping: Arc<AtomicBool>,
    limits: WorkerLimits,
}

/// What one slice of a job led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum JobStep<T> {
    /// The job has more to do.
    More,
    /// The job is done, with this result.
    Done(T),
}

/// The time that a job has before it should return [`JobStep::More`].
#[derive(Debug, Clone)]
pub struct Slice {
    end: Instant,
    stopping: Option<Arc<AtomicBool>>,
    handle: Option<SessionHandle>,
}

impl Slice {
    /// A slice of that length that starts now: for running a job without [`Workers`].
    #[must_use]
    pub fn lasting(length: Duration) -> Self {
        Self { end: Instant::now() + length, stopping: None, handle: None }
    }

    /// Whether the job should return now: its time is over, its session is gone, or the workers stop. Costs a look at
    /// the clock: ask every few kilobytes or rows.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.stopping.as_ref().is_some_and(|stopping| stopping.load(Ordering::Relaxed))
            || self.handle.as_ref().is_some_and(|handle| !handle.is_open())
            || Instant::now() >= self.end
    }
}

impl Workers {
    /// Starts the threads.
    ///
    /// # Errors
    /// The operating system gives no thread.
    pub fn new(limits: WorkerLimits) -> Result<Self, Error> {
        let threads = limits.threads.max(1);
        let shared = Arc::new(Shared {
            queue: Mutex::new(Queue { threads, ..Queue::default() }),
            filled: Condvar::new(),
            ended: Condvar::new(),
            stopping: Arc::default(),
            limits,
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

    /// Runs `job` on a worker thread and then wakes the session. For jobs of a few milliseconds: see
    /// [`run_in_slices`](Self::run_in_slices) for longer ones. A job whose session is gone does not start.
    ///
    /// # Errors
    /// [`Error::QueueFull`]: all queues together are full. [`Error::GroupQueueFull`]: the group's queue is full. The job was
    /// dropped.
    pub fn run<T: Send + 'static>(
        &self,
        group: JobGroup,
        handle: SessionHandle,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<JobHandle<T>, Error> {
        let mut job = Some(job);
        // A job that is done is not asked again.
        self.run_in_slices(group, handle, move |_| {
            job.take().map_or(JobStep::More, |job| JobStep::Done(job()))
        })
    }

    /// Runs `job` on worker threads, slice by slice, and wakes the session when it is done. The job returns
    /// [`JobStep::More`] as soon as its [`Slice`] is over; jobs of other groups and sessions run before its next slice.
    /// A job whose session is gone is dropped without a result.
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
                Ok(JobStep::More) => return Ran::More,
                Ok(JobStep::Done(done)) => Ok(done),
                Err(_) => Err(Error::Panicked),
            };
            *lock(&result) = Some(done);
            session.wake();
            Ran::Done
        };
        self.pool.shared.push(group, Job { run: Box::new(run), handle: Some(handle) })?;
        Ok(JobHandle { place })
    }

    /// Runs `job` on a worker thread. No session waits for it.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn detach(&self, group: JobGroup, job: impl FnOnce() + Send + 'static) -> Result<(), Error> {
        let mut job = Some(job);
        let run = move |_: &Slice| {
            if let Some(job) = job.take() {
                job();
            }
            Ran::Done
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

/// A result that will come. The session is woken when it is there.
#[must_use]
pub struct JobHandle<T> {
    place: Arc<Mutex<Option<Result<T, Error>>>>,
}

impl<T> JobHandle<T> {
    /// The result, once; `None` while it is not there.
    ///
    /// `Some(Err(Panicked))` if the job panicked.
    #[must_use]
    pub fn take(&mut self) -> Option<Result<T, Error>> {
        lock(&self.place).take()
    }
}

impl<T> fmt::Debug for JobHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JobHandle")
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

    /// What a thread does until the workers stop.
    fn work(&self) {
        let most = self.limits.threads_per_group.max(1);
        let mut queue = lock(&self.queue);
        while !queue.closed {
            let Some((group, job)) = queue.take(most) else {
                queue = self.filled.wait(queue).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            drop(queue);
            let rest = self.run_slice(group, job);
            queue = lock(&self.queue);
            let closed = queue.closed;
            queue.put_back(group, rest.filter(|_| !closed), most);
            if queue.turns.len() > 1 {
                self.filled.notify_one();
            }
        }
        queue.threads -= 1;
        self.ended.notify_all();
    }

    /// Runs a job for one slice. Returns the job if it has more to do.
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
        // A job that panics costs itself only.
        let ran = catch_unwind(AssertUnwindSafe(|| (job.run)(&slice))).unwrap_or(Ran::Done);
        let took = start.elapsed();
        if took > SLOW_SLICE {
            tracing::warn!(%group, milliseconds = took.as_millis(), "a job held a worker thread for long");
        }
        if ran == Ran::More {
            return Some(job);
        }
        dispose(job);
        None
    }
}

/// Drops a job. What it holds may panic.
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
        // The last clone may be dropped by a job: a thread cannot wait for itself.
        let own = usize::from(self.threads.iter().any(|thread| thread.thread().id() == me));
        let queue = lock(&self.shared.queue);
        let ended = self.shared.ended.wait_timeout_while(queue, JOIN_TIMEOUT, |queue| queue.threads > own);
        let left = ended.map_or_else(|error| error.into_inner().0.threads, |(queue, _)| queue.threads);
        if left > own {
            tracing::warn!(threads = left - own, "jobs are still running: their threads are left behind");
            return;
        }
        for thread in self.threads.drain(..).filter(|thread| thread.thread().id() != me) {
            let _ = thread.join();
        }
    }
}

/// No code here panics while it holds a lock, and what a lock guards is valid at any time.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::{
        atomic::AtomicUsize,
        mpsc::{self, Receiver, Sender},
    };

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);
    const ANN: JobGroup = JobGroup::account(1);
    const BOB: JobGroup = JobGroup::account(2);

    fn workers(threads: usize, queue: usize, queue_per_group: usize) -> Workers {
        let slice = Duration::from_millis(2);
        let threads_per_group = threads.saturating_sub(1);
        Workers::new(WorkerLimits { threads, threads_per_group, queue, queue_per_group, slice }).unwrap()
    }

    /// Holds one thread until it is told to go on.
    fn occupy(workers: &Workers, group: JobGroup) -> Sender<()> {
        let (release, held) = mpsc::channel::<()>();
        let (start, started) = mpsc::channel();
        workers
            .detach(group, move || {
                start.send(()).unwrap();
                let _ = held.recv();
            })
            .unwrap();
        started.recv_timeout(PATIENCE).unwrap();
        release
    }

    /// A job that never ends and counts its slices.
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
            assert!(start.elapsed() < PATIENCE, "no result came");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn wait_until(holds: impl Fn() -> bool) {
        let start = Instant::now();
        while !holds() {
            assert!(start.elapsed() < PATIENCE, "it never held");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn the_queue_is_bounded_and_a_panic_costs_one_job() {
        let workers = workers(1, 1, 1);
        let release = occupy(&workers, ANN);
        let mut panics = workers.run(ANN, SessionHandle::of_open(), || panic!("on purpose")).unwrap();
        assert!(matches!(workers.detach(BOB, || ()), Err(Error::QueueFull)));
        release.send(()).unwrap();
        assert!(matches!(take::<()>(&mut panics), Err(Error::Panicked)));
        assert_eq!(take(&mut workers.run(ANN, SessionHandle::of_open(), || 1).unwrap()).unwrap(), 1);
    }

    #[test]
    fn a_group_that_fills_its_queue_leaves_room_for_others() {
        let workers = workers(1, 100, 2);
        let release = occupy(&workers, ANN);
        workers.detach(ANN, || ()).unwrap();
        workers.detach(ANN, || ()).unwrap();
        assert!(matches!(workers.detach(ANN, || ()), Err(Error::GroupQueueFull)));
        let mut other = workers.run(BOB, SessionHandle::of_open(), || 7).unwrap();
        release.send(()).unwrap();
        assert_eq!(take(&mut other).unwrap(), 7);
    }

    #[test]
    fn endless_jobs_of_one_account_do_not_delay_another_account() {
        for threads in [1, 4] {
            let workers = workers(threads, 100, 100);
            let slices = Arc::new(AtomicUsize::new(0));
            let sessions: Vec<SessionHandle> = (0..8).map(|_| SessionHandle::of_open()).collect();
            for session in &sessions {
                let _ = workers.run_in_slices(ANN, session.clone(), endless(&slices)).unwrap();
            }
            wait_until(|| slices.load(Ordering::SeqCst) > 8);
            let before = slices.load(Ordering::SeqCst);
            let count = slices.clone();
            let job = move || count.load(Ordering::SeqCst);
            let after = take(&mut workers.run(BOB, SessionHandle::of_open(), job).unwrap()).unwrap();
            // Each thread ends its slice and may have begun one more before the job was there.
            assert!(after - before <= 2 * threads + 2, "{threads} threads: {} slices", after - before);
            sessions.iter().for_each(SessionHandle::end);
        }
    }

    #[test]
    fn jobs_of_one_account_take_turns_with_each_other() {
        let workers = workers(1, 100, 100);
        let slices = Arc::new(AtomicUsize::new(0));
        let long = SessionHandle::of_open();
        let _ = workers.run_in_slices(ANN, long.clone(), endless(&slices)).unwrap();
        assert_eq!(take(&mut workers.run(ANN, SessionHandle::of_open(), || 3).unwrap()).unwrap(), 3);
        long.end();
    }

    #[test]
    fn one_account_never_holds_all_threads() {
        let workers = workers(3, 100, 100);
        let held = [occupy(&workers, ANN), occupy(&workers, ANN)];
        let mut third = workers.run(ANN, SessionHandle::of_open(), || ()).unwrap();
        assert!(take(&mut workers.run(BOB, SessionHandle::of_open(), || ()).unwrap()).is_ok());
        assert!(third.take().is_none(), "two threads of three are held by the account already");
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
        let session = SessionHandle::of_open();
        let mut run = endless(&slices);
        let mut later = workers
            .run_in_slices(ANN, session.clone(), move |slice| {
                let _ = &state;
                run(slice)
            })
            .unwrap();
        wait_until(|| slices.load(Ordering::SeqCst) > 1);
        session.end();
        gone.recv_timeout(PATIENCE).unwrap();
        assert!(later.take().is_none());

        let release = occupy(&workers, ANN);
        let session = SessionHandle::of_open();
        let mut never = workers.run(ANN, session.clone(), || ()).unwrap();
        session.end();
        release.send(()).unwrap();
        assert!(take(&mut workers.run(ANN, SessionHandle::of_open(), || ()).unwrap()).is_ok());
        assert!(never.take().is_none(), "a job whose session is gone does not start");
    }

    #[test]
    fn dropping_the_workers_waits_for_no_long_job() {
        let workers = workers(2, 100, 100);
        let slices = Arc::new(AtomicUsize::new(0));
        let (running, running_gone) = dropped();
        let mut run = endless(&slices);
        let _ = workers
            .run_in_slices(ANN, SessionHandle::of_open(), move |slice| {
                let _ = &running;
                run(slice)
            })
            .unwrap();
        let (waiting, waiting_gone) = dropped();
        let stuck = occupy(&workers, BOB);
        let _ = workers.run(BOB, SessionHandle::of_open(), move || drop(waiting)).unwrap();
        let start = Instant::now();
        drop(workers);
        assert!(start.elapsed() < PATIENCE / 2, "the stuck job was waited for");
        waiting_gone.recv_timeout(PATIENCE).unwrap();
        running_gone.recv_timeout(PATIENCE).unwrap();
        drop(stuck);
    }
}
