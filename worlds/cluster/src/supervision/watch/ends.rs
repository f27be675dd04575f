//! The ends of processes, in the order in which they come: a line or a pidfd for each, and one
//! epoll for all. See pidfd_open(2) and epoll(7). No process is ever signalled, traced or waited
//! for.

use super::{Neighbour, line, started};
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{EventfdFlags, eventfd};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;

/// The mark of the descriptor that wakes; all others are places in the list of neighbours.
const WAKE: u64 = u64::MAX;

/// Neighbours that are watched, and those that have ended and were not given out yet.
#[derive(Debug)]
pub(crate) struct Ends {
    epoll: OwnedFd,
    /// Who is watched, by the place in the list.
    watched: BTreeMap<u64, OwnedFd>,
    /// Those that had ended before, in the order of the list.
    early: VecDeque<usize>,
    wake: Arc<OwnedFd>,
}

/// Wakes who waits for an end.
#[derive(Debug)]
pub(super) struct Waker(Arc<OwnedFd>);

impl Waker {
    /// From now on [`Ends::next`] returns `None`.
    pub(super) fn wake(&self) -> io::Result<()> {
        rustix::io::write(&self.0, &1_u64.to_ne_bytes())?;
        Ok(())
    }
}

impl Ends {
    /// Begins to watch. Who cannot be watched is left out.
    pub(crate) fn of(neighbours: &[Neighbour]) -> io::Result<Ends> {
        let wake = Arc::new(eventfd(0, EventfdFlags::CLOEXEC)?);
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let mut ends = Ends { epoll, watched: BTreeMap::new(), early: VecDeque::new(), wake };
        ends.add(&ends.wake, WAKE)?;
        for (index, one) in neighbours.iter().enumerate() {
            match open(one) {
                Ok(Some(process)) => {
                    ends.add(&process, index as u64)?;
                    ends.watched.insert(index as u64, process);
                }
                Ok(None) => ends.early.push_back(index),
                Err(error) => {
                    tracing::debug!(rank = %one.rank, %error, "this neighbour is not watched");
                }
            }
        }
        Ok(ends)
    }

    pub(super) fn waker(&self) -> Waker {
        Waker(Arc::clone(&self.wake))
    }

    /// Whether nothing will come any more.
    pub(crate) fn nobody(&self) -> bool {
        self.watched.is_empty() && self.early.is_empty()
    }

    /// Waits until the next process ends: its place in the list. `None` when none is left, or when
    /// woken.
    pub(crate) fn next(&mut self) -> io::Result<Option<usize>> {
        if let Some(index) = self.early.pop_front() {
            return Ok(Some(index));
        }
        while !self.watched.is_empty() {
            let index = self.wait()?;
            if index == WAKE {
                return Ok(None);
            }
            if let Some(process) = self.watched.remove(&index) {
                // Closing alone would not do while a child that is just being started shares it.
                epoll::delete(&self.epoll, &process)?;
                return Ok(Some(index as usize));
            }
        }
        Ok(None)
    }

    /// One event at a time: epoll keeps what is ready in the order in which it became so, and what
    /// was given out is taken off before the next is asked for.
    fn wait(&self) -> io::Result<u64> {
        let mut events = Vec::with_capacity(1);
        loop {
            let buffer = rustix::buffer::spare_capacity(&mut events);
            match epoll::wait(&self.epoll, buffer, None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            if let Some(event) = events.pop() {
                return Ok(event.data.u64());
            }
        }
    }

    fn add(&self, what: impl AsFd, mark: u64) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, what, EventData::new_u64(mark), EventFlags::IN)?)
    }
}

/// A descriptor that can be read once the process has ended; `None` if it has already.
fn open(one: &Neighbour) -> io::Result<Option<OwnedFd>> {
    let pid = i32::try_from(one.pid).ok().and_then(Pid::from_raw);
    let pid = pid.filter(|_| one.started != 0).ok_or(io::ErrorKind::InvalidInput)?;
    match line::to(one) {
        Ok(line) => return Ok(Some(line)),
        // It holds none, or has ended, or is in another network namespace.
        Err(error) => tracing::debug!(rank = %one.rank, %error, "no line to this neighbour"),
    }
    let process = match pidfd_open(pid, PidfdFlags::empty()) {
        Err(Errno::SRCH) => return Ok(None),
        opened => opened?,
    };
    // The number may be another's by now. If the start time is gone, so is the process, and the
    // descriptor becomes readable.
    let same = started(&one.pid.to_string()).is_none_or(|started| started == one.started);
    Ok(same.then_some(process))
}
