//! Announces over HTTP, HTTPS and UDP: one thread named `trackers` with a small runtime of its own.
//!
//! It sends the announces that it is given, and returns their results. When to announce, to which
//! tracker, and what to do with the answer is decided elsewhere.

mod connect;
mod http;
mod redirect;
mod replies;
mod resolver;
mod udp;
mod work;

#[cfg(test)]
mod tests;

use crate::bind::Bind;
pub use crate::datagrams::DatagramSender;
use dunlin_base::TorrentId;
use dunlin_engine::io::TrackerIndex;
use dunlin_tracker::{AnnounceFailure, AnnounceReply, AnnounceRequest};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Announces that may wait or run at a time. Each torrent has at most a few trackers that are due,
/// so more than this is a fault of the caller; the next one is refused at once.
const MAX_WAITING: usize = 100_000;
/// Names that are looked up at a time; each takes a thread while the system's resolver waits.
const RESOLVERS: usize = 4;

/// Datagrams that wait for the thread: what a flood brings beyond that is lost, as it may be on its
/// way, and honest replies are asked for again.
const MAX_DATAGRAMS: usize = 1024;

/// How announces are made.
#[derive(Clone, Debug)]
pub struct TrackerConfig {
    /// Where every socket is bound, without exception.
    pub bind: Bind,
    /// The value of `User-Agent`; only visible ASCII and spaces of it are sent.
    pub user_agent: String,
    /// How long things may take.
    pub timeouts: TrackerTimeouts,
    /// Announces that run at a time (libtorrent: 50); the others wait for their turn.
    pub at_once: usize,
    /// Certificates of authorities that are trusted beside the usual ones, in DER.
    pub roots: Vec<Vec<u8>>,
}

/// How long an announce may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrackerTimeouts {
    /// All of one that goes over HTTP, its redirects too.
    pub http: Duration,
    /// A connection that gives no byte for so long has died.
    pub silent: Duration,
    /// All of one that goes over UDP.
    pub udp: Duration,
    /// Until the first packet is sent again; twice as long each time after that (BEP 15).
    pub udp_again: Duration,
    /// All of one with the event `stopped`, whatever carries it.
    pub stopped: Duration,
}

impl Default for TrackerTimeouts {
    fn default() -> TrackerTimeouts {
        TrackerTimeouts {
            http: Duration::from_secs(30),
            silent: Duration::from_secs(10),
            udp: Duration::from_secs(60),
            udp_again: Duration::from_secs(15),
            stopped: Duration::from_secs(5),
        }
    }
}

impl Default for TrackerConfig {
    fn default() -> TrackerConfig {
        TrackerConfig {
            bind: Bind::default(),
            user_agent: concat!("dunlin/", env!("CARGO_PKG_VERSION")).to_owned(),
            timeouts: TrackerTimeouts::default(),
            at_once: 50,
            roots: Vec::new(),
        }
    }
}

/// The result of an announce.
pub type AnnounceResult = Result<Box<AnnounceReply>, AnnounceFailure>;

/// Receives the result. It is called once, on the thread `trackers`: it must not wait.
type ReplyFn = Box<dyn FnOnce(AnnounceResult) + Send>;

/// An announce on its way to the thread.
struct AnnounceJob {
    torrent: TorrentId,
    tracker: TrackerIndex,
    url: Arc<str>,
    request: AnnounceRequest,
    /// When it has failed at the latest, whether its turn has come or not.
    until: Option<Instant>,
    reply: ReplyFn,
}

/// What the thread receives.
enum ClientMessage {
    Announce(Box<AnnounceJob>),
    /// Take no more announces; those that are not done by then have failed.
    Finish(Instant),
}

/// A datagram that was received, and who sent it.
struct Datagram {
    from: SocketAddr,
    bytes: Vec<u8>,
}

/// The way of datagrams to the thread.
#[derive(Clone)]
struct DatagramQueue(mpsc::Sender<Datagram>);

impl DatagramQueue {
    fn push(&self, from: SocketAddr, datagram: &[u8]) {
        let _ = self.0.try_send(Datagram { from, bytes: datagram.to_vec() });
    }
}

/// The thread that announces to trackers. Dropping it gives up all announces under way, at once.
pub struct TrackerClient {
    datagrams: DatagramQueue,
    to: mpsc::UnboundedSender<ClientMessage>,
    waiting: Arc<()>,
    thread: Option<JoinHandle<()>>,
}

impl std::fmt::Debug for TrackerClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TrackerClient").field("waiting", &self.waiting()).finish_non_exhaustive()
    }
}

impl TrackerClient {
    /// Starts the thread. Its datagrams go through `sender`; those that come in return are given to
    /// [`TrackerClient::receive`].
    ///
    /// # Errors
    /// If the system gives no thread or no runtime, or a certificate in `roots` is none.
    pub fn start(
        config: TrackerConfig,
        sender: Arc<dyn DatagramSender>,
    ) -> io::Result<TrackerClient> {
        let (to, messages) = mpsc::unbounded_channel();
        let (datagrams, received) = mpsc::channel(MAX_DATAGRAMS);
        let setup = work::ClientSetup::new(config, sender, received)?;
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().max_blocking_threads(RESOLVERS).build()?;
        let thread = std::thread::Builder::new()
            .name("trackers".to_owned())
            .spawn(move || work::run(runtime, setup, messages))?;
        let datagrams = DatagramQueue(datagrams);
        Ok(TrackerClient { datagrams, to, waiting: Arc::new(()), thread: Some(thread) })
    }

    /// Receives a datagram from `from` that may be the reply of a tracker. It does not wait.
    pub fn receive(&self, from: SocketAddr, datagram: &[u8]) {
        self.datagrams.push(from, datagram);
    }

    /// Announces `torrent` to `url`. `reply` is called exactly once, on the thread `trackers`, and
    /// must not wait. That is at the latest when `within` is over, and the time that the
    /// configuration gives the event and the kind of tracker, which counts from its turn.
    pub fn announce(
        &self,
        torrent: TorrentId,
        tracker: TrackerIndex,
        url: Arc<str>,
        request: AnnounceRequest,
        within: Option<Duration>,
        reply: impl FnOnce(AnnounceResult) + Send + 'static,
    ) {
        let until = within.map(|within| Instant::now() + within);
        if self.waiting() >= MAX_WAITING {
            return reply(Err(AnnounceFailure::Unreachable(format!(
                "{MAX_WAITING} announces are waiting already"
            ))));
        }
        let counted = self.waiting.clone();
        let reply: ReplyFn = Box::new(move |result| {
            drop(counted);
            reply(result);
        });
        let job = Box::new(AnnounceJob { torrent, tracker, url, request, until, reply });
        if let Err(lost) = self.to.send(ClientMessage::Announce(job))
            && let ClientMessage::Announce(job) = lost.0
        {
            (job.reply)(Err(work::ended_early()));
        }
    }

    /// Announces that have not been answered yet.
    #[must_use]
    pub fn waiting(&self) -> usize {
        Arc::strong_count(&self.waiting) - 1
    }

    /// Takes no more announces, waits until those at hand are done, at most for `within`, and ends
    /// the thread. Whatever is not done then has failed, and its `reply` was called.
    pub fn finish(mut self, within: Duration) {
        let _ = self.to.send(ClientMessage::Finish(Instant::now() + within));
        self.join();
    }

    fn join(&mut self) {
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread `trackers` has panicked");
        }
    }
}

impl Drop for TrackerClient {
    fn drop(&mut self) {
        let _ = self.to.send(ClientMessage::Finish(Instant::now()));
        self.join();
    }
}
