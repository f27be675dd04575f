//! The carrier over TCP: it joins a job, takes orders, and ends. Its tasks run on a few threads of
//! their own; no disk, hash or engine runs on them, and nobody who gives an order waits.

use super::board::{Board, LinkTask};
use super::dial::{self, SILENCE, to_root};
use super::key_file::{KeyFile, Secret};
use super::lines;
use super::wire_up::{self, KeySource, TcpStartError, WireUp};
use crate::fabric::process::carrier::{Carrier, Order, Started, WordSink};
use crate::lock::lock;
use crate::trace::TraceClock;
use dunlin_base::Rank;
use dunlin_links::{Door, JobKey, Link, Party};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

/// Threads that seal, open and copy. More only help beyond the rates of the fastest networks.
const THREADS: usize = 4;
/// Between two tries of a peer to join: the first, and the last.
const TRIES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// What waits to be sent at the end may take so long.
const DRAIN: Duration = Duration::from_secs(5);
/// Descriptors for files and all else, beside one for each rank.
const OTHERS: usize = 1024;
/// Descriptors beside those of links without which a process can hardly work.
const FEW: usize = 32;
/// How often it is looked whether everything is sent at the end.
const LOOK: Duration = Duration::from_millis(2);

/// Carries over TCP. Dropping it ends all links.
pub(crate) struct Tcp {
    board: Arc<Board>,
    /// Taken when it goes: a runtime must not be waited for on its own threads.
    runtime: Mutex<Option<Runtime>>,
    /// Rank 0's key file, which goes with the job.
    key_file: Mutex<Option<KeyFile>>,
}

impl Tcp {
    /// Joins the job: rank 0 opens its door, everyone else comes to it.
    ///
    /// # Errors
    /// [`TcpStartError`]: no key, no door, or no rank 0.
    pub(crate) fn start(
        wire: &WireUp,
        clock: Arc<TraceClock>,
        words: WordSink,
    ) -> Result<Started, TcpStartError> {
        Ok(Tcp::join(wire, clock, words)?.1)
    }

    /// The same, and what its tasks share.
    pub(super) fn join(
        wire: &WireUp,
        clock: Arc<TraceClock>,
        words: WordSink,
    ) -> Result<(Arc<Board>, Started), TcpStartError> {
        allow_links(wire.size());
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            // The rank and its hashes want cores, too.
            .worker_threads((cores / 2).clamp(1, THREADS))
            .thread_name("tcp")
            .enable_io()
            .enable_time()
            .build()
            .map_err(start)?;
        let tasks = (runtime.handle().clone(), start_task as _);
        let make = |party| Arc::new(Board::new(party, wire.size(), clock, words, tasks));
        let (board, key_file, what) = match wire.rank() {
            Rank::TRACKER => lead(wire, &runtime, make)?,
            _ => follow(wire, &runtime, make)?,
        };
        let (runtime, key_file) = (Mutex::new(Some(runtime)), Mutex::new(key_file));
        let (rank, size) = (wire.rank(), wire.size());
        let carrier = Box::new(Tcp { board: Arc::clone(&board), runtime, key_file });
        Ok((board, Started { rank, size, what, carrier, ended: None }))
    }
}

/// Starts what the board wants to have done.
fn start_task(board: &Arc<Board>, task: LinkTask) {
    let (runtime, board) = (board.runtime.clone(), Arc::clone(board));
    match task {
        LinkTask::Run { pair, line, wake, link } => {
            let Link { sender, receiver, .. } = *link;
            runtime.spawn(lines::send(Arc::clone(&board), Arc::clone(&pair), line, wake, sender));
            runtime.spawn(lines::receive(board, pair, line, receiver));
        }
        LinkTask::DialPeer(pair) => _ = runtime.spawn(dial::to_peer(board, pair)),
        LinkTask::DialRoot { breaks } => _ = runtime.spawn(dial::to_root_again(board, breaks)),
    }
}

/// Lets this process have a descriptor for each rank, as far as the system allows it: many systems
/// begin with 1024.
fn allow_links(size: u32) {
    let wanted = size as usize + OTHERS;
    // Files make do with few; links do not.
    let few = size as usize * 2 + FEW;
    if dunlin_disk::allow_descriptors(wanted).is_ok_and(|allowed| allowed < few) {
        tracing::warn!(
            wanted,
            "this process may have too few descriptors for all ranks; raise the limit (ulimit -n)"
        );
    }
}

fn start(error: impl ToString) -> TcpStartError {
    TcpStartError::System(error.to_string())
}

fn party(wire: &WireUp, key: JobKey) -> Result<Party, TcpStartError> {
    let life = dunlin_links::random_number().map_err(start)?;
    Ok(Party { key, rank: wire.rank(), life })
}

type Part = (Arc<Board>, Option<KeyFile>, String);

