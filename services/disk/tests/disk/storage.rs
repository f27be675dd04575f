//! One rank's files: written, resumed, renamed, and what happens when the disk does not play along.

use crate::common::{PIECE, Set, T, storage};
use bytes::Bytes;
use dunlin_base::{FileIndex, PieceIndex, TorrentId};
use dunlin_disk::{
    DiskError, DiskErrorKind, FilePlace, Fs, MemFs, RealFs, SourceFile, Storage, StorageConfig,
    find_leftovers, part_path,
};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

fn root() -> &'static Path {
    Path::new("/out")
}

fn small() -> Set {
    Set::new(root(), &[("a", 40_000), ("d/b", 16_384), ("empty", 0)], 7)
}

fn put(fs: &dyn Fs, path: &Path, bytes: &[u8]) {
    fs.create_dir_all(path.parent().unwrap()).unwrap();
    let file = fs.open_write(path).unwrap();
    file.set_len(0).unwrap();
    file.write_at(&[Bytes::copy_from_slice(bytes)], 0).unwrap();
}

#[test]
fn opening_touches_nothing_but_folders() {
    let (fs, set) = (MemFs::new(), small());
    let store = storage(&fs, root());
    assert_eq!(store.unfinished().unwrap(), []);
    let opened = set.open(&store, set.wanted(false)).unwrap();
    assert_eq!((opened.have.count(), opened.resumed), (0, 0));
    let names: Vec<_> = fs.read_dir(root()).unwrap().into_iter().map(|entry| entry.path).collect();
    assert_eq!(names, [root().join("d")]);
    assert_eq!(store.due(), None);
    assert!(set.open(&store, set.wanted(false)).is_err(), "open already");
}

#[test]
fn a_set_is_written_and_renamed() {
    let (fs, set) = (MemFs::new(), small());
    let store = storage(&fs, root());
    set.open(&store, set.wanted(false)).unwrap();
    assert!(store.finish_file(T, FileIndex(0)).is_err(), "pieces are missing");
    set.write_all(&store).unwrap();
    let block = set.geometry.block(PieceIndex(2), 1);
    assert_eq!(store.read_block(T, block).unwrap(), set.bytes(block), "read from the part");
    assert!(store.due().unwrap() > Instant::now() + Duration::from_millis(500));
    set.finish_all(&store).unwrap();
    assert!(store.due().unwrap() < Instant::now() + Duration::from_millis(500));
    assert!(fs.metadata(&set.dest(0)).is_err(), "no final name before the sync");
    let report = store.sync();
    assert_eq!(report.finished.len(), 3);
    assert_eq!((report.failed, store.due()), (Vec::new(), None));
    assert_eq!(store.read_block(T, block).unwrap(), set.bytes(block), "read from the file");
    assert_eq!(set.write(&store, 0).unwrap_err().path, set.dest(0), "finished is finished");
    let counters = store.counters();
    assert_eq!((counters.bytes_written, counters.bytes_read), (56_384, 2 * u64::from(block.len)));
    store.close();
    set.assert_done(&fs);
}

#[test]
fn many_bytes_are_due_at_once() {
    let (fs, set) = (MemFs::new(), small());
    let config = StorageConfig::new(Arc::new(fs.clone()), root().into());
    let store = Storage::new(StorageConfig { sync_bytes: 20_000, ..config });
    set.open(&store, set.wanted(false)).unwrap();
    set.write(&store, 0).unwrap();
    assert!(store.due().unwrap() > Instant::now());
    set.write(&store, 1).unwrap();
    assert!(store.due().unwrap() <= Instant::now());
}

