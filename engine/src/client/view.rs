//! A torrent at a glance.

use super::Client;
use crate::client::io::{TorrentState, TorrentView};
use crate::swarm::peer::Pieces;
use dunlin_base::{Rate, Time, TorrentId};

impl Client {
    /// A torrent at a glance; `None` if it is not on the list. `now` is for the rates.
    #[must_use]
    pub fn view(&self, now: Time, id: TorrentId) -> Option<TorrentView> {
        let entry = self.torrents.get(&id)?;
        let swarm = self.session.torrent(id);
        let totals = entry.totals(swarm);
        let traffic = swarm.map(|swarm| &swarm.traffic);
        let rate = |meter: &dunlin_base::RateMeter| meter.clone().rate(now);
        let greeted = || swarm.into_iter().flat_map(|swarm| swarm.connections.peers.values());
        let is_seed = |pieces: &Pieces| match pieces {
            Pieces::All => true,
            Pieces::Some(field) => field.is_full() && !field.is_empty(),
            Pieces::Unknown => false,
        };
        let seeds = greeted().filter(|peer| peer.is_established() && is_seed(&peer.pieces)).count();
        Some(TorrentView {
            state: entry.state.unwrap_or(TorrentState::Checking),
            name: entry.name.clone(),
            wanted: entry.wanted_bytes,
            have: entry.have_bytes,
            received: totals.redundant
                + entry.before.downloaded
                + traffic.map_or(0, |traffic| traffic.received.total()),
            sent: totals.uploaded,
            rate_down: traffic.map_or(Rate(0), |traffic| rate(&traffic.received)),
            rate_up: traffic.map_or(Rate(0), |traffic| rate(&traffic.sent)),
            peers: greeted().filter(|peer| peer.is_established()).count() as u32,
            seeds: seeds as u32,
            known: swarm.map_or(entry.peers.len(), |swarm| swarm.connections.known.len()) as u32,
            bad_piece: swarm.and_then(|swarm| swarm.downloads.single_source.iter().next().copied()),
        })
    }
}
