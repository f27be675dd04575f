//! Two torrents with one path: the second is refused by name before it writes, or both complete
//! where the content is the same; in one process and in two, below one root and below nested ones.

use crate::common::torrent::{Kind, Torrent, put};
use crate::common::{PIECE, Set, T};
use dunlin_base::InfoHash;
use dunlin_disk::{
    DiskError, DiskErrorKind, Existing, Fs, MemFs, OpenStep, OutputLock, PathClaims, RealFs,
    Storage, StorageConfig, TorrentPlan,
};
use dunlin_metainfo::Aliases;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Barrier};

/// A torrent that another number tells from the others.
fn torrent(number: u8, root: &str, kind: Kind, files: &[(&str, usize)], seed: u64) -> Torrent {
    let mut torrent = Torrent::new(Path::new(root), kind, files, seed);
    Arc::make_mut(&mut torrent.content).info_hash = InfoHash([number; 20]);
    torrent
}

fn storage(fs: &Arc<dyn Fs>, torrent: &Torrent, claims: &PathClaims) -> Storage {
    let mut config = StorageConfig::new(Arc::clone(fs), torrent.root.clone());
    config.claims = claims.clone();
    Storage::new(config)
}

fn names(fs: &dyn Fs, folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs.read_dir(folder).unwrap_or_default() {
        match entry.is_dir {
            true => found.extend(names(fs, &entry.path)),
            false => found.push(entry.path),
        }
    }
    found
}

fn go_on(_: OpenStep) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// What the second torrent is refused with.
fn refused(error: &DiskError) -> &Path {
    assert!(matches!(error.kind, DiskErrorKind::Claimed { .. }), "{error}");
    assert!(error.to_string().contains("writes other content there"), "{error}");
    &error.path
}

/// Two torrents in one process, which share what they know, and in two.
fn processes() -> [(PathClaims, PathClaims); 2] {
    let one = PathClaims::default();
    [(one.clone(), one), (PathClaims::default(), PathClaims::default())]
}

#[test]
fn the_second_of_two_with_other_content_is_refused_before_it_writes() {
    let (long, piece) = ("t/x/t/same", PIECE as usize);
    // (root and files of the first, of the second, the path of both)
    type Side<'a> = (&'a str, &'a [(&'a str, usize)]);
    let cases: [(Side<'_>, Side<'_>, &str); 5] = [
        (("/o", &[("same", 40_000)]), ("/o", &[("same", 40_000)]), "/o/t/same"),
        (
            ("/o", &[("a", 100), ("cover", 9_000), ("z", 50_000)]),
            ("/o", &[("cover", 8_000), ("d/e", 20_000)]),
            "/o/t/cover",
        ),
        // One root within the other, either way.
        (("/o", &[("x/t/same", 2 * piece)]), ("/o/t/x", &[("same", 2 * piece)]), "/o/t/x/t/same"),
        (("/o/t/x", &[("same", 2 * piece)]), ("/o", &[("x/t/same", 2 * piece)]), "/o/t/x/t/same"),
        // A file where the other has a folder.
        (("/o", &[("x", 100)]), ("/o", &[("x/y", 40_000)]), "/o/t/x/y"),
    ];
    assert!(cases[2].2.ends_with(long));
    for (first, second, path) in cases {
        for (ours, theirs) in processes() {
            let fs: Arc<dyn Fs> = Arc::new(MemFs::new());
            let first = torrent(1, first.0, Kind::Shared, first.1, 1);
            let second = torrent(2, second.0, Kind::Shared, second.1, 2);
            let store = storage(&fs, &first, &ours);
            let opened = first.open(&store, first.plan(Existing::Refuse)).unwrap();
            first.write(&store, 0).unwrap();
            let before = names(&*fs, Path::new("/o"));
            for existing in [Existing::Refuse, Existing::Replace] {
                let other = storage(&fs, &second, &theirs);
                let error = second.open(&other, second.plan(existing)).unwrap_err();
                assert_eq!(refused(&error), Path::new(path));
            }
            assert_eq!(names(&*fs, Path::new("/o")), before, "nothing is written");
            first.fetch(&store, &opened);
            assert_eq!(store.close_torrent(T, true).failed, []);
            first.assert_done(&*fs);
            // Nobody writes any more; now it is a file of other content like any other.
            let other = storage(&fs, &second, &theirs);
            let error = second.open(&other, second.plan(Existing::Refuse)).unwrap_err();
            let kinds = [DiskErrorKind::OtherContent { more: 0 }, DiskErrorKind::NoFolder];
            assert!(kinds.contains(&error.kind), "{error}");
        }
    }
}

