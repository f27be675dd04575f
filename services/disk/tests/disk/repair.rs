//! Files that are made of another content: only what differs is fetched, readers of the old one see
//! the old one, and nobody is fooled by a file that changes meanwhile.

use crate::common::{PIECE, Set, T, hashes_of, storage};
use bytes::Bytes;
use dunlin_base::{Bitfield, FileIndex};
use dunlin_disk::{
    DiskErrorKind, FilePlace, Fs, KnownHashes, MemFs, MetadataPreserver, RealFs, Repair,
    SourceFile, Storage, StorageConfig, part_path,
};
use dunlin_metainfo::{EntryKind, EntryMeta, PieceHashes, TreeEntry};
use std::path::Path;
use std::sync::Arc;

const P: usize = PIECE as usize;

fn put(fs: &dyn Fs, path: &Path, bytes: &[u8]) {
    fs.create_dir_all(path.parent().unwrap()).unwrap();
    let file = fs.open_write(path).unwrap();
    file.set_len(0).unwrap();
    file.write_at(&[Bytes::copy_from_slice(bytes)], 0).unwrap();
}

/// A set whose first file has 6 pieces and a tail; its fourth piece is zeros.
fn set(root: &Path) -> Set {
    let mut set = Set::new(root, &[("a", 6 * P + 99), ("b", 100)], 5);
    set.contents[0][3 * P..4 * P].fill(0);
    set.rehashed()
}

/// How the old content differs from the new.
type Damage = fn(&mut Vec<u8>);

/// Name, damage, and the pieces that must be fetched.
const CASES: [(&str, Damage, &[u32]); 8] = [
    ("same", |_| {}, &[]),
    ("flipped", |old| old[P + 5] ^= 1, &[1]),
    ("zeros overwritten", |old| old[3 * P + 7] = 7, &[]),
    ("data zeroed", |old| old[2 * P..3 * P].fill(0), &[2]),
    ("shorter", |old| old.truncate(4 * P + 10), &[4, 5, 6]),
    ("longer", |old| old.extend([5; 2 * P]), &[6]),
    ("longer by zeros", |old| old.extend([0; 10]), &[]),
    ("empty", |old| old.clear(), &[0, 1, 2, 4, 5, 6]),
];

#[derive(Clone, Copy, Debug)]
struct Way {
    known: bool,
    shares: bool,
    in_place: bool,
}

fn ways() -> impl Iterator<Item = Way> {
    (0..8).map(|bits| Way { known: bits & 1 > 0, shares: bits & 2 > 0, in_place: bits & 4 > 0 })
}

fn place(fs: &dyn Fs, set: &Set, way: Way) -> FilePlace {
    let dest = set.dest(0);
    let old = fs.read_all(&dest, 1 << 30).unwrap();
    let hashes = PieceHashes::Sha1(hashes_of(&old, PIECE).into());
    let known = way.known.then_some(KnownHashes { piece_length: PIECE, hashes });
    let seen = Some(fs.look(&dest).unwrap().seen());
    let base = SourceFile { path: dest.clone(), seen };
    FilePlace::Repair(Box::new(Repair { dest, base, known, in_place: way.in_place }))
}

/// What must be fetched: hashes of a longer file tell nothing of the piece in which the new one
/// ends; reading it does.
fn fetched<'a>(what: &str, fetched: &'a [u32], way: Way) -> &'a [u32] {
    if what == "longer" && !way.known { &[] } else { fetched }
}

fn missing(have: &Bitfield) -> Vec<u32> {
    have.zeros().map(|piece| piece.0).filter(|piece| *piece < 7).collect()
}

fn complete(set: &Set, store: &Storage, have: &Bitfield) {
    for piece in have.zeros() {
        set.write(store, piece.0).unwrap();
    }
    set.finish_all(store).unwrap();
    let report = store.close();
    assert_eq!((report.finished.len(), report.failed), (2, vec![]));
}

