//! The end of waiting for what nobody can give any more: a rank that had something of a torrent has
//! withdrawn (it stops, or cannot read it any more), and whoever still fetches it has asked in vain
//! for long enough that all of them know of one another. A rank that died without a word may come
//! back; it is waited for.

use super::{Coordinator, Life};
use dunlin_base::{PieceIndex, Rank, TorrentId};
use dunlin_control::Control;
use std::collections::{BTreeMap, BTreeSet};

/// So many forced refreshes in a row are in vain: with their back-off about half a second, in which
/// everybody is connected to everybody that the answers name.
const ENOUGH: u32 = 8;

/// Who waits in vain.
#[derive(Clone, Debug, Default)]
pub(super) struct Vain {
    /// Who has withdrawn from a torrent, having had something of it.
    withdrawn: BTreeMap<TorrentId, Rank>,
    /// Who asks for it in vain.
    asks: BTreeMap<TorrentId, BTreeSet<Rank>>,
}

impl Coordinator {
    /// A rank stops of its own accord.
    pub(super) fn withdraw(&mut self, rank: Rank) {
        if self.is_living(rank) {
            let held = self.table.held_by(rank);
            self.vain.withdrawn.extend(held.into_iter().map(|torrent| (torrent, rank)));
        }
        self.mark_dead(rank);
    }

    /// What a rank has of torrents cannot be read any more.
    pub(super) fn withdraw_from(&mut self, rank: Rank, torrents: &[(TorrentId, Vec<PieceIndex>)]) {
        for (torrent, _) in torrents {
            if self.table.holders(*torrent).any(|(holder, _)| holder == rank) {
                self.vain.withdrawn.insert(*torrent, rank);
                self.table.withdraw(*torrent, rank);
            }
        }
    }

    /// How often in a row a rank has asked for more of a torrent while nobody has any.
    pub(super) fn note_vain(&mut self, torrent: TorrentId, from: Rank, vain: u32) {
        let Some(withdrawn) = self.vain.withdrawn.get(&torrent).copied() else { return };
        let asks = self.vain.asks.entry(torrent).or_default();
        if vain < ENOUGH {
            asks.remove(&from);
            return;
        }
        asks.insert(from);
        let limit = self.config.members;
        let mut holder = 0;
        let hopeless = self.table.holders(torrent).all(|(rank, has_all)| {
            holder += 1;
            let asks = &self.vain.asks[&torrent];
            let gains = !asks.contains(&rank) && self.life_of(rank) == Some(Life::Registered);
            !has_all && !gains
        });
        // Of a large swarm nobody knows all members.
        let all_known = limit == 0 || holder <= limit;
        if !hopeless || !all_known || self.expected > 0 {
            return;
        }
        let info = self.table.info(torrent);
        let name = info.and_then(|info| info.files.first()).map(|file| file.name.clone());
        let reason = format!(
            "rank {withdrawn}, which had it, gives no more of it, and nobody else has all of it"
        );
        for rank in self.vain.asks.remove(&torrent).unwrap_or_default() {
            let (name, reason) = (name.clone().unwrap_or_default(), reason.clone());
            self.send(rank, Control::Refused { name, reason });
        }
    }

    /// A rank is gone.
    pub(super) fn forget_vain(&mut self, rank: Rank) {
        self.vain.asks.values_mut().for_each(|asks| _ = asks.remove(&rank));
    }

    fn life_of(&self, rank: Rank) -> Option<Life> {
        self.peer(rank).map(|peer| peer.life)
    }
}
