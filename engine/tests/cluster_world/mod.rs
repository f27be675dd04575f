//! The cluster's test world: a coordinator (rank 0) and members over a network in virtual time. The
//! internet's is `internet_world`. There are no bytes: a block is a flag, and a liar's blocks are
//! bad. All invariants of the engine are checked after every input.
//!
//! # How to write a case
//!
//! 1. Draw the plan, a line a rank, from rank 1 on. `has a:8` owns file `a` of 8 pieces of 1 MiB,
//!    `wants b` wants `b`. `Setup` has the policies; its default is most cases'.
//! 2. Set what is unusual: `set_uplinks`, `set_delay`, `disk_delay`; for one rank, `node(2)`, the
//!    flags `lies`, `mute_data`, `unreadable`, `dead` and `refuses`.
//! 3. `run(time)` runs until the coordinator has finished, which is true, or until that time since
//!    the start. A case may run on: to the middle, a change (`withdraw`, `disk_full`, a flag), to
//!    the end.
//! 4. `inject(from, to, torrent, message)` sends what no member would send.
//! 5. Ask what came of it: `has_all`, `pieces_from`, `banned`, `events`, `log`.
//!
//! ```text
//! let mut world = World::new(&Setup::default(), &["has a:30", "has a:30", "wants a"]);
//! world.node(2).lies = true;
//! world.set_uplinks(1..=3, 20_000_000);
//! assert!(world.run(HOUR));
//! assert!(world.has_all(3) && world.banned(3) == [2]);
//! ```
//!
//! At one time deliveries come first, in the order in which they were sent, then the coordinator's
//! timer, then those of the members. A member handles all that it has before the next higher rank's
//! turn.

#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

#[allow(clippy::duplicate_mod, reason = "a test may use both worlds")]
#[path = "../trace_text/mod.rs"]
pub mod trace_text;

use dunlin_base::{
    Bitfield, BlockRef, ConnId, Endpoint, PeerId, PieceIndex, PieceKey, Rank, Rate, Rng, Time,
    TorrentId,
};
use dunlin_control::{Control, OwnedFile, Provenance, Register, Want};
use dunlin_engine::cluster::coordinator::{Coordinator, CoordinatorConfig};
use dunlin_engine::cluster::member::Member;
use dunlin_engine::cluster::{OnConflict, TrackerMap, TrackerOrder};
use dunlin_engine::config::{Config, PieceOrder, Profile, RefreshScope, SourceOrder};
use dunlin_engine::io::{
    CoordinatorInput, CoordinatorOutput, LocalError, MemberEvent, MemberInput, MemberOutput,
    SwarmEvent, SwarmInput, SwarmOutput,
};
use dunlin_engine::swarm::choker::ChokerKind;
use dunlin_metainfo::{CLUSTER_BLOCK_LENGTH, Geometry, PieceHashes, SetInfo, cluster_block_length};
use dunlin_simnet::{Delivery, Latency, Network, NetworkConfig, Transfer};
use dunlin_wire::{Handshake, Message};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

pub const PIECE: u64 = 1 << 20;

/// What travels.
#[derive(Clone, Debug)]
enum Parcel {
    Control(Control),
    Handshake(TorrentId, Handshake),
    Message(TorrentId, Message),
    Piece(TorrentId, BlockRef, bool),
    HangUp(TorrentId),
    /// What the disk says to its own rank.
    Disk(MemberInput),
}

struct Storage {
    geometry: Geometry,
    /// Who holds what of each started piece: good or bad blocks.
    blocks: BTreeMap<PieceIndex, BTreeMap<u32, bool>>,
    written: BTreeSet<PieceIndex>,
}

pub struct Node {
    pub member: Member,
    conns: BTreeMap<(Rank, TorrentId), (ConnId, bool)>,
    remotes: BTreeMap<ConnId, (Rank, TorrentId)>,
    storage: BTreeMap<TorrentId, Storage>,
    parked: BTreeMap<(ConnId, BlockRef), bool>,
    next_conn: u64,
    reserved: BTreeMap<PieceKey, u64>,
    /// It stands in the queue for memory and will be told.
    queued: bool,
    inputs: VecDeque<MemberInput>,
    pub lies: bool,
    pub dead: bool,
    pub mute_data: bool,
    /// Its files cannot be read any more.
    pub unreadable: bool,
    /// Percent of the requests to it that are refused without the engine's knowledge.
    pub refuses: u64,
    dice: Rng,
    pub events: Vec<MemberEvent>,
    pub swarm_events: Vec<SwarmEvent>,
    pub peak_memory: u64,
}