#[test]
fn only_what_differs_is_fetched() {
    let root = Path::new("/out");
    for (what, damage, fetched) in CASES {
        for way in ways() {
            let (fs, set) = (MemFs::new(), set(root));
            fs.set_shares(way.shares);
            let mut old = set.contents[0].clone();
            damage(&mut old);
            put(&fs, &set.dest(0), &old);
            let reader = fs.open_read(&set.dest(0)).unwrap();
            let place = place(&fs, &set, way);
            let before = fs.bytes_read();
            let store = storage(&fs, root);
            let opened = set.open(&store, vec![place, set.wanted(false).remove(1)]).unwrap();
            assert_eq!(missing(&opened.have), self::fetched(what, fetched, way), "{what} {way:?}");
            assert_eq!(opened.resumed, 0);
            if way.known && (way.shares || way.in_place) {
                assert_eq!(fs.bytes_read(), before, "{what} {way:?}: nothing is read again");
            }
            for piece in opened.have.ones() {
                let block = set.whole(piece);
                assert_eq!(store.read_block(T, block).unwrap(), set.bytes(block), "{what} {way:?}");
            }
            if !way.in_place {
                assert_eq!(fs.read_all(&set.dest(0), 1 << 30).unwrap(), old, "the old one stands");
            }
            complete(&set, &store, &opened.have);
            set.assert_done(&fs);
            let mut seen = vec![0; old.len()];
            let read = reader.read_at(&mut seen, 0);
            if !way.in_place {
                read.unwrap();
                assert!(seen == old, "{what} {way:?}: who has it open sees the old bytes");
            }
        }
    }
}

#[test]
fn on_this_machine_too() {
    for (what, damage, fetched) in CASES {
        for way in ways().filter(|way| !way.shares) {
            let folder = tempfile::tempdir().unwrap();
            let set = set(folder.path());
            let mut old = set.contents[0].clone();
            damage(&mut old);
            put(&RealFs, &set.dest(0), &old);
            RealFs.set_modified(&set.dest(0), 1_000_000_000_000_000_000).unwrap();
            let reader = RealFs.open_read(&set.dest(0)).unwrap();
            let place = place(&RealFs, &set, way);
            let store = storage(&RealFs, folder.path());
            let opened = set.open(&store, vec![place, set.wanted(false).remove(1)]).unwrap();
            assert_eq!(missing(&opened.have), self::fetched(what, fetched, way), "{what} {way:?}");
            complete(&set, &store, &opened.have);
            set.assert_done(&RealFs);
            let mut seen = vec![0; old.len()];
            if !way.in_place {
                reader.read_at(&mut seen, 0).unwrap();
                assert!(seen == old, "{what} {way:?}: who has it open sees the old bytes");
            }
        }
    }
}

#[test]
fn hashes_of_a_file_that_changed_are_not_believed() {
    let root = Path::new("/out");
    let ways = ways().filter(|way| way.known).flat_map(|way| [(way, false), (way, true)]);
    for (way, set_back) in ways {
        let (fs, set) = (MemFs::new(), set(root));
        fs.set_shares(way.shares);
        put(&fs, &set.dest(0), &set.contents[0]);
        let place = place(&fs, &set, way);
        let modified = fs.metadata(&set.dest(0)).unwrap().modified;
        let file = fs.open_write(&set.dest(0)).unwrap();
        file.write_at(&[Bytes::from_static(b"changed")], 5 * P as u64).unwrap();
        if set_back {
            fs.set_modified(&set.dest(0), modified as i64).unwrap();
        }
        let store = storage(&fs, root);
        let opened = set.open(&store, vec![place, set.wanted(false).remove(1)]).unwrap();
        assert_eq!(missing(&opened.have), [5], "{way:?}");
        complete(&set, &store, &opened.have);
        set.assert_done(&fs);
    }
}

#[test]
fn a_file_that_is_written_while_it_is_copied_is_checked_again() {
    let root = Path::new("/out");
    let (fs, set) = (MemFs::new(), set(root));
    put(&fs, &set.dest(0), &set.contents[0]);
    let way = Way { known: true, shares: false, in_place: false };
    let place = place(&fs, &set, way);
    // The first read of the copy sees the old bytes, what comes later does not.
    fs.overwrite_after(&set.dest(0), 0, vec![9; 2 * P]).unwrap();
    let store = storage(&fs, root);
    let opened = set.open(&store, vec![place, set.wanted(false).remove(1)]).unwrap();
    assert_eq!(missing(&opened.have), [0, 1]);
    complete(&set, &store, &opened.have);
    set.assert_done(&fs);
}

