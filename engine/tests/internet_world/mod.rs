//! The internet's test world: hosts with addresses over a network in virtual time, and one tracker
//! that knows everybody. The cluster's is `cluster_world`. Between nodes there are no bytes: a
//! block is a flag, and a liar's blocks are bad. All invariants of the engine are checked after
//! every input.
//!
//! # How to write a case
//!
//! 1. Make hosts. `swarm(&torrent, leechers, seed)` makes a seed and leechers, `add_node(&torrent,
//!    seeds)` one node, `host(config)` and `add` any other, `scripted` a host that sends what the
//!    test sends.
//! 2. Set what is unusual: `set_uplink`, `set_delay`, and of `hosts[n]` the flags `lies`, `mute`,
//!    `dead`, `listens` and what `disk` has.
//! 3. Let a scripted host connect: `greet` with our extensions, `connect` with any handshake,
//!    `dial` with none. Each returns the number of the connection, and returns when the client has
//!    answered.
//! 4. One line an event: `send`, `send_block`, `send_handshake`, `close`; `command` is what a
//!    person does; `run(most, done)` and `pass(time)` let time pass. Each returns when the answers
//!    have come.
//! 5. Ask what came: `received`, `last_received`, `requested`, `handshakes`, `is_closed`; of a
//!    client its `state`, `banned`, `announced`, and `hosts[n].events` and `.hang_ups`.
//!
//! ```text
//! let (host, peer) = (world.add_node(&torrent, false), world.scripted());
//! let conn = world.greet(peer, host, torrent.hashes.first());
//! world.send(peer, conn, Message::HaveAll);
//! assert_eq!(world.last_received(peer, conn), Some(Message::Interested));
//! ```
//!
//! At one time deliveries come first, in the order in which they were sent, then timers. A host
//! handles all that it has before the next one's turn. A host with `wired` is a stranger of a
//! siege: its connections carry bytes (`byte_streams`).

#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

pub mod byte_streams;
pub mod disk;
mod scripted;
#[allow(clippy::duplicate_mod, reason = "a test may use both worlds")]
#[path = "../trace_text/mod.rs"]
pub mod trace_text;

use byte_streams::{Found, Wire, Wires};
use bytes::Bytes;
use disk::Disk;
use dunlin_base::{
    BlockRef, ConnId, Endpoint, InfoHash, PeerId, PieceIndex, Rate, Rng, Time, TorrentId,
};
use dunlin_engine::client::{Client, ClientConfig};
use dunlin_engine::io::{
    AddTorrent, ClientEvent, ClientInput, ClientOutput, Command, HangUpReason, Limits, Source,
    SwarmEvent, SwarmInput, SwarmOutput, TorrentState,
};
use dunlin_metainfo::{Format, InfoHashes, NewFile, NewHashes, NewTorrent, Torrent};
use dunlin_simnet::{Delivery, Latency, Network, NetworkConfig, Transfer};
use dunlin_tracker::{AnnounceEvent, AnnounceFailure, AnnounceReply, AnnounceRequest};
use dunlin_wire::{Handshake, Message, Reserved};
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

pub const T: TorrentId = TorrentId(7);
pub const HOUR: Duration = Duration::from_secs(3600);
/// How long a block that goes to a stranger takes from disk, at least.
const READ: Duration = Duration::from_millis(1);
pub const TRACKER: &str = "http://tracker.example/announce";

/// What travels to one end of a connection, or to a host.
#[derive(Clone, Debug)]
pub enum Parcel {
    Syn {
        dialler: usize,
        torrent: TorrentId,
        conn: ConnId,
    },
    Accepted(ConnId),
    Refused {
        torrent: TorrentId,
        remote: Endpoint,
    },
    Handshake(ConnId, Handshake),
    Message(ConnId, Message),
    Piece(ConnId, BlockRef, bool),
    /// A block that goes to a stranger is back from disk.
    Read(ConnId, BlockRef, bool),
    /// The uplink is free for the next block of a connection to a stranger.
    Uplink(ConnId),
    Fin(ConnId),
    Input(ClientInput),
}

/// One end of a connection.
#[derive(Clone, Copy, Debug)]
pub struct End {
    pub host: usize,
    pub conn: ConnId,
}

