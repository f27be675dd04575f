use super::*;
use crate::MemFs;
use dunlin_base::Rng;
use sha1::{Digest, Sha1};
use std::ops::ControlFlow;

fn random(len: usize) -> Vec<u8> {
    let mut rng = Rng::new(len as u64);
    (0..len).map(|_| rng.next_u64() as u8).collect()
}

#[test]
fn files_are_hashed_in_padded_pieces_within_the_budget() {
    let fs = MemFs::new();
    let path = Path::new("/f");
    let pool = HashPool::new(2);
    // (length, piece length, budget): here and on the pool; pieces larger than the share.
    let cases = [
        (0, 16, 100),
        (1, 16, 100),
        (32, 16, 100),
        (33, 16, 100_000_000),
        (3_000_000, 16_384, 4 << 20),
        (3_000_001, 1 << 20, 64 << 20),
        (2_500_000, 1 << 20, 1 << 20),
    ];
    for (len, piece, total) in cases {
        let content = random(len);
        let file = fs.open_write(path).unwrap();
        file.set_len(0).unwrap();
        file.write_at(&[Bytes::from(content.clone())], 0).unwrap();
        let budget = Budget::new(total);
        let mut last = 0;
        let mut progress = |bytes| {
            assert!(bytes > last);
            last = bytes;
            ControlFlow::Continue(())
        };
        let found = hash_file(&fs, path, piece, &pool, &budget, &mut progress).unwrap();
        let expected: Vec<[u8; 20]> = content
            .chunks(piece as usize)
            .map(|bytes| {
                let mut padded = bytes.to_vec();
                padded.resize(piece as usize, 0);
                Sha1::digest(padded).into()
            })
            .collect();
        assert_eq!((found.meta.len, found.hashes), (len as u64, expected));
        assert_eq!((last, budget.used()), (len as u64, 0));
        assert!(budget.peak() <= (total / 4).max(HASH_HERE), "{} of {total}", budget.peak());
    }
}

#[test]
fn a_file_that_is_written_meanwhile_is_refused() {
    let fs = MemFs::new();
    let path = Path::new("/f");
    let file = fs.open_write(path).unwrap();
    file.write_at(&[Bytes::from(random(100))], 0).unwrap();
    let budget = Budget::new(1 << 20);
    let pool = HashPool::new(1);
    let grow = || file.set_len(101).unwrap();
    let overwrite = || file.write_at(&[Bytes::from_static(b"x")], 50).unwrap();
    for change in [&grow as &dyn Fn(), &overwrite] {
        let mut step = |_| {
            change();
            ControlFlow::Continue(())
        };
        let error = hash_file(&fs, path, 16, &pool, &budget, &mut step).unwrap_err();
        assert_eq!((error.kind, error.path.as_path()), (DiskErrorKind::Changed, path));
    }
}

#[test]
fn hashing_stops_when_it_is_told_to() {
    let fs = MemFs::new();
    let path = Path::new("/f");
    fs.open_write(path).unwrap().write_at(&[Bytes::from(random(8 << 20))], 0).unwrap();
    // On the pool; here, with one piece that is larger than the share.
    for (piece, total) in [(16_384, 64 << 20), (8 << 20, 1 << 20)] {
        let (pool, budget) = (HashPool::new(1), Budget::new(total));
        let mut steps = 0;
        let mut step = |_| {
            steps += 1;
            if steps == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let error = hash_file(&fs, path, piece, &pool, &budget, &mut step).unwrap_err();
        assert_eq!((error.kind, error.path.as_path()), (DiskErrorKind::Interrupted, path));
        assert_eq!(steps, 2, "the second step is the last");
        drop(pool);
        assert_eq!(budget.used(), 0);
    }
}
