//! A public tracker: HTTP and UDP at any number of addresses, on one swarm table.
//!
//! It decides nothing about swarms: who is told about whom is the table's rule (`dunlin_tracker`).

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
use dunlin_links::Places;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use swarms::Swarms;
use thiserror::Error;
use tokio::sync::oneshot;

/// How long the end waits for what is still being worked on. Nothing takes that long but a machine
/// that hardly runs.
const SHUTDOWN: Duration = Duration::from_secs(5);

/// Sources that together may have all connections: several hundred for one are more than a network
/// behind one address needs, since connections that wait make room.
const SHARES_PER_TRACKER: usize = 8;

/// What a tracker is to do.
#[derive(Clone, Debug)]
pub struct TrackerServerConfig {
    /// Where it listens for HTTP. Port 0 takes any. `[::]` is IPv6 alone.
    pub http: Vec<SocketAddr>,
    /// Where it listens for UDP.
    pub udp: Vec<SocketAddr>,
    /// Time between two regular announces, from a second to a day. Who was not heard for twice that is
    /// gone.
    pub interval: Duration,
    /// Which torrents it serves.
    pub access: Access,
    /// Whose `X-Forwarded-For` and `X-Real-IP` are believed.
    pub trusted: Vec<IpAddr>,
    /// What it may take.
    pub limits: TrackerLimits,
}

/// What a tracker may take. Each limit is reached by many strangers together; none of them alone may
/// hold much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrackerLimits {
    /// Torrents in the table: about 250 bytes each.
    pub torrents: usize,
    /// Peers in the table: 24 to 70 bytes each.
    pub peers: usize,
    /// Connections over HTTP at a time. An eighth of them is what one source (an IPv4 address, a /64 of
    /// IPv6) may have; who was idle for longest makes room.
    pub connections: usize,
    /// How long a connection may take to say what it wants, and to take the answer.
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
    /// An address that it does not get.
    #[error("cannot listen at {0}: {1}")]
    Listen(SocketAddr, io::Error),
    /// The system gives no thread, no runtime or no random numbers.
    #[error("cannot start the tracker: {0}")]
    System(#[from] io::Error),
}

/// What all sockets of a tracker share.
struct Shared {
    swarms: Swarms,
    counters: Counters,
    trusted: Vec<IpAddr>,
    limits: TrackerLimits,
}

/// A tracker that runs. Dropping it stops it.
pub struct TrackerServer {
    shared: Arc<Shared>,
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
    /// If an address is not to be had, or the system gives no more threads.
    pub fn start(config: TrackerServerConfig) -> Result<TrackerServer, TrackerServerError> {
        let TrackerServerConfig { http, udp, interval, access, trusted, limits } = config;
        if http.is_empty() && udp.is_empty() {
            return Err(TrackerServerError::NoAddress);
        }
        let listen = |at: SocketAddr| move |error| TrackerServerError::Listen(at, error);
        let doors = http.into_iter().map(|at| sockets::door(at).map_err(listen(at)));
        let doors = doors.collect::<Result<Vec<_>, _>>()?;
        let workers = std::thread::available_parallelism().map_or(1, usize::from);
        let boxes = udp.into_iter().map(|at| sockets::boxes(at, workers).map_err(listen(at)));
        let boxes = boxes.collect::<Result<Vec<_>, _>>()?;

        // Connections beyond what the system gives wait at the door.
        let _ = dunlin_disk::allow_descriptors(usize::MAX);
        let swarms = Swarms::new(interval, access, &limits)?;
        let trusted = trusted.into_iter().map(|ip| ip.to_canonical()).collect();
        let shared = Arc::new(Shared { swarms, counters: Counters::default(), trusted, limits });
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(workers)
            .thread_name("tracker")
            .enable_all()
            .build()?;
        let http = addresses(doors.iter().map(|door| door.local_addr()))?;
        let udp = addresses(boxes.iter().flatten().map(|socket| socket.local_addr()))?;
        let (stop, stopped) = oneshot::channel();
        let ours = shared.clone();
        let thread = std::thread::Builder::new().name("tracker".to_owned()).spawn(move || {
            runtime.block_on(serve(ours, doors, boxes, stopped));
            // Whoever waits for the end may listen at the same addresses next, so all sockets are
            // closed by then.
            runtime.shutdown_timeout(SHUTDOWN);
        })?;
        Ok(TrackerServer { shared, http, udp, stop: Some(stop), thread: Some(thread) })
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

    /// Serves other torrents from now on. Who takes part in one that is not served any more is
    /// forgotten in time.
    pub fn set_access(&self, access: Access) {
        self.shared.swarms.set_access(access);
    }

    /// What happened so far, and what is in the table.
    #[must_use]
    pub fn stats(&self) -> TrackerStats {
        self.shared.stats()
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

impl Shared {
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

/// Runs all of it until it is told to stop.
async fn serve(
    shared: Arc<Shared>,
    doors: Vec<std::net::TcpListener>,
    boxes: Vec<Vec<std::net::UdpSocket>>,
    stopped: oneshot::Receiver<()>,
) {
    let most = shared.limits.connections;
    let places = Places::new(most, most.div_ceil(SHARES_PER_TRACKER));
    for door in doors {
        tokio::spawn(http::serve(shared.clone(), door, places.clone()));
    }
    for socket in boxes.into_iter().flatten() {
        tokio::spawn(udp::serve(shared.clone(), socket));
    }
    tokio::spawn(sweep(shared));
    // Whether it is said or the sayer is gone: that is the end.
    let _ = stopped.await;
}

/// Forgets the dead, a little at a time.
async fn sweep(shared: Arc<Shared>) {
    let mut tick = tokio::time::interval(shared.swarms.tick());
    loop {
        tick.tick().await;
        shared.swarms.expire();
    }
}
