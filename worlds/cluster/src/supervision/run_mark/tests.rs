use super::*;
use dunlin_disk::{MemFs, OutputLock, find_leftovers, remove_leftovers};
use proptest::prelude::*;

const DEST: &str = "/out/peer3";

fn disk() -> (MemFs, Arc<dyn Fs>) {
    let disk = MemFs::new();
    (disk.clone(), Arc::new(disk))
}

fn begin(fs: &Arc<dyn Fs>) -> RunMark {
    RunMark::begin(fs, Path::new(DEST), Rank(3), "a-1").unwrap()
}

fn last(fs: &MemFs) -> Option<(Vec<u32>, bool)> {
    let last = LastRun::read(fs, Path::new(DEST))?;
    Some((last.died.iter().map(|rank| rank.0).collect(), last.unfinished))
}

#[test]
fn the_next_run_hears_how_the_last_one_ended() {
    let (disk, fs) = disk();
    assert_eq!(last(&disk), None);
    // Killed: nothing ends it.
    drop(begin(&fs));
    assert_eq!(last(&disk), Some((vec![], true)));
    let mark = begin(&fs);
    mark.died(Rank(7));
    mark.died(Rank(1));
    assert_eq!(last(&disk), Some((vec![7], true)), "also if it is killed right after");
    let later = Instant::now() + TOGETHER;
    mark.died_at(Rank(7), later);
    mark.died_at(Rank(0), later);
    assert_eq!(last(&disk), Some((vec![7, 0], true)));
    mark.end(Ending::Stopped);
    assert_eq!(last(&disk), Some((vec![7, 0], false)));
    begin(&fs).end(Ending::Stopped);
    assert_eq!(last(&disk), Some((vec![], false)), "deaths of the run before are forgotten");
    begin(&fs).end(Ending::Finished);
    assert_eq!(last(&disk), None);
    assert!(
        disk.metadata(&Path::new(DEST).join(dunlin_disk::STATE_DIR)).is_err(),
        "nothing is left"
    );
}

#[test]
fn what_else_is_in_the_folder_stays() {
    let (disk, fs) = disk();
    let lock = OutputLock::acquire(&fs, Path::new(DEST)).unwrap();
    begin(&fs).end(Ending::Finished);
    assert!(OutputLock::acquire(&fs, Path::new(DEST)).is_err(), "it is still locked");
    drop(lock);
    assert!(disk.metadata(&Path::new(DEST).join(dunlin_disk::STATE_DIR)).is_err());
    let lock = OutputLock::acquire(&fs, Path::new(DEST)).unwrap();
    begin(&fs).end(Ending::Stopped);
    drop(lock);
    assert_eq!(last(&disk), Some((vec![], false)));
    let found = find_leftovers(&disk, Path::new("/out")).unwrap();
    remove_leftovers(&disk, &found).unwrap();
    assert_eq!((found.len(), last(&disk)), (1, None), "cleaning takes it away");
    assert!(disk.metadata(&Path::new(DEST).join(dunlin_disk::STATE_DIR)).is_err());
}

#[test]
fn a_full_or_broken_disk_is_no_reason_to_stop() {
    let (disk, fs) = disk();
    let mark = begin(&fs);
    disk.set_space(Some(0));
    mark.died(Rank(1));
    let later = Instant::now() + TOGETHER;
    assert!(RunMark::begin(&fs, Path::new("/elsewhere"), Rank(3), "a").is_err());
    assert!(disk.metadata(Path::new("/elsewhere/.dunlin")).is_err(), "no litter");
    disk.set_space(None);
    mark.died_at(Rank(2), later);
    disk.set_broken(&path_in(&disk, Path::new(DEST)), true);
    mark.end(Ending::Finished);
    disk.set_broken(&path_in(&disk, Path::new(DEST)), false);
    assert_eq!(last(&disk), Some((vec![2], true)));
}

#[test]
fn deaths_are_added_only_to_a_run_that_goes_on() {
    let (disk, fs) = disk();
    let me = Neighbour::me(Rank(3), Some(DEST.into()));
    let others = [
        Neighbour { rank: Rank(4), ..me.clone() },
        Neighbour { pid: me.pid + 1, ..me.clone() },
        Neighbour { started: me.started + 1, ..me.clone() },
        Neighbour { mark: Some("/elsewhere".into()), ..me.clone() },
        Neighbour { mark: None, ..me.clone() },
    ];
    assert!(!was_killed(&disk, &me), "it never began");
    let mark = begin(&fs);
    for other in &others {
        assert!(!was_killed(&disk, other), "{other:?}");
        add_death(&disk, other, Rank(9)).unwrap();
    }
    assert!(was_killed(&disk, &me));
    assert_eq!(last(&disk), Some((vec![], true)));
    for rank in [5, 3, 5] {
        add_death(&disk, &me, Rank(rank)).unwrap();
    }
    let text = disk.read_all(&path_in(&disk, Path::new(DEST)), MAX_MARK).unwrap();
    let text = String::from_utf8(text).unwrap();
    assert_eq!(text.lines().filter(|line| line.starts_with("died")).count(), 2, "{text}");
    assert_eq!(last(&disk), Some((vec![5, 3], true)));
    mark.end(Ending::Stopped);
    add_death(&disk, &me, Rank(6)).unwrap();
    assert!(!was_killed(&disk, &me));
    assert_eq!(last(&disk), Some((vec![5, 3], false)));
    remove_temporary(&disk, &me).unwrap();
    assert_eq!(last(&disk), Some((vec![5, 3], false)), "this one is not temporary");
}