/// The content of `first`, as another torrent that has something before it.
fn again(first: &Torrent, kind: Kind, before: usize) -> Torrent {
    let (mut names, mut contents) = (vec!["a".to_owned()], vec![vec![3; before]]);
    names.extend(
        first.content.files.iter().map(|file| file.name.strip_prefix("t/").unwrap().to_owned()),
    );
    contents.extend(first.contents.iter().cloned());
    let mut again = Torrent::of(&first.root, kind, names, contents);
    Arc::make_mut(&mut again.content).info_hash = InfoHash([2; 20]);
    again
}

fn with_roots(torrent: &Torrent, skip: usize) -> TorrentPlan {
    let root = |file| (file >= skip).then(|| [(file - skip) as u8 + 1; 32]);
    let roots = (0..torrent.contents.len()).map(root).collect();
    TorrentPlan { roots, ..torrent.plan(Existing::Refuse) }
}

#[test]
fn both_complete_if_the_torrents_prove_that_the_content_is_the_same() {
    let piece = PIECE as usize;
    let files = [("same", 3 * piece), ("other", 100)];
    for ((ours, theirs), by_root) in
        processes().into_iter().flat_map(|p| [(p.clone(), false), (p, true)])
    {
        for order in 0..4 {
            let fs: Arc<dyn Fs> = Arc::new(MemFs::new());
            let first = torrent(1, "/o", Kind::Trees, &files, 1);
            // By pieces: at the same place of a piece. By roots: anywhere, and hashed otherwise.
            let (second, mine, other) = match by_root {
                false => {
                    let second = again(&first, Kind::Trees, piece);
                    let other = second.plan(Existing::Refuse);
                    (second, first.plan(Existing::Refuse), other)
                }
                true => {
                    let second = again(&first, Kind::Shared, 500);
                    let other = with_roots(&second, 1);
                    (second, with_roots(&first, 0), other)
                }
            };
            let store = storage(&fs, &first, &ours);
            let opened = first.open(&store, mine).unwrap();
            let others = storage(&fs, &second, &theirs);
            let also = second.open(&others, other).unwrap();
            // Either ends first, or one of them after an interruption.
            if order >= 2 {
                second.write(&others, 1).unwrap();
                others.close_torrent(T, true);
                let plan =
                    if by_root { with_roots(&second, 1) } else { second.plan(Existing::Refuse) };
                let also = second.open(&others, plan).unwrap();
                assert_eq!(also.have.count(), 1, "its own part file is found again");
            }
            let fetch = |torrent: &Torrent, store: &Storage, opened| {
                torrent.fetch(store, opened);
                assert_eq!(store.sync().failed, [], "by root: {by_root}, order {order}");
            };
            match order % 2 {
                0 => (fetch(&first, &store, &opened), fetch(&second, &others, &also)),
                _ => (fetch(&second, &others, &also), fetch(&first, &store, &opened)),
            };
            // Both serve it.
            let block = first.whole(dunlin_base::PieceIndex(1));
            assert_eq!(store.read_block(T, block).unwrap(), first.bytes(block));
            let block = second.whole(dunlin_base::PieceIndex(1));
            assert_eq!(others.read_block(T, block).unwrap(), second.bytes(block));
            store.close_torrent(T, true);
            others.close_torrent(T, true);
            first.assert_done(&*fs);
            second.assert_done(&*fs);
        }
    }
}

