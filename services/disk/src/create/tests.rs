use super::*;
use crate::MemFs;
use dunlin_metainfo::{Format, NewFile};
use sha1::{Digest, Sha1};
use std::path::Path;
use std::sync::Arc;

fn pattern(length: usize, seed: u64) -> Vec<u8> {
    let mut rng = dunlin_base::Rng::new(seed);
    (0..length).map(|_| rng.next_u64() as u8).collect()
}

/// Files in memory, and the torrent that they shall be.
struct Bed {
    fs: MemFs,
    files: Vec<(String, Vec<u8>)>,
}

impl Bed {
    fn new(lengths: &[usize]) -> Bed {
        let fs = MemFs::new();
        fs.create_dir_all(Path::new("/data")).unwrap();
        let file =
            |(at, length): (usize, &usize)| (format!("f{at:05}"), pattern(*length, at as u64));
        let files: Vec<_> = lengths.iter().enumerate().map(file).collect();
        for (name, bytes) in &files {
            let file = fs.create_new(&Bed::path(name)).unwrap();
            file.write_at(&[Bytes::from(bytes.clone())], 0).unwrap();
        }
        Bed { fs, files }
    }

    fn path(name: &str) -> PathBuf {
        Path::new("/data").join(name)
    }

    fn torrent(&self, piece_length: u32, format: Format) -> NewTorrent {
        let file = |(name, bytes): &(String, Vec<u8>)| NewFile {
            path: vec![name.clone()],
            length: bytes.len() as u64,
            executable: false,
            link: None,
        };
        let files = self.files.iter().map(file).collect();
        NewTorrent::folder("data".to_owned(), files, piece_length, format).unwrap()
    }

    fn sources(&self) -> Vec<NewSource> {
        let source = |(name, _): &(String, Vec<u8>)| {
            let path = Bed::path(name);
            NewSource { meta: self.fs.metadata(&path).unwrap(), path }
        };
        self.files.iter().map(source).collect()
    }

    fn hash(&self, torrent: &NewTorrent, threads: usize) -> NewHashes {
        let mut last = 0;
        let hashes = hash_new(&self.fs, torrent, &self.sources(), threads, &mut |done| {
            assert!(done > last);
            last = done;
            ControlFlow::Continue(())
        });
        assert_eq!(last, self.files.iter().map(|(_, bytes)| bytes.len() as u64).sum::<u64>());
        hashes.unwrap()
    }
}

#[test]
fn version_1_is_the_stream_of_all_files() {
    let lengths: Vec<usize> =
        (0..400).map(|at| at * 97 % 5000 * usize::from(at % 9 != 0)).collect();
    for lengths in [lengths, vec![5 << 20, 0, 3, 6 << 20]] {
        let bed = Bed::new(&lengths);
        let stream: Vec<u8> = bed.files.iter().flat_map(|(_, bytes)| bytes.clone()).collect();
        for piece_length in [16_384, 65_536] {
            let torrent = bed.torrent(piece_length, Format::V1);
            let expected: Vec<[u8; 20]> = stream
                .chunks(piece_length as usize)
                .map(|piece| Sha1::digest(piece).into())
                .collect();
            for threads in [1, 3] {
                let hashes = bed.hash(&torrent, threads);
                assert!(hashes.pieces == expected && hashes.roots.is_empty());
            }
        }
    }
}

#[test]
fn hybrids_have_both_kinds_of_hashes() {
    let bed = Bed::new(&[100_000, 0, 16_384, 1, 40_000, 5 << 20]);
    let piece_length = 32_768;
    let hybrid = bed.hash(&bed.torrent(piece_length, Format::Hybrid), 2);
    let v2 = bed.hash(&bed.torrent(piece_length, Format::V2), 2);
    assert_eq!(hybrid.roots, v2.roots);
    assert!(v2.pieces.is_empty());
    let mut pieces = Vec::new();
    let mut roots = Vec::new();
    for (_, bytes) in &bed.files {
        for piece in bytes.chunks(piece_length as usize) {
            let mut padded = piece.to_vec();
            padded.resize(piece_length as usize, 0);
            pieces.push(<[u8; 20]>::from(Sha1::digest(&padded)));
            let leaves: Vec<[u8; 32]> =
                piece.chunks(16_384).map(|block| sha2::Sha256::digest(block).into()).collect();
            let height = u32::from(bytes.len() > 16_384);
            roots.push(root_over(&leaves, 0, height));
        }
    }
    assert!(hybrid.pieces == pieces && hybrid.roots == roots);
}

#[test]
fn a_file_that_changes_is_an_error() {
    let bed = Bed::new(&[100_000, 8 << 20, 50]);
    let torrent = bed.torrent(16_384, Format::Hybrid);
    let go_on = &mut |_| ControlFlow::Continue(());
    let sources = bed.sources();
    // Written, while the sources are looked at and while they are read.
    for (name, at) in [("f00000", 0), ("f00001", 5 << 20), ("f00002", 0)] {
        let file = bed.fs.open_write(&Bed::path(name)).unwrap();
        file.write_at(&[Bytes::from_static(b"other")], at).unwrap();
        let error = hash_new(&bed.fs, &torrent, &sources, 2, go_on).unwrap_err();
        assert_eq!(error.kind, DiskErrorKind::Changed, "{name}");
    }
    let sources = bed.sources();
    let fs: Arc<dyn Fs> = Arc::new(bed.fs.clone());
    let mut written = false;
    let error = hash_new(&*fs, &torrent, &sources, 1, &mut |done| {
        if !written && done < 8 << 20 {
            written = true;
            let file = fs.open_write(&Bed::path("f00001")).unwrap();
            file.write_at(&[Bytes::from_static(b"late")], (8 << 20) - 4).unwrap();
        }
        ControlFlow::Continue(())
    });
    assert_eq!(error.unwrap_err().kind, DiskErrorKind::Changed);
    fs.remove_file(&Bed::path("f00000")).unwrap();
    let error = hash_new(&*fs, &torrent, &sources, 1, go_on).unwrap_err();
    assert_eq!(error.kind, DiskErrorKind::Missing);
}

#[test]
fn a_person_can_stop_it() {
    let bed = Bed::new(&[30 << 20]);
    let torrent = bed.torrent(16_384, Format::V1);
    let mut calls = 0;
    let stop = &mut |_| {
        calls += 1;
        ControlFlow::Break(())
    };
    let error = hash_new(&bed.fs, &torrent, &bed.sources(), 1, stop).unwrap_err();
    assert_eq!((error.kind, calls), (DiskErrorKind::Interrupted, 1));
}

#[test]
fn files_of_another_length_are_refused() {
    let bed = Bed::new(&[10, 0]);
    let torrent = bed.torrent(16_384, Format::V1);
    let mut sources = bed.sources();
    sources[1].meta.len = 1;
    let go_on = &mut |_| ControlFlow::Continue(());
    let error = hash_new(&bed.fs, &torrent, &sources, 1, go_on).unwrap_err();
    assert_eq!(error.kind, DiskErrorKind::Changed);
    sources.pop();
    assert!(hash_new(&bed.fs, &torrent, &sources, 1, go_on).is_err());
}
