//! The transport over real libraries. A test starts this very binary again, as the ranks of a job,
//! under the launchers that are installed; what each rank did it leaves in a file.

use super::*;
use crate::fabric::mpi::transport::STREAM_TAG;
use crate::fabric::process::launcher::Launcher;
use dunlin_disk::BufferPool;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Ranks of a job.
const RANKS: u32 = 4;
/// Where a rank leaves its files; the sign that this binary runs as a rank.
const FOLDER: &str = "DUNLIN_TEST_MPI_FOLDER";
/// The library of a job, if it is not the launcher's own.
const LIBRARY: &str = "DUNLIN_TEST_MPI_LIB";
/// Launchers to use instead of those that the system has, one a line; `N` becomes the ranks.
const LAUNCHERS: &str = "DUNLIN_TEST_MPI_LAUNCHERS";
/// What the system's packages have. Both run as root in a container that has no other user.
const INSTALLED: &str = "mpirun.openmpi --oversubscribe -np N\nmpiexec.mpich -np N";

/// What the ranks of a job left, by the names of the files.
type Left = BTreeMap<String, String>;

/// Runs a job; `program` is the test that its ranks run.
fn job(launcher: &str, program: &str, library: Option<&str>) -> Left {
    let folder = tempfile::tempdir().expect("a folder");
    // A launcher that hangs before any rank has started says nothing of the transport.
    for attempt in 0..2 {
        let words = launcher.split_whitespace();
        // Its own process group, ended as a whole.
        let mut command = Command::new("timeout");
        command.args(["--kill-after=5", "60"]);
        command
            .args(words.map(|word| if word == "N" { RANKS.to_string() } else { word.to_owned() }));
        command.arg(std::env::current_exe().expect("this binary"));
        let module = module_path!().split_once("::").expect("a crate").1;
        command.args(["--exact", &format!("{module}::{program}"), "--ignored", "--nocapture"]);
        command.env(FOLDER, folder.path());
        command.env("OMPI_ALLOW_RUN_AS_ROOT", "1").env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1");
        if let Some(library) = library {
            command.env(LIBRARY, library);
        }
        let output = command.output().unwrap_or_else(|error| panic!("{launcher}: {error}"));
        let left = left_in(folder.path());
        if output.status.success() {
            return left;
        }
        let hung = output.status.code() == Some(124) && left.is_empty();
        let errors = String::from_utf8_lossy(&output.stderr);
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(hung && attempt == 0, "{launcher}: {}\n{said}\n{errors}\n{left:?}", output.status);
    }
    unreachable!("the second attempt ends or fails");
}

fn left_in(folder: &Path) -> Left {
    let entries = std::fs::read_dir(folder).expect("a folder");
    let files = entries.map(|entry| entry.expect("a file").path());
    let name = |file: &PathBuf| file.file_name().expect("a name").to_string_lossy().into_owned();
    files
        .map(|file| {
            (
                name(&file),
                std::fs::read(&file)
                    .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
                    .expect("a file"),
            )
        })
        .collect()
}

fn launchers() -> Vec<String> {
    let given = std::env::var(LAUNCHERS);
    given.as_deref().unwrap_or(INSTALLED).lines().map(str::to_owned).collect()
}

#[test]
#[ignore = "needs the launchers of Open MPI and MPICH; scripts/test runs it"]
fn four_ranks_exchange_every_kind_of_message_under_every_launcher() {
    let library = std::env::var(LIBRARY).ok();
    for launcher in launchers() {
        let left = job(&launcher, "messages", library.as_deref());
        for rank in 0..RANKS {
            let done = left.get(&format!("done.{rank}"));
            assert!(done.is_some(), "{launcher}: rank {rank} left nothing: {left:?}");
        }
        let first = left.get("done.0").expect("rank 0");
        std::io::Write::write_all(
            &mut std::io::stderr(),
            format!("{launcher}: {first}\n").as_bytes(),
        )
        .expect("a line");
    }
}

#[test]
#[ignore = "needs the launchers of Open MPI and MPICH; scripts/test runs it"]
fn messages_that_nobody_wants_do_not_keep_a_job_from_ending() {
    let library = std::env::var(LIBRARY).ok();
    for launcher in launchers() {
        let left = job(&launcher, "leftovers", library.as_deref());
        let done = left.keys().filter(|name| name.starts_with("done.")).count();
        assert_eq!(done, RANKS as usize, "{launcher}: {left:?}");
    }
}

