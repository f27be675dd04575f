//! Torrents of the internet in a folder where anything may stand: what is taken, what is refused,
//! what is read again, and where bytes of files go that nobody wants.

use crate::common::torrent::{KINDS, Kind, Torrent, flip, put};
use crate::common::{PIECE, T, storage};
use bytes::Bytes;
use dunlin_base::{Bitfield, BlockRef, FileIndex, PieceIndex};
use dunlin_disk::{
    Budget, CheckFiles, DiskError, DiskErrorKind, Existing, Fs, MemFs, OpenStep, RealFs, Storage,
    StorageConfig,
};
use dunlin_hash::leaf_hashes;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

fn root() -> &'static Path {
    Path::new("/out")
}

const FILES: [(&str, usize); 6] =
    [("a", 40_000), ("b", 3_000), ("c", 100), ("d/e", 50_000), ("f", 0), ("g", 9_000)];

fn torrent(kind: Kind) -> Torrent {
    Torrent::new(root(), kind, &FILES, 7)
}

/// The index of a file by its name: with padding listed, others come between.
fn index(torrent: &Torrent, name: &str) -> usize {
    let name = format!("t/{name}");
    torrent.content.files.iter().position(|file| file.name == name).unwrap()
}

fn complete(torrent: &Torrent, fs: &MemFs) {
    let store = storage(fs, root());
    let opened = torrent.open(&store, torrent.plan(Existing::Refuse)).unwrap();
    torrent.fetch(&store, &opened);
    assert_eq!(store.close_torrent(T, true).failed, []);
    torrent.assert_done(fs);
}

/// The files below a folder, but for those that say who writes where.
fn names(fs: &dyn Fs, folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs.read_dir(folder).unwrap_or_default() {
        match entry.is_dir {
            true => found.extend(names(fs, &entry.path)),
            false if entry.path.extension().is_some_and(|ending| ending == "claims") => {}
            false => found.push(entry.path),
        }
    }
    found
}

fn missing(have: &Bitfield) -> Vec<u32> {
    have.zeros().map(|piece| piece.0).collect()
}

#[test]
fn a_download_is_written_named_and_never_read_again() {
    for kind in KINDS {
        let (fs, torrent) = (MemFs::new(), torrent(kind));
        let store = storage(&fs, root());
        let opened = torrent.open(&store, torrent.plan(Existing::Refuse)).unwrap();
        assert_eq!((opened.have.count(), opened.resumed, opened.checked), (0, 0, 0));
        assert_eq!(names(&fs, root()), Vec::<PathBuf>::new(), "opening makes folders only");
        torrent.fetch(&store, &opened);
        // A sync on the way tells nobody; the next one does.
        store.set_wanted(T, &torrent.wanted(|_| true), &mut |_| ControlFlow::Continue(())).unwrap();
        assert!(store.due().is_some());
        let report = store.sync();
        assert_eq!((report.finished.len(), report.failed), (FILES.len(), vec![]));
        torrent.assert_done(&fs);
        // As a seed in the same run.
        let full = Bitfield::full(torrent.content.geometry.pieces());
        for piece in full.ones() {
            let block = torrent.whole(piece);
            assert_eq!(store.read_block(T, block).unwrap(), torrent.bytes(block));
        }
        store.close_torrent(T, true);
        let state = names(&fs, &root().join(".dunlin"));
        assert_eq!(state.len(), 1, "{state:?}");

        for existing in [Existing::Refuse, Existing::Replace, Existing::Read] {
            let store = storage(&fs, root());
            let opened = torrent.open(&store, torrent.plan(existing)).unwrap();
            assert_eq!((missing(&opened.have), opened.checked), (vec![], 0), "{existing:?}");
            store.close_torrent(T, true);
        }
        let store = storage(&fs, root());
        torrent.open(&store, torrent.plan(Existing::Read)).unwrap();
        store.close_torrent(T, false);
        assert!(fs.metadata(&root().join(".dunlin")).is_err(), "nothing is kept");
    }
}

