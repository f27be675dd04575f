//! Nodes of the internet in virtual time: one program, since all its files need the same world.

#[path = "../internet_world/mod.rs"]
mod internet_world;

mod changes;
mod exhaustion;
mod golden;
mod hostile;
mod peer_protocol;
mod serve_only;
mod swarms;
mod symlinks;
mod tolerance;
