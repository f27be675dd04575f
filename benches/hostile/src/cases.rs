//! Attacks on a seed, on a leecher and on who knows a magnet link alone, while an honest peer
//! takes, or gives, 64 MiB at 4 MiB/s.

use crate::Row;
use crate::program::{PATIENCE, Program, until};
use dunlin_base::{PeerId, Rng};
use dunlin_hostile::sockets::{Attack, Running};
use dunlin_hostile::{Flood, Kind, Target};
use dunlin_metainfo::Torrent;
use dunlin_wire::{Handshake, Reserved};
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Bytes of the torrent, and of one of its pieces.
const LENGTH: u64 = 64 << 20;
const PIECE: u32 = 256 << 10;
/// The budget of every process.
const MEMORY: &str = "64MiB";
/// What the honest peer takes at most, so that an attack lasts sixteen seconds.
const RATE: &str = "4MiB";
/// How long an attack lasts before the honest peer comes.
const BEFORE: Duration = Duration::from_secs(2);

/// Whom the attack is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Attacked {
    /// A seed; an honest leecher takes from it.
    Seed,
    /// A leecher; an honest seed that it was told of gives to it.
    Leecher,
    /// A leecher that learns of the honest seed from a tracker, after the attack has begun.
    Tracked,
    /// A leecher that knows a magnet link alone.
    Magnet,
}

struct Case {
    name: &'static str,
    what: &'static str,
    attacked: Attacked,
    /// Kinds with connections and hosts each.
    attacks: &'static [(Kind, usize, u8)],
}

const CASES: &[Case] = &[
    Case { name: "-", what: "nobody", attacked: Attacked::Seed, attacks: &[] },
    Case {
        name: "C1",
        what: "requests while choked, for hashes and metadata; no answer is read; 96 connections",
        attacked: Attacked::Seed,
        attacks: &[
            (Kind::Flood(Flood::ChokedRequests, false), 64, 16),
            (Kind::Flood(Flood::MetadataRequests, false), 32, 16),
        ],
    },
    Case {
        name: "C2",
        what: "request and cancel without end, read and unread; 64 connections",
        attacked: Attacked::Seed,
        attacks: &[
            (Kind::Flood(Flood::RequestCancel, true), 32, 8),
            (Kind::Flood(Flood::RequestCancel, false), 32, 8),
        ],
    },
    Case {
        name: "C3",
        what: "the seed's id from 32 connections of 16 other hosts",
        attacked: Attacked::Leecher,
        attacks: &[(Kind::Thief, 32, 16)],
    },
    Case {
        name: "C4",
        what: "ever other ports in extension handshakes; 16 connections",
        attacked: Attacked::Tracked,
        attacks: &[(Kind::Flood(Flood::Ports, true), 16, 4)],
    },
    Case {
        name: "C5",
        what: "idle and interested, 80 connections of 10 hosts",
        attacked: Attacked::Seed,
        attacks: &[(Kind::Idle, 80, 10)],
    },
    Case {
        name: "C5",
        what: "idle and interested, 400 connections of 50 hosts",
        attacked: Attacked::Seed,
        attacks: &[(Kind::Idle, 400, 50)],
    },
    Case {
        name: "C7",
        what: "HAVE and INTERESTED without end; 32 connections",
        attacked: Attacked::Seed,
        attacks: &[
            (Kind::Flood(Flood::Have, true), 16, 8),
            (Kind::Flood(Flood::Interest, true), 16, 8),
        ],
    },
    Case {
        name: "C10",
        what: "ever other sizes of metadata, and wrong metadata; 64 connections",
        attacked: Attacked::Magnet,
        attacks: &[
            (Kind::Flood(Flood::MetadataSizes, true), 32, 16),
            (Kind::WrongMetadata, 32, 16),
        ],
    },
];

/// The torrent, its data, and what it costs to serve them to nobody.
struct Bed<'a> {
    dunlin: &'a Path,
    folder: tempfile::TempDir,
    bytes: Vec<u8>,
    torrent: Torrent,
    idle_kib: u64,
    /// What an honest peer takes when nobody disturbs, in ms.
    alone_ms: u128,
}