#[test]
fn files_that_stand_there_are_hashed_once() {
    for (kind, existing) in KINDS
        .iter()
        .flat_map(|kind| [Existing::Read, Existing::Refuse].map(|existing| (*kind, existing)))
    {
        let (fs, torrent) = (MemFs::new(), torrent(kind));
        torrent.put(&fs);
        let before = names(&fs, root());
        let (mut told, mut of) = (0, 0);
        let store = storage(&fs, root());
        let opened = store
            .open_torrent(T, torrent.plan(existing), &mut |step| {
                if let OpenStep::Hashed { done, total } = step {
                    (told, of) = (done, total);
                }
                ControlFlow::Continue(())
            })
            .unwrap();
        let pieces = (0..torrent.content.geometry.pieces()).map(PieceIndex);
        let all: u64 = pieces.map(|p| u64::from(torrent.content.geometry.data_len(p))).sum();
        assert_eq!((missing(&opened.have), opened.checked), (vec![], all), "{kind:?}");
        assert_eq!((told, of), (all, all));
        assert_eq!(names(&fs, root()), before, "nothing is written by opening");
        store.close_torrent(T, true);
        // What they look like is kept, so that they are not hashed again; but one that is touched
        // is.
        let again = |checked: u64| {
            let store = storage(&fs, root());
            let opened = torrent.open(&store, torrent.plan(existing)).unwrap();
            assert_eq!(
                (missing(&opened.have), opened.checked),
                (vec![], checked),
                "{kind:?} {existing:?}"
            );
            store.close_torrent(T, true);
        };
        again(0);
        put(&fs, &torrent.dest(index(&torrent, "b")), &torrent.contents[index(&torrent, "b")]);
        let of_b = torrent.pieces_of(index(&torrent, "b")).map(PieceIndex);
        again(of_b.map(|p| u64::from(torrent.content.geometry.data_len(p))).sum());
        again(0);
    }
}

#[test]
fn a_file_that_is_touched_while_it_is_hashed_is_hashed_again() {
    for (existing, times) in [(Existing::Read, 1), (Existing::Refuse, 2), (Existing::Read, 9)] {
        let (fs, torrent) = (MemFs::new(), torrent(Kind::Shared));
        torrent.put(&fs);
        let (path, store, mut left) = (torrent.dest(0), storage(&fs, root()), times);
        let mut touch = |step| {
            // Somebody gives it one more name when a round has ended.
            if let OpenStep::Hashed { done, total } = step
                && done == total
                && left > 0
            {
                left -= 1;
                fs.hard_link(&path, Path::new(&format!("/other{left}"))).unwrap();
            }
            ControlFlow::Continue(())
        };
        let opened = store.open_torrent(T, torrent.plan(existing), &mut touch);
        assert_eq!(missing(&opened.unwrap().have), [], "{existing:?} {times}");
        store.close_torrent(T, true);
        // Not without an end: who never leaves it alone may be writing, so the next run looks
        // again.
        let (store, mut hashed) = (storage(&fs, root()), 0);
        let mut count = |step| {
            if let OpenStep::Hashed { total, .. } = step {
                hashed = total;
            }
            ControlFlow::Continue(())
        };
        store.open_torrent(T, torrent.plan(existing), &mut count).unwrap();
        assert_eq!(hashed > 0, times > 3, "{existing:?} {times}: {hashed}");
    }
}

