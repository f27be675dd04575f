//! What stands there is changed between two runs in every way that a file system shows: the second
//! run either ends with the right bytes under every final name, or refuses by name. On the file
//! systems of this machine, on the one in memory, and on that after it has lost power; after runs
//! that ended in order and after others.

use crate::common::torrent::{Kind, Torrent, flip, put};
use crate::common::{PIECE, Set, T};
use bytes::Bytes;
use dunlin_base::InfoHash;
use dunlin_disk::{
    DiskError, DiskErrorKind, Existing, Fs, MemFs, RealFs, Storage, StorageConfig, part_path,
};
use dunlin_metainfo::PieceHashes;
use sha1::{Digest, Sha1};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How the first run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    InOrder,
    Killed,
    PowerLost,
}

/// What the second run comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comes {
    /// Everything is right in the end.
    Right,
    /// It refuses, unless it may replace what stands there; then everything is right.
    Asks,
    /// It refuses.
    Refuses,
}

/// Where a case happens.
struct Place {
    fs: Arc<dyn Fs>,
    memory: Option<MemFs>,
    root: PathBuf,
    /// The unsynced time after a save.
    interval: Duration,
    _folder: Option<tempfile::TempDir>,
}

impl Place {
    fn real() -> Place {
        let folder = tempfile::tempdir().unwrap();
        let (fs, root) = (Arc::new(RealFs), folder.path().to_owned());
        let interval = Duration::from_millis(1);
        Place { fs, memory: None, root, interval, _folder: Some(folder) }
    }

    fn memory() -> Place {
        let fs = MemFs::new();
        let interval = Duration::from_nanos(8);
        let (memory, root) = (Some(fs.clone()), PathBuf::from("/out"));
        Place { fs: Arc::new(fs), memory, root, interval, _folder: None }
    }

    fn storage(&self) -> Storage {
        let mut config = StorageConfig::new(Arc::clone(&self.fs), self.root.clone());
        config.sync_interval = self.interval;
        Storage::new(config)
    }

    /// The first run ends, and time passes: what is done from now on has another time, and one that
    /// the run cannot have had.
    fn end(&mut self, store: Storage, end: End, seed: u64) {
        match end {
            End::InOrder => _ = store.close_torrent(T, true),
            End::Killed | End::PowerLost => drop(store),
        }
        if let Some(fs) = &self.memory {
            let fs = if end == End::PowerLost { fs.crash(seed) } else { fs.reopen() };
            (self.fs, self.memory) = (Arc::new(fs.clone()), Some(fs));
        }
        self.fs.create_dir_all(&self.root).unwrap();
        let begun = self.now();
        while self.now() <= begun + 2 * self.interval.as_nanos() as i128 {}
    }

    /// The time of the file system.
    fn now(&self) -> i128 {
        let clock = self.root.join("clock");
        let file = self.fs.open_write(&clock).unwrap();
        file.write_at(&[Bytes::from_static(b"tick")], 0).unwrap();
        file.meta().unwrap().modified
    }
}

fn torrent(root: &Path, kind: Kind) -> Torrent {
    let piece = PIECE as usize;
    Torrent::new(root, kind, &[("a", 2 * piece), ("b", 3 * piece), ("c", 9_000)], 5)
}

/// The first run: `a` is there, two of the three pieces of `b` are, one of them is not synced.
fn first_run(place: &Place, torrent: &Torrent) -> Storage {
    let store = place.storage();
    torrent.open(&store, torrent.plan(Existing::Refuse)).unwrap();
    (0..2).for_each(|piece| torrent.write(&store, piece).unwrap());
    torrent.finish(&store, 0).unwrap();
    torrent.write(&store, 2).unwrap();
    assert_eq!(store.sync().failed, []);
    torrent.write(&store, 3).unwrap();
    store
}

/// The second run fetches what is missing.
fn second_run(place: &Place, torrent: &Torrent, existing: Existing) -> Result<(), DiskError> {
    let store = place.storage();
    let opened = torrent.open(&store, torrent.plan(existing))?;
    torrent.fetch(&store, &opened);
    match store.close_torrent(T, true).failed.into_iter().next() {
        Some((_, _, error)) => Err(error),
        None => Ok(()),
    }
}

fn overwrite(fs: &dyn Fs, path: &Path) {
    let file = fs.open_update(path, fs.look(path).unwrap().meta.inode).unwrap();
    let zeros = vec![0; file.len().unwrap() as usize / 2];
    file.write_at(&[Bytes::from(zeros)], 0).unwrap();
}

