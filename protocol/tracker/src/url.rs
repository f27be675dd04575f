//! Addresses of trackers: what is accepted, what is sent of it, where scrapes go, and where a
//! redirect may lead. It resolves no name.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use thiserror::Error;

/// The longest address of a tracker that is accepted, in bytes: what fits into a request head of 8
/// KiB beside everything else.
pub const MAX_TRACKER_URL: usize = 4096;

/// The longest name of a host (RFC 1035).
const MAX_HOST: usize = 253;

/// Keys of an announce that must not stand in the address already: with them a torrent could make
/// clients ask any server anything (the rule is libtorrent's).
const OURS: [&str; 9] =
    ["info_hash", "peer_id", "port", "uploaded", "downloaded", "left", "event", "key", "corrupt"];

/// What carries an announce.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scheme {
    /// Plain HTTP (BEP 3).
    Http,
    /// HTTP over TLS.
    Https,
    /// Datagrams (BEP 15).
    Udp,
}

impl Scheme {
    /// The word before `://`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
            Scheme::Udp => "udp",
        }
    }

    fn port(self) -> Option<u16> {
        match self {
            Scheme::Http => Some(80),
            Scheme::Https => Some(443),
            Scheme::Udp => None,
        }
    }
}

/// Why an address is no tracker's, or none that we speak to.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TrackerUrlError {
    /// It is too long.
    #[error("the tracker's address has {0} bytes, expected at most {MAX_TRACKER_URL}")]
    TooLong(usize),
    /// It does not begin with a scheme and `//`.
    #[error("expected http://, https:// or udp:// and a host")]
    NoScheme,
    /// A scheme that we do not speak.
    #[error("trackers at {0}:// are not supported, only http, https and udp")]
    Scheme(String),
    /// A name and password before the host.
    #[error("a tracker's address with a user name in it is not supported")]
    User,
    /// The host is empty or has characters that no host has.
    #[error("`{0}` is no name and no address of a host")]
    Host(String),
    /// The port is no number from 1 to 65535.
    #[error("`{0}` is no port, expected 1 to 65535")]
    Port(String),
    /// UDP has no usual port.
    #[error("a tracker at udp:// needs its port, as in udp://host:6969")]
    NoPort,
    /// A control character.
    #[error("the tracker's address has a control character in it")]
    Control,
    /// It names what the announce itself has to say.
    #[error("the tracker's address sets `{0}` itself, which only an announce may do")]
    Ours(&'static str),
    /// A tracker on this host, or on its link, that is none.
    #[error("the path of a tracker on this host or its link must begin with /announce")]
    Local,
    /// A redirect that must not be followed.
    #[error("the tracker redirects from {0}, which is not allowed")]
    Redirect(&'static str),
}

/// The address of a tracker. Its `Debug` shows no secrets.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrackerUrl {
    scheme: Scheme,
    host: String,
    port: u16,
    target: String,
}

impl TrackerUrl {
    /// Reads an address as torrents and people write it.
    ///
    /// # Errors
    /// If it is none, or one that we do not speak to; the error says what to do.
    pub fn parse(text: &str) -> Result<TrackerUrl, TrackerUrlError> {
        let url = TrackerUrl::parse_any(text)?;
        if url.scheme != Scheme::Udp
            && let Some(key) = url.own_key()
        {
            return Err(TrackerUrlError::Ours(key));
        }
        match url.literal() {
            Some(ip) => url.check_host(ip).map(|()| url),
            None if url.host == "localhost" => {
                url.check_host(Ipv4Addr::LOCALHOST.into()).map(|()| url)
            }
            None => Ok(url),
        }
    }

    /// The address without the rules that only a torrent's own address has to keep: a redirect
    /// sends our own query back.
    fn parse_any(text: &str) -> Result<TrackerUrl, TrackerUrlError> {
        let text = text.trim();
        if text.len() > MAX_TRACKER_URL {
            return Err(TrackerUrlError::TooLong(text.len()));
        }
        if text.chars().any(char::is_control) {
            return Err(TrackerUrlError::Control);
        }
        let (scheme, rest) = text.split_once("://").ok_or(TrackerUrlError::NoScheme)?;
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            "udp" => Scheme::Udp,
            other => return Err(TrackerUrlError::Scheme(short(other))),
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        let (host, port) = split_authority(authority, scheme)?;
        Ok(TrackerUrl { scheme, host, port, target: request_target(target) })
    }

