//! Magnet links (BEP 9, "magnet URI format", and BEP 53): a torrent by its hashes, and where its
//! peers may be found.

use dunlin_base::{InfoHash, hex, parse_hex, percent};
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

use crate::info_hashes::InfoHashes;
use crate::torrent::TRACKER_SCHEMES;

/// The longest link in bytes that is read: what shells and browsers pass on, and far above what
/// torrents with many trackers need.
pub const MAX_MAGNET: usize = 64 * 1024;

/// Schemes of web seeds (BEP 19).
const WEB_SCHEMES: &[&str] = &["http", "https", "ftp"];

/// Why a text is no magnet link. Whoever wrote it is to blame.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum MagnetError {
    /// Something else.
    #[error("`{0}` is no magnet link: one begins with `magnet:?`")]
    NotMagnet(String),
    /// A text that is longer than any link.
    #[error("the magnet link has {0} bytes, expected at most {MAX_MAGNET}: leave trackers out")]
    TooLong(usize),
    /// No torrent is named.
    #[error(
        "the magnet link names no torrent: expected `xt=urn:btih:` and an info-hash, or \
         `xt=urn:btmh:` and one of version 2; copy the whole link, and quote it for the shell"
    )]
    NoTopic,
    /// An info-hash that is none.
    #[error(
        "`{0}` is no info-hash: expected 40 hex digits or 32 letters of base32 behind \
         `urn:btih:`, or `1220` and 64 hex digits behind `urn:btmh:`; copy the whole link"
    )]
    Topic(String),
    /// Two hashes of one version.
    #[error("the magnet link names two torrents: use a link for each")]
    TwoTorrents,
}

/// A magnet link.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Magnet {
    /// The torrent; at least one of both is there.
    pub hashes: InfoHashes,
    /// What people call it. Not safe to create.
    pub name: Option<String>,
    /// Its length in bytes, as somebody claims.
    pub length: Option<u64>,
    /// Addresses of trackers; each is a tier of its own, in order.
    pub trackers: Vec<String>,
    /// Servers that hold the files (BEP 19).
    pub web_seeds: Vec<String>,
    /// Peers that may be dialled at once: host and port. A host is a name or an address.
    pub peers: Vec<(String, u16)>,
    /// The files that are wanted, as ranges of indexes, both ends included (BEP 53); `None` means
    /// all.
    pub select: Option<Vec<(u32, u32)>>,
}

impl Magnet {
    /// Whether file `index` is wanted (BEP 53).
    #[must_use]
    pub fn selects(&self, index: u32) -> bool {
        let within = |(first, last): &(u32, u32)| (*first..=*last).contains(&index);
        self.select.as_ref().is_none_or(|ranges| ranges.iter().any(within))
    }

    /// Whether a text looks as if it were meant to be a link.
    #[must_use]
    pub fn is_like(text: &str) -> bool {
        text.get(..7).is_some_and(|head| head.eq_ignore_ascii_case("magnet:"))
    }
}

impl FromStr for Magnet {
    type Err = MagnetError;

    /// Reads a link. Parameters that are not known, or hold nothing of use, are left out.
    ///
    /// # Errors
    /// If it names no torrent, or more than one.
    fn from_str(text: &str) -> Result<Magnet, MagnetError> {
        let text = text.trim();
        if text.len() > MAX_MAGNET {
            return Err(MagnetError::TooLong(text.len()));
        }
        let head = text.get(..8).filter(|head| head.eq_ignore_ascii_case("magnet:?"));
        let query = head.and_then(|head| text.get(head.len()..));
        let query = query.ok_or_else(|| MagnetError::NotMagnet(beginning(text)))?;
        let mut magnet = Magnet::default();
        for parameter in query.split('&') {
            // Links that were copied out of the source of a page have `&amp;`.
            let parameter = parameter.strip_prefix("amp;").unwrap_or(parameter);
            let Some((name, value)) = parameter.split_once('=') else { continue };
            magnet.take(&plain_name(name), value)?;
        }
        if magnet.hashes == InfoHashes::default() {
            return Err(MagnetError::NoTopic);
        }
        Ok(magnet)
    }
}