fn resize(fs: &dyn Fs, path: &Path, sizes: &[u64]) {
    let file = fs.open_update(path, fs.look(path).unwrap().meta.inode).unwrap();
    sizes.iter().for_each(|size| file.set_len(*size).unwrap());
}

fn swap(fs: &dyn Fs, path: &Path) {
    let mut bytes = fs.read_all(path, 1 << 20).unwrap();
    bytes[10] ^= 1;
    let other = path.with_file_name("other");
    put(fs, &other, &bytes);
    fs.rename(&other, path).unwrap();
}

fn set_back(fs: &dyn Fs, path: &Path, change: fn(&dyn Fs, &Path)) {
    let modified = fs.metadata(path).unwrap().modified;
    change(fs, path);
    fs.set_modified(path, modified as i64).unwrap();
}

fn link_to(fs: &dyn Fs, path: &Path) {
    let away = path.with_file_name("away");
    fs.rename(path, &away).unwrap();
    fs.symlink(Path::new("away"), path).unwrap();
}

fn length(fs: &dyn Fs, path: &Path) -> u64 {
    fs.metadata(path).unwrap().len
}

type Change = fn(&dyn Fs, &Path);

/// What is done to a file, and what follows where it is a part file, and where it is a finished
/// one.
const CHANGES: [(&str, Change, Comes, Comes); 16] = [
    ("nothing", |_, _| {}, Comes::Right, Comes::Right),
    ("written", overwrite, Comes::Right, Comes::Asks),
    ("written, time set back", |f, p| set_back(f, p, overwrite), Comes::Right, Comes::Asks),
    (
        "one bit, time set back",
        |f, p| set_back(f, p, |f, p| flip(f, p, 9)),
        Comes::Right,
        Comes::Asks,
    ),
    ("longer", |f, p| resize(f, p, &[length(f, p) + 5]), Comes::Right, Comes::Asks),
    ("truncated", |f, p| resize(f, p, &[length(f, p) - 5]), Comes::Right, Comes::Asks),
    ("emptied", |f, p| resize(f, p, &[0]), Comes::Right, Comes::Asks),
    ("emptied and extended", |f, p| resize(f, p, &[0, length(f, p)]), Comes::Right, Comes::Asks),
    ("replaced", swap, Comes::Right, Comes::Asks),
    ("replaced, time set back", |f, p| set_back(f, p, swap), Comes::Right, Comes::Asks),
    ("touched", |f, p| f.set_modified(p, 1_234_567).unwrap(), Comes::Right, Comes::Right),
    ("hard-linked", hard_link, Comes::Right, Comes::Right),
    ("written under its other name", by_other_name, Comes::Right, Comes::Asks),
    ("removed", |f, p| f.remove_file(p).unwrap(), Comes::Right, Comes::Right),
    ("swapped for a link", link_to, Comes::Refuses, Comes::Refuses),
    ("swapped for a folder", folder, Comes::Refuses, Comes::Refuses),
];

fn hard_link(fs: &dyn Fs, path: &Path) {
    fs.hard_link(path, &path.with_file_name("second")).unwrap();
}

fn by_other_name(fs: &dyn Fs, path: &Path) {
    hard_link(fs, path);
    set_back(fs, &path.with_file_name("second"), overwrite);
}

fn folder(fs: &dyn Fs, path: &Path) {
    fs.remove_file(path).unwrap();
    fs.create_dir(path).unwrap();
}

fn pipe(_: &dyn Fs, path: &Path) {
    std::fs::remove_file(path).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
}

