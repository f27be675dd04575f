//! What a rank leaves on disk about its run, so that the next launch can report which ranks died: a
//! small text that is there from the start, so that a process that is being killed need not write
//! anything. It contains nothing about content: that is what resume files are for.
//!
//! ```text
//! dunlin run 1            the format and its version
//! rank 3
//! process 4711 108342     its number, and when it started
//! job 1267-17f3a2
//! died 5                  one line for each death that is known, the first one first
//! stopped                 it ended in order, unfinished; without this line it did not
//! ```
//!
//! Lines are only ever added, each by one write, by the rank itself and by the witness of its host.
//! A run that ended with everything done leaves nothing.

use crate::json;
use crate::lock::lock;
use crate::supervision::watch::Neighbour;
use dunlin_base::Rank;
use dunlin_disk::{Fs, RUN_MARK, RealFs, state_folder, write_file};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt::Write;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// The first line: the format and its version.
const FORMAT: &str = "dunlin run 1";

/// The largest mark that is read, in bytes; one that lists [`MAX_DEATHS`] twice has half of that.
const MAX_MARK: u64 = 64 * 1024;

/// Deaths that one writer lists: with more, the first ones still show what happened.
const MAX_DEATHS: usize = 1000;

/// Ranks that die within so long of a death have been taken down with it: launchers that ask ranks
/// to end give them a few seconds before they kill them.
const TOGETHER: Duration = Duration::from_secs(5);

/// Characters of a job's id that are kept.
const MAX_JOB: usize = 256;

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// All is done: there is nothing to report.
    Finished,
    /// Something is left to do, and the rank ended in order.
    Stopped,
}

/// What the last run left behind in a folder.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastRun {
    /// The ranks that are known to have died, the first one first.
    #[serde(with = "json::ranks")]
    pub died: Vec<Rank>,
    /// Whether the rank that wrote here did not end in order: it was killed, or crashed.
    pub unfinished: bool,
}

impl LastRun {
    /// What the last run left below `dest`; `None` if it finished, or left nothing that can be
    /// read. To be asked before [`RunMark::begin`], which replaces it.
    #[must_use]
    pub fn read(fs: &dyn Fs, dest: &Path) -> Option<LastRun> {
        let fs = &*fs.inside(dest);
        let mark = Mark::read(fs, &path_in(fs, dest))?;
        Some(LastRun { died: mark.died, unfinished: !mark.stopped })
    }
}

/// The mark of a run that is going on. If it is never ended, the rank was killed.
#[derive(Debug)]
pub struct RunMark {
    fs: Arc<dyn Fs>,
    path: PathBuf,
    temporary: bool,
    deaths: Mutex<Deaths>,
}

/// Which deaths are causes, and which are only consequences.
#[derive(Debug, Default)]
pub(crate) struct Deaths {
    named: BTreeSet<Rank>,
    last: Option<Instant>,
}

impl Deaths {
    /// Whether a rank that died at `now` is to be named.
    pub(crate) fn names(&mut self, rank: Rank, now: Instant) -> bool {
        let with_it = self.last.is_some_and(|last| now.duration_since(last) < TOGETHER);
        let names = !with_it && self.named.len() < MAX_DEATHS && self.named.insert(rank);
        if names {
            self.last = Some(now);
        }
        names
    }
}

impl RunMark {
    /// Writes the mark of this process into the state folder below `dest`, in place of the one of
    /// an earlier run. `job` is for people.
    ///
    /// # Errors
    /// That of the operating system. A run can go on without a mark.
    pub fn begin(fs: &Arc<dyn Fs>, dest: &Path, rank: Rank, job: &str) -> io::Result<RunMark> {
        let mark = Mark::new(&Neighbour::me(rank, None), job);
        let fs = fs.inside(dest);
        let folder = state_folder(&*fs, dest);
        let path = folder.join(RUN_MARK);
        fs.create_dir_all(&folder)?;
        fs.check_state(&folder)?;
        if let Err(error) = write_file(&*fs, &path, mark.to_text().as_bytes()) {
            // What is not empty stays.
            let _ = fs.remove_dir(&folder);
            return Err(error);
        }
        Ok(RunMark { fs, path, temporary: false, deaths: Mutex::default() })
    }

