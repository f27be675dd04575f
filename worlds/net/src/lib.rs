//! The internet: one thread that owns the sockets and the engine, threads for disk and hashes, and
//! a small runtime that announces to trackers over HTTP and UDP.
//!
//! It decides nothing: whom to ask for what, whom to serve and when to announce is the engine's.
//!
//! ```no_run
//! use dunlin_engine::io::Command;
//! use dunlin_engine::client::ClientConfig;
//! use dunlin_net::{Bind, Net, NetConfig, NetEvent, Port};
//!
//! let config = NetConfig {
//!     client: ClientConfig::default(),
//!     bind: Bind::parse("127.0.0.1")?,
//!     port: Port::Exactly(0),
//!     fs: std::sync::Arc::new(dunlin_disk::RealFs),
//!     hash_threads: 1,
//!     trackers: Default::default(),
//! };
//! let (net, events) = Net::start(config)?;
//! println!("listening at {:?}", net.addresses());
//! // Torrents are added with `Net::add`; events are received until the end.
//! net.command(Command::Stop);
//! while let Ok(event) = events.recv() {
//!     if matches!(event, NetEvent::Stopped) {
//!         break;
//!     }
//! }
//! net.join();
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod bind;
mod buffers;
mod datagrams;
mod disk;
mod listener;
mod messages;
mod net;
mod outbox;
mod reads;
mod receive;
mod stream;
pub mod tracker_client;
pub mod tracker_server;
mod world;

pub use bind::{Bind, NoSuchInterface};
pub use listener::Port;
pub use messages::{NetEvent, NewTorrent};
pub use net::{Net, NetConfig, NetError};