/// One case, from a first run to what the second comes to.
fn run(
    (mut place, kind, end): (Place, Kind, End),
    seed: u64,
    target: fn(&Torrent) -> PathBuf,
    (name, change, comes): (&str, Change, Comes),
) {
    let torrent = torrent(&place.root, kind);
    let store = first_run(&place, &torrent);
    place.end(store, end, seed);
    let (fs, path) = (&*place.fs, target(&torrent));
    if fs.metadata(&path).is_err() {
        // The power loss has taken it.
        assert_eq!(end, End::PowerLost, "{name}");
        return;
    }
    change(fs, &path);
    let what = format!("{} {name}, {kind:?}, {end:?}", path.display());
    for existing in [Existing::Refuse, Existing::Replace] {
        let done = second_run(&place, &torrent, existing);
        let right = comes == Comes::Right || comes == Comes::Asks && existing == Existing::Replace;
        // After a power loss the content is another one anyway.
        let right = right || done.is_ok() && end == End::PowerLost;
        match done {
            Ok(()) => {
                assert!(right, "{what}: {existing:?} went through");
                let files = 0..torrent.contents.len();
                files.filter(|file| !torrent.is_padding(*file)).for_each(|file| {
                    torrent.assert_file(fs, file);
                });
            }
            Err(error) => {
                assert!(!right, "{what}: {existing:?}: {error}");
                let named = error.path == path || part_path(&error.path) == path;
                assert!(named, "{what}: {error} names another file");
            }
        }
    }
}

fn ends(real: bool) -> &'static [End] {
    match real {
        true => &[End::InOrder, End::Killed],
        false => &[End::InOrder, End::Killed, End::PowerLost],
    }
}

/// Runs a case everywhere.
fn everywhere(target: fn(&Torrent) -> PathBuf, case: (&str, Change, Comes)) {
    for kind in [Kind::Shared, Kind::Trees] {
        for end in ends(true).iter().filter(|_| kind == Kind::Shared) {
            run((Place::real(), kind, *end), 0, target, case);
        }
        for end in ends(false) {
            let seeds = if *end == End::PowerLost { 20 } else { 1 };
            (0..seeds).for_each(|seed| run((Place::memory(), kind, *end), seed, target, case));
        }
    }
}

fn part(torrent: &Torrent) -> PathBuf {
    part_path(&torrent.dest(1))
}

fn finished(torrent: &Torrent) -> PathBuf {
    torrent.dest(0)
}

fn state(torrent: &Torrent) -> PathBuf {
    let name = format!("{}.state", torrent.content.info_hash);
    torrent.root.join(".dunlin").join(name)
}

#[test]
fn part_files_are_believed_only_if_they_are_the_very_same() {
    CHANGES.iter().for_each(|(name, change, comes, _)| everywhere(part, (name, *change, *comes)));
    for end in ends(true) {
        let place = (Place::real(), Kind::Shared, *end);
        run(place, 0, part, ("swapped for a pipe", pipe, Comes::Refuses));
    }
}

#[test]
fn finished_files_are_believed_only_if_they_are_the_very_same() {
    CHANGES
        .iter()
        .for_each(|(name, change, _, comes)| everywhere(finished, (name, *change, *comes)));
    for end in ends(true) {
        let place = (Place::real(), Kind::Shared, *end);
        run(place, 0, finished, ("swapped for a pipe", pipe, Comes::Refuses));
    }
}

/// Whatever is done: what ends well is right, and what is refused names what is in the way.
fn right_or_named(place: &Place, torrent: &Torrent, path: &Path, what: &str) {
    for existing in [Existing::Refuse, Existing::Replace] {
        match second_run(place, torrent, existing) {
            Ok(()) => (0..torrent.contents.len())
                .filter(|file| !torrent.is_padding(*file))
                .for_each(|file| torrent.assert_file(&*place.fs, file)),
            Err(error) => assert!(error.path == path, "{what}, {existing:?}: {error}"),
        }
    }
}

/// Runs a case of every kind of place and end, with what is done before the first run ends.
fn all_ways(
    torrent: impl Fn(&Path, Kind) -> Torrent,
    first_run: impl Fn(&Place, &Torrent) -> Storage,
    target: impl Fn(&Torrent) -> PathBuf,
    fault: impl Fn(&Torrent) -> PathBuf,
) {
    let (pipes, mut met) = (("swapped for a pipe", pipe as Change), 0);
    let changes = CHANGES.iter().map(|(name, change, ..)| (*name, *change));
    for (name, change) in changes.chain([pipes]) {
        for real in [true, false] {
            for end in ends(real).iter().filter(|_| real || name != pipes.0) {
                let seeds = if *end == End::PowerLost { 10 } else { 1 };
                for seed in 0..seeds {
                    let mut place = if real { Place::real() } else { Place::memory() };
                    let torrent = torrent(&place.root, Kind::Shared);
                    let store = first_run(&place, &torrent);
                    place.end(store, *end, seed);
                    let path = target(&torrent);
                    if place.fs.metadata(&path).is_err() {
                        assert_eq!(*end, End::PowerLost, "{name}");
                        continue;
                    }
                    met += 1;
                    change(&*place.fs, &path);
                    let what = format!("{name}, {end:?}, real: {real}");
                    right_or_named(&place, &torrent, &fault(&torrent), &what);
                }
            }
        }
    }
    assert!(met > 5 * CHANGES.len(), "{met}");
}

