use super::*;
use proptest::prelude::*;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::ffi::OsStringExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// No process takes that long to end; a test that waits so long has failed.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// A process that lives until it is killed, or its standard input ends.
pub(crate) fn sleeper() -> Child {
    let mut command = Command::new("cat");
    command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("a process")
}

pub(crate) fn neighbour(rank: u32, child: &Child, mark: Option<PathBuf>) -> Neighbour {
    let started = started(&child.id().to_string()).expect("a process that runs");
    Neighbour { rank: Rank(rank), pid: child.id(), started, mark }
}

fn watch(neighbours: Vec<Neighbour>) -> (Watch, Receiver<Rank>) {
    let (tell, told) = channel();
    let tell = Box::new(move |rank| tell.send(rank).unwrap());
    (Watch::start(neighbours, tell).unwrap(), told)
}

/// All that is reported, until the thread has ended.
fn all(told: &Receiver<Rank>) -> Vec<u32> {
    std::iter::from_fn(|| told.recv_timeout(LIMIT).ok()).map(|rank| rank.0).collect()
}

/// Tells a process of these tests which rank it is.
const RANK: &str = "DUNLIN_TEST_NEIGHBOUR";

/// Not a test by itself: a neighbour that says who it is, and lives until it is killed.
#[test]
fn live() {
    let Ok(rank) = std::env::var(RANK) else { return };
    let me = Neighbour::me(Rank(rank.parse().unwrap()), None);
    writeln!(std::io::stdout(), "\nI am {}", me.to_line()).unwrap();
    let _ = std::io::stdin().read_line(&mut String::new());
}

/// A process of ours, to which there is a line.
fn live_one(rank: u32) -> (Child, Neighbour) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "supervision::watch::tests::live", "--nocapture"])
        .env(RANK, rank.to_string());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let line = lines.find_map(|line| Some(line.strip_prefix("I am ")?.to_owned()));
    (child, Neighbour::of_line(&line.expect("a neighbour that lives")).unwrap())
}

#[test]
fn a_line_is_cut_when_its_process_dies() {
    let (mut children, neighbours): (Vec<Child>, Vec<Neighbour>) = (1..=3).map(live_one).unzip();
    neighbours.iter().for_each(|one| drop(line::to(one).unwrap()));
    let stranger = Neighbour { started: neighbours[0].started + 1, ..neighbours[0].clone() };
    assert!(line::to(&stranger).is_err());
    let (_watch, told) = watch(neighbours.clone());
    let mut ends = Ends::of(&neighbours).unwrap();
    for place in [1, 2, 0] {
        children[place].kill().unwrap();
        assert_eq!(told.recv_timeout(LIMIT), Ok(neighbours[place].rank));
        // Told before its parent has seen to it; that it is gone for good is certain only now.
        children[place].wait().unwrap();
        assert_eq!(ends.next().unwrap(), Some(place));
    }
    assert_eq!(ends.next().unwrap(), None);
    assert!(neighbours.iter().all(|one| line::to(one).is_err()));
}

#[test]
fn a_line_with_another_process_at_its_end_is_none() {
    let me = Neighbour::me(Rank(1), None);
    drop(line::to(&me).unwrap());
    // This process takes the name of another.
    let mut child = sleeper();
    let other = neighbour(2, &child, None);
    let end = line::serve(&other).unwrap();
    let refused = line::to(&other).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied);
    let (_watch, told) = watch(vec![other]);
    drop(end);
    assert!(told.try_recv().is_err(), "it is watched otherwise, and lives");
    child.kill().unwrap();
    assert_eq!(told.recv_timeout(LIMIT), Ok(Rank(2)));
    child.wait().unwrap();
}

#[test]
fn ends_are_told_in_their_order() {
    for order in [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]] {
        let mut children: Vec<Child> = (0..4).map(|_| sleeper()).collect();
        let of = |(rank, child)| neighbour(rank, child, None);
        let neighbours: Vec<_> = (0..).zip(&children).map(of).collect();
        let mut ends = Ends::of(&neighbours).unwrap();
        let (_watch, told) = watch(neighbours);
        for place in order {
            children[place].kill().unwrap();
            // Its end is waited for, so that the order is certain; it is reported before that or
            // after.
            children[place].wait().unwrap();
        }
        assert_eq!(all(&told), order.map(|place| place as u32));
        // Also by who asks only now.
        let asked: Vec<_> = std::iter::from_fn(|| ends.next().unwrap()).collect();
        assert_eq!(asked, order);
    }
}