#[test]
fn a_repair_that_lost_power_is_resumed() {
    let root = Path::new("/out");
    for shares in [false, true] {
        for seed in 0..80 {
            let (fs, set) = (MemFs::new(), set(root));
            fs.set_shares(shares);
            let mut old = set.contents[0].clone();
            (old[5], old[P + 5], old[3 * P]) = (old[5] ^ 1, old[P + 5] ^ 1, 4);
            put(&fs, &set.dest(0), &old);
            fs.open_write(&set.dest(0)).unwrap().sync().unwrap();
            fs.sync_many(&[root.into(), "/".into()]);
            let way = Way { known: true, shares, in_place: false };
            let places = |fs: &MemFs| vec![place(fs, &set, way), set.wanted(true).remove(1)];
            let store = storage(&fs, root);
            fs.freeze_at_sync(fs.syncs() + seed % 9);
            if let Ok(opened) = set.open(&store, places(&fs)) {
                assert_eq!(missing(&opened.have), [0, 1]);
                let _ = set.write(&store, 0);
                store.sync();
                let _ = set.write(&store, 1).and_then(|()| set.write(&store, 7));
                let _ = set.finish_all(&store);
                store.sync();
            }
            let fs = fs.crash(seed);
            let found = fs.read_all(&set.dest(0), 1 << 30).unwrap();
            assert!(
                found == old || found == set.contents[0],
                "seed {seed}: old or new, no mixture"
            );
            let store = storage(&fs, root);
            let opened = set.open(&store, places(&fs)).unwrap();
            let left = missing(&opened.have);
            assert!(left.len() <= 2, "seed {seed}: {left:?}");
            complete(&set, &store, &opened.have);
            set.assert_done(&fs);
        }
    }
}

#[test]
fn a_file_of_two_names_is_not_changed_where_it_stands() {
    let root = Path::new("/out");
    let (fs, set) = (MemFs::new(), set(root));
    let mut old = set.contents[0].clone();
    old[0] ^= 1;
    put(&fs, &set.dest(0), &old);
    fs.hard_link(&set.dest(0), Path::new("/out/other")).unwrap();
    let way = Way { known: true, shares: false, in_place: true };
    let store = storage(&fs, root);
    let places = vec![place(&fs, &set, way), set.wanted(false).remove(1)];
    let opened = set.open(&store, places).unwrap();
    complete(&set, &store, &opened.have);
    set.assert_done(&fs);
    assert_eq!(fs.read_all(Path::new("/out/other"), 1 << 30).unwrap(), old);
}

#[test]
fn too_little_room_is_found_before_the_copy() {
    let root = Path::new("/out");
    let (fs, set) = (MemFs::new(), set(root));
    let mut old = set.contents[0].clone();
    old[0] ^= 1;
    put(&fs, &set.dest(0), &old);
    let way = Way { known: true, shares: false, in_place: false };
    let store = storage(&fs, root);
    let places = vec![place(&fs, &set, way), set.wanted(false).remove(1)];
    fs.set_space(Some(50_000));
    let full = set.open(&store, places).unwrap_err();
    assert_eq!(full.kind, DiskErrorKind::Full);
    assert_eq!(fs.read_all(&set.dest(0), 1 << 30).unwrap(), old);
}

/// Storage that keeps the looks of a tree.
fn placing(fs: &MemFs, root: &Path, entries: Vec<TreeEntry>) -> Storage {
    let config = StorageConfig::new(Arc::new(fs.clone()), root.to_owned());
    let store = Storage::new(StorageConfig { placing: true, ..config });
    let preserver = MetadataPreserver::new(Arc::new(fs.clone()), root.to_owned(), entries.into());
    assert_eq!(preserver.make_folders(), []);
    store.preserve(Arc::new(preserver));
    store
}