#[test]
fn misuse_is_refused_and_never_panics() {
    let (fs, set) = (MemFs::new(), small());
    let store = storage(&fs, root());
    let block = set.whole(PieceIndex(0));
    assert!(store.read_block(T, block).is_err() && store.finish_file(T, FileIndex(0)).is_err());
    let places = vec![FilePlace::Absent; 3];
    set.open(&store, places).unwrap();
    let past = dunlin_base::BlockRef { piece: PieceIndex(99), begin: 5, len: u32::MAX };
    let long = dunlin_base::BlockRef { len: PIECE + 1, ..block };
    for block in [past, long, block] {
        assert!(store.read_block(T, block).is_err());
        assert!(store.write_block(T, block, &Bytes::from_static(b"x")).is_err());
    }
    assert!(store.write_piece(T, PieceIndex(99), &[]).is_err());
    assert!(store.finish_file(T, FileIndex(0)).is_err());
    assert!(store.finish_file(T, FileIndex(9)).is_err());
    assert!(store.finish_file(TorrentId(8), FileIndex(0)).is_err());
    store.verified(T, PieceIndex(99));
}

#[test]
fn a_killed_run_is_resumed_by_hashing_the_unsynced_window() {
    let (fs, set) = (MemFs::new(), small());
    let first = storage(&fs, root());
    set.open(&first, set.wanted(false)).unwrap();
    set.write(&first, 0).unwrap();
    first.sync();
    set.write(&first, 2).unwrap();
    let spilled = set.geometry.block(PieceIndex(1), 0);
    first.write_block(T, spilled, &set.bytes(spilled)).unwrap();
    assert_eq!(first.read_block(T, spilled).unwrap(), set.bytes(spilled));
    drop(first);

    // The files are in another set now; the claims are by file.
    let other = Set::new(root(), &[("a", 40_000)], 7);
    assert_eq!(other.contents[0], set.contents[0]);
    let second = storage(&fs, root());
    let claims = second.unfinished().unwrap();
    let shown: Vec<_> =
        claims.iter().map(|c| (c.name.as_str(), format!("{:?}", c.pieces))).collect();
    assert_eq!(shown, [("a", "101".to_owned())]);
    assert_eq!(claims[0].hashes.len(), 3);
    let opened = other.open(&second, other.wanted(false)).unwrap();
    assert_eq!((opened.have.count(), opened.resumed), (2, 2));
    assert!(second.due().is_some(), "what was found by hashing is not synced yet");
    other.write(&second, 1).unwrap();
    other.finish_all(&second).unwrap();
    second.close();
    other.assert_done(&fs);
}

#[test]
fn a_torn_resume_file_costs_time_and_nothing_else() {
    let (fs, set) = (MemFs::new(), small());
    let first = storage(&fs, root());
    set.open(&first, set.wanted(false)).unwrap();
    set.write(&first, 1).unwrap();
    first.close();
    let resume = root().join(format!(".dunlin/{}.resume", set.info.info_hash()));
    let good = fs.read_all(&resume, 1 << 20).unwrap();
    let huge = vec![b'd'; 100_000];
    for bad in [&good[..good.len() / 2], b"", b"junk", huge.as_slice()] {
        put(&fs, &resume, bad);
        let second = storage(&fs, root());
        assert_eq!(second.unfinished().unwrap(), []);
        let opened = set.open(&second, set.wanted(false)).unwrap();
        assert_eq!(opened.resumed, 1, "the part is hashed instead");
    }
}

#[test]
fn looking_at_part_files_stops_when_it_is_told_to() {
    let (fs, set) = (MemFs::new(), small());
    let first = storage(&fs, root());
    set.open(&first, set.wanted(false)).unwrap();
    set.write(&first, 1).unwrap();
    first.close();
    let resume = root().join(format!(".dunlin/{}.resume", set.info.info_hash()));
    // Another inode, so that the claims are not trusted.
    let part = part_path(&set.dest(0));
    let bytes = fs.read_all(&part, 1 << 20).unwrap();
    fs.remove_file(&part).unwrap();
    put(&fs, &part, &bytes);
    let config = || StorageConfig::new(Arc::new(fs.clone()), root().into());
    let (stop, stopped) = (Arc::new(AtomicBool::new(true)), DiskErrorKind::Interrupted);
    let second = Storage::new(StorageConfig { stop: Arc::clone(&stop), ..config() });
    assert_eq!(second.unfinished().unwrap_err().kind, stopped);
    assert_eq!(set.open(&second, set.wanted(false)).unwrap_err().kind, stopped);
    second.close();
    assert!(fs.metadata(&resume).is_ok(), "nothing is tidied away");
    stop.store(false, Ordering::Relaxed);
    assert_eq!(second.unfinished().unwrap().len(), 1);
    assert_eq!(set.open(&second, set.wanted(false)).unwrap().resumed, 1);
}

