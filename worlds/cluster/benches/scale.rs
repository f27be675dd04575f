//! Large clusters in virtual time: one source, N receivers, links of one rate. It prints a line a
//! size: how long the copy takes against the bound, how many copies the source sends, how often the
//! tracker is asked again, and memory a rank, the files' own bytes in memory included.
//!
//! `cargo bench -p dunlin-cluster --bench scale -- [RANKS [PIECES [MBIT [KIB]]]]`, with pieces of
//! so many KiB (16). All files are in memory: RANKS times the bytes of one.
#![allow(clippy::print_stdout, reason = "lines on stdout are what it is for")]

use bytes::Bytes;
use dunlin_base::{Rank, Rate, Rng};
use dunlin_cluster::{
    FabricKind, FoundFile, LinkRates, PeerConfig, PeerContent, RunConfig, RunControl,
    VirtualConfig, run,
};
use dunlin_disk::{Fs, MemFs};
use dunlin_engine::config::Profile;
use dunlin_plan::{Have, Pattern};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

fn main() {
    let words = std::env::args().skip(1).filter(|word| !word.starts_with('-'));
    let numbers: Vec<u64> = words.filter_map(|word| word.parse().ok()).collect();
    let number = |index: usize, usual: u64| numbers.get(index).copied().unwrap_or(usual);
    let sizes = numbers.first().map_or(vec![100, 1000], |ranks| vec![*ranks]);
    for ranks in sizes {
        study(ranks as u32, number(1, 256), number(2, 100), number(3, 16) << 10);
    }
}

/// The bytes that everybody wants.
fn data(disk: &MemFs, length: u64) -> std::io::Result<()> {
    let mut rng = Rng::new(7);
    let bytes: Vec<u8> = (0..length / 8).flat_map(|_| rng.next_u64().to_le_bytes()).collect();
    disk.create_dir_all(Path::new("/0"))?;
    disk.create_new(Path::new("/0/data"))?.write_at(&[Bytes::from(bytes)], 0)
}

fn peer(rank: u32, length: u64) -> PeerConfig {
    let root = PathBuf::from(format!("/{rank}"));
    let own = FoundFile { name: "data".into(), path: root.join("data"), length };
    let content = PeerContent::Files {
        dest: root.clone(),
        root,
        found: if rank == 0 { vec![own] } else { Vec::new() },
        found_dest: Vec::new(),
        have: Have::Everything,
        wants: if rank == 0 { Vec::new() } else { Pattern::parse("data").into_iter().collect() },
        placement: None,
    };
    PeerConfig { rank: Rank(rank), content }
}

fn study(ranks: u32, pieces: u64, mbit: u64, piece: u64) {
    let (disk, length) = (MemFs::new(), pieces * piece);
    data(&disk, length).expect("memory");
    let rate = mbit * 125_000;
    let config = RunConfig {
        peers: (0..ranks).map(|rank| peer(rank, length)).collect(),
        profile: Profile::Cluster,
        piece_size: Some(piece as u32),
        refresh_every: 0,
        memory: 8 << 30,
        hash_threads: 1,
        fabric: FabricKind::Virtual(VirtualConfig {
            links: LinkRates { all: Some(Rate(rate)), of: Default::default() },
            min_delay: Duration::from_micros(50),
            max_delay: Duration::from_micros(100),
            min_job: Duration::from_micros(20),
            max_job: Duration::from_micros(100),
            ..VirtualConfig::default()
        }),
        ..RunConfig::bittorrent(Arc::new(disk))
    };
    let began = Instant::now();
    let before = resident();
    let report = run(config, &RunControl::new());
    let receivers = f64::from(ranks - 1);
    let file = length as f64 / rate as f64;
    let bound = file * (1.0 + receivers.log2().floor() / pieces as f64);
    let last = report.peers.iter().map(|peer| peer.seconds).fold(0.0, f64::max);
    let sent = report.peers.first().map_or(0, |peer| peer.bytes_sent);
    println!(
        "{ranks} ranks, {pieces} pieces of {} KiB at {mbit} Mbit/s: ok {}, {last:.3} s, {:.2} x the bound, the source sends {:.2} \
         copies, {} refreshes, {} KiB of memory a rank, {:.0} s of ours",
        piece >> 10,
        report.ok(),
        last / bound,
        sent as f64 / length as f64,
        report.peers.iter().map(|peer| peer.refreshes).sum::<u64>(),
        resident().saturating_sub(before) / u64::from(ranks),
        began.elapsed().as_secs_f64(),
    );
}

/// The most memory that the process has had, in KiB.
fn resident() -> u64 {
    let status = dunlin_disk::RealFs.read_all(Path::new("/proc/self/status"), 1 << 16);
    let status = String::from_utf8(status.unwrap_or_default()).unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).unwrap_or(0)
}
