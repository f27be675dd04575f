//! The answer to an announce (BEP 3, 7, 21, 23, 24, 31): written canonical, read leniently, since
//! trackers are old and many.

use crate::url::is_host_name;
use crate::{AnnounceFailure, AnnounceReply, RetryIn, ScrapeCounts};
use bytes::Bytes;
use dunlin_bencode::{Dict, Limits, Mode, Node, decode};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

/// The longest body that is read, in bytes, unpacked (libtorrent's limit).
pub const MAX_BODY: usize = 1 << 20;
/// Peers that are taken of one answer: more than any tracker gives, and than a peer list holds.
pub const MAX_PEERS: usize = 4_000;
/// Peers by name that are taken of one answer: each is a question to the resolver.
const MAX_NAMED: usize = 50;
/// Characters that are kept of a text for people.
const MAX_TEXT: usize = 500;
/// Bytes of a `tracker id` that are kept: it goes into every later request.
const MAX_TRACKER_ID: usize = 512;
/// The longest interval that is believed, in seconds.
const MAX_INTERVAL: u64 = 86_400;
/// The longest time that `retry in` keeps us away, in minutes.
const MAX_RETRY: u64 = 7 * 24 * 60;

/// An answer as a tracker writes it. Peers are in the compact form already: 6 bytes each of IPv4,
/// 18 of IPv6 (BEP 7, 23).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AnnounceAnswer<'a> {
    /// Seconds until the next regular announce.
    pub interval: Option<u32>,
    /// Seconds before which none is wanted.
    pub min_interval: Option<u32>,
    /// What the tracker knows of the torrent.
    pub counts: Option<ScrapeCounts>,
    /// Peers with IPv4.
    pub peers: &'a [u8],
    /// Peers with IPv6.
    pub peers6: &'a [u8],
    /// All of them as a list of dictionaries instead (BEP 3).
    pub dictionaries: bool,
    /// The address that the announce came from (BEP 24).
    pub external_ip: Option<IpAddr>,
    /// To be sent back the next time.
    pub tracker_id: Option<&'a [u8]>,
    /// Something people should read.
    pub warning: Option<&'a str>,
}

/// Appends an answer.
pub fn write_announce(answer: &AnnounceAnswer<'_>, out: &mut Vec<u8>) {
    out.push(b'd');
    if let Some(counts) = &answer.counts {
        pair(out, "complete", counts.complete);
        pair(out, "downloaded", counts.downloaded);
        if let Some(downloaders) = counts.downloaders {
            pair(out, "downloaders", downloaders);
        }
    }
    match answer.external_ip.map(|ip| ip.to_canonical()) {
        Some(IpAddr::V4(ip)) => entry(out, "external ip", &ip.octets()),
        Some(IpAddr::V6(ip)) => entry(out, "external ip", &ip.octets()),
        None => {}
    }
    if let Some(counts) = &answer.counts {
        pair(out, "incomplete", counts.incomplete);
    }
    if let Some(interval) = answer.interval {
        pair(out, "interval", interval);
    }
    if let Some(interval) = answer.min_interval {
        pair(out, "min interval", interval);
    }
    if answer.dictionaries {
        string(out, b"peers");
        out.push(b'l');
        compact_v4(answer.peers)
            .chain(compact_v6(answer.peers6))
            .for_each(|peer| dictionary(out, peer));
        out.push(b'e');
    } else {
        entry(out, "peers", answer.peers);
        if !answer.peers6.is_empty() {
            entry(out, "peers6", answer.peers6);
        }
    }
    if let Some(id) = answer.tracker_id {
        entry(out, "tracker id", id);
    }
    if let Some(warning) = answer.warning {
        entry(out, "warning message", warning.as_bytes());
    }
    out.push(b'e');
}

/// Appends a refusal, with the time after which asking again makes sense (BEP 31).
pub fn write_failure(reason: &str, retry: Option<RetryIn>, out: &mut Vec<u8>) {
    out.push(b'd');
    entry(out, "failure reason", reason.as_bytes());
    match retry {
        // Whole minutes, and never too soon.
        Some(RetryIn::After(time)) => {
            entry(out, "retry in", time.as_secs().div_ceil(60).to_string().as_bytes());
        }
        Some(RetryIn::Never) => entry(out, "retry in", b"never"),
        None => {}
    }
    out.push(b'e');
}

fn dictionary(out: &mut Vec<u8>, peer: SocketAddr) {
    out.push(b'd');
    entry(out, "ip", peer.ip().to_string().as_bytes());
    pair(out, "port", peer.port().into());
    out.push(b'e');
}