#[test]
fn a_part_that_was_swapped_is_not_trusted() {
    let (fs, set) = (MemFs::new(), small());
    let first = storage(&fs, root());
    set.open(&first, set.wanted(false)).unwrap();
    set.write_all(&first).unwrap();
    first.close();
    let part = part_path(&set.dest(0));
    fs.remove_file(&part).unwrap();
    put(&fs, &part, &vec![5; 40_000]);
    let second = storage(&fs, root());
    let names: Vec<_> = second.unfinished().unwrap().into_iter().map(|c| c.name).collect();
    assert_eq!(names, ["d/b"]);
    assert_eq!(set.open(&second, set.wanted(false)).unwrap().resumed, 1);
    set.write_all(&second).unwrap();
    set.finish_all(&second).unwrap();
    second.close();
    set.assert_done(&fs);
}

#[test]
fn of_two_claims_on_one_place_the_later_counts() {
    // Info hashes order the resume files of a folder; either order must do.
    for (one, two) in [(7, 8), (8, 7)] {
        let fs = MemFs::new();
        for seed in [one, two] {
            let set = Set::new(root(), &[("a", 40_000)], seed);
            let store = storage(&fs, root());
            assert_eq!(set.open(&store, set.wanted(false)).unwrap().resumed, 0);
            set.write(&store, 1).unwrap();
            store.sync();
        }
        let last = Set::new(root(), &[("a", 40_000)], two);
        let claims = storage(&fs, root()).unfinished().unwrap();
        assert_eq!(claims.len(), 1);
        let hashes = dunlin_metainfo::PieceHashes::Sha1(claims[0].hashes.as_slice().into());
        assert_eq!((hashes, claims[0].pieces.count()), (last.info.hashes.clone(), 1));
    }
}

#[test]
fn two_torrents_share_a_root_and_a_sync() {
    let fs = MemFs::new();
    let sets =
        [7, 8].map(|seed| Set::new(root(), &[(["a", "b"][seed as usize - 7], 40_000)], seed));
    let store = storage(&fs, root());
    for (set, id) in sets.iter().zip(1..) {
        let content = Arc::new(set.info.content(crate::common::BLOCK));
        store.open(TorrentId(id), content, set.wanted(false)).unwrap();
        for piece in (0..3).map(PieceIndex) {
            let bytes = set.bytes(set.whole(piece));
            store.write_piece(TorrentId(id), piece, &[bytes]).unwrap();
        }
    }
    store.finish_file(TorrentId(2), FileIndex(0)).unwrap();
    let before = fs.syncs();
    assert_eq!(store.sync().finished, [(TorrentId(2), FileIndex(0))]);
    assert!(fs.syncs() - before <= 4, "data, names, resume files, their names");
    assert_eq!(fs.read_all(&sets[1].dest(0), 1 << 20).unwrap(), sets[1].contents[0]);
    store.close();
    assert_eq!(storage(&fs, root()).unfinished().unwrap().len(), 1);
}