#[test]
fn other_content_is_refused_by_its_name() {
    type Damage = fn(&MemFs, &Torrent, &Path);
    let cases: [(&str, Damage); 3] = [
        ("a", |fs, _, path| flip(fs, path, 20_000)),
        ("d/e", |fs, _, path| put(fs, path, &[1; 50_001])),
        ("d/e", |fs, _, path| put(fs, path, b"short")),
    ];
    for (kind, (name, damage)) in KINDS.iter().flat_map(|kind| cases.map(|case| (*kind, case))) {
        let (fs, torrent) = (MemFs::new(), torrent(kind));
        torrent.put(&fs);
        let path = torrent.dest(index(&torrent, name));
        damage(&fs, &torrent, &path);
        let found = fs.read_all(&path, 1 << 20).unwrap();
        let before = names(&fs, root());
        let store = storage(&fs, root());
        let refused = torrent.open(&store, torrent.plan(Existing::Refuse)).unwrap_err();
        assert_eq!(refused, DiskError::new(&path, DiskErrorKind::OtherContent { more: 0 }));
        assert_eq!(names(&fs, root()), before);

        // It need not be there for who only reads.
        let opened = torrent.open(&store, torrent.plan(Existing::Read)).unwrap();
        let bad = torrent.pieces_of(index(&torrent, name));
        assert!(missing(&opened.have).iter().all(|piece| bad.contains(piece)), "{kind:?}");
        assert!(!opened.have.is_full());
        store.close_torrent(T, false);

        // What is right of it is kept by who may replace it. The old one stays until the end.
        fs.hard_link(&path, Path::new("/out/other name")).unwrap();
        let store = storage(&fs, root());
        let opened = torrent.open(&store, torrent.plan(Existing::Replace)).unwrap();
        let some = missing(&opened.have).len() < bad.len();
        assert_eq!(some, name == "a", "{kind:?} {name}");
        assert_eq!(fs.read_all(&path, 1 << 20).unwrap(), found);
        torrent.fetch(&store, &opened);
        assert_eq!(store.close_torrent(T, true).failed, []);
        fs.remove_file(Path::new("/out/other name")).map(|()| torrent.assert_done(&fs)).unwrap();
    }
}

#[test]
fn a_replaced_file_keeps_its_other_name() {
    let (fs, torrent) = (MemFs::new(), torrent(Kind::Shared));
    torrent.put(&fs);
    flip(&fs, &torrent.dest(0), 5);
    let old = fs.read_all(&torrent.dest(0), 1 << 20).unwrap();
    fs.hard_link(&torrent.dest(0), Path::new("/out/kept")).unwrap();
    for shares in [true, false] {
        fs.set_shares(shares);
        let store = storage(&fs, root());
        let opened = torrent.open(&store, torrent.plan(Existing::Replace)).unwrap();
        assert_eq!(missing(&opened.have), if shares { vec![0] } else { vec![] });
        torrent.fetch(&store, &opened);
        assert_eq!(store.close_torrent(T, true).failed, []);
        assert_eq!(fs.read_all(Path::new("/out/kept"), 1 << 20).unwrap(), old);
    }
}

#[test]
fn what_changes_behind_our_back_is_not_served() {
    let ways = [Existing::Read, Existing::Refuse, Existing::Replace];
    for (kind, existing) in
        KINDS.iter().flat_map(|kind| ways.into_iter().map(|existing| (*kind, existing)))
    {
        let (fs, torrent) = (MemFs::new(), torrent(kind));
        complete(&torrent, &fs);
        let store = storage(&fs, root());
        torrent.open(&store, torrent.plan(existing)).unwrap();
        // What it looks like otherwise is nobody's business here: whoever gets the bytes hashes
        // them.
        let modified = fs.metadata(&torrent.dest(0)).unwrap().modified;
        fs.set_modified(&torrent.dest(0), 5).unwrap();
        fs.set_modified(&torrent.dest(0), modified as i64).unwrap();
        store.read_block(T, torrent.whole(PieceIndex(0))).unwrap();
        flip(&fs, &torrent.dest(0), 30_000);
        // Any piece of it, since nobody knows which.
        let refused = store.read_block(T, torrent.whole(PieceIndex(0))).unwrap_err();
        assert_eq!(refused.kind, DiskErrorKind::Changed);
        let mut go_on = |_| ControlFlow::Continue(());
        let opened = store.recheck(T, &mut go_on);
        match existing {
            Existing::Refuse => {
                let kind = DiskErrorKind::OtherContent { more: 0 };
                assert_eq!(opened.unwrap_err(), DiskError::new(torrent.dest(0), kind));
                continue;
            }
            Existing::Read | Existing::Replace => {
                let opened = opened.unwrap();
                assert_eq!(missing(&opened.have), [1], "{kind:?}");
                torrent.assert_have(&store, &opened).unwrap();
                if existing == Existing::Replace {
                    torrent.fetch(&store, &opened);
                    assert_eq!(store.close_torrent(T, true).failed, []);
                    torrent.assert_done(&fs);
                }
            }
        }
    }
}