#[test]
#[ignore = "needs the launchers of Open MPI and MPICH; scripts/test runs it"]
fn the_library_of_another_launcher_is_refused() {
    for (launcher, library, name) in [
        ("mpirun.openmpi --oversubscribe -np N", "libmpich.so.12", "mpirun of Open MPI"),
        ("mpiexec.mpich -np N", "libmpi.so.40", "mpiexec of MPICH or its kin"),
    ] {
        let left = job(launcher, "strangers", Some(library));
        for rank in 0..RANKS {
            let error = left.get(&format!("refused.{rank}"));
            let error = error.unwrap_or_else(|| panic!("{launcher}: {left:?}"));
            let wanted =
                format!("started by {name} as rank {rank} of {RANKS}, but the MPI library");
            for wanted in [&wanted, library, "came up as rank 0 of 1", "--mpi-lib"] {
                assert!(error.contains(wanted), "{launcher}: {wanted}: {error}");
            }
        }
    }
}

/// Launcher and library of this process, if it is a rank of a job that a test started.
fn start() -> Option<(PathBuf, Launcher, Result<Native, StartError>)> {
    let folder = PathBuf::from(std::env::var_os(FOLDER)?);
    let launcher = Launcher::detect(&|name| std::env::var(name).ok()).expect("a launcher");
    std::fs::write(folder.join(format!("started.{}", launcher.rank)), "").expect("a file");
    let given = std::env::var_os(LIBRARY).map(PathBuf::from);
    let library = Library::load(Some(&launcher), given.as_deref()).expect("a library");
    let native = Native::init(library, launcher.size);
    Some((folder, launcher, native))
}

#[test]
#[ignore = "what the ranks run; by itself it does nothing"]
fn strangers() {
    let Some((folder, launcher, native)) = start() else { return };
    let error = native.map(|_| "no error").unwrap_err().to_string();
    std::fs::write(folder.join(format!("refused.{}", launcher.rank)), error).expect("a file");
}

#[test]
#[ignore = "what the ranks run; by itself it does nothing"]
fn messages() {
    let Some((folder, launcher, native)) = start() else { return };
    let native = native.expect("MPI");
    assert_eq!((native.rank(), native.size()), (launcher.rank, RANKS));
    let version = native.library_version();
    // Plugins that the library loads look its names up here.
    let everybody = libloading::os::unix::Library::this();
    // SAFETY: the type is that of a plain address; nothing is read from there or called.
    let seen = unsafe { everybody.get::<*mut c_void>(b"MPI_Init_thread") };
    assert!(seen.is_ok_and(|symbol| !symbol.is_null()));
    let mut rank = Rank::new(native);
    let disorder = rank.streams();
    rank.tagged();
    rank.lanes();
    rank.too_long();
    rank.cancelled();
    let look = rank.price_of_a_look();
    let Rank { native, pool, .. } = rank;
    assert!(native.open() >= STREAMS, "the receives of the streams are still posted");
    native.finalize();
    assert_eq!(Arc::strong_count(&pool), 1, "every buffer has come back");
    let text = format!(
        "{version}\n  {disorder} of {} messages of a stream ended out of order; a look at \
         {STREAMS} open receives takes {} ns",
        MESSAGES * (RANKS - 1),
        look.as_nanos()
    );
    std::fs::write(folder.join(format!("done.{}", launcher.rank)), text).expect("a file");
}

#[test]
#[ignore = "what the ranks run; by itself it does nothing"]
fn leftovers() {
    let Some((folder, launcher, native)) = start() else { return };
    let mut rank = Rank::new(native.expect("MPI"));
    // Nobody ever asks for these: a long one waits for its receiver, short ones lie there.
    for (tag, len) in [(40, LARGE), (41, 100), (42, 0)] {
        rank.send(Lane::Data, rank.next, tag, pattern(1, len));
    }
    rank.meet();
    rank.native.finalize();
    std::fs::write(folder.join(format!("done.{}", launcher.rank)), "").expect("a file");
}

/// Wildcard receives that are posted for streams.
const STREAMS: usize = 64;
/// Messages of each rank to each other.
const MESSAGES: u32 = 500;
/// A message that no library sends before the receive is posted, in bytes.
const LARGE: usize = 300_000;

/// One rank of the job at work.
struct Rank {
    native: Native,
    pool: Arc<BufferPool>,
    /// What has ended, but for the receives of the streams.
    ended: BTreeMap<OperationId, Done>,
    /// What has come by the streams: from whom, what, and the number of its receive.
    inbox: Vec<(u32, Vec<u8>, OperationId)>,
    streams: BTreeSet<OperationId>,
    next: u32,
    before: u32,
    /// Where the neighbours have met so far.
    places: u16,
}

/// The bytes of a block that both sides know.
fn pattern(seed: u32, len: usize) -> Vec<u8> {
    (0..len as u32).map(|at| (at.wrapping_mul(31).wrapping_add(seed * 7) >> 3) as u8).collect()
}

