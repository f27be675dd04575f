//! The loop of a thread that runs piece jobs.

use std::ops::ControlFlow;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::Instant;

/// What a thread does: the jobs of its worlds, pieces among them.
pub trait Chores {
    /// A job.
    type Job;

    /// Runs one job; `Break` ends the thread.
    fn run(&mut self, job: Self::Job) -> ControlFlow<()>;

    /// No job waits for now.
    fn idle(&mut self);

    /// When the next sync is due; `None` if nothing waits for one.
    fn sync_at(&self) -> Option<Instant>;

    /// Syncs what is due at `now`.
    fn sync_due(&mut self, now: Instant);
}

/// Runs jobs in order, and syncs when that is due, until a job or the end of the queue ends it.
pub fn work<C: Chores>(chores: &mut C, jobs: &Receiver<C::Job>) {
    loop {
        let next = match jobs.try_recv() {
            Ok(job) => Some(job),
            Err(TryRecvError::Disconnected) => return,
            Err(TryRecvError::Empty) => {
                chores.idle();
                match wait(jobs, chores.sync_at()) {
                    Ok(job) => job,
                    Err(()) => return,
                }
            }
        };
        if next.is_some_and(|job| chores.run(job).is_break()) {
            return;
        }
        let now = Instant::now();
        if chores.sync_at().is_some_and(|at| at <= now) {
            chores.sync_due(now);
        }
    }
}

/// The next job; `None` if the deadline comes first.
fn wait<J>(jobs: &Receiver<J>, deadline: Option<Instant>) -> Result<Option<J>, ()> {
    let Some(deadline) = deadline else { return jobs.recv().map(Some).map_err(drop) };
    match jobs.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        Ok(job) => Ok(Some(job)),
        Err(RecvTimeoutError::Timeout) => Ok(None),
        Err(RecvTimeoutError::Disconnected) => Err(()),
    }
}