pub struct World {
    /// The clock, and what is on its way: parcels between ranks, answers of disks.
    network: Network<Rank, Parcel>,
    pub coordinator: Coordinator,
    pub nodes: BTreeMap<Rank, Node>,
    /// How long hashing, writing and finishing take.
    pub disk_delay: Duration,
    pub memory: u64,
    pub log: String,
    pub finished: bool,
    pub disk_full: bool,
    /// Pieces that came and could not be written.
    pub vain: usize,
}

#[derive(Clone)]
pub struct Setup {
    pub profile: Profile,
    pub pieces: PieceOrder,
    pub sources: SourceOrder,
    pub choker: ChokerKind,
    pub map: TrackerMap,
    pub refresh: u32,
    pub memory: u64,
    pub seed: u64,
    pub no_share: Vec<u32>,
}

impl Default for Setup {
    fn default() -> Setup {
        Setup {
            profile: Profile::BitTorrent,
            pieces: PieceOrder::Rarest,
            sources: SourceOrder::FASTEST,
            choker: ChokerKind::Cooperative,
            map: TrackerMap::Swarm,
            refresh: 10,
            memory: 1 << 30,
            seed: 1,
            no_share: Vec::new(),
        }
    }
}

/// A file of `pieces` pieces of 1 MiB, whose hashes say its name.
pub fn file(name: &str, pieces: u32, have: Option<Bitfield>) -> OwnedFile {
    let hashes: Vec<[u8; 20]> = (0..pieces)
        .map(|piece| {
            let mut hash = [0; 20];
            hash[..4].copy_from_slice(&piece.to_be_bytes());
            for (to, from) in hash[4..].iter_mut().zip(name.bytes()) {
                *to = from;
            }
            hash
        })
        .collect();
    OwnedFile {
        name: name.to_owned(),
        // The last piece is short, so that pieces need different amounts of memory.
        length: (u64::from(pieces) * PIECE)
            .saturating_sub(u64::from(pieces % 2) * (PIECE - 20_000)),
        piece_length: PIECE as u32,
        hashes: PieceHashes::Sha1(hashes.into()),
        pieces: have,
        provenance: Provenance::Owner,
        bytes: u64::from(pieces) * PIECE,
        sha256: None,
    }
}

fn coordinator(setup: &Setup, peers: u32) -> CoordinatorConfig {
    CoordinatorConfig {
        first: Rank(1),
        placing: false,
        owners_only: false,
        pins: std::collections::BTreeMap::new(),
        members: 0,
        peers,
        order: TrackerOrder::Arrival,
        map: setup.map,
        on_conflict: OnConflict::Refuse,
        force: false,
        check_only: false,
        loads: true,
        load_min_age: Duration::from_millis(2),
        start_timeout: Duration::from_secs(60),
        silence: Duration::from_secs(10),
        seed: setup.seed,
    }
}

impl World {
    /// One line a rank: `has a:8 b:4 wants c d`.
    pub fn new(setup: &Setup, drawing: &[&str]) -> World {
        let config = coordinator(setup, drawing.len() as u32);
        let latency = Latency::Constant(Duration::from_millis(1));
        let links = NetworkConfig { latency, ..NetworkConfig::default() };
        let mut world = World {
            network: Network::new(links, Rng::new(setup.seed)),
            coordinator: Coordinator::new(config),
            nodes: BTreeMap::new(),
            disk_delay: Duration::ZERO,
            memory: setup.memory,
            log: String::new(),
            finished: false,
            disk_full: false,
            vain: 0,
        };
        for (rank, line) in (1u32..).zip(drawing) {
            let config = Config {
                rank: Rank(rank),
                peer_id: PeerId::of_rank(Rank(rank)),
                profile: setup.profile,
                pieces: setup.pieces,
                sources: setup.sources,
                choker: setup.choker,
                tracker_pieces: setup.map == TrackerMap::Pieces,
                shares: !setup.no_share.contains(&rank),
                refresh_every: setup.refresh,
                refresh_scope: RefreshScope::File,
                stall_timeout: Duration::from_secs(60),
                placing: false,
                block_length: CLUSTER_BLOCK_LENGTH,
                memory: setup.memory,
                seed: setup.seed,
            };
            let shares = !setup.no_share.contains(&rank);
            let mut register = Register { shares, ..Register::default() };
            let mut wanting = false;
            for word in line.split_whitespace() {
                match word {
                    "has" => wanting = false,
                    "wants" => wanting = true,
                    name if wanting => register.wants.push(Want::Name(name.to_owned())),
                    owned => {
                        let (name, pieces) = owned.split_once(':').unwrap();
                        register.files.push(file(name, pieces.parse().unwrap(), None));
                    }
                }
            }
            let node = Node {
                member: Member::new(config),
                conns: BTreeMap::new(),
                remotes: BTreeMap::new(),
                storage: BTreeMap::new(),
                parked: BTreeMap::new(),
                next_conn: 0,
                reserved: BTreeMap::new(),
                queued: false,
                inputs: VecDeque::from([MemberInput::Checked(Box::new(register))]),
                lies: false,
                dead: false,
                mute_data: false,
                unreadable: false,
                refuses: 0,
                dice: Rng::fork(setup.seed, u64::from(rank)),
                events: Vec::new(),
                swarm_events: Vec::new(),
                peak_memory: 0,
            };
            world.nodes.insert(Rank(rank), node);
        }
        world
    }