#[test]
fn each_end_is_told_at_once_and_once() {
    let mut children = [sleeper(), sleeper()];
    let (watch, told) = watch(vec![
        neighbour(1, &children[0], None),
        neighbour(2, &children[1], None),
        // The same process under two ranks: both are reported.
        neighbour(3, &children[0], None),
    ]);
    children[0].kill().unwrap();
    let mut first = [told.recv_timeout(LIMIT).unwrap(), told.recv_timeout(LIMIT).unwrap()];
    first.sort_unstable();
    assert_eq!(first, [Rank(1), Rank(3)]);
    // An orderly end counts, too: this one reads to the end of its input.
    drop(children[1].stdin.take());
    assert_eq!(told.recv_timeout(LIMIT), Ok(Rank(2)));
    drop(watch);
    assert!(told.recv().is_err(), "nothing more is told");
    children.iter_mut().for_each(|child| drop(child.wait()));
}

#[test]
fn who_ended_before_is_told_too() {
    let mut child = sleeper();
    let mut gone = sleeper();
    let ended = neighbour(1, &gone, None);
    let zombie = neighbour(2, &child, None);
    gone.kill().unwrap();
    gone.wait().unwrap();
    child.kill().unwrap();
    // Not waited for: it has ended, but its number is still its own.
    let other = Neighbour { rank: Rank(3), started: 1, ..Neighbour::me(Rank(3), None) };
    let (_watch, told) = watch(vec![ended, other, zombie]);
    assert_eq!(all(&told), [1, 3, 2], "another process with that number is not the one");
    child.wait().unwrap();
}

#[test]
fn who_cannot_be_watched_is_left_out() {
    let me = Neighbour::me(Rank(1), None);
    let none = [
        Neighbour { started: 0, ..me.clone() },
        Neighbour { pid: 0, ..me.clone() },
        Neighbour { pid: u32::MAX, ..me.clone() },
    ];
    let (_watch, told) = watch(none.to_vec());
    assert!(told.recv().is_err(), "there is no thread");
    assert!(watch(Vec::new()).1.recv().is_err());
}

#[test]
fn dropping_ends_the_thread_also_from_inside() {
    let (watch, told) = watch(vec![Neighbour::me(Rank(1), None)]);
    drop(watch);
    assert_eq!(told.try_recv(), Err(TryRecvError::Disconnected));

    let slot: Arc<Mutex<Option<Watch>>> = Arc::default();
    let mut child = sleeper();
    let (done, ended) = channel();
    let inner = Arc::clone(&slot);
    let told = move |_| done.send(inner.lock().unwrap().take().is_some()).unwrap();
    let both = vec![neighbour(1, &child, None), Neighbour::me(Rank(2), None)];
    *slot.lock().unwrap() = Some(Watch::start(both, Box::new(told)).unwrap());
    child.kill().unwrap();
    assert_eq!(ended.recv_timeout(LIMIT), Ok(true));
    let end = ended.recv_timeout(LIMIT);
    assert_eq!(end, Err(RecvTimeoutError::Disconnected), "the thread has ended");
    child.wait().unwrap();
}

#[test]
fn the_same_host_has_the_same_id() {
    assert_eq!((node_id(), mount_id()), (node_id(), mount_id()));
    assert_ne!(node_id(), mount_id());
    let (me, again) = (Neighbour::me(Rank(1), None), Neighbour::me(Rank(1), None));
    assert_eq!(me, again);
    assert_eq!(started(&me.pid.to_string()), Some(me.started));
    assert!(me.started > 0 && started("0").is_none());
    let marked = Neighbour::me(Rank(1), Some("out".into())).mark.unwrap();
    assert!(marked.is_absolute() && marked.ends_with("out"));
}

#[test]
fn lines() {
    let one = Neighbour { rank: Rank(3), pid: 77, started: 12, mark: Some("/a b/\"c".into()) };
    let line = r#"{"mark":"/a b/\"c","pid":77,"rank":3,"started":12}"#;
    assert_eq!(one.to_line(), line);
    let bad = ["", "{}", "[]", "7", "{\"rank\":3}"];
    let changed =
        [("77", "-1"), ("77", "4294967296"), ("12", "\"x\""), ("\"/a b/\\\"c\"", "[256]")];
    let changed = changed.map(|(from, to)| line.replace(from, to));
    for line in bad.map(str::to_owned).iter().chain(&changed) {
        assert_eq!(Neighbour::of_line(line), None, "{line}");
    }
}

proptest! {
    #[test]
    fn lines_round(rank: u32, pid: u32, started: u64, mark: Option<Vec<u8>>) {
        let mark = mark.map(|bytes| PathBuf::from(std::ffi::OsString::from_vec(bytes)));
        let one = Neighbour { rank: Rank(rank), pid, started, mark };
        prop_assert!(!one.to_line().contains('\n'));
        prop_assert_eq!(Neighbour::of_line(&one.to_line()), Some(one));
    }
}
