//! The swarm table: who takes part in which torrent, who has which piece, and how busy everyone is.
//!
//! A member costs one entry of an ordered map per torrent; a seed costs nothing more. Invariants,
//! held by [`SwarmTable::check`]: a bitfield is neither empty nor full and fits its torrent; no two
//! members of a torrent arrived at once.

use crate::{Load, Member, Sets, TrackerMap, TrackerOrder};
use dunlin_base::{Bitfield, FileIndex, PieceIndex, Rank, Rng, TorrentId};
use dunlin_metainfo::{Geometry, PieceHashes, SetInfo};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Who has a piece: its hash for people, and the ranks.
pub type DumpRow = (String, Vec<Rank>);

/// What the tracker knows of every torrent and every registered file.
#[derive(Clone, Debug)]
pub struct SwarmTable {
    map: TrackerMap,
    torrents: Vec<Torrent>,
    /// (torrent, file), in the order of the files' names.
    names: Vec<(TorrentId, FileIndex)>,
    loose: Vec<Loose>,
    loads: BTreeMap<Rank, u64>,
    hidden: BTreeSet<Rank>,
}

#[derive(Clone, Debug)]
struct Torrent {
    info: Arc<SetInfo>,
    geometry: Geometry,
    seats: BTreeMap<Rank, Seat>,
    arrivals: u32,
}

/// What is known of a rank in a torrent. Who has something but has not asked for the swarm yet is
/// no member: it could not serve, for it does not know the set.
#[derive(Clone, Debug)]
struct Seat {
    arrival: Option<u32>,
    have: Have,
}

#[derive(Clone, Debug)]
enum Have {
    Nothing,
    All,
    Some(Box<Bitfield>),
}

#[derive(Clone, Debug)]
struct Loose {
    name: String,
    hashes: PieceHashes,
    holders: BTreeMap<Rank, Have>,
}

impl Have {
    fn of(pieces: Option<&Bitfield>) -> Have {
        match pieces {
            None => Have::All,
            Some(pieces) if pieces.is_full() => Have::All,
            Some(pieces) if pieces.count() == 0 => Have::Nothing,
            Some(pieces) => Have::Some(Box::new(pieces.clone())),
        }
    }

    fn has(&self, piece: u32) -> bool {
        match self {
            Have::Nothing => false,
            Have::All => true,
            Have::Some(pieces) => pieces.has(PieceIndex(piece)),
        }
    }

    /// Adds a piece of a torrent of `of` pieces, which it must be one of.
    fn add(&mut self, piece: PieceIndex, of: u32) {
        match self {
            Have::All => return,
            Have::Nothing => *self = Have::Some(Box::new(Bitfield::new(of))),
            Have::Some(_) => {}
        }
        if let Have::Some(pieces) = self {
            pieces.set(piece);
            if pieces.is_full() {
                *self = Have::All;
            }
        }
    }
}

impl SwarmTable {
    /// The table at the start. Members are, in the order of ranks, all who hold something without
    /// wanting the set, and all who have every file of it whole.
    #[must_use]
    pub fn new(sets: &Sets, map: TrackerMap) -> SwarmTable {
        let mut names = Vec::new();
        let mut torrents = Vec::new();
        for (number, set) in (0..).zip(&sets.torrents) {
            let mut torrent = Torrent {
                info: Arc::clone(&set.info),
                geometry: set.info.geometry(1),
                seats: BTreeMap::new(),
                arrivals: 0,
            };
            for held in &set.holders {
                let is_member = held.whole || !set.wants(held.rank);
                let arrival = is_member.then(|| torrent.next_arrival());
                let have = Have::of(held.pieces.as_ref());
                torrent.seats.insert(held.rank, Seat { arrival, have });
            }
            let files = 0..set.info.files.len() as u32;
            names.extend(files.map(|file| (TorrentId(number), FileIndex(file))));
            torrents.push(torrent);
        }
        let loose = sets
            .loose
            .iter()
            .map(|file| Loose {
                name: file.name.clone(),
                hashes: file.hashes.clone(),
                holders: file
                    .holders
                    .iter()
                    .map(|(rank, pieces)| (*rank, Have::of(pieces.as_ref())))
                    .collect(),
            })
            .collect();
        let mut table = SwarmTable {
            map,
            torrents,
            names,
            loose,
            loads: BTreeMap::new(),
            hidden: BTreeSet::new(),
        };
        let mut names = std::mem::take(&mut table.names);
        names.sort_by(|a, b| table.name(*a).cmp(table.name(*b)));
        table.names = names;
        table
    }

    fn name(&self, (torrent, file): (TorrentId, FileIndex)) -> &str {
        let files = self.torrent(torrent).map(|torrent| torrent.info.files.as_slice());
        files.and_then(|files| files.get(file.index())).map_or("", |file| file.name.as_str())
    }

