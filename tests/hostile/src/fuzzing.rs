//! Checks that hold for any bytes. The fuzz target and the replay of its corpus call them. The
//! world here has no queue of events on purpose: the input chooses each next one, in orders no
//! network would have.

use crate::world::disk::Disk;
use crate::world::{T, adding, magnet, torrent};
use bytes::Bytes;
use dunlin_base::{BlockRef, ConnId, Endpoint, PeerId, PieceIndex, Rate, Time};
use dunlin_engine::client::{Client, ClientConfig};
use dunlin_engine::io::{
    ClientEvent, ClientInput, ClientOutput, Command, Limits, LocalError, Priority, Source,
    SwarmInput, SwarmOutput,
};
use dunlin_metainfo::{Format, Geometry, Torrent};
use dunlin_tracker::{AnnounceFailure, AnnounceReply};
use dunlin_wire::extended::{ExtendedHandshake, MetadataMessage};
use dunlin_wire::{Handshake, HashRange, Message, Reserved};
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Steps that are taken of one input: more find nothing that fewer do not.
const STEPS: usize = 2000;
/// Connections at a time.
const CONNS: usize = 12;

/// Reads choices off bytes; zeros at their end.
struct Choices<'a>(&'a [u8]);

impl Choices<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::from(self.byte()) % bound.max(1)
    }

    /// A number that is mostly small.
    fn number(&mut self) -> u32 {
        match self.byte() {
            255 => u32::from_be_bytes([self.byte(), self.byte(), self.byte(), self.byte()]),
            small => u32::from(small) / 4,
        }
    }
}

/// A client, its disk, and what it waits for.
struct World {
    client: Client,
    now: Time,
    torrent: Arc<Torrent>,
    geometry: Geometry,
    disk: Disk,
    conns: BTreeMap<ConnId, SocketAddr>,
    next_conn: u64,
    /// Blocks that were asked of each connection, newest last.
    asked: VecDeque<(ConnId, BlockRef)>,
    serves: VecDeque<(ConnId, BlockRef)>,
    dials: VecDeque<Endpoint>,
    answers: VecDeque<ClientInput>,
    announces: VecDeque<dunlin_engine::io::TrackerIndex>,
    /// The client has stopped, and takes nothing more.
    stopped: bool,
}

/// A client and its world, driven by any bytes: connections, handshakes, messages, blocks, answers
/// of the disk in any order, acknowledgements, time and commands. After every step all invariants
/// hold, and nothing is asked of the world that makes no sense.
///
/// # Panics
/// If a property does not hold.
pub fn client(data: &[u8]) {
    let mut choices = Choices(data);
    let mut world = World::begin(&mut choices);
    for _ in 0..STEPS {
        if choices.0.is_empty() || world.stopped {
            break;
        }
        world.step(&mut choices);
    }
    world.end();
}

impl World {
    fn begin(choices: &mut Choices<'_>) -> World {
        let flags = choices.byte();
        let format = [Format::V1, Format::V2, Format::Hybrid][choices.below(3)];
        let length = 1 + u64::from(choices.byte()) * 3000;
        let lengths = if flags & 1 == 0 { vec![length] } else { vec![0, length, 5, 0, 70_000] };
        let torrent = torrent(format, 32_768, &lengths);
        let config = ClientConfig {
            seed: u64::from(choices.byte()),
            memory: 1 << 20,
            connections: 10,
            connections_per_torrent: 8,
            connections_per_ip: 3,
            slots: 2,
            upload_window: 3,
            port: 6881,
            ..ClientConfig::default()
        };
        let mut world = World {
            client: Client::new(config),
            now: Time::ZERO,
            geometry: torrent.geometry(dunlin_metainfo::BLOCK_LENGTH),
            disk: Disk::default(),
            conns: BTreeMap::new(),
            next_conn: 0,
            asked: VecDeque::new(),
            serves: VecDeque::new(),
            dials: VecDeque::new(),
            answers: VecDeque::new(),
            announces: VecDeque::new(),
            stopped: false,
            torrent,
        };
        world.disk.full_copy = flags & 2 != 0;
        world.disk.budget = (flags & 4 != 0).then_some(100_000);
        let source = if flags & 8 != 0 {
            magnet(world.torrent.hashes)
        } else {
            Source::Metainfo(Arc::clone(&world.torrent))
        };
        let mut add = adding(source, 1);
        if flags & 16 != 0 {
            add.seed = None;
        }
        world.input(Command::Add(Box::new(add)));
        world
    }

    /// One input, all outputs, all invariants.
    fn input(&mut self, input: impl Into<ClientInput>) {
        self.client.handle(self.now, input.into());
        while let Some(output) = self.client.poll() {
            self.output(output);
        }
        self.client.check();
    }

