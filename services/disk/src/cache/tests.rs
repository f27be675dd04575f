use super::format::{CacheEntry, CacheError, CacheKey, decode, encode};
use super::*;
use crate::{MemFs, Meta, RealFs};
use bytes::Bytes;
use proptest::prelude::*;

fn hashes(count: usize) -> PieceHashes {
    PieceHashes::Sha1((0..count).map(|n| [n as u8; 20]).collect())
}

fn put_file(fs: &dyn Fs, path: &Path, bytes: &[u8]) -> Look {
    fs.create_dir_all(path.parent().unwrap()).unwrap();
    let file = fs.open_write(path).unwrap();
    file.set_len(0).unwrap();
    file.write_at(&[Bytes::copy_from_slice(bytes)], 0).unwrap();
    fs.look(path).unwrap()
}

fn open(fs: &MemFs) -> HashCache {
    HashCache::open(Arc::new(fs.clone()), Path::new("/cache/host"), Path::new("/files"))
}

#[test]
fn hashes_are_kept_from_run_to_run() {
    let fs = MemFs::new();
    let path = Path::new("/files/d/a");
    let look = put_file(&fs, path, &[1; 40_000]);
    let first = open(&fs);
    assert_eq!(first.get(path, &look, 16_384), None);
    first.put(path, &look, 16_384, &hashes(3), Some([9; 32]));
    first.save().unwrap();
    assert_eq!(fs.look(Path::new("/cache/host")).unwrap().mode, 0o700);

    let second = open(&fs);
    let known = CachedHashes { hashes: hashes(3), sha256: Some([9; 32]) };
    assert_eq!(second.get(path, &look, 16_384), Some(known.clone()));
    assert_eq!(second.get(path, &look, 32_768), None, "other pieces");
    second.put(path, &look, 16_384, &hashes(3), None);
    assert_eq!(second.get(path, &look, 16_384), Some(known), "still pinned");
    let inode = || fs.look(&second.path()).unwrap().meta.inode;
    let before = inode();
    second.save().unwrap();
    assert_eq!(inode(), before, "nothing to save");
}

#[test]
fn what_another_file_was_made_of_is_recalled_by_its_content() {
    let fs = MemFs::new();
    let path = Path::new("/files/d/a");
    let look = put_file(&fs, path, &[1; 40_000]);
    let cache = open(&fs);
    cache.put(path, &look, 16_384, &hashes(3), None);
    fs.hard_link(path, Path::new("/files/b")).unwrap();
    let now = fs.look(path).unwrap();
    assert_eq!(cache.get(path, &now, 16_384), None, "somebody touched it");
    let known = CachedHashes { hashes: hashes(3), sha256: None };
    assert_eq!(cache.recall(path, &look.meta), Some((16_384, known)));
    let other = Meta { modified: look.meta.modified + 1, ..look.meta };
    assert_eq!(cache.recall(path, &other), None);
    assert_eq!(cache.recall(Path::new("/files/b"), &look.meta), None);
}

#[test]
fn ranks_that_save_at_the_same_moment_leave_one_whole_list() {
    let fs = MemFs::new();
    let path = Path::new("/files/a");
    let look = put_file(&fs, path, &[1; 40_000]);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for round in 0..50 {
                    let cache = open(&fs);
                    cache.put(path, &look, 16_384, &hashes(3), Some([round; 32]));
                    cache.save().unwrap();
                }
            });
        }
    });
    assert!(open(&fs).get(path, &look, 16_384).is_some());
    assert_eq!(fs.read_dir(Path::new("/cache/host")).unwrap().len(), 1, "no leftovers");
}

#[test]
fn any_change_of_a_file_is_seen() {
    type Change = fn(&MemFs, &Path);
    let cases: [(&str, Change); 6] = [
        ("nothing", |_, _| {}),
        ("a byte, with the time set back", |fs, path| {
            let modified = fs.look(path).unwrap().meta.modified;
            fs.open_write(path).unwrap().write_at(&[Bytes::from_static(b"x")], 7).unwrap();
            fs.set_modified(path, modified as i64).unwrap();
        }),
        ("touched", |fs, path| fs.set_modified(path, 77).unwrap()),
        ("longer", |fs, path| fs.open_write(path).unwrap().set_len(40_001).unwrap()),
        ("replaced", |fs, path| {
            let other = path.with_file_name("other");
            put_file(fs, &other, &[1; 40_000]);
            fs.rename(&other, path).unwrap();
        }),
        ("gone", |fs, path| fs.remove_file(path).unwrap()),
    ];
    for (what, change) in cases {
        let fs = MemFs::new();
        let path = Path::new("/files/a");
        let look = put_file(&fs, path, &[1; 40_000]);
        let cache = open(&fs);
        cache.put(path, &look, 16_384, &hashes(3), None);
        cache.save().unwrap();
        change(&fs, path);
        let cache = open(&fs);
        let hit = fs.look(path).is_ok_and(|now| cache.get(path, &now, 16_384).is_some());
        assert_eq!(hit, what == "nothing", "{what}");
        // What is stale goes, also if nobody asks about it.
        open(&fs).save().unwrap();
        let left = fs.read_dir(Path::new("/cache/host")).unwrap().len();
        assert_eq!(left, usize::from(what == "nothing"), "{what}");
    }
}

