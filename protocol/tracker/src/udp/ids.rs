//! Connection ids without memory (BEP 15): the time of their making and a seal over time and
//! address, under a key that only this tracker has. HMAC as in RFC 2104.

use sha2::{Digest, Sha256};
use std::net::IpAddr;

/// Seconds for which an id is good (BEP 15: two minutes).
const LIFETIME: u32 = 120;
/// Seconds by which the clock of another node with the same key may be ahead.
const AHEAD: u32 = 60;
/// The block length of SHA-256, in bytes.
const BLOCK: usize = 64;

/// Makes and checks connection ids.
#[derive(Clone)]
pub struct ConnectionIds {
    inner: Sha256,
    outer: Sha256,
}

impl std::fmt::Debug for ConnectionIds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ConnectionIds(…)")
    }
}

impl ConnectionIds {
    /// Ids under a key of 32 bytes that nobody can guess.
    #[must_use]
    pub fn new(key: [u8; 32]) -> ConnectionIds {
        let pad = |with: u8| {
            let mut block = [with; BLOCK];
            block.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
            Sha256::new_with_prefix(block)
        };
        ConnectionIds { inner: pad(0x36), outer: pad(0x5C) }
    }

    /// The id for whoever asks from `ip`, `now` seconds after the tracker's start.
    #[must_use]
    pub fn issue(&self, now: u32, ip: IpAddr) -> u64 {
        u64::from(now) << 32 | u64::from(self.tag(now, ip))
    }

    /// Whether an id was issued to `ip`, not long before `now`.
    #[must_use]
    pub fn accepts(&self, id: u64, now: u32, ip: IpAddr) -> bool {
        let issued = (id >> 32) as u32;
        let fresh = issued >= now.saturating_sub(LIFETIME) && issued <= now.saturating_add(AHEAD);
        // One comparison of a whole word takes the same time for all words.
        fresh && self.tag(issued, ip) == id as u32
    }

    fn tag(&self, time: u32, ip: IpAddr) -> u32 {
        let ip = match ip {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        let mut inner = self.inner.clone();
        inner.update(time.to_be_bytes());
        inner.update(ip.octets());
        let mut outer = self.outer.clone();
        outer.update(inner.finalize());
        outer.finalize().first_chunk::<4>().copied().map_or(0, u32::from_be_bytes)
    }
}