    /// What carries the announce.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The host in lower case, without the brackets of IPv6.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port; never 0.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Path and query as they are sent: as they came, but what no request may hold is
    /// percent-encoded. Begins with `/`.
    #[must_use]
    pub fn target(&self) -> &str {
        &self.target
    }

    /// The address of the host, if it is given by number.
    #[must_use]
    pub fn literal(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }

    /// Host and port as the header `Host` has them: without the port where it is the usual one.
    #[must_use]
    pub fn authority(&self) -> String {
        let host =
            if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        if self.scheme.port() == Some(self.port) { host } else { format!("{host}:{}", self.port) }
    }

    /// The target with more parameters behind it.
    #[must_use]
    pub fn target_with(&self, query: &str) -> String {
        let sign = if self.target.contains('?') { '&' } else { '?' };
        format!("{}{sign}{query}", self.target)
    }

    /// Path and query of scrapes (BEP 48): the last part of the path must begin with `announce`,
    /// which becomes `scrape`. `None` where the tracker has no scrapes.
    #[must_use]
    pub fn scrape_target(&self) -> Option<String> {
        let end = self.target.find('?').unwrap_or(self.target.len());
        let (path, query) = self.target.split_at(end);
        let (folder, last) = path.rsplit_once('/')?;
        let suffix = last.strip_prefix("announce")?;
        Some(format!("{folder}/scrape{suffix}{query}"))
    }

    /// Whether a tracker may be asked at the address that its name stands for. What answers to us
    /// alone must look like a tracker: services of our own host, and those of its link (RFC 3927,
    /// RFC 4291 section 2.5.6), where clouds tell each host its secrets. Where a redirect leads is
    /// asked, too.
    ///
    /// # Errors
    /// [`TrackerUrlError::Local`].
    pub fn check_host(&self, ip: IpAddr) -> Result<(), TrackerUrlError> {
        let ours = match ip.to_canonical() {
            IpAddr::V4(ip) => ip.is_loopback() || ip.is_unspecified() || ip.is_link_local(),
            IpAddr::V6(ip) => ip.is_loopback() || ip.is_unspecified() || is_link_local_v6(ip),
        };
        let tracker = self.scheme == Scheme::Udp || self.looks_like_a_tracker();
        if ours && !tracker { Err(TrackerUrlError::Local) } else { Ok(()) }
    }

    /// Where an answer that says `Location: to` leads. Whether the host may be asked is to be seen
    /// by [`is_public`] once its address is known.
    ///
    /// # Errors
    /// If it leads nowhere, or from a sealed connection to an open one.
    pub fn redirect(&self, to: &str) -> Result<TrackerUrl, TrackerUrlError> {
        let to = to.trim();
        let path = self.target.split('?').next().unwrap_or_default();
        let here = format!("{}://{}", self.scheme.name(), self.authority());
        let query = to.find(['?', '#']).unwrap_or(to.len());
        let whole = if to.get(..query).is_some_and(|head| head.contains("://")) {
            to.to_owned()
        } else if to.starts_with("//") {
            format!("{}:{to}", self.scheme.name())
        } else if to.starts_with('/') {
            format!("{here}{to}")
        } else if to.starts_with('?') {
            format!("{here}{path}{to}")
        } else {
            let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
            format!("{here}{folder}/{to}")
        };
        let next = TrackerUrl::parse_any(&whole)?;
        match (self.scheme, next.scheme) {
            (_, Scheme::Udp) => Err(TrackerUrlError::Redirect("HTTP to UDP")),
            (Scheme::Https, Scheme::Http) => Err(TrackerUrlError::Redirect("https to http")),
            _ => Ok(next),
        }
    }

    /// The address for people and logs. What may be a passkey is hidden: every part of the path but
    /// `announce` (with an extension such as `.php`), and the query.
    #[must_use]
    pub fn masked(&self) -> String {
        let (path, query) = self.target.split_once('?').unwrap_or((&self.target, ""));
        let shown = |part: &str| {
            let extension = part.strip_prefix("announce").map(|rest| rest.strip_prefix('.'));
            match extension {
                Some(Some(word)) => word.len() <= 4,
                Some(None) => part == "announce",
                None => part.is_empty(),
            }
        };
        let path: Vec<&str> =
            path.split('/').map(|part| if shown(part) { part } else { "***" }).collect();
        let query = if query.is_empty() { "" } else { "?***" };
        format!("{}://{}{}{query}", self.scheme.name(), self.authority(), path.join("/"))
    }

