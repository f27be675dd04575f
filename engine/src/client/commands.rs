//! Commands of people.

use super::Client;
use super::announce::named;
use super::candidates::PeerSource;
use super::layers::LayerFetch;
use super::lifecycle::{PendingClose, Storage};
use super::torrent_entry::TorrentEntry;
use crate::client::announcer::Announcer;
use crate::client::io::{
    AddTorrent, ClientOutput, Command, Priority, SeedGoal, Source, TorrentState,
};
use crate::config::PieceOrder;
use crate::swarm::io::HangUpReason;
use crate::swarm::policy::Requests;
use crate::swarm::priorities::PiecePriorities;
use crate::swarm::torrent::{SwarmName, TorrentParams};
use dunlin_base::{Bitfield, Time, TorrentId};
use dunlin_metainfo::Geometry;
use dunlin_wire::Reserved;

impl Client {
    pub(super) fn command(&mut self, now: Time, command: Command) {
        match command {
            Command::Stop => self.stop(now),
            Command::Add(add) => self.add(now, &add),
            Command::Remove(id) if !self.torrents.contains_key(&id) => {
                self.push(ClientOutput::Removed { torrent: id });
            }
            Command::Remove(id) => self.end(now, id, PendingClose::Remove, HangUpReason::Stopping),
            Command::Pause(id) => self.pause(now, id),
            Command::Resume(id) => self.resume(now, id),
            Command::Announce(id) => {
                let entry = self.torrents.get_mut(&id);
                let announcers = entry.into_iter().flat_map(|entry| &mut entry.announcers);
                announcers.for_each(|announcer| announcer.force(now));
                self.announce(now, id);
            }
            Command::AddPeers(id, peers) => {
                self.add_peers(now, id, &named(&peers, PeerSource::User))
            }
            Command::Prioritize(id, priorities) => self.prioritize(id, priorities),
            Command::Sequential(id, sequential) => {
                let Some(entry) = self.torrents.get_mut(&id) else { return };
                entry.sequential = sequential;
                let order = order(sequential);
                self.session.with(now, id, |swarm, context| swarm.set_order(context, now, order));
            }
            Command::Limit(None, limits) => self.session.limit(now, limits),
            Command::Limit(Some(id), limits) => {
                let Some(entry) = self.torrents.get_mut(&id) else { return };
                entry.limits = limits;
                self.session.with(now, id, |swarm, context| swarm.limit(context, now, limits));
            }
            Command::Seed(id, goal) => self.set_goal(now, id, goal),
            Command::Listening(port) => self.internet.port = port,
        }
    }

    fn add(&mut self, now: Time, add: &AddTorrent) {
        let id = add.torrent;
        if self.torrents.contains_key(&id) || self.stopping.is_some() {
            return;
        }
        let (hashes, private) = match &add.source {
            Source::Metainfo(torrent) => (torrent.hashes, torrent.private),
            Source::Magnet { hashes, .. } => (*hashes, false),
        };
        let announcers = self.announcers(add, hashes, private);
        let mut entry = TorrentEntry::new(add, hashes, announcers);
        match &add.source {
            Source::Metainfo(torrent) => {
                entry.name = Some(torrent.name.clone());
                entry.metainfo = Some(torrent.clone());
                if torrent.hashes.v1.is_some() || torrent.has_layers() {
                    entry.geometry = Some(torrent.geometry(super::BLOCK_LENGTH));
                } else {
                    let missing = torrent.layers_missing();
                    entry.layers = Some(LayerFetch::new(missing, torrent.piece_length));
                }
            }
            Source::Magnet { name, .. } => entry.name.clone_from(name),
        }
        self.torrents.insert(id, entry);
        if add.paused {
            self.set_state(id, TorrentState::Paused, None);
        } else {
            self.begin(now, id);
        }
    }

    /// Opens a torrent's files, or looks for the rest of it.
    pub(super) fn begin(&mut self, now: Time, id: TorrentId) {
        let Some(entry) = self.torrents.get(&id) else { return };
        if entry.geometry.is_some() {
            self.open(id);
            return;
        }
        if self.session.torrent(id).is_none()
            && let Ok(geometry) =
                Geometry::contiguous(super::BLOCK_LENGTH, super::BLOCK_LENGTH, &[])
        {
            let none = Bitfield::new(0);
            let params = entry.params(id, geometry, none.clone(), none);
            self.session.add(now, params);
        }
        self.set_state(id, TorrentState::Metadata, None);
        self.enter_swarm(now, id);
    }

