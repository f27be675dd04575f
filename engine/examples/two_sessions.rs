//! Two sessions in one process: one seeds, the other downloads. There is no socket, no file and no
//! clock: messages and blocks are handed over in memory, and time goes on when both sides wait.
//!
//! ```sh
//! cargo run -p dunlin-engine --example two_sessions
//! ```

#![allow(clippy::print_stdout, reason = "a program that prints what happened")]

use dunlin_base::{Bitfield, BlockRef, ConnId, Endpoint, PeerId, PieceIndex, Rng, Time, TorrentId};
use dunlin_engine::client::{Client, ClientConfig};
use dunlin_engine::io::{
    AddTorrent, ClientEvent, ClientInput, ClientOutput, Command, Limits, Reason, SeedGoal, Source,
    SwarmInput, SwarmOutput, TorrentState,
};
use dunlin_metainfo::{BLOCK_LENGTH, Format, NewFile, NewHashes, NewTorrent, PieceHashes, Torrent};
use sha1::{Digest, Sha1};
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;

const TORRENT: TorrentId = TorrentId(0);
const PIECE: u32 = 64 << 10;
/// The only connection, on both sides.
const CONN: ConnId = ConnId(1);
/// Who is who.
const SEED: usize = 0;
const DOWNLOAD: usize = 1;

struct Session {
    client: Client,
    /// What is stored of the torrent; pieces that are missing are zeros.
    data: Vec<u8>,
    have: Bitfield,
    started: BTreeMap<PieceIndex, Vec<u8>>,
    parked: BTreeMap<BlockRef, Vec<u8>>,
    state: Option<TorrentState>,
}

/// Two sessions, and what both have yet to take.
struct Pair {
    torrent: Arc<Torrent>,
    sessions: [Session; 2],
    inputs: VecDeque<(usize, ClientInput)>,
    now: Time,
}

/// A torrent of one file of these bytes.
fn torrent(data: &[u8]) -> Arc<Torrent> {
    let (path, length) = (vec!["some".to_owned()], data.len() as u64);
    let file = NewFile { path, length, ..NewFile::default() };
    let new = NewTorrent::single(file, PIECE, Format::V1).expect("a file of some bytes");
    let pieces = data.chunks(PIECE as usize).map(|piece| Sha1::digest(piece).into()).collect();
    let torrent = new.finish(&NewHashes { pieces, roots: Vec::new() });
    Arc::new(torrent.expect("a hash for each piece"))
}

fn address(session: usize) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, session as u8 + 1], 6881))
}

impl Pair {
    fn new(data: &[u8]) -> Pair {
        let torrent = torrent(data);
        let pieces = torrent.geometry(BLOCK_LENGTH).pieces();
        let session = |index: usize, data: Vec<u8>, have: Bitfield| Session {
            client: Client::new(ClientConfig { seed: index as u64, ..ClientConfig::default() }),
            data,
            have,
            started: BTreeMap::new(),
            parked: BTreeMap::new(),
            state: None,
        };
        let seed = session(SEED, data.to_vec(), Bitfield::full(pieces));
        let download = session(DOWNLOAD, vec![0; data.len()], Bitfield::new(pieces));
        let mut pair =
            Pair { torrent, sessions: [seed, download], inputs: VecDeque::new(), now: Time::ZERO };
        pair.add(SEED, Vec::new(), Some(SeedGoal::default()));
        pair.add(DOWNLOAD, vec![address(SEED)], None);
        pair
    }

    fn add(&mut self, to: usize, peers: Vec<SocketAddr>, seed: Option<SeedGoal>) {
        let add = AddTorrent {
            torrent: TORRENT,
            source: Source::Metainfo(self.torrent.clone()),
            trackers: Vec::new(),
            peers,
            priorities: Vec::new(),
            sequential: false,
            limits: Limits::default(),
            seed,
            peer_id: PeerId([to as u8; 20]),
            key: 0,
            paused: false,
            serve_only: false,
        };
        self.inputs.push_back((to, Command::Add(Box::new(add)).into()));
    }

    /// Runs until the download is done.
    fn run(&mut self) {
        while self.sessions[DOWNLOAD].state != Some(TorrentState::Done) {
            while let Some((at, input)) = self.inputs.pop_front() {
                self.sessions[at].client.handle(self.now, input);
                while let Some(output) = self.sessions[at].client.poll() {
                    self.carry_out(at, output);
                }
            }
            let wakes = self.sessions.iter().filter_map(|session| session.client.next_timeout());
            let first: Option<(Time, Reason)> = wakes.min();
            let Some((time, _)) = first else { return };
            self.now = self.now.max(time);
            self.inputs.extend([SEED, DOWNLOAD].map(|to| (to, ClientInput::Timeout)));
        }
    }