#[test]
fn a_time_that_is_set_back_hides_nothing_from_the_next_run_or_a_recheck() {
    let (fs, torrent) = (MemFs::new(), torrent(Kind::Shared));
    complete(&torrent, &fs);
    let path = torrent.dest(0);
    let flip_unseen = |at| {
        let modified = fs.metadata(&path).unwrap().modified;
        flip(&fs, &path, at);
        fs.set_modified(&path, modified as i64).unwrap();
    };
    flip_unseen(1);
    let store = storage(&fs, root());
    let opened = torrent.open(&store, torrent.plan(Existing::Read)).unwrap();
    assert_eq!(missing(&opened.have), [0]);
    flip_unseen(1);
    flip_unseen(20_000);
    let opened = store.recheck(T, &mut |_| ControlFlow::Continue(())).unwrap();
    assert_eq!(missing(&opened.have), [1]);
    store.close_torrent(T, true);
    let store = storage(&fs, root());
    let opened = torrent.open(&store, torrent.plan(Existing::Read)).unwrap();
    assert_eq!(missing(&opened.have), [1], "and that is kept");
}

#[test]
fn a_lost_file_comes_back_and_its_neighbours_stay() {
    for kind in [Kind::Shared, Kind::Padded] {
        let (fs, torrent) = (MemFs::new(), torrent(kind));
        complete(&torrent, &fs);
        let lost = index(&torrent, "b");
        fs.remove_file(&torrent.dest(lost)).unwrap();
        let looks = |fs: &MemFs| {
            let others = (0..torrent.contents.len()).filter(|file| *file != lost);
            others.filter_map(|file| fs.look(&torrent.dest(file)).ok()).collect::<Vec<_>>()
        };
        let before = looks(&fs);
        let store = storage(&fs, root());
        let opened = torrent.open(&store, torrent.plan(Existing::Refuse)).unwrap();
        let pieces: Vec<u32> = torrent.pieces_of(lost).collect();
        assert_eq!((missing(&opened.have), opened.checked), (pieces, 0), "{kind:?}");
        torrent.fetch(&store, &opened);
        assert_eq!(store.close_torrent(T, true).failed, []);
        torrent.assert_done(&fs);
        assert_eq!(looks(&fs), before);

        // A neighbour is not what it was, where only the lost file could tell.
        fs.remove_file(&torrent.dest(lost)).unwrap();
        let neighbour = torrent.dest(index(&torrent, "c"));
        flip(&fs, &neighbour, 50);
        let store = storage(&fs, root());
        let opened = torrent.open(&store, torrent.plan(Existing::Refuse)).unwrap();
        let refused = torrent.write(&store, missing(&opened.have)[0]).unwrap_err();
        assert_eq!(refused, DiskError::new(&neighbour, DiskErrorKind::OtherContent { more: 0 }));
        store.close_torrent(T, true);
        let store = storage(&fs, root());
        let opened = torrent.open(&store, torrent.plan(Existing::Replace)).unwrap();
        torrent.fetch(&store, &opened);
        assert_eq!(store.close_torrent(T, true).failed, []);
        torrent.assert_done(&fs);
    }
}

#[test]
fn unwanted_files_stay_out_of_sight() {
    for kind in KINDS {
        let (fs, torrent) = (MemFs::new(), torrent(kind));
        let (a, d) = (index(&torrent, "a"), index(&torrent, "d/e"));
        let wanted = |file: usize| file == a || file == d;
        let plan = || torrent.plan_for(Existing::Refuse, wanted);
        let parts = root().join(format!(".dunlin/{}.parts", torrent.content.info_hash));
        let pieces: Vec<u32> = torrent.pieces_of(a).chain(torrent.pieces_of(d)).collect();
        let store = storage(&fs, root());
        torrent.open(&store, plan()).unwrap();
        pieces.iter().for_each(|piece| torrent.write(&store, *piece).unwrap());
        [a, d].iter().for_each(|file| torrent.finish(&store, *file).unwrap());
        assert!(store.finish_file(T, FileIndex(1)).is_err());
        let report = store.close_torrent(T, true);
        assert_eq!((report.finished.len(), report.failed), (2, vec![]));
        let shown: Vec<_> =
            names(&fs, root()).into_iter().filter(|n| n.starts_with("/out/t")).collect();
        assert_eq!(shown, [torrent.dest(a), torrent.dest(d)], "{kind:?}");
        assert_eq!(fs.metadata(&parts).is_ok(), kind != Kind::Trees);

        // A restart knows of them, without reading.
        let store = storage(&fs, root());
        let opened = torrent.open(&store, plan()).unwrap();
        let mut found: Vec<u32> = opened.have.ones().map(|piece| piece.0).collect();
        let mut all = pieces.clone();
        found.dedup();
        all.dedup();
        assert_eq!((found, opened.checked), (all, 0), "{kind:?}");

        // And so does who wants them after all.
        let opened = store
            .set_wanted(T, &torrent.wanted(|_| true), &mut |_| ControlFlow::Continue(()))
            .unwrap();
        assert_eq!((opened.have.count(), opened.checked), (all_of(&pieces), 0));
        torrent.assert_have(&store, &opened).unwrap();
        torrent.fetch(&store, &opened);
        assert_eq!(store.close_torrent(T, true).failed, []);
        torrent.assert_done(&fs);
        assert!(fs.metadata(&parts).is_err(), "nothing is left of it");
    }
}

