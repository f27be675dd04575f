//! Downloads a torrent with blocking sockets and files: the least that a program has to do around
//! the engine.
//!
//! ```sh
//! cargo run -p dunlin-engine --example embed -- FILE.torrent FOLDER ADDRESS:PORT...
//! ```
//!
//! This thread owns the engine, the files and the sending side of each socket; a thread for each
//! connection dials, reads, and hands over what it has read. A whole world, `worlds/net`, has
//! threads for hashes and files besides, one budget of memory for all torrents, resuming, a
//! listener and trackers.

#![allow(clippy::print_stderr, reason = "a program that prints what happens")]

mod files;
mod wire;

use dunlin_base::{Bitfield, BlockRef, ConnId, PeerId, Time, TorrentId};
use dunlin_engine::client::{Client, ClientConfig};
use dunlin_engine::io::{
    AddTorrent, ClientEvent, ClientInput, ClientOutput, Command, Limits, Source, SwarmInput,
    SwarmOutput, TorrentState,
};
use dunlin_metainfo::{BLOCK_LENGTH, Torrent};
use dunlin_wire::{encode_into, encode_piece_header};
use files::{Files, local};
use std::collections::{BTreeMap, VecDeque};
use std::error::Error;
use std::hash::{BuildHasher, RandomState};
use std::io::Write;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};
use wire::Arrival;

/// The only torrent.
const TORRENT: TorrentId = TorrentId(0);
/// Frames that threads have read and nobody has taken: then they wait, and so do their peers.
const UNREAD: usize = 256;
/// Peers that are silent for so long are given up.
const PATIENCE: Duration = Duration::from_secs(60);

struct Download {
    client: Client,
    inputs: VecDeque<ClientInput>,
    began: Instant,
    done: bool,
    streams: BTreeMap<ConnId, TcpStream>,
    /// Blocks that have come and are not placed or dropped yet.
    parked: BTreeMap<(ConnId, BlockRef), Vec<u8>>,
    to_us: SyncSender<Arrival>,
    arrivals: Receiver<Arrival>,
    files: Files,
}

/// Downloads what a torrent file describes into a folder, from these peers.
pub fn download(
    torrent: &Path,
    folder: &Path,
    peers: Vec<SocketAddr>,
) -> Result<(), Box<dyn Error>> {
    let named = |error: &dyn Error| format!("{}: {error}", torrent.display());
    let bytes = std::fs::read(torrent).map_err(|error| named(&error))?;
    let metainfo = Torrent::parse(&bytes).map_err(|error| named(&error))?;
    let content = metainfo.content(BLOCK_LENGTH).filter(|_| metainfo.hashes.v1.is_some());
    let content = content.ok_or("a torrent of version 2 alone: download it with `dunlin get`")?;
    let seed = RandomState::new().hash_one(torrent);
    let mut peer_id = *b"-DN0000-000000000000";
    peer_id[12..].copy_from_slice(&seed.to_be_bytes());
    // No piece is larger than a quarter, so none is streamed.
    let memory = (64 << 20).max(u64::from(metainfo.piece_length) * 4);
    let (to_us, arrivals) = sync_channel(UNREAD);
    let add = AddTorrent {
        torrent: TORRENT,
        source: Source::Metainfo(Arc::new(metainfo)),
        trackers: Vec::new(),
        peers,
        priorities: Vec::new(),
        sequential: false,
        limits: Limits::default(),
        seed: None,
        peer_id: PeerId(peer_id),
        key: 0,
        paused: false,
        serve_only: false,
    };
    let mut download = Download {
        client: Client::new(ClientConfig { seed, memory, ..ClientConfig::default() }),
        inputs: VecDeque::from([Command::Add(Box::new(add)).into()]),
        began: Instant::now(),
        done: false,
        streams: BTreeMap::new(),
        parked: BTreeMap::new(),
        to_us,
        arrivals,
        files: Files::new(content, folder, memory),
    };
    download.run()
}

impl Download {
    /// The loop: every input, every output of it, then whatever comes first, an arrival or the
    /// time.
    fn run(&mut self) -> Result<(), Box<dyn Error>> {
        let mut heard = Instant::now();
        while !self.done {
            while let Some(input) = self.inputs.pop_front() {
                self.client.handle(self.now(), input);
                while let Some(output) = self.client.poll() {
                    self.carry_out(output)?;
                }
            }
            let until = self.client.next_timeout().map(|(at, _)| at.since(self.now()));
            // We hold a sender: an error is a timeout.
            if let Ok(arrival) = self.arrivals.recv_timeout(until.unwrap_or(PATIENCE).min(PATIENCE))
            {
                heard = Instant::now();
                self.arrived(arrival);
            } else {
                self.inputs.push_back(ClientInput::Timeout);
            }
            if heard.elapsed() > PATIENCE {
                return Err("no peer sends anything; check their addresses, or name others".into());
            }
        }
        Ok(())
    }

    fn now(&self) -> Time {
        Time::from_duration(self.began.elapsed())
    }

