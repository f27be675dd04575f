//! The engine decides: sessions, torrents, peers, and the two sides of a cluster.
//!
//! It never touches a socket, a file, a clock, a thread, a lock or the environment, and payload never
//! passes through it. [`io`] is the whole contract. The same compiled engine runs on the internet, in a
//! cluster and in virtual time.
//!
//! The run loop, whole: each input to `handle`, each output of `poll` carried out, the answers back in. Here
//! two clients share a process; what one sends the other receives at once, and every piece is right. A world
//! also waits, for arrivals or until `next_timeout()`: `examples/embed` does, with sockets and files, and
//! `examples/two_sessions.rs` is this loop with bytes.
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
//! let mut clients = [0, 1].map(|seed| Client::new(ClientConfig { seed, ..ClientConfig::default() }));
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
//!         let mut answer = |input: ClientInput| inputs.push_back((at, input));
//!         match output {
//!             ClientOutput::Open { .. } if at == 0 => {
//!                 answer(ClientInput::Opened { torrent, have: Bitfield::full(pieces), resumed: 0 });
//!             }
//!             ClientOutput::Open { .. } => {
//!                 answer(ClientInput::Opened { torrent, have: Bitfield::new(pieces), resumed: 0 });
//!             }
//!             ClientOutput::Swarm(SwarmOutput::Dial { remote, .. }) => {
//!                 answer(SwarmInput::Connected { torrent, conn, remote }.into());
//!                 let remote = Endpoint::Socket(address(at));
//!                 inputs.push_back((1 - at, SwarmInput::Incoming { conn, remote }.into()));
//!             }
//!             ClientOutput::Swarm(SwarmOutput::SendHandshake { handshake, .. }) => {
//!                 inputs.push_back((1 - at, SwarmInput::Handshake { conn, handshake }.into()));
//!             }
//!             ClientOutput::Swarm(SwarmOutput::Send { message, .. }) => {
//!                 inputs.push_back((1 - at, SwarmInput::Message { conn, message }.into()));
//!             }
//!             ClientOutput::Swarm(SwarmOutput::Serve { block, .. }) => {
//!                 answer(SwarmInput::BlockSent { conn, block }.into());
//!                 inputs.push_back((1 - at, SwarmInput::BlockArrived { conn, block }.into()));
//!             }
//!             ClientOutput::Swarm(SwarmOutput::Reserve { key, .. }) => answer(SwarmInput::Reserved(key).into()),
//!             ClientOutput::Swarm(SwarmOutput::Keep { .. }) => blocks += 1,
//!             ClientOutput::Swarm(SwarmOutput::Hash(key)) => answer(SwarmInput::PieceHashed { key, matches: true }.into()),
//!             ClientOutput::Swarm(SwarmOutput::Write(key)) => answer(SwarmInput::PieceWritten(key).into()),
//!             ClientOutput::FinishFile { file, .. } => answer(ClientInput::FileFinished { torrent, file }),
//!             ClientOutput::Close { .. } => answer(ClientInput::Closed { torrent }),
//!             ClientOutput::Swarm(SwarmOutput::HangUp { .. }) => inputs.push_back((1 - at, SwarmInput::Disconnected { conn }.into())),
//!             ClientOutput::Event(ClientEvent::State { state, .. }) if at == 1 => last = Some(state),
//!             _ => {}
//!         }
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
