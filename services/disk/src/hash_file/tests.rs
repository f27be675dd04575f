use super::*;
use crate::MemFs;
use dunlin_base::{Rng, hex};
use std::ops::ControlFlow;

fn random(len: usize) -> Vec<u8> {
    let mut rng = Rng::new(len as u64);
    (0..len).map(|_| rng.next_u64() as u8).collect()
}

#[test]
fn hashes_are_sha1() {
    let abc =
        HashJob { parts: vec![Bytes::from_static(b"a"), Bytes::from_static(b"bc")], zeros: 0 };
    let zeros = HashJob { parts: Vec::new(), zeros: 40_000 };
    let hashes = hash_pieces(&[abc, zeros, HashJob::default()]);
    assert_eq!(hex(&hashes[0]), "a9993e364706816aba3e25717850c26c9cd0d89d");
    assert_eq!(hashes[1].as_slice(), Sha1::digest(vec![0; 40_000]).as_slice());
    assert_eq!(hex(&hashes[2]), "da39a3ee5e6b4b0d3255bfef95601890afd80709");
}

#[test]
fn digests_depend_on_the_key() {
    let first = Sha1::digest([&[0, 0, 0, 0, 0, 0, 0, 7][..], b"block"].concat());
    assert_eq!(block_digest(7, b"block").to_be_bytes(), first[..8]);
    assert_ne!(block_digest(7, b"block"), block_digest(8, b"block"));
}

#[test]
fn a_pool_answers_every_batch_and_joins() {
    let pool = HashPool::new(3);
    let (send, receive) = channel();
    for index in 0..500_u32 {
        let send = send.clone();
        let jobs = vec![HashJob { parts: Vec::new(), zeros: index }; (index % 3) as usize];
        pool.submit(jobs, Box::new(move |hashes| send.send((index, hashes)).unwrap()));
    }
    assert_eq!(pool.threads(), 3);
    drop((send, pool));
    let mut answers: Vec<_> = receive.into_iter().collect();
    answers.sort_unstable();
    assert_eq!(answers.len(), 500);
    for (index, hashes) in answers {
        let expected = StreamHash::new().finish(index);
        assert_eq!(hashes, vec![expected; (index % 3) as usize]);
    }
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

fn width(lanes: usize, worth: usize) -> Width {
    let mut width = Width::of_this_machine();
    (width.lanes, width.worth) = (lanes, worth);
    width
}

#[test]
fn shares_of_workers() {
    let (wide, none) = (width(16, 5), width(1, usize::MAX));
    // (pieces, other idle workers, share with 16 lanes, share without)
    let cases = [
        (0, 0, 1, 1),
        (1, 0, 1, 1),
        (4, 0, 1, 1),
        (5, 0, 16, 1),
        (8, 1, 1, 1),
        (9, 1, 16, 1),
        (16, 1, 16, 1),
        (16, 31, 1, 1),
        (40, 1, 16, 1),
    ];
    for (pieces, idle, with, without) in cases {
        let found = (share(pieces, idle, wide), share(pieces, idle, none));
        assert_eq!(found, (with, without), "{pieces} pieces, {idle} idle");
    }
}

#[test]
fn a_worker_takes_whole_batches() {
    let width = width(16, 5);
    let mut queue = Queue::default();
    for size in [10, 10, 0, 1, 1] {
        queue.push(Batch::Hash(vec![HashJob::default(); size], Box::new(|_| ())));
    }
    let mut sizes = |idle| -> Vec<usize> {
        queue.idle = idle;
        queue.take(width).iter().map(Batch::len).collect()
    };
    assert_eq!(sizes(1), [10]);
    assert_eq!(sizes(2), [10]);
    assert_eq!(sizes(1), [0, 1]);
    assert_eq!(sizes(0), [1]);
    assert_eq!(sizes(1), [] as [usize; 0]);
    assert_eq!((queue.pieces, queue.waiting.len()), (0, 0));
}