pub struct Host {
    /// `None` is a scripted host.
    pub client: Option<Client>,
    pub address: SocketAddr,
    pub listens: bool,
    pub ends: BTreeMap<ConnId, End>,
    pub torrents: BTreeMap<ConnId, TorrentId>,
    pub disk: Disk,
    inputs: VecDeque<ClientInput>,
    pub events: Vec<ClientEvent>,
    pub swarm_events: Vec<SwarmEvent>,
    /// Torrents that the node has forgotten.
    pub removed: Vec<TorrentId>,
    pub hang_ups: Vec<HangUpReason>,
    /// What a scripted host got.
    pub got: Vec<(ConnId, Parcel)>,
    pub lies: bool,
    pub mute: bool,
    pub dead: bool,
    /// A stranger: its connections carry bytes, and somebody else plays it.
    pub wired: bool,
}

pub struct World {
    /// The clock, and what is on its way: parcels between hosts, answers of disks and of the
    /// tracker.
    network: Network<usize, Parcel>,
    pub hosts: Vec<Host>,
    next_conn: u64,
    delay: Duration,
    swarms: BTreeMap<InfoHash, Vec<SocketAddr>>,
    /// Announces that came: (host, url, request).
    pub announces: Vec<(usize, String, AnnounceRequest)>,
    /// Trackers that do not answer well, by a part of their address.
    pub broken: BTreeMap<String, AnnounceFailure>,
    pub log: Vec<String>,
    /// Whether a log is kept; without one long runs need little memory.
    pub keeps_log: bool,
    pub wires: Wires,
    /// How long a dial takes that nobody answers.
    pub refused_after: Duration,
}

/// The address of a host.
pub fn address(host: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, (host >> 8) as u8, host as u8], 6881))
}

/// A torrent of files with these lengths, whose hashes nobody looks at.
pub fn torrent(format: Format, piece_length: u32, lengths: &[u64]) -> Arc<Torrent> {
    let files = lengths.iter().enumerate().map(|(index, length)| NewFile {
        path: vec![format!("f{index:04}")],
        length: *length,
        executable: false,
        link: None,
    });
    let new = NewTorrent::folder("some".into(), files.collect(), piece_length, format).unwrap();
    let pieces = new.geometry().pieces() as usize;
    let hash = |piece: usize| {
        let mut hash = [7; 32];
        hash[..8].copy_from_slice(&(piece as u64).to_be_bytes());
        hash
    };
    let hashes = NewHashes {
        pieces: if format.has_v1() { vec![[5; 20]; pieces] } else { Vec::new() },
        roots: if format.has_v2() { (0..pieces).map(hash).collect() } else { Vec::new() },
    };
    Arc::new(new.finish(&hashes).unwrap())
}

pub fn peer_id(host: usize) -> PeerId {
    let mut id = *b"-DN0100-000000000000";
    id[12..].copy_from_slice(format!("{host:08}").as_bytes());
    PeerId(id)
}

/// A torrent as most tests add it: with one tracker, to be seeded for ever.
pub fn adding(source: Source, host: usize) -> AddTorrent {
    AddTorrent {
        torrent: T,
        source,
        trackers: vec![vec![TRACKER.into()]],
        peers: Vec::new(),
        priorities: Vec::new(),
        sequential: false,
        limits: Limits::default(),
        seed: Some(dunlin_engine::io::SeedGoal::default()),
        peer_id: peer_id(host),
        key: host as u32,
        paused: false,
        serve_only: false,
    }
}

pub fn magnet(hashes: InfoHashes) -> Source {
    Source::Magnet { hashes, name: None }
}

impl Default for World {
    fn default() -> World {
        let mut world = World {
            network: Network::new(NetworkConfig::default(), Rng::new(1)),
            hosts: Vec::new(),
            next_conn: 0,
            delay: Duration::ZERO,
            swarms: BTreeMap::new(),
            announces: Vec::new(),
            broken: BTreeMap::new(),
            log: Vec::new(),
            keeps_log: true,
            wires: Wires::default(),
            refused_after: Duration::from_millis(10),
        };
        world.set_delay(Duration::from_millis(10));
        world
    }
}

impl World {
    pub fn new() -> World {
        World::default()
    }

    /// A host with a client.
    pub fn host(&mut self, config: ClientConfig) -> usize {
        let index = self.scripted();
        let config = ClientConfig { port: 6881, ..config };
        self.hosts[index].client = Some(Client::new(config));
        index
    }

