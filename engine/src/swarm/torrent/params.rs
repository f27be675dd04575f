//! What a torrent begins with.

use crate::config::PieceOrder;
use crate::swarm::policy::Requests;
use crate::swarm::priorities::PiecePriorities;
use crate::swarm::rate_limit::Limits;
use dunlin_base::{Bitfield, InfoHash, PeerId, TorrentId};
use dunlin_metainfo::Geometry;
use dunlin_wire::Reserved;

/// A name of a torrent on the wire, and what our handshake announces for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SwarmName {
    pub(crate) info_hash: InfoHash,
    pub(crate) reserved: Reserved,
}

/// What a torrent begins with.
#[derive(Debug)]
pub(crate) struct TorrentParams {
    pub(crate) id: TorrentId,
    /// Its names, the first one first; at least one. A hybrid torrent has two (BEP 52).
    pub(crate) names: Vec<SwarmName>,
    /// Who we are in its swarm.
    pub(crate) peer_id: PeerId,
    pub(crate) geometry: Geometry,
    pub(crate) have: Bitfield,
    /// Pieces that are wanted, here or not.
    pub(crate) wanted: Bitfield,
    pub(crate) order: PieceOrder,
    pub(crate) priorities: PiecePriorities,
    pub(crate) limits: Limits,
    /// Its metadata comes later (BEP 9).
    pub(crate) awaits_metadata: bool,
    pub(crate) requests: Requests,
}