fn all_of(pieces: &[u32]) -> u32 {
    pieces.iter().collect::<std::collections::BTreeSet<_>>().len() as u32
}

#[test]
fn what_is_moved_is_claimed_after_a_sync_alone() {
    let torrent = torrent(Kind::Shared);
    let (a, b) = (index(&torrent, "a"), index(&torrent, "b"));
    for seed in 0..20 {
        let fs = MemFs::new();
        let store = storage(&fs, root());
        torrent.open(&store, torrent.plan_for(Existing::Refuse, |file| file == a)).unwrap();
        torrent.pieces_of(a).for_each(|piece| torrent.write(&store, piece).unwrap());
        store.sync();
        fs.break_next_sync(&dunlin_disk::part_path(&torrent.dest(b)));
        store.set_wanted(T, &torrent.wanted(|_| true), &mut |_| ControlFlow::Continue(())).unwrap();
        // Power fails now: `open` looks at every piece that is claimed.
        let fs = fs.crash(seed);
        let store = storage(&fs, root());
        torrent.open(&store, torrent.plan(Existing::Refuse)).unwrap();
    }
}

#[test]
fn what_is_not_wanted_any_more_keeps_its_part() {
    let (fs, torrent) = (MemFs::new(), torrent(Kind::Shared));
    let store = storage(&fs, root());
    torrent.open(&store, torrent.plan(Existing::Refuse)).unwrap();
    torrent.write(&store, 0).unwrap();
    let d = index(&torrent, "d/e");
    let opened = store
        .set_wanted(T, &torrent.wanted(|file| file == d), &mut |_| ControlFlow::Continue(()))
        .unwrap();
    assert_eq!((opened.have.count(), opened.checked), (1, 0));
    torrent.write(&store, 1).unwrap();
    torrent.pieces_of(d).for_each(|piece| torrent.write(&store, piece).unwrap());
    torrent.finish(&store, d).unwrap();
    assert_eq!(store.close_torrent(T, true).failed, []);
    assert!(fs.metadata(&torrent.dest(0)).is_err());
    let store = storage(&fs, root());
    let opened = torrent.open(&store, torrent.plan(Existing::Refuse)).unwrap();
    assert_eq!((opened.have.count(), opened.checked), (6, 0));
    torrent.fetch(&store, &opened);
    assert_eq!(store.close_torrent(T, true).failed, []);
    torrent.assert_done(&fs);
}

#[test]
fn links_are_in_the_way() {
    let torrent = torrent(Kind::Shared);
    let cases = [
        ("/out/t/d", "/secret", DiskErrorKind::NoFolder, "/out/t/d"),
        ("/out/t", "/secret", DiskErrorKind::NoFolder, "/out/t"),
        ("/out/t/a", "/secret/old", DiskErrorKind::Exists, "/out/t/a"),
        ("/out/t/.a.dunlin-part", "/secret/old", DiskErrorKind::Exists, "/out/t/.a.dunlin-part"),
    ];
    for (link, target, kind, named) in cases {
        let fs = MemFs::new();
        put(&fs, Path::new("/secret/old"), &torrent.contents[0]);
        fs.create_dir_all(Path::new(link).parent().unwrap()).unwrap();
        fs.symlink(Path::new(target), Path::new(link)).unwrap();
        let store = storage(&fs, root());
        let refused = torrent.open(&store, torrent.plan(Existing::Replace)).unwrap_err();
        assert_eq!(refused, DiskError::new(named, kind));
        assert_eq!(names(&fs, Path::new("/secret")), [Path::new("/secret/old")]);
    }
}