#[test]
fn what_is_finished_may_be_shared_if_it_is_right_for_both() {
    let files = [("same", 3 * PIECE as usize)];
    for (ours, theirs) in processes() {
        let fs: Arc<dyn Fs> = Arc::new(MemFs::new());
        let first = torrent(1, "/o", Kind::Shared, &files, 1);
        let store = storage(&fs, &first, &ours);
        let opened = first.open(&store, first.plan(Existing::Refuse)).unwrap();
        // Hashed otherwise: nothing tells that it is the same.
        let second = again(&first, Kind::Trees, 200);
        let others = storage(&fs, &second, &theirs);
        let error = second.open(&others, second.plan(Existing::Refuse)).unwrap_err();
        assert_eq!(refused(&error), Path::new("/o/t/same"));
        first.fetch(&store, &opened);
        assert_eq!(store.sync().failed, []);
        // Its claims still hold, but there is nothing left to write.
        let also = second.open(&others, second.plan(Existing::Refuse)).unwrap();
        assert_eq!(also.have.count(), 3);
        second.fetch(&others, &also);
        assert_eq!(others.close_torrent(T, true).failed, []);
        second.assert_done(&*fs);
        // Another content of that length, and it may be replaced: not while it is somebody's.
        let third = torrent(3, "/o", Kind::Trees, &files, 9);
        for existing in [Existing::Refuse, Existing::Replace] {
            let error = third.open(&others, third.plan(existing)).unwrap_err();
            assert_eq!(refused(&error), Path::new("/o/t/same"), "{existing:?}");
        }
        first.assert_done(&*fs);
        store.close_torrent(T, true);
    }
}

#[test]
fn files_that_are_not_wanted_are_nobodys_until_they_are() {
    let files = [("cover", 20_000), ("own", 30_000)];
    for (ours, theirs) in processes() {
        let fs: Arc<dyn Fs> = Arc::new(MemFs::new());
        let first = torrent(1, "/o", Kind::Shared, &[("cover", 20_000)], 1);
        let second = torrent(2, "/o", Kind::Shared, &files, 2);
        let store = storage(&fs, &first, &ours);
        let opened = first.open(&store, first.plan(Existing::Refuse)).unwrap();
        first.write(&store, 0).unwrap();
        let others = storage(&fs, &second, &theirs);
        let plan = second.plan_for(Existing::Refuse, |file| file == 1);
        let also = second.open(&others, plan).unwrap();
        // The part file that is there is not its own.
        also.have.zeros().for_each(|piece| second.write(&others, piece.0).unwrap());
        second.finish(&others, 1).unwrap();
        let all = second.wanted(|_| true);
        assert_eq!(
            refused(&others.set_wanted(T, &all, &mut go_on).unwrap_err()),
            Path::new("/o/t/cover")
        );
        assert_eq!(others.close_torrent(T, true).failed, []);
        second.assert_file(&*fs, 1);
        first.fetch(&store, &opened);
        assert_eq!(store.close_torrent(T, true).failed, []);
        first.assert_file(&*fs, 0);
    }
}

/// A right file that came under the final name meanwhile is taken for ours, and is as durable.
#[test]
fn what_is_finished_by_others_is_durable() {
    for seed in 0..20 {
        let fs = MemFs::new();
        let shared: Arc<dyn Fs> = Arc::new(fs.clone());
        let torrent = torrent(1, "/o", Kind::Shared, &[("same", 3 * PIECE as usize)], 1);
        let store = storage(&shared, &torrent, &PathClaims::default());
        let opened = torrent.open(&store, torrent.plan(Existing::Refuse)).unwrap();
        torrent.put(&fs);
        torrent.fetch(&store, &opened);
        let report = store.sync();
        assert_eq!((report.finished.len(), report.failed), (1, vec![]));
        torrent.assert_file(&fs.crash(seed), 0);
    }
}

