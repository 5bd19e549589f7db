//! Worker threads for blocking work, such as database access, that must not run on the driver's thread.
//!
//! Long jobs run in slices. After each slice a job goes to the back of its group's queue, and groups take turns, so that
//! one account cannot keep all threads. A job whose session has ended is dropped before its next slice.

pub(crate) mod job;
pub(crate) mod pool;
pub(crate) mod queue;
mod statistics;

pub use job::{JobGroup, JobHandle, JobStep, Slice};
pub use pool::{WorkerLimits, Workers};
pub use statistics::WorkerStatistics;
