//! What a peer asks of a tracker in a datagram.

use super::{PROTOCOL, action, array, u32_at, u64_at};
use crate::http::MAX_SCRAPE;
use crate::{AnnounceEvent, AnnounceRequest};
use dunlin_base::{InfoHash, PeerId};

/// Peers in an answer over IPv4, so that it fits into a packet of 1220 bytes.
pub const MAX_PEERS_V4: usize = 200;
/// Peers in an answer over IPv6, so that it fits into a packet of 1172 bytes.
pub const MAX_PEERS_V6: usize = 64;

/// The part of an announce that every announce has.
const ANNOUNCE: usize = 98;
/// Bytes of path and query that an option holds.
const MAX_URL_DATA: usize = 255;

/// A request as it came to a tracker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UdpRequest<'a> {
    /// Asks for a connection id.
    Connect {
        /// To be sent back.
        transaction: u32,
    },
    /// Announces itself.
    Announce {
        /// The id that it claims to have been given.
        connection: u64,
        /// To be sent back.
        transaction: u32,
        /// What it says.
        request: AnnounceRequest,
        /// Options, for [`url_data`].
        options: &'a [u8],
    },
    /// Breaks a rule. Whoever was given the id is told so; silence would look like a dead tracker.
    Wrong {
        /// The id that it claims to have been given.
        connection: u64,
        /// To be sent back.
        transaction: u32,
        /// What is wrong, for people.
        why: &'static str,
    },
    /// Asks about torrents.
    Scrape {
        /// The id that it claims to have been given.
        connection: u64,
        /// To be sent back.
        transaction: u32,
        /// The torrents; at most [`MAX_SCRAPE`] are read.
        torrents: Vec<InfoHash>,
    },
}

/// Reads a request. `None` is what no tracker can answer: shorter than the 16 bytes that every
/// request has (BEP 15).
#[must_use]
pub fn parse_request(packet: &[u8]) -> Option<UdpRequest<'_>> {
    let connection = u64_at(packet, 0)?;
    let action = u32_at(packet, 8)?;
    let transaction = u32_at(packet, 12)?;
    let wrong = |why| UdpRequest::Wrong { connection, transaction, why };
    Some(match action {
        action::CONNECT if connection == PROTOCOL => UdpRequest::Connect { transaction },
        action::CONNECT => wrong("a connect request begins with another number"),
        action::ANNOUNCE => match (announce(packet), packet.get(ANNOUNCE..)) {
            (Some(request), Some(options)) if request.port != 0 => {
                UdpRequest::Announce { connection, transaction, request, options }
            }
            (Some(_), Some(_)) => wrong("invalid port: expected 1 to 65535"),
            _ => wrong("an announce has at least 98 bytes"),
        },
        action::SCRAPE => {
            let (hashes, _) = packet.get(16..)?.as_chunks::<20>();
            let torrents: Vec<_> =
                hashes.iter().take(MAX_SCRAPE).map(|hash| InfoHash(*hash)).collect();
            if torrents.is_empty() {
                wrong("a scrape names at least one torrent: full scrapes are not served")
            } else {
                UdpRequest::Scrape { connection, transaction, torrents }
            }
        }
        _ => wrong("unknown action: expected connect, announce or scrape"),
    })
}

fn announce(packet: &[u8]) -> Option<AnnounceRequest> {
    let event = match u32_at(packet, 80)? {
        1 => AnnounceEvent::Completed,
        2 => AnnounceEvent::Started,
        3 => AnnounceEvent::Stopped,
        _ => AnnounceEvent::None,
    };
    let port = u16::from_be_bytes(array(packet, 96)?);
    Some(AnnounceRequest {
        info_hash: InfoHash(array(packet, 16)?),
        peer_id: PeerId(array(packet, 36)?),
        port,
        uploaded: u64_at(packet, 72)?,
        downloaded: u64_at(packet, 56)?,
        left: u64_at(packet, 64)?,
        corrupt: 0,
        redundant: 0,
        event,
        key: u32_at(packet, 88)?,
        num_want: u32_at(packet, 92).filter(|wanted| *wanted <= i32::MAX as u32),
        tracker_id: None,
    })
}

/// Path and query of the tracker's address that an announce carries (BEP 41). `None` without the
/// option; what runs over the end of the packet ends it without being a fault.
#[must_use]
pub fn url_data(mut options: &[u8]) -> Option<Vec<u8>> {
    let mut found = None;
    while let Some((kind, rest)) = options.split_first() {
        options = match (*kind, rest.split_first()) {
            (0, _) | (2.., None) => return found,
            (1, _) => rest,
            (kind, Some((len, rest))) => {
                let Some((value, rest)) = rest.split_at_checked(usize::from(*len)) else {
                    return found;
                };
                if kind == 2 {
                    found.get_or_insert_with(Vec::new).extend_from_slice(value);
                }
                rest
            }
        };
    }
    found
}

/// Writes a connect request.
#[must_use]
pub fn connect_request(transaction: u32) -> Vec<u8> {
    head(PROTOCOL, action::CONNECT, transaction)
}

/// Writes an announce. `target` is path and query of the tracker's address, which go with it as far
/// as one option holds them (BEP 41), or empty.
#[must_use]
pub fn announce_request(
    connection: u64,
    transaction: u32,
    request: &AnnounceRequest,
    target: &str,
) -> Vec<u8> {
    let mut packet = head(connection, action::ANNOUNCE, transaction);
    packet.extend_from_slice(&request.info_hash.0);
    packet.extend_from_slice(&request.peer_id.0);
    for count in [request.downloaded, request.left, request.uploaded] {
        packet.extend_from_slice(&count.to_be_bytes());
    }
    let event: u32 = match request.event {
        // There is no number for `paused`.
        AnnounceEvent::None | AnnounceEvent::Paused => 0,
        AnnounceEvent::Completed => 1,
        AnnounceEvent::Started => 2,
        AnnounceEvent::Stopped => 3,
    };
    let wanted = if request.event == AnnounceEvent::Stopped { Some(0) } else { request.num_want };
    let wanted = wanted.map_or(u32::MAX, |wanted| wanted.min(i32::MAX as u32));
    // The third is an address of ours, which the tracker knows better.
    for number in [event, 0, request.key, wanted] {
        packet.extend_from_slice(&number.to_be_bytes());
    }
    packet.extend_from_slice(&request.port.to_be_bytes());
    let data = target.as_bytes();
    let data = data.get(..data.len().min(MAX_URL_DATA)).unwrap_or_default();
    if !data.is_empty() {
        packet.extend_from_slice(&[2, data.len() as u8]);
        packet.extend_from_slice(data);
    }
    packet
}

/// Writes a scrape of the first [`MAX_SCRAPE`] of `torrents`.
#[must_use]
pub fn scrape_request(connection: u64, transaction: u32, torrents: &[InfoHash]) -> Vec<u8> {
    let mut packet = head(connection, action::SCRAPE, transaction);
    torrents.iter().take(MAX_SCRAPE).for_each(|hash| packet.extend_from_slice(&hash.0));
    packet
}

fn head(connection: u64, action: u32, transaction: u32) -> Vec<u8> {
    let mut packet = connection.to_be_bytes().to_vec();
    packet.extend_from_slice(&action.to_be_bytes());
    packet.extend_from_slice(&transaction.to_be_bytes());
    packet
}
