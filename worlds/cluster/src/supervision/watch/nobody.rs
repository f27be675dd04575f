//! Where the system has no pidfds and no epoll, nobody is watched.

use super::Neighbour;
use std::io;

/// Of no neighbours at all.
#[derive(Debug)]
pub(crate) struct Ends;

/// Has nobody to wake.
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