    /// A host that says what the test tells it to.
    pub fn scripted(&mut self) -> usize {
        let index = self.hosts.len() + 1;
        if self.hosts.is_empty() {
            // Number 0 is nobody, so that numbers and addresses agree.
            self.hosts.push(Host::new(0));
        }
        let index = index.max(1);
        self.hosts.push(Host::new(self.hosts.len()));
        assert!(index >= 1);
        self.hosts.len() - 1
    }

    /// `leechers` hosts behind one seed of `torrent`, all with default policies; returns the
    /// numbers.
    pub fn swarm(&mut self, torrent: &Arc<Torrent>, leechers: usize, seed: u64) -> Vec<usize> {
        (0..=leechers)
            .map(|number| {
                let host = self.host(ClientConfig {
                    seed: seed * 100 + number as u64,
                    ..ClientConfig::default()
                });
                self.hosts[host].disk.full_copy = number == 0;
                self.add(host, adding(Source::Metainfo(torrent.clone()), host));
                host
            })
            .collect()
    }

    pub fn client(&self, host: usize) -> &Client {
        self.hosts[host].client.as_ref().unwrap()
    }

    pub fn add(&mut self, host: usize, add: AddTorrent) {
        self.command(host, Command::Add(Box::new(add)));
    }

    pub fn command(&mut self, host: usize, command: Command) {
        self.input(host, command);
    }

    pub fn input(&mut self, host: usize, input: impl Into<ClientInput>) {
        self.hosts[host].inputs.push_back(input.into());
        self.settle();
    }

    pub fn state(&self, host: usize) -> Option<TorrentState> {
        self.client(host).view(self.now(), T).map(|view| view.state)
    }

    pub fn seeds(&self, host: usize) -> bool {
        self.state(host) == Some(TorrentState::Seeding)
    }

    pub fn now(&self) -> Time {
        self.network.now()
    }

    /// What a message takes from one host to another.
    pub fn delay(&self) -> Duration {
        self.delay
    }

    /// What a message takes from one host to another, and a tracker to answer, from now on.
    pub fn set_delay(&mut self, delay: Duration) {
        self.delay = delay;
        self.network.set_latency(Latency::Constant(delay));
        self.network.set_loopback(Latency::Constant(delay));
    }

    /// Bytes a second that a host gives; 0 is without limit.
    pub fn set_uplink(&mut self, host: usize, rate: u64) {
        self.network.set_rate(host, Some(Rate(rate)).filter(|rate| rate.0 > 0));
    }

    fn post(&mut self, from: usize, to: usize, message: Parcel) {
        self.network.send(Transfer { from, to, bytes: 0, message, sent: None });
    }

    /// Puts the clock forward; nothing happens by this alone.
    pub fn advance_clock(&mut self, to: Time) {
        self.network.advance_to(to);
    }

    /// Runs until `done`, at most for `most`; says whether it was done.
    pub fn run(&mut self, most: Duration, done: impl Fn(&World) -> bool) -> bool {
        let end = self.now() + most;
        let mut steps = 0_u64;
        loop {
            steps += 1;
            assert!(steps < 3_000_000, "the world does not come to rest");
            self.settle();
            if done(self) {
                return true;
            }
            let Some(next) = self.next_event().filter(|next| *next <= end) else {
                self.advance_clock(end);
                return false;
            };
            self.advance(next);
        }
    }

    /// When something happens next.
    pub fn next_event(&self) -> Option<Time> {
        let mail = self.network.next_at();
        let living = self.hosts.iter().filter(|host| !host.dead);
        let wakes = living.filter_map(|host| host.client.as_ref()?.next_timeout());
        mail.into_iter().chain(wakes.map(|(at, _)| at)).min()
    }

    /// It is that late: what is due happens.
    pub fn advance(&mut self, to: Time) {
        self.advance_clock(to);
        self.deliver_due();
        let now = self.now();
        for host in self.hosts.iter_mut().filter(|host| !host.dead) {
            let wake = host.client.as_ref().and_then(Client::next_timeout);
            if wake.is_some_and(|(at, _)| at <= now) {
                host.inputs.push_back(ClientInput::Timeout);
            }
        }
        self.settle();
    }

