//! Checks of what a tracker and its peers read, which hold for any bytes. Fuzz targets and the
//! replay of their corpus call them.

use crate::http::{
    AnnounceAnswer, AnnounceQuery, Head, HeadError, MAX_HEAD, MAX_PEERS, MAX_SCRAPE, Requests,
    announce_query, parse_scrape_query, read_announce, read_scrape, scrape_query, write_announce,
    write_scrape,
};
use crate::udp::{
    UdpReply, UdpRequest, announce_request, parse_reply, parse_request, scrape_request, url_data,
};
use crate::{AnnounceEvent, AnnounceReply, TrackerUrl};
use std::net::IpAddr;
use std::time::Duration;

/// Any bytes, after a first one that states as what they are read: a query, an answer, a scrape,
/// the head of a request, a packet or an address. What was read, written and read again is the
/// same.
///
/// # Panics
/// If a property does not hold.
pub fn announce(data: &[u8]) {
    let Some((kind, data)) = data.split_first() else { return };
    match kind % 10 {
        0 => query(data),
        1 => reply(data),
        2 => {
            if let Ok(torrents) = parse_scrape_query(data) {
                assert!(!torrents.is_empty() && torrents.len() <= MAX_SCRAPE);
                let again = parse_scrape_query(scrape_query(&torrents).as_bytes());
                assert_eq!(again, Ok(torrents));
            }
        }
        3 => scrape(data),
        4 => head(data),
        5 => packet(data),
        6 => answer(data, false),
        7 => answer(data, true),
        8 => url(data),
        // The list of a tracker's hashes is read by the engine, whose check has this number.
        _ => {}
    }
}

fn query(data: &[u8]) {
    let Ok(read) = AnnounceQuery::parse(data) else { return };
    assert_ne!(read.request.port, 0);
    let again = AnnounceQuery::parse(announce_query(&read.request).as_bytes());
    let mut expected = read.request;
    if expected.event == AnnounceEvent::Stopped {
        expected.num_want = Some(0);
    }
    assert_eq!(again.map(|again| again.request), Ok(expected));
}

fn reply(data: &[u8]) {
    let read = match read_announce(data) {
        Ok(read) => read,
        Err(failure) => {
            assert!(!failure.to_string().is_empty());
            return;
        }
    };
    assert!(read.peers.len() <= MAX_PEERS);
    assert!(read.peers.iter().all(|peer| peer.port() != 0 && !peer.ip().is_unspecified()));
    let (mut peers, mut peers6) = (Vec::new(), Vec::new());
    for peer in &read.peers {
        let out = match peer.ip() {
            IpAddr::V4(ip) => {
                peers.extend_from_slice(&ip.octets());
                &mut peers
            }
            IpAddr::V6(ip) => {
                peers6.extend_from_slice(&ip.octets());
                &mut peers6
            }
        };
        out.extend_from_slice(&peer.port().to_be_bytes());
    }
    let seconds = |time: Option<Duration>| time.map(|time| time.as_secs() as u32);
    let answer = AnnounceAnswer {
        interval: seconds(read.interval),
        min_interval: seconds(read.min_interval),
        counts: None,
        peers: &peers,
        peers6: &peers6,
        dictionaries: data.len().is_multiple_of(2),
        external_ip: read.external_ip,
        tracker_id: read.tracker_id.as_deref(),
        warning: read.warning.as_deref(),
    };
    let mut out = Vec::new();
    write_announce(&answer, &mut out);
    let (mut four, six): (Vec<_>, Vec<_>) = read.peers.iter().partition(|peer| peer.is_ipv4());
    four.extend(six);
    let expected = AnnounceReply {
        complete: None,
        incomplete: None,
        downloaded: None,
        peers: four,
        named_peers: Vec::new(),
        ..read
    };
    assert_eq!(read_announce(&out), Ok(expected));
}

fn scrape(data: &[u8]) {
    let Ok(mut read) = read_scrape(data) else { return };
    assert!(read.files.len() <= MAX_SCRAPE);
    read.files.sort_by_key(|(torrent, _)| *torrent);
    read.files.dedup_by_key(|(torrent, _)| *torrent);
    let wait = read.min_interval.map_or(0, |wait| wait.as_secs() as u32);
    let mut out = Vec::new();
    write_scrape(&read.files, wait, &mut out);
    assert_eq!(read_scrape(&out).map(|again| again.files), Ok(read.files));
}

