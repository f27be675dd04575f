//! How fast the disk service is, in GB/s (10⁹ bytes a second), best of several rounds: machines are
//! noisy, and noise only ever slows down.
//!
//!     cargo bench -p dunlin-disk --bench throughput [-- FILTER]
//!
//! Files are made in the folder for temporary files; set TMPDIR to measure another one.
#![allow(clippy::print_stdout, reason = "a table on stdout is what it is for")]

use bytes::Bytes;
use dunlin_base::Rng;
use dunlin_bencode::{Limits, Mode, Writer, decode};
use dunlin_disk::hash_file;
use dunlin_disk::{Budget, Fs, RealFs};
use dunlin_hash::hash_pieces;
use dunlin_hash::{HashJob, HashPool, StreamHash, block_digest};
use std::hint::black_box;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

/// Rounds of each measurement; the best counts.
const ROUNDS: u32 = 7;
/// A measurement of many small steps repeats them for so long.
const AT_LEAST: Duration = Duration::from_millis(100);
/// Bytes of the file that is written and read.
const FILE: usize = 256 << 20;
/// A piece.
const PIECE: usize = 1 << 20;

/// Prints the best of several rounds of `step`, which handles `bytes` bytes.
fn measure(name: &str, bytes: usize, mut step: impl FnMut()) {
    let wanted = std::env::args().skip(1).find(|arg| !arg.starts_with('-'));
    if wanted.is_some_and(|filter| !name.contains(&filter)) {
        return;
    }
    let mut best = Duration::MAX;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let mut steps = 0;
        while steps == 0 || start.elapsed() < AT_LEAST {
            step();
            steps += 1;
        }
        best = best.min(start.elapsed() / steps);
    }
    let rate = bytes as f64 / best.as_secs_f64() / 1e9;
    println!("| {name} | {rate:.2} | {:.1} µs |", best.as_secs_f64() * 1e6);
}

fn random(len: usize) -> Bytes {
    let mut rng = Rng::new(1);
    let words = std::iter::repeat_with(|| rng.next_u64().to_le_bytes());
    words.take(len / 8).flatten().collect::<Vec<u8>>().into()
}

fn hashing() {
    for (name, size) in [("256 KiB", 256 << 10), ("2 MiB", 2 << 20)] {
        let bytes = random(32 * size);
        for count in [1, 2, 4, 8, 16, 32] {
            let part = |at: usize| bytes.slice(at * size..(at + 1) * size);
            let job = |at| HashJob { parts: vec![part(at)], zeros: 0 };
            let jobs: Vec<HashJob> = (0..count).map(job).collect();
            measure(&format!("hash_pieces, {count} of {name}"), count * size, || {
                black_box(hash_pieces(black_box(&jobs)));
            });
        }
    }
    let bytes = random(PIECE);
    measure("StreamHash, blocks of 256 KiB", PIECE, || {
        let mut hash = StreamHash::new();
        bytes[..PIECE].chunks(256 << 10).for_each(|block| hash.update(block));
        black_box(hash.finish(0));
    });
    measure("block_digest, 256 KiB", 256 << 10, || {
        black_box(block_digest(7, black_box(&bytes[..256 << 10])));
    });
}

fn files() -> std::io::Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("file");
    let piece = random(PIECE);
    let parts = [piece.slice(..PIECE / 4), piece.slice(PIECE / 4..)];
    let file = RealFs.create_new(&path)?;
    file.set_len(FILE as u64)?;
    measure("RealFs write, pieces of 1 MiB in two parts", FILE, || {
        for at in (0..FILE).step_by(PIECE) {
            file.write_at(&parts, at as u64).expect("the bench has room for its file");
        }
    });
    let mut buffer = vec![0; 256 << 10];
    measure("RealFs read, blocks of 256 KiB", FILE, || {
        for at in (0..FILE).step_by(buffer.len()) {
            file.read_at(&mut buffer, at as u64).expect("the bench wrote its file");
        }
    });
    let (pool, budget) = (HashPool::new(2), Budget::new(64 << 20));
    measure("hash_file on 2 threads, pieces of 512 KiB", FILE, || {
        let mut step = |_| ControlFlow::Continue(());
        let hashed = hash_file(&RealFs, &path, 512 << 10, &pool, &budget, &mut step);
        black_box(hashed.expect("the bench wrote its file"));
    });
    Ok(())
}

fn budget_and_bencode() {
    let budget = Budget::new(64 << 20);
    measure("Budget, reserve and give back 1 MiB", PIECE, || {
        drop(black_box(budget.reserve(1, PIECE as u64)));
    });
    let mut writer = Writer::new();
    writer.dict().key("files").list();
    for index in 0..10_000_u32 {
        writer.dict().key("length").integer(index).key("path").list();
        writer.bytes("folder").bytes(format!("file-{index}")).end().end();
    }
    writer.end().end();
    let text = writer.finish().expect("the keys are in order");
    measure("bencode decode, 10 000 files", text.len(), || {
        let document = decode(black_box(&text), Mode::Strict, Limits::TORRENT);
        black_box(document.expect("what was written can be read").root().dict());
    });
}

fn main() -> std::io::Result<()> {
    println!("| what | GB/s | a step |\n|---|---:|---:|");
    hashing();
    files()?;
    budget_and_bencode();
    Ok(())
}