#[test]
fn a_killed_process_claims_nothing() {
    let fs = MemFs::new();
    let first = torrent(1, "/o", Kind::Shared, &[("same", 40_000)], 1);
    let second = torrent(2, "/o", Kind::Shared, &[("same", 40_000)], 2);
    let shared: Arc<dyn Fs> = Arc::new(fs.clone());
    let store = storage(&shared, &first, &PathClaims::default());
    first.open(&store, first.plan(Existing::Refuse)).unwrap();
    let fs: Arc<dyn Fs> = Arc::new(fs.reopen());
    for torrent in [&second, &first, &second] {
        let store = storage(&fs, torrent, &PathClaims::default());
        torrent.open(&store, torrent.plan(Existing::Refuse)).unwrap();
        store.close_torrent(T, false);
    }
    assert_eq!(names(&*fs, Path::new("/o")), Vec::<PathBuf>::new(), "what it left is swept");
}

#[test]
fn claims_of_a_later_version_are_respected_and_broken_ones_of_the_dead_are_not() {
    let fs: Arc<dyn Fs> = Arc::new(MemFs::new());
    let torrent = torrent(1, "/o", Kind::Shared, &[("same", 40_000)], 1);
    let path = Path::new("/o/.dunlin/0202020202020202020202020202020202020202.1.claims");
    put(&*fs, path, b"!whatever");
    let open = || {
        let store = storage(&fs, &torrent, &PathClaims::default());
        torrent.open(&store, torrent.plan(Existing::Refuse)).map(|_| ())
    };
    open().unwrap();
    let owner = fs.open_write(path).unwrap();
    assert!(fs.lock_exclusive(&owner).unwrap());
    assert!(open().unwrap_err().to_string().contains("0202.1.claims"));
}

/// Claims of another user count where both may write, and not in the folders of one alone.
#[test]
fn claims_of_other_users_count_where_both_write() {
    if !RealFs.is_root() {
        return;
    }
    let give = |path: &Path| std::os::unix::fs::chown(path, Some(61_234), None).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().to_str().unwrap().to_owned();
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    let files = [("x/t/same", 40_000)];
    let first = torrent(1, &root, Kind::Shared, &files, 1);
    let store = storage(&fs, &first, &PathClaims::default());
    first.open(&store, first.plan(Existing::Refuse)).unwrap();
    let state = folder.path().join(".dunlin");
    names(&*fs, &state).iter().for_each(|path| give(path));
    // What a stranger lays there and nobody can read is not in the way.
    let broken = state.join("0909090909090909090909090909090909090909.1.claims");
    put(&*fs, &broken, b"!whatever");
    let lock = fs.open_write(&broken).unwrap();
    assert!(fs.lock_exclusive(&lock).unwrap());
    give(&broken);
    give(&state);
    // It has a state folder of its own now.
    let second = torrent(2, &root, Kind::Shared, &files, 2);
    let other = storage(&fs, &second, &PathClaims::default());
    let error = second.open(&other, second.plan(Existing::Refuse)).unwrap_err();
    assert_eq!(refused(&error), folder.path().join("t/x/t/same"));
    let nested = format!("{root}/t/x");
    let third = torrent(3, &nested, Kind::Shared, &[("same", 40_000)], 3);
    let below = storage(&fs, &third, &PathClaims::default());
    third.open(&below, third.plan(Existing::Refuse)).unwrap();
    // And its own are found in it.
    let fourth = torrent(4, &root, Kind::Shared, &[("own", 100)], 4);
    let own = storage(&fs, &fourth, &PathClaims::default());
    fourth.open(&own, fourth.plan(Existing::Refuse)).unwrap();
    assert_eq!(names(&*fs, &folder.path().join(".dunlin-0")).len(), 1);
    let fifth = torrent(5, &root, Kind::Shared, &[("own", 99)], 5);
    let also = storage(&fs, &fifth, &PathClaims::default());
    refused(&fifth.open(&also, fifth.plan(Existing::Refuse)).unwrap_err());
    store.close_torrent(T, false);
}