/// However the bytes come in, the head is the same.
fn head(data: &[u8]) {
    let whole = Head::parse(data, 0);
    if let Ok(Some(head)) = &whole {
        assert!(head.len <= MAX_HEAD && head.path.starts_with(b"/") && !head.method.is_empty());
        for cut in head.len.saturating_sub(6)..head.len {
            assert_eq!(Head::parse(&data[..cut], 0), Ok(None));
            assert_eq!(Head::parse(&data[..head.len], cut).as_ref(), Ok(&Some(head.clone())));
        }
    }
}

/// The bytes of a connection, after a first one that says how they are cut: in any pieces there are
/// the same requests in the same order, up to the first error, and little is held meanwhile.
///
/// # Panics
/// If a property does not hold.
pub fn requests(data: &[u8]) {
    let Some((seed, data)) = data.split_first() else { return };
    let whole = connection(data, |_| data.len());
    assert_eq!(connection(data, |_| 1), whole, "byte by byte");
    assert_eq!(connection(data, |at| 1 + (at * 31 + usize::from(*seed)) % 97), whole, "{seed}");
}

/// What a request says, without borrowing.
type Said = Result<(Vec<u8>, Vec<u8>, Vec<u8>, bool, bool, Option<IpAddr>), HeadError>;

fn connection(data: &[u8], piece: impl Fn(usize) -> usize) -> Vec<Said> {
    let (mut requests, mut said) = (Requests::default(), Vec::new());
    let mut at = 0;
    while at < data.len() {
        let end = data.len().min(at + piece(at).max(1));
        requests.push(&data[at..end]);
        let owned = |head: Head<'_>| {
            let text = |part: &[u8]| part.to_vec();
            let (method, path, query) = (text(head.method), text(head.path), text(head.query));
            (method, path, query, head.keep_alive, head.body, head.forwarded)
        };
        while let Some(next) = requests.next(|head| head.map(owned)) {
            let over = next.is_err();
            said.push(next);
            if over {
                assert_eq!(requests.held(), 0);
                return said;
            }
        }
        assert!(requests.held() < MAX_HEAD, "{} bytes are held", requests.held());
        at = end;
    }
    said
}

fn packet(data: &[u8]) {
    match parse_request(data) {
        Some(UdpRequest::Announce { connection, transaction, request, options }) => {
            assert!(url_data(options).is_none_or(|url| url.len() <= options.len()));
            let again = announce_request(connection, transaction, &request, "");
            let mut expected = request;
            if expected.event == AnnounceEvent::Stopped {
                expected.num_want = Some(0);
            }
            let Some(UdpRequest::Announce { request, .. }) = parse_request(&again) else {
                panic!("{again:?}")
            };
            assert_eq!(request, expected);
        }
        Some(UdpRequest::Scrape { connection, transaction, torrents }) => {
            let again = scrape_request(connection, transaction, &torrents);
            assert_eq!(again, data[..again.len()], "longer, never other");
        }
        Some(UdpRequest::Connect { .. }) => assert!(data.len() >= 16),
        Some(UdpRequest::Wrong { why, .. }) => assert!(data.len() >= 16 && !why.is_empty()),
        None => assert!(data.len() < 16),
    }
}

fn answer(data: &[u8], v6: bool) {
    let Some((_, reply)) = parse_reply(data, v6) else { return };
    match reply {
        UdpReply::Announced(reply) => {
            let stride = if v6 { 18 } else { 6 };
            assert!(reply.peers.len() <= (data.len() - 20) / stride);
        }
        UdpReply::Scraped(files) => assert!(files.len() <= MAX_SCRAPE),
        UdpReply::Refused(reason) => assert!(!reason.chars().any(char::is_control)),
        UdpReply::Connected(_) => assert!(data.len() >= 16),
    }
}

fn url(data: &[u8]) {
    let (text, to) = data.split_at(data.len() / 2);
    let whole = String::from_utf8_lossy(data);
    if let Ok(url) = TrackerUrl::parse(&whole) {
        assert_eq!(TrackerUrl::parse(&url.to_string()).as_ref(), Ok(&url), "{whole}");
        assert!(
            url.target().starts_with('/') && url.target().bytes().all(|b| b.is_ascii_graphic())
        );
        assert!(url.port() != 0 && !url.host().is_empty());
        assert!(url.scrape_target().is_none_or(|target| target.starts_with('/')));
        assert!(!url.masked().contains('\n'));
    }
    if let Ok(url) = TrackerUrl::parse(&String::from_utf8_lossy(text))
        && let Ok(next) = url.redirect(&String::from_utf8_lossy(to))
    {
        assert!(next.target().bytes().all(|byte| byte.is_ascii_graphic()));
    }
}