/// Bytes of a file that nobody wants come with pieces of others, and are wanted later.
#[test]
fn the_store_is_believed_only_if_it_is_the_very_same() {
    let store = |torrent: &Torrent| {
        torrent.root.join(format!(".dunlin/{}.parts", torrent.content.info_hash))
    };
    let torrent = |root: &Path, kind| {
        let piece = PIECE as usize;
        Torrent::new(root, kind, &[("a", 2 * piece - 1000), ("b", piece), ("c", piece)], 5)
    };
    let first_run = |place: &Place, torrent: &Torrent| {
        let store = place.storage();
        torrent.open(&store, torrent.plan_for(Existing::Refuse, |file| file != 1)).unwrap();
        // Its second piece has the beginning of `b`, the third one the end.
        (0..2).for_each(|piece| torrent.write(&store, piece).unwrap());
        assert_eq!(store.sync().failed, []);
        torrent.write(&store, 2).unwrap();
        store
    };
    all_ways(torrent, first_run, store, store);
}

/// A finished file has a further name since the first run, and is changed under that one.
#[test]
fn linked_files_are_believed_only_if_they_are_the_very_same() {
    let first_run = |place: &Place, torrent: &Torrent| {
        let store = first_run(place, torrent);
        place.fs.hard_link(&finished(torrent), &torrent.root.join("linked")).unwrap();
        store
    };
    all_ways(torrent, first_run, |torrent| torrent.root.join("linked"), finished);
}

/// A state of a later version, sealed as ours are.
fn newer(fs: &dyn Fs, path: &Path) {
    let mut bytes = b"d4:newsi1e7:versioni3ee".to_vec();
    let sum = Sha1::digest(&bytes);
    bytes.extend_from_slice(&sum);
    put(fs, path, &bytes);
}

/// What an older program would have kept of a complete torrent: everything is claimed.
fn older(fs: &dyn Fs, path: &Path) {
    let root = path.parent().and_then(Path::parent).unwrap();
    let mut records = Vec::new();
    for name in ["a", "b", "c"] {
        let dest = root.join("t").join(name);
        let (kind, meta) = match fs.metadata(&dest) {
            Ok(meta) => (3, Some(meta)),
            Err(_) => (1, fs.metadata(&part_path(&dest)).ok()),
        };
        let done = meta.filter(|_| kind == 3);
        records.push(if meta.is_some() { kind } else { 0 });
        records.extend_from_slice(&meta.map_or(0, |meta| meta.inode).to_le_bytes());
        records.extend_from_slice(&done.map_or(0, |meta| meta.len).to_le_bytes());
        let modified = done.map_or(0, |meta| meta.modified as i64);
        records.extend_from_slice(&modified.to_le_bytes());
    }
    let mut bytes = b"d7:claimed1:\xfc5:files75:".to_vec();
    bytes.extend_from_slice(&records);
    bytes.extend_from_slice(b"6:folder0:6:piecesi6e5:storei0e7:versioni1ee");
    let sum = Sha1::digest(&bytes);
    bytes.extend_from_slice(&sum);
    put(fs, path, &bytes);
}

#[test]
fn a_state_that_is_not_what_it_was_claims_nothing_wrong() {
    // (what is done to the state, what follows)
    let cases: [(&str, Change, Comes); 12] = [
        ("removed", |f, p| f.remove_file(p).unwrap(), Comes::Right),
        ("emptied", |f, p| resize(f, p, &[0]), Comes::Right),
        ("truncated", |f, p| resize(f, p, &[length(f, p) - 5]), Comes::Right),
        ("one bit", |f, p| flip(f, p, 9), Comes::Right),
        ("touched", |f, p| f.set_modified(p, 1_234_567).unwrap(), Comes::Right),
        ("hard-linked", hard_link, Comes::Right),
        ("of an older version", older, Comes::Right),
        ("older, and the part is wrong", |f, p| older_and(f, p, ".b.dunlin-part"), Comes::Right),
        ("touched, and the part is wrong", touched_and, Comes::Right),
        ("of a later version", newer, Comes::Refuses),
        ("swapped for a link", link_to, Comes::Refuses),
        ("swapped for a folder", folder, Comes::Refuses),
    ];
    cases.iter().for_each(|case| everywhere(state, *case));
    let place = (Place::real(), Kind::Shared, End::InOrder);
    run(place, 0, state, ("swapped for a pipe", pipe, Comes::Refuses));
}