    fn torrent(&self, torrent: TorrentId) -> Option<&Torrent> {
        self.torrents.get(torrent.0 as usize)
    }

    fn torrent_mut(&mut self, torrent: TorrentId) -> Option<&mut Torrent> {
        self.torrents.get_mut(torrent.0 as usize)
    }

    /// How many torrents there are; they are numbered from 0.
    #[must_use]
    pub fn torrents(&self) -> u32 {
        self.torrents.len() as u32
    }

    /// The metainfo of a torrent.
    #[must_use]
    pub fn info(&self, torrent: TorrentId) -> Option<&Arc<SetInfo>> {
        self.torrent(torrent).map(|torrent| &torrent.info)
    }

    /// The torrent that a name belongs to.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<TorrentId> {
        let found = self.names.binary_search_by(|at| self.name(*at).cmp(name)).ok()?;
        self.names.get(found).map(|(torrent, _)| *torrent)
    }

    /// Whether the name is known but in no torrent, because nobody wants it.
    #[must_use]
    pub fn is_loose(&self, name: &str) -> bool {
        self.loose.binary_search_by(|file| file.name.as_str().cmp(name)).is_ok()
    }

    /// Makes `rank` a member, the last to arrive. Nothing happens if it is one.
    pub fn join(&mut self, torrent: TorrentId, rank: Rank) {
        let Some(torrent) = self.torrent_mut(torrent) else { return };
        if torrent.is_member(rank) {
            return;
        }
        let arrival = Some(torrent.next_arrival());
        let nothing = Seat { arrival, have: Have::Nothing };
        torrent.seats.entry(rank).and_modify(|seat| seat.arrival = arrival).or_insert(nothing);
    }

    /// Whether `rank` is a member.
    #[must_use]
    pub fn is_member(&self, torrent: TorrentId, rank: Rank) -> bool {
        self.torrent(torrent).is_some_and(|torrent| torrent.is_member(rank))
    }

    /// Forgets `rank` everywhere.
    pub fn leave(&mut self, rank: Rank) {
        for torrent in &mut self.torrents {
            torrent.seats.remove(&rank);
        }
        for file in &mut self.loose {
            file.holders.remove(&rank);
        }
        self.loads.remove(&rank);
    }

    /// Leaves `rank` out of every answer: it serves nobody. It stays a member, and in the dump.
    pub fn hide(&mut self, rank: Rank) {
        self.hidden.insert(rank);
    }

    /// A member has these pieces now. Pieces that the torrent does not have, and ranks that are no
    /// members, change nothing.
    pub fn gained(&mut self, torrent: TorrentId, rank: Rank, pieces: &[PieceIndex]) {
        let Some(torrent) = self.torrent_mut(torrent) else { return };
        let of = torrent.geometry.pieces();
        let Some(seat) = torrent.seats.get_mut(&rank) else { return };
        if seat.arrival.is_some() {
            let known = pieces.iter().filter(|piece| piece.0 < of);
            known.for_each(|piece| seat.have.add(*piece, of));
        }
    }

    /// A member has these files whole. Files that the torrent does not have, and ranks that are no
    /// members, change nothing.
    pub fn completed(&mut self, torrent: TorrentId, rank: Rank, files: &[FileIndex]) {
        let Some(torrent) = self.torrent_mut(torrent) else { return };
        let of = torrent.geometry.pieces();
        let Some(seat) = torrent.seats.get_mut(&rank) else { return };
        if seat.arrival.is_none() {
            return;
        }
        // A set, so that a message that repeats a file costs no more than the torrent has pieces.
        let files: BTreeSet<FileIndex> = files.iter().copied().collect();
        for file in files.into_iter().filter(|file| file.0 < torrent.geometry.files()) {
            for piece in torrent.geometry.file_pieces(file) {
                seat.have.add(PieceIndex(piece), of);
            }
        }
    }

    /// A rank has reported how busy it is.
    pub fn load(&mut self, rank: Rank, load: Load) {
        self.loads.insert(rank, load.served.saturating_add(load.in_flight));
    }

    /// The members that share, in the order of their arrival.
    #[must_use]
    pub fn members(&self, torrent: TorrentId) -> Vec<Rank> {
        let Some(torrent) = self.torrent(torrent) else { return Vec::new() };
        let shown = torrent.arrived().into_iter().filter(|rank| !self.hidden.contains(rank));
        shown.collect()
    }

    /// The swarm as `asker` is told it: the members that share, and the asker itself, last.
    #[must_use]
    pub fn swarm_for(
        &self,
        torrent: TorrentId,
        asker: Rank,
        order: TrackerOrder,
        rng: &mut Rng,
    ) -> Vec<Member> {
        let Some(torrent) = self.torrent(torrent) else { return Vec::new() };
        let shown = |rank: &Rank| *rank == asker || !self.hidden.contains(rank);
        let load = |rank: Rank| self.loads.get(&rank).copied().unwrap_or(0);
        let mut members: Vec<Member> = torrent
            .arrived()
            .into_iter()
            .filter(shown)
            .map(|rank| Member { rank, load: load(rank) })
            .collect();
        order.arrange(&mut members, asker, rng);
        members
    }

    /// Who has which pieces, by rank, for `asker`: the members that share and have something, the
    /// asker left out. `None` with map `swarm`, which does not say.
    #[must_use]
    pub fn owners(&self, torrent: TorrentId, asker: Rank) -> Option<Vec<(Rank, Bitfield)>> {
        if self.map == TrackerMap::Swarm {
            return None;
        }
        let torrent = self.torrent(torrent)?;
        let mut owners = Vec::new();
        for (rank, seat) in &torrent.seats {
            if *rank == asker || seat.arrival.is_none() || self.hidden.contains(rank) {
                continue;
            }
            match &seat.have {
                Have::Nothing => {}
                Have::All => owners.push((*rank, Bitfield::full(torrent.geometry.pieces()))),
                Have::Some(pieces) => owners.push((*rank, (**pieces).clone())),
            }
        }
        Some(owners)
    }

    /// Every registered file by name, also those that nobody wants, and for each of its pieces the
    /// hash and the ranks, in order: with map `swarm` the swarm's members in each row, with map
    /// `pieces` who has the piece.
    #[must_use]
    pub fn dump(&self) -> Vec<(String, Vec<DumpRow>)> {
        let rows = |hashes: &PieceHashes, first: u32, holders: &BTreeMap<Rank, &Have>| {
            let rows = (0..hashes.len()).map(|index| {
                let has =
                    |have: &Have| self.map == TrackerMap::Swarm || have.has(first + index as u32);
                let ranks = holders.iter().filter(|(_, have)| has(have)).map(|(rank, _)| *rank);
                (hashes.display(index), ranks.collect())
            });
            rows.collect::<Vec<DumpRow>>()
        };
        let mut dump = Vec::new();
        for torrent in &self.torrents {
            let shown = |seat: &Seat| seat.arrival.is_some() || self.map == TrackerMap::Pieces;
            let seats = torrent.seats.iter().filter(|(_, seat)| shown(seat));
            let holders = seats.map(|(rank, seat)| (*rank, &seat.have)).collect();
            for (index, file) in (0..).map(FileIndex).zip(&torrent.info.files) {
                let pieces = torrent.geometry.file_pieces(index);
                let hashes = torrent.info.file_hashes(index);
                dump.push((file.name.clone(), rows(&hashes, pieces.start, &holders)));
            }
        }
        for file in &self.loose {
            let holders = file.holders.iter().map(|(rank, have)| (*rank, have)).collect();
            dump.push((file.name.clone(), rows(&file.hashes, 0, &holders)));
        }
        dump.sort_by(|a, b| a.0.cmp(&b.0));
        dump
    }

    /// Asserts the invariants.
    ///
    /// # Panics
    /// If one does not hold.
    pub fn check(&self) {
        for torrent in &self.torrents {
            let mut arrivals = BTreeSet::new();
            for seat in torrent.seats.values() {
                if let Some(arrival) = seat.arrival {
                    assert!(arrivals.insert(arrival) && arrival < torrent.arrivals);
                }
                if let Have::Some(pieces) = &seat.have {
                    assert_eq!(pieces.len(), torrent.geometry.pieces());
                    assert!(pieces.count() > 0 && !pieces.is_full());
                }
            }
        }
        assert!(self.names.is_sorted_by(|a, b| self.name(*a) < self.name(*b)));
        assert!(self.loose.is_sorted_by(|a, b| a.name < b.name));
    }
}

impl Torrent {
    fn next_arrival(&mut self) -> u32 {
        self.arrivals += 1;
        self.arrivals - 1
    }

    fn is_member(&self, rank: Rank) -> bool {
        self.seats.get(&rank).is_some_and(|seat| seat.arrival.is_some())
    }

    fn arrived(&self) -> Vec<Rank> {
        let mut members: Vec<(u32, Rank)> = self
            .seats
            .iter()
            .filter_map(|(rank, seat)| seat.arrival.map(|arrival| (arrival, *rank)))
            .collect();
        members.sort_unstable();
        members.into_iter().map(|(_, rank)| rank).collect()
    }
}

#[cfg(test)]
mod tests;