    fn output(&mut self, output: ClientOutput) {
        match output {
            ClientOutput::Swarm(output) => self.swarm_output(output),
            ClientOutput::Open { .. }
            | ClientOutput::Want { .. }
            | ClientOutput::FinishFile { .. }
            | ClientOutput::HashBlocks(_)
            | ClientOutput::Close { .. } => self.answers.extend(self.disk.perform(output)),
            ClientOutput::Announce { tracker, .. } => self.announces.push_back(tracker),
            ClientOutput::Removed { torrent } => assert_eq!(torrent, T, "it was never added"),
            ClientOutput::Event(event) => self.stopped |= event == ClientEvent::Stopped,
        }
    }

    fn swarm_output(&mut self, output: SwarmOutput) {
        match output {
            SwarmOutput::Dial { remote, .. } => self.dials.push_back(remote),
            SwarmOutput::HangUp { conn, .. } => self.forget(conn),
            SwarmOutput::SendHandshake { conn, .. } => self.is_open(conn, &"a handshake"),
            SwarmOutput::Send { conn, message } => {
                self.is_open(conn, &message);
                let mut bytes = Vec::new();
                dunlin_wire::encode_into(&message, &mut bytes);
                assert_eq!(Message::decode(&bytes[4..]), Ok(Some(message.clone())));
                if let Message::Request(block) = message {
                    assert!(self.geometry.check_request(block), "asks for what is not there");
                    self.asked.push_back((conn, block));
                }
            }
            SwarmOutput::Serve { conn, block } => {
                self.is_open(conn, &block);
                let have = self.disk.have(T).is_some_and(|have| have.has(block.piece));
                assert!(have, "serves what it has not");
                self.serves.push_back((conn, block));
            }
            SwarmOutput::Reserve { .. }
            | SwarmOutput::Release(_)
            | SwarmOutput::Spill(_)
            | SwarmOutput::Keep { .. }
            | SwarmOutput::Drop { .. }
            | SwarmOutput::Hash(_)
            | SwarmOutput::Digest(_)
            | SwarmOutput::Write(_) => {
                let answer = self.disk.perform_swarm(output);
                self.answers.extend(answer.map(ClientInput::Swarm));
            }
            SwarmOutput::Event(_) => {}
        }
    }

    fn is_open(&self, conn: ConnId, what: &dyn std::fmt::Debug) {
        assert!(self.conns.contains_key(&conn), "{what:?} after {conn:?} is closed");
    }

    fn forget(&mut self, conn: ConnId) {
        assert!(self.conns.remove(&conn).is_some(), "{conn:?} is closed twice");
        self.asked.retain(|(of, _)| *of != conn);
        self.serves.retain(|(of, _)| *of != conn);
    }

    fn conn(&self, choices: &mut Choices<'_>) -> Option<ConnId> {
        let index = choices.below(self.conns.len());
        self.conns.keys().nth(index).copied()
    }

    fn step(&mut self, choices: &mut Choices<'_>) {
        match choices.byte() % 16 {
            0 => self.connects(choices),
            1 => self.greets(choices),
            2..=6 => {
                if let Some(conn) = self.conn(choices) {
                    let message = message(choices, &self.torrent);
                    self.input(SwarmInput::Message { conn, message });
                }
            }
            7 | 8 => self.block(choices),
            9 | 10 => self.disk_answers(choices),
            11 => self.acknowledges(choices),
            12 => self.passes(choices),
            13 => self.closes(choices),
            14 => self.tracker_answers(choices),
            _ => self.commands(choices),
        }
    }

    fn connects(&mut self, choices: &mut Choices<'_>) {
        if self.conns.len() >= CONNS {
            return;
        }
        self.next_conn += 1;
        let conn = ConnId(self.next_conn);
        let dialled = if choices.byte().is_multiple_of(2) { self.dials.pop_front() } else { None };
        match dialled {
            Some(remote) if choices.byte().is_multiple_of(3) => {
                self.input(SwarmInput::DialFailed { torrent: T, remote });
            }
            Some(remote) => {
                let Endpoint::Socket(address) = remote else { return };
                self.conns.insert(conn, address);
                self.input(SwarmInput::Connected { torrent: T, conn, remote });
            }
            None => {
                let address = address(choices);
                self.conns.insert(conn, address);
                self.input(SwarmInput::Incoming { conn, remote: Endpoint::Socket(address) });
            }
        }
    }

