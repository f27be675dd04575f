//! Metadata from peers (BEP 9): the info dictionary of a torrent that is known by its name alone.
//! Pure: it chooses what to request of whom, and takes what they answer.
//!
//! Peers may disagree about its size, so that each size is put together by itself. A hash that is
//! wrong convicts the peer that gave all of it; if several did, one peer alone gives it the next
//! time.
//!
//! A connection has one request at a time. rtorrent 0.9.8 keeps one, loses a second one that comes
//! before it has answered the first, reads nothing more on that connection, and lets nobody in
//! again from that address. Peers answer side by side.
//!
//! ```text
//!   asked ─ comes ─▶ the next one        late twice in a row ─▶ the connection is closed, the peer
//!     └─── late ──▶ after those who are not late                 dialled again
//! ```

use bytes::Bytes;
use dunlin_base::{ConnId, Time};
use dunlin_wire::extended::{METADATA_PIECE, metadata_pieces};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A piece that does not come in this time is asked of another (practice: 3 to 5 s).
const DEADLINE: Duration = Duration::from_secs(5);
/// Requests in a row that a connection leaves without an answer before it is closed: one may be a
/// busy peer.
const MAX_LATE: usize = 2;
/// Who refused is left alone for so long, twice as long with each refusal in a row, …
const REST: Duration = Duration::from_secs(5);
/// … up to this (practice).
const MAX_REST: Duration = Duration::from_secs(60);
/// Bytes that are kept at most: metadata of the largest size, and something of others. Beyond it
/// the size of which there is most is given up: what is put on a scale to fill it is large, and
/// what is right seldom is.
const MAX_HELD: usize = 32 << 20;
/// Metadata larger than this is nobody's (practice).
const MAX_SIZE: u32 = 30 << 20;
/// Sizes of which something is remembered. All but one are wrong, and a peer names one at a time:
/// those that nobody names any more go first.
const MAX_SIZES: usize = 128;
/// How often a peer may name another size: metadata has one.
const MAX_CHANGES: u32 = 3;

#[derive(Clone, Debug)]
struct MetadataSource {
    size: u32,
    /// The piece that was asked for, and until when.
    asked: Option<(u32, Time)>,
    /// Pieces in a row that did not come in time; they may still come.
    late: Vec<u32>,
    /// Refusals in a row.
    refusals: u32,
    /// Not to be asked before.
    rests: Time,
    /// How often it has named another size.
    changes: u32,
    /// How often it did not give what it was asked for.
    failed: u32,
}

impl MetadataSource {
    fn new(size: u32) -> MetadataSource {
        MetadataSource {
            size,
            asked: None,
            late: Vec::new(),
            refusals: 0,
            rests: Time::ZERO,
            changes: 0,
            failed: 0,
        }
    }

    /// A piece comes, or will not; returns whether it was asked for.
    fn take(&mut self, piece: u32) -> bool {
        let asked = self.asked.take_if(|(asked, _)| *asked == piece).is_some();
        asked || self.late.contains(&piece)
    }

    /// What is late is not waited for any longer. Returns whether something is.
    fn expire(&mut self, now: Time) -> bool {
        let late = self.asked.take_if(|(_, until)| *until <= now).map(|(piece, _)| piece);
        self.late.extend(late);
        self.failed = self.failed.saturating_add(u32::from(late.is_some()));
        late.is_some()
    }

    fn is_dead(&self) -> bool {
        self.late.len() >= MAX_LATE
    }

    fn refuses(&mut self, now: Time) {
        self.rests = now + (REST * (1 << self.refusals.min(4))).min(MAX_REST);
        self.refusals = self.refusals.saturating_add(1);
        self.failed = self.failed.saturating_add(1);
    }
}

#[derive(Clone, Debug, Default)]
struct Assembly {
    pieces: BTreeMap<u32, (Bytes, ConnId)>,
    /// The peer that gives all of it, where one alone has to.
    only: Option<ConnId>,
}

impl Assembly {
    /// Bytes that are here.
    fn held(&self) -> usize {
        self.pieces.values().map(|(data, _)| data.len()).sum()
    }
}