pub(super) fn pair(out: &mut Vec<u8>, key: &str, value: u32) {
    string(out, key.as_bytes());
    out.push(b'i');
    out.extend_from_slice(value.to_string().as_bytes());
    out.push(b'e');
}

fn entry(out: &mut Vec<u8>, key: &str, value: &[u8]) {
    string(out, key.as_bytes());
    string(out, value);
}

pub(super) fn string(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(bytes.len().to_string().as_bytes());
    out.push(b':');
    out.extend_from_slice(bytes);
}

/// Peers with IPv4 of records of 6 bytes (BEP 23). Bytes after the last whole record are left out.
pub fn compact_v4(bytes: &[u8]) -> impl Iterator<Item = SocketAddr> + '_ {
    bytes.as_chunks::<6>().0.iter().map(|&[a, b, c, d, high, low]| {
        SocketAddr::new(Ipv4Addr::new(a, b, c, d).into(), u16::from_be_bytes([high, low]))
    })
}

/// Peers with IPv6 of records of 18 bytes (BEP 7). Bytes after the last whole record are left out.
pub fn compact_v6(bytes: &[u8]) -> impl Iterator<Item = SocketAddr> + '_ {
    bytes.as_chunks::<18>().0.iter().map(|record| {
        let (ip, port) = record.split_at(16);
        let ip = <[u8; 16]>::try_from(ip).unwrap_or_default();
        let port = <[u8; 2]>::try_from(port).unwrap_or_default();
        SocketAddr::new(Ipv6Addr::from(ip).into(), u16::from_be_bytes(port))
    })
}

/// Whether a peer can be at an address at all.
pub(crate) fn makes_sense(peer: &SocketAddr) -> bool {
    let nobody = match peer.ip() {
        IpAddr::V4(ip) => ip.is_unspecified() || ip.is_multicast() || ip.is_broadcast(),
        IpAddr::V6(ip) => ip.is_unspecified() || ip.is_multicast(),
    };
    peer.port() != 0 && !nobody
}

/// Reads the body of an answer, leniently: keys in any order, numbers as text, peers that make no
/// sense left out, bytes behind it ignored.
///
/// # Errors
/// [`AnnounceFailure::Refused`] with the tracker's own words, or [`AnnounceFailure::Malformed`].
pub fn read_announce(body: &[u8]) -> Result<AnnounceReply, AnnounceFailure> {
    let malformed = |why: String| AnnounceFailure::Malformed(why);
    if body.len() > MAX_BODY {
        let size = body.len();
        return Err(malformed(format!("it has {size} bytes, expected at most {MAX_BODY}")));
    }
    let document = decode(body, Mode::Lenient, Limits::TRACKER)
        .map_err(|error| malformed(error.to_string()))?;
    let root = document.root().dict();
    let root = root.ok_or_else(|| malformed("expected a bencoded dictionary".to_owned()))?;
    if let Some(refusal) = refusal(&root) {
        return Err(refusal);
    }
    let mut reply = AnnounceReply {
        interval: number(&root, "interval").map(seconds),
        min_interval: number(&root, "min interval").map(seconds),
        tracker_id: bytes(&root, "tracker id").map(Bytes::copy_from_slice),
        complete: count(&root, "complete"),
        incomplete: count(&root, "incomplete"),
        downloaded: count(&root, "downloaded"),
        external_ip: bytes(&root, "external ip").and_then(address),
        warning: bytes(&root, "warning message").map(text),
        ..AnnounceReply::default()
    };
    reply.tracker_id = reply.tracker_id.filter(|id| id.len() <= MAX_TRACKER_ID);
    peers(&root, &mut reply)?;
    Ok(reply)
}

/// The refusal that a body holds, if it holds one.
pub(super) fn refusal(root: &Dict<'_>) -> Option<AnnounceFailure> {
    let reason = bytes(root, "failure reason").map(text)?;
    let retry = root.get("retry in").and_then(|node| match node.as_bytes() {
        Some(word) if word.eq_ignore_ascii_case(b"never") => Some(RetryIn::Never),
        _ => {
            let minutes = number_of(node)?.min(MAX_RETRY);
            Some(RetryIn::After(Duration::from_secs(minutes * 60)))
        }
    });
    Some(AnnounceFailure::Refused { reason, retry })
}

fn peers(root: &Dict<'_>, reply: &mut AnnounceReply) -> Result<(), AnnounceFailure> {
    let mut cut = false;
    if let Some(node) = root.get("peers") {
        if let Some(compact) = node.as_bytes() {
            cut |= !compact.len().is_multiple_of(6);
            take(compact_v4(compact), &mut reply.peers);
        } else if let Some(list) = node.list() {
            list.for_each(|peer| dictionary_peer(peer, reply));
        } else {
            let why = "`peers` is neither a string nor a list".to_owned();
            return Err(AnnounceFailure::Malformed(why));
        }
    }
    if let Some(compact) = root.get("peers6").and_then(|node| node.as_bytes()) {
        cut |= !compact.len().is_multiple_of(18);
        take(compact_v6(compact), &mut reply.peers);
    }
    if cut && reply.warning.is_none() {
        reply.warning = Some("the tracker's list of peers ends in the middle of one".to_owned());
    }
    Ok(())
}