    /// [`TrackerUrl::masked`] of an address as it stands in a torrent; of one that is no address of
    /// a tracker nothing is shown but what comes before its path.
    #[must_use]
    pub fn mask(text: &str) -> String {
        if let Ok(url) = TrackerUrl::parse_any(text) {
            return url.masked();
        }
        let begin = text.find("://").map_or(0, |at| at + 3);
        let rest = text.get(begin..).unwrap_or_default();
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        // A name and a password may stand before the host.
        let host = host.rsplit('@').next().unwrap_or_default();
        format!("{}{}/***", text.get(..begin).unwrap_or_default(), short(host))
    }

    /// Whether the path is that of an announce, and stays it for a server that resolves dots.
    fn looks_like_a_tracker(&self) -> bool {
        let path = self.target.split('?').next().unwrap_or_default();
        let path = dunlin_base::percent::decode(path.as_bytes());
        let mut parts = path.split(|byte| matches!(byte, b'/' | b'\\'));
        path.starts_with(b"/announce") && parts.all(|part| part != b"..")
    }

    fn own_key(&self) -> Option<&'static str> {
        let (_, query) = self.target.split_once('?')?;
        query.split(['&', ';']).find_map(|pair| {
            let key = pair.split('=').next().unwrap_or_default();
            let key = dunlin_base::percent::decode(key.as_bytes());
            OURS.into_iter().find(|ours| key.eq_ignore_ascii_case(ours.as_bytes()))
        })
    }
}

impl fmt::Display for TrackerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme.name(), self.authority(), self.target)
    }
}

impl fmt::Debug for TrackerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.masked())
    }
}

/// Whether everybody means the same host by an address: not this host, a private network, or
/// nobody. A tracker out there must not lead us to what only we can reach.
#[must_use]
pub fn is_public(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            // RFC 6598: addresses that a provider shares among its customers.
            let shared = a == 100 && (64..128).contains(&b);
            let reserved = a == 0 || a >= 240;
            let local = ip.is_loopback() || ip.is_private() || ip.is_link_local();
            !(local || shared || reserved || ip.is_multicast())
        }
        IpAddr::V6(ip) => !(is_local_v6(ip) || ip.is_multicast()),
    }
}

fn is_local_v6(ip: Ipv6Addr) -> bool {
    let first = ip.segments()[0];
    ip.is_loopback() || ip.is_unspecified() || first & 0xFE00 == 0xFC00 || is_link_local_v6(ip)
}

fn is_link_local_v6(ip: Ipv6Addr) -> bool {
    ip.segments()[0] & 0xFFC0 == 0xFE80
}

/// Whether text may be the name of a host.
pub(crate) fn is_host_name(text: &str) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    !text.is_empty()
        && text.len() <= MAX_HOST
        && text.chars().all(legal)
        && !text.starts_with(['.', '-'])
        && !text.contains("..")
}

fn split_authority(text: &str, scheme: Scheme) -> Result<(String, u16), TrackerUrlError> {
    if text.contains('@') {
        return Err(TrackerUrlError::User);
    }
    let wrong = || TrackerUrlError::Host(short(text));
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, port) = rest.split_once(']').ok_or_else(wrong)?;
        let ip: Ipv6Addr = host.parse().map_err(|_| wrong())?;
        (ip.to_string(), port)
    } else {
        let end = text.find(':').unwrap_or(text.len());
        let (host, port) = text.split_at(end);
        if !is_host_name(host) {
            return Err(wrong());
        }
        (host.to_ascii_lowercase(), port)
    };
    if port.is_empty() || port == ":" {
        return Ok((host, scheme.port().ok_or(TrackerUrlError::NoPort)?));
    }
    let digits = port.strip_prefix(':').filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()));
    let port = digits.and_then(|digits| digits.parse().ok()).filter(|port| *port != 0);
    let port = port.ok_or_else(|| TrackerUrlError::Port(short(digits.unwrap_or(text))))?;
    Ok((host, port))
}

/// Path and query with everything percent-encoded that no request may hold.
fn request_target(text: &str) -> String {
    let mut target = String::with_capacity(text.len() + 1);
    if !text.starts_with('/') {
        target.push('/');
    }
    for byte in text.bytes() {
        let plain = byte.is_ascii_graphic()
            && !matches!(byte, b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}');
        if plain {
            target.push(char::from(byte));
        } else {
            dunlin_base::percent::escape(byte, &mut target);
        }
    }
    target
}

/// The beginning of what somebody wrote, for an error.
fn short(text: &str) -> String {
    text.chars().take(64).collect()
}

#[cfg(test)]
mod tests;
