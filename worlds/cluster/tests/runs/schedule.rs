//! How close the schedule of cooperating ranks comes to what the links allow, in virtual time. The
//! bound: with equal links, M pieces and N receivers, 1 + ⌊log₂ N⌋ / M times what one file takes.

use crate::common::{Run, content, put};
use dunlin_base::{Rank, Rate};
use dunlin_cluster::{FabricKind, LinkRates, VirtualConfig};
use dunlin_disk::MemFs;
use dunlin_engine::config::Profile;
use std::collections::BTreeMap;
use std::time::Duration;

/// A full copy from `sources` to `receivers`, over links of `mbit`; who has a link of its own, in
/// `own`.
struct Copy {
    sources: u32,
    receivers: u32,
    mib: u64,
    mbit: u64,
    own: BTreeMap<Rank, Rate>,
    profile: Profile,
    piece: Option<u32>,
}

impl Copy {
    fn new(receivers: u32, mib: u64, mbit: u64) -> Copy {
        let (profile, own) = (Profile::Cluster, BTreeMap::new());
        Copy { sources: 1, receivers, mib, mbit, own, profile, piece: None }
    }

    fn rate(&self) -> u64 {
        self.mbit * 1_000_000 / 8
    }

    /// What the file takes over one link, in seconds.
    fn file_time(&self) -> f64 {
        (self.mib << 20) as f64 / self.rate() as f64
    }

    fn bound(&self, pieces: u64) -> f64 {
        let steps = f64::from(self.receivers.ilog2());
        self.file_time() * (1.0 + steps / pieces as f64)
    }

    /// When each receiver was complete, in seconds, and how many pieces the file has.
    fn run(&self) -> (Vec<f64>, u64) {
        let disk = MemFs::new();
        let length = (self.mib << 20) as usize;
        let bytes = content("data", length);
        for rank in 1..=self.sources {
            put(&disk, rank, "data", &bytes);
        }
        let mut wants = vec![""; self.sources as usize];
        wants.resize((self.sources + self.receivers) as usize, "data");
        let links = LinkRates { all: Some(Rate(self.rate())), of: self.own.clone() };
        let run = Run::again(disk, &wants).with(|config| {
            config.profile = self.profile;
            config.piece_size = self.piece;
            config.trace = None;
            config.memory = 4 << 30;
            config.block_length = 128 << 10;
            config.fabric = FabricKind::Virtual(VirtualConfig {
                links,
                min_delay: Duration::from_micros(50),
                max_delay: Duration::from_micros(100),
                min_job: Duration::from_micros(50),
                max_job: Duration::from_micros(300),
                ..VirtualConfig::default()
            });
        });
        let done = run.go().ok();
        let receivers = done.report.peers.iter().skip(self.sources as usize);
        let pieces =
            length as u64 / u64::from(dunlin_metainfo::piece_length_for(length as u64, self.piece));
        (receivers.map(|peer| peer.seconds).collect(), pieces)
    }
}

fn last(times: &[f64]) -> f64 {
    times.iter().copied().fold(0.0, f64::max)
}

/// The last of the receivers, and how often the bound that is.
fn ratio(copy: &Copy) -> f64 {
    let (times, pieces) = copy.run();
    last(&times) / copy.bound(pieces)
}

#[test]
fn equal_links_are_used_to_the_full() {
    for (copy, most) in [(Copy::new(7, 8, 25), 1.10), (Copy::new(15, 8, 25), 1.20)] {
        let found = ratio(&copy);
        assert!(found < most, "{} receivers take {found} times the bound", copy.receivers);
        let pull = ratio(&Copy { profile: Profile::BitTorrent, ..copy });
        assert!(found < pull, "without offers it takes {pull} times the bound, with them {found}");
    }
}

#[test]
fn a_slow_link_is_its_owner_s_alone() {
    let mut copy = Copy::new(7, 8, 25);
    copy.own.insert(Rank(3), Rate(copy.rate() / 4));
    let (times, pieces) = copy.run();
    let healthy = last(&[&times[..1], &times[2..]].concat());
    assert!(healthy < 1.15 * copy.bound(pieces), "the others take {healthy} s");
    // Four files' time through its own link is all that it needs.
    assert!(times[1] < 4.3 * copy.file_time(), "the slow one takes {} s", times[1]);
}

#[test]
fn two_sources_share_the_first_copies() {
    let copy = Copy { sources: 2, ..Copy::new(6, 16, 50) };
    let pull = ratio(&Copy { profile: Profile::BitTorrent, ..Copy::new(6, 16, 50) });
    let found = ratio(&copy);
    assert!(found < 1.12, "it takes {found} times the bound");
    assert!(found < pull, "one source without offers takes {pull} times the bound, two {found}");
}
