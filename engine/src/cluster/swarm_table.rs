//! The swarm table: who takes part in which torrent, who has which piece, and how busy everyone is.
//!
//! A member costs one entry of an ordered map per torrent; a seed costs nothing more. Invariants,
//! held by [`SwarmTable::check`]: a bitfield is neither empty nor full and fits its torrent; no
//! member is listed twice; the sources are the members that have everything.

mod choose;

use crate::cluster::{Holding, Sets, TrackerMap, TrackerOrder};
use dunlin_base::{Bitfield, FileIndex, PieceIndex, Rank, Rng, TorrentId};
use dunlin_control::{Load, Member};
use dunlin_metainfo::{Geometry, PieceHashes, SetInfo};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Who has a piece: its hash for people, and the ranks.
pub type DumpRow = (String, Vec<Rank>);

/// What the tracker knows of every torrent and every registered file.
#[derive(Clone, Debug)]
pub struct SwarmTable {
    map: TrackerMap,
    torrents: Vec<SwarmEntry>,
    /// (torrent, file), in the order of the files' names.
    names: Vec<(TorrentId, FileIndex)>,
    unwanted: Vec<UnwantedEntry>,
    loads: BTreeMap<Rank, u64>,
    hidden: BTreeSet<Rank>,
    /// The racks of ranks whose racks are known, by number.
    racks: BTreeMap<Rank, u32>,
    rack_names: BTreeMap<String, u32>,
}

/// How the members of a swarm are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Listing {
    /// In which order.
    pub order: TrackerOrder,
    /// How many at most, the asker included; 0 for all.
    pub limit: usize,
}

#[derive(Clone, Debug)]
struct SwarmEntry {
    info: Arc<SetInfo>,
    geometry: Geometry,
    records: BTreeMap<Rank, MemberRecord>,
    /// The members, in the order of their arrival.
    members: Vec<Rank>,
    /// The members that have everything.
    sources: Vec<Rank>,
    /// The members of each rack.
    racks: BTreeMap<u32, Vec<Rank>>,
}

/// What is known of a rank in a torrent. Who has something but has not asked for the swarm yet is
/// no member: it could not serve, for it does not know the set.
#[derive(Clone, Debug)]
struct MemberRecord {
    is_member: bool,
    have: Have,
}

#[derive(Clone, Debug)]
enum Have {
    Nothing,
    All,
    Some(Box<Bitfield>),
}

