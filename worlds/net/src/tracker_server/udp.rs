//! Answers over UDP (BEP 15): packets are taken in batches, and each answer leaves from the address
//! that was asked. What has no good connection id gets no answer, so that nobody can use a tracker to hit
//! somebody else; who has one and breaks a rule is told which.

use super::Shared;
use super::swarms::Refused;
use dunlin_engine::tracker::DEFAULT_WANTED;
use dunlin_tracker::udp::{
    MAX_PEERS_V4, MAX_PEERS_V6, UdpRequest, announce_reply, connect_reply, error_reply,
    parse_request, scrape_reply,
};
use dunlin_tracker::{AnnounceRequest, ScrapeCounts};
use quinn_udp::{RecvMeta, Transmit, UdpSocketState};
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::Interest;
use tokio::net::UdpSocket;

/// Packets that are taken in one go.
const BATCH: usize = 16;
/// Room for each: the system may hand over several packets of one sender as one.
const BUFFER: usize = 65_536;
/// After a fault of the socket, so that one that never ends does not take a processor.
const FAULT_PAUSE: Duration = Duration::from_millis(50);
/// Room for an answer: the longest one, to an announce over IPv4.
const ANSWER: usize = 1500;

/// Answers at one socket for ever.
pub(super) async fn serve(shared: Arc<Shared>, socket: std::net::UdpSocket) {
    if let Err(error) = answer_all(&shared, socket).await {
        tracing::error!(%error, "a socket of the tracker cannot be used");
    }
}

async fn answer_all(shared: &Shared, socket: std::net::UdpSocket) -> io::Result<()> {
    let state = UdpSocketState::new((&socket).into())?;
    let socket = UdpSocket::from_std(socket)?;
    let mut memory = vec![0; BATCH * BUFFER];
    let mut metas = [RecvMeta::default(); BATCH];
    let mut answer = Vec::with_capacity(ANSWER);
    loop {
        socket.readable().await?;
        // A flood at one socket must not keep the worker from everybody else.
        tokio::task::yield_now().await;
        let mut slices: Vec<IoSliceMut<'_>> =
            memory.chunks_mut(BUFFER).map(IoSliceMut::new).collect();
        let read = || state.recv((&socket).into(), &mut slices, &mut metas);
        let count = match socket.try_io(Interest::READABLE, read) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => {
                tracing::debug!(%error, "a packet could not be taken");
                tokio::time::sleep(FAULT_PAUSE).await;
                continue;
            }
        };
        for (meta, bytes) in metas.iter().zip(memory.chunks(BUFFER)).take(count) {
            let bytes = bytes.get(..meta.len).unwrap_or_default();
            for packet in bytes.chunks(meta.stride.max(1)) {
                answer.clear();
                if !answer_one(shared, meta.addr, packet, &mut answer) {
                    shared.counters.udp_dropped.up();
                    continue;
                }
                let transmit = Transmit {
                    destination: meta.addr,
                    ecn: None,
                    contents: &answer,
                    segment_size: None,
                    src_ip: meta.dst_ip,
                };
                let send = || state.try_send((&socket).into(), &transmit);
                if socket.try_io(Interest::WRITABLE, send).is_err() {
                    // It is as if the network had lost it: the peer asks again.
                    shared.counters.udp_unsent.up();
                }
            }
        }
    }
}

/// Writes the answer to one packet; false if there is none.
fn answer_one(shared: &Shared, from: SocketAddr, packet: &[u8], out: &mut Vec<u8>) -> bool {
    let (ip, v6) = (from.ip().to_canonical(), from.is_ipv6());
    let swarms = &shared.swarms;
    let Some(request) = parse_request(packet).filter(|_| from.port() != 0) else { return false };
    match request {
        UdpRequest::Wrong { connection, transaction, why } => {
            let good = swarms.ids.accepts(connection, swarms.seconds(), ip);
            if good {
                shared.counters.udp_wrong.up();
                error_reply(transaction, why, out);
            }
            good
        }
        UdpRequest::Connect { transaction } => {
            shared.counters.udp_connects.up();
            connect_reply(transaction, swarms.ids.issue(swarms.seconds(), ip), out);
            true
        }
        UdpRequest::Announce { connection, transaction, request, .. } => {
            let good = swarms.ids.accepts(connection, swarms.seconds(), ip);
            if good {
                announce(shared, (ip, v6), transaction, &request, out);
            }
            good
        }
        UdpRequest::Scrape { connection, transaction, torrents } => {
            let good = swarms.ids.accepts(connection, swarms.seconds(), ip);
            if good {
                shared.counters.udp_scrapes.up();
                let access = swarms.access();
                let counts = |torrent| swarms.scrape(&access, torrent).unwrap_or_default();
                let files: Vec<ScrapeCounts> = torrents.iter().map(counts).collect();
                scrape_reply(transaction, &files, out);
            }
            good
        }
    }
}

fn announce(
    shared: &Shared,
    (ip, v6): (IpAddr, bool),
    transaction: u32,
    request: &AnnounceRequest,
    out: &mut Vec<u8>,
) {
    shared.counters.udp_announces.up();
    let most = if v6 { MAX_PEERS_V6 } else { MAX_PEERS_V4 };
    let wanted = request.num_want.map_or(DEFAULT_WANTED, |wanted| wanted as usize).min(most);
    let interval = shared.swarms.interval();
    announce_reply(transaction, interval, &ScrapeCounts::default(), out);
    let head = out.len();
    match shared.swarms.announce(ip, request, wanted, out) {
        Ok(counts) => {
            // The counts are known only now, and stand before the peers.
            let mut first = Vec::with_capacity(head);
            announce_reply(transaction, interval, &counts, &mut first);
            if let Some(place) = out.get_mut(..head) {
                place.copy_from_slice(&first);
            }
        }
        Err(refused) => refuse(shared, transaction, refused, out),
    }
}

fn refuse(shared: &Shared, transaction: u32, refused: Refused, out: &mut Vec<u8>) {
    shared.counters.refused.up();
    out.clear();
    error_reply(transaction, &refused.reason(), out);
}
