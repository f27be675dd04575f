//! Trackers: sends the announces of a torrent, and takes what trackers answer. A hybrid torrent
//! is two swarms, each with an announcer of its own (BEP 52).

use super::Client;
use super::candidates::{MAX_KNOWN, PeerSource};
use crate::client::announcer::{AnnounceRules, Announcer, Identity};
use crate::client::io::{AddTorrent, AnnounceNews, ClientEvent, ClientOutput, TrackerIndex};
use crate::swarm::io::HangUpReason;
use crate::wake::Reason;
use dunlin_base::{Rng, Time, TorrentId};
use dunlin_metainfo::InfoHashes;
use dunlin_tracker::{AnnounceFailure, AnnounceReply};
use std::net::SocketAddr;

/// Peers asked for while there is room for them (practice).
const MANY: u32 = 200;
/// Peers asked for when most places are taken.
const FEW: u32 = 30;

impl Client {
    /// An announcer for each name of a torrent.
    pub(super) fn announcers(
        &mut self,
        add: &AddTorrent,
        hashes: InfoHashes,
        private: bool,
    ) -> Vec<Announcer> {
        let config = &self.internet.config;
        let rules = AnnounceRules { floor: config.min_announce_interval, private };
        let seed = config.seed;
        hashes
            .wire()
            .zip(1_u64..)
            .map(|(info_hash, number)| {
                let identity = Identity { info_hash, peer_id: add.peer_id, key: add.key };
                let rng = Rng::fork(seed, u64::from(add.torrent.0) << 8 | number);
                Announcer::new(identity, &add.trackers, rules, rng)
            })
            .collect()
    }

    /// Sends what is due of one torrent.
    pub(super) fn announce(&mut self, now: Time, id: TorrentId) {
        let port = self.internet.port;
        let Some(entry) = self.torrents.get_mut(&id) else { return };
        let swarm = self.session.torrent(id);
        let totals = entry.totals(swarm);
        let limit = self.internet.config.connections_per_torrent;
        let peers = swarm.map_or(0, |swarm| swarm.connections.peers.len());
        let num_want = Some(if peers * 2 < limit { MANY } else { FEW });
        let count = entry.announcers.len() as u32;
        let mut outputs = Vec::new();
        for (number, announcer) in (0..count).zip(&mut entry.announcers) {
            // Who listens nowhere still has to name a port; nobody uses the first one.
            while let Some(asked) = announcer.due(now, totals, port.max(1), num_want) {
                outputs.push(ClientOutput::Announce {
                    torrent: id,
                    tracker: TrackerIndex(asked.tracker * count + number),
                    url: asked.url,
                    request: Box::new(asked.request),
                });
            }
        }
        let next = entry.announcers.iter().filter_map(Announcer::next).min();
        outputs.into_iter().for_each(|output| self.push(output));
        if let Some(at) = next {
            self.session.timers().by(Reason::Announce, at);
        }
    }

    pub(super) fn announce_all(&mut self, now: Time) {
        let ids: Vec<TorrentId> = self.torrents.keys().copied().collect();
        for id in ids {
            self.announce(now, id);
        }
    }

    /// A tracker has answered, or has not.
    pub(super) fn announced(
        &mut self,
        now: Time,
        id: TorrentId,
        tracker: TrackerIndex,
        result: Result<Box<AnnounceReply>, AnnounceFailure>,
    ) {
        let Some(entry) = self.torrents.get_mut(&id) else { return };
        let count = entry.announcers.len().max(1) as u32;
        let announcer = entry.announcers.get_mut((tracker.0 % count) as usize);
        let Some(answered) =
            announcer.and_then(|announcer| announcer.answered(now, tracker.0 / count, result))
        else {
            return;
        };
        if answered.switched {
            self.forget_peers(now, id);
            self.session.forget_closed();
        }
        let result = match &answered.result {
            Ok(reply) => {
                self.add_peers(now, id, &named(&reply.peers, PeerSource::Tracker));
                Ok(reply.peers.len() as u32)
            }
            Err(failure) => Err(failure.to_string()),
        };
        let news = AnnounceNews { url: answered.url, event: answered.event, result };
        self.event(ClientEvent::Announced { torrent: id, news });
        self.announce(now, id);
    }

    /// Hangs up everywhere, and forgets whom a torrent knows: another tracker of a private torrent
    /// is another swarm (BEP 27).
    fn forget_peers(&mut self, now: Time, id: TorrentId) {
        let Some(entry) = self.torrents.get_mut(&id) else { return };
        let candidates = &mut entry.internet.candidates;
        self.session.with(now, id, |swarm, context| {
            swarm.hang_up_all(context, now, HangUpReason::Useless);
            candidates.forget_all(&mut swarm.connections.known);
        });
    }

    /// Adds peers that a tracker or a person named.
    pub(super) fn add_peers(
        &mut self,
        now: Time,
        id: TorrentId,
        peers: &[(SocketAddr, PeerSource)],
    ) {
        let Some(entry) = self.torrents.get_mut(&id) else { return };
        let candidates = &mut entry.internet.candidates;
        let added = self.session.with(now, id, |swarm, context| {
            candidates.add_all(swarm, context, peers);
            context.dials_possible = true;
        });
        if added.is_none() {
            let room = MAX_KNOWN.saturating_sub(entry.peers.len());
            entry.peers.extend(peers.iter().take(room));
        }
    }
}

/// Peers, each named by the same.
pub(super) fn named(peers: &[SocketAddr], whence: PeerSource) -> Vec<(SocketAddr, PeerSource)> {
    peers.iter().map(|peer| (*peer, whence)).collect()
}
