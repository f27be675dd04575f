//! The app's way to the loop: it starts it, adds torrents, gives commands, receives events and
//! takes views. Nothing here waits for the network.

use crate::bind::Bind;
use crate::datagrams::DatagramSockets;
use crate::disk::{Disk, Reporter};
use crate::listener::{self, ListenError, Listener, Port};
use crate::messages::{Mailbox, NetEvent, NewTorrent, WorldMessage};
use crate::tracker_client::{TrackerClient, TrackerConfig};
use crate::world::{FIRST_UDP, WAKER, World, WorldSetup};
use dunlin_base::{Rng, TorrentId};
use dunlin_disk::{Budget, Fs};
use dunlin_engine::client::{Client, ClientConfig};
use dunlin_engine::io::{Command, TorrentView};
use dunlin_hash::HashPool;
use mio::{Poll, Waker};
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;

/// Descriptors that are kept for files, trackers and the rest.
const SPARE_FILES: usize = 128;

/// How the loop is started.
#[derive(Clone, Debug)]
pub struct NetConfig {
    /// How the engine works. Its port is filled in.
    pub client: ClientConfig,
    /// Where every socket is bound.
    pub bind: Bind,
    /// Where to listen.
    pub port: Port,
    /// Where the files of torrents are.
    pub fs: Arc<dyn Fs>,
    /// Threads that hash pieces.
    pub hash_threads: usize,
    /// How announces are made. Its bind is filled in.
    pub trackers: TrackerConfig,
}

/// Why nothing could be started.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// Nothing can listen at an address or port.
    #[error("cannot listen at {address}: {error}; {}", remedy(.error))]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        error: io::Error,
    },
    /// The system gives no thread, no runtime, or no way to watch sockets.
    #[error("the system does not give what is needed: {0}")]
    System(#[from] io::Error),
}

impl From<ListenError> for NetError {
    fn from(ListenError { address, error }: ListenError) -> NetError {
        NetError::Listen { address, error }
    }
}

/// What people can do when nothing can listen there.
fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrNotAvailable => "give --bind an address of this host",
        io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied => {
            "choose another port with --port"
        }
        _ => "check --bind and --port",
    }
}

/// The running loop. Dropping it stops nothing: send [`Command::Stop`] first.
pub struct Net {
    mailbox: Arc<Mailbox>,
    budget: Arc<Budget>,
    port: u16,
    addresses: Vec<SocketAddr>,
    thread: Option<JoinHandle<()>>,
}

impl std::fmt::Debug for Net {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Net").field("port", &self.port).finish_non_exhaustive()
    }
}

impl Net {
    /// Opens the sockets and starts the threads. What happens comes through the receiver, in order.
    ///
    /// # Errors
    /// [`NetError`]: the port is in use, or the system gives no threads.
    pub fn start(config: NetConfig) -> Result<(Net, Receiver<NetEvent>), NetError> {
        let NetConfig { mut client, bind, port, fs, hash_threads, mut trackers } = config;
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), WAKER)?;
        let listeners = listener::listen(&bind, port)?;
        let addresses: Vec<SocketAddr> = listeners.iter().map(Listener::local_addr).collect();
        client.port = addresses.first().map_or(0, SocketAddr::port);
        let mut datagrams = DatagramSockets::open(&bind, client.port)?;
        datagrams.register(poll.registry(), FIRST_UDP)?;
        let datagrams = Arc::new(datagrams);
        trackers.bind = bind.clone();
        let (sender, messages) = channel();
        let (events, receiver) = channel();
        let mailbox = Arc::new(Mailbox::new(sender, waker));
        let budget = Budget::new(client.memory);
        let report: Reporter = {
            let mailbox = Arc::clone(&mailbox);
            Arc::new(move |done| mailbox.send(WorldMessage::Done(done)))
        };
        let free = Arc::clone(&mailbox);
        budget.set_waker(0, Box::new(move || free.send(WorldMessage::MemoryFree)));
        let port = client.port;
        let digest_key = Rng::fork(client.seed, 1).next_u64();
        let allowed = dunlin_disk::allow_descriptors(usize::MAX)?;
        let (max_conns, open_files) = shares(allowed);
        client.connections = client.connections.min(max_conns);
        let setup = WorldSetup {
            open_files,
            max_conns: max_conns.min(client.connections * 2 + 64),
            client: Client::new(client),
            poll,
            bind,
            listeners,
            fs,
            budget: Arc::clone(&budget),
            pool: HashPool::new(hash_threads),
            disk: Disk::start(Arc::clone(&report))?,
            report,
            trackers: TrackerClient::start(trackers, datagrams.clone())?,
            datagrams,
            messages,
            events,
            mailbox: Arc::clone(&mailbox),
            digest_key,
        };
        let world = World::new(setup);
        let thread =
            std::thread::Builder::new().name("net".to_owned()).spawn(move || world.run())?;
        Ok((Net { mailbox, budget, port, addresses, thread: Some(thread) }, receiver))
    }

    /// Where others reach us; 0 if we do not listen.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where we listen.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The most bytes of the memory budget that were ever in use: pieces that are received, and
    /// what connections hold.
    #[must_use]
    pub fn memory_peak(&self) -> u64 {
        self.budget.peak()
    }

    /// Adds a torrent.
    pub fn add(&self, new: NewTorrent) {
        self.mailbox.send(WorldMessage::Add(Box::new(new)));
    }

    /// Gives a command.
    pub fn command(&self, command: Command) {
        self.mailbox.send(WorldMessage::Command(command));
    }

    /// The views of torrents that have changed since they were taken last. They are as of a moment
    /// ago: each torrent's is made ten times a second at most. A torrent that is gone has none.
    #[must_use]
    pub fn take_views(&self) -> BTreeMap<TorrentId, TorrentView> {
        self.mailbox.take_views()
    }

    /// Waits until the loop has ended, after [`Command::Stop`].
    pub fn join(mut self) {
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread `net` has panicked");
        }
    }
}

/// How many connections there may be, and how many files may be kept open, where the process may
/// have so many descriptors: files, trackers, folders and the rest get [`SPARE_FILES`], or half
/// where there are few, and half of these are for files that stay open.
fn shares(allowed: usize) -> (usize, usize) {
    let spare = SPARE_FILES.min(allowed / 2);
    ((allowed - spare).max(1), (spare / 2).max(1))
}

#[cfg(test)]
mod tests {
    #[test]
    fn descriptors_are_shared_between_connections_and_files() {
        for (allowed, shares) in [(0, (1, 1)), (64, (32, 16)), (1024, (896, 64))] {
            assert_eq!(super::shares(allowed), shares, "{allowed}");
        }
    }
}