#[test]
fn a_full_disk_loses_nothing() {
    for kind in KINDS {
        let (fs, torrent) = (MemFs::new(), torrent(kind));
        let store = storage(&fs, root());
        let opened = torrent.open(&store, torrent.plan(Existing::Refuse)).unwrap();
        let mut have = opened.have;
        fs.set_space(Some(60_000));
        let mut failed = 0;
        for piece in have.clone().zeros() {
            match torrent.write(&store, piece.0) {
                Ok(()) => _ = have.set(piece),
                Err(error) => {
                    assert!(error.is_full(), "{error}");
                    failed += 1;
                }
            }
        }
        assert!(failed > 0 && have.count() > 0);
        store.sync();
        // Killed while it waits: what was written is there.
        drop(store);
        fs.set_space(None);
        let store = storage(&fs, root());
        let opened = torrent.open(&store, torrent.plan(Existing::Refuse)).unwrap();
        assert_eq!(opened.have, have, "{kind:?}");
        // Or it goes on in the same run.
        fs.set_space(Some(10));
        let late = PieceIndex(missing(&have)[0]);
        assert!(torrent.write(&store, late.0).unwrap_err().is_full());
        store.sync();
        fs.set_space(None);
        torrent.fetch(&store, &opened);
        assert_eq!(store.close_torrent(T, true).failed, []);
        torrent.assert_done(&fs);
    }
}

#[test]
fn state_that_is_not_ours_is_ignored() {
    let (fs, torrent) = (MemFs::new(), torrent(Kind::Shared));
    complete(&torrent, &fs);
    let state = root().join(format!(".dunlin/{}.state", torrent.content.info_hash));
    let good = fs.read_all(&state, 1 << 20).unwrap();
    for bytes in [b"junk".to_vec(), good[1..].to_vec(), Vec::new()] {
        put(&fs, &state, &bytes);
        let store = storage(&fs, root());
        let opened = torrent.open(&store, torrent.plan(Existing::Refuse)).unwrap();
        assert!(opened.have.is_full() && opened.checked > 0);
        drop(store);
    }
    // That of another folder says nothing about this one.
    put(&fs, &state, &good);
    let other = Torrent { root: "/out/sub".into(), ..torrent.clone() };
    other.put(&fs);
    flip(&fs, &other.dest(0), 3);
    let store = storage(&fs, root());
    let opened = other.open(&store, other.plan(Existing::Read)).unwrap();
    assert_eq!(missing(&opened.have), [0]);
}

#[test]
fn a_check_can_be_stopped() {
    let (fs, torrent) = (MemFs::new(), torrent(Kind::Shared));
    torrent.put(&fs);
    let store = storage(&fs, root());
    let mut stop = |step| match step {
        OpenStep::Claimed => ControlFlow::Continue(()),
        OpenStep::Hashed { .. } => ControlFlow::Break(()),
    };
    let stopped = store.open_torrent(T, torrent.plan(Existing::Refuse), &mut stop).unwrap_err();
    assert_eq!(stopped.kind, DiskErrorKind::Interrupted);
    assert!(torrent.open(&store, torrent.plan(Existing::Refuse)).unwrap().have.is_full());
}

fn on_disk(root: &Path, budget: u64) -> Storage {
    let budget = Budget::new(budget);
    let buffers = Arc::clone(budget.buffers());
    let config = StorageConfig::new(Arc::new(RealFs), root.to_owned());
    Storage::new(StorageConfig { threads: 3, buffers, budget: Some(budget), ..config })
}

