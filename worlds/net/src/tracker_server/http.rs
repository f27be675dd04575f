//! Answers over HTTP (BEP 3, 7, 23, 48), and two pages for who runs the tracker. A connection is read
//! no further than the head of a request, within a time that does not begin again with every byte.

use super::Shared;
use super::swarms::Refused;
use dunlin_engine::tracker::{DEFAULT_WANTED, MAX_WANTED_HTTP};
use dunlin_links::{Place, Places};
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

/// After a fault of the door (no more descriptors, say), until the next look.
const FAULT_PAUSE: Duration = Duration::from_millis(50);
/// Bytes that are read at a time: most requests are shorter.
const READ: usize = 1024;

/// Takes connections for ever.
pub(super) async fn serve(shared: Arc<Shared>, door: std::net::TcpListener, places: Arc<Places>) {
    let door = match TcpListener::from_std(door) {
        Ok(door) => door,
        Err(error) => {
            tracing::error!(%error, "a socket of the tracker cannot be used");
            return;
        }
    };
    loop {
        let (stream, from) = match door.accept().await {
            Ok(taken) => taken,
            Err(error) => {
                tracing::debug!(%error, "a connection could not be taken");
                // Descriptors are short, most likely: who waits makes room.
                places.make_room();
                sleep(FAULT_PAUSE).await;
                continue;
            }
        };
        shared.counters.connections.up();
        let _ = stream.set_nodelay(true);
        let from = from.ip().to_canonical();
        // A proxy speaks for many.
        let exempt = shared.trusted.contains(&from);
        let ours = shared.clone();
        let crowded = places.spawn(from, exempt, |mut place| async move {
            // A connection that ends in any way is over; nobody has to be told.
            let _ = talk(&ours, stream, from, Some(&mut place)).await;
        });
        if crowded {
            shared.counters.turned_away.up();
        }
    }
}

/// Answers one request after another, until one side ends it. A whole request is worth its place.
pub(super) async fn talk(
    shared: &Shared,
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    from: IpAddr,
    mut place: Option<&mut Place>,
) -> io::Result<()> {
    let patience = shared.limits.patience;
    let mut requests = Requests::default();
    loop {
        let next = next_request(&mut stream, &mut requests, |head| match head {
            Ok(head) => respond(shared, from, &head),
            Err(error) => {
                shared.counters.http_wrong.up();
                Page::wrong(error)
            }
        });
        let Some(page) = timeout(patience, next).await?? else { return Ok(()) };
        if let Some(place) = &mut place {
            place.touch();
        }
        timeout(patience, stream.write_all(&page.bytes())).await??;
        if !page.keep_alive {
            return bye(&mut stream, patience).await;
        }
    }
}

/// Ends a connection so that the answer arrives: what still comes is read for a moment, since the
/// system takes back what was sent when something unread is thrown away.
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

/// Reads until a head is whole or can never be, and gives the answer to it; `None` if the other side
/// ended the connection.
async fn next_request(
    stream: &mut (impl AsyncRead + Unpin),
    requests: &mut Requests,
    answer: impl Fn(Result<Head<'_>, HeadError>) -> Page,
) -> io::Result<Option<Page>> {
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
struct Page {
    status: &'static str,
    kind: &'static str,
    body: Vec<u8>,
    keep_alive: bool,
}

impl Default for Page {
    fn default() -> Page {
        Page { status: "200 OK", kind: "text/plain", body: Vec::new(), keep_alive: false }
    }
}

impl Page {
    fn wrong(error: HeadError) -> Page {
        let status = match error {
            HeadError::TooLong | HeadError::TooMany => "431 Request Header Fields Too Large",
            HeadError::NotHttp | HeadError::NoHeader | HeadError::Length => "400 Bad Request",
        };
        Page { status, body: format!("{error}\n").into_bytes(), ..Page::default() }
    }

    fn text(status: &'static str, text: &str) -> Page {
        Page { status, body: text.as_bytes().to_vec(), ..Page::default() }
    }

    fn bytes(&self) -> Vec<u8> {
        let Page { status, kind, body, keep_alive } = self;
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

fn respond(shared: &Shared, from: IpAddr, head: &Head<'_>) -> Page {
    // Behind a body we would have to look for the next request in what a stranger says.
    let keep_alive = head.keep_alive && !head.body;
    let page = if head.method == b"GET" {
        route(shared, from, head)
    } else {
        shared.counters.http_wrong.up();
        Page::text("405 Method Not Allowed", "only GET is answered\n")
    };
    Page { keep_alive, ..page }
}

/// `/announce` and `/scrape`, with or without a passkey before them, which an open tracker ignores.
fn route(shared: &Shared, from: IpAddr, head: &Head<'_>) -> Page {
    let path = head.path.strip_prefix(b"/").unwrap_or_default();
    let mut parts = path.split(|byte| *byte == b'/');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(b"announce"), None, _) | (Some(_), Some(b"announce"), None) => {
            announce(shared, source(shared, from, head), head.query)
        }
        (Some(b"scrape"), None, _) | (Some(_), Some(b"scrape"), None) => scrape(shared, head.query),
        (Some(b"stats"), None, _) => {
            shared.counters.http_others.up();
            let body = format!("{:#}\n", shared.stats().to_json()).into_bytes();
            Page { kind: "application/json", body, ..Page::default() }
        }
        (Some(b"healthz"), None, _) => {
            shared.counters.http_others.up();
            Page::text("200 OK", "ok\n")
        }
        _ => {
            shared.counters.http_wrong.up();
            Page::text("404 Not Found", "a tracker answers /announce and /scrape\n")
        }
    }
}

/// Where a request comes from: a host that we trust says for whom it speaks.
fn source(shared: &Shared, from: IpAddr, head: &Head<'_>) -> IpAddr {
    let speaks = shared.trusted.contains(&from);
    head.forwarded.filter(|_| speaks).map_or(from, |ip| ip.to_canonical())
}

fn announce(shared: &Shared, from: IpAddr, query: &[u8]) -> Page {
    let mut page = Page::default();
    let query = match AnnounceQuery::parse(query) {
        Ok(query) => query,
        Err(error) => {
            shared.counters.http_wrong.up();
            write_failure(&error.to_string(), None, &mut page.body);
            return page;
        }
    };
    shared.counters.http_announces.up();
    let wanted = query.request.num_want.map_or(DEFAULT_WANTED, |wanted| wanted as usize);
    let mut peers = Vec::new();
    let wanted = wanted.min(MAX_WANTED_HTTP);
    match shared.swarms.announce(from, &query.request, wanted, &mut peers) {
        Ok(counts) => {
            let interval = shared.swarms.interval();
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
            shared.counters.refused.up();
            let wait = Duration::from_secs(shared.swarms.interval().into());
            let retry = match refused {
                Refused::Full(_) => Some(RetryIn::After(wait)),
                Refused::NotServed => None,
            };
            write_failure(&refused.reason(), retry, &mut page.body);
        }
    }
    page
}

fn scrape(shared: &Shared, query: &[u8]) -> Page {
    let mut page = Page::default();
    match parse_scrape_query(query) {
        Ok(torrents) => {
            shared.counters.http_scrapes.up();
            let access = shared.swarms.access();
            let known = |torrent| Some((torrent, shared.swarms.scrape(&access, &torrent)?));
            let files: Vec<_> = torrents.into_iter().filter_map(known).collect();
            write_scrape(&files, (shared.swarms.interval() / 2).max(1), &mut page.body);
        }
        Err(error) => {
            shared.counters.http_wrong.up();
            write_failure(&error.to_string(), None, &mut page.body);
        }
    }
    page
}
