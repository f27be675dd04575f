//! Whole jobs over TCP on this host: every rank is a thread with a disk of its own, and all of the
//! fabric is at work. Links are cut, and ranks die and come back, as they do between hosts.

use super::carrier::TcpCarrier;
use super::link_table::LinkTable;
use super::wire_up::WireUp;
use crate::fabric::join::JoinError;
use crate::fabric::process::job::Job;
use crate::fabric::process::session::Hello;
use crate::report::PeerState;
use crate::{FabricKind, FoundFile, PeerConfig, PeerContent, Report, RunConfig, RunControl, run};
use dunlin_base::{Rank, Rate};
use dunlin_disk::{Fs, MemFs};
use dunlin_plan::{Have, Pattern, TokenFile};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(30);

/// What a rank has and wants: `name:bytes` words and patterns; `None` where it is no peer.
type Part = Option<(&'static str, &'static str)>;

/// How a rank's process ended.
struct Left {
    code: u8,
    report: Report,
    disk: MemFs,
}

/// One rank that runs.
struct Running {
    rank: usize,
    table: Arc<LinkTable>,
    control: RunControl,
    thread: JoinHandle<Left>,
}

/// A job of several ranks; rank 0 first.
struct Cluster {
    parts: Vec<Part>,
    root: WireUp,
    rate: Option<u64>,
    tokens: bool,
    /// Where the others find rank 0, if that is not where it is; and how long a file may stall.
    through: Option<(String, Duration)>,
}

impl Cluster {
    fn of(parts: &[Part]) -> Cluster {
        let root = WireUp::start(parts.len() as u32, Some("127.0.0.1:0".parse().expect("place")));
        let root = root.expect("a listener");
        Cluster { parts: parts.to_vec(), root, rate: None, tokens: false, through: None }
    }

    /// Starts a rank on an empty disk; returns when it has joined.
    fn start(&self, rank: usize) -> Running {
        let disk = MemFs::new();
        let wire = match rank {
            0 => self.root.clone(),
            _ => {
                let more: Vec<_> = self.through.iter().map(|(place, _)| place.clone()).collect();
                let line = self.root.line_for(Rank(rank as u32), &more);
                WireUp::of_line(&line, PATIENCE).expect("our own line")
            }
        };
        let (part, peers) = (self.parts[rank], self.parts.len() - 1);
        let (rate, tokens) = (self.rate, self.tokens);
        let stall = self.through.as_ref().map_or(2 * PATIENCE, |(_, stall)| *stall);
        let control = RunControl::new();
        let (tell, told) = channel();
        let control_too = control.clone();
        let thread = thread::spawn(move || {
            let job = Job::join_with::<JoinError>(&"work".into(), |clock, events, _| {
                let (table, started) = TcpCarrier::join(&wire, clock, events)?;
                let _ = tell.send(table);
                Ok(started)
            });
            let job = job.expect("joins");
            assert_eq!((job.work(), job.rank().0), ("work".into(), rank as u32));
            process(&job, part, peers, disk, (rate, tokens, stall), &control_too)
        });
        let table = told.recv().expect("a table");
        Running { rank, table, control, thread }
    }

    fn start_all(&self) -> Vec<Running> {
        (0..self.parts.len()).map(|rank| self.start(rank)).collect()
    }

    fn go(&self) -> Vec<Left> {
        self.start_all().into_iter().map(Running::join).collect()
    }
}

impl Running {
    fn join(self) -> Left {
        self.thread.join().expect("a rank")
    }

