//! A run that was killed goes on where it was: nothing right on disk is fetched again.

use crate::common::{Sandbox, data, end, number, peer, same, wait_for};
use std::fs;
use std::os::unix::fs::MetadataExt;

const SIZE: usize = 24 << 20;
const PIECE: usize = 64 << 10;
/// The run is killed when that much is in the part file, in blocks of 512 bytes.
const ENOUGH: u64 = (4 << 20) / 512;

#[test]
fn what_a_killed_run_left_is_taken() {
    let sandbox = Sandbox::new();
    let bytes = data(1, SIZE);
    sandbox.write("plan/peer1/big", &bytes);
    sandbox.write("plan/peer2/wants", "big");
    let mut run = sandbox.start("swarm plan --piece-size 64KiB --fault slow=1:12MB");
    let part = sandbox.path("plan/peer2/.big.dunlin-part");
    wait_for("pieces", || fs::metadata(&part).ok().filter(|meta| meta.blocks() >= ENOUGH));
    run.kill().unwrap();
    end(run);
    assert!(!sandbox.path("plan/peer2/big").exists(), "nothing unfinished has a final name");
    let left = fs::read(&part).unwrap();
    let right = left.chunks(PIECE).zip(bytes.chunks(PIECE)).filter(|(have, want)| have == want);
    let right = right.count() as u64;
    assert!(right > 0 && right < (SIZE / PIECE) as u64, "{right}");
    let report = sandbox.json(0, "swarm plan --piece-size 64KiB");
    let resumed = number(&peer(&report, 2)["pieces_resumed"]);
    assert!(resumed * 10 >= right * 8 && resumed <= right, "{resumed} of {right}");
    assert!(number(&report["bytes_moved"]) <= SIZE as u64 - resumed * PIECE as u64);
    same(&sandbox.path("plan/peer1/big"), &sandbox.path("plan/peer2/big"));
    assert!(!part.exists() && !sandbox.path("plan/peer2/.dunlin").exists());
}

#[test]
fn a_part_file_of_other_content_is_not_trusted() {
    let sandbox = Sandbox::new();
    sandbox.write("plan/peer1/big", data(1, 1 << 20));
    sandbox.write("plan/peer2/wants", "big");
    sandbox.write("plan/peer2/.big.dunlin-part", data(2, 1 << 20));
    sandbox.write("plan/peer2/.dunlin/0000000000000000000000000000000000000000.resume", "junk");
    sandbox.expect(0, "swarm plan");
    same(&sandbox.path("plan/peer1/big"), &sandbox.path("plan/peer2/big"));
}