    /// Lets time pass.
    pub fn pass(&mut self, time: Duration) {
        self.run(time, |_| false);
    }

    fn deliver_due(&mut self) {
        while let Some(Delivery { to, message, .. }) = self.network.next_delivery(self.now()) {
            self.deliver(to, message);
            self.settle();
        }
    }

    fn deliver(&mut self, to: usize, parcel: Parcel) {
        if self.hosts[to].dead {
            return;
        }
        if let Parcel::Syn { dialler, torrent, conn } = parcel {
            self.accept(to, dialler, torrent, conn);
            return;
        }
        if let Parcel::Read(conn, block, good) = parcel {
            self.block_is_read(conn, block, good);
            return;
        }
        if let Parcel::Uplink(conn) = parcel {
            self.wires.all.entry(conn).and_modify(|wire| wire.waits = false);
            self.on_wire(conn, |_| {});
            return;
        }
        let host = &mut self.hosts[to];
        let known = |conn: &ConnId| host.ends.contains_key(conn);
        let input = match parcel.clone() {
            Parcel::Syn { .. } | Parcel::Read(..) | Parcel::Uplink(_) => return,
            Parcel::Accepted(conn) => {
                let Some(end) = host.ends.get(&conn).copied() else { return };
                let torrent = host.torrents[&conn];
                let remote = Endpoint::Socket(self.hosts[end.host].address);
                SwarmInput::Connected { torrent, conn, remote }.into()
            }
            Parcel::Refused { torrent, remote } => {
                SwarmInput::DialFailed { torrent, remote }.into()
            }
            Parcel::Handshake(conn, handshake) if known(&conn) => {
                SwarmInput::Handshake { conn, handshake }.into()
            }
            Parcel::Message(conn, message) if known(&conn) => {
                SwarmInput::Message { conn, message }.into()
            }
            Parcel::Piece(conn, block, good) if known(&conn) => {
                host.disk.park(conn, block, good);
                SwarmInput::BlockArrived { conn, block }.into()
            }
            Parcel::Fin(conn) => {
                if host.ends.remove(&conn).is_none() {
                    return;
                }
                SwarmInput::Disconnected { conn }.into()
            }
            Parcel::Input(input) => input,
            _ => return,
        };
        let host = &mut self.hosts[to];
        match (&host.client, &parcel) {
            (Some(_), _) => host.inputs.push_back(input),
            (
                None,
                Parcel::Accepted(conn)
                | Parcel::Handshake(conn, _)
                | Parcel::Message(conn, _)
                | Parcel::Piece(conn, ..)
                | Parcel::Fin(conn),
            ) if !host.wired => host.got.push((*conn, parcel)),
            _ => {}
        }
    }

    fn accept(&mut self, to: usize, dialler: usize, torrent: TorrentId, conn: ConnId) {
        if !self.hosts[to].listens {
            let remote = Endpoint::Socket(self.hosts[to].address);
            self.post(to, dialler, Parcel::Refused { torrent, remote });
            return;
        }
        self.next_conn += 1;
        let theirs = ConnId(self.next_conn);
        let port = 40_000 + (self.next_conn % 20_000) as u16;
        let remote = SocketAddr::new(self.hosts[dialler].address.ip(), port);
        self.hosts[to].ends.insert(theirs, End { host: dialler, conn });
        self.hosts[dialler].ends.insert(conn, End { host: to, conn: theirs });
        self.hosts[dialler].torrents.insert(conn, torrent);
        if self.hosts[dialler].wired {
            self.wires.all.insert(theirs, Wire::new(to, dialler, conn));
            self.wires.opened.push((theirs, true));
        } else if self.hosts[to].wired {
            self.wires.all.insert(conn, Wire::new(dialler, to, theirs));
            self.wires.opened.push((conn, false));
        }
        let host = &mut self.hosts[to];
        if host.client.is_some() {
            let remote = Endpoint::Socket(remote);
            host.inputs.push_back(SwarmInput::Incoming { conn: theirs, remote }.into());
        }
        self.post(to, dialler, Parcel::Accepted(conn));
    }