#[test]
fn a_temporary_mark_goes_with_the_rank() {
    // A rank that no other test is: the name is that of rank and process, which these tests share.
    let rank = Rank(7007);
    let me = Neighbour::me(rank, None);
    for how in [Ending::Finished, Ending::Stopped] {
        let mark = RunMark::begin_temporary(rank, "a-1").unwrap();
        assert!(was_killed(&RealFs, &me));
        let again = RunMark::begin_temporary(rank, "a-1").unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists, "never written over");
        mark.end(how);
        assert!(!was_killed(&RealFs, &me));
    }
    drop(RunMark::begin_temporary(rank, "a-1").unwrap());
    assert!(was_killed(&RealFs, &me));
    remove_temporary(&RealFs, &me).unwrap();
    assert!(!was_killed(&RealFs, &me));
    assert!(std::env::temp_dir().is_dir(), "the folder stays");
}

#[test]
fn the_format() {
    let mark = Mark {
        rank: Rank(3),
        pid: 4711,
        started: 108_342,
        job: "a b-1".into(),
        died: vec![Rank(5), Rank(0)],
        stopped: true,
    };
    let text = "dunlin run 1\nrank 3\nprocess 4711 108342\njob a b-1\ndied 5\ndied 0\nstopped\n";
    assert_eq!(mark.to_text(), text);
    assert_eq!(Mark::of_text(text.as_bytes()), Some(mark.clone()));
    let torn = format!("{text}died");
    assert_eq!(Mark::of_text(torn.as_bytes()), Some(mark));
}

#[test]
fn nonsense_says_nothing() {
    let good = "dunlin run 1\nrank 3\nprocess 4711 108342\njob a\n";
    assert!(Mark::of_text(good.as_bytes()).is_some());
    let bad = [
        ("run 1", "run 2"),
        ("run 1", "run 1 "),
        ("rank 3", "rank x"),
        ("rank 3", "rank -3"),
        ("rank 3", "rank 03"),
        ("rank 3", "rank 4294967296"),
        ("rank 3\n", ""),
        ("process 4711 ", "process 4711"),
        ("process 4711", "process +4711"),
        ("job a\n", "job a"),
        ("job a\n", "job\n"),
        ("job a\n", "job a\ndied\n"),
        ("job a\n", "job a\ndied 1 \n"),
        ("job a\n", "job a\nStopped\n"),
        ("job a\n", "job a\n\n"),
        ("job a\n", "job a\r\ndied 1\r\n"),
    ];
    for (from, to) in bad {
        assert_eq!(Mark::of_text(good.replace(from, to).as_bytes()), None, "{from:?} → {to:?}");
    }
    let (disk, _) = disk();
    disk.create_dir_all(&Path::new(DEST).join(dunlin_disk::STATE_DIR)).unwrap();
    let file = disk.create_new(&path_in(&disk, Path::new(DEST))).unwrap();
    assert_eq!(last(&disk), None, "an empty file");
    file.write_at(&[good.as_bytes().into()], 0).unwrap();
    assert_eq!(last(&disk), Some((vec![], true)));
    file.write_at(&["died 1\n".repeat(10_000).into()], good.len() as u64).unwrap();
    assert_eq!(last(&disk), None, "a file that is too long for one of ours");
}

#[test]
fn a_later_death_is_a_cause_of_its_own() {
    let start = Instant::now();
    let mut deaths = Deaths::default();
    let cases = [
        (1, 0, true),
        (2, 0, false),
        (3, 4999, false),
        (1, 5000, false),
        (4, 5000, true),
        (5, 5001, false),
        (5, 10_000, true),
    ];
    for (rank, millis, named) in cases {
        let at = start + Duration::from_millis(millis);
        assert_eq!(deaths.names(Rank(rank), at), named, "rank {rank} at {millis}");
    }
}

#[test]
fn the_longest_mark_can_be_read() {
    let (disk, fs) = disk();
    let mark = begin(&fs);
    let me = Neighbour::me(Rank(3), Some(DEST.into()));
    let start = Instant::now();
    for rank in 0..2000 {
        mark.died_at(Rank(u32::MAX - rank), start + rank * TOGETHER);
        add_death(&disk, &me, Rank(u32::MAX / 2 - rank)).unwrap();
    }
    let (died, _) = last(&disk).unwrap();
    assert_eq!(died.first(), Some(&u32::MAX));
    assert!((MAX_DEATHS..=2 * MAX_DEATHS).contains(&died.len()), "{}", died.len());
}

proptest! {
    #[test]
    fn reads_what_it_writes(
        rank: u32, pid: u32, started: u64, job in ".*",
        died in proptest::collection::btree_set(any::<u32>(), 0..20), stopped: bool,
    ) {
        let process = Neighbour { rank: Rank(rank), pid, started, mark: None };
        let died = died.into_iter().map(Rank).collect();
        let mark = Mark { died, stopped, ..Mark::new(&process, &job) };
        prop_assert_eq!(Mark::of_text(mark.to_text().as_bytes()), Some(mark));
    }

    #[test]
    fn what_is_read_is_what_would_be_written(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        check(&bytes);
    }

    #[test]
    fn a_damaged_mark_is_survived(at in 0..80_usize, byte: u8, cut in 0..80_usize) {
        let mut bytes = b"dunlin run 1\nrank 3\nprocess 4711 108342\njob a\ndied 5\nstopped\n".to_vec();
        if let Some(place) = bytes.get_mut(at) { *place = byte; }
        check(&bytes);
        bytes.truncate(cut);
        check(&bytes);
    }
}

/// Whatever is taken for a mark means the same when it is written again.
fn check(bytes: &[u8]) {
    if let Some(mark) = Mark::of_text(bytes) {
        assert_eq!(Mark::of_text(mark.to_text().as_bytes()), Some(mark));
    }
}