    /// Writes the mark of this process into the system's folder for temporary files: for a rank
    /// that writes no files, so that the witness can see whether it ended in order. No later run
    /// reads it.
    ///
    /// # Errors
    /// That of the operating system. A run can go on without a mark.
    pub fn begin_temporary(rank: Rank, job: &str) -> io::Result<RunMark> {
        let me = Neighbour::me(rank, None);
        let (fs, path) = place_of(&RealFs, &me);
        // In a folder where all may write, nothing that is already there is written to.
        let file = fs.create_new(&path)?;
        file.write_at(&[Mark::new(&me, job).to_text().into()], 0)?;
        Ok(RunMark { fs, path, temporary: true, deaths: Mutex::default() })
    }

    /// Adds that `rank` has died, if it does not contain that yet. Ranks that die within five
    /// seconds of one that was named have been taken down with it, and are not named. The line
    /// outlives this process as soon as this returns; it need not outlive a power cut.
    pub fn died(&self, rank: Rank) {
        self.died_at(rank, Instant::now());
    }

    fn died_at(&self, rank: Rank, now: Instant) {
        let mut deaths = lock(&self.deaths);
        if deaths.names(rank, now) {
            self.add(&death(rank));
        }
    }

    /// The rank has ended in order.
    pub fn end(self, how: Ending) {
        if how == Ending::Stopped && !self.temporary {
            return self.add("stopped\n");
        }
        if let Err(error) = self.fs.remove_file(&self.path) {
            tracing::debug!(path = %self.path.display(), %error, "the run mark stays behind");
        }
        if let Some(folder) = self.path.parent().filter(|_| !self.temporary) {
            // What is not empty stays.
            let _ = self.fs.remove_dir(folder);
        }
    }

    fn add(&self, line: &str) {
        if let Err(error) = self.fs.append(&self.path, line.as_bytes()) {
            tracing::debug!(path = %self.path.display(), %error, "the run mark cannot be written");
        }
    }
}

fn death(rank: Rank) -> String {
    format!("died {}\n", rank.0)
}

fn path_in(fs: &dyn Fs, dest: &Path) -> PathBuf {
    state_folder(fs, dest).join(RUN_MARK)
}

/// Where the mark of a process is, and the file system below the folder that it is in. The name of
/// a temporary one follows from what other processes know already: its number and start.
fn place_of(fs: &dyn Fs, process: &Neighbour) -> (Arc<dyn Fs>, PathBuf) {
    if let Some(dest) = process.mark.as_deref() {
        let fs = fs.inside(dest);
        let path = path_in(&*fs, dest);
        return (fs, path);
    }
    let Neighbour { rank, pid, started, .. } = process;
    let user = rustix::process::getuid().as_raw();
    let folder = std::env::temp_dir();
    let path = folder.join(format!("dunlin-run-{user}-{pid}-{started}-{rank}"));
    (fs.inside(&folder), path)
}

/// Whether a process that has ended was killed, or died: its mark is there, and contains no
/// end.
pub(crate) fn was_killed(fs: &dyn Fs, process: &Neighbour) -> bool {
    let (fs, path) = place_of(fs, process);
    Mark::read(&*fs, &path).is_some_and(|mark| mark.is_of(process) && !mark.stopped)
}

/// Adds that `died` has died to the mark of `process`, unless that has ended in order or knows it.
pub(crate) fn add_death(fs: &dyn Fs, process: &Neighbour, died: Rank) -> io::Result<()> {
    let (fs, path) = place_of(fs, process);
    let going_on = |mark: &Mark| mark.is_of(process) && !mark.stopped;
    match Mark::read(&*fs, &path).filter(going_on) {
        Some(mark) if mark.died.len() < MAX_DEATHS && !mark.died.contains(&died) => {
            fs.append(&path, death(died).as_bytes())
        }
        _ => Ok(()),
    }
}

