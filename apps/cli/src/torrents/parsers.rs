//! Values of options around torrents: tiers of trackers, formats, files to select, peers.

use dunlin_metainfo::{Format, Magnet};
use dunlin_plan::{Pattern, PatternError};

/// Schemes of trackers that are asked.
const ASKED: &[&str] = &["http", "https", "udp"];
/// Schemes of trackers that a torrent may name.
const TRACKERS: &[&str] = &["http", "https", "udp", "ws", "wss"];
/// Schemes of web seeds.
const WEB: &[&str] = &["http", "https", "ftp"];

/// Why the value of an option was refused. The person at the command line is to blame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TorrentValueError {
    /// No address of a tracker.
    #[error("`{0}` is no tracker: write http://, https:// or udp:// and its address")]
    Tracker(String),
    /// No address of a web seed.
    #[error("`{0}` is no web seed: write http:// or https:// and its address")]
    WebSeed(String),
    /// No format.
    #[error("`{0}` is no format: use one of v1, v2, hybrid")]
    Format(String),
    /// No order of files.
    #[error("`{0}` is no order of files: use one of name, listed")]
    Order(String),
    /// No peer.
    #[error("`{0}` is no peer: write HOST:PORT, as in 192.0.2.7:6881 or [2001:db8::1]:6881")]
    Peer(String),
    /// No glob and no indexes.
    #[error(transparent)]
    Pattern(#[from] PatternError),
}

/// Trackers that are asked together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tier(pub(crate) Vec<String>);

/// Reads the trackers of one tier, with commas between them.
///
/// # Errors
/// If one of them has no scheme of a tracker, or no host.
pub(crate) fn tier(text: &str) -> Result<Tier, TorrentValueError> {
    let url = |url: &str| tracker_of(url, TRACKERS);
    Ok(Tier(text.split(',').map(url).collect::<Result<_, _>>()?))
}

/// Reads the address of a tracker that is to be asked.
///
/// # Errors
/// If it has no scheme by which trackers are asked, or no host.
pub(crate) fn tracker(text: &str) -> Result<String, TorrentValueError> {
    tracker_of(text, ASKED)
}

fn tracker_of(url: &str, schemes: &[&str]) -> Result<String, TorrentValueError> {
    address(url, schemes).ok_or_else(|| TorrentValueError::Tracker(url.to_owned()))
}

/// Reads the address of a web seed.
///
/// # Errors
/// If it has no scheme of one, or no host.
pub(crate) fn web_seed(text: &str) -> Result<String, TorrentValueError> {
    address(text, WEB).ok_or_else(|| TorrentValueError::WebSeed(text.to_owned()))
}

fn address(text: &str, schemes: &[&str]) -> Option<String> {
    let text = text.trim();
    let (scheme, rest) = text.split_once("://")?;
    let known = schemes.iter().any(|ours| ours.eq_ignore_ascii_case(scheme));
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let plain = !text.chars().any(|c| c.is_whitespace() || c.is_control());
    (known && !host.is_empty() && plain).then(|| text.to_owned())
}

/// Reads the format of a torrent.
///
/// # Errors
/// If there is no such format.
pub(crate) fn format(text: &str) -> Result<Format, TorrentValueError> {
    match text {
        "v1" => Ok(Format::V1),
        "v2" => Ok(Format::V2),
        "hybrid" => Ok(Format::Hybrid),
        _ => Err(TorrentValueError::Format(text.to_owned())),
    }
}

/// In which order files stand in a torrent of version 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileOrder {
    /// By name.
    Name,
    /// As the file system lists them.
    Listed,
}

/// Reads the order of files.
///
/// # Errors
/// If there is no such order.
pub(crate) fn file_order(text: &str) -> Result<FileOrder, TorrentValueError> {
    match text {
        "name" => Ok(FileOrder::Name),
        "listed" => Ok(FileOrder::Listed),
        _ => Err(TorrentValueError::Order(text.to_owned())),
    }
}