/// Metadata on its way.
#[derive(Clone, Debug, Default)]
pub(super) struct MetadataFetch {
    sources: BTreeMap<ConnId, MetadataSource>,
    sizes: BTreeMap<u32, Assembly>,
    /// Several peers gave a wrong one together.
    alone: bool,
}

/// Metadata that is complete, and who gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Complete {
    pub(super) bytes: Bytes,
    pub(super) from: BTreeSet<ConnId>,
}

impl MetadataFetch {
    /// A peer states that it has metadata of this size.
    pub(super) fn offers(&mut self, conn: ConnId, size: u32) {
        if size == 0 || size > MAX_SIZE {
            return;
        }
        let before = self.sources.get(&conn);
        let (changes, failed, rests) = match before {
            Some(source) if source.size == size || source.changes >= MAX_CHANGES => return,
            Some(source) => (source.changes + 1, source.failed, source.rests),
            None => (0, 0, Time::ZERO),
        };
        self.gone(conn);
        let source = MetadataSource { rests, changes, failed, ..MetadataSource::new(size) };
        self.sources.insert(conn, source);
    }

    /// Forgets sizes that nobody names, as far as there is nothing of them or there are too many.
    /// Of those that peers do name there is one a connection.
    fn prune(&mut self) {
        let named: BTreeSet<u32> = self.sources.values().map(|source| source.size).collect();
        self.sizes.retain(|size, all| named.contains(size) || !all.pieces.is_empty());
        while self.sizes.len() > MAX_SIZES {
            let unnamed = self.sizes.iter().filter(|(size, _)| !named.contains(size));
            let least = unnamed.min_by_key(|(_, assembly)| assembly.pieces.len());
            let Some(least) = least.map(|(size, _)| *size) else { return };
            self.sizes.remove(&least);
        }
    }

    /// # Panics
    /// If more is remembered than may be.
    pub(super) fn check(&self) {
        assert!(self.sizes.len() <= MAX_SIZES + self.sources.len(), "{} sizes", self.sizes.len());
        assert!(self.held() <= MAX_HELD, "{} bytes of metadata", self.held());
    }

    /// Bytes of metadata that are here.
    pub(super) fn held(&self) -> usize {
        self.sizes.values().map(Assembly::held).sum()
    }

    /// A connection is gone.
    pub(super) fn gone(&mut self, conn: ConnId) {
        let Some(source) = self.sources.remove(&conn) else { return };
        if let Some(assembly) = self.sizes.get_mut(&source.size)
            && assembly.only == Some(conn)
        {
            *assembly = Assembly::default();
        }
        self.prune();
    }

    /// What to ask next, and of whom; call it until `None`.
    pub(super) fn next(&mut self, now: Time) -> Option<(ConnId, u32)> {
        self.expire(now);
        // Peers that failed less come first: silent ones must not be asked again and again
        // before the one that would.
        let mut conns: Vec<(u32, ConnId)> =
            self.sources.iter().map(|(conn, source)| (source.failed, *conn)).collect();
        conns.sort_unstable();
        conns.into_iter().find_map(|(_, conn)| Some((conn, self.ask(now, conn)?)))
    }

    /// A connection on which nothing is answered any more, once: it is to be closed, and the peer
    /// dialled again.
    pub(super) fn dead(&mut self, now: Time) -> Option<ConnId> {
        self.expire(now);
        let dead = self.sources.iter().find(|(_, source)| source.is_dead());
        let conn = dead.map(|(conn, _)| *conn)?;
        self.gone(conn);
        Some(conn)
    }

    fn ask(&mut self, now: Time, conn: ConnId) -> Option<u32> {
        let source = self.sources.get(&conn)?;
        let size = source.size;
        if source.is_dead() || source.asked.is_some() || source.rests > now {
            return None;
        }
        let assembly = self.sizes.entry(size).or_default();
        if self.alone && *assembly.only.get_or_insert(conn) != conn {
            return None;
        }
        let same_size = self.sources.values().filter(|source| source.size == size);
        let asked: BTreeSet<u32> =
            same_size.filter_map(|source| source.asked).map(|(piece, _)| piece).collect();
        let piece = (0..metadata_pieces(size))
            .find(|piece| !assembly.pieces.contains_key(piece) && !asked.contains(piece))?;
        self.sources.get_mut(&conn)?.asked = Some((piece, now + DEADLINE));
        Some(piece)
    }

