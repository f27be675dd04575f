//! Scrapes (BEP 48, BEP 21): which torrents, and what a tracker knows of each.

use super::query::{QueryError, pairs};
use super::reply::{MAX_BODY, count, number, pair, refusal, string};
use crate::{AnnounceFailure, ScrapeCounts};
use dunlin_base::InfoHash;
use dunlin_base::percent::{decode_20, encode};
use dunlin_bencode::{Limits, Mode, decode};
use std::time::Duration;

/// Torrents in one scrape: what fits into a datagram (BEP 15), and over HTTP no more than that.
pub const MAX_SCRAPE: usize = 74;

/// What a tracker says to a scrape.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScrapeReply {
    /// The torrents that it knows.
    pub files: Vec<(InfoHash, ScrapeCounts)>,
    /// It wants no scrape sooner.
    pub min_interval: Option<Duration>,
}

/// Writes the query of a scrape.
#[must_use]
pub fn scrape_query(torrents: &[InfoHash]) -> String {
    let mut text = String::new();
    for torrent in torrents {
        if !text.is_empty() {
            text.push('&');
        }
        text.push_str("info_hash=");
        encode(&torrent.0, &mut text);
    }
    text
}

/// Reads the raw bytes behind the `?` of a scrape: the torrents in order, each once.
///
/// # Errors
/// If there is none, one is wrong, or there are more than [`MAX_SCRAPE`].
pub fn parse_scrape_query(query: &[u8]) -> Result<Vec<InfoHash>, QueryError> {
    let mut torrents = Vec::new();
    for (_, value) in pairs(query).filter(|(key, _)| *key == b"info_hash") {
        if torrents.len() == MAX_SCRAPE {
            return Err(QueryError::TooMany(MAX_SCRAPE));
        }
        torrents.push(InfoHash(decode_20(value).ok_or(QueryError::Length("info_hash"))?));
    }
    torrents.sort_unstable();
    torrents.dedup();
    if torrents.is_empty() { Err(QueryError::FullScrape) } else { Ok(torrents) }
}

/// Appends the answer. `files` are in ascending order of their hashes, each once.
pub fn write_scrape(files: &[(InfoHash, ScrapeCounts)], min_interval: u32, out: &mut Vec<u8>) {
    out.push(b'd');
    string(out, b"files");
    out.push(b'd');
    for (torrent, counts) in files {
        string(out, &torrent.0);
        out.push(b'd');
        pair(out, "complete", counts.complete);
        pair(out, "downloaded", counts.downloaded);
        if let Some(downloaders) = counts.downloaders {
            pair(out, "downloaders", downloaders);
        }
        pair(out, "incomplete", counts.incomplete);
        out.push(b'e');
    }
    out.push(b'e');
    if min_interval > 0 {
        string(out, b"flags");
        out.push(b'd');
        pair(out, "min_request_interval", min_interval);
        out.push(b'e');
    }
    out.push(b'e');
}

/// Reads the body of an answer, leniently.
///
/// # Errors
/// As [`read_announce`](super::read_announce).
pub fn read_scrape(body: &[u8]) -> Result<ScrapeReply, AnnounceFailure> {
    let malformed = |why: &str| AnnounceFailure::Malformed(why.to_owned());
    if body.len() > MAX_BODY {
        return Err(malformed("it is too long"));
    }
    let document = decode(body, Mode::Lenient, Limits::TRACKER)
        .map_err(|error| malformed(&error.to_string()))?;
    let root = document.root().dict().ok_or_else(|| malformed("expected a dictionary"))?;
    if let Some(refusal) = refusal(&root) {
        return Err(refusal);
    }
    let files = root.get("files").and_then(|node| node.dict());
    let files = files.ok_or_else(|| malformed("a scrape without `files`"))?;
    let file = |(key, node): (&[u8], dunlin_bencode::Node<'_>)| {
        let torrent = InfoHash(<[u8; 20]>::try_from(key).ok()?);
        let counts = node.dict()?;
        let counts = ScrapeCounts {
            complete: count(&counts, "complete")?,
            downloaded: count(&counts, "downloaded").unwrap_or(0),
            incomplete: count(&counts, "incomplete")?,
            downloaders: count(&counts, "downloaders"),
        };
        Some((torrent, counts))
    };
    let flags = root.get("flags").and_then(|node| node.dict());
    let wait = flags.and_then(|flags| number(&flags, "min_request_interval"));
    Ok(ScrapeReply {
        files: files.iter().filter_map(file).take(MAX_SCRAPE).collect(),
        min_interval: wait.map(|wait| Duration::from_secs(wait.min(86_400))),
    })
}