#[test]
fn several_threads_find_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let files: Vec<(String, usize)> =
        (0..300).map(|n| (format!("f{n:03}"), (n * 977) % 60_000 + 16_384)).collect();
    let files: Vec<(&str, usize)> = files.iter().map(|(name, len)| (name.as_str(), *len)).collect();
    for kind in KINDS {
        let torrent = Torrent::new(folder.path(), kind, &files, 3);
        torrent.put(&RealFs);
        let wrong: Vec<usize> = [7, 100, 290].map(|n| index(&torrent, &format!("f{n:03}"))).into();
        wrong.iter().for_each(|file| flip(&RealFs, &torrent.dest(*file), 16_000));
        for budget in [256 << 20, 1 << 20] {
            let store = on_disk(folder.path(), budget);
            let opened = torrent.open(&store, torrent.plan(Existing::Read)).unwrap();
            let mut bad: Vec<u32> = wrong
                .iter()
                .map(|file| {
                    let start = torrent.content.geometry.file_start(FileIndex(*file as u32));
                    ((start + 16_000) / u64::from(PIECE)) as u32
                })
                .collect();
            bad.sort_unstable();
            assert_eq!(missing(&opened.have), bad, "{kind:?}");
            store.close_torrent(T, false);
        }
        let paths: Vec<_> = (0..torrent.contents.len())
            .map(|file| Some(torrent.dest(file)).filter(|_| file != wrong[0]))
            .collect();
        let stop = AtomicBool::new(false);
        let check = CheckFiles {
            fs: &RealFs,
            content: &torrent.content,
            paths: &paths,
            threads: 2,
            budget: None,
            stop: &stop,
        };
        let found = check.run(&mut |_, _| ControlFlow::Continue(())).unwrap();
        let mut lost: Vec<u32> = torrent.pieces_of(wrong[0]).collect();
        lost.extend(
            missing(&found.right).iter().filter(|p| !torrent.pieces_of(wrong[0]).contains(p)),
        );
        lost.sort_unstable();
        assert_eq!((missing(&found.right), found.failed), (lost, vec![]));
        std::fs::remove_dir_all(folder.path().join("t")).unwrap();
    }
}

#[test]
fn blocks_are_served_from_files_where_they_lie_in_one() {
    use std::os::unix::fs::FileExt;
    let folder = tempfile::tempdir().unwrap();
    for kind in KINDS {
        let torrent = Torrent::new(folder.path(), kind, &FILES, 7);
        let store = on_disk(folder.path(), 64 << 20);
        let opened = torrent.open(&store, torrent.plan(Existing::Refuse)).unwrap();
        let whole = |store: &Storage| {
            let mut ranges = 0;
            for piece in (0..torrent.content.geometry.pieces()).map(PieceIndex) {
                let block = torrent.whole(piece);
                let range = store.read_piece(T, piece, 1..block.len).unwrap();
                assert_eq!(range, torrent.bytes(block).slice(1..));
                let leaves = leaf_hashes(&[torrent.bytes(block)]);
                assert_eq!(store.hash_blocks(T, piece).unwrap(), leaves);
                for index in 0..torrent.content.geometry.blocks(piece) {
                    let block = torrent.content.geometry.block(piece, index);
                    let Some(range) = store.file_range(T, block) else { continue };
                    let mut bytes = vec![0; range.len as usize];
                    range.file.read_exact_at(&mut bytes, range.offset).unwrap();
                    assert_eq!(Bytes::from(bytes), torrent.bytes(block), "{kind:?} {block:?}");
                    ranges += 1;
                }
            }
            ranges
        };
        (0..torrent.content.geometry.pieces())
            .for_each(|piece| torrent.write(&store, piece).unwrap());
        let parts = whole(&store);
        torrent.fetch(&store, &opened);
        store.sync();
        assert_eq!(whole(&store), parts, "{kind:?}: part files and finished ones alike");
        assert!(parts > 20);
        let beyond = BlockRef { piece: PieceIndex(0), begin: 1, len: PIECE };
        assert!(store.file_range(T, beyond).is_none());
        flip(&RealFs, &torrent.dest(0), 1);
        assert!(store.file_range(T, torrent.content.geometry.block(PieceIndex(0), 0)).is_none());
        store.close_torrent(T, false);
        std::fs::remove_dir_all(folder.path().join("t")).unwrap();
    }
}
