//! The allowed fast set (BEP 6, "Allowed Fast"): pieces a peer may ask for while it is choked.

use dunlin_base::InfoHash;
use sha1::{Digest, Sha1};
use std::net::Ipv4Addr;

/// How many pieces BEP 6 puts into the set by default.
pub const ALLOWED_FAST_SET: usize = 10;

/// Draws after which the generation stops. BEP 6 sets no bound; a set of ten out of eleven pieces
/// needs about thirty draws, so this ends only what an adversary chose.
const MAX_DRAWS: usize = 500;

/// The allowed fast set of the peer at `ip` for a torrent of `pieces` pieces, in the order of
/// generation, without repeats. `size` is the number of pieces asked for ([`ALLOWED_FAST_SET`] by
/// default); with `size >= pieces` it is every piece. The canonical algorithm of BEP 6, which
/// exists for IPv4 only. Both sides can compute it, so it is a hint that cannot be farmed with many
/// addresses of one network.
#[must_use]
pub fn allowed_fast_set(ip: Ipv4Addr, info_hash: InfoHash, pieces: u32, size: usize) -> Vec<u32> {
    if size >= pieces as usize {
        return (0..pieces).collect();
    }
    let [a, b, c, _] = ip.octets();
    let mut seed = [0; 24];
    seed[..4].copy_from_slice(&[a, b, c, 0]);
    seed[4..].copy_from_slice(&info_hash.0);
    let mut hash: [u8; 20] = Sha1::digest(seed).into();
    let mut set = Vec::new();
    for _ in 0..MAX_DRAWS / 5 {
        for word in hash.chunks_exact(4) {
            let draw = word.iter().fold(0, |number, byte| number << 8 | u32::from(*byte));
            let piece = draw % pieces;
            if set.len() < size && !set.contains(&piece) {
                set.push(piece);
            }
        }
        if set.len() >= size {
            break;
        }
        hash = Sha1::digest(hash).into();
    }
    set
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sets_of_bep_6() {
        let aa = InfoHash([0xaa; 20]);
        let counting = InfoHash(std::array::from_fn(|index| index as u8));
        let (far, near) = (Ipv4Addr::new(80, 4, 4, 200), Ipv4Addr::new(10, 1, 2, 3));
        let cases: [(_, _, _, _, &[u32]); 6] = [
            (far, aa, 1313, 7, &[1059, 431, 808, 1217, 287, 376, 1188]),
            (far, aa, 1313, 9, &[1059, 431, 808, 1217, 287, 376, 1188, 353, 508]),
            (far, aa, 1313, 10, &[1059, 431, 808, 1217, 287, 376, 1188, 353, 508, 1246]),
            (near, counting, 12, 10, &[11, 7, 6, 8, 1, 9, 0, 3, 5, 10]),
            (near, counting, 3, 10, &[0, 1, 2]),
            (near, counting, 0, 10, &[]),
        ];
        for (ip, info_hash, pieces, size, expected) in cases {
            assert_eq!(allowed_fast_set(ip, info_hash, pieces, size), expected, "{pieces} {size}");
        }
    }

    #[test]
    fn a_hostile_size_ends() {
        let set = allowed_fast_set(Ipv4Addr::LOCALHOST, InfoHash([7; 20]), u32::MAX, 1 << 20);
        assert!(set.len() <= MAX_DRAWS);
        assert!(allowed_fast_set(Ipv4Addr::LOCALHOST, InfoHash([7; 20]), 5, 0).is_empty());
    }
}