impl Rank {
    fn new(native: Native) -> Rank {
        let (rank, size) = (native.rank(), native.size());
        let mut rank = Rank {
            native,
            pool: BufferPool::new(64 << 20),
            ended: BTreeMap::new(),
            inbox: Vec::new(),
            streams: BTreeSet::new(),
            next: (rank + 1) % size,
            before: (rank + size - 1) % size,
            places: 0,
        };
        for _ in 0..STREAMS {
            rank.post_stream();
        }
        rank
    }

    fn post_stream(&mut self) {
        let id = self.post(Lane::Control, None, STREAM_TAG, 4096);
        self.streams.insert(id);
    }

    fn post(&mut self, lane: Lane, from: Option<u32>, tag: u16, len: usize) -> OperationId {
        let buffer = self.pool.take(len);
        self.native.receive(lane, from, tag, buffer).expect("a receive")
    }

    fn send(&mut self, lane: Lane, to: u32, tag: u16, data: Vec<u8>) -> OperationId {
        self.native.send(lane, to, tag, data.into()).expect("a send")
    }

    /// One look; whether anything has ended.
    fn look(&mut self) -> bool {
        let mut done = Vec::new();
        self.native.poll(&mut done).expect("a look");
        let any = !done.is_empty();
        for done in done {
            let id = match &done {
                Done::Sent { id }
                | Done::Received { id, .. }
                | Done::Cancelled { id }
                | Done::Failed { id, .. } => *id,
            };
            if !self.streams.remove(&id) {
                assert!(self.ended.insert(id, done).is_none(), "{id:?} ended twice");
                continue;
            }
            let Done::Received { from, buffer, len, .. } = done else { panic!("{done:?}") };
            self.inbox.push((from, buffer.as_ref()[..len].to_vec(), id));
            self.post_stream();
        }
        any
    }

    /// Looks until something holds.
    fn until(&mut self, what: &str, holds: impl Fn(&Rank) -> bool) {
        let end = Instant::now() + Duration::from_secs(40);
        while !holds(self) {
            let rank = self.native.rank();
            assert!(Instant::now() < end, "rank {rank} still waits for {what}");
            if !self.look() {
                std::thread::sleep(Duration::from_micros(50));
            }
        }
    }

    /// How this operation ended, once it has.
    fn end_of(&mut self, id: OperationId) -> Done {
        self.until(&format!("{id:?}"), |rank| rank.ended.contains_key(&id));
        self.ended.remove(&id).expect("it has ended")
    }

    /// The payload of a receive, once it has landed.
    fn payload(&mut self, id: OperationId, from: u32) -> Vec<u8> {
        match self.end_of(id) {
            Done::Received { from: found, buffer, len, .. } => {
                assert_eq!(found, from);
                buffer.as_ref()[..len].to_vec()
            }
            other => panic!("{other:?}"),
        }
    }

    fn sent(&mut self, id: OperationId) {
        let end = self.end_of(id);
        assert!(matches!(end, Done::Sent { .. }), "{end:?}");
    }

    /// Waits until both neighbours have got here.
    fn meet(&mut self) {
        self.places += 1;
        let (tag, neighbours) = (100 + self.places, [self.next, self.before]);
        let receives = neighbours.map(|from| self.post(Lane::Tracker, Some(from), tag, 0));
        let sends = neighbours.map(|to| self.send(Lane::Tracker, to, tag, Vec::new()));
        for (from, id) in neighbours.into_iter().zip(receives) {
            assert_eq!(self.payload(id, from), b"");
        }
        sends.into_iter().for_each(|send| self.sent(send));
    }

    /// Every rank sends to every other one; how many came out of their order.
    fn streams(&mut self) -> usize {
        let (me, size) = (self.native.rank(), self.native.size());
        let mut sends = Vec::new();
        for number in 0..MESSAGES {
            for to in (0..size).filter(|to| *to != me) {
                // Every seventh is as long as a fragment can be.
                let len = if number % 7 == 0 { 4096 } else { 40 };
                let mut data = pattern(me + number, len);
                data[..4].copy_from_slice(&number.to_be_bytes());
                sends.push(self.send(Lane::Control, to, STREAM_TAG, data));
            }
            self.look();
        }
        let all = (MESSAGES * (size - 1)) as usize;
        self.until("the streams", |rank| rank.inbox.len() >= all);
        sends.into_iter().for_each(|send| self.sent(send));
        let mut disorder = 0;
        let mut inbox = std::mem::take(&mut self.inbox);
        for from in (0..size).filter(|from| *from != me) {
            let numbers = |inbox: &[(u32, Vec<u8>, OperationId)]| -> Vec<u32> {
                let mine = inbox.iter().filter(|(who, ..)| *who == from);
                mine.map(|(_, what, _)| u32::from_be_bytes(what[..4].try_into().expect("four")))
                    .collect()
            };
            let came = numbers(&inbox);
            disorder += came.windows(2).filter(|pair| pair[0] > pair[1]).count();
            // Receives are matched in the order in which they were posted, whenever they end.
            let mut posted = inbox.clone();
            posted.sort_by_key(|(.., id)| *id);
            assert_eq!(numbers(&posted), (0..MESSAGES).collect::<Vec<_>>());
        }
        for (from, what, _) in inbox.drain(..) {
            let number = u32::from_be_bytes(what[..4].try_into().expect("four"));
            assert_eq!(what[4..], pattern(from + number, what.len())[4..]);
        }
        self.meet();
        disorder
    }

