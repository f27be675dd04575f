//! Holes stay holes, and pieces of zeros are neither fetched nor read.

use crate::common::{PIECE, Set, T, storage};
use bytes::Bytes;
use dunlin_base::{Bitfield, FileIndex, PieceIndex};
use dunlin_disk::{Budget, Fs, MemFs, RealFs, hash_file, hash_file_and, part_path};
use dunlin_hash::HashPool;
use std::ops::ControlFlow;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

const P: usize = PIECE as usize;

/// A set of one file whose pieces are zeros (0) or not (x), with a tail.
fn set(root: &Path, pieces: &str, tail: usize) -> Set {
    let mut set = Set::new(root, &[("a", pieces.len() * P + tail), ("b", 100)], 5);
    for (at, kind) in pieces.chars().enumerate() {
        if kind == '0' {
            set.contents[0][at * P..(at + 1) * P].fill(0);
        }
    }
    set.rehashed()
}

fn missing(set: &Set, have: &Bitfield) -> Vec<u32> {
    let pieces = set.geometry.file_pieces(FileIndex(0));
    pieces.filter(|piece| !have.has(PieceIndex(*piece))).collect()
}

#[test]
fn zeros_are_never_fetched() {
    let root = Path::new("/out");
    for (pieces, tail, fetched) in
        [("x0x", 7, vec![0, 2, 3]), ("0000", 0, vec![]), ("", 9, vec![0]), ("00", 5, vec![2])]
    {
        let (fs, set) = (MemFs::new(), set(root, pieces, tail));
        let store = storage(&fs, root);
        let opened = set.open(&store, set.wanted(false)).unwrap();
        assert_eq!((missing(&set, &opened.have), opened.resumed), (fetched.clone(), 0), "{pieces}");
        for piece in opened.have.ones() {
            let block = set.geometry.block(piece, 0);
            assert_eq!(store.read_block(T, block).unwrap(), set.bytes(block), "served at once");
        }
        for piece in opened.have.zeros() {
            set.write(&store, piece.0).unwrap();
        }
        set.finish_all(&store).unwrap();
        let report = store.close();
        assert_eq!((report.finished.len(), report.failed), (2, vec![]), "{pieces}");
        set.assert_done(&fs);
    }
}

#[test]
fn a_part_of_an_earlier_run_has_its_holes() {
    let root = Path::new("/out");
    let (fs, set) = (MemFs::new(), set(root, "0x0x", 0));
    let first = storage(&fs, root);
    set.open(&first, set.wanted(false)).unwrap();
    set.write(&first, 1).unwrap();
    drop(first);
    // Something stands where zeros belong.
    let part = fs.open_write(&part_path(&set.dest(0))).unwrap();
    part.write_at(&[Bytes::from_static(b"junk")], 2 * u64::from(PIECE) + 50).unwrap();
    let second = storage(&fs, root);
    let opened = set.open(&second, set.wanted(false)).unwrap();
    assert_eq!(missing(&set, &opened.have), [2, 3]);
    [2, 3, 4].iter().for_each(|piece| set.write(&second, *piece).unwrap());
    set.finish_all(&second).unwrap();
    second.close();
    set.assert_done(&fs);
}

#[test]
fn a_power_loss_leaves_no_wrong_zeros() {
    let root = Path::new("/out");
    for seed in 0..60 {
        let (fs, set) = (MemFs::new(), set(root, "0x00x0", 3));
        let first = storage(&fs, root);
        set.open(&first, set.wanted(false)).unwrap();
        set.write(&first, 1).unwrap();
        fs.freeze_at_sync(fs.syncs() + seed % 5);
        first.sync();
        let _ = set.write(&first, 4);
        first.sync();
        let fs = fs.crash(seed);
        let second = storage(&fs, root);
        let opened = set.open(&second, set.wanted(false)).unwrap();
        for piece in opened.have.zeros() {
            set.write(&second, piece.0).unwrap();
        }
        set.finish_all(&second).unwrap();
        assert_eq!(second.close().failed, [], "seed {seed}");
        set.assert_done(&fs);
    }
}

#[test]
fn zeros_within_pieces_are_holes_only_where_nothing_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let piece = 1 << 20;
    let mut set = Set::with_pieces(root, &[("a", 2 * piece)], 5, piece as u32);
    set.contents[0][100_000..1_000_000].fill(0);
    set.contents[0][piece + 100_000..].fill(0);
    let set = set.rehashed();
    let store = storage(&RealFs, root);
    set.open(&store, set.wanted(false)).unwrap();
    set.write(&store, 0).unwrap();
    // A block that was no good came first.
    let block = set.geometry.block(PieceIndex(1), 100);
    store.write_block(T, block, &Bytes::from(vec![7; block.len as usize])).unwrap();
    set.write(&store, 1).unwrap();
    set.finish_all(&store).unwrap();
    store.close();
    set.assert_done(&RealFs);
    let kept = std::fs::metadata(set.dest(0)).unwrap().blocks() * 512;
    assert!(kept < 3 * (piece as u64) / 2, "{kept} bytes on disk");
}

#[test]
fn holes_are_hashed_in_no_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("huge");
    let file = RealFs.create_new(&path).unwrap();
    let piece = 4 << 20;
    let len = (32_u64 << 30) + 5;
    file.set_len(len).unwrap();
    file.write_at(&[Bytes::from_static(b"data")], 9 << 30).unwrap();
    let sparse = std::fs::metadata(&path).unwrap().blocks() * 512 < 1 << 20;
    let (pool, budget) = (HashPool::new(2), Budget::new(64 << 20));
    let (mut told, mut step) = (0, 0);
    let mut progress = |bytes| {
        (told, step) = (bytes, step + 1);
        ControlFlow::Continue(())
    };
    if sparse {
        let hashed = hash_file(&RealFs, &path, piece, &pool, &budget, &mut progress).unwrap();
        let zero = dunlin_metainfo::zero_hash(piece);
        let other: Vec<_> =
            (0..hashed.hashes.len()).filter(|at| hashed.hashes[*at] != zero).collect();
        assert_eq!((hashed.hashes.len(), other), (8193, vec![9 * 256]));
        assert_eq!(told, len);
    }
}

#[test]
fn holes_do_not_change_what_is_heard() {
    let fs = MemFs::new();
    let path = Path::new("/a");
    let mut bytes = vec![0; 3_000_000];
    bytes[1_500_000..1_500_100].fill(3);
    bytes[2_999_999] = 1;
    let file = fs.create_new(path).unwrap();
    file.set_len(bytes.len() as u64).unwrap();
    file.write_at(&[Bytes::from(bytes.clone())], 0).unwrap();
    let (pool, budget) = (HashPool::new(1), Budget::new(16 << 20));
    for piece in [16_384, 65_536, 4 << 20] {
        let (mut heard, before) = (Vec::new(), fs.bytes_read());
        let mut go = |_| ControlFlow::Continue(());
        let mut tap = |part: &[u8]| heard.extend_from_slice(part);
        let found = hash_file_and(&fs, path, piece, &pool, &budget, &mut go, &mut tap).unwrap();
        assert!(heard == bytes, "{piece}");
        assert_eq!(found.hashes, crate::common::hashes_of(&bytes, piece), "{piece}");
        assert!(fs.bytes_read() - before < 3_000_000 || piece > 3_000_000);
    }
}
