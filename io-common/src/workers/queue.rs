//! The waiting jobs: a queue for each group, and the order of the groups' turns.

use std::collections::{HashMap, VecDeque};

use super::job::{JobGroup, Slice};
use crate::server::session_handle::SessionHandle;

/// The waiting jobs of all groups.
#[derive(Default)]
pub(super) struct Queue {
    /// The groups with waiting or running jobs.
    pub(super) groups: HashMap<JobGroup, GroupQueue>,
    /// The groups that may start a job now, in the order of their turns.
    pub(super) turns: VecDeque<JobGroup>,
    pub(super) waiting: usize,
    pub(super) threads: usize,
    pub(super) closed: bool,
}

#[derive(Default)]
pub(super) struct GroupQueue {
    pub(super) jobs: VecDeque<Job>,
    running: usize,
    /// Whether the group is in `turns`.
    has_turn: bool,
}

pub(super) struct Job {
    pub(super) run: Box<dyn FnMut(&Slice) -> SliceResult + Send>,
    /// The session that waits for the result; `None` for a detached job.
    pub(super) handle: Option<SessionHandle>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
/// The result of a slice.
pub(super) enum SliceResult {
    Done,
    Continue,
}

impl Queue {
    /// Adds a job behind the others of its group.
    pub(super) fn add(&mut self, group: JobGroup, job: Job, max_threads: usize) {
        let jobs = self.groups.entry(group).or_default();
        jobs.jobs.push_back(job);
        self.waiting += 1;
        if jobs.may_run(max_threads) {
            jobs.has_turn = true;
            self.turns.push_back(group);
        }
    }

    /// Takes the first job of the group whose turn it is.
    pub(super) fn take(&mut self, max_threads: usize) -> Option<(JobGroup, Job)> {
        while let Some(group) = self.turns.pop_front() {
            let Some(jobs) = self.groups.get_mut(&group) else { continue };
            jobs.has_turn = false;
            let Some(job) = jobs.jobs.pop_front() else { continue };
            self.waiting = self.waiting.saturating_sub(1);
            jobs.running += 1;
            if jobs.may_run(max_threads) {
                jobs.has_turn = true;
                self.turns.push_back(group);
            }
            return Some((group, job));
        }
        None
    }

    /// A job of the group has run. If it is not done (`rest`), it goes behind the others.
    pub(super) fn put_back(&mut self, group: JobGroup, rest: Option<Job>, max_threads: usize) {
        let jobs = self.groups.entry(group).or_default();
        jobs.running = jobs.running.saturating_sub(1);
        if let Some(job) = rest {
            jobs.jobs.push_back(job);
            self.waiting += 1;
        }
        if jobs.may_run(max_threads) {
            jobs.has_turn = true;
            self.turns.push_back(group);
        } else if jobs.jobs.is_empty() && jobs.running == 0 {
            self.groups.remove(&group);
        }
    }
}

impl GroupQueue {
    /// Whether the group should get a turn and has none yet.
    fn may_run(&self, max_threads: usize) -> bool {
        !self.has_turn && !self.jobs.is_empty() && self.running < max_threads
    }
}
