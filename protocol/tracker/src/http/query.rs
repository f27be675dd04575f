//! The query of an announce (BEP 3, 7, 21, 23): written in the order that most trackers know, and
//! read from the raw bytes, since a URL library would take an info-hash for text.

use crate::{AnnounceEvent, AnnounceRequest};
use bytes::Bytes;
use dunlin_base::percent::{decode, decode_20, encode};
use dunlin_base::{InfoHash, PeerId};
use std::fmt::Write as _;
use thiserror::Error;

/// What is missing of a torrent whose length nobody knows, for who reads: never 0.
const LEFT_UNKNOWN: u64 = i64::MAX as u64;

/// What is wrong with an announce; the text is the tracker's `failure reason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum QueryError {
    /// A key that every announce has is not there.
    #[error("missing {0}")]
    Missing(&'static str),
    /// An id of another length.
    #[error("invalid {0}: expected 20 bytes, percent-encoded")]
    Length(&'static str),
    /// No port that anybody can listen at.
    #[error("invalid port: expected 1 to 65535")]
    Port,
    /// More torrents than are told at a time.
    #[error("too many info_hash: expected at most {0}")]
    TooMany(usize),
    /// A scrape of everything.
    #[error("full scrapes are not served: name the torrents by info_hash")]
    FullScrape,
}

/// An announce as it came to a tracker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnnounceQuery {
    /// What it says. An unreadable number counts as absent.
    pub request: AnnounceRequest,
    /// The peers may come in the compact form (BEP 23); only `compact=0` asks for the other one.
    pub compact: bool,
    /// It does not want the ids of peers.
    pub no_peer_id: bool,
}

/// Writes the query of an announce. Everything is in upper-case hex where it must be encoded, and
/// in the order of libtorrent, by which some trackers tell clients apart.
#[must_use]
pub fn announce_query(request: &AnnounceRequest) -> String {
    let mut text = String::with_capacity(320);
    text.push_str("info_hash=");
    encode(&request.info_hash.0, &mut text);
    text.push_str("&peer_id=");
    encode(&request.peer_id.0, &mut text);
    // Writing to a string never fails.
    let _ = write!(
        text,
        "&port={}&uploaded={}&downloaded={}&left={}&corrupt={}&key={:08X}",
        request.port,
        request.uploaded,
        request.downloaded,
        request.left,
        request.corrupt,
        request.key
    );
    if let Some(event) = event_name(request.event) {
        text.push_str("&event=");
        text.push_str(event);
    }
    let num_want = if request.event == AnnounceEvent::Stopped { Some(0) } else { request.num_want };
    if let Some(wanted) = num_want {
        let _ = write!(text, "&numwant={wanted}");
    }
    let _ = write!(text, "&compact=1&no_peer_id=1&redundant={}", request.redundant);
    if let Some(id) = &request.tracker_id {
        text.push_str("&trackerid=");
        encode(id, &mut text);
    }
    text
}

impl AnnounceQuery {
    /// Reads the raw bytes behind the `?`. Of a key that comes twice the first counts.
    ///
    /// # Errors
    /// If one of the three things is missing or wrong without which nobody can be told about the
    /// peer.
    pub fn parse(query: &[u8]) -> Result<AnnounceQuery, QueryError> {
        let fields = Fields::read(query);
        let twenty = |name, value: Option<&[u8]>| {
            let value = value.ok_or(QueryError::Missing(name))?;
            decode_20(value).ok_or(QueryError::Length(name))
        };
        let info_hash = InfoHash(twenty("info_hash", fields.info_hash)?);
        let peer_id = PeerId(twenty("peer_id", fields.peer_id)?);
        let port = number(fields.port.ok_or(QueryError::Missing("port"))?);
        let port = port.and_then(|port| u16::try_from(port).ok()).filter(|port| *port != 0);
        let count = |value: Option<&[u8]>| value.and_then(number);
        let num_want = count(fields.numwant);
        Ok(AnnounceQuery {
            request: AnnounceRequest {
                info_hash,
                peer_id,
                port: port.ok_or(QueryError::Port)?,
                uploaded: count(fields.uploaded).unwrap_or(0),
                downloaded: count(fields.downloaded).unwrap_or(0),
                left: count(fields.left).unwrap_or(LEFT_UNKNOWN),
                corrupt: count(fields.corrupt).unwrap_or(0),
                redundant: count(fields.redundant).unwrap_or(0),
                event: fields.event.map_or(AnnounceEvent::None, event_of),
                key: fields.key.map_or(0, key_of),
                num_want: num_want.map(|wanted| u32::try_from(wanted).unwrap_or(u32::MAX)),
                tracker_id: fields.trackerid.map(|id| Bytes::from(decode(id))),
            },
            compact: fields.compact != Some(b"0"),
            no_peer_id: fields.no_peer_id.is_some_and(|value| value != b"0"),
        })
    }
}

