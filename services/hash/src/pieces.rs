//! Pieces and what they must be: the SHA-1 of their bytes (BEP 3), or the root of a tree over the
//! SHA-256 of their blocks of 16 KiB (BEP 52).

use crate::job::{HashJob, StreamHash};
use crate::simd::{hash_pieces, sha256_many};
use bytes::Bytes;
use dunlin_metainfo::{BLOCK_LENGTH, ExpectedPiece, merkle};
use sha2::{Digest, Sha256};

/// The bytes of one piece, and what they must be.
#[derive(Clone, Debug)]
pub struct PieceJob {
    /// The bytes, in order.
    pub parts: Vec<Bytes>,
    /// What the piece must be.
    pub expected: ExpectedPiece,
}

/// Which pieces are what they must be, in order: those of one version are hashed side by side.
#[must_use]
pub fn verify_pieces(jobs: &[PieceJob]) -> Vec<bool> {
    let (mut flat, mut leaves) = (Vec::new(), Vec::new());
    for job in jobs {
        match &job.expected {
            ExpectedPiece::Sha1 { zeros, .. } => {
                flat.push(HashJob { parts: job.parts.clone(), zeros: *zeros });
            }
            ExpectedPiece::Merkle { .. } => leaves.extend(leaf_jobs(&job.parts)),
        }
    }
    let (mut flat, mut leaves) = (hash_pieces(&flat).into_iter(), sha256_many(&leaves).into_iter());
    let right = |job: &PieceJob| match &job.expected {
        ExpectedPiece::Sha1 { hash, .. } => flat.next() == Some(*hash),
        ExpectedPiece::Merkle { root, leaves: width } => {
            let own: Vec<_> = leaves.by_ref().take(leaf_count(&job.parts)).collect();
            root_over(&own, *width) == *root
        }
    };
    jobs.iter().map(right).collect()
}

/// The root over `leaves` leaves (a power of two): the SHA-256 of each block of 16 KiB of `parts`,
/// the last of which may be short, and zeros behind them (BEP 52).
#[must_use]
pub fn merkle_root(parts: &[Bytes], leaves: u32) -> [u8; 32] {
    root_over(&leaf_hashes(parts), leaves)
}

/// The SHA-256 of each block of 16 KiB of `parts`, which are one after another; the last may be
/// short.
#[must_use]
pub fn leaf_hashes(parts: &[Bytes]) -> Vec<[u8; 32]> {
    sha256_many(&leaf_jobs(parts))
}

fn leaf_count(parts: &[Bytes]) -> usize {
    parts.iter().map(Bytes::len).sum::<usize>().div_ceil(BLOCK_LENGTH as usize)
}

/// Cuts the bytes into blocks of 16 KiB, without copying them.
fn leaf_jobs(parts: &[Bytes]) -> Vec<HashJob> {
    let mut jobs = Vec::with_capacity(leaf_count(parts));
    let (mut leaf, mut filled) = (HashJob::default(), 0);
    for part in parts {
        let mut at = 0;
        while at < part.len() {
            let end = part.len().min(at + BLOCK_LENGTH as usize - filled);
            leaf.parts.push(part.slice(at..end));
            filled += end - at;
            at = end;
            if filled == BLOCK_LENGTH as usize {
                jobs.push(std::mem::take(&mut leaf));
                filled = 0;
            }
        }
    }
    if filled > 0 {
        jobs.push(leaf);
    }
    jobs
}

/// The root over `leaves` leaves, of which all behind the first are zeros.
fn root_over(level: &[[u8; 32]], leaves: u32) -> [u8; 32] {
    merkle::root_over(level, 0, leaves.max(1).next_power_of_two().trailing_zeros())
}

/// Leaves of a piece whose bytes come one after another.
#[derive(Clone, Default)]
struct Leaves {
    done: Vec<[u8; 32]>,
    next: Sha256,
    /// Bytes in the leaf that is not whole yet.
    filled: usize,
}

impl Leaves {
    fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = BLOCK_LENGTH as usize - self.filled;
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.next.update(now);
            self.filled += now.len();
            if self.filled == BLOCK_LENGTH as usize {
                self.end_leaf();
            }
            bytes = later;
        }
    }

    fn end_leaf(&mut self) {
        self.done.push(std::mem::take(&mut self.next).finalize().into());
        self.filled = 0;
    }

    fn finish(mut self) -> Vec<[u8; 32]> {
        if self.filled > 0 {
            self.end_leaf();
        }
        self.done
    }
}

/// A piece whose bytes come one after another, compared with what it must be.
#[derive(Clone)]
pub struct PieceCheck {
    expected: ExpectedPiece,
    state: State,
}