    /// Joins the swarm: announces to trackers and dials known peers.
    pub(super) fn enter_swarm(&mut self, now: Time, id: TorrentId) {
        let Some(entry) = self.torrents.get_mut(&id) else { return };
        let peers = std::mem::take(&mut entry.peers);
        if peers.is_empty() && entry.announcers.iter().all(Announcer::is_empty) {
            let name = entry.name.as_deref().unwrap_or("a torrent");
            tracing::info!(name, "no tracker and no peer is known; it waits for peers to connect");
        }
        entry.announcers.iter_mut().for_each(|announcer| announcer.start(now));
        self.add_peers(now, id, &peers);
        self.announce(now, id);
    }

    pub(super) fn open(&mut self, id: TorrentId) {
        let Some(entry) = self.torrents.get_mut(&id) else { return };
        let Some(metainfo) = entry.metainfo.clone() else { return };
        entry.lifecycle.set_storage(Storage::Opening);
        let wanted = entry.wanted_files();
        self.push(ClientOutput::Open { torrent: id, metainfo, wanted });
        self.set_state(id, TorrentState::Checking, None);
    }

    fn pause(&mut self, now: Time, id: TorrentId) {
        let Some(entry) = self.torrents.get_mut(&id) else { return };
        if !entry.lifecycle.pause() {
            return;
        }
        entry.announcers.iter_mut().for_each(crate::client::announcer::Announcer::stop);
        self.announce(now, id);
        self.session.with(now, id, |swarm, context| {
            swarm.halt(context, now, HangUpReason::Stopping);
        });
        self.session.forget_closed();
        self.set_state(id, TorrentState::Paused, None);
    }

    fn resume(&mut self, now: Time, id: TorrentId) {
        let Some(entry) = self.torrents.get_mut(&id) else { return };
        // What is done or has failed may be begun again, once its files are closed.
        entry.lifecycle.resume();
        if entry.lifecycle.is_ending() || self.stopping.is_some() {
            return;
        }
        match entry.lifecycle.storage() {
            Storage::Closed => self.begin(now, id),
            Storage::Opening => self.set_state(id, TorrentState::Checking, None),
            Storage::Closing => {}
            Storage::Open => {
                self.session.with(now, id, |swarm, context| swarm.resume(context, now));
                self.enter_swarm(now, id);
                self.update_state(now, id);
            }
        }
        if self.session.torrent(id).is_some_and(|swarm| swarm.lifecycle.awaits_metadata()) {
            self.session.with(now, id, |swarm, context| swarm.resume(context, now));
        }
    }

    fn prioritize(&mut self, id: TorrentId, priorities: Vec<Priority>) {
        let Some(entry) = self.torrents.get_mut(&id) else { return };
        let before = entry.wanted_files();
        entry.priorities = priorities;
        if let Some(swarm) =
            self.session.torrent(id).filter(|swarm| !swarm.lifecycle.awaits_metadata())
        {
            entry.count(&swarm.have);
        }
        let wanted = entry.wanted_files();
        let open = entry.lifecycle.is_open();
        // Of which priority a wanted file is, is no business of the storage; that all changes at
        // once is: its answer is the moment.
        if open || entry.lifecycle.storage() == Storage::Opening && wanted != before {
            self.push(ClientOutput::Want { torrent: id, wanted });
        }
    }

    fn set_goal(&mut self, now: Time, id: TorrentId, goal: Option<SeedGoal>) {
        if let Some(entry) = self.torrents.get_mut(&id) {
            entry.seed = goal;
            self.check_goals(now);
        }
    }
}

/// The order of pieces of a torrent.
pub(super) fn order(sequential: bool) -> PieceOrder {
    if sequential { PieceOrder::Sequential } else { PieceOrder::Rarest }
}

impl TorrentEntry {
    /// What the swarm of this torrent begins with.
    pub(super) fn params(
        &self,
        id: TorrentId,
        geometry: Geometry,
        have: Bitfield,
        wanted: Bitfield,
    ) -> TorrentParams {
        // Where it is the name of version 1, the handshake states that version 2 is known as well
        // (BEP 52, "upgrade path").
        let v2_name = self.hashes.v2_short();
        let name = |info_hash| match v2_name {
            Some(v2) if v2 != info_hash => {
                SwarmName { info_hash, reserved: Reserved::INTERNET.with_v2() }
            }
            _ => SwarmName { info_hash, reserved: Reserved::INTERNET },
        };
        TorrentParams {
            id,
            names: self.hashes.wire().map(name).collect(),
            peer_id: self.peer_id,
            geometry,
            have,
            wanted,
            order: order(self.sequential),
            priorities: PiecePriorities::default(),
            limits: self.limits,
            awaits_metadata: true,
            requests: Requests::Pipelined,
        }
    }
}