/// The raw values that count, by key.
#[derive(Default)]
struct Fields<'a> {
    info_hash: Option<&'a [u8]>,
    peer_id: Option<&'a [u8]>,
    port: Option<&'a [u8]>,
    uploaded: Option<&'a [u8]>,
    downloaded: Option<&'a [u8]>,
    left: Option<&'a [u8]>,
    corrupt: Option<&'a [u8]>,
    redundant: Option<&'a [u8]>,
    key: Option<&'a [u8]>,
    event: Option<&'a [u8]>,
    numwant: Option<&'a [u8]>,
    compact: Option<&'a [u8]>,
    no_peer_id: Option<&'a [u8]>,
    trackerid: Option<&'a [u8]>,
}

impl<'a> Fields<'a> {
    fn read(query: &'a [u8]) -> Fields<'a> {
        let mut fields = Fields::default();
        for (key, value) in pairs(query) {
            let field = match key {
                b"info_hash" => &mut fields.info_hash,
                b"peer_id" => &mut fields.peer_id,
                b"port" => &mut fields.port,
                b"uploaded" => &mut fields.uploaded,
                b"downloaded" => &mut fields.downloaded,
                b"left" => &mut fields.left,
                b"corrupt" => &mut fields.corrupt,
                b"redundant" => &mut fields.redundant,
                b"key" => &mut fields.key,
                b"event" => &mut fields.event,
                b"numwant" => &mut fields.numwant,
                b"compact" => &mut fields.compact,
                b"no_peer_id" => &mut fields.no_peer_id,
                b"trackerid" => &mut fields.trackerid,
                _ => continue,
            };
            field.get_or_insert(value);
        }
        fields
    }
}

/// Keys and raw values of a query; a key without `=` has an empty value.
pub(super) fn pairs(query: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    query.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()).map(|pair| {
        let end = pair.iter().position(|byte| *byte == b'=');
        let end = end.unwrap_or(pair.len());
        (pair.get(..end).unwrap_or_default(), pair.get(end + 1..).unwrap_or_default())
    })
}

/// A number in decimal; what is larger than all numbers is the largest. `None` if it is none.
fn number(value: &[u8]) -> Option<u64> {
    if value.is_empty() {
        return None;
    }
    value.iter().try_fold(0_u64, |number, byte| {
        let digit = char::from(*byte).to_digit(10)?;
        Some(number.saturating_mul(10).saturating_add(u64::from(digit)))
    })
}

fn event_name(event: AnnounceEvent) -> Option<&'static str> {
    match event {
        AnnounceEvent::None => None,
        AnnounceEvent::Started => Some("started"),
        AnnounceEvent::Completed => Some("completed"),
        AnnounceEvent::Stopped => Some("stopped"),
        AnnounceEvent::Paused => Some("paused"),
    }
}

fn event_of(value: &[u8]) -> AnnounceEvent {
    match value {
        b"started" => AnnounceEvent::Started,
        b"completed" => AnnounceEvent::Completed,
        b"stopped" => AnnounceEvent::Stopped,
        b"paused" => AnnounceEvent::Paused,
        _ => AnnounceEvent::None,
    }
}

/// A key is 8 digits of hex; some send other words, of which only equality matters (FNV-1a).
fn key_of(value: &[u8]) -> u32 {
    let text = std::str::from_utf8(value).ok();
    let hex = text.filter(|text| text.bytes().all(|byte| byte.is_ascii_hexdigit()));
    hex.and_then(|text| u32::from_str_radix(text, 16).ok()).unwrap_or_else(|| {
        value
            .iter()
            .fold(0x811C_9DC5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
    })
}
