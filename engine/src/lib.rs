//! The engine decides: sessions, torrents, peers, and the two sides of a cluster.
//!
//! It never touches a socket, a file, a clock, a thread, a lock or the environment, and payload
//! never passes through it. [`io`] is the whole contract. The same compiled engine runs on the
//! internet, in a cluster and in virtual time.
//!
//! The run loop, whole: each input to `handle`, each output of `poll` carried out, the answers back
//! in. Here two clients share a process; what one sends the other receives at once, and every piece
//! is right. A world also waits, for arrivals or until `next_timeout()`: `examples/embed` does,
//! with sockets and files, and `examples/two_sessions.rs` is this loop with bytes.
//!
//! ```
//! use dunlin_base::{Bitfield, ConnId, Endpoint, PeerId, Time, TorrentId};
//! use dunlin_engine::client::{Client, ClientConfig};
//! use dunlin_engine::io::{AddTorrent, ClientEvent, ClientInput, ClientOutput, Command, Limits};
//! use dunlin_engine::io::{SeedGoal, Source, SwarmInput, SwarmOutput, TorrentState};
//! use dunlin_metainfo::{BLOCK_LENGTH, Torrent};
//! use std::collections::VecDeque;
//!
//! let file = b"d4:infod6:lengthi50000e4:name1:a12:piece lengthi32768e6:pieces40:\
//!     0123456789012345678901234567890123456789ee";
//! let metainfo = std::sync::Arc::new(Torrent::parse(file)?);
//! let (torrent, conn) = (TorrentId(0), ConnId(1));
//! let pieces = metainfo.geometry(BLOCK_LENGTH).pieces();
//! let address = |at: usize| std::net::SocketAddr::from(([192, 0, 2, at as u8 + 1], 6881));
//!
//! // Client 0 has the file, and seeds it for ever; client 1 has nothing, and is given an address.
//! let config = |seed| ClientConfig { seed, ..ClientConfig::default() };
//! let mut clients = [0, 1].map(|seed| Client::new(config(seed)));
//! let mut inputs: VecDeque<(usize, ClientInput)> = VecDeque::new();
//! for (at, peers, seed) in [(0, vec![], Some(SeedGoal::default())), (1, vec![address(0)], None)] {
//!     inputs.push_back((at, Command::Add(Box::new(AddTorrent {
//!         torrent, source: Source::Metainfo(metainfo.clone()), trackers: vec![], peers,
//!         priorities: vec![], sequential: false, limits: Limits::default(), seed,
//!         peer_id: PeerId([at as u8; 20]), key: 0, paused: false, serve_only: false,
//!     })).into()));
//! }
//! let (mut blocks, mut last) = (0, None);
//! while let Some((at, input)) = inputs.pop_front() {
//!     clients[at].handle(Time::ZERO, input);
//!     while let Some(output) = clients[at].poll() {
//!         let (mut answers, mut remote) = (Vec::<ClientInput>::new(), None::<SwarmInput>);
//!         match output {
//!             ClientOutput::Swarm(output) => match output {
//!                 SwarmOutput::Dial { remote: to, .. } => {
//!                     answers.push(SwarmInput::Connected { torrent, conn, remote: to }.into());
//!                     let from = Endpoint::Socket(address(at));
//!                     remote = Some(SwarmInput::Incoming { conn, remote: from });
//!                 }
//!                 SwarmOutput::HangUp { .. } => remote = Some(SwarmInput::Disconnected { conn }),
//!                 SwarmOutput::SendHandshake { handshake, .. } => {
//!                     remote = Some(SwarmInput::Handshake { conn, handshake });
//!                 }
//!                 SwarmOutput::Send { message, .. } => {
//!                     remote = Some(SwarmInput::Message { conn, message });
//!                 }
//!                 SwarmOutput::Serve { block, .. } => {
//!                     answers.push(SwarmInput::BlockSent { conn, block }.into());
//!                     remote = Some(SwarmInput::BlockArrived { conn, block });
//!                 }
//!                 SwarmOutput::Reserve { key, .. } => {
//!                     answers.push(SwarmInput::Reserved(key).into());
//!                 }
//!                 SwarmOutput::Hash(key) => {
//!                     answers.push(SwarmInput::PieceHashed { key, matches: true }.into());
//!                 }
//!                 SwarmOutput::Write(key) => answers.push(SwarmInput::PieceWritten(key).into()),
//!                 SwarmOutput::Keep { .. } => blocks += 1,
//!                 // No block has bytes here, so nothing is kept that these were about.
//!                 SwarmOutput::Drop { .. } | SwarmOutput::Release(_) => {}
//!                 SwarmOutput::Spill(_) | SwarmOutput::Digest(_) => {}
//!                 SwarmOutput::Event(_) => {}
//!             },
//!             ClientOutput::Open { .. } => {
//!                 let have = if at == 0 { Bitfield::full(pieces) } else { Bitfield::new(pieces) };
//!                 answers.push(ClientInput::Opened { torrent, have, resumed: 0 });
//!             }
//!             ClientOutput::FinishFile { file, .. } => {
//!                 answers.push(ClientInput::FileFinished { torrent, file });
//!             }
//!             ClientOutput::Close { .. } => answers.push(ClientInput::Closed { torrent }),
//!             ClientOutput::Event(ClientEvent::State { state, .. }) if at == 1 => {
//!                 last = Some(state);
//!             }
//!             // Nobody asks for these here: other files, hashes of blocks, trackers, a removal.
//!             ClientOutput::Want { .. } | ClientOutput::HashBlocks(_) => {}
//!             ClientOutput::Announce { .. } | ClientOutput::Removed { .. } => {}
//!             ClientOutput::Event(_) => {}
//!         }
//!         inputs.extend(answers.into_iter().map(|input| (at, input)));
//!         inputs.extend(remote.map(|input| (1 - at, input.into())));
//!     }
//! }
//! assert_eq!((blocks, last), (4, Some(TorrentState::Done)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod client;
pub mod cluster;
pub mod config;
pub mod io;
pub mod stats;
pub mod swarm;
pub mod tracker;
mod wake;