/// Runs that have a whole folder for themselves have it, wherever the torrent's own folder begins.
#[test]
fn folders_of_whole_runs_are_claimed_too() {
    let fs: Arc<dyn Fs> = Arc::new(MemFs::new());
    let torrent = torrent(1, "/o", Kind::Shared, &[("x/in/file", 40_000), ("y", 30_000)], 1);
    let store = storage(&fs, &torrent, &PathClaims::default());
    let whole = |path: &str| OutputLock::acquire(&fs, Path::new(path));
    let lock = whole("/o/t/x").unwrap();
    let error = torrent.open(&store, torrent.plan(Existing::Refuse)).unwrap_err();
    assert_eq!(refused(&error), Path::new("/o/t/x/in/file"));
    torrent.open(&store, torrent.plan_for(Existing::Refuse, |file| file == 1)).unwrap();
    drop(lock);
    store.set_wanted(T, &torrent.wanted(|_| true), &mut go_on).unwrap();
    for (path, free) in [("/o/t/x", false), ("/o/t", false), ("/o/t/z", true), ("/o/t/x/i", true)] {
        let lock = whole(path);
        assert_eq!(lock.is_ok(), free, "{path}");
        if let Err(error) = lock {
            assert!(error.to_string().contains("in use by the torrent 0101"), "{error}");
        }
    }
    store.close_torrent(T, false);
    whole("/o/t/x").unwrap();
}

/// Who has a folder for itself has all that is below it.
#[test]
fn a_run_that_has_a_folder_has_those_below_it() {
    let fs: Arc<dyn Fs> = Arc::new(MemFs::new());
    fs.create_dir_all(Path::new("/o/a/b")).unwrap();
    let says = |text: &str| {
        let lock = fs.open_write(Path::new("/o/.dunlin/lock")).unwrap();
        lock.set_len(0).unwrap();
        lock.write_at(&[bytes::Bytes::from(text.to_owned())], 0).unwrap();
    };
    let whole = OutputLock::acquire_shared(&fs, Path::new("/o"), "j").unwrap();
    let below = |shared| match shared {
        true => OutputLock::acquire_shared(&fs, Path::new("/o/a/b"), "j"),
        false => OutputLock::acquire(&fs, Path::new("/o/a/b")),
    };
    let torrent = || OutputLock::acquire_for(&fs, Path::new("/o/a/b"), InfoHash([1; 20]));
    // (what the lock says, whether a rank of job j gets a folder below, and whether anybody else
    // does) What this process says itself, and what another one of the same number would.
    let _ours = OutputLock::acquire(&fs, Path::new("/p")).unwrap();
    let process = fs.read_all(Path::new("/p/.dunlin/lock"), 10_000).unwrap();
    let process = String::from_utf8(process).unwrap();
    let twin = format!("{} (x)\nrun 0123456789abcdef\n", std::process::id());
    let cases = [
        ("job j\n1 (x)\n", true, false),
        ("job k\n1 (x)\n", false, false),
        ("1 (x)\n", false, false),
        (&*twin, false, false),
    ];
    for (text, rank, others) in cases.into_iter().chain([(&*process, true, true)]) {
        says(text);
        assert_eq!(below(true).is_ok(), rank, "{text}");
        assert_eq!(below(false).is_ok(), others, "{text}");
        assert_eq!(torrent().is_ok(), others, "{text}");
    }
    says("1 (x)\n");
    let error = torrent().unwrap_err().to_string();
    assert!(error.contains("in use by process 1 (x)"), "{error}");
    drop(whole);
    below(false).unwrap();
    torrent().unwrap();
}

/// A run that has a whole folder does not write where another one had begun before, below it.
#[test]
fn a_run_leaves_folders_alone_in_which_others_work() {
    let fs = MemFs::new();
    let shared: Arc<dyn Fs> = Arc::new(fs.clone());
    let set = Set::new(Path::new("/o"), &[("a", 40_000), ("x/in/b", 30_000)], 1);
    for torrent in [false, true] {
        let root = Path::new("/o/x");
        let below = match torrent {
            true => OutputLock::acquire_for(&shared, root, InfoHash([1; 20])).unwrap(),
            false => OutputLock::acquire(&shared, root).unwrap(),
        };
        let lock = names(&fs, root).pop().unwrap();
        // Of another process.
        let said = bytes::Bytes::from_static(b"1 (x)\n");
        let open = shared.open_write(&lock).unwrap();
        open.set_len(0).unwrap();
        open.write_at(&[said], 0).unwrap();
        let whole = OutputLock::acquire(&shared, Path::new("/o")).unwrap();
        let store = crate::common::storage(&fs, Path::new("/o"));
        let error = set.open(&store, set.wanted(false)).unwrap_err();
        assert_eq!(refused(&error), root, "{torrent}");
        assert!(error.to_string().contains("process 1"), "{error}");
        drop(below);
        set.open(&store, set.wanted(false)).unwrap();
        drop(whole);
    }
}