    /// Every file has pieces of 16 KiB instead.
    pub fn small_pieces(&mut self) {
        for node in self.nodes.values_mut() {
            let Some(MemberInput::Checked(register)) = node.inputs.front_mut() else { continue };
            for file in &mut register.files {
                file.piece_length = 1 << 14;
                file.length = file.hashes.len() as u64 * (1 << 14);
                file.bytes = file.length;
            }
        }
    }

    pub fn node(&mut self, rank: u32) -> &mut Node {
        self.nodes.get_mut(&Rank(rank)).unwrap()
    }

    pub fn events(&self, rank: u32) -> &[MemberEvent] {
        &self.nodes[&Rank(rank)].events
    }

    pub fn now(&self) -> Time {
        self.network.now()
    }

    /// What a message takes from one rank to another from now on.
    pub fn set_delay(&mut self, delay: Duration) {
        self.network.set_latency(Latency::Constant(delay));
    }

    /// Bytes a second that each of some ranks uploads.
    pub fn set_uplinks(&mut self, ranks: impl IntoIterator<Item = u32>, rate: u64) {
        for rank in ranks {
            self.network.set_rate(Rank(rank), Some(Rate(rate)));
        }
    }

    fn post(&mut self, from: Rank, to: Rank, message: Parcel) {
        self.network.send(Transfer { from, to, bytes: 0, message, sent: None });
    }

    /// The disk answers at once, or after as long as the world says.
    fn disk_answers(&mut self, rank: Rank, input: impl Into<MemberInput>) {
        let input = input.into();
        if self.disk_delay == Duration::ZERO {
            self.nodes.get_mut(&rank).unwrap().inputs.push_back(input);
        } else {
            self.network.schedule(self.now() + self.disk_delay, rank, Parcel::Disk(input));
        }
    }

    /// Runs until the coordinator has finished, or `until`.
    pub fn run(&mut self, until: Duration) -> bool {
        let end = Time::from_duration(until);
        let mut steps = 0u64;
        loop {
            steps += 1;
            assert!(steps < 5_000_000, "the world does not come to rest");
            self.settle();
            if self.finished {
                return true;
            }
            let mail = self.network.next_at();
            let timers = self.nodes.values().filter(|node| !node.dead);
            let wake = timers.filter_map(|node| node.member.next_timeout()).map(|(at, _)| at).min();
            let coordinator = self.coordinator.next_timeout().map(|(at, _)| at);
            let next = [mail, wake, coordinator].into_iter().flatten().min();
            let Some(next) = next.filter(|next| *next <= end) else { return false };
            self.network.advance_to(next);
            self.deliver_due();
            self.wake_due();
        }
    }

    /// A rank stops, and says so.
    pub fn withdraw(&mut self, rank: u32) {
        self.node(rank).dead = true;
        self.coordinator.handle(self.now(), CoordinatorInput::Withdrawn { rank: Rank(rank) });
        self.drain_coordinator();
    }

    fn wake_due(&mut self) {
        let now = self.now();
        if self.coordinator.next_timeout().is_some_and(|(at, _)| at <= now) {
            self.coordinator.handle(now, CoordinatorInput::Timeout);
            self.drain_coordinator();
        }
        for node in self.nodes.values_mut().filter(|node| !node.dead) {
            if node.member.next_timeout().is_some_and(|(at, _)| at <= now) {
                node.inputs.push_back(MemberInput::Timeout);
            }
        }
    }

