//! Whole jobs over the loop-back transport: every rank is a thread with a disk of its own, and all
//! of the fabric but the library itself is at work.

use super::endpoint::MpiEndpoint;
use super::loopback::{Hub, Loopback};
use super::start_over;
use super::transport::{Lane, STREAM_TAG};
use crate::fabric::join::JoinError;
use crate::fabric::process::job::Job as Member;
use crate::fabric::process::message::ProcessMessage;
use crate::fabric::process::packet::Packet;
use crate::fabric::process::session::Hello;
use crate::fault::Fault;
use crate::report::PeerState;
use crate::{
    FabricKind, FoundFile, PeerConfig, PeerContent, Report, RunConfig, RunControl, TraceSink, run,
};
use bytes::Bytes;
use dunlin_base::{Rank, Rng};
use dunlin_disk::{Fs, MemFs};
use dunlin_plan::{Have, Pattern, TokenFile};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// What a rank has and wants: `name:bytes` words and patterns.
type Part = (&'static str, &'static str);

/// How a rank's process ended.
struct Left {
    code: u8,
    report: Report,
    disk: MemFs,
}

/// How far the ranks are.
struct Moved(Vec<RunControl>);

impl Moved {
    /// Waits until this rank has moved so many bytes.
    fn wait(&self, rank: usize, bytes: u64) {
        let enough = || self.0[rank].progress().iter().any(|one| one.bytes_moved >= bytes);
        while !enough() {
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// A process's part in a job over its end of the loop-back.
fn join(end: Loopback, finalize: fn(Loopback)) -> Member {
    let joined = Member::join_with(&"work".into(), |clock, events, failed| {
        start_over(move || Ok((end, "loop-back".into())), finalize, clock, events, failed)
            .map_err(JoinError::from)
    });
    let job = joined.expect("joins");
    assert_eq!(job.work(), "work");
    job
}

/// A job to be run.
struct Job {
    parts: Vec<Part>,
    tokens: bool,
    faults: Vec<Fault>,
    trace: Option<TraceSink>,
}

impl Job {
    fn files(parts: &[Part]) -> Job {
        Job { parts: parts.to_vec(), tokens: false, faults: Vec::new(), trace: None }
    }

    fn tokens(parts: &[Part]) -> Job {
        Job { tokens: true, ..Job::files(parts) }
    }

    /// Runs it; `meddle` has the hub while it runs, and how many bytes a rank has moved. Rank 0
    /// first.
    fn go(self, meddle: impl FnOnce(&Hub, &Moved)) -> Vec<Left> {
        let (hub, ends) = Hub::of(self.parts.len() as u32 + 1);
        let moved = Moved(ends.iter().map(|_| RunControl::new()).collect());
        let job = Arc::new(self);
        let start = |(rank, end): (usize, Loopback)| {
            let (job, control) = (Arc::clone(&job), moved.0[rank].clone());
            thread::spawn(move || job.process(rank as u32, end, &control))
        };
        let threads: Vec<_> = ends.into_iter().enumerate().map(start).collect();
        meddle(&hub, &moved);
        threads.into_iter().map(|thread| thread.join().expect("a rank")).collect()
    }

    fn process(&self, rank: u32, end: Loopback, control: &RunControl) -> Left {
        let job = join(end, drop);
        assert_eq!(job.rank(), Rank(rank));
        let disk = MemFs::new();
        let fs: Arc<dyn Fs> = Arc::new(disk.clone());
        let mut config =
            if self.tokens { RunConfig::course(fs) } else { RunConfig::bittorrent(fs) };
        (config.fabric, config.faults) = (FabricKind::Ranks(job.clone()), self.faults.clone());
        config.hash_threads = 1;
        if rank == 0 {
            config.trace = self.trace.clone();
            let hellos = job.hellos(Duration::from_secs(30), &|| false);
            assert_eq!(hellos.len(), self.parts.len());
            job.welcome(7);
        } else {
            config.trace = self.trace.as_ref().map(|_| TraceSink::remote());
            config.peers = vec![self.peer(rank, &disk)];
            let hello = Hello {
                highest: rank,
                own: true,
                block_length: [1 << 20, 1 << 18][rank as usize % 2],
                ..Hello::default()
            };
            let welcome = job.hello(hello, &|| false).expect("a welcome");
            assert_eq!((welcome.seed, welcome.block_length), (7, 1 << 18));
            config.block_length = welcome.block_length;
        }
        let report = run(config, control);
        let code = job.leave(report.exit_code());
        Left { code, report, disk }
    }

    fn peer(&self, rank: u32, disk: &MemFs) -> PeerConfig {
        let (owns, wants) = self.parts[rank as usize - 1];
        let owns = owns.split_whitespace().map(|word| {
            let (name, length) = word.split_once(':').expect("name:bytes");
            (name, length.parse().expect("bytes"))
        });
        let content = if self.tokens {
            let owned = owns.map(|(name, count)| tokens(name, count)).collect();
            let wanted = wants.split_whitespace().map(str::to_owned).collect();
            PeerContent::Tokens { owned, wanted, out: "/out".into() }
        } else {
            let root = PathBuf::from("/data");
            let found = owns.map(|(name, length)| put(disk, name, length)).collect();
            let wants = wants.split_whitespace().map(|text| Pattern::parse(text).expect("pattern"));
            PeerContent::Files {
                placement: None,
                dest: root.clone(),
                root,
                found,
                found_dest: Vec::new(),
                have: Have::Everything,
                wants: wants.collect(),
            }
        };
        PeerConfig { rank: Rank(rank), content }
    }
}

fn tokens(name: &str, count: usize) -> TokenFile {
    let token = |index| Bytes::from(format!("{name}-{index:04x}"));
    TokenFile { name: name.to_owned(), tokens: (0..count).map(token).collect() }
}

fn bytes_of(name: &str, length: usize) -> Vec<u8> {
    let mut rng = Rng::new(name.bytes().fold(7, |seed, byte| seed * 31 + u64::from(byte)));
    (0..length).map(|_| rng.next_u64() as u8).collect()
}

fn put(disk: &MemFs, name: &str, length: usize) -> FoundFile {
    let path = Path::new("/data").join(name);
    disk.create_dir_all(path.parent().expect("a parent")).expect("folder");
    let file = disk.open_write(&path).expect("file");
    file.write_at(&[Bytes::from(bytes_of(name, length))], 0).expect("write");
    FoundFile { name: name.to_owned(), path, length: length as u64 }
}

fn has(left: &Left, name: &str, length: usize) -> bool {
    let path = Path::new("/data").join(name);
    left.disk.read_all(&path, 1 << 30).is_ok_and(|bytes| bytes == bytes_of(name, length))
}

fn whole(left: &[Left]) -> &Report {
    &left[0].report
}

#[test]
fn files_move_between_disks_that_see_nothing_of_each_other() {
    let all =
        [("big:3000000 tree/a:10 tree/b:100000", ""), ("", "**"), ("", "big tree/*"), ("", "**")];
    let left = Job::files(&all).go(|_, _| {});
    assert!(whole(&left).ok(), "{}", whole(&left).to_json());
    assert_eq!(whole(&left).peers.len(), 4);
    for one in &left[2..] {
        assert!(
            has(one, "big", 3_000_000) && has(one, "tree/a", 10) && has(one, "tree/b", 100_000)
        );
        assert_eq!(one.code, 0);
    }
    assert_eq!(whole(&left).bytes_moved, 3 * 3_100_010);
}

#[test]
fn tokens_move_and_the_trace_of_all_is_in_order() {
    let trace = TraceSink::memory();
    let parts = [("f:30", "g"), ("g:20", "f"), ("", "f g")];
    let left = Job { trace: Some(trace.clone()), ..Job::tokens(&parts) }.go(|_, _| {});
    assert!(whole(&left).ok(), "{}", whole(&left).to_json());
    let written = left[3].disk.read_all(Path::new("/out/client3_g"), 1 << 20).expect("an output");
    let lines = String::from_utf8(written).expect("text");
    assert_eq!(lines.lines().count(), 20);
    let text = trace.text();
    let count = |what: &str| text.matches(what).count();
    assert_eq!(count("\"msg\":\"register\""), 3);
    assert_eq!(count("\"msg\":\"go\""), 3);
    assert_eq!(count("\"msg\":\"verified\""), 30 + 20 + 50);
    assert_eq!(count("\"msg\":\"all-complete\""), 3);
    let time = |line: &str| {
        let value: serde_json::Value = serde_json::from_str(line).expect("JSON");
        value["t"].as_f64().expect("a time")
    };
    let times: Vec<f64> = text.lines().map(time).collect();
    assert!(times.is_sorted(), "{text}");
}

#[test]
fn a_rank_that_lies_is_found_and_banned() {
    let parts = [("f:2000000", ""), ("f:2000000", ""), ("", "f")];
    let faults = vec!["corrupt=2".parse().expect("a fault")];
    let left = Job { faults, ..Job::files(&parts) }.go(|_, _| {});
    assert!(whole(&left).ok(), "{}", whole(&left).to_json());
    assert!(has(&left[3], "f", 2_000_000));
    let third = &whole(&left).peers[2];
    assert_eq!(
        (third.banned.iter().collect::<Vec<_>>(), third.bad_pieces > 0),
        (vec![&Rank(2)], true)
    );
}

#[test]
fn a_rank_that_vanishes_is_named_and_the_others_complete() {
    let parts = [("f:8000000", ""), ("", "f"), ("", "f"), ("", "f")];
    let faults = vec!["slow=1:4MB".parse().expect("a fault"), "die=3@40".parse().expect("a fault")];
    let left = Job { faults, ..Job::files(&parts) }.go(|_, _| {});
    let report = whole(&left);
    let states: Vec<PeerState> = report.peers.iter().map(|peer| peer.state).collect();
    use PeerState::{Complete, Dead};
    assert_eq!(states, [Complete, Complete, Dead, Complete], "{}", report.to_json());
    assert!(has(&left[2], "f", 8_000_000) && has(&left[4], "f", 8_000_000));
    assert_eq!((left[0].code, left[2].code, left[4].code), (1, 0, 0));
    assert_eq!(left[3].code, 1, "the rank that died");
}

#[test]
fn a_silenced_rank_is_given_up_and_nobody_hangs() {
    let parts = [("f:8000000", ""), ("", "f"), ("", "f")];
    let faults = vec!["slow=1:2MB".parse().expect("a fault")];
    let job = Job { faults, ..Job::files(&parts) };
    let left = job.go(|hub, moved| {
        moved.wait(3, 1_000_000);
        hub.silence(3);
    });
    let report = whole(&left);
    let states: Vec<PeerState> = report.peers.iter().map(|peer| peer.state).collect();
    assert_eq!(states, [PeerState::Complete, PeerState::Complete, PeerState::Dead]);
    assert!(has(&left[2], "f", 8_000_000));
    assert_eq!((left[0].code, left[2].code, left[3].code), (1, 0, 7));
}

#[test]
fn a_library_that_fails_costs_one_rank() {
    let parts = [("f:8000000", ""), ("", "f"), ("", "f")];
    let faults = vec!["slow=1:4MB".parse().expect("a fault")];
    let job = Job { faults, ..Job::files(&parts) };
    let left = job.go(|hub, moved| {
        moved.wait(3, 1_000_000);
        hub.break_down(3);
    });
    let states: Vec<PeerState> = whole(&left).peers.iter().map(|peer| peer.state).collect();
    assert_eq!(states, [PeerState::Complete, PeerState::Complete, PeerState::Dead]);
    assert_eq!((left[0].code, left[2].code, left[3].code), (1, 0, 7));
    let error = left[3].report.errors[0].to_string();
    assert!(error.contains("rank 3") && error.contains("melted"), "{error}");
}

#[test]
fn without_rank_0_the_others_take_what_their_neighbours_hold() {
    let parts = [("f:6000000", ""), ("", "f"), ("", "f")];
    let faults = vec!["slow=1:4MB".parse().expect("a fault")];
    let job = Job { faults, ..Job::files(&parts) };
    let left = job.go(|hub, moved| {
        moved.wait(3, 1_000_000);
        hub.silence(0);
    });
    for one in &left[2..] {
        assert!(has(one, "f", 6_000_000), "it was finished");
        assert_eq!(one.code, 7);
        let errors = &one.report.errors;
        assert!(errors[0].to_string().contains("rank 0"), "{errors:?}");
    }
}

#[test]
fn whatever_comes_on_the_lanes_does_no_harm() {
    let parts = [("f:4000000", ""), ("", "f"), ("", "f"), ("", "")];
    let faults = vec!["slow=1:4MB".parse().expect("a fault")];
    let job = Job { faults, ..Job::files(&parts) };
    let left = job.go(|hub, moved| {
        moved.wait(3, 1_000_000);
        let mut rng = Rng::new(1);
        for round in 0..200_u64 {
            let length = rng.below(if round % 7 == 0 { 5000 } else { 60 }) as usize;
            let junk = Bytes::from((0..length).map(|_| rng.next_u64() as u8).collect::<Vec<_>>());
            let lane = if round % 2 == 0 { Lane::Control } else { Lane::Tracker };
            let to = if lane == Lane::Tracker { 0 } else { 1 + rng.below(3) as u32 };
            // As if rank 4, which nobody needs, had lost its mind.
            hub.slip(lane, 4, to, STREAM_TAG, junk);
        }
    });
    let report = whole(&left);
    assert!(has(&left[2], "f", 4_000_000) && has(&left[3], "f", 4_000_000));
    let states: Vec<PeerState> = report.peers.iter().take(3).map(|peer| peer.state).collect();
    assert_eq!(states, [PeerState::Complete; 3], "{}", report.to_json());
    assert_eq!(report.peers[3].state, PeerState::Dead, "named");
}

/// Four processes join a job, and these leave it; rank 0 waits for so long for the others. Who
/// ended MPI, and the codes.
fn part(leaving: &'static [u32], patience: Duration) -> (Vec<u32>, Vec<u8>) {
    let (hub, ends) = Hub::of(4);
    let start = |(rank, end): (u32, Loopback)| {
        thread::spawn(move || {
            let job = join(end, Loopback::finalize);
            let own = if rank == 0 { 5 } else { 7 };
            let code = leaving.contains(&rank).then(|| job.leave_within(own, patience));
            // One that does not leave lives on until the others have.
            (job, code)
        })
    };
    let threads: Vec<_> = (0..).zip(ends).map(start).collect();
    let left: Vec<_> = threads.into_iter().map(|thread| thread.join().expect("a rank")).collect();
    (hub.finalized(), left.into_iter().filter_map(|(_, code)| code).collect())
}

#[test]
fn all_end_mpi_together_or_nobody_does() {
    let (ended, codes) = part(&[0, 1, 2, 3], Duration::from_secs(30));
    assert_eq!((ended, codes), (vec![0, 1, 2, 3], vec![5; 4]));
    // The library would keep the others until the last one has come.
    let (ended, codes) = part(&[0, 1, 2], Duration::from_millis(300));
    assert_eq!((ended, codes), (vec![], vec![5; 3]));
}

#[test]
fn what_a_peer_still_has_for_others_keeps_nobody() {
    let endpoint = |end| {
        let events = Box::new(|_, _| {});
        MpiEndpoint::new(end, Arc::default(), events).expect("an endpoint")
    };
    let mut endpoints: Vec<MpiEndpoint<Loopback>> =
        Hub::of(3).1.into_iter().map(endpoint).collect();
    let session = || Packet::Process(ProcessMessage::Session(Bytes::from(vec![0; 200_000])));
    let turn = |endpoints: &mut Vec<MpiEndpoint<Loopback>>| {
        for endpoint in (0..200).flat_map(|_| 0..3).map(|rank| rank as usize) {
            endpoints[endpoint].flush().expect("sends");
            endpoints[endpoint].poll().expect("looks");
        }
    };
    endpoints[2].be_quiet();
    endpoints[1].queue(2, &session());
    endpoints[1].queue(0, &session());
    turn(&mut endpoints);
    assert!(!endpoints[1].drained(), "who is quiet gives no credit");
    endpoints[1].be_quiet();
    endpoints[1].queue(0, &session());
    endpoints[1].queue(2, &Packet::Process(ProcessMessage::Pulse));
    assert!(!endpoints[1].drained(), "rank 0 still hears everything");
    turn(&mut endpoints);
    assert!(endpoints[1].drained());
}
