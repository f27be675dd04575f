use super::*;
use crate::supervision::run_mark::{Ending, LastRun, RunMark};
use crate::supervision::watch::tests::{LIMIT, neighbour, sleeper};
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::thread::JoinHandle;
use tempfile::TempDir;

/// Ranks of one host: processes that live until they are killed, each with a mark, and an
/// observer of all.
struct Host {
    folder: TempDir,
    ranks: Vec<Child>,
    neighbours: Vec<Neighbour>,
    observer: Option<JoinHandle<io::Result<()>>>,
}

impl Host {
    /// All ranks are watched when this returns.
    fn new(ranks: u32) -> Host {
        let folder = tempfile::tempdir().unwrap();
        let children: Vec<Child> = (0..ranks).map(|_| sleeper()).collect();
        let dest = |rank: u32| Some(folder.path().join(format!("peer{rank}")));
        let of = |(rank, child)| neighbour(rank, child, dest(rank));
        let neighbours: Vec<Neighbour> = (0..).zip(&children).map(of).collect();
        let (tell, ready) = channel();
        let observed = neighbours.clone();
        let body = move || observe(&RealFs, &observed, || tell.send(()).unwrap());
        let observer = Some(std::thread::spawn(body));
        ready.recv().unwrap();
        let host = Host { folder, ranks: children, neighbours, observer };
        // Only now: that a rank is watched before it has begun its mark makes no difference.
        host.neighbours.iter().for_each(run_mark::begin_for);
        host
    }

    fn dest(&self, rank: usize) -> PathBuf {
        self.folder.path().join(format!("peer{rank}"))
    }

    /// Kills a rank, and waits until it is gone.
    fn kill(&mut self, rank: usize) {
        self.ranks[rank].kill().unwrap();
        self.ranks[rank].wait().unwrap();
    }

    /// A rank says that it ends in order, and ends.
    fn end(&mut self, rank: usize, how: Ending) {
        run_mark::end_for(&self.neighbours[rank], how);
        self.kill(rank);
    }

    /// What all marks say, once all ranks have ended.
    fn last(&mut self) -> Vec<Option<(Vec<u32>, bool)>> {
        self.observer.take().unwrap().join().unwrap().unwrap();
        (0..self.ranks.len()).map(|rank| last(&self.dest(rank))).collect()
    }
}

fn last(dest: &Path) -> Option<(Vec<u32>, bool)> {
    let last = LastRun::read(&RealFs, dest)?;
    Some((last.died.iter().map(|rank| rank.0).collect(), last.unfinished))
}

#[test]
fn the_first_to_die_is_named_however_fast_the_others_follow() {
    for round in 0..20 {
        let mut host = Host::new(5);
        let first = round % 5;
        host.kill(first);
        (0..5).filter(|rank| *rank != first).for_each(|rank| host.ranks[rank].kill().unwrap());
        (0..5).filter(|rank| *rank != first).for_each(|rank| host.kill(rank));
        assert_eq!(host.last(), vec![Some((vec![first as u32], true)); 5], "round {round}");
    }
}

#[test]
fn survivors_hear_of_it_and_may_end_in_order() {
    let mut host = Host::new(4);
    host.end(3, Ending::Stopped);
    host.kill(1);
    // The observer writes as soon as it notices, which is seen here without asking it.
    let begun = Instant::now();
    while last(&host.dest(2)) != Some((vec![1], true)) {
        assert!(begun.elapsed() < LIMIT, "nobody wrote it");
        std::thread::yield_now();
    }
    host.end(2, Ending::Finished);
    host.end(0, Ending::Stopped);
    let died = |unfinished| Some((vec![1], unfinished));
    assert_eq!(host.last(), [died(false), died(true), None, Some((vec![], false))]);
}

#[test]
fn an_orderly_end_is_no_death() {
    let mut host = Host::new(3);
    host.end(0, Ending::Stopped);
    host.end(1, Ending::Finished);
    host.kill(2);
    assert_eq!(host.last(), [Some((vec![], false)), None, Some((vec![2], true))]);
}

#[test]
fn what_an_earlier_run_left_is_not_taken_for_ours() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = sleeper();
    let dest = folder.path().to_owned();
    // Of another process: this one.
    let fs: std::sync::Arc<dyn Fs> = std::sync::Arc::new(RealFs);
    drop(RunMark::begin(&fs, &dest, Rank(1), "old").unwrap());
    let one = neighbour(1, &child, Some(dest.clone()));
    child.kill().unwrap();
    observe(&RealFs, &[one], || {}).unwrap();
    child.wait().unwrap();
    assert_eq!(last(&dest), Some((vec![], true)), "nobody died in it");
}

#[test]
fn temporary_marks_serve_and_go() {
    let (mut seed, mut peer) = (sleeper(), sleeper());
    let folder = tempfile::tempdir().unwrap();
    let dest = folder.path().to_owned();
    let both = [neighbour(0, &seed, None), neighbour(1, &peer, Some(dest.clone()))];
    both.iter().for_each(run_mark::begin_for);
    assert!(!run_mark::was_killed(&RealFs, &neighbour(2, &seed, None)));
    let kill = |child: &mut Child| {
        child.kill().unwrap();
        child.wait().unwrap();
    };
    observe(&RealFs, &both, || [&mut seed, &mut peer].into_iter().for_each(kill)).unwrap();
    assert_eq!(last(&dest), Some((vec![0], true)));
    assert!(!run_mark::was_killed(&RealFs, &both[0]), "the temporary mark is gone");
}

#[test]
fn lists_of_ranks() {
    let one = Neighbour { rank: Rank(1), pid: 2, started: 3, mark: Some("/x".into()) };
    let two = Neighbour { rank: Rank(2), mark: None, ..one.clone() };
    let text = format!("{}\n{}\n\nwhatever", one.to_line(), two.to_line());
    assert_eq!(read(text.as_bytes()).unwrap(), [one, two.clone()]);
    let long = format!("{}\n\n", " ".repeat(MAX_LINE as usize));
    for bad in ["", "\r\n\r\n", "{}\n\n", &two.to_line(), &format!("{}\n", two.to_line()), &long] {
        assert!(read(bad.as_bytes()).is_err(), "{bad:.100}");
    }
}

#[test]
fn without_anybody_to_watch_there_is_no_witness() {
    let blind = Neighbour { started: 0, ..Neighbour::me(Rank(1), None) };
    for list in [vec![], vec![blind]] {
        let error = observe(&RealFs, &list, || panic!("it is not ready")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::Unsupported);
    }
}

#[test]
fn a_witness_that_does_not_come_up_is_an_error_and_leaves_nothing() {
    for line in ["exit 0", "cat; exit 3", "echo nonsense; cat", "exec cat"] {
        let mut command = Command::new("sh");
        command.args(["-c", line]);
        let me = Neighbour::me(Rank(1), None);
        assert!(Witness::spawn_as(command, &[me]).is_err(), "{line}");
    }
    let missing = Command::new("/nowhere/at/all");
    assert_eq!(Witness::spawn_as(missing, &[]).unwrap_err().kind(), io::ErrorKind::NotFound);
}
