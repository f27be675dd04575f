//! Where the system has no pidfds and no epoll, no process is watched.

use super::Neighbour;
use std::io;

/// The ends of no processes.
#[derive(Debug)]
pub(crate) struct Ends;

/// Wakes nothing.
#[derive(Debug)]
pub(super) struct Waker;

impl Waker {
    pub(super) fn wake(&self) -> io::Result<()> {
        Ok(())
    }
}

impl Ends {
    pub(crate) fn of(_: &[Neighbour]) -> io::Result<Ends> {
        Ok(Ends)
    }

    pub(super) fn waker(&self) -> Waker {
        Waker
    }

    pub(crate) fn nobody(&self) -> bool {
        true
    }

    pub(crate) fn next(&mut self) -> io::Result<Option<usize>> {
        Ok(None)
    }
}