    /// Waits until it has moved so many bytes.
    fn wait(&self, bytes: u64) {
        let own = |one: &crate::RankProgress| one.rank.0 as usize == self.rank;
        let moved = || self.control.progress().into_iter().filter(own).map(|one| one.bytes_moved);
        while moved().max().unwrap_or(0) < bytes && !self.thread.is_finished() {
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Cuts all links at once; ranks that live make them again.
    fn cut(&self) {
        for links in self.table.all() {
            links.state().open.iter().for_each(|link| link.shutdown.shutdown());
        }
    }

    /// As if its host had died: nothing comes or goes any more.
    fn crash(&self) {
        self.table.be_quiet();
        self.table.end();
    }
}

fn process(
    job: &Job,
    part: Part,
    peers: usize,
    disk: MemFs,
    (rate, tokens, stall): (Option<u64>, bool, Duration),
    control: &RunControl,
) -> Left {
    let rank = job.rank();
    let fs: Arc<dyn Fs> = Arc::new(disk.clone());
    let mut config = if tokens { RunConfig::course(fs) } else { RunConfig::bittorrent(fs) };
    config.fabric = FabricKind::Ranks(job.clone());
    config.hash_threads = 1;
    config.max_rate = rate.map(Rate);
    config.start_timeout = PATIENCE;
    config.stall_timeout = stall;
    config.peers = part.map(|part| peer(rank, part, &disk, tokens)).into_iter().collect();
    let hello = Hello {
        highest: peers as u32,
        own: true,
        block_length: 1 << 18,
        host: "here".into(),
        ..Hello::default()
    };
    if rank == Rank::TRACKER {
        let hellos = job.hellos(PATIENCE, &|| false);
        assert_eq!(hellos.len(), peers);
        assert!(hellos.values().all(|hello| hello.host == "here"));
        if part.is_some() {
            job.set_local_hello(&hello);
        }
        assert_eq!(job.welcome(7).seed, 7);
    } else {
        let welcome = job.hello(hello, &|| false).expect("a welcome");
        assert_eq!((welcome.seed, welcome.block_length), (7, 1 << 18));
    }
    config.block_length = 1 << 18;
    let report = run(config, control);
    let code = job.leave(report.exit_code());
    Left { code, report, disk }
}

fn peer(rank: Rank, (owns, wants): (&str, &str), disk: &MemFs, tokens: bool) -> PeerConfig {
    let owns = owns.split_whitespace().map(|word| {
        let (name, length) = word.split_once(':').expect("name:bytes");
        (name, length.parse::<usize>().expect("bytes"))
    });
    if tokens {
        let token = |name: &str, at| format!("{name}-{at}-{}", "x".repeat(at % 100));
        let file = |(name, count): (&str, usize)| TokenFile {
            name: name.to_owned(),
            tokens: (0..count).map(|at| token(name, at).into()).collect(),
        };
        let content = PeerContent::Tokens {
            owned: owns.map(file).collect(),
            wanted: wants.split_whitespace().map(str::to_owned).collect(),
            out: "/out".into(),
        };
        return PeerConfig { rank, content };
    }
    let root = PathBuf::from("/data");
    let found = owns.map(|(name, length)| {
        let path = root.join(name);
        if disk.metadata(&path).is_err() {
            disk.create_dir_all(&root).expect("a folder");
            let file = disk.create_new(&path).expect("a file");
            file.write_at(&[content(name, length).into()], 0).expect("space");
        }
        FoundFile { name: name.to_owned(), path, length: length as u64 }
    });
    let found = found.collect();
    let pattern = |word| Pattern::parse(word).expect("a pattern");
    let wants = wants.split_whitespace().map(pattern).collect();
    let (dest, have) = (root.clone(), Have::Everything);
    let content =
        PeerContent::Files { root, dest, found, found_dest: vec![], have, wants, placement: None };
    PeerConfig { rank, content }
}

fn content(name: &str, length: usize) -> Vec<u8> {
    let first = name.as_bytes().first().copied().unwrap_or_default();
    (0..length).map(|at| (at * 31 + at / 251 + usize::from(first)) as u8).collect()
}

fn has(disk: &MemFs, name: &str, length: usize) -> bool {
    let path = Path::new("/data").join(name);
    disk.read_all(&path, 1 << 30).is_ok_and(|bytes| bytes == content(name, length))
}

fn states(report: &Report) -> Vec<PeerState> {
    report.peers.iter().map(|peer| peer.state).collect()
}

#[test]
fn real_files_reach_everyone() {
    let parts = [None, Some(("a:3000000 b:70001", "c")), Some(("c:1", "a")), Some(("", "a b c"))];
    let left = Cluster::of(&parts).go();
    for (rank, name, length) in
        [(1, "c", 1), (2, "a", 3_000_000), (3, "a", 3_000_000), (3, "b", 70_001)]
    {
        assert!(has(&left[rank].disk, name, length), "{rank} {name}");
    }
    assert_eq!(left.iter().map(|one| one.code).collect::<Vec<_>>(), [0; 4]);
    assert_eq!(states(&left[0].report), [PeerState::Complete; 3]);
}

#[test]
fn rank_0_is_a_peer_too() {
    let left =
        Cluster::of(&[Some(("a:3000000", "b")), Some(("b:500000", "a")), Some(("", "a b"))]).go();
    assert!(has(&left[0].disk, "b", 500_000) && has(&left[1].disk, "a", 3_000_000));
    assert!(has(&left[2].disk, "a", 3_000_000) && has(&left[2].disk, "b", 500_000));
    let report = &left[0].report;
    let ranks: Vec<u32> = report.peers.iter().map(|peer| peer.rank.0).collect();
    assert_eq!((ranks, states(report)), (vec![0, 1, 2], vec![PeerState::Complete; 3]));
    assert_eq!(left.iter().map(|one| one.code).collect::<Vec<_>>(), [0; 3]);
}

#[test]
fn tokens_reach_everyone() {
    let parts = [None, Some(("f:300", "")), Some(("", "f")), Some(("", "f"))];
    let cluster = Cluster { tokens: true, ..Cluster::of(&parts) };
    let left = cluster.go();
    assert_eq!(states(&left[0].report), [PeerState::Complete; 3]);
    for rank in [2, 3] {
        let path = format!("/out/client{rank}_f");
        let text = left[rank].disk.read_all(Path::new(&path), 1 << 20).expect("an output");
        assert_eq!(String::from_utf8(text).expect("text").lines().count(), 300);
    }
}

#[test]
fn links_that_break_are_made_again() {
    let parts = [Some(("f:6000000", "")), Some(("", "f")), Some(("", "f")), Some(("", "f"))];
    let cluster = Cluster { rate: Some(4_000_000), ..Cluster::of(&parts) };
    let ranks = cluster.start_all();
    for bytes in [500_000, 2_000_000, 4_000_000] {
        ranks[3].wait(bytes);
        ranks[(bytes % 3) as usize].cut();
        ranks[3].cut();
    }
    let left: Vec<Left> = ranks.into_iter().map(Running::join).collect();
    assert_eq!(states(&left[0].report), [PeerState::Complete; 4], "{}", left[0].report.to_json());
    assert!(left[1..].iter().all(|one| has(&one.disk, "f", 6_000_000) && one.code == 0));
}

#[test]
fn a_rank_dies_and_comes_back() {
    let parts = [None, Some(("f:8000000", "")), Some(("", "f")), Some(("", "f"))];
    let cluster = Cluster { rate: Some(2_000_000), ..Cluster::of(&parts) };
    let mut ranks = cluster.start_all();
    ranks[3].wait(1_000_000);
    let died = ranks.pop().expect("rank 3");
    died.crash();
    // Its disk is locked by what is left of it here.
    let again = cluster.start(3);
    let left: Vec<Left> = ranks.into_iter().chain([again]).map(Running::join).collect();
    assert!(has(&left[2].disk, "f", 8_000_000) && has(&left[3].disk, "f", 8_000_000));
    assert_eq!(states(&left[0].report), [PeerState::Complete; 3], "{}", left[0].report.to_json());
    assert_eq!(died.join().code, 7, "its first process was cut off");
}

#[test]
fn without_rank_0_the_others_take_what_their_neighbours_hold() {
    let parts = [None, Some(("f:6000000", "")), Some(("", "f")), Some(("", "f"))];
    let cluster = Cluster { rate: Some(3_000_000), ..Cluster::of(&parts) };
    let ranks = cluster.start_all();
    ranks[3].wait(1_000_000);
    ranks[0].crash();
    let mut left = ranks.into_iter();
    let first = left.next().expect("rank 0");
    let left: Vec<Left> = left.map(Running::join).collect();
    for one in &left[1..] {
        assert!(has(&one.disk, "f", 6_000_000), "it was finished");
        assert_eq!(one.code, 7);
        let errors = &one.report.errors;
        assert!(errors[0].to_string().contains("rank 0"), "{errors:?}");
    }
    drop(first);
}

/// Somebody on the way to rank 0 who turns a bit around in every link, at this byte of what each of
/// the two sends.
fn turner(root: &WireUp, at: usize) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let place = listener.local_addr().expect("a place").to_string();
    let line: serde_json::Value = serde_json::from_str(&root.line_for(Rank(1), &[])).expect("JSON");
    let roots = line["root"].as_array().expect("places");
    let there = roots.iter().filter_map(|place| place.as_str()).find(|at| at.starts_with("127."));
    let there = there.expect("a place on this host").to_owned();
    let pass = move |mut from: TcpStream, mut to: TcpStream| {
        let (mut bytes, mut passed) = ([0; 4096], 0);
        while let Ok(count @ 1..) = from.read(&mut bytes) {
            if let Some(byte) = at.checked_sub(passed).and_then(|at| bytes[..count].get_mut(at)) {
                *byte ^= 1;
            }
            passed += count;
            if to.write_all(&bytes[..count]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
    };
    thread::spawn(move || {
        for near in listener.incoming().map_while(Result::ok) {
            let Ok(far) = TcpStream::connect(&there) else { return };
            let (near_too, far_too) =
                (near.try_clone().expect("one"), far.try_clone().expect("one"));
            thread::spawn(move || pass(near, far));
            thread::spawn(move || pass(far_too, near_too));
        }
    });
    place
}

/// A bit is turned around in every link for ever: before anything of use has come, or in every
/// block.
#[test]
fn links_that_carry_nothing_count_against_the_stall_time() {
    // What a rank says of so many files is longer than what any link lets through.
    let many: String =
        (0..300).map(|file| format!("a-name-that-is-long-enough-{file}:1 ")).collect();
    let many: &str = Box::leak(many.into_boxed_str());
    for (at, owns) in [(1500, many), (60_000, "")] {
        let stall = Duration::from_secs(3);
        let mut cluster = Cluster::of(&[Some(("f:6000000", "")), Some((owns, "f"))]);
        cluster.through = Some((turner(&cluster.root, at), stall));
        let begun = Instant::now();
        let left = cluster.go();
        let took = begun.elapsed();
        assert!(took < stall + Duration::from_secs(10), "{at}: {took:?}");
        let reports = left.iter().map(|one| one.report.to_json().to_string());
        let report: String = reports.collect();
        assert!(left.iter().all(|one| one.code != 0), "{at}: {report}");
        assert!(
            report.contains("links with 127.0.0.1 broke one after the other"),
            "{at}: {report}"
        );
        let before = report.split(" links with").next();
        let links = before.and_then(|text| text.rsplit(|c: char| !c.is_ascii_digit()).next());
        let links: u32 = links.and_then(|count| count.parse().ok()).expect("a number");
        assert!(links < 60, "{at}: {links}");
    }
}

/// Two carriers, and what comes out of the second.
#[test]
fn the_resumable_stream_comes_once_and_in_order_whatever_breaks() {
    use crate::fabric::process::carrier::{Carrier, CarrierCommand, CarrierEvent, EventSink};
    use crate::fabric::process::message::ProcessMessage;
    use crate::trace::TraceClock;
    let heard = || -> (EventSink, Receiver<String>) {
        let (tell, told) = channel();
        let tell = Mutex::new(tell);
        let events = move |from: Rank, event| {
            let text = match event {
                CarrierEvent::Message(ProcessMessage::Session(bytes)) => {
                    String::from_utf8_lossy(&bytes).into_owned()
                }
                CarrierEvent::Lost(_) => format!("{from} lost"),
                _ => return,
            };
            let _ = tell.lock().expect("a lock").send(text);
        };
        (Box::new(events), told)
    };
    let root = WireUp::start(2, Some("127.0.0.1:0".parse().expect("a place"))).expect("a listener");
    let other = WireUp::of_line(&root.line_for(Rank(1), &[]), PATIENCE).expect("our own line");
    let ((events_0, told_0), (events_1, told_1)) = (heard(), heard());
    let clock = || Arc::new(TraceClock::default());
    let (table_0, first) = TcpCarrier::join(&root, clock(), events_0).expect("joins");
    let (_table_1, second) = TcpCarrier::join(&other, clock(), events_1).expect("joins");
    let say = |carrier: &dyn Carrier, to, text: String| {
        let message = ProcessMessage::Session(text.into());
        carrier.command(CarrierCommand::Send { to: Rank(to), message });
    };
    first.carrier.command(CarrierCommand::Greet("hello".into()));
    for number in 0..300 {
        say(&*first.carrier, 1, format!("{number} {}", "x".repeat(number * 50)));
        say(&*second.carrier, 0, number.to_string());
        if number % 40 == 20 {
            let links = table_0.of(Rank(1));
            links.state().open.iter().for_each(|link| link.shutdown.shutdown());
        }
    }
    assert_eq!(told_1.recv_timeout(PATIENCE).as_deref(), Ok("hello"));
    for number in 0..300 {
        let next = told_1.recv_timeout(PATIENCE).expect("it comes");
        assert_eq!(next.split(' ').next(), Some(number.to_string().as_str()));
        assert_eq!(told_0.recv_timeout(PATIENCE), Ok(number.to_string()));
    }
    drop(second);
    assert_eq!(told_0.recv_timeout(PATIENCE).as_deref(), Ok("1 lost"));
}
