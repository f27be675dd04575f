//! Answers over HTTP (BEP 3, 7, 23, 48), and two pages for operators of the tracker. A connection
//! is read no further than the head of a request, within a time that does not begin again with
//! every byte.

use super::TrackerState;
use super::swarms::AnnounceRefusal;
use dunlin_engine::tracker::{DEFAULT_WANTED, MAX_WANTED_HTTP};
use dunlin_links::{ConnectionSlot, ConnectionSlots};
use dunlin_tracker::RetryIn;
use dunlin_tracker::http::{
    AnnounceAnswer, AnnounceQuery, Head, HeadError, MAX_HEAD, Requests, parse_scrape_query,
    write_announce, write_failure, write_scrape,
};
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::{sleep, timeout};

/// The pause after an error of the listener, such as a lack of descriptors.
const FAULT_PAUSE: Duration = Duration::from_millis(50);
/// Bytes that are read at a time: most requests are shorter.
const READ: usize = 1024;

/// Accepts connections for ever.
pub(super) async fn serve(
    tracker: Arc<TrackerState>,
    listener: std::net::TcpListener,
    slots: Arc<ConnectionSlots>,
) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(%error, "a socket of the tracker cannot be used");
            return;
        }
    };
    loop {
        let (stream, from) = match listener.accept().await {
            Ok(taken) => taken,
            Err(error) => {
                tracing::debug!(%error, "a connection could not be taken");
                // Most likely no descriptor is free: a connection that waits makes room.
                slots.make_room();
                sleep(FAULT_PAUSE).await;
                continue;
            }
        };
        tracker.counters.connections.increment();
        let _ = stream.set_nodelay(true);
        let from = from.ip().to_canonical();
        // A proxy sends the requests of many peers.
        let exempt = tracker.trusted.contains(&from);
        let state = tracker.clone();
        let crowded = slots.spawn(from, exempt, |mut slot| async move {
            // However a connection ends, nothing follows from it.
            let _ = serve_connection(&state, stream, from, Some(&mut slot)).await;
        });
        if crowded {
            tracker.counters.turned_away.increment();
        }
    }
}

/// Answers one request after another, until one side ends it. A whole request is worth its place.
pub(super) async fn serve_connection(
    tracker: &TrackerState,
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    from: IpAddr,
    mut slot: Option<&mut ConnectionSlot>,
) -> io::Result<()> {
    let patience = tracker.limits.patience;
    let mut requests = Requests::default();
    loop {
        let next = next_request(&mut stream, &mut requests, |head| match head {
            Ok(head) => respond(tracker, from, &head),
            Err(error) => {
                tracker.counters.http_wrong.increment();
                HttpResponse::wrong(error)
            }
        });
        let Some(page) = timeout(patience, next).await?? else { return Ok(()) };
        if let Some(slot) = &mut slot {
            slot.touch();
        }
        timeout(patience, stream.write_all(&page.bytes())).await??;
        if !page.keep_alive {
            return bye(&mut stream, patience).await;
        }
    }
}

/// Ends a connection so that the answer arrives: further bytes are read for a moment, since the
/// system discards what was sent when a connection is closed with unread bytes.
async fn bye(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    patience: Duration,
) -> io::Result<()> {
    stream.shutdown().await?;
    let rest = async {
        let mut waste = [0; READ];
        let mut left = 2 * MAX_HEAD;
        while left > 0 {
            match stream.read(&mut waste).await? {
                0 => break,
                read => left = left.saturating_sub(read),
            }
        }
        Ok(())
    };
    timeout(patience, rest).await.unwrap_or(Ok(()))
}

/// Reads until a head is complete or invalid, and returns the answer to it; `None` if the peer
/// closed the connection.
async fn next_request(
    stream: &mut (impl AsyncRead + Unpin),
    requests: &mut Requests,
    answer: impl Fn(Result<Head<'_>, HeadError>) -> HttpResponse,
) -> io::Result<Option<HttpResponse>> {
    loop {
        if let Some(page) = requests.next(&answer) {
            return Ok(Some(page));
        }
        let mut bytes = [0; READ];
        let read = stream.read(&mut bytes).await?;
        if read == 0 {
            return Ok(None);
        }
        requests.push(bytes.get(..read).unwrap_or_default());
    }
}

/// An answer.
struct HttpResponse {
    status: &'static str,
    kind: &'static str,
    body: Vec<u8>,
    keep_alive: bool,
}

impl Default for HttpResponse {
    fn default() -> HttpResponse {
        HttpResponse { status: "200 OK", kind: "text/plain", body: Vec::new(), keep_alive: false }
    }
}

impl HttpResponse {
    fn wrong(error: HeadError) -> HttpResponse {
        let status = match error {
            HeadError::TooLong | HeadError::TooMany => "431 Request Header Fields Too Large",
            HeadError::NotHttp | HeadError::NoHeader | HeadError::Length => "400 Bad Request",
        };
        HttpResponse { status, body: format!("{error}\n").into_bytes(), ..HttpResponse::default() }
    }

    fn text(status: &'static str, text: &str) -> HttpResponse {
        HttpResponse { status, body: text.as_bytes().to_vec(), ..HttpResponse::default() }
    }

    fn bytes(&self) -> Vec<u8> {
        let HttpResponse { status, kind, body, keep_alive } = self;
        let connection = if *keep_alive { "keep-alive" } else { "close" };
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\
             Connection: {connection}\r\n\r\n",
            body.len()
        );
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(body);
        bytes
    }
}

