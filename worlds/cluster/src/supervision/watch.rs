//! The processes of this host: which they are, which of them can watch each other, and an event as
//! soon as one ends. It sees that a process has ended, never why: that is `witness`'s business.
//! Where the system has no way to see it, no process is watched, and that is no error.

#[cfg_attr(not(target_os = "linux"), path = "watch/nobody.rs")]
mod ends;
#[cfg(target_os = "linux")]
mod line;

pub(crate) use ends::Ends;

use crate::json;
use dunlin_base::Rank;
use ends::Waker;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::thread::JoinHandle;

/// The most that is read of a file below `/proc`, in bytes; what we look for is at its start.
const MAX_PROC: u64 = 4096;

/// The start time of a process is the 22nd field of its `stat`; this is its place among those
/// behind the name, which may hold anything and ends with the last `)`. See proc_pid_stat(5).
const STARTED: usize = 22 - 3;

/// The name of this host, as its system gives it.
#[must_use]
pub fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// A process of the job that others on its host may watch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Neighbour {
    /// The folder where its wanted files go, absolute: the run mark is in the state folder there.
    /// `None` if its mark, if any, is a temporary one.
    #[serde(with = "json::any_path")]
    pub mark: Option<PathBuf>,
    /// Its number, in its own namespace.
    pub pid: u32,
    /// Its rank.
    #[serde(with = "json::rank")]
    pub rank: Rank,
    /// When it started, in clock ticks since the system did: together with its number it is never
    /// used again. 0 where that is not known; then it is not watched.
    pub started: u64,
}

impl Neighbour {
    /// This process, as others get to know it; they can have a line to it from now on.
    #[must_use]
    pub fn me(rank: Rank, mark: Option<PathBuf>) -> Neighbour {
        let started = started("self").unwrap_or(0);
        // Others need not stand in the same folder.
        let mark = mark.and_then(|mark| std::path::absolute(mark).ok());
        let me = Neighbour { rank, pid: std::process::id(), started, mark };
        #[cfg(target_os = "linux")]
        line::begin(&me);
        me
    }

    /// One line of JSON, without its end.
    pub(crate) fn to_line(&self) -> String {
        // It has string keys, which is all that JSON asks for.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads what [`Neighbour::to_line`] wrote.
    pub(crate) fn of_line(line: &str) -> Option<Neighbour> {
        serde_json::from_str(line).ok()
    }
}

/// When a process started, in clock ticks, by its number or `self`; `None` if it is gone.
fn started(process: &str) -> Option<u64> {
    let text = read(&format!("/proc/{process}/stat"))?;
    let (_, behind_the_name) = text.rsplit_once(')')?;
    behind_the_name.split_ascii_whitespace().nth(STARTED)?.parse().ok()
}

fn read(path: &str) -> Option<String> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(MAX_PROC).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// A text that is the same for processes that can watch each other, and for no others: the running
/// system, and the namespace that numbers its processes. Where that is not known, it is a text that
/// no other process has.
#[must_use]
pub fn node_id() -> String {
    of_this_system("pid")
}

/// A text that is the same for processes of one host that see the same files at the same paths, and
/// for no others. Where that is not known, it is a text that no other process has.
#[must_use]
pub fn mount_id() -> String {
    of_this_system("mnt")
}

/// A number that no other process has.
static ALONE: OnceLock<u64> = OnceLock::new();

fn draw() -> u64 {
    getrandom::u64().unwrap_or_else(|_| u64::from(std::process::id()))
}

fn of_this_system(namespace: &str) -> String {
    let boot = read("/proc/sys/kernel/random/boot_id");
    let space = std::fs::read_link(Path::new("/proc/self/ns").join(namespace));
    match (boot, space) {
        (Some(boot), Ok(space)) => format!("{} {}", boot.trim(), space.display()),
        _ => format!("alone {namespace} {:x}", ALONE.get_or_init(draw)),
    }
}

/// A thread that reports at once when a neighbour ends. Dropping it ends the thread.
#[derive(Debug)]
pub struct Watch {
    waker: Waker,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Watches all `neighbours` from now on. `ended` is called once for each that ends, or has
    /// ended already, on the thread, in the order in which they ended; never for those that cannot
    /// be watched.
    ///
    /// # Errors
    /// If there are no more descriptors or threads.
    pub fn start(neighbours: Vec<Neighbour>, ended: Box<dyn Fn(Rank) + Send>) -> io::Result<Watch> {
        let mut ends = Ends::of(&neighbours)?;
        let waker = ends.waker();
        if ends.nobody() {
            return Ok(Watch { waker, thread: None });
        }
        let body = move || {
            loop {
                match ends.next() {
                    Ok(Some(index)) => neighbours.get(index).iter().for_each(|one| ended(one.rank)),
                    Ok(None) => break,
                    Err(error) => {
                        tracing::debug!(%error, "neighbours are not watched any more");
                        break;
                    }
                }
            }
        };
        let thread = std::thread::Builder::new().name("watch".into()).spawn(body)?;
        Ok(Watch { waker, thread: Some(thread) })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        let woken = self.waker.wake().is_ok();
        // If the callback drops it, this is the thread itself, which ends right after.
        if woken && thread.thread().id() != std::thread::current().id() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