    fn expire(&mut self, now: Time) {
        let sources = self.sources.iter_mut().filter_map(|(conn, source)| {
            let size = source.size;
            source.expire(now).then_some((*conn, size))
        });
        let late: Vec<(ConnId, u32)> = sources.collect();
        for (conn, size) in late {
            self.let_go(conn, size);
        }
    }

    /// A peer that had to give all of it does not: another one begins anew.
    fn let_go(&mut self, conn: ConnId, size: u32) {
        if let Some(assembly) = self.sizes.get_mut(&size)
            && assembly.only == Some(conn)
        {
            *assembly = Assembly::default();
        }
    }

    /// When to look again for the time's sake.
    pub(super) fn wake(&self, now: Time) -> Option<Time> {
        let asked = self.sources.values().filter_map(|source| source.asked).map(|(_, until)| until);
        let rests = self.sources.values().map(|source| source.rests).filter(|rests| *rests > now);
        asked.chain(rests).min()
    }

    /// A peer will not give a piece.
    pub(super) fn rejected(&mut self, now: Time, conn: ConnId, piece: u32) {
        let Some(source) = self.sources.get_mut(&conn) else { return };
        let size = source.size;
        source.take(piece);
        // A refusal is an answer.
        source.late.clear();
        source.refuses(now);
        self.let_go(conn, size);
    }

    /// A piece came; a late one is as welcome as any. A `total_size` of 0 was not stated.
    /// Returns the whole if it was the last one.
    ///
    /// # Errors
    /// If it is not what it has to be; the sender rests.
    pub(super) fn data(
        &mut self,
        now: Time,
        conn: ConnId,
        piece: u32,
        total_size: u32,
        data: &Bytes,
    ) -> Result<Option<Complete>, &'static str> {
        let Some(source) = self.sources.get_mut(&conn) else { return Ok(None) };
        let size = source.size;
        // Never asked for: there is no telling.
        if !source.take(piece) {
            return Ok(None);
        }
        let begin = u64::from(piece) * u64::from(METADATA_PIECE);
        let expected = u64::from(size).saturating_sub(begin).min(u64::from(METADATA_PIECE));
        if total_size != 0 && total_size != size || data.len() as u64 != expected {
            source.refuses(now);
            return Err("metadata of another size than was said");
        }
        source.late.clear();
        source.refusals = 0;
        let assembly = self.sizes.entry(size).or_default();
        assembly.pieces.entry(piece).or_insert_with(|| (data.clone(), conn));
        if assembly.pieces.len() < metadata_pieces(size) as usize {
            self.make_room(now);
            return Ok(None);
        }
        let pieces = std::mem::take(assembly).pieces;
        self.sizes.remove(&size);
        let from = pieces.values().map(|(_, conn)| *conn).collect();
        let bytes: Vec<u8> = pieces.into_values().flat_map(|(bytes, _)| bytes).collect();
        Ok(Some(Complete { bytes: bytes.into(), from }))
    }

    /// Gives up sizes while too much is kept: those first that fewest peers name, and of these the
    /// one of which most is here.
    fn make_room(&mut self, now: Time) {
        let held = Assembly::held;
        while self.sizes.values().map(held).sum::<usize>() > MAX_HELD {
            let named = |size: u32| self.sources.values().filter(|of| of.size == size).count();
            let worth = |(size, of): &(&u32, &Assembly)| (named(**size), Reverse(held(of)));
            let kept = self.sizes.iter().filter(|(_, assembly)| held(assembly) > 0);
            let most = kept.min_by_key(worth).map(|(size, _)| *size);
            let Some(most) = most else { return };
            self.sizes.remove(&most);
            for source in self.sources.values_mut().filter(|source| source.size == most) {
                source.asked = None;
                source.rests = now + MAX_REST;
            }
        }
    }

    /// The whole has another hash than its name says. Returns who is convicted.
    pub(super) fn wrong(&mut self, from: &BTreeSet<ConnId>) -> Option<ConnId> {
        let mut senders = from.iter();
        match (senders.next(), senders.next()) {
            (Some(only), None) => Some(*only),
            _ => {
                self.alone = true;
                None
            }
        }
    }
}

#[cfg(test)]
mod tests;
