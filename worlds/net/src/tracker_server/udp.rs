//! Answers over UDP (BEP 15): packets are received in batches, and each answer leaves from the
//! address that the request was sent to. A packet without a valid connection id gets no answer, so
//! that a tracker cannot be used to flood others; one with a valid id that breaks a rule gets an
//! error.

use super::TrackerState;
use super::swarms::AnnounceRefusal;
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

/// Packets that are received in one call.
const BATCH: usize = 16;
/// Room for each: the system may hand over several packets of one sender as one.
const BUFFER: usize = 65_536;
/// The pause after an error of the socket, so that a lasting one does not take a processor.
const FAULT_PAUSE: Duration = Duration::from_millis(50);
/// Room for an answer: the longest one, to an announce over IPv4.
const ANSWER: usize = 1500;

/// Answers at one socket for ever.
pub(super) async fn serve(tracker: Arc<TrackerState>, socket: std::net::UdpSocket) {
    if let Err(error) = answer_all(&tracker, socket).await {
        tracing::error!(%error, "a socket of the tracker cannot be used");
    }
}

async fn answer_all(tracker: &TrackerState, socket: std::net::UdpSocket) -> io::Result<()> {
    let state = UdpSocketState::new((&socket).into())?;
    let socket = UdpSocket::from_std(socket)?;
    let mut memory = vec![0; BATCH * BUFFER];
    let mut metas = [RecvMeta::default(); BATCH];
    let mut answer = Vec::with_capacity(ANSWER);
    loop {
        socket.readable().await?;
        // A flood at one socket must not keep the worker from the others.
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
                if !answer_one(tracker, meta.addr, packet, &mut answer) {
                    tracker.counters.udp_dropped.increment();
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
                    // The answer is lost, as it may be in the network: the peer asks again.
                    tracker.counters.udp_unsent.increment();
                }
            }
        }
    }
}

/// Writes the answer to one packet; false if there is none.
fn answer_one(tracker: &TrackerState, from: SocketAddr, packet: &[u8], out: &mut Vec<u8>) -> bool {
    let (ip, v6) = (from.ip().to_canonical(), from.is_ipv6());
    let swarms = &tracker.swarms;
    let Some(request) = parse_request(packet).filter(|_| from.port() != 0) else { return false };
    match request {
        UdpRequest::Wrong { connection, transaction, why } => {
            let good = swarms.ids.accepts(connection, swarms.seconds(), ip);
            if good {
                tracker.counters.udp_wrong.increment();
                error_reply(transaction, why, out);
            }
            good
        }
        UdpRequest::Connect { transaction } => {
            tracker.counters.udp_connects.increment();
            connect_reply(transaction, swarms.ids.issue(swarms.seconds(), ip), out);
            true
        }
        UdpRequest::Announce { connection, transaction, request, .. } => {
            let good = swarms.ids.accepts(connection, swarms.seconds(), ip);
            if good {
                announce(tracker, (ip, v6), transaction, &request, out);
            }
            good
        }
        UdpRequest::Scrape { connection, transaction, torrents } => {
            let good = swarms.ids.accepts(connection, swarms.seconds(), ip);
            if good {
                tracker.counters.udp_scrapes.increment();
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
    tracker: &TrackerState,
    (ip, v6): (IpAddr, bool),
    transaction: u32,
    request: &AnnounceRequest,
    out: &mut Vec<u8>,
) {
    tracker.counters.udp_announces.increment();
    let most = if v6 { MAX_PEERS_V6 } else { MAX_PEERS_V4 };
    let wanted = request.num_want.map_or(DEFAULT_WANTED, |wanted| wanted as usize).min(most);
    let interval = tracker.swarms.interval();
    announce_reply(transaction, interval, &ScrapeCounts::default(), out);
    let head = out.len();
    match tracker.swarms.announce(ip, request, wanted, out) {
        Ok(counts) => {
            // The counts are known only now, and stand before the peers.
            let mut first = Vec::with_capacity(head);
            announce_reply(transaction, interval, &counts, &mut first);
            if let Some(slot) = out.get_mut(..head) {
                slot.copy_from_slice(&first);
            }
        }
        Err(refused) => refuse(tracker, transaction, refused, out),
    }
}

fn refuse(tracker: &TrackerState, transaction: u32, refused: AnnounceRefusal, out: &mut Vec<u8>) {
    tracker.counters.refused.increment();
    out.clear();
    error_reply(transaction, &refused.reason(), out);
}