    fn deliver_due(&mut self) {
        while let Some(delivery) = self.network.next_delivery(self.now()) {
            let Delivery { from, to, message } = delivery;
            self.deliver(from, to, message);
            self.settle();
        }
    }

    fn deliver(&mut self, from: Rank, to: Rank, parcel: Parcel) {
        if to == Rank::TRACKER {
            let Parcel::Control(message) = parcel else { panic!("{parcel:?} to the tracker") };
            self.coordinator.handle(self.now(), CoordinatorInput::Message { from, message });
            self.drain_coordinator();
            return;
        }
        let node = self.nodes.get_mut(&to).unwrap();
        if node.dead {
            return;
        }
        match parcel {
            Parcel::Control(message) => node.inputs.push_back(MemberInput::Control(message)),
            Parcel::Disk(input) => node.inputs.push_back(input),
            Parcel::Handshake(torrent, handshake) => {
                let remote = Endpoint::Rank(from);
                let conn = match node.conns.get_mut(&(from, torrent)) {
                    Some((conn, greeted)) if !*greeted => {
                        *greeted = true;
                        *conn
                    }
                    other => {
                        if let Some((old, _)) = other.map(|known| *known) {
                            node.remotes.remove(&old);
                            node.inputs.push_back(SwarmInput::Disconnected { conn: old }.into());
                        }
                        let conn = node.new_conn(from, torrent, true);
                        node.inputs.push_back(SwarmInput::Incoming { conn, remote }.into());
                        conn
                    }
                };
                node.inputs.push_back(SwarmInput::Handshake { conn, handshake }.into());
            }
            Parcel::Message(torrent, Message::Request(range))
                if node.refuses > 0 && node.dice.chance(node.refuses, 100) =>
            {
                self.post(to, from, Parcel::Message(torrent, Message::RejectRequest(range)));
            }
            Parcel::Message(torrent, message) => {
                if let Some((conn, _)) = node.conns.get(&(from, torrent)) {
                    node.inputs.push_back(SwarmInput::Message { conn: *conn, message }.into());
                }
            }
            Parcel::Piece(torrent, block, good) => {
                if let Some((conn, _)) = node.conns.get(&(from, torrent)).copied() {
                    node.parked.insert((conn, block), good);
                    node.inputs.push_back(SwarmInput::BlockArrived { conn, block }.into());
                }
            }
            Parcel::HangUp(torrent) => {
                if let Some((conn, _)) = node.conns.remove(&(from, torrent)) {
                    node.remotes.remove(&conn);
                    node.inputs.push_back(SwarmInput::Disconnected { conn }.into());
                }
            }
        }
    }

    fn drain_coordinator(&mut self) {
        self.coordinator.check();
        while let Some(output) = self.coordinator.poll() {
            let line = trace_text::coordinator(&output);
            writeln!(self.log, "{:?} 0 -> {line}", self.now()).unwrap();
            match output {
                CoordinatorOutput::Send { to, message } => {
                    self.post(Rank::TRACKER, to, Parcel::Control(message));
                }
                CoordinatorOutput::Finished => self.finished = true,
            }
        }
    }

    /// Works off every input until nothing moves.
    pub fn settle(&mut self) {
        loop {
            let ranks: Vec<Rank> = self.nodes.keys().copied().collect();
            let mut moved = false;
            for rank in ranks {
                while let Some(input) = self.nodes.get_mut(&rank).unwrap().inputs.pop_front() {
                    moved = true;
                    let now = self.now();
                    let node = self.nodes.get_mut(&rank).unwrap();
                    if node.dead {
                        node.inputs.clear();
                        break;
                    }
                    let line = trace_text::member_input(&input);
                    node.member.handle(now, input);
                    writeln!(self.log, "{now:?} {} <- {line}", rank.0).unwrap();
                    while let Some(output) = self.nodes.get_mut(&rank).unwrap().member.poll() {
                        let line = trace_text::member_output(&output);
                        writeln!(self.log, "{now:?} {} -> {line}", rank.0).unwrap();
                        self.perform(rank, output);
                    }
                    self.nodes[&rank].member.check();
                }
            }
            if !moved {
                return;
            }
        }
    }

