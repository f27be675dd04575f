//! The internet: one thread that owns the sockets and the engine, threads for disk and hashes, and a
//! small runtime that speaks to trackers over HTTP and UDP.
//!
//! It decides nothing: whom to ask for what, whom to serve and when to announce is the engine's.

mod bind;
mod buffers;
mod disk;
mod net;
mod outbox;
mod receive;
pub mod tracker_client;
pub mod tracker_server;
mod world;

pub use bind::{Bind, NoSuchInterface};
pub use net::{Net, NetConfig, NetError, NetEvent, NewTorrent, Port};