/// Removes the mark of a process that was killed, if it is a temporary one.
pub(crate) fn remove_temporary(fs: &dyn Fs, process: &Neighbour) -> io::Result<()> {
    if process.mark.is_some() {
        return Ok(());
    }
    let (fs, path) = place_of(fs, process);
    fs.remove_file(&path)
}

/// Begins a mark for another process, as that would.
#[cfg(test)]
pub(crate) fn begin_for(process: &Neighbour) {
    let (_, path) = place_of(&RealFs, process);
    if let Some(dest) = &process.mark {
        std::fs::create_dir_all(dest.join(dunlin_disk::STATE_DIR)).unwrap();
    }
    std::fs::write(path, Mark::new(process, "a-1").to_text()).unwrap();
}

/// Ends the mark of another process, as that would.
#[cfg(test)]
pub(crate) fn end_for(process: &Neighbour, how: Ending) {
    let ((fs, path), temporary) = (place_of(&RealFs, process), process.mark.is_none());
    let mark = RunMark { fs, path, temporary, deaths: Mutex::default() };
    mark.end(how);
}

/// The content of a mark.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mark {
    rank: Rank,
    pid: u32,
    started: u64,
    job: String,
    died: Vec<Rank>,
    stopped: bool,
}

impl Mark {
    fn new(process: &Neighbour, job: &str) -> Mark {
        let Neighbour { rank, pid, started, .. } = *process;
        let job = job.chars().filter(|c| !c.is_control()).take(MAX_JOB).collect();
        Mark { rank, pid, started, job, died: Vec::new(), stopped: false }
    }

    /// Whether it was written by this process, and not by an earlier one in the same place.
    fn is_of(&self, process: &Neighbour) -> bool {
        (self.rank, self.pid, self.started) == (process.rank, process.pid, process.started)
    }

    fn read(fs: &dyn Fs, path: &Path) -> Option<Mark> {
        Mark::of_text(&fs.read_own(path, MAX_MARK).ok()?)
    }

    fn to_text(&self) -> String {
        let Mark { rank, pid, started, job, .. } = self;
        let mut text = format!("{FORMAT}\nrank {}\nprocess {pid} {started}\njob {job}\n", rank.0);
        for rank in &self.died {
            // Writing to a text cannot fail.
            let _ = write!(text, "{}", death(*rank));
        }
        if self.stopped {
            text.push_str("stopped\n");
        }
        text
    }

    /// Reads a mark; `None` for any other text. The last line may be torn: it does not count.
    fn of_text(bytes: &[u8]) -> Option<Mark> {
        let text = std::str::from_utf8(bytes).ok()?;
        let (whole, _torn) = text.rsplit_once('\n')?;
        let mut lines = whole.split('\n');
        if lines.next()? != FORMAT {
            return None;
        }
        let rank = Rank(number(lines.next()?.strip_prefix("rank ")?)?);
        let (pid, started) = lines.next()?.strip_prefix("process ")?.split_once(' ')?;
        let job = lines.next()?.strip_prefix("job ")?.to_owned();
        let (pid, started) = (number(pid)?, number(started)?);
        let mut mark = Mark { rank, pid, started, job, died: Vec::new(), stopped: false };
        for line in lines {
            match line.strip_prefix("died ") {
                Some(rank) => mark.add_death(Rank(number(rank)?)),
                None if line == "stopped" => mark.stopped = true,
                None => return None,
            }
        }
        Some(mark)
    }

    /// Adds a death; the rank and the witness may both have written it.
    fn add_death(&mut self, rank: Rank) {
        if !self.died.contains(&rank) {
            self.died.push(rank);
        }
    }
}

/// A number as we write it: digits only, none in vain.
fn number<N: std::str::FromStr + ToString>(text: &str) -> Option<N> {
    text.parse::<N>().ok().filter(|number| number.to_string() == text)
}

#[cfg(test)]
mod tests;