    fn perform(&mut self, rank: Rank, output: MemberOutput) {
        match output {
            MemberOutput::Swarm(output) => self.perform_swarm(rank, output),
            MemberOutput::SendControl(message) => {
                self.post(rank, Rank::TRACKER, Parcel::Control(message));
            }
            MemberOutput::Open { torrent, info, wants } => {
                self.node(rank.0).open(torrent, &info, wants);
            }
            MemberOutput::FinishFile { torrent, file } => {
                self.disk_answers(rank, MemberInput::FileFinished { torrent, file });
            }
            MemberOutput::Link { .. } | MemberOutput::FinishTree => {
                panic!("{output:?}: each rank has a host of its own, and places no tree")
            }
            MemberOutput::Event(event) => self.node(rank.0).events.push(event),
        }
    }

    fn perform_swarm(&mut self, rank: Rank, output: SwarmOutput) {
        let node = self.nodes.get_mut(&rank).unwrap();
        match output {
            SwarmOutput::Dial { torrent, remote } => {
                let to = remote.rank().unwrap();
                let conn = match node.conns.get(&(to, torrent)) {
                    Some((conn, _)) => *conn,
                    None => node.new_conn(to, torrent, false),
                };
                node.inputs.push_back(SwarmInput::Connected { torrent, conn, remote }.into());
            }
            SwarmOutput::HangUp { conn, .. } => {
                if let Some((to, torrent)) = node.remotes.remove(&conn) {
                    node.conns.remove(&(to, torrent));
                    self.post(rank, to, Parcel::HangUp(torrent));
                }
            }
            SwarmOutput::SendHandshake { conn, handshake } => {
                let (to, torrent) = node.remotes[&conn];
                self.post(rank, to, Parcel::Handshake(torrent, handshake));
            }
            SwarmOutput::Send { conn, message } => {
                let (to, torrent) = node.remotes[&conn];
                self.post(rank, to, Parcel::Message(torrent, message));
            }
            SwarmOutput::Reserve { key, bytes, .. } => self.reserve(rank, key, bytes),
            SwarmOutput::Release(key) => {
                node.reserved.remove(&key).expect("released without a reservation");
                node.storage(key.torrent).blocks.remove(&key.piece);
                if std::mem::take(&mut node.queued) {
                    node.inputs.push_back(SwarmInput::MemoryFree.into());
                }
            }
            SwarmOutput::Spill(key) => {
                node.reserved.remove(&key).expect("spilled without a reservation");
            }
            SwarmOutput::Keep { conn, block } => node.keep(conn, block),
            SwarmOutput::Drop { conn, block } => {
                node.parked.remove(&(conn, block)).expect("dropped and never parked");
            }
            SwarmOutput::Hash(key) => {
                let storage = node.storage(key.torrent);
                let blocks = &storage.blocks[&key.piece];
                assert_eq!(blocks.len() as u32, storage.geometry.blocks(key.piece), "{key:?}");
                let matches = blocks.values().all(|good| *good);
                self.disk_answers(rank, SwarmInput::PieceHashed { key, matches });
            }
            SwarmOutput::Digest(key) => {
                let blocks = &node.storage(key.torrent).blocks[&key.piece];
                let digests = blocks.values().map(|good| if *good { 1 } else { 666 }).collect();
                self.disk_answers(rank, SwarmInput::BlockDigests { key, digests });
            }
            SwarmOutput::Write(key) => self.write(rank, key),
            SwarmOutput::Serve { conn, block } => self.serve(rank, conn, block),
            SwarmOutput::Event(event) => node.swarm_events.push(event),
        }
    }

    fn reserve(&mut self, rank: Rank, key: PieceKey, bytes: u32) {
        let memory = self.memory * 3 / 4;
        let node = self.nodes.get_mut(&rank).unwrap();
        let used: u64 = node.reserved.values().sum();
        if used > 0 && used + u64::from(bytes) > memory {
            node.queued = true;
            node.inputs.push_back(SwarmInput::NoMemory(key).into());
        } else {
            // A rank that gets memory no longer stands in the queue for it.
            node.queued = false;
            node.reserved.insert(key, u64::from(bytes));
            node.peak_memory = node.peak_memory.max(used + u64::from(bytes));
            node.storage(key.torrent).blocks.entry(key.piece).or_default();
            node.inputs.push_back(SwarmInput::Reserved(key).into());
        }
    }