/// Runs of other users count as well, where users have a hand in one another's files.
#[test]
fn locks_of_other_users_count_where_they_could_write_over_ours() {
    if !RealFs.is_root() {
        return;
    }
    let hash = |number: u8| InfoHash([number; 20]);
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    for (mode, whole) in [(0o777, false), (0o777, true), (0o1777, false), (0o1777, true)] {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        fs.set_mode(root, mode).unwrap();
        let theirs = match whole {
            true => OutputLock::acquire(&fs, root).unwrap(),
            false => OutputLock::acquire_for(&fs, root, hash(1)).unwrap(),
        };
        // They are another user's; we have a state folder of our own then.
        let give = |path: &Path| std::os::unix::fs::chown(path, Some(61_234), None).unwrap();
        names(&*fs, root).iter().for_each(|path| give(path));
        give(&root.join(".dunlin"));
        let counts = mode & 0o1000 == 0;
        let refused = OutputLock::acquire(&fs, root).err();
        assert_eq!(refused.is_some(), counts, "{mode:o} {whole}");
        if let Some(error) = refused {
            assert!(error.to_string().contains("in use by process"), "{error}");
        }
        assert_eq!(OutputLock::acquire_shared(&fs, root, "j").is_err(), counts);
        assert_eq!(OutputLock::acquire_for(&fs, root, hash(1)).is_err(), counts && whole);
        assert_eq!(OutputLock::acquire_for(&fs, root, hash(2)).is_err(), counts && whole);
        drop(theirs);
        OutputLock::acquire(&fs, root).unwrap();
    }
}

/// Whoever cannot be read is not nobody.
#[test]
fn a_file_of_claims_that_cannot_be_read_is_named() {
    let disk = MemFs::new();
    let fs: Arc<dyn Fs> = Arc::new(disk.clone());
    let torrent = torrent(1, "/o", Kind::Shared, &[("same", 40_000)], 1);
    let path = Path::new("/o/.dunlin/0202020202020202020202020202020202020202.1.claims");
    put(&*fs, path, b"!whatever");
    disk.set_broken(path, true);
    let store = storage(&fs, &torrent, &PathClaims::default());
    let error = torrent.open(&store, torrent.plan(Existing::Refuse)).unwrap_err();
    assert!(error.to_string().contains("0202.1.claims"), "{error}");
}

/// Links are made at a path, so they are claimed like files; of one text they are one.
#[test]
fn links_are_claimed_like_files() {
    let with_link = |number: u8, text: Option<&str>| {
        let mut torrent = torrent(number, "/o", Kind::Shared, &[("a", 100), ("l", 0)], 1);
        let file = &mut Arc::make_mut(&mut torrent.content).files[1];
        file.link = text.map(|text| text.as_bytes().to_vec());
        torrent
    };
    // (the link of the first, of the second; whether both go on)
    let cases = [
        (Some("a"), Some("a"), true),
        (Some("a"), Some("./a"), false),
        (Some("a"), None, false),
        (None, Some("a"), false),
        (None, None, true),
    ];
    for ((first, second, both), (ours, theirs)) in
        cases.into_iter().flat_map(|case| processes().map(|processes| (case, processes)))
    {
        let fs: Arc<dyn Fs> = Arc::new(MemFs::new());
        let (one, two) = (with_link(1, first), with_link(2, second));
        let store = storage(&fs, &one, &ours);
        let opened = one.open(&store, one.plan(Existing::Refuse)).unwrap();
        for done in [false, true] {
            let other = storage(&fs, &two, &theirs);
            let also = two.open(&other, two.plan(Existing::Replace));
            assert_eq!(also.is_ok(), both, "{first:?} {second:?} {done}");
            if let Err(error) = also {
                assert_eq!(refused(&error), Path::new("/o/t/l"));
            }
            if !done {
                one.fetch(&store, &opened);
                assert_eq!(store.sync().failed, []);
            }
        }
        assert_eq!(fs.read_link(Path::new("/o/t/l")).is_ok(), first.is_some());
    }
}