    /// Blocks under the tags of their receiver, sent in another order; the smallest is empty.
    fn tagged(&mut self) {
        let (me, next, before) = (self.native.rank(), self.next, self.before);
        let len = |tag: u16| (usize::from(tag) - 1) * LARGE / 7;
        let tags = (1..=8).chain([MAX_TAG]);
        let len = |tag: u16| if tag == MAX_TAG { 5 } else { len(tag) };
        let receives: Vec<_> = tags
            .clone()
            .map(|tag| (tag, self.post(Lane::Data, Some(before), tag, len(tag))))
            .collect();
        self.meet();
        let sends: Vec<_> = tags
            .rev()
            .map(|tag| self.send(Lane::Data, next, tag, pattern(me + u32::from(tag), len(tag))))
            .collect();
        for (tag, id) in receives {
            let found = self.payload(id, before);
            assert!(found == pattern(before + u32::from(tag), len(tag)), "tag {tag}");
        }
        sends.into_iter().for_each(|send| self.sent(send));
        self.meet();
    }

    /// The same tag on every lane, sent before and after it is expected, in any order.
    fn lanes(&mut self) {
        let (next, before) = (self.next, self.before);
        let data = self.send(Lane::Data, next, 9, b"data".to_vec());
        let tracker = self.send(Lane::Tracker, next, 9, b"tracker".to_vec());
        self.meet();
        let of_tracker = self.post(Lane::Tracker, None, 9, 100);
        let of_data = self.post(Lane::Data, Some(before), 9, 100);
        assert_eq!(self.payload(of_tracker, before), b"tracker");
        assert_eq!(self.payload(of_data, before), b"data");
        self.sent(data);
        self.sent(tracker);
        self.meet();
    }

    /// A message that is longer than its buffer, among some that are not. It is short: Open MPI 4.1
    /// and 5.0 write beyond the buffer when one comes that they move without copies of their own.
    fn too_long(&mut self) {
        let (next, before) = (self.next, self.before);
        let lengths = [(20, LARGE, LARGE), (21, 100, 1000), (22, 100, 100)];
        let receives = lengths.map(|(tag, room, _)| self.post(Lane::Data, Some(before), tag, room));
        self.meet();
        let sends = lengths.map(|(tag, _, len)| self.send(Lane::Data, next, tag, pattern(9, len)));
        for ((tag, room, len), id) in lengths.into_iter().zip(receives) {
            match self.end_of(id) {
                Done::Failed { error, .. } if len > room => {
                    let text = error.to_string();
                    assert!(text.starts_with("MPI_Irecv: "), "{text}");
                    assert!(text.to_lowercase().contains("truncated"), "{text}");
                }
                Done::Received { buffer, len: found, .. } if len <= room => {
                    assert!(buffer.as_ref()[..found] == pattern(9, len), "tag {tag}");
                }
                other => panic!("tag {tag}: {other:?}"),
            }
        }
        sends.into_iter().for_each(|send| self.sent(send));
        self.meet();
    }

    /// Receives that nobody will match, among one that somebody does.
    fn cancelled(&mut self) {
        let (next, before) = (self.next, self.before);
        let lost = [30, 31, 32].map(|tag| self.post(Lane::Data, Some(before), tag, LARGE));
        let found = self.post(Lane::Data, Some(before), 33, 100);
        for id in lost {
            self.native.cancel(id);
        }
        for id in lost {
            let end = self.end_of(id);
            assert!(matches!(end, Done::Cancelled { .. }), "{end:?}");
        }
        // Its message is here already: then cancelling comes too late, and it lands.
        let send = self.send(Lane::Data, next, 33, b"late".to_vec());
        self.meet();
        self.until("the late one", |rank| rank.ended.contains_key(&found));
        self.native.cancel(found);
        assert_eq!(self.payload(found, before), b"late");
        self.sent(send);
        self.meet();
    }

    /// What a look costs when nothing, or hardly anything, ends.
    fn price_of_a_look(&mut self) -> Duration {
        const LOOKS: u32 = 2000;
        let start = Instant::now();
        for _ in 0..LOOKS {
            self.look();
        }
        let took = start.elapsed() / LOOKS;
        self.meet();
        took
    }
}
