//! What a client keeps of a torrent's swarm besides what the core does. It begins anew with each
//! swarm.

use crate::client::candidates::{Candidates, MAX_LONE_REDIAL};
use crate::client::internet_peer::InternetPeer;
use crate::client::transfers::Transfers;
use crate::swarm::peer::{Peer, Pieces};
use crate::swarm::torrent::Torrent;
use bytes::Bytes;
use dunlin_base::{ConnId, Time};
use std::collections::BTreeMap;

/// The peers of the internet, of all torrents.
pub(super) type InternetPeers = BTreeMap<ConnId, InternetPeer>;

/// A torrent's swarm on the internet.
#[derive(Debug, Default)]
pub(super) struct InternetTorrent {
    /// Peers come from its trackers alone (BEP 27).
    pub(super) private: bool,
    /// The info dictionary, for peers that ask for it (BEP 9).
    pub(super) info: Option<Bytes>,
    /// What peers received last about our wanting anything (BEP 21).
    pub(super) announced_upload_only: bool,
    /// Peers that may be dialled.
    pub(super) candidates: Candidates,
    /// Which peers gave and took how much.
    pub(super) transfers: Transfers,
}

impl InternetTorrent {
    /// Whether nobody who is connected has anything that we want, or may still announce it. A peer
    /// that announces something, and moves nothing for a minute, counts as nobody.
    pub(super) fn is_alone(&self, torrent: &Torrent, peers: &InternetPeers, now: Time) -> bool {
        let awaits = torrent.lifecycle.awaits_metadata();
        torrent.connections.peers.iter().all(|(conn, peer)| {
            let size = peers.get(conn).and_then(|known| known.metadata_size);
            let has = peer.am_interested || awaits && size.is_some();
            let lately = now.since(peer.moved.unwrap_or(peer.since)) < MAX_LONE_REDIAL;
            peer.is_established() && !(has && lately)
        })
    }
}

/// Whether a peer has everything.
pub(super) fn has_all(peer: &Peer) -> bool {
    match &peer.pieces {
        Pieces::All => true,
        Pieces::Some(field) => field.is_full(),
        Pieces::Unknown => false,
    }
}

/// Whether this connection is of no use to either side: neither wants anything of the other, and
/// neither ever will.
pub(super) fn is_useless(torrent: &Torrent, peers: &InternetPeers, conn: ConnId) -> bool {
    let (Some(peer), Some(known)) = (torrent.connections.peers.get(&conn), peers.get(&conn)) else {
        return false;
    };
    if !peer.is_established() || !peer.has_announced() || torrent.lifecycle.awaits_metadata() {
        return false;
    }
    if known.extended && !known.introduced {
        return false;
    }
    let full = has_all(peer);
    let takes_nothing = full || known.upload_only;
    takes_nothing && !peer.am_interested && (torrent.is_upload_only() || !full)
}