    /// Works off every input until nothing moves.
    pub fn settle(&mut self) {
        loop {
            let mut moved = false;
            for index in 0..self.hosts.len() {
                while let Some(input) = self.hosts[index].inputs.pop_front() {
                    moved = true;
                    if self.hosts[index].dead {
                        continue;
                    }
                    if self.keeps_log {
                        let line = trace_text::client_input(&input);
                        self.log.push(format!("{:?} {index} <- {line}", self.now()));
                    }
                    let (now, host) = (self.now(), &mut self.hosts[index]);
                    host.client.as_mut().unwrap().handle(now, input);
                    while let Some(output) = self.hosts[index].client.as_mut().unwrap().poll() {
                        if self.keeps_log {
                            let line = trace_text::client_output(&output);
                            self.log.push(format!("{:?} {index} -> {line}", self.now()));
                        }
                        self.perform(index, output);
                    }
                    self.hosts[index].client.as_ref().unwrap().check();
                }
            }
            if !moved {
                return;
            }
        }
    }

    fn perform(&mut self, index: usize, output: ClientOutput) {
        match output {
            ClientOutput::Swarm(output) => self.perform_swarm(index, output),
            ClientOutput::Open { .. }
            | ClientOutput::Want { .. }
            | ClientOutput::FinishFile { .. }
            | ClientOutput::HashBlocks(_)
            | ClientOutput::Close { .. } => {
                let answer = self.hosts[index].disk.perform(output);
                self.disk_answers(index, answer);
            }
            ClientOutput::Announce { torrent, tracker, url, request } => {
                let result = self.announce(index, &url, &request);
                let input = ClientInput::Announced { torrent, tracker, result };
                self.network.schedule(self.now() + self.delay, index, Parcel::Input(input));
            }
            ClientOutput::Removed { torrent } => self.hosts[index].removed.push(torrent),
            ClientOutput::Event(event) => self.hosts[index].events.push(event),
        }
    }

    fn perform_swarm(&mut self, index: usize, output: SwarmOutput) {
        match output {
            SwarmOutput::Dial { torrent, remote } => self.dial_from(index, torrent, remote),
            SwarmOutput::HangUp { conn, reason } => {
                self.hosts[index].hang_ups.push(reason);
                self.wires.close(conn);
                if let Some(end) = self.hosts[index].ends.remove(&conn) {
                    self.post(index, end.host, Parcel::Fin(end.conn));
                }
            }
            SwarmOutput::SendHandshake { conn, handshake }
                if self.wires.all.contains_key(&conn) =>
            {
                self.on_wire(conn, |wire| wire.queue_handshake(&handshake));
            }
            SwarmOutput::Send { conn, message } if self.wires.all.contains_key(&conn) => {
                self.on_wire(conn, |wire| wire.queue(&message));
            }
            SwarmOutput::SendHandshake { conn, handshake } => {
                let end = self.hosts[index].ends[&conn];
                self.post(index, end.host, Parcel::Handshake(end.conn, handshake));
            }
            SwarmOutput::Send { conn, message } => {
                let mut bytes = Vec::new();
                dunlin_wire::encode_into(&message, &mut bytes);
                assert_eq!(Message::decode(&bytes[4..]), Ok(Some(message.clone())));
                if let Some(end) = self.hosts[index].ends.get(&conn).copied() {
                    self.post(index, end.host, Parcel::Message(end.conn, message));
                }
            }
            SwarmOutput::Reserve { .. }
            | SwarmOutput::Release(_)
            | SwarmOutput::Spill(_)
            | SwarmOutput::Keep { .. }
            | SwarmOutput::Drop { .. }
            | SwarmOutput::Hash(_)
            | SwarmOutput::Digest(_)
            | SwarmOutput::Write(_) => {
                let answer = self.hosts[index].disk.perform_swarm(output);
                self.disk_answers(index, answer.map(ClientInput::Swarm));
            }
            SwarmOutput::Serve { conn, block } => self.serve(index, conn, block),
            SwarmOutput::Event(event) => self.hosts[index].swarm_events.push(event),
        }
    }

    fn dial_from(&mut self, index: usize, torrent: TorrentId, remote: Endpoint) {
        self.next_conn += 1;
        let conn = ConnId(self.next_conn);
        let Endpoint::Socket(address) = remote else { panic!("{remote:?}") };
        match self.hosts.iter().position(|host| host.address == address) {
            Some(to) => self.post(index, to, Parcel::Syn { dialler: index, torrent, conn }),
            None => {
                let refused = Parcel::Refused { torrent, remote };
                self.network.schedule(self.now() + self.refused_after, index, refused);
            }
        }
    }