/// A file that stands under the name that the torrent gives it is written there.
#[test]
fn other_names_of_a_file_are_claimed_where_data_stands() {
    for (ours, theirs) in processes() {
        let fs: Arc<dyn Fs> = Arc::new(MemFs::new());
        let mut first = torrent(1, "/o", Kind::Shared, &[("safe", 40_000)], 1);
        let aliases = Aliases { raw: Some(b"t/raw".to_vec()), ..Aliases::default() };
        Arc::make_mut(&mut first.content).files[0].aliases = Some(Box::new(aliases));
        put(&*fs, Path::new("/o/t/raw"), &[7; 40_000]);
        let second = torrent(2, "/o", Kind::Shared, &[("raw", 40_000)], 2);
        let store = storage(&fs, &first, &ours);
        first.open(&store, first.plan(Existing::Replace)).unwrap();
        let other = storage(&fs, &second, &theirs);
        let error = second.open(&other, second.plan(Existing::Replace)).unwrap_err();
        assert_eq!(refused(&error), Path::new("/o/t/raw"));
    }
}

/// A torrent whose two names came by two ways is one when its files are known: it is written once.
#[test]
fn one_torrent_is_written_once_whatever_it_is_named_by() {
    let files = [("same", 3 * PIECE as usize)];
    for (ours, theirs) in processes() {
        let fs: Arc<dyn Fs> = Arc::new(MemFs::new());
        let first = torrent(1, "/o", Kind::Shared, &files, 1);
        let store = storage(&fs, &first, &ours);
        let opened = first.open(&store, first.plan(Existing::Refuse)).unwrap();
        first.write(&store, 0).unwrap();
        let before = names(&*fs, Path::new("/o"));
        for existing in [Existing::Refuse, Existing::Replace] {
            // None of its files is wanted, or all.
            for wanted in [false, true] {
                let other = storage(&fs, &first, &theirs);
                let error = first.open(&other, first.plan_for(existing, |_| wanted)).unwrap_err();
                assert!(matches!(error.kind, DiskErrorKind::Twice { .. }), "{error}");
                assert!(error.to_string().contains("/o: the torrent 0101"), "{error}");
            }
        }
        assert_eq!(names(&*fs, Path::new("/o")), before, "nothing is written");
        // Below another folder it is another.
        let apart = torrent(1, "/p", Kind::Shared, &files, 1);
        let other = storage(&fs, &apart, &theirs);
        apart.open(&other, apart.plan(Existing::Refuse)).unwrap();
        first.fetch(&store, &opened);
        assert_eq!(store.close_torrent(T, true).failed, []);
        first.assert_done(&*fs);
        let other = storage(&fs, &first, &theirs);
        assert_eq!(first.open(&other, first.plan(Existing::Refuse)).unwrap().have.count(), 3);
    }
}

/// Several processes that publish under one name at one time: each has a name of its own.
#[test]
fn of_one_torrent_many_times_at_once_one_is_first() {
    let folder = tempfile::tempdir().unwrap();
    for round in 0..20 {
        let root = folder.path().join(round.to_string());
        std::fs::create_dir(&root).unwrap();
        let torrent = torrent(1, root.to_str().unwrap(), Kind::Shared, &[("same", 9)], 1);
        let (start, torrent) = (&Barrier::new(4), &torrent);
        let run = move || {
            let fs: Arc<dyn Fs> = Arc::new(RealFs);
            let store = storage(&fs, torrent, &PathClaims::default());
            start.wait();
            let opened = store.open_torrent(T, torrent.plan(Existing::Refuse), &mut go_on);
            let won = opened.inspect_err(|error| {
                assert!(matches!(error.kind, DiskErrorKind::Twice { .. }), "{error}");
            });
            start.wait();
            won.is_ok()
        };
        let won: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(run)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(won.iter().filter(|won| **won).count(), 1, "round {round}: {won:?}");
    }
}

