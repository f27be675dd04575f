//! What a siege is drawn from.

use crate::strategy::Kind;
use dunlin_base::Rng;
use dunlin_metainfo::Format;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

const MIB: u64 = 1 << 20;

/// An honest peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// It has everything from the beginning.
    pub seeds: bool,
    /// It knows the torrent by its name alone.
    pub magnet: bool,
    /// When it joins.
    pub joins: Duration,
    /// Bytes a second that it gives.
    pub uplink: u64,
    /// Bytes of its memory budget.
    pub memory: u64,
    /// How long its disk takes for each thing.
    pub disk_delay: Duration,
}

/// A stranger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stranger {
    /// How it behaves.
    pub kind: Kind,
    /// Connections that it keeps.
    pub connections: usize,
    /// Whether it can be dialled.
    pub listens: bool,
    /// Whether the tracker knows it.
    pub enlisted: bool,
    /// Another address than the world's usual one.
    pub address: Option<IpAddr>,
    /// Its pause before it dials again, in tempos.
    pub pause: u32,
}

/// What happens to a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is full, or has space again.
    Full(bool),
    /// Whatever is written fails from now on.
    Broken,
    /// Files were changed or truncated, or have vanished: so many pieces cannot be read any more.
    Changed(u64),
    /// Everything takes so long from now on.
    Slow(Duration),
}

/// Everything that a siege consists of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The seed of every choice.
    pub seed: u64,
    /// The torrent's version.
    pub format: Format,
    /// Bytes of a piece.
    pub piece_length: u32,
    /// Bytes of its files.
    pub lengths: Vec<u64>,
    /// Honest peers; the first is a seed whose disk never fails.
    pub members: Vec<Member>,
    /// Strangers.
    pub strangers: Vec<Stranger>,
    /// What happens to which member's disk, and when.
    pub faults: Vec<(Duration, usize, Fault)>,
    /// Time between two bursts.
    pub tempo: Duration,
    /// Messages of a burst.
    pub burst: u32,
    /// How long it lasts.
    pub lasts: Duration,
}

impl Plan {
    /// Any siege of three minutes.
    #[must_use]
    pub fn draw(seed: u64) -> Plan {
        let mut rng = Rng::fork(seed, 11);
        let mut plan = Plan::swarm(seed, &mut rng);
        let count = 1 + rng.below(6);
        plan.strangers = (0..count)
            .map(|number| {
                let kind = Kind::any(&mut rng);
                stranger(&mut rng, kind, number)
            })
            .collect();
        plan.faults = faults(&mut rng, &plan.members);
        plan
    }

    /// Strangers of one kind alone: five sources with three connections each, so fewer sources than
    /// a node has upload slots.
    #[must_use]
    pub fn of_one(kind: Kind, seed: u64) -> Plan {
        let mut rng = Rng::fork(seed, 12);
        let mut plan = Plan::swarm(seed, &mut rng);
        let stranger = |number| Stranger { connections: 3, ..stranger(&mut rng, kind, number) };
        plan.strangers = (0..5).map(stranger).collect();
        plan.burst = plan.burst.min(30);
        plan
    }

    /// A seed, an honest peer that joins late, and strangers of one kind: a seed has fewer upload
    /// slots than sources that come to it. The torrent is long: whoever takes a block each tempo
    /// does not come to the end of a quantum of [`SEED_QUANTUM_PIECES`].
    ///
    /// [`SEED_QUANTUM_PIECES`]: dunlin_engine::swarm::choker::SEED_QUANTUM_PIECES
    #[must_use]
    pub fn crowd(kind: Kind, sources: u64, seed: u64) -> Plan {
        let mut rng = Rng::fork(seed, 14);
        let piece_length = 256 << 10;
        let member = |seeds, joins| Member {
            seeds,
            magnet: false,
            joins: Duration::from_secs(joins),
            uplink: 2_000_000,
            memory: 64 * MIB,
            disk_delay: Duration::ZERO,
        };
        let stranger = |number| Stranger {
            // One for the seed, and one for the other.
            connections: 2,
            listens: false,
            enlisted: false,
            address: None,
            ..stranger(&mut rng, kind, number)
        };
        Plan {
            seed,
            format: Format::V1,
            piece_length,
            lengths: vec![80 * u64::from(piece_length)],
            members: vec![member(true, 0), member(false, 40)],
            strangers: (0..sources).map(stranger).collect(),
            faults: Vec::new(),
            tempo: Duration::from_secs(1),
            burst: 1,
            lasts: Duration::from_secs(180),
        }
    }

