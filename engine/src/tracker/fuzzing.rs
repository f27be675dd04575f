//! Checks of a public tracker that hold for any input. Fuzz targets and the replay of their corpus
//! call them.

use super::access::HashList;
use super::shard::{Announce, Room, Shard};
use dunlin_base::{InfoHash, PeerId, Time};
use dunlin_tracker::AnnounceEvent;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

/// Any bytes of which the first is 9 modulo 10, as in the check of announces: the text of a list of
/// hashes.
///
/// # Panics
/// If the list has more hashes than the text has lines.
pub fn hash_list(data: &[u8]) {
    let Some((kind, data)) = data.split_first() else { return };
    if kind % 10 != 9 {
        return;
    }
    let text = String::from_utf8_lossy(data);
    if let Ok(list) = HashList::parse(&text) {
        assert!(list.len() <= text.lines().count());
    }
}

/// Any bytes as steps of peers, seven each: the table stays whole, and counts whom it has.
///
/// # Panics
/// If a property does not hold.
pub fn swarms(data: &[u8]) {
    let mut shard = Shard::new([3, 5, 8], Duration::from_secs(60));
    let mut known = std::collections::BTreeSet::new();
    let mut now = 0;
    for step in data.as_chunks::<7>().0.iter().take(4_000) {
        let [torrent, peer, more, what, wanted, id, later] = *step;
        let number = u32::from_be_bytes([10, more % 4, peer, 1]);
        let ip: IpAddr = if what & 1 == 0 {
            Ipv4Addr::from(number).into()
        } else {
            Ipv6Addr::from(u128::from(number) | 1 << 120).into()
        };
        let event = match (what >> 1) % 5 {
            0 => AnnounceEvent::Started,
            1 => AnnounceEvent::Completed,
            2 => AnnounceEvent::Stopped,
            3 => AnnounceEvent::Paused,
            _ => AnnounceEvent::None,
        };
        let announce = Announce {
            info_hash: InfoHash([torrent % 3; 20]),
            at: SocketAddr::new(ip, 6881),
            peer_id: PeerId([id; 20]),
            event,
            seed: what & 0x80 != 0,
            downloaded: what & 0x40 != 0,
            wanted: wanted.into(),
        };
        now += u64::from(later) / 8;
        let time = Time::from_duration(Duration::from_secs(now));
        let room = Room { torrent: known.len() < 500, peer: known.len() < 600 };
        let mut out = Vec::new();
        let told = shard.announce(time, &announce, room, &mut out);
        let size = if ip.is_ipv4() { 6 } else { 18 };
        assert!(out.len().is_multiple_of(size) && out.len() / size <= usize::from(wanted));
        let key = (announce.info_hash, announce.at);
        match told {
            Ok(_) if event == AnnounceEvent::Stopped => drop(known.remove(&key)),
            Ok(counts) => {
                known.insert(key);
                assert!(counts.complete + counts.incomplete >= 1);
                // A torrent with a single peer may have made room.
                known.retain(|(torrent, _)| shard.scrape(torrent).is_some());
            }
            Err(_) => assert!(out.is_empty() && !known.contains(&key)),
        }
        if later == 255 {
            // Time for everybody to be forgotten.
            now += 61;
            while !shard.expire(Time::from_duration(Duration::from_secs(now)), 10) {}
            while !shard.expire(Time::from_duration(Duration::from_secs(now)), 10) {}
            known.clear();
        }
        let totals = shard.totals();
        assert_eq!(totals.peers_v4 + totals.peers_v6, known.len());
        assert!(totals.seeds <= known.len() && totals.torrents <= 3);
    }
}