/// Files of a torrent.
#[derive(Clone, Debug)]
pub(crate) enum Select {
    /// By index: ranges, both ends included.
    Indexes(Vec<(u32, u32)>),
    /// By path.
    Paths(Pattern),
}

impl Select {
    /// Reads indexes, as in `0,2,4-8`, or a glob.
    ///
    /// # Errors
    /// If it is neither.
    pub(crate) fn parse(text: &str) -> Result<Select, TorrentValueError> {
        // A magnet link has the same form of indexes.
        let link = format!("magnet:?xt=urn:btih:{}&so={text}", "0".repeat(40));
        let indexes = text.chars().all(|c| c.is_ascii_digit() || matches!(c, ',' | '-'));
        let magnet = link.parse::<Magnet>().ok().filter(|_| indexes);
        match magnet.and_then(|magnet| magnet.select) {
            Some(ranges) => Ok(Select::Indexes(ranges)),
            None => Ok(Select::Paths(Pattern::parse(text)?)),
        }
    }

    /// Whether a file is meant, by its index and its path in the torrent.
    pub(crate) fn matches(&self, index: u32, path: &str) -> bool {
        match self {
            Select::Indexes(ranges) => {
                ranges.iter().any(|(first, last)| (*first..=*last).contains(&index))
            }
            Select::Paths(pattern) => pattern.matches(path),
        }
    }
}

/// Reads the address of a peer.
///
/// # Errors
/// If it is not HOST:PORT.
pub(crate) fn peer(text: &str) -> Result<(String, u16), TorrentValueError> {
    // As a magnet link reads it, so that the link will hold it.
    let link = format!("magnet:?xt=urn:btih:{}&x.pe={text}", "0".repeat(40));
    let magnet = link.parse::<Magnet>().ok().filter(|_| !text.contains(['&', '%']));
    let peer = magnet.and_then(|magnet| magnet.peers.into_iter().next());
    peer.ok_or_else(|| TorrentValueError::Peer(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiers_and_web_seeds() {
        let two = tier("http://a.example/x,udp://b.example:80").unwrap();
        assert_eq!(two.0, ["http://a.example/x", "udp://b.example:80"]);
        for text in
            ["", "a.example", "ftp://a.example", "http://", "http:///x", "http://a,", "http://a b"]
        {
            assert!(matches!(tier(text), Err(TorrentValueError::Tracker(_))), "{text}");
        }
        assert!(tier("wss://a.example/").is_ok() && tracker("wss://a.example/").is_err());
        assert_eq!(tracker("udp://a.example:80").as_deref(), Ok("udp://a.example:80"));
        assert!(web_seed("https://w.example/").is_ok());
        assert!(web_seed("udp://w.example/").is_err());
    }

    #[test]
    fn files_to_select() {
        let indexes = Select::parse("0,2,4-6").unwrap();
        let chosen: Vec<u32> = (0..9).filter(|index| indexes.matches(*index, "x")).collect();
        assert_eq!(chosen, [0, 2, 4, 5, 6]);
        let paths = Select::parse("docs/**").unwrap();
        assert!(paths.matches(0, "docs/a/b") && !paths.matches(0, "other"));
        assert!(Select::parse("3-1").is_ok_and(|select| matches!(select, Select::Paths(_))));
        assert!(Select::parse("../x").is_err());
    }

    #[test]
    fn peers() {
        let v6 = ("2001:db8::1".to_owned(), 1);
        assert_eq!(peer("[2001:db8::1]:1"), Ok(v6));
        assert_eq!(peer("a.example:6881"), Ok(("a.example".to_owned(), 6881)));
        for text in ["", "a.example", "a:0", "a:70000", "a:1&x.pe=b:2", "::1:5"] {
            assert!(peer(text).is_err(), "{text}");
        }
    }
}