#[test]
fn closing_without_a_write_keeps_what_earlier_runs_left() {
    let (fs, set) = (MemFs::new(), small());
    let first = storage(&fs, root());
    set.open(&first, set.wanted(false)).unwrap();
    set.write(&first, 0).unwrap();
    first.close();
    let other = Set::new(root(), &[("a", 40_000)], 7);
    for _ in 0..2 {
        let idle = storage(&fs, root());
        assert_eq!(idle.unfinished().unwrap().len(), 1);
        assert_eq!(other.open(&idle, other.wanted(false)).unwrap().resumed, 1);
        idle.close();
    }
}

#[test]
fn a_full_disk_is_said_and_waited_out() {
    let set = small();
    for space in (0..60_000).step_by(1_111) {
        let fs = MemFs::new();
        let store = storage(&fs, root());
        set.open(&store, set.wanted(false)).unwrap();
        fs.set_space(Some(space));
        let full = (0..set.geometry.pieces()).find_map(|piece| set.write(&store, piece).err());
        if let Some(error) = full {
            assert!(error.is_full() && error.path.starts_with(root()), "{error}");
        }
        store.sync();
        assert_eq!(
            fs.read_dir(root()).unwrap().iter().filter(|e| e.path == set.dest(0)).count(),
            0
        );
        fs.set_space(None);
        set.write_all(&store).unwrap();
        set.finish_all(&store).unwrap();
        store.close();
        set.assert_done(&fs);
    }
}

#[test]
fn an_io_error_names_the_file_and_loses_nothing() {
    let (fs, set) = (MemFs::new(), small());
    let store = storage(&fs, root());
    set.open(&store, set.wanted(false)).unwrap();
    set.write(&store, 0).unwrap();
    let part = part_path(&set.dest(0));
    fs.set_broken(&part, true);
    let error = set.write(&store, 1).unwrap_err();
    assert_eq!((error.path.clone(), error.is_full()), (part.clone(), false));
    fs.set_broken(&part, false);
    set.write_all(&store).unwrap();
    set.finish_all(&store).unwrap();

    fs.break_next_sync(&part);
    let report = store.sync();
    assert_eq!(report.finished, [(T, FileIndex(1)), (T, FileIndex(2))], "the others go on");
    let failed: Vec<_> = report.failed.iter().map(|(_, file, e)| (file.0, &e.path)).collect();
    assert_eq!(failed, [(0, &part)]);
    assert!(matches!(report.failed[0].2.kind, DiskErrorKind::Io(_)));
    assert!(store.due().is_some());

    store.finish_file(T, FileIndex(0)).unwrap();
    assert_eq!(store.close().finished, [(T, FileIndex(0))]);
    set.assert_done(&fs);
    for seed in 0..20 {
        let found = fs.crash(seed).read_all(&set.dest(0), 1 << 20).unwrap();
        assert_eq!(found, set.contents[0], "rewritten before it was claimed");
    }
}

#[test]
fn pieces_of_blocks_from_before_a_failed_sync_are_written_again() {
    let (fs, set) = (MemFs::new(), small());
    let store = storage(&fs, root());
    set.open(&store, set.wanted(false)).unwrap();
    let block = set.geometry.block(PieceIndex(0), 0);
    store.write_block(T, block, &set.bytes(block)).unwrap();
    fs.break_next_sync(&part_path(&set.dest(0)));
    store.sync();
    let before = store.counters().bytes_written;
    set.stream(&store, 0).unwrap();
    store.sync();
    let written = store.counters().bytes_written - before;
    assert_eq!(written, 2 * u64::from(PIECE));
}

#[test]
fn open_files_are_bounded() {
    let fs = MemFs::new();
    let names: Vec<String> = (0..40).map(|index| format!("f{index}")).collect();
    let files: Vec<_> = names.iter().map(|name| (name.as_str(), 1000)).collect();
    let set = Set::new(root(), &files, 3);
    let config = StorageConfig::new(Arc::new(fs.clone()), root().into());
    let store = Storage::new(StorageConfig { open_files: 4, ..config });
    set.open(&store, set.wanted(false)).unwrap();
    set.write_all(&store).unwrap();
    for piece in (0..40).map(PieceIndex) {
        let block = set.whole(piece);
        assert_eq!(store.read_block(T, block).unwrap(), set.bytes(block));
    }
    set.finish_all(&store).unwrap();
    store.close();
    set.assert_done(&fs);
    // One more for the file that is being opened.
    assert!(fs.most_open() <= 5, "{}", fs.most_open());
}