#[derive(Clone)]
enum State {
    Sha1(StreamHash),
    Merkle(Leaves),
}

impl PieceCheck {
    /// No bytes yet.
    #[must_use]
    pub fn new(expected: &ExpectedPiece) -> PieceCheck {
        let state = match expected {
            ExpectedPiece::Sha1 { .. } => State::Sha1(StreamHash::new()),
            ExpectedPiece::Merkle { .. } => State::Merkle(Leaves::default()),
        };
        PieceCheck { expected: expected.clone(), state }
    }

    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.state {
            State::Sha1(hash) => hash.update(bytes),
            State::Merkle(leaves) => leaves.update(bytes),
        }
    }

    /// Whether all bytes together are what the piece must be.
    #[must_use]
    pub fn matches(self) -> bool {
        match (&self.expected, self.state) {
            (ExpectedPiece::Sha1 { hash, zeros }, State::Sha1(found)) => {
                found.finish(*zeros) == *hash
            }
            (ExpectedPiece::Merkle { root, leaves }, State::Merkle(found)) => {
                root_over(&found.finish(), *leaves) == *root
            }
            _ => false,
        }
    }
}

impl std::fmt::Debug for PieceCheck {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PieceCheck({:?})", self.expected)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::HashPool;
    use dunlin_metainfo::merkle::parent;
    use sha1::Sha1;
    use std::sync::mpsc::channel;

    fn sha256(bytes: &[u8]) -> [u8; 32] {
        Sha256::digest(bytes).into()
    }

    #[test]
    fn roots_are_those_of_the_specification() {
        let block = |n: u8, len: usize| Bytes::from(vec![n; len]);
        let whole = BLOCK_LENGTH as usize;
        let leaf = |n, len| sha256(&block(n, len));
        let zero = [0; 32];
        let two = |a: [u8; 32], b: [u8; 32]| parent(&a, &b);
        let cases = [
            (vec![block(1, 5)], 1, leaf(1, 5)),
            (vec![block(1, whole), block(2, 7)], 2, two(leaf(1, whole), leaf(2, 7))),
            (vec![block(1, whole)], 4, two(two(leaf(1, whole), zero), two(zero, zero))),
            (
                vec![block(1, whole), block(2, whole), block(3, 1)],
                4,
                two(two(leaf(1, whole), leaf(2, whole)), two(leaf(3, 1), zero)),
            ),
            (vec![], 2, two(zero, zero)),
        ];
        for (parts, leaves, root) in cases {
            assert_eq!(merkle_root(&parts, leaves), root, "{leaves}");
            // Cut otherwise, the bytes are the same.
            let bytes = parts.concat();
            let cut: Vec<_> = bytes.chunks(999).map(Bytes::copy_from_slice).collect();
            assert_eq!(merkle_root(&cut, leaves), root, "{leaves}");
            let expected = ExpectedPiece::Merkle { root, leaves };
            let mut check = PieceCheck::new(&expected);
            cut.iter().for_each(|part| check.update(part));
            assert!(check.matches());
        }
    }

    #[test]
    fn pieces_of_both_kinds_are_told_apart() {
        let bytes = Bytes::from(vec![7; 40_000]);
        let mut padded = bytes.to_vec();
        padded.resize(65_536, 0);
        let hash = Sha1::digest(&padded).into();
        let root = merkle_root(std::slice::from_ref(&bytes), 4);
        let flat = ExpectedPiece::Sha1 { hash, zeros: 25_536 };
        let tree = ExpectedPiece::Merkle { root, leaves: 4 };
        let wrong = ExpectedPiece::Merkle { root, leaves: 8 };
        let kinds = [flat, tree, wrong.clone(), ExpectedPiece::Sha1 { hash, zeros: 0 }, wrong];
        let jobs = |bytes: &Bytes| -> Vec<PieceJob> {
            let job = |expected: &ExpectedPiece| {
                let parts = vec![bytes.slice(..10), bytes.slice(10..)];
                PieceJob { parts, expected: expected.clone() }
            };
            kinds.iter().map(job).collect()
        };
        let right = [true, true, false, false, false];
        assert_eq!(verify_pieces(&jobs(&bytes)), right);
        let (send, receive) = channel();
        HashPool::new(1).verify(jobs(&bytes), Box::new(move |found| send.send(found).unwrap()));
        assert_eq!(receive.recv().unwrap(), right);
        let other = Bytes::from(vec![8; 40_000]);
        assert_eq!(verify_pieces(&jobs(&other)), [false; 5]);
        for (expected, right) in kinds.iter().zip(right) {
            let mut check = PieceCheck::new(expected);
            bytes.chunks(777).for_each(|part| check.update(part));
            assert_eq!(check.matches(), right, "{expected:?}");
        }
    }
}