/// Rank 0: a door, and a key file if it is to say where.
fn lead(
    wire: &WireUp,
    runtime: &Runtime,
    make: impl FnOnce(Party) -> Arc<Board>,
) -> Result<Part, TcpStartError> {
    let opened = match wire.door() {
        Some(door) => door.try_clone().map_err(start)?,
        None => wire.open()?,
    };
    let address = opened.local_addr().map_err(start)?;
    let (key, key_file) = match wire.key() {
        KeySource::Known(key) => (key.clone(), None),
        KeySource::Stdin => (wire.stdin()?.key, None),
        KeySource::File(path) => {
            let places = wire_up::places(address, wire.root());
            let goes_on = |secret: &Secret| runtime.block_on(answers(secret));
            let (file, key) = KeyFile::lead(path, wire.size(), &places, goes_on)?;
            (key, file)
        }
    };
    let board = make(party(wire, key)?);
    let _inside = runtime.enter();
    let door = Door::of(&opened).map_err(start)?;
    let entered = Arc::clone(&board);
    let enter = move |link| entered.enter(link);
    runtime.spawn(door.serve(board.party.clone(), SILENCE, enter));
    Ok((board, key_file, format!("TCP, port {}", address.port())))
}

/// Whether the job of this key goes on: whoever answers there has the key.
async fn answers(secret: &Secret) -> bool {
    let Ok(life) = dunlin_links::random_number() else { return false };
    // A rank that no job has: the link is closed as soon as it stands.
    let party = Party { key: secret.key.clone(), rank: Rank(u32::MAX), life };
    to_root(&party, &secret.root).await.is_ok()
}

/// A peer: it comes to rank 0 as soon as that can be found.
fn follow(
    wire: &WireUp,
    runtime: &Runtime,
    make: impl FnOnce(Party) -> Arc<Board>,
) -> Result<Part, TcpStartError> {
    let (link, party) = find(wire, runtime)?;
    let (there, here) = (link.there, link.here);
    let board = make(party);
    let any: IpAddr = match here {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let listen = wire.listen().unwrap_or_else(|| SocketAddr::new(any, 0));
    let _inside = runtime.enter();
    let door = Door::open(listen).map_err(|error| {
        TcpStartError::System(format!("cannot listen at {listen}: {error}; give another --listen"))
    })?;
    let port = door.address().port();
    let said = Some(listen.ip()).filter(|ip| !ip.is_unspecified());
    // Both are set here and nowhere else.
    let _ = board.door.set((port, said));
    let _ = board.root.set(there);
    let entered = Arc::clone(&board);
    let enter = move |link| entered.enter(link);
    runtime.spawn(door.serve(board.party.clone(), SILENCE, enter));
    board.enter(link);
    Ok((board, None, format!("TCP, port {port}, rank 0 at {there}")))
}

/// Finds rank 0, which may not be there yet.
fn find(wire: &WireUp, runtime: &Runtime) -> Result<(Link, Party), TcpStartError> {
    let until = Instant::now() + wire.patience();
    let mut pause = TRIES.0;
    loop {
        let secret = match wire.key() {
            // Where rank 0 is was not said with it.
            KeySource::Known(key) => Ok(Secret { key: key.clone(), root: Vec::new() }),
            KeySource::Stdin => wire.stdin(),
            // Read anew each time: what is there may be an earlier job's.
            KeySource::File(path) => KeyFile::read(path, wire.size()),
        };
        let why = match secret {
            Ok(secret) => {
                let places = wire.places_of(&secret);
                if places.is_empty() {
                    return Err(TcpStartError::NoPlace);
                }
                let party = party(wire, secret.key)?;
                match runtime.block_on(to_root(&party, &places)) {
                    Ok(link) => return Ok((link, party)),
                    Err(why) => why,
                }
            }
            Err(error) if error.may_pass() => error.to_string(),
            Err(error) => return Err(error.into()),
        };
        if Instant::now() >= until {
            let (rank, patience) = (wire.rank(), wire.patience());
            return Err(TcpStartError::NoRoot { rank, patience, why });
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(TRIES.1);
    }
}

impl Carrier for Tcp {
    fn order(&self, order: Order) {
        match order {
            Order::Frame { to, frame, sent } => self.board.send(to, frame, sent),
            Order::Parcel { to, parcel } => self.board.parcel(to, &parcel),
            Order::Greet(session) => self.board.greet(session),
            Order::Deliver(sink) => self.board.deliver_to(sink),
            Order::Budget(budget) => self.board.use_budget(budget),
            Order::Patience(patience) => self.board.bear(patience),
            Order::Lost(rank) => self.board.lost(rank),
            Order::Quiet => self.board.be_quiet(),
            Order::Finish { sent, .. } => {
                let board = Arc::clone(&self.board);
                self.board.runtime.spawn(async move {
                    let until = Instant::now() + DRAIN;
                    while !board.drained() && Instant::now() < until {
                        tokio::time::sleep(LOOK).await;
                    }
                    // Who asked may have stopped waiting.
                    let _ = sent.send(());
                });
                drop(lock(&self.key_file).take());
            }
        }
    }
}

impl Drop for Tcp {
    fn drop(&mut self) {
        self.board.end();
        let runtime = lock(&self.runtime).take();
        if let Some(runtime) = runtime {
            runtime.shutdown_background();
        }
    }
}