#[derive(Clone, Debug)]
struct UnwantedEntry {
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
    /// wanting the set, and all who have every file of it whole; but nobody who links it.
    #[must_use]
    pub fn new(sets: &Sets, map: TrackerMap) -> SwarmTable {
        let unwanted = sets
            .unwanted
            .iter()
            .map(|file| UnwantedEntry {
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
            torrents: Vec::new(),
            names: Vec::new(),
            unwanted,
            loads: BTreeMap::new(),
            hidden: BTreeSet::new(),
            racks: BTreeMap::new(),
            rack_names: BTreeMap::new(),
        };
        let mut names = Vec::new();
        for (number, set) in (0..).map(TorrentId).zip(&sets.torrents) {
            let (info, geometry) = (Arc::clone(&set.info), set.info.geometry(1));
            table.torrents.push(SwarmEntry {
                info,
                geometry,
                records: BTreeMap::new(),
                members: Vec::new(),
                sources: Vec::new(),
                racks: BTreeMap::new(),
            });
            for held in &set.holders {
                let serves = held.whole || !set.wants(held.rank);
                table.set_holding(number, held, serves && !set.links.contains_key(&held.rank));
            }
            let files = 0..set.info.files.len() as u32;
            names.extend(files.map(|file| (number, FileIndex(file))));
        }
        names.sort_by(|a, b| table.name(*a).cmp(table.name(*b)));
        table.names = names;
        table
    }

    /// Notes down what a rank has of a torrent, in place of what was known; as a member if it can
    /// serve without asking for the swarm.
    pub fn set_holding(&mut self, torrent: TorrentId, held: &Holding, is_member: bool) {
        let rack = self.racks.get(&held.rank).copied();
        let Some(torrent) = self.torrent_mut(torrent) else { return };
        torrent.leave(held.rank);
        let record = MemberRecord { is_member: false, have: Have::of(held.pieces.as_ref()) };
        torrent.records.insert(held.rank, record);
        if is_member {
            torrent.join(held.rank, rack);
        }
    }

    /// Notes down in which rack a rank is. To be said before the rank is a member anywhere, or else
    /// its place is found when it joins again.
    pub fn set_rack(&mut self, rank: Rank, rack: &str) {
        if rack.is_empty() {
            self.racks.remove(&rank);
            return;
        }
        let next = self.rack_names.len() as u32;
        let number = *self.rack_names.entry(rack.to_owned()).or_insert(next);
        self.racks.insert(rank, number);
        for torrent in self.torrents.iter_mut().filter(|torrent| torrent.is_member(rank)) {
            torrent.racks.values_mut().for_each(|of| of.retain(|other| *other != rank));
            torrent.racks.entry(number).or_default().push(rank);
        }
    }

    fn name(&self, (torrent, file): (TorrentId, FileIndex)) -> &str {
        let files = self.torrent(torrent).map(|torrent| torrent.info.files.as_slice());
        files.and_then(|files| files.get(file.index())).map_or("", |file| file.name.as_str())
    }

    fn torrent(&self, torrent: TorrentId) -> Option<&SwarmEntry> {
        self.torrents.get(torrent.0 as usize)
    }

    fn torrent_mut(&mut self, torrent: TorrentId) -> Option<&mut SwarmEntry> {
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
    pub fn is_unwanted(&self, name: &str) -> bool {
        self.unwanted.binary_search_by(|file| file.name.as_str().cmp(name)).is_ok()
    }

    /// The metainfo of all torrents, by number.
    #[must_use]
    pub fn infos(&self) -> Vec<Arc<SetInfo>> {
        self.torrents.iter().map(|torrent| Arc::clone(&torrent.info)).collect()
    }

    /// The names that are known but in no torrent, because nobody wants them.
    #[must_use]
    pub fn unwanted(&self) -> Vec<&str> {
        self.unwanted.iter().map(|file| file.name.as_str()).collect()
    }

    /// Makes `rank` a member, the last to arrive. Nothing happens if it is one.
    pub fn join(&mut self, torrent: TorrentId, rank: Rank) {
        let rack = self.racks.get(&rank).copied();
        if let Some(torrent) = self.torrent_mut(torrent) {
            torrent.join(rank, rack);
        }
    }

    /// Whether `rank` is a member.
    #[must_use]
    pub fn is_member(&self, torrent: TorrentId, rank: Rank) -> bool {
        self.torrent(torrent).is_some_and(|torrent| torrent.is_member(rank))
    }

    /// Forgets `rank` everywhere.
    pub fn leave(&mut self, rank: Rank) {
        for torrent in &mut self.torrents {
            torrent.leave(rank);
        }
        for file in &mut self.unwanted {
            file.holders.remove(&rank);
        }
        self.loads.remove(&rank);
        self.hidden.remove(&rank);
        self.racks.remove(&rank);
    }

    /// The torrents of which `rank` has anything.
    #[must_use]
    pub fn held_by(&self, rank: Rank) -> Vec<TorrentId> {
        let has = |torrent: &SwarmEntry| {
            torrent.records.get(&rank).is_some_and(|record| !matches!(record.have, Have::Nothing))
        };
        let torrents = (0..).map(TorrentId).zip(&self.torrents);
        torrents.filter(|(_, torrent)| has(torrent)).map(|(id, _)| id).collect()
    }

    /// Everybody who takes part in a torrent, or has something of it, and whether that is all of
    /// it.
    pub fn holders(&self, torrent: TorrentId) -> impl Iterator<Item = (Rank, bool)> + '_ {
        let records = self.torrent(torrent).into_iter().flat_map(|torrent| &torrent.records);
        records.map(|(rank, record)| (*rank, matches!(record.have, Have::All)))
    }

    /// Forgets `rank` in one torrent.
    pub fn withdraw(&mut self, torrent: TorrentId, rank: Rank) {
        if let Some(torrent) = self.torrent_mut(torrent) {
            torrent.leave(rank);
        }
    }

    /// Leaves `rank` out of every answer: it serves nobody. It stays a member, and in the dump.
    pub fn hide(&mut self, rank: Rank) {
        self.hidden.insert(rank);
    }

    /// A member has these pieces now. Pieces that the torrent does not have, and ranks that are no
    /// members, change nothing.
    pub fn gained(&mut self, torrent: TorrentId, rank: Rank, pieces: &[PieceIndex]) {
        let Some(torrent) = self.torrent_mut(torrent) else { return };
        torrent.add(rank, pieces.iter().copied());
    }

    /// A member has these files whole. Files that the torrent does not have, and ranks that are no
    /// members, change nothing.
    pub fn completed(&mut self, torrent: TorrentId, rank: Rank, files: &[FileIndex]) {
        let Some(torrent) = self.torrent_mut(torrent) else { return };
        // A set, so that a message that repeats a file costs no more than the torrent has pieces.
        let files: BTreeSet<FileIndex> = files.iter().copied().collect();
        let known = torrent.geometry.files();
        let ranges: Vec<_> = files
            .into_iter()
            .filter(|file| file.0 < known)
            .map(|file| torrent.geometry.file_pieces(file))
            .collect();
        torrent.add(rank, ranges.into_iter().flatten().map(PieceIndex));
    }

    /// A rank has reported how busy it is.
    pub fn load(&mut self, rank: Rank, load: Load) {
        self.loads.insert(rank, load.served.saturating_add(load.in_flight));
    }

    /// The members that share, in the order of their arrival.
    #[must_use]
    pub fn members(&self, torrent: TorrentId) -> Vec<Rank> {
        let Some(torrent) = self.torrent(torrent) else { return Vec::new() };
        let shown = torrent.members.iter().filter(|rank| !self.hidden.contains(rank));
        shown.copied().collect()
    }

    /// The swarm as `asker` is told it: the members that share, and the asker itself, last.
    #[must_use]
    pub fn swarm_for(
        &self,
        torrent: TorrentId,
        asker: Rank,
        listing: Listing,
        rng: &mut Rng,
    ) -> Vec<Member> {
        let named = self.named_to(torrent, asker, listing.limit, rng);
        self.listed(&named, asker, listing.order, rng)
    }

    /// The ranks that `asker` is told of, in the order of their arrival or as they were drawn: the
    /// members that share, and the asker if it is one. At most `limit`, unless that is 0.
    #[must_use]
    pub fn named_to(
        &self,
        torrent: TorrentId,
        asker: Rank,
        limit: usize,
        rng: &mut Rng,
    ) -> Vec<Rank> {
        let Some(torrent) = self.torrent(torrent) else { return Vec::new() };
        let mut ranks = match limit {
            1.. if torrent.members.len() > limit => self.choose(torrent, asker, limit, rng),
            _ => torrent.members.clone(),
        };
        ranks.retain(|rank| *rank == asker || !self.hidden.contains(rank));
        ranks
    }

    /// These ranks with their last reported loads, in the tracker's order, the asker last.
    #[must_use]
    pub fn listed(
        &self,
        ranks: &[Rank],
        asker: Rank,
        order: TrackerOrder,
        rng: &mut Rng,
    ) -> Vec<Member> {
        let load = |rank: Rank| self.loads.get(&rank).copied().unwrap_or(0);
        let mut members: Vec<Member> =
            ranks.iter().map(|rank| Member { rank: *rank, load: load(*rank) }).collect();
        order.arrange(&mut members, asker, rng);
        members
    }

    /// Who of `members` has which pieces, by rank, the asker left out: those that share and have
    /// something. `None` with map `swarm`, which does not say.
    #[must_use]
    pub fn owners(
        &self,
        torrent: TorrentId,
        asker: Rank,
        members: &[Member],
    ) -> Option<Vec<(Rank, Bitfield)>> {
        if self.map == TrackerMap::Swarm {
            return None;
        }
        let torrent = self.torrent(torrent)?;
        let ranks: BTreeSet<Rank> = members.iter().map(|member| member.rank).collect();
        let mut owners = Vec::new();
        for rank in ranks.into_iter().filter(|rank| *rank != asker) {
            let Some(record) = torrent.records.get(&rank).filter(|record| record.is_member) else {
                continue;
            };
            match &record.have {
                Have::Nothing => {}
                Have::All => owners.push((rank, Bitfield::full(torrent.geometry.pieces()))),
                Have::Some(pieces) => owners.push((rank, (**pieces).clone())),
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
            let shown = |record: &MemberRecord| record.is_member || self.map == TrackerMap::Pieces;
            let records = torrent.records.iter().filter(|(_, record)| shown(record));
            let holders = records.map(|(rank, record)| (*rank, &record.have)).collect();
            for (index, file) in (0..).map(FileIndex).zip(&torrent.info.files) {
                let pieces = torrent.geometry.file_pieces(index);
                let hashes = torrent.info.file_hashes(index);
                dump.push((file.name.clone(), rows(&hashes, pieces.start, &holders)));
            }
        }
        for file in &self.unwanted {
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
            torrent.check();
        }
        assert!(self.names.is_sorted_by(|a, b| self.name(*a) < self.name(*b)));
        assert!(self.unwanted.is_sorted_by(|a, b| a.name < b.name));
    }
}

impl SwarmEntry {
    fn is_member(&self, rank: Rank) -> bool {
        self.records.get(&rank).is_some_and(|record| record.is_member)
    }

    fn join(&mut self, rank: Rank, rack: Option<u32>) {
        let nothing = MemberRecord { is_member: false, have: Have::Nothing };
        let record = self.records.entry(rank).or_insert(nothing);
        if std::mem::replace(&mut record.is_member, true) {
            return;
        }
        self.members.push(rank);
        if matches!(record.have, Have::All) {
            self.sources.push(rank);
        }
        if let Some(rack) = rack {
            self.racks.entry(rack).or_default().push(rank);
        }
    }

    fn leave(&mut self, rank: Rank) {
        if self.records.remove(&rank).is_some_and(|record| record.is_member) {
            let lists = [&mut self.members, &mut self.sources];
            let lists = lists.into_iter().chain(self.racks.values_mut());
            lists.for_each(|list| list.retain(|other| *other != rank));
        }
    }

    /// A member has these pieces now.
    fn add(&mut self, rank: Rank, pieces: impl Iterator<Item = PieceIndex>) {
        let of = self.geometry.pieces();
        let Some(record) = self.records.get_mut(&rank).filter(|record| record.is_member) else {
            return;
        };
        let had_all = matches!(record.have, Have::All);
        pieces.filter(|piece| piece.0 < of).for_each(|piece| record.have.add(piece, of));
        if !had_all && matches!(record.have, Have::All) {
            self.sources.push(rank);
        }
    }

    fn check(&self) {
        let unique = |list: &[Rank]| list.iter().collect::<BTreeSet<_>>().len() == list.len();
        assert!(unique(&self.members) && unique(&self.sources));
        assert!(self.members.iter().all(|rank| self.is_member(*rank)));
        let members = self.records.values().filter(|record| record.is_member);
        assert_eq!(members.count(), self.members.len());
        let all = |rank: &Rank| self.records.get(rank).is_some_and(|record| record.has_all());
        assert_eq!(self.members.iter().filter(|rank| all(rank)).count(), self.sources.len());
        assert!(self.sources.iter().all(all));
        for list in self.racks.values() {
            assert!(unique(list) && list.iter().all(|rank| self.is_member(*rank)));
        }
        for record in self.records.values() {
            if let Have::Some(pieces) = &record.have {
                assert_eq!(pieces.len(), self.geometry.pieces());
                assert!(pieces.count() > 0 && !pieces.is_full());
            }
        }
    }
}

impl MemberRecord {
    fn has_all(&self) -> bool {
        matches!(self.have, Have::All)
    }
}

#[cfg(test)]
mod tests;