    /// A day: everything is slower, and every kind of stranger comes by.
    #[must_use]
    pub fn day(seed: u64) -> Plan {
        let mut rng = Rng::fork(seed, 13);
        let mut plan = Plan::swarm(seed, &mut rng);
        let kinds = Kind::all();
        plan.strangers = (0..)
            .zip(kinds)
            .map(|(number, kind)| Stranger {
                connections: 1,
                pause: 10 + rng.below(20) as u32,
                ..stranger(&mut rng, kind, number)
            })
            .collect();
        plan.lasts = Duration::from_secs(86_400);
        plan.tempo = Duration::from_secs(60);
        plan.burst = 20;
        // Members come throughout the day.
        for (hour, member) in (0_u64..).zip(&mut plan.members).skip(1) {
            member.joins = Duration::from_secs(hour * 3600);
        }
        plan
    }

    /// Honest peers alone, and a torrent that they have exchanged within a minute if nobody
    /// disturbs.
    fn swarm(seed: u64, rng: &mut Rng) -> Plan {
        let format = [Format::V1, Format::V1, Format::V2, Format::Hybrid][rng.below(4) as usize];
        let piece_length = 16_384 << rng.below(4);
        let pieces = 5 + rng.below(40);
        let length = pieces * u64::from(piece_length) - rng.below(u64::from(piece_length));
        let mut lengths = vec![length];
        if rng.chance(1, 2) {
            lengths = vec![length / 3, 0, length / 3, length - 2 * (length / 3), 0];
        }
        let (seeds, leechers) = (1 + rng.below(2), 1 + rng.below(3));
        let total = length * leechers;
        let members = (0..seeds + leechers)
            .map(|index| Member {
                seeds: index < seeds,
                magnet: index >= seeds && rng.chance(1, 4),
                joins: Duration::from_millis(if index == 0 { 0 } else { rng.below(20_000) }),
                uplink: (total / (10 + rng.below(30))).max(50_000),
                memory: [MIB, 4 * MIB, 64 * MIB][rng.below(3) as usize],
                disk_delay: Duration::from_millis([0, 1, 20, 200][rng.below(4) as usize]),
            })
            .collect();
        Plan {
            seed,
            format,
            piece_length,
            lengths,
            members,
            strangers: Vec::new(),
            faults: Vec::new(),
            tempo: Duration::from_millis(500 + rng.below(4) * 500),
            burst: 5 + rng.below(60) as u32,
            lasts: Duration::from_secs(180),
        }
    }
}

fn stranger(rng: &mut Rng, kind: Kind, number: u64) -> Stranger {
    let six = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1 + number as u16);
    Stranger {
        kind,
        connections: 1 + rng.below(8) as usize,
        listens: rng.chance(1, 2),
        enlisted: rng.chance(1, 2),
        address: rng.chance(1, 4).then_some(IpAddr::V6(six)),
        pause: 1 + rng.below(8) as u32,
    }
}

fn faults(rng: &mut Rng, members: &[Member]) -> Vec<(Duration, usize, Fault)> {
    let mut faults = Vec::new();
    for index in 1..members.len() {
        let at = Duration::from_secs(rng.below(60));
        match rng.below(12) {
            0 => {
                faults.push((at, index, Fault::Full(true)));
                let space = at + Duration::from_secs(1 + rng.below(40));
                faults.push((space, index, Fault::Full(false)));
            }
            1 => faults.push((at, index, Fault::Full(true))),
            2 => faults.push((at, index, Fault::Broken)),
            3 | 4 => faults.push((at, index, Fault::Changed(1 + rng.below(5)))),
            5 => {
                let delay = Duration::from_millis(rng.below(3000));
                faults.push((at, index, Fault::Slow(delay)));
            }
            _ => {}
        }
    }
    faults
}
