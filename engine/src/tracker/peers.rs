//! The peers of one swarm and one address family: records in one piece of memory, leechers before
//! seeds, found by address. A record of IPv4 takes 16 bytes, one of IPv6 28, and their place in the
//! index 6 to 11 on average.

use super::index::Index;
use super::sip::{SipKey, words};
use dunlin_base::Rng;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Up to so many peers are looked through one after another; most swarms never have more.
const SMALL: usize = 16;
/// Neighbours that are taken together of a large swarm: as many records as share a cache line.
const RUN: usize = 4;

/// One peer. `N` is 6 or 18: address and port as they are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PeerRecord<const N: usize> {
    /// Address and port, in network order.
    pub(super) at: [u8; N],
    pub(super) flags: u8,
    /// A keyed hash of its peer id.
    pub(super) tag: u32,
    /// Seconds since the start when it announced itself the last time.
    pub(super) seen: u32,
}

impl<const N: usize> PeerRecord<N> {
    /// Where it is.
    pub(super) fn ip(&self) -> IpAddr {
        if let Some(ip) = self.at.first_chunk::<16>() {
            return Ipv6Addr::from(*ip).into();
        }
        Ipv4Addr::from(self.at.first_chunk::<4>().copied().unwrap_or_default()).into()
    }
}

/// It has everything.
pub(super) const SEED: u8 = 1;
/// It is a partial seed (BEP 21).
pub(super) const PAUSED: u8 = 2;
/// Its completion was counted.
pub(super) const COUNTED: u8 = 4;
/// It has shown that it knows the torrent: it missed something, completed it, or downloaded of it.
pub(super) const KNOWS: u8 = 8;

/// All peers of one family.
#[derive(Clone, Debug, Default)]
pub(super) struct Peers<const N: usize> {
    /// Leechers, then seeds.
    list: Vec<PeerRecord<N>>,
    leechers: usize,
    paused: usize,
    /// Used as long as there are more than [`SMALL`], or half of it once it is there.
    index: Option<Index>,
}

/// The peer that asks: it is never named to itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asker<const N: usize> {
    pub(super) at: [u8; N],
    pub(super) tag: u32,
    /// Seeds that are named to it, at most.
    pub(super) seeds: usize,
}

impl<const N: usize> Peers<N> {
    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    pub(super) fn leechers(&self) -> usize {
        self.leechers
    }

    pub(super) fn seeds(&self) -> usize {
        self.list.len() - self.leechers
    }

    /// Leechers that want nothing more.
    pub(super) fn paused(&self) -> usize {
        self.paused
    }

    fn hash(key: SipKey, at: &[u8; N]) -> u64 {
        if N <= 8 {
            let [first, ..] = words(at);
            key.hash([first])
        } else {
            key.hash(words(at))
        }
    }

    /// The hash of the peer at a position.
    fn hash_at(list: &[PeerRecord<N>], key: SipKey, position: usize) -> u64 {
        list.get(position).map_or(0, |peer| Peers::hash(key, &peer.at))
    }

    fn find(&self, key: SipKey, at: &[u8; N]) -> Option<usize> {
        let is = |position: usize| self.list.get(position).is_some_and(|peer| peer.at == *at);
        match &self.index {
            Some(index) => index.find(Peers::hash(key, at), is),
            None => self.list.iter().position(|peer| peer.at == *at),
        }
    }

    /// What is known of the peer at an address.
    pub(super) fn get(&self, key: SipKey, at: &[u8; N]) -> Option<PeerRecord<N>> {
        self.find(key, at).and_then(|position| self.list.get(position)).copied()
    }

    /// Adds a peer, or puts it in the place of what was known of it.
    pub(super) fn put(&mut self, key: SipKey, peer: PeerRecord<N>) {
        let seed = peer.flags & SEED != 0;
        match self.find(key, &peer.at) {
            Some(position) => {
                let was_seed = position >= self.leechers;
                self.write(position, peer);
                if seed && !was_seed {
                    self.swap(key, position, self.leechers - 1);
                    self.leechers -= 1;
                } else if was_seed && !seed {
                    self.swap(key, position, self.leechers);
                    self.leechers += 1;
                }
            }
            None => self.add(key, peer, seed),
        }
        self.paused += usize::from(peer.flags & PAUSED != 0);
    }

    /// Writes over a record; its place stays.
    fn write(&mut self, position: usize, peer: PeerRecord<N>) {
        if let Some(old) = self.list.get_mut(position) {
            self.paused -= usize::from(old.flags & PAUSED != 0);
            *old = peer;
        }
    }

    fn add(&mut self, key: SipKey, peer: PeerRecord<N>, seed: bool) {
        let last = self.list.len();
        self.list.push(peer);
        let list = &self.list;
        match &mut self.index {
            Some(index) => {
                index.insert(Peers::hash(key, &peer.at), last, |at| Peers::hash_at(list, key, at));
            }
            None if list.len() > SMALL => {
                let mut index = Index::default();
                for (position, peer) in list.iter().enumerate() {
                    let hash = Peers::hash(key, &peer.at);
                    index.insert(hash, position, |at| Peers::hash_at(list, key, at));
                }
                self.index = Some(index);
            }
            None => {}
        }
        if !seed {
            self.swap(key, last, self.leechers);
            self.leechers += 1;
        }
    }