    fn arrived(&mut self, arrival: Arrival) {
        match arrival {
            Arrival::Failed(remote) => {
                self.inputs.push_back(SwarmInput::DialFailed { torrent: TORRENT, remote }.into());
            }
            Arrival::Dialled(conn, remote, stream) => {
                self.streams.insert(conn, stream);
                self.inputs
                    .push_back(SwarmInput::Connected { torrent: TORRENT, conn, remote }.into());
            }
            // What was read before we hung up.
            Arrival::Input(conn, ..) if !self.streams.contains_key(&conn) => {}
            Arrival::Input(conn, input, data) => {
                match input {
                    SwarmInput::BlockArrived { block, .. } => {
                        _ = self.parked.insert((conn, block), data)
                    }
                    SwarmInput::Disconnected { .. } => self.close(conn),
                    _ => {}
                }
                self.inputs.push_back(input.into());
            }
        }
    }

    fn carry_out(&mut self, output: ClientOutput) -> Result<(), Box<dyn Error>> {
        match output {
            ClientOutput::Swarm(output) => self.carry_out_swarm(output),
            ClientOutput::Open { torrent, .. } => {
                self.files.create()?;
                let have = Bitfield::new(self.files.pieces());
                self.inputs.push_back(ClientInput::Opened { torrent, have, resumed: 0 });
            }
            ClientOutput::FinishFile { torrent, file } => {
                self.inputs.push_back(self.files.finish(torrent, file));
            }
            ClientOutput::Close { torrent } => {
                self.inputs.push_back(ClientInput::Closed { torrent });
            }
            // What the user wants to know.
            ClientOutput::Event(ClientEvent::State { state: TorrentState::Done, .. }) => {
                self.done = true;
            }
            ClientOutput::Event(ClientEvent::State {
                state: TorrentState::Failed, reason, ..
            }) => return Err(reason.unwrap_or_default().into()),
            ClientOutput::Event(event) => eprintln!("{event:?}"),
            other => unreachable!("a download from given peers never needs {other:?}"),
        }
        Ok(())
    }

    fn carry_out_swarm(&mut self, output: SwarmOutput) {
        match output {
            // The wire.
            SwarmOutput::Dial { remote, .. } => wire::dial(remote, self.to_us.clone()),
            SwarmOutput::HangUp { conn, .. } => self.close(conn),
            SwarmOutput::SendHandshake { conn, handshake } => self.send(conn, &handshake.encode()),
            SwarmOutput::Send { conn, message } => {
                let mut bytes = Vec::new();
                encode_into(&message, &mut bytes);
                self.send(conn, &bytes);
            }
            SwarmOutput::Serve { conn, block } => match self.files.read(block) {
                Ok(data) => {
                    let mut bytes = Vec::new();
                    encode_piece_header(block, &mut bytes);
                    self.send(conn, &[bytes, data].concat());
                    self.inputs.push_back(SwarmInput::BlockSent { conn, block }.into());
                }
                Err(error) => {
                    let error = local(&error);
                    self.inputs.push_back(SwarmInput::ServeFailed { conn, block, error }.into());
                }
            },
            // Memory and pieces.
            SwarmOutput::Keep { conn, block } => {
                let data = self.parked.remove(&(conn, block)).unwrap_or_default();
                self.files.keep(block, &data);
            }
            SwarmOutput::Drop { conn, block } => _ = self.parked.remove(&(conn, block)),
            SwarmOutput::Event(event) => eprintln!("{event:?}"),
            other => {
                self.inputs.extend(self.files.carry_out(other).map(ClientInput::Swarm));
            }
        }
    }

    /// A connection that takes nothing ends: its thread then reports that it is gone.
    fn send(&mut self, conn: ConnId, bytes: &[u8]) {
        let Some(stream) = self.streams.get_mut(&conn) else { return };
        if stream.write_all(bytes).is_err() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn close(&mut self, conn: ConnId) {
        if let Some(stream) = self.streams.remove(&conn) {
            let _ = stream.shutdown(Shutdown::Both);
        }
        self.parked.retain(|(of, _), _| *of != conn);
    }
}

/// Reads the arguments and downloads.
pub fn main() {
    let mut words = std::env::args().skip(1);
    let (Some(torrent), Some(folder)) = (words.next(), words.next()) else {
        eprintln!("usage: embed FILE.torrent FOLDER ADDRESS:PORT...");
        std::process::exit(2);
    };
    let peers: Result<Vec<SocketAddr>, _> = words.map(|word| word.parse()).collect();
    let result = match peers {
        Ok(peers) if !peers.is_empty() => download(torrent.as_ref(), folder.as_ref(), peers),
        Ok(_) => Err("no peer is named; append one as ADDRESS:PORT".into()),
        Err(error) => Err(format!("{error}; name peers like 192.0.2.1:6881").into()),
    };
    if let Err(error) = result {
        eprintln!("embed: {error}");
        std::process::exit(1);
    }
}
