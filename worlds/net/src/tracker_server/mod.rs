//! A public tracker: HTTP and UDP at any number of addresses, on one swarm table.
//!
//! It decides nothing about swarms: which peers an answer has is the table's rule
//! (`dunlin_engine::tracker`).

mod counters;
mod http;
mod sockets;
mod swarms;
mod udp;

#[cfg(test)]
mod tests;

use counters::Counters;
pub use counters::TrackerStats;

use dunlin_engine::tracker::Access;
use dunlin_links::ConnectionSlots;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use swarms::Swarms;
use thiserror::Error;
use tokio::sync::oneshot;

/// How long the end waits for requests that are being answered. Only on a stalled machine they take
/// so long.
const SHUTDOWN: Duration = Duration::from_secs(5);

/// Sources that together may have all connections: several hundred for one are more than a network
/// behind one address needs, since connections that wait make room.
const SHARES_PER_TRACKER: usize = 8;

/// How a tracker is set up.
#[derive(Clone, Debug)]
pub struct TrackerServerConfig {
    /// Where it listens for HTTP. Port 0 takes any. `[::]` is IPv6 alone.
    pub http: Vec<SocketAddr>,
    /// Where it listens for UDP.
    pub udp: Vec<SocketAddr>,
    /// Time between two regular announces, from a second to a day. A peer that has not announced
    /// for twice that is removed.
    pub interval: Duration,
    /// Which torrents it serves.
    pub access: Access,
    /// Proxies whose `X-Forwarded-For` and `X-Real-IP` count.
    pub trusted: Vec<IpAddr>,
    /// What it may use.
    pub limits: TrackerLimits,
}

/// What a tracker may use. Each limit is for all peers together; none of them alone may hold much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrackerLimits {
    /// Torrents in the table: about 250 bytes each.
    pub torrents: usize,
    /// Peers in the table: 24 to 70 bytes each.
    pub peers: usize,
    /// Connections over HTTP at a time. An eighth of them is what one source (an IPv4 address, a
    /// /64 of IPv6) may have; the one that was idle for longest makes room.
    pub connections: usize,
    /// How long a connection may take to send a request, and to receive the answer.
    pub patience: Duration,
}

impl Default for TrackerLimits {
    fn default() -> TrackerLimits {
        TrackerLimits {
            torrents: 2_000_000,
            peers: 10_000_000,
            connections: 4096,
            patience: Duration::from_secs(10),
        }
    }
}

/// Why a tracker does not start.
#[derive(Debug, Error)]
pub enum TrackerServerError {
    /// Nowhere to listen.
    #[error("a tracker needs an address for HTTP or for UDP")]
    NoAddress,
    /// An address at which it cannot listen.
    #[error("cannot listen at {0}: {1}")]
    Listen(SocketAddr, io::Error),
    /// The system gives no thread, no runtime or no random numbers.
    #[error("cannot start the tracker: {0}")]
    System(#[from] io::Error),
}

/// What all sockets of a tracker share.
struct TrackerState {
    swarms: Swarms,
    counters: Counters,
    trusted: Vec<IpAddr>,
    limits: TrackerLimits,
}

/// A tracker that runs. Dropping it stops it.
pub struct TrackerServer {
    tracker: Arc<TrackerState>,
    http: Vec<SocketAddr>,
    udp: Vec<SocketAddr>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl std::fmt::Debug for TrackerServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (http, udp) = (&self.http, &self.udp);
        f.debug_struct("TrackerServer")
            .field("http", http)
            .field("udp", udp)
            .finish_non_exhaustive()
    }
}

