//! The witness: a small process that outlives the ranks of a host to record which of them died
//! first. Launchers kill all ranks within a millisecond of the first death, so no rank can write it
//! down. It kills no process, keeps nothing from ending, holds nothing of the launcher open, and
//! ends at the latest when all ranks have.
//!
//! ```text
//!   lowest rank of the host                 witness (`dunlin witness`, a session of its own)
//!   ── a line of JSON for each rank, ─────▶ watches them all
//!      then an empty one
//!   ◀──────────────────────────── "ready"
//!                                           a rank ends, and its run mark does not record that it
//!                                           ended in order: it died. That goes into all marks of
//!                                           ranks that go on; ranks that fall with it are not
//!                                           named
//! ```

use crate::fabric::mpi::descriptors;
use crate::supervision::run_mark::{self, Deaths};
use crate::supervision::watch::{Ends, Neighbour};
use dunlin_base::Rank;
use dunlin_disk::{Fs, RealFs};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;
use std::io::{self, BufRead, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

/// How long it may take to start: an executable on a slow network drive, a host that is too busy.
const START: Timespec = Timespec { tv_sec: 5, tv_nsec: 0 };

/// The longest line, in bytes: a path, escaped, and three numbers.
const MAX_LINE: u64 = 64 * 1024;

/// The most ranks of one host.
const MAX_NEIGHBOURS: usize = 65_536;

/// What the witness writes once it watches.
const READY: &[u8] = b"ready\n";

/// The witness of a host, which was started by this process. Dropping it leaves the witness alone:
/// it ends when all ranks have.
#[derive(Debug)]
pub struct Witness {
    child: Child,
}

impl Witness {
    /// Starts a witness of these ranks, of which this process is one, and waits until it watches.
    ///
    /// A rank may begin its mark later than that: marks are read only when a rank has ended.
    ///
    /// # Errors
    /// If it cannot be started, or cannot watch. A run can go on without it.
    pub fn spawn(neighbours: &[Neighbour]) -> io::Result<Witness> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg0("dunlin").arg("witness");
        Witness::spawn_as(command, neighbours)
    }

    /// As [`Witness::spawn`], by any command that calls [`witness`] with its standard input.
    ///
    /// # Errors
    /// As [`Witness::spawn`].
    #[doc(hidden)]
    pub fn spawn_as(mut command: Command, neighbours: &[Neighbour]) -> io::Result<Witness> {
        // No folder is kept from being unmounted, and no stream of the launcher's from ending.
        command.current_dir("/");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn()?;
        if let Err(error) = instruct(&mut child, neighbours) {
            let _ = child.kill();
            let _ = child.wait();
            return Err(error);
        }
        Ok(Witness { child })
    }

    /// The number of its process.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }
}

/// Sends the witness the processes to watch, and waits until it watches.
fn instruct(child: &mut Child, neighbours: &[Neighbour]) -> io::Result<()> {
    let (Some(mut input), Some(mut output)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(io::ErrorKind::BrokenPipe.into());
    };
    let mut lines: String = neighbours.iter().map(|one| one.to_line() + "\n").collect();
    lines.push('\n');
    input.write_all(lines.as_bytes())?;
    let mut waited_for = [PollFd::new(&output, PollFlags::IN)];
    if retry_on_intr(|| poll(&mut waited_for, Some(&START)))? == 0 {
        return Err(io::ErrorKind::TimedOut.into());
    }
    let mut said = [0; READY.len()];
    // One short write comes in one piece; without it, this is the end of the stream.
    output.read_exact(&mut said)?;
    if said == READY { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
}

/// The whole life of the witness, which must be a process of its own: it gives up what it got from
/// its parent. `input` has a line for each rank, and an empty one. Returns when all have ended.
///
/// # Errors
/// If the input is malformed, or processes cannot be watched on this system.
pub fn witness(input: impl BufRead) -> io::Result<()> {
    descriptors::close_inherited();
    // A signal to the launcher's session, or to its group, is not for us. If we lead a session
    // already, there is nothing to leave.
    let _ = rustix::process::setsid();
    let neighbours = read(input)?;
    observe(&RealFs, &neighbours, || {
        let mut output = io::stdout();
        // If the pipe is closed, the parent is the first that died.
        let _ = output.write_all(READY).and_then(|()| output.flush());
    })
}

fn read(mut input: impl BufRead) -> io::Result<Vec<Neighbour>> {
    let mut neighbours = Vec::new();
    loop {
        let mut line = String::new();
        input.by_ref().take(MAX_LINE).read_line(&mut line)?;
        if line == "\n" {
            return Ok(neighbours);
        }
        let one = line.strip_suffix('\n').and_then(Neighbour::of_line);
        let one = one.filter(|_| neighbours.len() < MAX_NEIGHBOURS);
        neighbours.push(one.ok_or(io::ErrorKind::InvalidData)?);
    }
}

/// Watches until all have ended; `ready` is called once all are watched.
fn observe(fs: &dyn Fs, neighbours: &[Neighbour], ready: impl FnOnce()) -> io::Result<()> {
    let mut ends = Ends::of(neighbours)?;
    if ends.nobody() {
        return Err(io::ErrorKind::Unsupported.into());
    }
    ready();
    let mut deaths = Deaths::default();
    while let Some(index) = ends.next()? {
        let Some(one) = neighbours.get(index) else { continue };
        if !run_mark::was_killed(fs, one) {
            continue;
        }
        if deaths.names(one.rank, Instant::now()) {
            record_death(fs, neighbours, one.rank);
        }
        if let Err(error) = run_mark::remove_temporary(fs, one) {
            tracing::debug!(rank = %one.rank, %error, "its temporary mark stays behind");
        }
    }
    Ok(())
}

/// Writes into all marks of ranks that did not end in order that `died` has died.
fn record_death(fs: &dyn Fs, neighbours: &[Neighbour], died: Rank) {
    for one in neighbours {
        if let Err(error) = run_mark::add_death(fs, one, died) {
            tracing::debug!(rank = %one.rank, %error, "its mark cannot be written");
        }
    }
}

#[cfg(test)]
mod tests;