/// Many at one time on a real disk: one of them wins, and the others are told.
#[test]
fn of_many_at_once_one_is_first() {
    let folder = tempfile::tempdir().unwrap();
    for round in 0..10 {
        let root = folder.path().join(round.to_string());
        std::fs::create_dir(&root).unwrap();
        let root = root.to_str().unwrap();
        let nested = format!("{root}/t/x");
        let start = Barrier::new(4);
        let won: Vec<_> = std::thread::scope(|scope| {
            let run = |number: u8| {
                let (start, nested) = (&start, &nested);
                move || {
                    let torrent = match number % 2 {
                        0 => torrent(number, root, Kind::Shared, &[("x/t/same", 9)], number.into()),
                        _ => torrent(number, nested, Kind::Shared, &[("same", 9)], number.into()),
                    };
                    let fs: Arc<dyn Fs> = Arc::new(RealFs);
                    fs.create_dir_all(&torrent.root).unwrap();
                    let store = storage(&fs, &torrent, &PathClaims::default());
                    start.wait();
                    let plan = torrent.plan(Existing::Refuse);
                    let won = match store.open_torrent(T, plan, &mut go_on) {
                        Ok(_) => true,
                        Err(error) => {
                            refused(&error);
                            false
                        }
                    };
                    // Nobody gives up what it has before all have asked.
                    start.wait();
                    won
                }
            };
            let threads: Vec<_> = (1..=4).map(|number| scope.spawn(run(number))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(won.iter().filter(|won| **won).count(), 1, "round {round}: {won:?}");
    }
}

/// What one torrent has left unfinished is written to by itself alone: another one with the path
/// has a part file of its own, whatever the length of its file, and a run that is over.
#[test]
fn nobody_writes_to_what_another_torrent_goes_on_with() {
    let piece = PIECE as usize;
    for (clean, length) in [(false, 4 * piece), (true, 4 * piece), (false, piece)] {
        let fs: Arc<dyn Fs> = Arc::new(MemFs::new());
        let first = torrent(1, "/o", Kind::Shared, &[("same", 4 * piece)], 1);
        let second = torrent(2, "/o", Kind::Shared, &[("same", length)], 2);
        let part = dunlin_disk::part_path(&first.dest(0));
        let run = |torrent: &Torrent, pieces: u32, clean: bool| {
            let store = storage(&fs, torrent, &PathClaims::default());
            let opened = torrent.open(&store, torrent.plan(Existing::Refuse)).unwrap();
            (0..pieces).for_each(|piece| torrent.write(&store, piece).unwrap());
            store.sync();
            match clean {
                true => assert_eq!(store.close_torrent(T, true).failed, []),
                false => drop(store),
            }
            opened.have.count()
        };
        assert_eq!(run(&first, 2, clean), 0);
        let (before, bytes) = (fs.look(&part).unwrap(), fs.read_all(&part, 1 << 30).unwrap());
        run(&second, 1, false);
        let after = fs.look(&part).unwrap();
        assert_eq!((after.meta, after.changed), (before.meta, before.changed), "{clean} {length}");
        assert_eq!(fs.read_all(&part, 1 << 30).unwrap(), bytes);
        assert_eq!(run(&first, 0, true), 2, "it goes on where it was");
        assert_eq!(run(&second, 0, true), 1, "so does the other");
        // The one that finishes leaves nothing of its own, and the other's part alone.
        let store = storage(&fs, &second, &PathClaims::default());
        let opened = second.open(&store, second.plan(Existing::Refuse)).unwrap();
        second.fetch(&store, &opened);
        assert_eq!(store.close_torrent(T, true).failed, []);
        second.assert_file(&*fs, 0);
        let parts = names(&*fs, Path::new("/o/t"));
        assert_eq!(parts, [part, second.dest(0)], "{clean} {length}");
    }
}
