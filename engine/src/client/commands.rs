//! What people ask of a node.

use super::Node;
use super::announce::named;
use super::candidates::PeerSource;
use super::layers::LayerFetch;
use super::part::{After, Storage, TorrentEntry};
use crate::client::announcer::Announcer;
use crate::config::PieceOrder;
use crate::io::{
    AddTorrent, Command, HangUpReason, Output, Priority, SeedGoal, Source, TorrentState,
};
use crate::swarm::priorities::PiecePriorities;
use crate::swarm::torrent::{Requests, SwarmName, TorrentParams};
use dunlin_base::{Bitfield, Time, TorrentId};
use dunlin_metainfo::Geometry;
use dunlin_wire::Reserved;

impl Node {
    pub(super) fn command(&mut self, now: Time, command: Command) {
        match command {
            Command::Stop => self.stop(now),
            Command::Add(add) => self.add(now, &add),
            Command::Remove(id) => self.end(now, id, After::Remove, HangUpReason::Stopping),
            Command::Pause(id) => self.pause(now, id),
            Command::Resume(id) => self.resume(now, id),
            Command::Announce(id) => {
                let part = self.parts.get_mut(&id);
                let announcers = part.into_iter().flat_map(|part| &mut part.announcers);
                announcers.for_each(|announcer| announcer.force(now));
                self.announce(now, id);
            }
            Command::AddPeers(id, peers) => {
                self.add_peers(now, id, &named(&peers, PeerSource::User))
            }
            Command::Prioritize(id, priorities) => self.prioritize(id, priorities),
            Command::Sequential(id, sequential) => {
                let Some(part) = self.parts.get_mut(&id) else { return };
                part.sequential = sequential;
                let order = order(sequential);
                self.session.with(now, id, |swarm, shared| swarm.set_order(shared, now, order));
            }
            Command::Limit(None, limits) => self.session.limit(now, limits),
            Command::Limit(Some(id), limits) => {
                let Some(part) = self.parts.get_mut(&id) else { return };
                part.limits = limits;
                self.session.with(now, id, |swarm, shared| swarm.limit(shared, now, limits));
            }
            Command::Seed(id, goal) => self.set_goal(now, id, goal),
            Command::Listening(port) => self.internet.port = port,
        }
    }

    fn add(&mut self, now: Time, add: &AddTorrent) {
        let id = add.torrent;
        if self.parts.contains_key(&id) || self.stopping.is_some() {
            return;
        }
        let (hashes, private) = match &add.source {
            Source::Metainfo(torrent) => (torrent.hashes, torrent.private),
            Source::Magnet { hashes, .. } => (*hashes, false),
        };
        let announcers = self.announcers(add, hashes, private);
        let mut part = TorrentEntry::new(add, hashes, announcers);
        match &add.source {
            Source::Metainfo(torrent) => {
                part.name = Some(torrent.name.clone());
                part.metainfo = Some(torrent.clone());
                if torrent.hashes.v1.is_some() || torrent.has_layers() {
                    part.geometry = Some(torrent.geometry(super::BLOCK_LENGTH));
                } else {
                    let missing = torrent.layers_missing();
                    part.layers = Some(LayerFetch::new(missing, torrent.piece_length));
                }
            }
            Source::Magnet { name, .. } => part.name.clone_from(name),
        }
        self.parts.insert(id, part);
        if add.paused {
            self.set_state(id, TorrentState::Paused, None);
        } else {
            self.begin(now, id);
        }
    }

    /// Opens a torrent's files, or looks for the rest of it.
    pub(super) fn begin(&mut self, now: Time, id: TorrentId) {
        let Some(part) = self.parts.get(&id) else { return };
        if part.geometry.is_some() {
            self.open(id);
            return;
        }
        if self.session.torrent(id).is_none()
            && let Ok(geometry) =
                Geometry::contiguous(super::BLOCK_LENGTH, super::BLOCK_LENGTH, &[])
        {
            let none = Bitfield::new(0);
            let params = part.params(id, geometry, none.clone(), none);
            self.session.add(now, params);
        }
        self.set_state(id, TorrentState::Metadata, None);
        self.enter_swarm(now, id);
    }

    /// The swarm may hear of us: trackers are asked, known peers are dialled.
    pub(super) fn enter_swarm(&mut self, now: Time, id: TorrentId) {
        let Some(part) = self.parts.get_mut(&id) else { return };
        let peers = std::mem::take(&mut part.peers);
        if peers.is_empty() && part.announcers.iter().all(Announcer::is_empty) {
            let name = part.name.as_deref().unwrap_or("a torrent");
            tracing::info!(name, "no tracker and no peer is known; it waits for peers to connect");
        }
        part.announcers.iter_mut().for_each(|announcer| announcer.start(now));
        self.add_peers(now, id, &peers);
        self.announce(now, id);
    }

    pub(super) fn open(&mut self, id: TorrentId) {
        let Some(part) = self.parts.get_mut(&id) else { return };
        let Some(metainfo) = part.metainfo.clone() else { return };
        part.storage = Storage::Opening;
        let wanted = part.wanted_files();
        self.session.push(Output::OpenTorrent { torrent: id, metainfo, wanted });
        self.set_state(id, TorrentState::Checking, None);
    }

    fn pause(&mut self, now: Time, id: TorrentId) {
        let Some(part) = self.parts.get_mut(&id) else { return };
        if std::mem::replace(&mut part.paused, true) || part.after.is_some() {
            return;
        }
        part.announcers.iter_mut().for_each(crate::client::announcer::Announcer::stop);
        self.announce(now, id);
        self.session.with(now, id, |swarm, shared| {
            swarm.halt(shared, now, HangUpReason::Stopping);
        });
        self.session.forget_closed();
        self.set_state(id, TorrentState::Paused, None);
    }

    fn resume(&mut self, now: Time, id: TorrentId) {
        let Some(part) = self.parts.get_mut(&id) else { return };
        // What is done or has failed may be begun again, once its files are closed.
        part.paused = false;
        if part.after.is_some() || self.stopping.is_some() {
            return;
        }
        match part.storage {
            Storage::Closed => self.begin(now, id),
            Storage::Opening => self.set_state(id, TorrentState::Checking, None),
            Storage::Closing => {}
            Storage::Open => {
                self.session.with(now, id, |swarm, shared| swarm.resume(shared, now));
                self.enter_swarm(now, id);
                self.stand(now, id);
            }
        }
        if self.session.torrent(id).is_some_and(|swarm| swarm.awaits_metadata) {
            self.session.with(now, id, |swarm, shared| swarm.resume(shared, now));
        }
    }

    fn prioritize(&mut self, id: TorrentId, priorities: Vec<Priority>) {
        let Some(part) = self.parts.get_mut(&id) else { return };
        let before = part.wanted_files();
        part.priorities = priorities;
        if let Some(swarm) = self.session.torrent(id).filter(|swarm| !swarm.awaits_metadata) {
            part.count(&swarm.have);
        }
        let wanted = part.wanted_files();
        let open = part.storage == Storage::Open && part.after.is_none();
        // Of which priority a wanted file is, is no business of the storage; that all changes at once
        // is: its answer is the moment.
        if open || part.storage == Storage::Opening && wanted != before {
            self.session.push(Output::Want { torrent: id, wanted });
        }
    }

    fn set_goal(&mut self, now: Time, id: TorrentId, goal: Option<SeedGoal>) {
        if let Some(part) = self.parts.get_mut(&id) {
            part.seed = goal;
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
        // Where it is the name of version 1, the handshake states that version 2 is known as well (BEP 52,
        // "upgrade path").
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
