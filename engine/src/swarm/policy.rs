//! Another way to ask for blocks than the core's own, brought by a driver: the interface of
//! policies that are studied. The hot path of [`super::torrent`] knows none of them.
//!
//! A policy reads pieces and peers through a [`SwarmView`] and acts through [`RequestActions`]. It
//! owns nothing of the torrent, so that whatever keeps pieces and peers can be driven by the same
//! policy.

use crate::swarm::bans::Bans;
use crate::swarm::config::SwarmConfig;
use crate::swarm::partials::{Block, Partials};
use crate::swarm::peer::Peer;
use crate::swarm::peer_list::PeerList;
use crate::swarm::picker::Picker;
use dunlin_base::{Bitfield, ConnId, Endpoint, PieceIndex, Rng, Time};
use std::collections::BTreeMap;
use std::fmt::Debug;

/// Which block to ask of whom, and when.
pub(crate) trait RequestPolicy: Debug + Send {
    /// Asks for whatever may be asked for now. Called after everything that may have changed it,
    /// but not when a piece is written: then the driver calls [`super::torrent::Torrent::fill`].
    fn fill(&mut self, swarm: &mut dyn RequestActions, now: Time);

    /// A request for this piece was refused, or is late.
    fn refused(&mut self, swarm: &mut dyn RequestActions, piece: PieceIndex);

    /// A peer is gone, banned, or could not be reached.
    fn unreachable(&mut self, known: &mut PeerList, remote: Endpoint);

    /// A deadline that it set ([`RequestActions::wake_at`]) may have passed.
    fn timeout(&mut self, swarm: &mut dyn RequestActions, now: Time);
}

/// How a torrent asks for blocks.
#[derive(Debug, Default)]
pub(crate) enum Requests {
    /// Many requests in flight to every peer: the core's own way.
    #[default]
    Pipelined,
    /// A driver's way; `None` while it is at work.
    Policy(Option<Box<dyn RequestPolicy>>),
}

impl Requests {
    pub(crate) fn is_pipelined(&self) -> bool {
        matches!(self, Requests::Pipelined)
    }
}

/// Pieces and peers of one torrent as a policy reads them, borrowed for one decision.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SwarmView<'a> {
    pub(crate) config: &'a SwarmConfig,
    /// Wanted and not here.
    pub(crate) missing: &'a Bitfield,
    pub(crate) picker: &'a Picker,
    /// Pieces that were started.
    pub(crate) partials: &'a Partials,
    pub(crate) peers: &'a BTreeMap<ConnId, Peer>,
    pub(crate) known: &'a PeerList,
    pub(crate) banned: &'a Bans,
    /// The place of the source that was chosen last, in the tracker's order.
    pub(crate) last_place: Option<u32>,
    /// Nothing is reserved until there is memory again.
    pub(crate) out_of_memory: bool,
}

impl SwarmView<'_> {
    /// Whether the peer has the piece and has not refused it since the last refresh.
    pub(crate) fn gives_piece(&self, conn: ConnId, piece: PieceIndex) -> bool {
        gives_piece(self.peers, self.known, conn, piece)
    }

    /// The peer that began a piece which a single one must give, if it is still there and answers.
    pub(crate) fn single_giver(&self, piece: PieceIndex) -> Option<ConnId> {
        single_giver(self.partials, self.peers, self.known, piece)
    }
}

/// What a policy may do.
pub(crate) trait RequestActions {
    /// Pieces and peers as they are now.
    fn view(&self) -> SwarmView<'_>;

    /// Where every random choice comes from.
    fn rng(&mut self) -> &mut Rng;

    /// Starts an open piece that `conn` is to give: memory for it is reserved.
    fn start(&mut self, now: Time, piece: PieceIndex, conn: ConnId);

    /// Reserves memory for a spilled piece.
    fn revive(&mut self, piece: PieceIndex);

    /// Takes a started piece back: it is open again.
    fn take_back(&mut self, piece: PieceIndex);

    /// Plans every open block of a started piece for one peer.
    fn plan(&mut self, piece: PieceIndex, conn: ConnId);

    /// The open blocks of a piece may be asked of anybody again.
    fn unplan(&mut self, piece: PieceIndex);

    /// Asks `conn` for a block, by its index in the piece.
    fn ask(&mut self, now: Time, conn: ConnId, piece: PieceIndex, index: u32);

    /// Dials a known peer.
    fn dial(&mut self, remote: Endpoint);

    /// Counts that a piece is asked of a peer.
    fn count_choice(&mut self, remote: Endpoint);

    /// A known peer does not answer: it is not asked again before the next refresh.
    fn give_up(&mut self, remote: Endpoint);

    /// Reports that nobody in the swarm gives a wanted piece, once until something changes.
    fn starve(&mut self);

    /// [`RequestPolicy::timeout`] is called at this time or earlier.
    fn wake_at(&mut self, at: Time);
}

/// Whether the peer has the piece and has not refused it since the last refresh.
pub(crate) fn gives_piece(
    peers: &BTreeMap<ConnId, Peer>,
    known: &PeerList,
    conn: ConnId,
    piece: PieceIndex,
) -> bool {
    peers.get(&conn).is_some_and(|peer| {
        peer.pieces.has(piece)
            && known.get(peer.remote).is_none_or(|known| !known.rejected.contains(&piece))
    })
}

/// The peer that began a piece which a single one must give, if it is still there and answers.
pub(crate) fn single_giver(
    partials: &Partials,
    peers: &BTreeMap<ConnId, Peer>,
    known: &PeerList,
    piece: PieceIndex,
) -> Option<ConnId> {
    let conn = partials.get(piece)?.blocks.iter().find_map(|block| match block {
        Block::Open => None,
        Block::Asked(conn, _) => Some(*conn),
        Block::Held(sender) => known.get(*sender)?.conn,
    })?;
    peers.get(&conn).filter(|peer| !peer.snubbed).map(|_| conn)
}