fn take(peers: impl Iterator<Item = SocketAddr>, into: &mut Vec<SocketAddr>) {
    let room = MAX_PEERS.saturating_sub(into.len());
    into.extend(peers.map(canonical).filter(makes_sense).take(room));
}

/// IPv4 within IPv6 is IPv4.
fn canonical(peer: SocketAddr) -> SocketAddr {
    SocketAddr::new(peer.ip().to_canonical(), peer.port())
}

/// A peer as a dictionary: its `ip` is an address or a name (BEP 3).
fn dictionary_peer(node: Node<'_>, reply: &mut AnnounceReply) {
    let Some(peer) = node.dict() else { return };
    let port = number(&peer, "port").and_then(|port| u16::try_from(port).ok());
    let host = peer.get("ip").and_then(|ip| ip.as_str());
    let (Some(port), Some(host)) = (port, host) else { return };
    if let Ok(ip) = host.parse::<IpAddr>() {
        take(std::iter::once(SocketAddr::new(ip, port)), &mut reply.peers);
    } else if is_host_name(host) && port != 0 && reply.named_peers.len() < MAX_NAMED {
        reply.named_peers.push((host.to_owned(), port));
    }
}

fn seconds(number: u64) -> Duration {
    Duration::from_secs(number.clamp(1, MAX_INTERVAL))
}

fn bytes<'d>(dict: &Dict<'d>, key: &str) -> Option<&'d [u8]> {
    dict.get(key).and_then(|node| node.as_bytes())
}

/// A number that is not negative, or digits as text.
pub(super) fn number(dict: &Dict<'_>, key: &str) -> Option<u64> {
    dict.get(key).and_then(number_of)
}

fn number_of(node: Node<'_>) -> Option<u64> {
    node.as_u64().or_else(|| node.as_str().and_then(|digits| digits.parse().ok()))
}

/// A count; what is larger than all counts is the largest.
pub(super) fn count(dict: &Dict<'_>, key: &str) -> Option<u32> {
    number(dict, key).map(|count| u32::try_from(count).unwrap_or(u32::MAX))
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let four = <[u8; 4]>::try_from(bytes).ok().map(|ip| Ipv4Addr::from(ip).into());
    let six = || <[u8; 16]>::try_from(bytes).ok().map(|ip| Ipv6Addr::from(ip).into());
    four.or_else(six).map(|ip: IpAddr| ip.to_canonical())
}

/// Words for people: a bounded number of characters, none of which moves a terminal's cursor.
pub(crate) fn text(bytes: &[u8]) -> String {
    let shown = |c: char| if c.is_control() { ' ' } else { c };
    let head = bytes.get(..bytes.len().min(4 * MAX_TEXT)).unwrap_or_default();
    let text = String::from_utf8_lossy(head);
    text.chars().map(shown).take(MAX_TEXT).collect::<String>().trim().to_owned()
}

/// The compact form of peers, IPv4 and IPv6.
#[cfg(test)]
pub(super) fn compact(peers: &[SocketAddr]) -> (Vec<u8>, Vec<u8>) {
    let (mut four, mut six) = (Vec::new(), Vec::new());
    for peer in peers {
        let out = match peer.ip() {
            IpAddr::V4(ip) => {
                four.extend_from_slice(&ip.octets());
                &mut four
            }
            IpAddr::V6(ip) => {
                six.extend_from_slice(&ip.octets());
                &mut six
            }
        };
        out.extend_from_slice(&peer.port().to_be_bytes());
    }
    (four, six)
}

#[cfg(test)]
mod compact_tests {
    use super::*;

    #[test]
    fn the_iterators_and_the_writer_agree() {
        let peers = ["192.0.2.1:6881", "198.51.100.7:51413", "[2001:db8::1]:6881"];
        let peers: Vec<SocketAddr> = peers.iter().map(|peer| peer.parse().unwrap()).collect();
        let (v4, v6) = compact(&peers);
        assert_eq!(dunlin_base::percent::decode(b"%C0%00%02%01%1A%E1%C6%33%64%07%C8%D5"), v4);
        assert_eq!(compact_v4(&v4).chain(compact_v6(&v6)).collect::<Vec<_>>(), peers);
    }
}