fn older_and(fs: &dyn Fs, path: &Path, name: &str) {
    older(fs, path);
    let part = path.parent().and_then(Path::parent).unwrap().join("t").join(name);
    if fs.metadata(&part).is_ok() {
        overwrite(fs, &part);
    }
}

fn touched_and(fs: &dyn Fs, path: &Path) {
    let part = path.parent().and_then(Path::parent).unwrap().join("t/.b.dunlin-part");
    if fs.metadata(&part).is_ok() {
        overwrite(fs, &part);
    }
    let bytes = fs.read_all(path, 1 << 20).unwrap();
    put(fs, path, &bytes);
}

#[test]
fn a_state_is_rewritten_if_it_is_old_and_left_alone_if_it_is_new() {
    let mut place = Place::memory();
    let torrent = torrent(&place.root, Kind::Shared);
    let store = first_run(&place, &torrent);
    place.end(store, End::InOrder, 0);
    let path = state(&torrent);
    older(&*place.fs, &path);
    let hashed = |place: &Place| {
        let store = place.storage();
        let checked = torrent.open(&store, torrent.plan(Existing::Refuse)).unwrap().checked;
        store.close_torrent(T, true);
        checked
    };
    assert_eq!(hashed(&place), 4 * u64::from(PIECE), "an old state proves too little");
    assert_eq!(hashed(&place), 0, "but is read once");
    newer(&*place.fs, &path);
    let before = place.fs.read_all(&path, 1000).unwrap();
    let refused = second_run(&place, &torrent, Existing::Replace).unwrap_err();
    assert_eq!((refused.path.as_path(), refused.kind), (&*path, DiskErrorKind::Newer(3)));
    assert_eq!(place.fs.read_all(&path, 1000).unwrap(), before);
}

/// What a killed run has written itself is hashed again, and nothing more; if somebody wrote later,
/// everything is.
#[test]
fn after_a_kill_the_times_tell_who_wrote() {
    // (what is done, bytes that are hashed: the unsynced piece, or all of the part)
    let (window, all) = (u64::from(PIECE), 2 * u64::from(PIECE));
    let cases: [(&str, Change, u64); 4] = [
        ("nothing", |_, _| {}, window),
        ("written later", |f, p| flip(f, p, u64::from(PIECE) * 2 + 5), all),
        ("later, time set back", |f, p| set_back(f, p, |f, p| flip(f, p, 40_000)), all),
        ("touched", |f, p| f.set_modified(p, 1_234_567).unwrap(), all),
    ];
    for kind in [Kind::Shared, Kind::Trees] {
        for (name, change, bytes) in cases {
            let mut place = Place::memory();
            let torrent = torrent(&place.root, kind);
            let store = first_run(&place, &torrent);
            place.end(store, End::Killed, 0);
            change(&*place.fs, &part(&torrent));
            let store = place.storage();
            let opened = torrent.open(&store, torrent.plan(Existing::Refuse)).unwrap();
            let extra = if name == "nothing" || name == "touched" { 0 } else { window };
            assert_eq!(opened.checked, bytes + extra, "{name}, {kind:?}");
        }
    }
}

/// After a run that ended in order every difference counts, whatever its time: the whole file is
/// hashed.
#[test]
fn after_a_clean_end_every_difference_counts() {
    // The part has two synced pieces and a third one that came with the last sync.
    let part_bytes = 2 * u64::from(PIECE);
    let at_once = |f: &dyn Fs, p: &Path| {
        let now = f.metadata(p).unwrap().modified;
        flip(f, p, 9);
        f.set_modified(p, now as i64 + 1).unwrap();
    };
    let cases: [(&str, Change, u64); 5] = [
        ("nothing", |_, _| {}, 0),
        ("touched", |f, p| f.set_modified(p, 1_234_567).unwrap(), part_bytes),
        ("written, time set back", |f, p| set_back(f, p, |f, p| flip(f, p, 9)), part_bytes),
        ("written, time within the interval", at_once, part_bytes),
        ("of another mode", |f, p| f.set_mode(p, 0o600).unwrap(), part_bytes),
    ];
    for (name, change, bytes) in cases {
        let mut place = Place::memory();
        let torrent = torrent(&place.root, Kind::Trees);
        let store = first_run(&place, &torrent);
        place.end(store, End::InOrder, 0);
        change(&*place.fs, &part(&torrent));
        let store = place.storage();
        let opened = torrent.open(&store, torrent.plan(Existing::Refuse)).unwrap();
        assert_eq!(opened.checked, bytes, "{name}");
    }
}