    /// The disk answers at once, or after as long as the test says.
    fn disk_answers(&mut self, index: usize, answer: Option<ClientInput>) {
        let Some(input) = answer else { return };
        let delay = self.hosts[index].disk.delay;
        if delay == Duration::ZERO {
            self.hosts[index].inputs.push_back(input);
        } else {
            self.network.schedule(self.now() + delay, index, Parcel::Input(input));
        }
    }

    fn serve(&mut self, index: usize, conn: ConnId, block: BlockRef) {
        let Some(end) = self.hosts[index].ends.get(&conn).copied() else { return };
        let wired = self.wires.all.contains_key(&conn);
        let host = &mut self.hosts[index];
        if let Some(error) = host.disk.unreadable(block.piece) {
            host.inputs.push_back(SwarmInput::ServeFailed { conn, block, error }.into());
            return;
        }
        if wired {
            // What it takes of the uplink is counted when it leaves.
            let good = !host.lies && !host.mute;
            let at = self.network.now() + READ.max(host.disk.delay);
            self.wires.all.entry(conn).and_modify(|wire| wire.read_block(block));
            self.network.schedule(at, index, Parcel::Read(conn, block, good));
            return;
        }
        let (bytes, mute) = (u64::from(block.len), host.mute);
        let message = Parcel::Piece(end.conn, block, !host.lies);
        // The block counts as sent when the uplink has taken it.
        let sent = Parcel::Input(SwarmInput::BlockSent { conn, block }.into());
        if mute {
            let at = self.network.occupy_uplink(index, bytes);
            self.network.schedule(at, index, sent);
        } else {
            let (from, to, sent) = (index, end.host, Some(sent));
            self.network.send(Transfer { from, to, bytes, message, sent });
        }
    }

    fn block_is_read(&mut self, conn: ConnId, block: BlockRef, good: bool) {
        let Some(wire) = self.wires.all.get_mut(&conn) else { return };
        let node = wire.node;
        if wire.block_is_read(block, good) {
            self.hosts[node].inputs.push_back(SwarmInput::ServeCancelled { conn, block }.into());
        }
        self.on_wire(conn, |_| {});
    }

    /// Queues something on a connection to a stranger, and hands over what its system takes.
    fn on_wire(&mut self, conn: ConnId, queue: impl FnOnce(&mut Wire)) {
        let Some(wire) = self.wires.all.get_mut(&conn) else { return };
        queue(wire);
        let node = wire.node;
        let host = &mut self.hosts[node];
        // An uplink takes a block at a time, and honest peers' blocks have their turns between.
        while wire.can_leave() {
            let limited = wire.is_block_next() && self.network.rate(node).is_some();
            let free_at = self.network.uplink_free_at(node);
            if limited && free_at > self.network.now() {
                if !std::mem::replace(&mut wire.waits, true) {
                    self.network.schedule(free_at, node, Parcel::Uplink(conn));
                }
                return;
            }
            let (left, block) = wire.leave();
            if limited {
                self.network.occupy_uplink(node, left as u64);
            }
            host.inputs.extend(block.map(|block| SwarmInput::BlockSent { conn, block }.into()));
        }
    }

    /// A stranger reads from a connection.
    pub fn stranger_reads(&mut self, conn: ConnId, most: usize) -> Vec<u8> {
        let bytes = self.wires.all.get_mut(&conn).map(|wire| wire.take(most)).unwrap_or_default();
        self.on_wire(conn, |_| {});
        self.settle();
        bytes
    }

    /// A stranger closes a connection.
    pub fn stranger_closes(&mut self, conn: ConnId) {
        if let Some(wire) = self.wires.all.get_mut(&conn) {
            wire.closed = true;
        }
    }

    /// Nodes read what strangers have sent, each connection a turn; returns whether more is there.
    pub fn read_wires(&mut self) -> bool {
        let conns: Vec<ConnId> = self.wires.all.keys().copied().collect();
        let mut more = false;
        for conn in conns {
            let Some(wire) = self.wires.all.get(&conn) else { continue };
            let (node, mut left) = (wire.node, byte_streams::TURN);
            while let Some(wire) = self.wires.all.get_mut(&conn)
                && let Some(found) = wire.read(conn, &mut left)
            {
                self.found(node, conn, found);
            }
            if self.wires.all.get(&conn).is_some_and(Wire::is_over) {
                self.wire_ends(conn);
                self.settle();
            }
            more |= self.wires.all.get(&conn).is_some_and(|wire| wire.is_readable());
        }
        more
    }