/// Runs every case that is wanted.
///
/// # Errors
/// If something cannot be measured at all.
pub(crate) fn run(
    dunlin: &Path,
    only: &[String],
    done: &mut impl FnMut(Row),
) -> Result<(), String> {
    let wanted = |name: &str| only.is_empty() || only.iter().any(|one| one == name);
    if !CASES.iter().any(|case| wanted(case.name)) {
        return Ok(());
    }
    let mut bed = Bed::new(dunlin)?;
    for case in CASES.iter().filter(|case| case.name == "-" || wanted(case.name)) {
        eprintln!("{} {}", case.name, case.what);
        done(bed.case(case)?);
    }
    Ok(())
}

fn say(error: impl std::fmt::Display) -> String {
    error.to_string()
}

impl Bed<'_> {
    fn new(dunlin: &Path) -> Result<Bed<'_>, String> {
        let folder = tempfile::tempdir().map_err(say)?;
        let mut rng = Rng::new(11);
        let bytes: Vec<u8> = (0..LENGTH / 8).flat_map(|_| rng.next_u64().to_be_bytes()).collect();
        let data = folder.path().join("data");
        std::fs::create_dir(&data).map_err(say)?;
        std::fs::write(data.join("t"), &bytes).map_err(say)?;
        let words = ["create", "data/t", "-o", "t.torrent", "--piece-size", "256KiB", "--quiet"];
        Program::finish(dunlin, folder.path(), "create", &words)?;
        let file = std::fs::read(folder.path().join("t.torrent")).map_err(say)?;
        let torrent = Torrent::parse(&file).map_err(say)?;
        let mut bed = Bed { dunlin, folder, bytes, torrent, idle_kib: 0, alone_ms: 0 };
        let mut idle = bed.seed("idle", &[])?;
        idle.address()?;
        std::thread::sleep(BEFORE);
        bed.idle_kib = idle.peak_kib();
        Ok(bed)
    }

    fn start(&self, name: &str, words: &[&str], more: &[&str]) -> Result<Program, String> {
        let all: Vec<&str> = words
            .iter()
            .chain(&["--bind", "127.0.0.1", "--port", "0"])
            .chain(more)
            .copied()
            .collect();
        Program::start(self.dunlin, self.folder.path(), name, &all)
    }

    fn seed(&self, name: &str, more: &[&str]) -> Result<Program, String> {
        let words = ["seed", "t.torrent", "--data", "data", "--memory", MEMORY];
        self.start(name, &words, more)
    }

    fn leecher(&self, source: &str, more: &[&str]) -> Result<Program, String> {
        let _ = std::fs::remove_dir_all(self.out());
        let words = ["get", source, "-o", "out", "--memory", MEMORY, "--limit-down", RATE];
        self.start("leecher", &words, more)
    }

    fn out(&self) -> PathBuf {
        self.folder.path().join("out")
    }

    fn case(&mut self, case: &Case) -> Result<Row, String> {
        let (took, peak_kib, running) = match case.attacked {
            Attacked::Seed => self.on_seed(case)?,
            Attacked::Leecher | Attacked::Magnet => self.on_leecher(case)?,
            Attacked::Tracked => self.on_tracked(case)?,
        };
        let served = std::fs::read(self.out().join("t")).is_ok_and(|came| came == self.bytes);
        let took_ms = took.as_millis();
        if case.attacks.is_empty() {
            self.alone_ms = took_ms;
        }
        Ok(Row {
            name: case.name,
            what: case.what,
            peak_kib,
            idle_kib: self.idle_kib,
            took_ms,
            bound_ms: self.alone_ms * 2,
            note: seen(running),
            served,
        })
    }

    fn on_seed(&self, case: &Case) -> Result<(Duration, u64, Vec<Running>), String> {
        let mut seed = self.seed("seed", &[])?;
        let address = seed.address()?;
        let running = self.attack(case, address, &[])?;
        let mut honest = self.leecher("t.torrent", &["--peer", &address.to_string()])?;
        let took = honest.ends(PATIENCE).map_or(PATIENCE, |(_, took)| took);
        Ok((took, seed.peak_kib(), running))
    }

    fn on_leecher(&self, case: &Case) -> Result<(Duration, u64, Vec<Running>), String> {
        let mut seed = self.seed("seed", &[])?;
        let address = seed.address()?;
        // Until it has looked at its files it knows no torrent.
        let id = until("the seed greets", || self.id_of(address).ok())?;
        let hash = self.torrent.hashes.first().to_string();
        let magnet = format!("magnet:?xt=urn:btih:{hash}");
        let magnet = (case.attacked == Attacked::Magnet).then_some(magnet.as_str());
        let peer = address.to_string();
        let mut attacked = self.leecher(magnet.unwrap_or("t.torrent"), &["--peer", &peer])?;
        let running = self.attack(case, attacked.address()?, &[id])?;
        let took = attacked.ends(PATIENCE).map_or(PATIENCE, |(_, took)| took);
        Ok((took, attacked.peak_kib(), running))
    }

    fn on_tracked(&self, case: &Case) -> Result<(Duration, u64, Vec<Running>), String> {
        let words = ["tracker", "--http", "127.0.0.1:0", "--interval", "5s"];
        let mut tracker = Program::start(self.dunlin, self.folder.path(), "tracker", &words)?;
        let url = tracker.says("listening at ")?;
        let mut attacked = self.leecher("t.torrent", &["--tracker", &url])?;
        let running = self.attack(case, attacked.address()?, &[])?;
        let seed = self.seed("seed", &["--tracker", &url])?;
        let start = Instant::now();
        let took = attacked.ends(PATIENCE).map_or(PATIENCE, |_| start.elapsed());
        drop(seed);
        Ok((took, attacked.peak_kib(), running))
    }

    /// Begins everything, and lets it last a while.
    fn attack(
        &self,
        case: &Case,
        address: SocketAddr,
        ids: &[PeerId],
    ) -> Result<Vec<Running>, String> {
        let pieces = u32::try_from(LENGTH / u64::from(PIECE)).map_err(say)?;
        let mut target = Target::of(self.torrent.hashes.first(), pieces, PIECE, LENGTH);
        (target.tempo, target.burst) = (Duration::from_millis(2), 200);
        target.peer_ids = ids.to_vec();
        target.metadata_size = u32::try_from(self.torrent.info().len()).map_err(say)?;
        let target = Arc::new(target);
        let mut running = Vec::new();
        for (number, (kind, connections, hosts)) in (1..).zip(case.attacks) {
            let from = (0..*hosts).map(|host| IpAddr::V4(Ipv4Addr::new(127, 1, number, 1 + host)));
            let attack = Attack {
                address,
                from: from.collect(),
                kind: *kind,
                connections: *connections,
                target: Arc::clone(&target),
                seed: 3,
            };
            running.push(attack.begin().map_err(say)?);
        }
        until("an attack connects", || {
            running.iter().all(|one| one.seen().connections > 0).then_some(())
        })?;
        if !running.is_empty() && !matches!(case.attacked, Attacked::Leecher | Attacked::Magnet) {
            std::thread::sleep(BEFORE);
        }
        Ok(running)
    }

    /// The id with which a peer greets.
    fn id_of(&self, address: SocketAddr) -> Result<PeerId, String> {
        let mut stream = TcpStream::connect(address).map_err(say)?;
        let (reserved, info_hash) = (Reserved::INTERNET, self.torrent.hashes.first());
        let peer_id = PeerId(*b"-XX0001-who-are-you-");
        stream.write_all(&Handshake { reserved, info_hash, peer_id }.encode()).map_err(say)?;
        let mut answer = [0; 68];
        stream.read_exact(&mut answer).map_err(say)?;
        let mut id = [0; 20];
        id.copy_from_slice(&answer[48..]);
        Ok(PeerId(id))
    }
}

/// What attackers have seen, and the end of them.
fn seen(running: Vec<Running>) -> String {
    if running.is_empty() {
        return String::new();
    }
    let (mut connections, mut closed, mut sent) = (0, 0, 0);
    for one in running {
        let seen = one.end();
        connections += seen.connections;
        closed += seen.closed;
        sent += seen.sent;
    }
    format!("{connections} connections, {closed} of them closed, {} MiB sent", sent >> 20)
}
