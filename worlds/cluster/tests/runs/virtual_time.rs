//! Runs by seed in virtual time, of which a digest of the trace is kept: with and without rates of
//! links, with a rate limit, with little memory. A change of the network's model, or of the order
//! in which things happen in it, shows here. `UPDATE_EXPECT=1` writes the digests anew.

use crate::common::Run;
use dunlin_base::{Rank, Rate};
use dunlin_cluster::{FabricKind, LinkRates, RunConfig, VirtualConfig};
use dunlin_engine::config::Profile;
use expect_test::expect;
use std::fmt::Write as _;
use std::time::Duration;

/// FNV-1a.
fn digest(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

fn line(name: &str, run: Run, change: impl FnOnce(&mut RunConfig)) -> String {
    let done = run.with(change).go().ok();
    let text = done.trace.text();
    let at = done.report.peers.iter().map(|peer| (peer.seconds * 1e9) as u64).max();
    format!("{name}: {} lines, {:016x}, {} ns", text.lines().count(), digest(&text), at.unwrap())
}

fn over(links: LinkRates<Rank>) -> FabricKind {
    FabricKind::Virtual(VirtualConfig { links, check: true, ..VirtualConfig::default() })
}

fn links(all: Option<u64>, of: &[(u32, u64)]) -> LinkRates<Rank> {
    let of = of.iter().map(|(rank, rate)| (Rank(*rank), Rate(*rate)));
    LinkRates { all: all.map(Rate), of: of.collect() }
}

const FILES: &[(&str, &str)] = &[
    ("data:3000000 more:70000", ""),
    ("", "data more"),
    ("", "data"),
    ("", "*"),
    ("x:90000", "*"),
];

#[test]
fn runs_by_seed_stay_what_they_are() {
    let mut found = String::new();
    for seed in 1..=2 {
        let course = Run::course(&[("a:30 b:7", ""), ("c:9", "a b"), ("", "a c"), ("", "a b c")]);
        let name = format!("course, seed {seed}");
        writeln!(found, "{}", line(&name, course, |config| config.seed = seed)).unwrap();
        for profile in [Profile::BitTorrent, Profile::Cluster] {
            for (name, links) in [
                ("no rates", links(None, &[])),
                ("equal links", links(Some(10_000_000), &[])),
                ("a slow link", links(Some(10_000_000), &[(3, 500_000)])),
                ("one link", links(None, &[(1, 2_000_000)])),
            ] {
                let name = format!("{profile:?}, {name}, seed {seed}");
                let line = line(&name, Run::files(FILES), |config| {
                    config.profile = profile;
                    config.seed = seed;
                    config.piece_size = Some(64 << 10);
                    config.fabric = over(links);
                });
                writeln!(found, "{line}").unwrap();
            }
        }
    }
    // Rank 0 is tracker and peer, and what it sends to itself crosses no link.
    for (name, rate) in [("no rates", None), ("equal links", Some(3_000_000))] {
        let name = format!("rank 0 is a peer, {name}");
        let line = line(&name, Run::files(FILES), |config| {
            for peer in &mut config.peers {
                peer.rank = Rank(peer.rank.0 - 1);
            }
            config.memory = 4 << 20;
            config.piece_size = Some(64 << 10);
            config.max_rate = Some(Rate(1_500_000));
            config.fabric = FabricKind::Virtual(VirtualConfig {
                links: links(rate, &[]),
                min_delay: Duration::from_millis(1),
                max_delay: Duration::from_millis(40),
                ..VirtualConfig::default()
            });
        });
        writeln!(found, "{line}").unwrap();
    }
    expect![[r#"
        course, seed 1: 726 lines, 3d099d21c3b293d8, 209453230 ns
        BitTorrent, no rates, seed 1: 1081 lines, 5442b87553c95c39, 157794576 ns
        BitTorrent, equal links, seed 1: 1277 lines, bd6411cbf1893929, 673425731 ns
        BitTorrent, a slow link, seed 1: 1226 lines, 4972e4dc4e5b577e, 6820135663 ns
        BitTorrent, one link, seed 1: 1325 lines, 4f7ded15edd2b669, 2742713632 ns
        Cluster, no rates, seed 1: 1326 lines, 6a61917fe49f4e31, 120547392 ns
        Cluster, equal links, seed 1: 1492 lines, f2d402a6f8c584b7, 375162215 ns
        Cluster, a slow link, seed 1: 1476 lines, c65edbc059b363df, 6960891192 ns
        Cluster, one link, seed 1: 1891 lines, c16e969127e4c141, 1739736468 ns
        course, seed 2: 673 lines, 1f85d982f10df3e4, 210304658 ns
        BitTorrent, no rates, seed 2: 1094 lines, 367d4ede9f2e64b1, 138814507 ns
        BitTorrent, equal links, seed 2: 1280 lines, d6b266086f30fe0d, 651782412 ns
        BitTorrent, a slow link, seed 2: 1231 lines, b8fe652ca930ad03, 6563052488 ns
        BitTorrent, one link, seed 2: 1399 lines, 78db9ddd9ba7da53, 2361697643 ns
        Cluster, no rates, seed 2: 1354 lines, bd9fb7e8225c1342, 119228909 ns
        Cluster, equal links, seed 2: 1481 lines, 7e0176966af8cdd5, 392762796 ns
        Cluster, a slow link, seed 2: 1505 lines, 0eebd47d0e9cc0f1, 6966378811 ns
        Cluster, one link, seed 2: 1871 lines, 17e8120e48982ae1, 1744727772 ns
        rank 0 is a peer, no rates: 1261 lines, c078076c82cb2ed1, 4683795491 ns
        rank 0 is a peer, equal links: 1264 lines, 9f1d512f03b65383, 4464878413 ns
    "#]]
    .assert_eq(&found);
}