    fn swap(&mut self, key: SipKey, one: usize, other: usize) {
        if one == other {
            return;
        }
        if let Some(index) = &mut self.index {
            let (first, second) =
                (Peers::hash_at(&self.list, key, one), Peers::hash_at(&self.list, key, other));
            // The third name keeps the two apart while both change.
            let aside = u32::MAX as usize - 1;
            index.moved(first, one, aside);
            index.moved(second, other, one);
            index.moved(first, aside, other);
        }
        self.list.swap(one, other);
    }

    /// Forgets the peer at an address; whether there was one.
    pub(super) fn remove(&mut self, key: SipKey, at: &[u8; N]) -> bool {
        let found = self.find(key, at);
        if let Some(position) = found {
            self.remove_at(key, position);
        }
        found.is_some()
    }

    fn remove_at(&mut self, key: SipKey, mut position: usize) {
        if position < self.leechers {
            self.swap(key, position, self.leechers - 1);
            self.leechers -= 1;
            position = self.leechers;
        }
        let last = self.list.len() - 1;
        self.swap(key, position, last);
        let list = &self.list;
        if let Some(index) = &mut self.index {
            let hash = Peers::hash_at(list, key, last);
            index.remove(hash, last, |at| Peers::hash_at(list, key, at));
        }
        if let Some(gone) = self.list.pop() {
            self.paused -= usize::from(gone.flags & PAUSED != 0);
        }
        if self.list.len() <= SMALL / 2 {
            self.index = None;
        }
        if self.list.len() * 4 < self.list.capacity() {
            self.list.shrink_to(self.list.len() * 2);
        }
    }

    /// Any one of them.
    pub(super) fn any(&self, rng: &mut Rng) -> Option<PeerRecord<N>> {
        if self.list.is_empty() {
            return None;
        }
        self.list.get(rng.below(self.list.len() as u64) as usize).copied()
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = &PeerRecord<N>> {
        self.list.iter()
    }

    /// Forgets everybody who was not seen since `since`; `gone` is called for each.
    pub(super) fn expire(&mut self, key: SipKey, since: u32, gone: &mut impl FnMut(IpAddr)) {
        let mut position = self.list.len();
        // From the end: what moves into a place that is free was looked at already, or, from the
        // leechers' end, is looked at again.
        while position > 0 {
            position -= 1;
            while let Some(peer) = self.list.get(position).filter(|peer| peer.seen < since) {
                gone(peer.ip());
                self.remove_at(key, position);
            }
        }
    }

    /// Appends up to `wanted` peers as they are sent, leechers first, and of seeds no more than the
    /// asker gets. Work and memory follow what is wanted, not the swarm.
    ///
    /// A quarter of the places is for seeds, if there are as many: a leecher that gets leechers
    /// only may get nobody that has what all of them miss.
    pub(super) fn choose(&self, wanted: usize, asker: &Asker<N>, rng: &mut Rng, out: &mut Vec<u8>) {
        let (leechers, seeds) = self.list.split_at_checked(self.leechers).unwrap_or_default();
        let end = out.len() + wanted * N;
        let for_seeds = seeds.len().min(wanted / 4).min(asker.seeds);
        take(leechers, wanted - for_seeds, end - for_seeds * N, asker, rng, out);
        let left = (end.saturating_sub(out.len()) / N).min(asker.seeds);
        let end = out.len() + left * N;
        take(seeds, left, end, asker, rng, out);
    }

    /// Bytes of memory.
    pub(super) fn memory(&self) -> usize {
        let index = self.index.as_ref().map_or(0, Index::memory);
        self.list.capacity() * size_of::<PeerRecord<N>>() + index
    }

    /// Asserts that everything fits together.
    #[cfg(test)]
    pub(super) fn check(&self, key: SipKey) {
        let flagged = |flag: u8| self.list.iter().filter(|peer| peer.flags & flag != 0).count();
        assert_eq!(self.paused, flagged(PAUSED));
        assert_eq!(self.seeds(), flagged(SEED));
        assert!(self.list[self.leechers..].iter().all(|peer| peer.flags & SEED != 0));
        if let Some(index) = &self.index {
            assert_eq!(index.len(), self.list.len());
        } else {
            assert!(self.list.len() <= SMALL);
        }
        for (position, peer) in self.list.iter().enumerate() {
            assert_eq!(self.find(key, &peer.at), Some(position));
        }
    }
}

/// Appends up to `count` of `pool` until `out` is `end` bytes long: all if there are no more,
/// otherwise one run of neighbours from each of as many equal parts. The parts begin at a random
/// place, so that everybody is as likely as everybody else.
fn take<const N: usize>(
    pool: &[PeerRecord<N>],
    count: usize,
    end: usize,
    asker: &Asker<N>,
    rng: &mut Rng,
    out: &mut Vec<u8>,
) {
    if pool.is_empty() || count == 0 {
        return;
    }
    let mut give = |position: usize| {
        let peer = pool.get(position).or_else(|| pool.get(position - pool.len()));
        if let Some(peer) = peer
            && out.len() < end
            && peer.at != asker.at
            && peer.tag != asker.tag
        {
            out.extend_from_slice(&peer.at);
        }
    };
    let offset = rng.below(pool.len() as u64) as usize;
    // One more than needed: one of them may be the asker.
    let needed = count + 1;
    if pool.len() <= needed {
        (offset..offset + pool.len()).for_each(give);
        return;
    }
    let run = if pool.len() > needed * RUN { RUN } else { 1 };
    let parts = needed.div_ceil(run);
    for part in 0..parts {
        let (from, to) = (pool.len() * part / parts, pool.len() * (part + 1) / parts);
        let start = offset + from + rng.below((to - from - run + 1) as u64) as usize;
        (start..start + run).for_each(&mut give);
    }
}
