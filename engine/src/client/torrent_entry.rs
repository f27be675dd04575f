//! One torrent of a client: what it was added with, where it stands, what it still lacks.

use super::hash_trees::HashTrees;
use super::internet_torrent::InternetTorrent;
use super::layers::LayerFetch;
use super::lifecycle::{EntryLifecycle, Storage};
use super::metadata::MetadataFetch;
use crate::client::announcer::{AnnounceTotals, Announcer};
use crate::client::candidates::PeerSource;
use crate::client::io::{AddTorrent, Priority, SeedGoal, TorrentState};
use crate::swarm::priorities::PiecePriorities;
use crate::swarm::rate_limit::Limits;
use crate::swarm::torrent::Torrent as Swarm;
use dunlin_base::{Bitfield, BlockRef, FileIndex, PeerId, PieceIndex, Time};
use dunlin_metainfo::{Geometry, InfoHashes, Torrent};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

/// A torrent of a client.
#[derive(Debug)]
pub(super) struct TorrentEntry {
    pub(super) state: Option<TorrentState>,
    pub(super) reason: Option<String>,
    pub(super) hashes: InfoHashes,
    pub(super) name: Option<String>,
    pub(super) metainfo: Option<Arc<Torrent>>,
    pub(super) geometry: Option<Geometry>,
    pub(super) announcers: Vec<Announcer>,
    pub(super) priorities: Vec<Priority>,
    pub(super) sequential: bool,
    pub(super) limits: Limits,
    pub(super) seed: Option<SeedGoal>,
    pub(super) peer_id: PeerId,
    /// Peers to add once there is a swarm, and who named them.
    pub(super) peers: Vec<(SocketAddr, PeerSource)>,
    pub(super) lifecycle: EntryLifecycle,
    /// What is here is served; nothing is asked for, and no file is finished.
    pub(super) serve_only: bool,
    /// When files are looked for again of which none was there.
    pub(super) look_again: Option<Time>,
    /// Pieces each file still lacks.
    pub(super) lacks: Vec<u32>,
    /// Wanted files that do not stand under their names yet.
    pub(super) unfinished: Vec<bool>,
    /// How many of those are no links.
    pub(super) files_left: usize,
    /// Files that stand under their names, wanted or not.
    pub(super) finished: Vec<bool>,
    /// Files that are being finished.
    pub(super) finishing: BTreeSet<FileIndex>,
    /// Files that could not be finished because the disk was full.
    pub(super) retry: Vec<FileIndex>,
    /// Bytes of wanted files, and those that are here.
    pub(super) wanted_bytes: u64,
    pub(super) have_bytes: u64,
    /// Bytes of the whole torrent that are missing.
    pub(super) left: u64,
    /// Something was missing when it began: completing it is news.
    pub(super) was_incomplete: bool,
    pub(super) seeding_since: Option<Time>,
    /// Since when as much is given as its goal wants.
    pub(super) goal_met: Option<Time>,
    /// Checks that blocks which could not be read have caused in a row, and when the last one was.
    pub(super) checks: u32,
    pub(super) checked: Option<Time>,
    /// Metadata on its way.
    pub(super) fetch: MetadataFetch,
    /// Piece layers on their way.
    pub(super) layers: Option<LayerFetch>,
    /// Hashes for others.
    pub(super) hash_trees: HashTrees,
    /// What is kept of its swarm.
    pub(super) internet: InternetTorrent,
    /// Totals of swarms that this one took the place of.
    pub(super) before: AnnounceTotals,
}

impl TorrentEntry {
    pub(super) fn new(
        add: &AddTorrent,
        hashes: InfoHashes,
        announcers: Vec<Announcer>,
    ) -> TorrentEntry {
        TorrentEntry {
            state: None,
            reason: None,
            hashes,
            name: None,
            metainfo: None,
            geometry: None,
            announcers,
            priorities: add.priorities.clone(),
            sequential: add.sequential,
            limits: add.limits,
            seed: add.seed,
            peer_id: add.peer_id,
            peers: add.peers.iter().map(|peer| (*peer, PeerSource::User)).collect(),
            lifecycle: EntryLifecycle::new(add.paused),
            serve_only: add.serve_only,
            look_again: None,
            lacks: Vec::new(),
            unfinished: Vec::new(),
            files_left: 0,
            finished: Vec::new(),
            finishing: BTreeSet::new(),
            retry: Vec::new(),
            wanted_bytes: 0,
            have_bytes: 0,
            left: 0,
            was_incomplete: false,
            seeding_since: None,
            goal_met: None,
            checks: 0,
            checked: None,
            fetch: MetadataFetch::default(),
            layers: None,
            hash_trees: HashTrees::default(),
            internet: InternetTorrent::default(),
            before: AnnounceTotals::default(),
        }
    }

    pub(super) fn priority(&self, file: usize) -> Priority {
        let pad = self.metainfo.as_ref().and_then(|torrent| torrent.files.get(file));
        match pad {
            Some(file) if file.attributes.pad => Priority::Skip,
            _ => self.priorities.get(file).copied().unwrap_or_default(),
        }
    }

    /// Whether a file is a link to another one: those are made when all others stand (BEP 47).
    pub(super) fn is_link(&self, file: usize) -> bool {
        let file = self.metainfo.as_ref().and_then(|torrent| torrent.files.get(file));
        file.is_some_and(|file| file.target.is_some())
    }