    fn greets(&mut self, choices: &mut Choices<'_>) {
        let Some(conn) = self.conn(choices) else { return };
        let kind = choices.byte();
        let names: Vec<_> = self.torrent.hashes.wire().collect();
        let mut info_hash = names[usize::from(kind) % names.len()];
        if kind > 250 {
            info_hash.0[0] ^= 1;
        }
        let reserved = if kind & 4 == 0 { Reserved::INTERNET } else { Reserved::default() };
        let peer_id = PeerId([choices.byte() % 8; 20]);
        self.input(SwarmInput::Handshake {
            conn,
            handshake: Handshake { reserved, info_hash, peer_id },
        });
    }

    /// A block comes: one that was asked for, or any other; right or wrong.
    fn block(&mut self, choices: &mut Choices<'_>) {
        let kind = choices.byte();
        let index = choices.below(self.asked.len());
        let asked = self.asked.get(index).copied().filter(|_| kind & 3 != 0);
        let (conn, block) = match asked {
            Some(asked) => {
                self.asked.remove(index);
                asked
            }
            None => {
                let Some(conn) = self.conn(choices) else { return };
                let (piece, begin) = (choices.number(), choices.number().wrapping_mul(4096));
                let len = 1 + choices.number() % 16_384;
                (conn, BlockRef { piece: PieceIndex(piece), begin, len })
            }
        };
        self.disk.park(conn, block, kind & 12 != 0);
        self.input(SwarmInput::BlockArrived { conn, block });
    }

    /// The disk answers: in order, but hashes of pieces, which other threads compute.
    fn disk_answers(&mut self, choices: &mut Choices<'_>) {
        let kind = choices.byte();
        let hashes = |input: &ClientInput| {
            matches!(
                input,
                ClientInput::Swarm(
                    SwarmInput::PieceHashed { .. }
                        | SwarmInput::BlockDigests { .. }
                        | SwarmInput::MemoryFree
                )
            )
        };
        let found = self.answers.iter().position(hashes).filter(|_| kind & 1 == 1);
        let Some(answer) = self.answers.remove(found.unwrap_or(0)) else { return };
        self.input(answer);
    }

    fn acknowledges(&mut self, choices: &mut Choices<'_>) {
        let index = choices.below(self.serves.len());
        let Some((conn, block)) = self.serves.remove(index) else { return };
        let input = match choices.byte() % 8 {
            0 => SwarmInput::ServeCancelled { conn, block },
            1 => {
                self.disk.changed.insert(block.piece);
                let message = "the file has changed".to_owned();
                let error = LocalError { message, disk_full: false };
                SwarmInput::ServeFailed { conn, block, error }
            }
            _ => SwarmInput::BlockSent { conn, block },
        };
        self.input(input);
    }

    fn passes(&mut self, choices: &mut Choices<'_>) {
        let unit = [1_u64, 100, 1000, 20_000][choices.below(4)];
        self.now += Duration::from_millis(unit * u64::from(choices.byte()));
        self.input(ClientInput::Timeout);
    }

    fn closes(&mut self, choices: &mut Choices<'_>) {
        let Some(conn) = self.conn(choices) else { return };
        if choices.byte().is_multiple_of(2) {
            self.forget(conn);
            self.input(SwarmInput::Disconnected { conn });
        } else {
            self.input(SwarmInput::Malformed { conn });
            assert!(!self.conns.contains_key(&conn), "it goes on with who speaks no protocol");
        }
    }

    fn tracker_answers(&mut self, choices: &mut Choices<'_>) {
        let Some(tracker) = self.announces.pop_front() else { return };
        let result = if choices.byte().is_multiple_of(4) {
            Err(AnnounceFailure::Unreachable("no answer".to_owned()))
        } else {
            let peers = (0..choices.below(20)).map(|_| address(choices)).collect();
            Ok(Box::new(AnnounceReply { peers, ..AnnounceReply::default() }))
        };
        self.input(ClientInput::Announced { torrent: T, tracker, result });
    }

    fn commands(&mut self, choices: &mut Choices<'_>) {
        let command = match choices.byte() % 24 {
            0 => Command::Pause(T),
            1..=3 => Command::Resume(T),
            4 => Command::AddPeers(T, (0..choices.below(9)).map(|_| address(choices)).collect()),
            5 => {
                let rate = Rate(u64::from(choices.byte()) * 1000);
                let limits = Limits { down: Some(rate), up: Some(rate) };
                Command::Limit(choices.byte().is_multiple_of(2).then_some(T), limits)
            }
            6 => Command::Limit(None, Limits::default()),
            7 => {
                let all = [Priority::Skip, Priority::Low, Priority::Normal, Priority::High];
                let files = self.torrent.files.len();
                Command::Prioritize(T, (0..files).map(|_| all[choices.below(4)]).collect())
            }
            8 => Command::Sequential(T, choices.byte().is_multiple_of(2)),
            9 => Command::Announce(T),
            10 if choices.byte() > 200 => Command::Remove(T),
            11 if choices.byte() > 200 => Command::Stop,
            12 => {
                self.disk.full = !self.disk.full;
                return;
            }
            13 => return self.input(SwarmInput::MemoryWanted),
            14 => return self.input(SwarmInput::MemoryFree),
            _ => return,
        };
        self.input(command);
    }