    /// A stranger has closed, or its bytes make no sense.
    fn wire_ends(&mut self, conn: ConnId) {
        if let Some(wire) = self.wires.close(conn) {
            self.hosts[wire.stranger].ends.remove(&wire.theirs);
            self.hosts[wire.node].ends.remove(&conn);
            self.hosts[wire.node].inputs.push_back(SwarmInput::Disconnected { conn }.into());
        }
    }

    /// One thing that a client read; everything comes to rest before the next.
    fn found(&mut self, node: usize, conn: ConnId, found: Found) {
        if !self.wires.all.contains_key(&conn) || self.hosts[node].dead {
            return;
        }
        match found {
            Found::Input(SwarmInput::Message { conn, message: Message::Cancel(block) }) => {
                let message = Message::Cancel(block);
                self.hosts[node].inputs.push_back(SwarmInput::Message { conn, message }.into());
                if self.wires.all.get_mut(&conn).is_some_and(|wire| wire.cancel(block)) {
                    self.hosts[node]
                        .inputs
                        .push_back(SwarmInput::ServeCancelled { conn, block }.into());
                }
            }
            Found::Input(input) => self.hosts[node].inputs.push_back(input.into()),
            Found::Block(block, good) => {
                self.hosts[node].disk.park(conn, block, good);
                self.hosts[node].inputs.push_back(SwarmInput::BlockArrived { conn, block }.into());
            }
            Found::Malformed => {
                self.hosts[node].inputs.push_back(SwarmInput::Malformed { conn }.into());
                self.settle();
                // The client has hung up; if it did not, there is still nothing to read.
                self.wire_ends(conn);
            }
        }
        self.settle();
    }

    fn announce(
        &mut self,
        host: usize,
        url: &str,
        request: &AnnounceRequest,
    ) -> Result<Box<AnnounceReply>, AnnounceFailure> {
        self.announces.push((host, url.to_owned(), request.clone()));
        let failure = self.broken.iter().find(|(part, _)| url.contains(part.as_str()));
        if let Some((_, failure)) = failure {
            return Err(failure.clone());
        }
        let address = self.hosts[host].address;
        let swarm = self.swarms.entry(request.info_hash).or_default();
        swarm.retain(|other| *other != address);
        let peers = swarm.clone();
        if request.event != AnnounceEvent::Stopped {
            swarm.push(address);
        }
        let interval = Some(Duration::from_secs(1800));
        Ok(Box::new(AnnounceReply { interval, peers, ..AnnounceReply::default() }))
    }
}

impl Host {
    fn new(index: usize) -> Host {
        Host {
            client: None,
            address: address(index),
            listens: true,
            ends: BTreeMap::new(),
            torrents: BTreeMap::new(),
            disk: Disk::default(),
            inputs: VecDeque::new(),
            events: Vec::new(),
            swarm_events: Vec::new(),
            removed: Vec::new(),
            hang_ups: Vec::new(),
            got: Vec::new(),
            lies: false,
            mute: false,
            dead: false,
            wired: false,
        }
    }
}

/// The handshake of a host, with the fast and the extension protocol.
pub fn handshake(host: usize, info_hash: InfoHash) -> Handshake {
    Handshake { reserved: Reserved::INTERNET, info_hash, peer_id: peer_id(host) }
}

/// The handshake of a host that knows BEP 3 alone.
pub fn plain_handshake(host: usize, info_hash: InfoHash) -> Handshake {
    Handshake { reserved: Reserved::default(), ..handshake(host, info_hash) }
}

/// A message of the extension protocol; 0 is its handshake.
pub fn extended(id: u8, payload: impl Into<Bytes>) -> Message {
    Message::Extended { id, payload: payload.into() }
}

/// A request.
pub fn request(piece: u32, begin: u32, length: u32) -> Message {
    Message::Request(BlockRef { piece: PieceIndex(piece), begin, len: length })
}