    /// Whether each file is to be fetched or made, by index.
    pub(super) fn wanted_files(&self) -> Vec<bool> {
        let files = self.metainfo.as_ref().map_or(0, |torrent| torrent.files.len());
        (0..files).map(|file| !self.serve_only && self.priority(file) != Priority::Skip).collect()
    }

    /// Whether each piece is wanted, and how much: as much as the file in it that is wanted most.
    pub(super) fn wanted_pieces(&self) -> (Bitfield, PiecePriorities) {
        let Some(geometry) = &self.geometry else {
            return (Bitfield::new(0), PiecePriorities::default());
        };
        if self.serve_only {
            return (Bitfield::new(geometry.pieces()), PiecePriorities::default());
        }
        let mut levels = vec![0_u8; geometry.pieces() as usize];
        for file in 0..geometry.files() {
            let level = self.priority(file as usize) as u8;
            for piece in geometry.file_pieces(FileIndex(file)) {
                if let Some(known) = levels.get_mut(piece as usize) {
                    *known = level.max(*known);
                }
            }
        }
        let any = levels.iter().copied().max().unwrap_or(0);
        let mut wanted = Bitfield::new(geometry.pieces());
        for (raw, level) in (0..geometry.pieces()).zip(&mut levels) {
            // Pieces of nothing but padding belong to no file; the torrent is not whole without
            // them.
            if *level == 0 && any > 0 && geometry.piece_files(PieceIndex(raw)).is_empty() {
                *level = Priority::Normal as u8;
            }
            if *level > 0 {
                wanted.set(PieceIndex(raw));
            }
        }
        let of = levels.into_iter().map(|level| level.max(1)).collect();
        (wanted, PiecePriorities::new(of))
    }

    /// Bytes of wanted files in a piece.
    pub(super) fn wanted_in(&self, piece: PieceIndex) -> u64 {
        let Some(geometry) = &self.geometry else { return 0 };
        let len = geometry.data_len(piece);
        if len == 0 {
            return 0;
        }
        geometry
            .extents(BlockRef { piece, begin: 0, len })
            .filter(|extent| self.priority(extent.file.index()) != Priority::Skip)
            .map(|extent| u64::from(extent.len))
            .sum()
    }

    /// Counts everything anew from what is here.
    pub(super) fn count(&mut self, have: &Bitfield) {
        let Some(geometry) = self.geometry.clone() else { return };
        self.lacks = (0..geometry.files())
            .map(|file| {
                let pieces = geometry.file_pieces(FileIndex(file));
                pieces.filter(|raw| !have.has(PieceIndex(*raw))).count() as u32
            })
            .collect();
        self.wanted_bytes = (0..geometry.files())
            .filter(|file| self.priority(*file as usize) != Priority::Skip)
            .map(|file| geometry.file_length(FileIndex(file)))
            .sum();
        self.have_bytes = have.ones().map(|piece| self.wanted_in(piece)).sum();
        self.left = have.zeros().map(|piece| u64::from(geometry.data_len(piece))).sum();
    }

    /// Everything wanted stands under its name.
    pub(super) fn is_complete(&self) -> bool {
        self.lifecycle.storage() == Storage::Open
            && self.unfinished.iter().all(|unfinished| !unfinished)
    }

    /// The totals for trackers, from the swarm as it stands.
    pub(super) fn totals(&self, swarm: Option<&Swarm>) -> AnnounceTotals {
        let now = swarm.map(|swarm| &swarm.traffic);
        let AnnounceTotals { uploaded, downloaded, corrupt, redundant, .. } = self.before;
        AnnounceTotals {
            uploaded: uploaded + now.map_or(0, |traffic| traffic.sent.total()),
            downloaded: downloaded + now.map_or(0, |traffic| traffic.kept),
            corrupt: corrupt + now.map_or(0, |traffic| traffic.corrupt),
            redundant: redundant + now.map_or(0, |traffic| traffic.redundant),
            // What nobody knows is not nothing: a tracker gives seeds to leechers alone.
            left: if self.geometry.is_some() { self.left } else { 16 << 10 },
        }
    }

    /// Bytes of metadata that are held.
    pub(super) fn held_bytes(&self) -> usize {
        self.fetch.held()
    }

    pub(super) fn check(&self, swarm: Option<&Swarm>) {
        self.announcers.iter().for_each(Announcer::check);
        self.fetch.check();
        let (Some(swarm), Some(geometry)) = (swarm, &self.geometry) else { return };
        self.internet.candidates.check(&swarm.connections.known);
        if swarm.lifecycle.awaits_metadata() {
            return;
        }
        for (file, lacks) in (0u32..).zip(&self.lacks) {
            let pieces = geometry.file_pieces(FileIndex(file));
            let missing = pieces.filter(|raw| !swarm.have.has(PieceIndex(*raw))).count();
            assert_eq!(*lacks as usize, missing, "file {file}");
        }
        let plain = |(file, open): &(usize, &bool)| **open && !self.is_link(*file);
        assert_eq!(self.files_left, self.unfinished.iter().enumerate().filter(plain).count());
        let left: u64 = swarm.have.zeros().map(|piece| u64::from(geometry.data_len(piece))).sum();
        assert_eq!(self.left, left);
        let have: u64 = swarm.have.ones().map(|piece| self.wanted_in(piece)).sum();
        assert_eq!(self.have_bytes, have);
    }
}