#[test]
fn files_are_private_until_they_have_their_looks() {
    let root = Path::new("/out");
    let (fs, set) = (MemFs::new(), set(root));
    let meta = EntryMeta { mode: 0o440, modified: 77, uid: 3, gid: 4, attributes: Vec::new() };
    let entry = TreeEntry { name: "a".into(), kind: EntryKind::File, meta };
    let store = placing(&fs, root, vec![entry]);
    let opened = set.open(&store, set.wanted(false)).unwrap();
    set.write(&store, 0).unwrap();
    assert_eq!(fs.look(&part_path(&set.dest(0))).unwrap().mode, 0o600);
    complete(&set, &store, &opened.have);
    let look = fs.look(&set.dest(0)).unwrap();
    assert_eq!((look.mode, look.meta.modified, look.uid, look.gid), (0o440, 77, 3, 4));
    assert_eq!(fs.look(&set.dest(1)).unwrap().mode, 0o644, "nobody said how it should look");
    assert_eq!(store.placed(T), [FileIndex(0), FileIndex(1)]);
}

#[test]
fn where_something_stands_in_the_way_only_that_file_fails() {
    let root = Path::new("/out");
    let names = [("d/e/x", 3 * P), ("empty/y", 0), ("folder", 10), ("link", 10), ("ok/z", P)];
    let set = Set::new(root, &names, 3);
    let fs = MemFs::new();
    put(&fs, Path::new("/out/d"), b"a file");
    put(&fs, Path::new("/secret/old"), b"kept");
    fs.create_dir_all(Path::new("/out/folder")).unwrap();
    fs.symlink(Path::new("/secret"), Path::new("/out/empty")).unwrap();
    fs.symlink(Path::new("/secret/old"), Path::new("/out/link")).unwrap();
    let store = placing(&fs, root, Vec::new());
    let opened = set.open(&store, set.wanted(true)).unwrap();
    assert_eq!(opened.have.count(), 0);
    // Pieces 0 to 2 are of the first file, then one each; an empty file has none.
    let written: Vec<bool> =
        (0..set.geometry.pieces()).map(|piece| set.write(&store, piece).is_ok()).collect();
    assert_eq!(written, [false, false, false, false, false, true]);
    let finished: Vec<bool> =
        (0..5).map(|file| store.finish_file(T, FileIndex(file)).is_ok()).collect();
    assert_eq!(finished, [false, false, false, false, true]);
    let why = set.write(&store, 0).unwrap_err().to_string();
    assert!(why.starts_with("/out/d: not a folder"), "{why}");
    assert_eq!(store.close().finished, [(T, FileIndex(4))]);
    assert_eq!(fs.read_all(Path::new("/out/d"), 99).unwrap(), b"a file");
    assert_eq!(fs.read_all(Path::new("/secret/old"), 99).unwrap(), b"kept");
    assert_eq!(fs.read_dir(Path::new("/secret")).unwrap().len(), 1);
}

#[test]
fn a_copy_shares_its_bytes_where_it_can() {
    for (shares, changed, set_back) in
        [(true, false, false), (false, false, false), (true, true, false), (true, true, true)]
    {
        let fs = MemFs::new();
        fs.set_shares(shares);
        let set = set(Path::new("/out"));
        put(&fs, Path::new("/own/a"), &set.contents[0]);
        let seen = Some(fs.look(Path::new("/own/a")).unwrap().seen());
        let source = SourceFile { path: "/own/a".into(), seen };
        let store = storage(&fs, Path::new("/out"));
        let copy = FilePlace::Copy { source, dest: set.dest(0) };
        set.open(&store, vec![copy, FilePlace::Absent]).unwrap();
        if changed {
            let modified = fs.metadata(Path::new("/own/a")).unwrap().modified;
            put(&fs, Path::new("/own/a"), &vec![1; set.contents[0].len()]);
            if set_back {
                fs.set_modified(Path::new("/own/a"), modified as i64).unwrap();
            }
        }
        let before = fs.bytes_read();
        let done = store.finish_file(T, FileIndex(0));
        assert_eq!(done.is_ok(), !changed);
        store.close();
        let copied = if changed { 0 } else { set.contents[0].len() as u64 };
        assert_eq!(store.counters().bytes_copied, copied);
        if !changed {
            assert_eq!(fs.bytes_read() == before, shares);
            assert_eq!(fs.read_all(&set.dest(0), 1 << 30).unwrap(), set.contents[0]);
        }
    }
}