/// The same of the files of a cluster.
#[test]
fn parts_of_a_set_are_believed_only_if_they_are_the_very_same() {
    let changes = CHANGES.iter().filter(|(.., comes, _)| *comes == Comes::Right);
    for ((name, change, ..), end) in
        changes.flat_map(|case| ends(false).iter().map(move |end| (case, end)))
    {
        let mut place = Place::memory();
        let set = Set::new(&place.root, &[("x", 3 * PIECE as usize), ("y", 100)], 4);
        let store = place.storage();
        set.open(&store, set.wanted(false)).unwrap();
        set.write(&store, 0).unwrap();
        store.sync();
        set.write(&store, 2).unwrap();
        if *end == End::InOrder {
            store.close();
        }
        place.end(store, End::Killed, 0);
        if *end == End::PowerLost {
            let fs = place.memory.as_ref().unwrap().crash(1);
            (place.fs, place.memory) = (Arc::new(fs.clone()), Some(fs));
        }
        let part = part_path(&set.dest(0));
        if place.fs.metadata(&part).is_ok() {
            change(&*place.fs, &part);
        }
        let store = place.storage();
        let opened = set.open(&store, set.wanted(false)).unwrap();
        for piece in opened.have.zeros() {
            set.write(&store, piece.0).unwrap();
        }
        set.finish_all(&store).unwrap();
        assert_eq!(store.close().failed, [], "{name} {end:?}");
        for (file, content) in set.contents.iter().enumerate() {
            let found = place.fs.read_all(&set.dest(file), 1 << 20).unwrap();
            assert!(found == *content, "{name} {end:?}: {} is wrong", set.dest(file).display());
        }
    }
}

#[test]
fn a_resume_file_of_a_later_version_is_refused_and_left_alone() {
    let place = Place::memory();
    let set = Set::new(&place.root, &[("x", 100)], 4);
    let path = place.root.join(".dunlin").join(format!("{}.resume", InfoHash([1; 20])));
    newer(&*place.fs, &path);
    let before = place.fs.read_all(&path, 1000).unwrap();
    let refused = set.open(&place.storage(), set.wanted(false)).unwrap_err();
    assert_eq!((refused.path.as_path(), refused.kind), (&*path, DiskErrorKind::Newer(3)));
    assert_eq!(place.fs.read_all(&path, 1000).unwrap(), before);
}

#[test]
fn a_cache_of_a_later_version_is_left_alone() {
    let fs = MemFs::new();
    let shared: Arc<dyn Fs> = Arc::new(fs.clone());
    let (folder, root) = (Path::new("/cache"), Path::new("/src"));
    let source = root.join("x");
    put(&fs, &source, &[1; 100]);
    fs.set_modified(&source, 1_500_000_000_123_456_789).unwrap();
    let look = fs.look(&source).unwrap();
    let hashes = PieceHashes::Sha1(Arc::from([[7; 20]]));
    let cache = dunlin_disk::HashCache::open(Arc::clone(&shared), folder, root);
    cache.put(&source, &look, PIECE, &hashes, None);
    cache.save().unwrap();
    let path = fs.read_dir(folder).unwrap().remove(0).path;
    let today = dunlin_disk::HashCache::open(Arc::clone(&shared), folder, root);
    assert!(today.get(&source, &look, PIECE).is_some());

    let mut bytes = b"dunlin hashes 2\nwhatever comes".to_vec();
    let sum = Sha1::digest(&bytes);
    bytes.extend_from_slice(&sum);
    put(&fs, &path, &bytes);
    let cache = dunlin_disk::HashCache::open(Arc::clone(&shared), folder, root);
    assert!(cache.get(&source, &look, PIECE).is_none());
    cache.put(&source, &look, PIECE, &hashes, None);
    cache.save().unwrap();
    assert_eq!(fs.read_all(&path, 1000).unwrap(), bytes);
}