#[test]
fn a_part_that_gets_its_name_while_it_is_opened_is_read_and_not_made_again() {
    let (fs, set) = (MemFs::new(), Set::new(root(), &[("a", 1000), ("b", 1000)], 3));
    let config = StorageConfig::new(Arc::new(fs.clone()), root().into());
    let store = Arc::new(Storage::new(StorageConfig { open_files: 1, ..config }));
    set.open(&store, set.wanted(false)).unwrap();
    set.write_all(&store).unwrap();
    set.finish_all(&store).unwrap();
    let part = part_path(&set.dest(0));
    assert!(fs.metadata(&part).is_ok());
    // The only open file is another, so this one has to be opened for the reader.
    let syncing = Arc::clone(&store);
    fs.before_open(&part, move || _ = syncing.sync());
    let block = set.whole(PieceIndex(0));
    assert_eq!(store.read_block(T, block).unwrap(), set.bytes(block));
    store.close();
    set.assert_done(&fs);
    assert_eq!(find_leftovers(&fs, root()).unwrap(), []);
}

#[test]
fn sources_that_change_are_named() {
    let (fs, set) = (MemFs::new(), small());
    let sources: Vec<PathBuf> =
        (0..3).map(|file| Path::new("/src").join(file.to_string())).collect();
    let places: Vec<_> =
        sources.iter().map(|path| FilePlace::Source(path.clone().into())).collect();
    for (path, content) in sources.iter().zip(&set.contents) {
        put(&fs, path, content);
    }
    let store = storage(&fs, root());
    assert!(set.open(&store, places.clone()).unwrap().have.is_full());
    set.finish_all(&store).unwrap();
    assert_eq!(store.sync().finished.len(), 3, "nothing to do, but it is reported");
    fs.open_write(&sources[0]).unwrap().set_len(39_999).unwrap();
    let last = set.whole(PieceIndex(2));
    let error = store.read_block(T, last).unwrap_err();
    assert_eq!((error.kind, error.path), (DiskErrorKind::Changed, sources[0].clone()));
    assert!(store.read_block(T, set.whole(PieceIndex(3))).is_ok());

    let later = storage(&fs, root());
    let error = set.open(&later, places.clone()).unwrap_err();
    assert_eq!((error.kind, error.path), (DiskErrorKind::Changed, sources[0].clone()));
    fs.remove_file(&sources[0]).unwrap();
    let error = set.open(&later, places).unwrap_err();
    assert_eq!((error.kind, error.path), (DiskErrorKind::Missing, sources[0].clone()));
}