impl Magnet {
    fn take(&mut self, name: &str, value: &str) -> Result<(), MagnetError> {
        match name {
            "xt" => self.topic(&decode(value))?,
            "dn" => {
                self.name = Some(decode(&value.replace('+', " "))).filter(|name| !name.is_empty())
            }
            "xl" => self.length = decode(value).parse().ok(),
            "tr" => self.trackers.extend(url(value, TRACKER_SCHEMES)),
            "ws" => self.web_seeds.extend(url(value, WEB_SCHEMES)),
            "x.pe" => self.peers.extend(host_and_port(&decode(value))),
            "so" => {
                if let Some(ranges) = ranges(&decode(value)) {
                    self.select.get_or_insert_default().extend(ranges);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// `urn:btih:` or `urn:btmh:`; names of other networks are left out.
    fn topic(&mut self, topic: &str) -> Result<(), MagnetError> {
        let wrong = || MagnetError::Topic(beginning(topic));
        let behind = |prefix: &str| {
            let head = topic.get(..prefix.len())?;
            head.eq_ignore_ascii_case(prefix).then(|| topic.get(prefix.len()..)).flatten()
        };
        if let Some(digits) = behind("urn:btih:") {
            let hash = parse_hex(digits).or_else(|| base32(digits)).ok_or_else(wrong)?;
            return set(&mut self.hashes.v1, InfoHash(hash));
        }
        if let Some(digits) = behind("urn:btmh:") {
            let hash = digits.strip_prefix("1220").and_then(parse_hex).ok_or_else(wrong)?;
            return set(&mut self.hashes.v2, hash);
        }
        Ok(())
    }
}

fn set<T: PartialEq>(place: &mut Option<T>, hash: T) -> Result<(), MagnetError> {
    match place {
        Some(there) if *there != hash => Err(MagnetError::TwoTorrents),
        _ => {
            *place = Some(hash);
            Ok(())
        }
    }
}

/// The name of a parameter in small letters, without the number that tells `tr.1` from `tr.2`.
fn plain_name(name: &str) -> String {
    let numbered = name.rsplit_once('.').filter(|(_, number)| {
        !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
    });
    numbered.map_or(name, |(name, _)| name).to_ascii_lowercase()
}

/// `%41` to `A`; what is no such escape stays as it is.
fn decode(text: &str) -> String {
    String::from_utf8_lossy(&percent::decode(text.as_bytes())).into_owned()
}

fn url(value: &str, schemes: &[&str]) -> Option<String> {
    let url = decode(value).trim().to_owned();
    let (scheme, rest) = url.split_once("://")?;
    let known = schemes.iter().any(|ours| ours.eq_ignore_ascii_case(scheme));
    (known && !rest.is_empty()).then_some(url)
}

/// `host:port`, `192.0.2.1:6881` or `[2001:db8::1]:6881`.
fn host_and_port(text: &str) -> Option<(String, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let port: u16 = port.parse().ok().filter(|port| *port > 0)?;
    let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let host = match inner {
        Some(address) => address.parse::<std::net::Ipv6Addr>().ok()?.to_string(),
        None => host.to_owned(),
    };
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_');
    let named = !host.is_empty() && host.chars().all(plain);
    (inner.is_some() || named).then_some((host, port))
}

/// `0,2,4,6-8`; `None` if anything else stands there.
fn ranges(text: &str) -> Option<Vec<(u32, u32)>> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let number = |digits: &str| {
            let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            plain.then(|| digits.parse::<u32>().ok()).flatten()
        };
        let (first, last) = (number(first)?, number(last)?);
        (first <= last).then_some((first, last))
    };
    text.split(',').map(range).collect()
}

/// RFC 4648, section 6, without filling: 32 letters are 20 bytes.
fn base32(letters: &str) -> Option<[u8; 20]> {
    let mut bytes = Vec::new();
    let (mut bits, mut held) = (0_u32, 0_u32);
    for letter in letters.bytes() {
        let value = match letter.to_ascii_uppercase() {
            letter @ b'A'..=b'Z' => letter - b'A',
            digit @ b'2'..=b'7' => digit - b'2' + 26,
            _ => return None,
        };
        bits = (bits << 5 | u32::from(value)) & 0xfff;
        held += 5;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
        }
    }
    bytes.try_into().ok().filter(|_| letters.len() == 32)
}

/// As much of a text as an error message should show.
fn beginning(text: &str) -> String {
    let mut shown: String = text.chars().take(60).flat_map(char::escape_debug).collect();
    if text.chars().nth(60).is_some() {
        shown.push('…');
    }
    shown
}

/// Everything but letters, digits, `-`, `_`, `.`, `~` and `kept`, as `%41`.
fn encode(f: &mut fmt::Formatter<'_>, text: &str, kept: &[u8]) -> fmt::Result {
    let mut encoded = String::new();
    percent::encode_but(text.as_bytes(), kept, &mut encoded);
    f.write_str(&encoded)
}

impl fmt::Display for Magnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut sign = "magnet:?";
        let mut next = || std::mem::replace(&mut sign, "&");
        if let Some(hash) = &self.hashes.v1 {
            write!(f, "{}xt=urn:btih:{hash}", next())?;
        }
        if let Some(hash) = &self.hashes.v2 {
            write!(f, "{}xt=urn:btmh:1220{}", next(), hex(hash))?;
        }
        if let Some(name) = &self.name {
            write!(f, "{}dn=", next())?;
            encode(f, name, b"")?;
        }
        if let Some(length) = self.length {
            write!(f, "{}xl={length}", next())?;
        }
        for (key, urls) in [("tr", &self.trackers), ("ws", &self.web_seeds)] {
            for url in urls {
                write!(f, "{}{key}=", next())?;
                encode(f, url, b"")?;
            }
        }
        for (host, port) in &self.peers {
            write!(f, "{}x.pe=", next())?;
            let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
            encode(f, &host, b":[]")?;
            write!(f, ":{port}")?;
        }
        if let Some(ranges) = self.select.as_ref().filter(|ranges| !ranges.is_empty()) {
            write!(f, "{}so=", next())?;
            for (at, (first, last)) in ranges.iter().enumerate() {
                let comma = if at == 0 { "" } else { "," };
                match first == last {
                    true => write!(f, "{comma}{first}")?,
                    false => write!(f, "{comma}{first}-{last}")?,
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