    fn carry_out(&mut self, at: usize, output: ClientOutput) {
        let (torrent, session) = (TORRENT, &mut self.sessions[at]);
        let answer = match output {
            ClientOutput::Swarm(output) => return self.carry_out_swarm(at, output),
            ClientOutput::Open { .. } => {
                ClientInput::Opened { torrent, have: session.have.clone(), resumed: 0 }
            }
            ClientOutput::FinishFile { file, .. } => ClientInput::FileFinished { torrent, file },
            ClientOutput::Close { .. } => ClientInput::Closed { torrent },
            ClientOutput::Event(ClientEvent::State { state, .. }) => {
                session.state = Some(state);
                return;
            }
            ClientOutput::Event(_) => return,
            other => unreachable!("two sessions without trackers never need {other:?}"),
        };
        self.inputs.push_back((at, answer));
    }

    fn carry_out_swarm(&mut self, at: usize, output: SwarmOutput) {
        let (torrent, conn) = (TORRENT, CONN);
        let geometry = self.torrent.geometry(BLOCK_LENGTH);
        let place = |block: BlockRef| {
            let begin = u64::from(block.piece.0) * u64::from(PIECE) + u64::from(block.begin);
            begin as usize..begin as usize + block.len as usize
        };
        let session = &mut self.sessions[at];
        let (to_other, to_itself) = match output {
            // To the other side.
            SwarmOutput::Dial { remote, .. } => {
                let incoming = SwarmInput::Incoming { conn, remote: Endpoint::Socket(address(at)) };
                (Some(incoming), Some(SwarmInput::Connected { torrent, conn, remote }))
            }
            SwarmOutput::SendHandshake { handshake, .. } => {
                (Some(SwarmInput::Handshake { conn, handshake }), None)
            }
            SwarmOutput::Send { message, .. } => {
                (Some(SwarmInput::Message { conn, message }), None)
            }
            SwarmOutput::HangUp { .. } => (Some(SwarmInput::Disconnected { conn }), None),
            SwarmOutput::Serve { block, .. } => {
                let data = session.data[place(block)].to_vec();
                self.sessions[1 - at].parked.insert(block, data);
                let arrived = SwarmInput::BlockArrived { conn, block };
                (Some(arrived), Some(SwarmInput::BlockSent { conn, block }))
            }
            // Memory and pieces.
            SwarmOutput::Reserve { key, .. } => {
                let length = geometry.data_len(key.piece) as usize;
                session.started.insert(key.piece, vec![0; length]);
                (None, Some(SwarmInput::Reserved(key)))
            }
            SwarmOutput::Release(key) => {
                session.started.remove(&key.piece);
                (None, None)
            }
            SwarmOutput::Keep { block, .. } => {
                let data = session.parked.remove(&block).expect("a block that has arrived");
                let piece = session.started.get_mut(&block.piece).expect("a reserved piece");
                let begin = block.begin as usize;
                piece[begin..begin + data.len()].copy_from_slice(&data);
                (None, None)
            }
            SwarmOutput::Drop { block, .. } => {
                session.parked.remove(&block);
                (None, None)
            }
            SwarmOutput::Hash(key) => {
                let matches = match &self.torrent.pieces {
                    PieceHashes::Sha1(hashes) => {
                        Sha1::digest(&session.started[&key.piece])[..] == hashes[key.piece.index()]
                    }
                    PieceHashes::Merkle(_) | PieceHashes::Tokens(_) => false,
                };
                (None, Some(SwarmInput::PieceHashed { key, matches }))
            }
            SwarmOutput::Write(key) => {
                let piece = key.piece;
                let whole = BlockRef { piece, begin: 0, len: geometry.data_len(piece) };
                session.data[place(whole)].copy_from_slice(&session.started[&piece]);
                session.have.set(piece);
                (None, Some(SwarmInput::PieceWritten(key)))
            }
            SwarmOutput::Event(_) => (None, None),
            other => unreachable!("two honest sessions never need {other:?}"),
        };
        self.inputs.extend(to_other.map(|input| (1 - at, input.into())));
        self.inputs.extend(to_itself.map(|input| (at, input.into())));
    }
}

/// Bytes that are the same each time.
fn some_bytes(length: usize) -> Vec<u8> {
    let mut rng = Rng::new(1);
    (0..length).map(|_| rng.next_u64() as u8).collect()
}

fn main() {
    let mut pair = Pair::new(&some_bytes(1_000_000));
    pair.run();
    let [seed, download] = &pair.sessions;
    println!("{:?} after {:?}", download.state, pair.now);
    assert_eq!(download.data, seed.data, "the bytes differ");
}

#[test]
fn what_one_session_seeds_the_other_has_in_the_end() {
    for length in [1, PIECE as usize, 1_000_000] {
        let mut pair = Pair::new(&some_bytes(length));
        pair.run();
        let [seed, download] = &pair.sessions;
        assert_eq!(download.state, Some(TorrentState::Done));
        assert!(download.data == seed.data && download.have.is_full(), "{length} bytes");
    }
}