/// Sources are served while they are what they were, not overwritten and not another file.
fn check_overwritten(fs: &Arc<dyn Fs>, root: &Path) {
    let set = Set::new(root, &[("a", 40_000), ("d/b", 16_384)], 7);
    (0..2).for_each(|file| put(&**fs, &set.dest(file), &set.contents[file]));
    let storage = || Storage::new(StorageConfig::new(Arc::clone(fs), root.into()));
    let places = || -> Vec<_> {
        let seen = |file| Some(fs.look(&set.dest(file)).unwrap().seen());
        let source = |file| SourceFile { path: set.dest(file), seen: seen(file) };
        (0..2).map(|file| FilePlace::Source(source(file))).collect()
    };
    let changed = |found: Result<Bytes, DiskError>| {
        let error = found.unwrap_err();
        assert_eq!((error.kind, error.path), (DiskErrorKind::Changed, set.dest(0)));
    };
    let (seen, store, block) = (places(), storage(), set.whole(PieceIndex(0)));
    set.open(&store, seen.clone()).unwrap();
    assert_eq!(store.read_block(T, block).unwrap(), set.bytes(block));
    let mut wrong = set.contents[0].clone();
    wrong[39_000] ^= 1;
    while fs.metadata(&set.dest(0)).unwrap().modified == places_modified(&seen) {
        fs.open_write(&set.dest(0)).unwrap().write_at(&[Bytes::from(wrong.clone())], 0).unwrap();
    }
    changed(store.read_block(T, block));
    assert!(store.read_block(T, set.whole(PieceIndex(3))).is_ok(), "the other file is still right");
    let error = set.open(&storage(), seen).unwrap_err();
    assert_eq!((error.kind, error.path), (DiskErrorKind::Changed, set.dest(0)), "since the check");

    put(&**fs, &set.root.join("new"), &set.contents[0]);
    let (seen, store) = (places(), storage());
    fs.rename(&set.root.join("new"), &set.dest(0)).unwrap();
    assert!(set.open(&storage(), seen).is_err(), "another file of that name");
    set.open(&store, places()).unwrap();
    assert_eq!(store.read_block(T, block).unwrap(), set.bytes(block));
}

fn places_modified(places: &[FilePlace]) -> i128 {
    let Some(FilePlace::Source(SourceFile { seen: Some(seen), .. })) = places.first() else {
        panic!("a source that was seen")
    };
    seen.meta.modified
}

#[test]
fn sources_that_are_overwritten_are_not_read() {
    check_overwritten(&(Arc::new(MemFs::new()) as Arc<dyn Fs>), root());
    let folder = tempfile::tempdir().unwrap();
    check_overwritten(&(Arc::new(RealFs) as Arc<dyn Fs>), &folder.path().join("out"));
}

#[test]
fn owned_and_wanted_is_copied_and_checked() {
    let (fs, set) = (MemFs::new(), small());
    let source = |file: usize| Path::new("/src").join(file.to_string());
    for (file, content) in set.contents.iter().enumerate() {
        put(&fs, &source(file), content);
    }
    let place = |file| FilePlace::Copy { source: source(file).into(), dest: set.dest(file) };
    put(&fs, &set.dest(0), b"stood there before");
    let store = storage(&fs, root());
    let opened = set.open(&store, (0..3).map(place).collect()).unwrap();
    assert!(opened.have.is_full() && opened.resumed == 0);
    let mut wrong = set.contents[0].clone();
    wrong[39_000] ^= 1;
    put(&fs, &source(0), &wrong);
    let error = store.finish_file(T, FileIndex(0)).unwrap_err();
    assert_eq!((error.kind, error.path), (DiskErrorKind::Changed, source(0)));
    assert!(fs.metadata(&part_path(&set.dest(0))).is_err(), "no remains");
    put(&fs, &source(0), &set.contents[0]);
    set.finish_all(&store).unwrap();
    let block = set.whole(PieceIndex(3));
    assert_eq!(store.read_block(T, block).unwrap(), set.bytes(block));
    fs.break_next_sync(&part_path(&set.dest(1)));
    assert_eq!(store.sync().failed.len(), 1);
    store.finish_file(T, FileIndex(1)).unwrap();
    put(&fs, &set.dest(1), b"appeared");
    assert_eq!(store.sync().failed[0].2.kind, DiskErrorKind::Exists);
    fs.remove_file(&set.dest(1)).unwrap();
    store.finish_file(T, FileIndex(1)).unwrap();
    store.close();
    set.assert_done(&fs);
    set.assert_done(&fs.crash(1));
}

