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
//! use dunlin_engine::io::{AddTorrent, Command, Event, Input, Limits, Output};
//! use dunlin_engine::io::{SeedGoal, Source, TorrentState};
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
//! let mut inputs: VecDeque<(usize, Input)> = VecDeque::new();
//! for (at, peers, seed) in [(0, vec![], Some(SeedGoal::default())), (1, vec![address(0)], None)] {
//!     inputs.push_back((at, Input::Command(Command::Add(Box::new(AddTorrent {
//!         torrent, source: Source::Metainfo(metainfo.clone()), trackers: vec![], peers,
//!         priorities: vec![], sequential: false, limits: Limits::default(), seed,
//!         peer_id: PeerId([at as u8; 20]), key: 0, paused: false, serve_only: false,
//!     })))));
//! }
//! let (mut blocks, mut last) = (0, None);
//! while let Some((at, input)) = inputs.pop_front() {
//!     clients[at].handle(Time::ZERO, input);
//!     while let Some(output) = clients[at].poll() {
//!         let mut answer = |input| inputs.push_back((at, input));
//!         match output {
//!             Output::OpenTorrent { .. } if at == 0 => {
//!                 answer(Input::Opened { torrent, have: Bitfield::full(pieces), resumed: 0 });
//!             }
//!             Output::OpenTorrent { .. } => {
//!                 answer(Input::Opened { torrent, have: Bitfield::new(pieces), resumed: 0 });
//!             }
//!             Output::Dial { remote, .. } => {
//!                 answer(Input::Connected { torrent, conn, remote });
//!                 let remote = Endpoint::Socket(address(at));
//!                 inputs.push_back((1 - at, Input::Incoming { conn, remote }));
//!             }
//!             Output::SendHandshake { handshake, .. } => {
//!                 inputs.push_back((1 - at, Input::Handshake { conn, handshake }));
//!             }
//!             Output::Send { message, .. } => {
//!                 inputs.push_back((1 - at, Input::Message { conn, message }));
//!             }
//!             Output::Serve { block, .. } => {
//!                 answer(Input::BlockSent { conn, block });
//!                 inputs.push_back((1 - at, Input::BlockArrived { conn, block }));
//!             }
//!             Output::Reserve { key, .. } => answer(Input::Reserved(key)),
//!             Output::Keep { .. } => blocks += 1,
//!             Output::Hash(key) => answer(Input::PieceHashed { key, matches: true }),
//!             Output::Write(key) => answer(Input::PieceWritten(key)),
//!             Output::FinishFile { file, .. } => answer(Input::FileFinished { torrent, file }),
//!             Output::Close { .. } => answer(Input::Closed { torrent }),
//!             Output::HangUp { .. } => inputs.push_back((1 - at, Input::Disconnected { conn })),
//!             Output::Event(Event::State { state, .. }) if at == 1 => last = Some(state),
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