    /// Everybody leaves, the disk answers everything: nothing is held in the end.
    fn end(&mut self) {
        self.input(Command::Stop);
        let mut rounds = 0;
        while let Some(answer) = self.answers.pop_front() {
            self.input(answer);
            rounds += 1;
            assert!(rounds < 10_000, "the end has no end");
        }
        assert!(self.conns.is_empty(), "connections are left after the end");
        assert_eq!(self.disk.reserved(), 0, "memory is held after the end");
    }
}

/// One of a few hosts, of both families.
fn address(choices: &mut Choices<'_>) -> SocketAddr {
    let (host, port) = (choices.byte() % 6, 1000 + u16::from(choices.byte()));
    if host < 4 {
        SocketAddr::from(([192, 0, 2, host], port))
    } else {
        SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(host)], port))
    }
}

fn message(choices: &mut Choices<'_>, torrent: &Torrent) -> Message {
    let range = |choices: &mut Choices<'_>| {
        let (piece, begin) = (choices.number(), (choices.number() % 4) << 14);
        let length = if choices.byte() < 200 { 1 << 14 } else { choices.number() };
        BlockRef { piece: PieceIndex(piece), begin, len: length }
    };
    match choices.byte() % 24 {
        0 => Message::KeepAlive,
        1 => Message::Choke,
        2 | 3 => Message::Unchoke,
        4 => Message::Interested,
        5 => Message::NotInterested,
        6 => Message::Have { piece: choices.number() },
        7 => {
            let length = torrent.geometry(dunlin_metainfo::BLOCK_LENGTH).pieces().div_ceil(8);
            Message::Bitfield((0..length).map(|_| choices.byte()).collect())
        }
        8..=10 => Message::Request(range(choices)),
        11 => Message::Cancel(range(choices)),
        12 => Message::SuggestPiece { piece: choices.number() },
        13 => Message::HaveAll,
        14 => Message::HaveNone,
        15 | 16 => Message::RejectRequest(range(choices)),
        17 => Message::AllowedFast { piece: choices.number() },
        18 => Message::Extended { id: 0, payload: extended(choices, torrent) },
        19 => Message::Extended { id: 1, payload: metadata(choices, torrent) },
        20 => {
            let payload = (0..choices.below(9)).map(|_| choices.byte()).collect();
            Message::Extended { id: choices.byte() % 5, payload }
        }
        21 => Message::HashRequest(hash_range(choices, torrent)),
        22 => Message::HashReject(hash_range(choices, torrent)),
        _ => {
            let hashes = vec![choices.byte(); 32 * (1 + choices.below(6))].into();
            Message::Hashes { range: hash_range(choices, torrent), hashes }
        }
    }
}

fn extended(choices: &mut Choices<'_>, torrent: &Torrent) -> Bytes {
    let right = torrent.info().len() as u32;
    let size = if choices.byte() < 128 { right } else { 1 + choices.number() % (1 << 25) };
    ExtendedHandshake {
        extensions: [("ut_metadata", choices.byte() % 4)].into(),
        port: Some(1 + u16::from(choices.byte())),
        metadata_size: Some(size),
        upload_only: (choices.byte() < 60).then_some(true),
        queue: Some(choices.number()),
        ..ExtendedHandshake::default()
    }
    .encode()
}

fn metadata(choices: &mut Choices<'_>, torrent: &Torrent) -> Bytes {
    let piece = choices.number();
    let info = torrent.info();
    match choices.byte() % 4 {
        0 => MetadataMessage::Request { piece },
        1 => MetadataMessage::Reject { piece },
        kind => {
            let begin = (piece as usize).saturating_mul(16 << 10).min(info.len());
            let end = (begin + (16 << 10)).min(info.len());
            let mut data = info[begin..end].to_vec();
            if kind == 2 {
                data.iter_mut().take(1).for_each(|byte| *byte ^= 1);
            }
            let total_size = info.len() as u32;
            MetadataMessage::Data { piece, total_size, data: data.into() }
        }
    }
    .encode()
}

fn hash_range(choices: &mut Choices<'_>, torrent: &Torrent) -> HashRange {
    let roots: Vec<_> = torrent.files.iter().filter_map(|file| file.root).collect();
    let index = choices.below(roots.len() + 1);
    let root = roots.get(index).copied().unwrap_or([7; 32]);
    let (base, index) = (choices.number() % 4, choices.number() % 4);
    HashRange { root, base, index, length: 1 << choices.below(12), proof: choices.number() % 5 }
}
