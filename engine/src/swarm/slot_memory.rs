//! What peers of one source made of their upload slots: it counts for the next peers of that
//! source, which could otherwise begin anew with each connection. Ranks have no source and are not
//! remembered.

use crate::swarm::address::source_of;
use dunlin_base::{Endpoint, Time};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

/// Sources of which anything is remembered, in each table; with more, the one that did the least
/// lately is forgotten.
pub(crate) const MAX_REMEMBERED: usize = 1000;
/// What peers of a source made of their slots counts for so long for others of it: they may be
/// people behind one address.
const MEMORY: Duration = Duration::from_secs(600);

/// Makes room for one more source: the one that did the least lately is forgotten.
pub(crate) fn forget_one<T>(
    all: &mut BTreeMap<IpAddr, T>,
    source: IpAddr,
    at: impl Fn(&T) -> Time,
) {
    if all.len() >= MAX_REMEMBERED && !all.contains_key(&source) {
        let oldest = all.iter().min_by_key(|(source, one)| (at(one), **source));
        if let Some(oldest) = oldest.map(|(source, _)| *source) {
            all.remove(&oldest);
        }
    }
}

/// What sources made of their slots.
#[derive(Clone, Debug, Default)]
pub(crate) struct SlotMemory {
    /// How many slots in a row peers of a source have let pass, and when the last one was.
    unused: BTreeMap<IpAddr, (u32, Time)>,
    /// Sources of peers that took far less than they could have, and when one last did.
    slow: BTreeMap<IpAddr, Time>,
}

impl SlotMemory {
    /// A peer has let so many slots in a row pass without taking anything.
    pub(crate) fn add_unused(&mut self, now: Time, remote: Endpoint, slots: u32) {
        let Some(source) = source_of(remote) else { return };
        forget_one(&mut self.unused, source, |(_, at)| *at);
        let (count, at) = self.unused.entry(source).or_insert((0, now));
        (*count, *at) = ((*count).max(slots), now);
    }

    /// A peer takes something.
    pub(crate) fn takes(&mut self, remote: Endpoint) {
        if !self.unused.is_empty()
            && let Some(source) = source_of(remote)
        {
            self.unused.remove(&source);
        }
    }

    /// How many slots in a row its source has let pass.
    pub(crate) fn unused(&self, now: Time, remote: Endpoint) -> u32 {
        let found = source_of(remote).and_then(|source| self.unused.get(&source));
        found.filter(|(_, at)| now.since(*at) < MEMORY).map_or(0, |(slots, _)| *slots)
    }

    /// A peer took far less in its slot than it could have, or did not.
    pub(crate) fn set_slow(&mut self, now: Time, remote: Endpoint, slow: bool) {
        let Some(source) = source_of(remote) else { return };
        if !slow {
            self.slow.remove(&source);
            return;
        }
        forget_one(&mut self.slow, source, |at| *at);
        self.slow.insert(source, now);
    }

    /// Whether a peer of its source was slow when one was last looked at.
    pub(crate) fn was_slow(&self, now: Time, remote: Endpoint) -> bool {
        !self.slow.is_empty()
            && source_of(remote)
                .and_then(|source| self.slow.get(&source))
                .is_some_and(|at| now.since(*at) < MEMORY)
    }

    /// # Panics
    /// If more is remembered than may be.
    pub(crate) fn check(&self) {
        assert!(self.unused.len() <= MAX_REMEMBERED);
        assert!(self.slow.len() <= MAX_REMEMBERED);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_peer_made_of_its_slot_is_forgotten() {
        let peer: Endpoint = Endpoint::Socket("192.0.2.1:5".parse().unwrap());
        let other: Endpoint = Endpoint::Socket("192.0.2.1:9".parse().unwrap());
        let mut memory = SlotMemory::default();
        memory.add_unused(Time::ZERO, peer, 3);
        memory.set_slow(Time::ZERO, peer, true);
        let (before, then) = (Time::ZERO + MEMORY / 2, Time::ZERO + MEMORY);
        assert_eq!((memory.unused(before, other), memory.was_slow(before, other)), (3, true));
        assert_eq!((memory.unused(then, other), memory.was_slow(then, other)), (0, false));
    }
}
