//! Metadata from peers (BEP 9): the info dictionary of a torrent that is known by its name alone. Pure: it
//! says what to ask of whom, and takes what they answer.
//!
//! Peers may disagree about its size, so that each size is put together by itself. A hash that is wrong
//! convicts whoever gave all of it; if several did, one peer alone gives it the next time.

use bytes::Bytes;
use dunlin_base::{ConnId, Time};
use dunlin_wire::extended::{METADATA_PIECE, metadata_pieces};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Requests that one peer is sent at a time (practice).
const MAX_ASKED: usize = 2;
/// A piece that does not come in this time is asked of another (practice: 3 to 5 s).
const DEADLINE: Duration = Duration::from_secs(5);
/// Who refused, or did not answer, is left alone for so long (practice).
const REST: Duration = Duration::from_secs(60);
/// Bytes that are kept at most. Beyond it the size of which there is most is given up: what is put on a
/// scale to fill it is large, and what is right seldom is.
const MAX_HELD: usize = 64 << 20;
/// Metadata larger than this is nobody's (practice).
const MAX_SIZE: u32 = 30 << 20;

#[derive(Clone, Debug)]
struct Source {
    size: u32,
    /// Pieces asked for, and until when.
    asked: Vec<(u32, Time)>,
    /// Not to be asked before.
    rests: Time,
}

#[derive(Clone, Debug, Default)]
struct Assembly {
    pieces: BTreeMap<u32, (Bytes, ConnId)>,
    /// The peer that gives all of it, where one alone has to.
    only: Option<ConnId>,
}

/// Metadata on its way.
#[derive(Clone, Debug, Default)]
pub(super) struct Fetch {
    sources: BTreeMap<ConnId, Source>,
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

impl Fetch {
    /// A peer has metadata of this size, as it says.
    pub(super) fn offers(&mut self, conn: ConnId, size: u32) {
        if size == 0 || size > MAX_SIZE {
            return;
        }
        match self.sources.get_mut(&conn) {
            Some(source) if source.size == size => {}
            _ => {
                self.gone(conn);
                let source = Source { size, asked: Vec::new(), rests: Time::ZERO };
                self.sources.insert(conn, source);
            }
        }
    }

    /// A connection is gone.
    pub(super) fn gone(&mut self, conn: ConnId) {
        let Some(source) = self.sources.remove(&conn) else { return };
        if let Some(assembly) = self.sizes.get_mut(&source.size)
            && assembly.only == Some(conn)
        {
            *assembly = Assembly::default();
        }
    }

    /// What to ask next, and of whom; call it until `None`.
    pub(super) fn next(&mut self, now: Time) -> Option<(ConnId, u32)> {
        self.expire(now);
        let conns: Vec<ConnId> = self.sources.keys().copied().collect();
        conns.into_iter().find_map(|conn| Some((conn, self.ask(now, conn)?)))
    }

    fn ask(&mut self, now: Time, conn: ConnId) -> Option<u32> {
        let source = self.sources.get(&conn)?;
        let size = source.size;
        if source.asked.len() >= MAX_ASKED || source.rests > now {
            return None;
        }
        let assembly = self.sizes.entry(size).or_default();
        if self.alone && *assembly.only.get_or_insert(conn) != conn {
            return None;
        }
        let asked: BTreeSet<u32> = self
            .sources
            .values()
            .filter(|source| source.size == size)
            .flat_map(|source| source.asked.iter().map(|(piece, _)| *piece))
            .collect();
        let piece = (0..metadata_pieces(size))
            .find(|piece| !assembly.pieces.contains_key(piece) && !asked.contains(piece))?;
        self.sources.get_mut(&conn)?.asked.push((piece, now + DEADLINE));
        Some(piece)
    }

    fn expire(&mut self, now: Time) {
        let mut late = Vec::new();
        for (conn, source) in &mut self.sources {
            if source.asked.iter().any(|(_, until)| *until <= now) {
                source.asked.clear();
                source.rests = now + REST;
                late.push((*conn, source.size));
            }
        }
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
        let asked = self.sources.values().flat_map(|source| &source.asked).map(|(_, until)| *until);
        let rests = self.sources.values().map(|source| source.rests).filter(|rests| *rests > now);
        asked.chain(rests).min()
    }

    /// A peer will not give a piece.
    pub(super) fn rejected(&mut self, now: Time, conn: ConnId, piece: u32) {
        let Some(source) = self.sources.get_mut(&conn) else { return };
        let size = source.size;
        source.asked.retain(|(asked, _)| *asked != piece);
        source.rests = now + REST;
        self.let_go(conn, size);
    }

    /// A piece came. Returns the whole if it was the last one.
    ///
    /// # Errors
    /// If it is not what it has to be: the sender breaks the protocol.
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
        let before = source.asked.len();
        source.asked.retain(|(asked, _)| *asked != piece);
        if source.asked.len() == before {
            // Late, or never asked for: there is no telling.
            return Ok(None);
        }
        let begin = u64::from(piece) * u64::from(METADATA_PIECE);
        let expected = u64::from(size).saturating_sub(begin).min(u64::from(METADATA_PIECE));
        if total_size != size || data.len() as u64 != expected {
            return Err("metadata of another size than was said");
        }
        let assembly = self.sizes.entry(size).or_default();
        assembly.pieces.entry(piece).or_insert_with(|| (data.clone(), conn));
        if assembly.pieces.len() < metadata_pieces(size) as usize {
            self.make_room(now, size);
            return Ok(None);
        }
        let pieces = std::mem::take(assembly).pieces;
        self.sizes.remove(&size);
        let from = pieces.values().map(|(_, conn)| *conn).collect();
        let bytes: Vec<u8> = pieces.into_values().flat_map(|(bytes, _)| bytes).collect();
        Ok(Some(Complete { bytes: bytes.into(), from }))
    }

    /// Gives up other sizes while too much is kept.
    fn make_room(&mut self, now: Time, kept: u32) {
        let held = |assembly: &Assembly| -> usize {
            assembly.pieces.values().map(|(data, _)| data.len()).sum()
        };
        while self.sizes.values().map(held).sum::<usize>() > MAX_HELD {
            let others = self.sizes.iter().filter(|(size, _)| **size != kept);
            let most = others.max_by_key(|(_, assembly)| held(assembly)).map(|(size, _)| *size);
            let Some(most) = most else { return };
            self.sizes.remove(&most);
            for source in self.sources.values_mut().filter(|source| source.size == most) {
                source.asked.clear();
                source.rests = now + REST;
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
