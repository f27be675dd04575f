use super::*;
use crate::job::StreamHash;
use std::sync::mpsc::channel;

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