#[test]
fn what_was_written_a_moment_ago_is_not_trusted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    let cache = HashCache::open(Arc::new(RealFs), &folder.path().join("cache"), folder.path());
    let young = put_file(&RealFs, &path, &[1; 10]);
    cache.put(&path, &young, 16_384, &hashes(1), None);
    assert_eq!(cache.get(&path, &young, 16_384), None);
    RealFs.set_modified(&path, 1_000_000_000_000_000_000).unwrap();
    let old = RealFs.look(&path).unwrap();
    cache.put(&path, &old, 16_384, &hashes(1), None);
    assert!(cache.get(&path, &old, 16_384).is_some());
    // It was written again, so that what is known of it is no good.
    cache.put(&path, &young, 16_384, &hashes(1), None);
    assert_eq!(cache.get(&path, &old, 16_384), None);
}

#[test]
fn a_bad_cache_is_no_cache() {
    let fs = MemFs::new();
    let path = Path::new("/files/a");
    let look = put_file(&fs, path, &[1; 10]);
    let cache = open(&fs);
    cache.put(path, &look, 16_384, &hashes(1), None);
    cache.put(Path::new("/files/b"), &look, 16_384, &hashes(2), None);
    cache.save().unwrap();
    assert!(cache.get(Path::new("/files/b"), &look, 16_384).is_none(), "2 hashes for 1 piece");
    let file = cache.path();
    let good = fs.read_all(&file, 1 << 20).unwrap();
    for bad in [&good[..good.len() / 2], &good[1..], b"", b"junk"] {
        put_file(&fs, &file, bad);
        assert_eq!(open(&fs).get(path, &look, 16_384), None);
    }
    put_file(&fs, &file, &good);
    assert!(open(&fs).get(path, &look, 16_384).is_some());
    fs.set_broken(&file, true);
    assert!(open(&fs).get(path, &look, 16_384).is_none());
}

fn look(size: u64, seed: u64) -> Look {
    let (device, inode) = (seed, seed ^ 99);
    let modified = i128::from(seed as i64);
    let meta = Meta { len: size, is_file: true, is_dir: false, device, inode, modified };
    let changed = i128::from(!(seed as i64));
    Look { kind: FileKind::File, meta, changed, links: 1, mode: 0o644, uid: 0, gid: 0 }
}

#[test]
fn faults_are_named() {
    let key = CacheKey::of(&look(5, 3), 4).unwrap();
    let entry = CacheEntry::new(key, [[7; 20], [8; 20]].into(), Some([6; 32])).unwrap();
    let good = encode([(&b"a"[..], &entry)].into_iter(), u64::MAX);
    assert_eq!(decode(&good).unwrap().get(&b"a"[..]), Some(&entry));
    let body = &good[..good.len() - 20];
    assert_eq!(format::decode_body(&body[1..]), Err(CacheError::Mark));
    assert_eq!(format::decode_body(&body[..body.len() - 1]), Err(CacheError::Entry(16)));
    assert_eq!(decode(&good[1..]), Err(CacheError::Checksum));
    assert_eq!(decode(b""), Err(CacheError::Checksum));
    // A size that would need more hashes than anything has.
    let mut huge = body.to_vec();
    huge[16 + 3 + 16..][..8].copy_from_slice(&[0xff; 8]);
    assert_eq!(format::decode_body(&huge), Err(CacheError::Entry(16)));
    assert!(encode([(&b"a"[..], &entry)].into_iter(), 100).len() < 100, "a bound is kept");
    assert_eq!(CacheKey::of(&look(5, 3), 0), None);
}

proptest! {
    #[test]
    fn reads_what_it_writes(
        files in proptest::collection::vec(
            (proptest::collection::vec(any::<u8>(), 0..20), 0..2000_u64, 1..300_u32, any::<u64>()),
            0..6,
        ),
    ) {
        let mut entries = BTreeMap::new();
        for (path, size, piece_length, seed) in files {
            let key = CacheKey::of(&look(size, seed), piece_length).unwrap();
            let count = size.div_ceil(u64::from(piece_length));
            let hashes = (0..count).map(|n| [n as u8; 20]).collect();
            let sha256 = (seed % 2 == 0).then_some([seed as u8; 32]);
            entries.insert(path, CacheEntry::new(key, hashes, sha256).unwrap());
        }
        let listed = entries.iter().map(|(path, entry)| (path.as_slice(), entry));
        prop_assert_eq!(decode(&encode(listed, u64::MAX)), Ok(entries));
    }

    #[test]
    fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        crate::fuzzing::hashes(&bytes);
        let mut marked = b"dunlin hashes 1\n".to_vec();
        marked.extend(bytes);
        crate::fuzzing::hashes(&marked);
    }
}

#[test]
fn the_first_version_is_read() {
    let entries = decode(include_bytes!("../../tests/formats/cache-1.hashes")).unwrap();
    let found: Vec<_> =
        entries.into_iter().map(|(path, entry)| (path, entry.hashes.len())).collect();
    assert_eq!(found, [(b"x".to_vec(), 3)]);
}