#[test]
fn what_appeared_meanwhile_is_not_replaced() {
    let (fs, set) = (MemFs::new(), small());
    let store = storage(&fs, root());
    set.open(&store, set.wanted(false)).unwrap();
    set.write_all(&store).unwrap();
    put(&fs, &set.dest(0), b"mine");
    set.finish_all(&store).unwrap();
    let report = store.sync();
    assert_eq!((report.finished.len(), report.failed.len()), (2, 1));
    let (_, file, error) = &report.failed[0];
    assert_eq!((file.0, &error.kind, &error.path), (0, &DiskErrorKind::Exists, &set.dest(0)));
    assert_eq!(fs.read_all(&set.dest(0), 100).unwrap(), b"mine");
    fs.remove_file(&set.dest(0)).unwrap();
    store.finish_file(T, FileIndex(0)).unwrap();
    assert_eq!(store.close().finished.len(), 1);
    set.assert_done(&fs);

    let fs = MemFs::new();
    let store = storage(&fs, root());
    put(&fs, &set.dest(0), b"old");
    set.open(&store, set.wanted(true)).unwrap();
    set.write_all(&store).unwrap();
    set.finish_all(&store).unwrap();
    store.close();
    set.assert_done(&fs);
}

#[test]
fn three_hundred_small_files_on_this_machine() {
    let folder = tempfile::tempdir().unwrap();
    let names: Vec<String> = (0..300).map(|index| format!("d{}/f{index}", index % 7)).collect();
    let files: Vec<_> =
        names.iter().zip(0..).map(|(name, len)| (name.as_str(), len * 37)).collect();
    let set = Set::new(&folder.path().join("out"), &files, 3);
    let mut config = StorageConfig::new(Arc::new(RealFs), set.root.clone());
    // However long it takes here.
    config.sync_interval = Duration::MAX;
    let store = Storage::new(config);
    set.open(&store, set.wanted(false)).unwrap();
    set.write_all(&store).unwrap();
    assert!(!find_leftovers(&RealFs, &set.root).unwrap().is_empty());
    set.finish_all(&store).unwrap();
    assert_eq!(store.close().finished.len(), 300);
    set.assert_done(&RealFs);
    assert!(store.counters().syncs <= 8, "{:?}", store.counters());
}

#[test]
fn a_killed_run_on_this_machine() {
    let folder = tempfile::tempdir().unwrap();
    let set = Set::new(folder.path(), &[("big", 3_000_000), ("small", 5)], 3);
    let first = storage(&RealFs, &set.root);
    set.open(&first, set.wanted(false)).unwrap();
    (0..100).for_each(|piece| set.write(&first, piece).unwrap());
    first.sync();
    (100..150).for_each(|piece| set.write(&first, piece).unwrap());
    drop(first);
    let second = storage(&RealFs, &set.root);
    assert_eq!(second.unfinished().unwrap()[0].pieces.count(), 150);
    assert_eq!(set.open(&second, set.wanted(false)).unwrap().resumed, 150);
    set.write_all(&second).unwrap();
    set.finish_all(&second).unwrap();
    second.close();
    set.assert_done(&RealFs);
}

#[test]
fn reads_go_on_while_files_get_their_names() {
    let folder = tempfile::tempdir().unwrap();
    let names: Vec<String> = (0..100).map(|index| format!("f{index}")).collect();
    let files: Vec<_> = names.iter().map(|name| (name.as_str(), 20_000)).collect();
    let set = Set::new(folder.path(), &files, 3);
    let config = StorageConfig::new(Arc::new(RealFs), set.root.clone());
    let store = Storage::new(StorageConfig { open_files: 2, ..config });
    set.open(&store, set.wanted(false)).unwrap();
    set.write_all(&store).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for piece in (0..set.geometry.pieces()).cycle().take(2000) {
                let block = set.whole(PieceIndex(piece));
                assert_eq!(store.read_block(T, block).unwrap(), set.bytes(block));
            }
        });
        for file in 0..100 {
            store.finish_file(T, FileIndex(file)).unwrap();
            if file % 10 == 9 {
                store.sync();
            }
        }
    });
    store.close();
    set.assert_done(&RealFs);
}
