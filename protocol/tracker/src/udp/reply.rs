//! What a tracker answers in a datagram.

use super::{action, u32_at, u64_at};
use crate::http::{MAX_PEERS, MAX_SCRAPE};
use crate::{AnnounceReply, ScrapeCounts};
use std::net::SocketAddr;
use std::time::Duration;

/// The part of the answer to an announce that comes before the peers, in bytes.
pub const ANNOUNCE_HEAD: usize = 20;

/// An answer as it came from a tracker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UdpReply {
    /// A connection id.
    Connected(u64),
    /// What it says to an announce.
    Announced(Box<AnnounceReply>),
    /// Counts, in the order of the question; zeros for a torrent that it does not know.
    Scraped(Vec<ScrapeCounts>),
    /// It says no.
    Refused(String),
}

/// Reads an answer and the number of what it answers. `v6` says that the packet came over IPv6, on
/// which alone the form of its peers depends. `None` if it is none.
#[must_use]
pub fn parse_reply(packet: &[u8], v6: bool) -> Option<(u32, UdpReply)> {
    let transaction = u32_at(packet, 4)?;
    let rest = packet.get(8..)?;
    let reply = match u32_at(packet, 0)? {
        action::CONNECT => UdpReply::Connected(u64_at(rest, 0)?),
        action::ANNOUNCE => UdpReply::Announced(Box::new(announced(rest, v6)?)),
        action::SCRAPE => {
            let (records, _) = rest.as_chunks::<12>();
            UdpReply::Scraped(records.iter().take(MAX_SCRAPE).filter_map(counts).collect())
        }
        action::ERROR => UdpReply::Refused(crate::http::text(rest)),
        _ => return None,
    };
    Some((transaction, reply))
}

fn announced(rest: &[u8], v6: bool) -> Option<AnnounceReply> {
    let interval = u32_at(rest, 0)?.clamp(1, 86_400);
    let peers = rest.get(12..)?;
    let read: Vec<SocketAddr> = if v6 {
        crate::http::compact_v6(peers).take(MAX_PEERS).collect()
    } else {
        crate::http::compact_v4(peers).take(MAX_PEERS).collect()
    };
    Some(AnnounceReply {
        interval: Some(Duration::from_secs(interval.into())),
        incomplete: u32_at(rest, 4),
        complete: u32_at(rest, 8),
        peers: read.into_iter().filter(crate::http::makes_sense).collect(),
        ..AnnounceReply::default()
    })
}

fn counts(record: &[u8; 12]) -> Option<ScrapeCounts> {
    Some(ScrapeCounts {
        complete: u32_at(record, 0)?,
        downloaded: u32_at(record, 4)?,
        incomplete: u32_at(record, 8)?,
        downloaders: None,
    })
}

fn head(out: &mut Vec<u8>, action: u32, transaction: u32) {
    out.extend_from_slice(&action.to_be_bytes());
    out.extend_from_slice(&transaction.to_be_bytes());
}

/// Appends the answer to a connect request, which is as long as the request.
pub fn connect_reply(transaction: u32, connection: u64, out: &mut Vec<u8>) {
    head(out, action::CONNECT, transaction);
    out.extend_from_slice(&connection.to_be_bytes());
}

/// Appends the answer to an announce; its peers, in the compact form, are appended after it.
pub fn announce_reply(transaction: u32, interval: u32, counts: &ScrapeCounts, out: &mut Vec<u8>) {
    head(out, action::ANNOUNCE, transaction);
    for number in [interval, counts.incomplete, counts.complete] {
        out.extend_from_slice(&number.to_be_bytes());
    }
}

/// Appends the answer to a scrape.
pub fn scrape_reply(transaction: u32, files: &[ScrapeCounts], out: &mut Vec<u8>) {
    head(out, action::SCRAPE, transaction);
    for counts in files {
        for number in [counts.complete, counts.downloaded, counts.incomplete] {
            out.extend_from_slice(&number.to_be_bytes());
        }
    }
}

/// Appends a refusal.
pub fn error_reply(transaction: u32, reason: &str, out: &mut Vec<u8>) {
    head(out, action::ERROR, transaction);
    out.extend_from_slice(reason.as_bytes());
}