    fn write(&mut self, rank: Rank, key: PieceKey) {
        let disk_full = self.disk_full;
        let storage = self.node(rank.0).storage(key.torrent);
        assert!(storage.blocks[&key.piece].values().all(|good| *good), "a bad piece is written");
        if disk_full {
            let error = LocalError { message: "disk full".into(), disk_full: true };
            self.vain += 1;
            self.disk_answers(rank, SwarmInput::DiskFailed { key, error });
        } else {
            storage.written.insert(key.piece);
            self.disk_answers(rank, SwarmInput::PieceWritten(key));
        }
    }

    fn serve(&mut self, rank: Rank, conn: ConnId, block: BlockRef) {
        let node = &self.nodes[&rank];
        let Some((to, torrent)) = node.remotes.get(&conn).copied() else { return };
        if node.unreadable {
            let error = LocalError { message: "it changed".into(), disk_full: false };
            let input = SwarmInput::ServeFailed { conn, block, error }.into();
            return self.node(rank.0).inputs.push_back(input);
        }
        // The block counts as sent when the uplink has taken it.
        let sent = Parcel::Disk(SwarmInput::BlockSent { conn, block }.into());
        if node.mute_data {
            self.network.schedule(self.network.uplink_free_at(rank), rank, sent);
        } else {
            let message = Parcel::Piece(torrent, block, !node.lies);
            let (bytes, sent) = (u64::from(block.len), Some(sent));
            self.network.send(Transfer { from: rank, to, bytes, message, sent });
        }
    }

    /// What a scripted peer sends to `to` as rank `from`.
    pub fn inject(&mut self, from: u32, to: u32, torrent: u32, message: Message) {
        self.post(Rank(from), Rank(to), Parcel::Message(TorrentId(torrent), message));
    }

    pub fn has_all(&self, rank: u32) -> bool {
        let node = &self.nodes[&Rank(rank)];
        let progress = node.member.progress();
        progress.complete && progress.pieces_have == progress.pieces_wanted
    }

    pub fn pieces_from(&self, rank: u32) -> BTreeMap<u32, u64> {
        let stats = self.nodes[&Rank(rank)].member.stats();
        stats.pieces_from.iter().map(|(from, n)| (from.rank().unwrap().0, *n)).collect()
    }

    pub fn banned(&self, rank: u32) -> Vec<u32> {
        let stats = self.nodes[&Rank(rank)].member.stats();
        stats.banned.iter().map(|from| from.rank().unwrap().0).collect()
    }
}

impl Node {
    fn new_conn(&mut self, remote: Rank, torrent: TorrentId, greeted: bool) -> ConnId {
        self.next_conn += 1;
        let conn = ConnId(self.next_conn);
        self.conns.insert((remote, torrent), (conn, greeted));
        self.remotes.insert(conn, (remote, torrent));
        conn
    }

    fn storage(&mut self, torrent: TorrentId) -> &mut Storage {
        self.storage.get_mut(&torrent).expect("storage is open")
    }

    fn open(&mut self, torrent: TorrentId, info: &Arc<SetInfo>, wants: bool) {
        let geometry = info.geometry(cluster_block_length(info.piece_length, CLUSTER_BLOCK_LENGTH));
        let have = if wants && !self.owns(info) {
            Bitfield::new(geometry.pieces())
        } else {
            Bitfield::full(geometry.pieces())
        };
        let storage = Storage { geometry, blocks: BTreeMap::new(), written: BTreeSet::new() };
        self.storage.insert(torrent, storage);
        self.inputs.push_back(MemberInput::Opened { torrent, have, resumed: 0 });
    }

    fn keep(&mut self, conn: ConnId, block: BlockRef) {
        let good = self.parked.remove(&(conn, block)).expect("kept and never parked");
        let (_, torrent) = self.remotes[&conn];
        let key = PieceKey { torrent, piece: block.piece };
        assert!(self.reserved.contains_key(&key), "kept unreserved");
        let storage = self.storage(torrent);
        let index = storage.geometry.block_index(block).unwrap();
        let old = storage.blocks.get_mut(&block.piece).unwrap().insert(index, good);
        assert_eq!(old, None, "{block:?} is kept twice");
    }

    fn owns(&self, _info: &SetInfo) -> bool {
        false
    }
}

/// A request for a whole first block.
pub fn request(piece: u32, begin: u32, length: u32) -> Message {
    Message::Request(BlockRef { piece: PieceIndex(piece), begin, len: length })
}
