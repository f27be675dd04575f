//! Sessions for measurements: what the core holds, without a driver.

use crate::config::{ChokerKind, PieceOrder};
use crate::swarm::config::{Availability, BanRules, HaveRule, PeerRules, SwarmConfig, UploadRules};
use crate::swarm::policy::Requests;
use crate::swarm::priorities::PiecePriorities;
use crate::swarm::rate_limit::Limits;
use crate::swarm::session::Session;
use crate::swarm::sources::SourceOrder;
use crate::swarm::torrent::{SwarmName, TorrentParams};
use dunlin_base::{Bitfield, InfoHash, PeerId, Rng, Time, TorrentId};
use dunlin_metainfo::Geometry;
use dunlin_wire::Reserved;

/// A session of so many torrents of so many pieces: all of each is here, and nobody is connected.
/// They share one layout of files.
#[must_use]
pub fn idle_session(choker: ChokerKind, torrents: u32, pieces: u32) -> Session {
    const LENGTH: u32 = 1 << 18;
    let config = SwarmConfig {
        sources: SourceOrder::FASTEST,
        choker,
        availability: Availability::Announced,
        haves: HaveRule::Each,
        shares: true,
        superseeds: false,
        uploads: UploadRules::default(),
        peers: PeerRules::default(),
        bans: BanRules::default(),
        memory: 64 << 20,
    };
    let mut session = Session::new(config, Limits::default(), Rng::new(1));
    let Ok(geometry) =
        Geometry::contiguous(LENGTH, LENGTH, &[u64::from(pieces) * u64::from(LENGTH)])
    else {
        return session;
    };
    for number in 0..torrents {
        let mut info_hash = InfoHash::default();
        info_hash.0[..4].copy_from_slice(&number.to_be_bytes());
        session.add(
            Time::ZERO,
            TorrentParams {
                id: TorrentId(number),
                names: vec![SwarmName { info_hash, reserved: Reserved::OURS }],
                peer_id: PeerId::default(),
                geometry: geometry.clone(),
                have: Bitfield::full(pieces),
                wanted: Bitfield::full(pieces),
                order: PieceOrder::Rarest,
                priorities: PiecePriorities::default(),
                limits: Limits::default(),
                awaits_metadata: false,
                requests: Requests::Pipelined,
            },
        );
    }
    session
}
