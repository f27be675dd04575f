//! Look-ups, refreshes, and how busy everyone is.

use super::Coordinator;
use dunlin_base::{Rank, Time, TorrentId};
use dunlin_tracker::{Control, Listing, Load, Refresh, Swarm};
use std::collections::BTreeSet;

impl Coordinator {
    /// Answers by name with metainfo and swarm, and makes the asker a member at once.
    pub(super) fn lookup(&mut self, now: Time, from: Rank, name: String) {
        let Some(torrent) = self.table.find(&name) else {
            let reason = match self.table.is_loose(&name) {
                true => "no peer wanted it when the run began, so it has no swarm",
                false => "no peer has a file of this name",
            };
            return self.send(from, Control::Refused { name, reason: reason.to_owned() });
        };
        if let Some(reason) = self.given_up_by_mate(from, torrent) {
            return self.send(from, Control::Refused { name, reason });
        }
        self.table.join(torrent, from);
        let members = self.answer(from, torrent, Some(name));
        self.query_loads(now, from, members);
    }

    /// Records what was gained and answers with the fresh swarm, once a torrent however often the
    /// message names it. Torrents that the asker takes no part in are passed over.
    pub(super) fn refresh(&mut self, now: Time, from: Rank, refresh: Refresh) {
        let mut answered = BTreeSet::new();
        for (torrent, gained) in &refresh.torrents {
            if !self.table.is_member(*torrent, from) {
                continue;
            }
            self.table.gained(*torrent, from, gained);
            answered.insert(*torrent);
        }
        let mut named = Vec::new();
        for torrent in answered {
            named.extend(self.answer(from, torrent, None));
        }
        self.query_loads(now, from, named);
    }

    /// Sends the swarm; with the metainfo, if it is the answer to a lookup of `name`. Says whom it
    /// named.
    fn answer(&mut self, to: Rank, torrent: TorrentId, name: Option<String>) -> Vec<Rank> {
        let Some(info) = self.table.info(torrent) else { return Vec::new() };
        let first = info.files.first().map(|file| file.name.clone()).unwrap_or_default();
        let listing = Listing { order: self.config.order, limit: self.config.members };
        let members = self.table.swarm_for(torrent, to, listing, &mut self.rng);
        let named = members.iter().map(|member| member.rank).collect();
        let swarm = Swarm {
            torrent,
            info: name.is_some().then(|| std::sync::Arc::clone(info)),
            name: name.unwrap_or(first),
            owners: self.table.owners(torrent, to, &members),
            members,
        };
        self.send(to, Control::Swarm(Box::new(swarm)));
        named
    }

    /// Asks the members that somebody was told of how busy they are, for the answers to come. A
    /// member that owes an answer, or gave one lately, is left in peace.
    fn query_loads(&mut self, now: Time, asker: Rank, named: Vec<Rank>) {
        if !self.config.loads {
            return;
        }
        for rank in named {
            let age = self.config.load_min_age;
            let Some(peer) = self.peer_mut(rank).filter(|_| rank != asker) else { continue };
            if !peer.asked && peer.loaded.is_none_or(|loaded| now.since(loaded) >= age) {
                peer.asked = true;
                self.send(rank, Control::LoadQuery);
            }
        }
    }

    /// An answer to a load query. Reports that nobody asked for count as well.
    pub(super) fn load(&mut self, now: Time, from: Rank, load: Load) {
        if let Some(peer) = self.peer_mut(from) {
            peer.asked = false;
            peer.loaded = Some(now);
            self.table.load(from, load);
        }
    }
}
