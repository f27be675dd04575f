//! What an idle torrent costs: a client that serves ten thousand of them must not need gigabytes.

use cap::Cap;
use dunlin_engine::config::ChokerKind;
use dunlin_engine::swarm::probe::idle_session;
use std::alloc::System;

#[global_allocator]
static COUNTED: Cap<System> = Cap::new(System, usize::MAX);

/// Bytes of an idle torrent, struct and heap, without its metainfo and without its place on disk.
const MOST: usize = 2 << 10;

#[test]
fn an_idle_torrent_costs_little() {
    let (torrents, pieces) = (1000, 1000);
    let before = COUNTED.allocated();
    let session = idle_session(ChokerKind::TitForTat, torrents, pieces);
    let each = (COUNTED.allocated() - before) / torrents as usize;
    session.check();
    assert!(each <= MOST, "{each} bytes a torrent of {pieces} pieces");
    assert!(each >= 64, "{each} bytes a torrent: nothing was counted");
}