impl TrackerServer {
    /// Binds all addresses and starts to serve.
    ///
    /// # Errors
    /// If it cannot listen at an address, or the system gives no more threads.
    pub fn start(config: TrackerServerConfig) -> Result<TrackerServer, TrackerServerError> {
        let TrackerServerConfig { http, udp, interval, access, trusted, limits } = config;
        if http.is_empty() && udp.is_empty() {
            return Err(TrackerServerError::NoAddress);
        }
        let listen = |at: SocketAddr| move |error| TrackerServerError::Listen(at, error);
        let listeners = http.into_iter().map(|at| sockets::listener(at).map_err(listen(at)));
        let listeners = listeners.collect::<Result<Vec<_>, _>>()?;
        let workers = std::thread::available_parallelism().map_or(1, usize::from);
        let udp_sockets =
            udp.into_iter().map(|at| sockets::udp_sockets(at, workers).map_err(listen(at)));
        let udp_sockets = udp_sockets.collect::<Result<Vec<_>, _>>()?;

        // Connections for which the system has no descriptor wait to be accepted.
        let _ = dunlin_disk::allow_descriptors(usize::MAX);
        let swarms = Swarms::new(interval, access, &limits)?;
        let trusted = trusted.into_iter().map(|ip| ip.to_canonical()).collect();
        let tracker =
            Arc::new(TrackerState { swarms, counters: Counters::default(), trusted, limits });
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(workers)
            .thread_name("tracker")
            .enable_all()
            .build()?;
        let http = addresses(listeners.iter().map(|listener| listener.local_addr()))?;
        let udp = addresses(udp_sockets.iter().flatten().map(|socket| socket.local_addr()))?;
        let (stop, stopped) = oneshot::channel();
        let state = tracker.clone();
        let thread = std::thread::Builder::new().name("tracker".to_owned()).spawn(move || {
            runtime.block_on(serve(state, listeners, udp_sockets, stopped));
            // The caller that waits for the end may listen at the same addresses next, so all
            // sockets are closed by then.
            runtime.shutdown_timeout(SHUTDOWN);
        })?;
        Ok(TrackerServer { tracker, http, udp, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens for HTTP, with the ports that it got.
    #[must_use]
    pub fn http(&self) -> &[SocketAddr] {
        &self.http
    }

    /// Where it listens for UDP, with the ports that it got.
    #[must_use]
    pub fn udp(&self) -> &[SocketAddr] {
        &self.udp
    }

    /// Serves other torrents from now on. Peers of torrents that are not served any more expire.
    pub fn set_access(&self, access: Access) {
        self.tracker.swarms.set_access(access);
    }

    /// What happened so far, and what is in the table.
    #[must_use]
    pub fn stats(&self) -> TrackerStats {
        self.tracker.stats()
    }

    /// Stops: no more answers from now on, and its addresses are free again.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the tracker's thread ended by a fault of its own");
        }
    }
}

impl Drop for TrackerServer {
    fn drop(&mut self) {
        self.end();
    }
}

impl TrackerState {
    fn stats(&self) -> TrackerStats {
        self.counters.read(self.swarms.uptime(), self.swarms.totals())
    }
}

fn addresses(
    found: impl Iterator<Item = io::Result<SocketAddr>>,
) -> Result<Vec<SocketAddr>, io::Error> {
    let mut all = found.collect::<Result<Vec<_>, _>>()?;
    // Several sockets share an address of UDP.
    all.dedup();
    Ok(all)
}

/// Serves until it is stopped.
async fn serve(
    tracker: Arc<TrackerState>,
    listeners: Vec<std::net::TcpListener>,
    udp_sockets: Vec<Vec<std::net::UdpSocket>>,
    stopped: oneshot::Receiver<()>,
) {
    let most = tracker.limits.connections;
    let slots = ConnectionSlots::new(most, most.div_ceil(SHARES_PER_TRACKER));
    for listener in listeners {
        tokio::spawn(http::serve(tracker.clone(), listener, slots.clone()));
    }
    for socket in udp_sockets.into_iter().flatten() {
        tokio::spawn(udp::serve(tracker.clone(), socket));
    }
    tokio::spawn(sweep(tracker));
    // A message and a dropped sender both mean the end.
    let _ = stopped.await;
}

/// Removes peers that have expired, a bounded number at a time.
async fn sweep(tracker: Arc<TrackerState>) {
    let mut tick = tokio::time::interval(tracker.swarms.tick());
    loop {
        tick.tick().await;
        tracker.swarms.expire();
    }
}