fn respond(tracker: &TrackerState, from: IpAddr, head: &Head<'_>) -> HttpResponse {
    // The next request behind a body would have to be looked for in what a peer made up.
    let keep_alive = head.keep_alive && !head.body;
    let page = if head.method == b"GET" {
        route(tracker, from, head)
    } else {
        tracker.counters.http_wrong.increment();
        HttpResponse::text("405 Method Not Allowed", "only GET is answered\n")
    };
    HttpResponse { keep_alive, ..page }
}

/// `/announce` and `/scrape`, with or without a passkey before them, which an open tracker ignores.
fn route(tracker: &TrackerState, from: IpAddr, head: &Head<'_>) -> HttpResponse {
    let path = head.path.strip_prefix(b"/").unwrap_or_default();
    let mut parts = path.split(|byte| *byte == b'/');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(b"announce"), None, _) | (Some(_), Some(b"announce"), None) => {
            announce(tracker, source(tracker, from, head), head.query)
        }
        (Some(b"scrape"), None, _) | (Some(_), Some(b"scrape"), None) => {
            scrape(tracker, head.query)
        }
        (Some(b"stats"), None, _) => {
            tracker.counters.http_others.increment();
            let body = format!("{:#}\n", tracker.stats().to_json()).into_bytes();
            HttpResponse { kind: "application/json", body, ..HttpResponse::default() }
        }
        (Some(b"healthz"), None, _) => {
            tracker.counters.http_others.increment();
            HttpResponse::text("200 OK", "ok\n")
        }
        _ => {
            tracker.counters.http_wrong.increment();
            HttpResponse::text("404 Not Found", "a tracker answers /announce and /scrape\n")
        }
    }
}

/// The address that a request comes from: a trusted proxy names its client.
fn source(tracker: &TrackerState, from: IpAddr, head: &Head<'_>) -> IpAddr {
    let is_proxy = tracker.trusted.contains(&from);
    head.forwarded.filter(|_| is_proxy).map_or(from, |ip| ip.to_canonical())
}

fn announce(tracker: &TrackerState, from: IpAddr, query: &[u8]) -> HttpResponse {
    let mut page = HttpResponse::default();
    let query = match AnnounceQuery::parse(query) {
        Ok(query) => query,
        Err(error) => {
            tracker.counters.http_wrong.increment();
            write_failure(&error.to_string(), None, &mut page.body);
            return page;
        }
    };
    tracker.counters.http_announces.increment();
    let wanted = query.request.num_want.map_or(DEFAULT_WANTED, |wanted| wanted as usize);
    let mut peers = Vec::new();
    let wanted = wanted.min(MAX_WANTED_HTTP);
    match tracker.swarms.announce(from, &query.request, wanted, &mut peers) {
        Ok(counts) => {
            let interval = tracker.swarms.interval();
            let (four, six) =
                if from.is_ipv4() { (&peers[..], &[][..]) } else { (&[][..], &peers[..]) };
            let answer = AnnounceAnswer {
                interval: Some(interval),
                min_interval: Some((interval / 2).max(1)),
                counts: Some(counts),
                peers: four,
                peers6: six,
                dictionaries: !query.compact,
                external_ip: Some(from),
                tracker_id: None,
                warning: None,
            };
            write_announce(&answer, &mut page.body);
        }
        Err(refused) => {
            tracker.counters.refused.increment();
            let wait = Duration::from_secs(tracker.swarms.interval().into());
            let retry = match refused {
                AnnounceRefusal::Full(_) => Some(RetryIn::After(wait)),
                AnnounceRefusal::NotServed => None,
            };
            write_failure(&refused.reason(), retry, &mut page.body);
        }
    }
    page
}

fn scrape(tracker: &TrackerState, query: &[u8]) -> HttpResponse {
    let mut page = HttpResponse::default();
    match parse_scrape_query(query) {
        Ok(torrents) => {
            tracker.counters.http_scrapes.increment();
            let access = tracker.swarms.access();
            let known = |torrent| Some((torrent, tracker.swarms.scrape(&access, &torrent)?));
            let files: Vec<_> = torrents.into_iter().filter_map(known).collect();
            write_scrape(&files, (tracker.swarms.interval() / 2).max(1), &mut page.body);
        }
        Err(error) => {
            tracker.counters.http_wrong.increment();
            write_failure(&error.to_string(), None, &mut page.body);
        }
    }
    page
}
