//! How many entries of a shard come from one source, in memory that does not follow the sources:
//! each counts in one of so many places, found by a keyed hash. Two sources may share a place,
//! which makes each look larger than it is; nobody can choose with whom.

use super::sip::SipKey;
use dunlin_base::source_of;
use std::net::IpAddr;

/// Places, two bytes each. A full tracker of ten million peers has about ten in each place of each
/// of its 256 shards, far from [`MAX_PER_SOURCE`].
const PLACES: usize = 4096;

/// Entries (a peer of a torrent each) that one source may have in one shard. A tracker of 256
/// shards takes 131 072 torrents of one address so, about 40 MB of memory: more than any client
/// seeds, and 512 clients of one torrent behind one address.
pub const MAX_PER_SOURCE: u16 = 512;

/// The counts of a shard.
#[derive(Clone, Debug, Default)]
pub(super) struct Shares {
    /// Empty while nobody is counted.
    counts: Vec<u16>,
    total: usize,
}

impl Shares {
    /// Where a source is counted.
    pub(super) fn place(key: SipKey, ip: IpAddr) -> usize {
        let word = match source_of(ip) {
            IpAddr::V4(ip) => u64::from(u32::from(ip)),
            // No IPv4 source looks like this: its upper half is zero.
            IpAddr::V6(ip) => (u128::from(ip) >> 64) as u64 | 1 << 63,
        };
        key.hash([word, 0]) as usize % PLACES
    }

    pub(super) fn count(&self, place: usize) -> u16 {
        self.counts.get(place).copied().unwrap_or(0)
    }

    pub(super) fn add(&mut self, place: usize) {
        if self.counts.is_empty() {
            self.counts = vec![0; PLACES];
        }
        if let Some(count) = self.counts.get_mut(place) {
            *count = count.saturating_add(1);
        }
        self.total += 1;
    }

    pub(super) fn remove(&mut self, place: usize) {
        if let Some(count) = self.counts.get_mut(place) {
            *count = count.saturating_sub(1);
        }
        self.total = self.total.saturating_sub(1);
        if self.total == 0 {
            self.counts = Vec::new();
        }
    }

    /// Bytes of memory.
    pub(super) fn memory(&self) -> usize {
        self.counts.capacity() * size_of::<u16>()
    }

    /// Counts, place by place.
    #[cfg(test)]
    pub(super) fn all(&self) -> Vec<u16> {
        if self.counts.is_empty() { vec![0; PLACES] } else { self.counts.clone() }
    }
}
