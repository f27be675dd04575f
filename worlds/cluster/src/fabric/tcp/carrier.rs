//! The carrier over TCP: it joins a job, takes frames and commands, and ends. Its tasks run on a
//! few threads of their own; no disk, hash or engine runs on them, and no call waits for them.

use super::dial::{self, SILENCE, to_root};
use super::key_file::{KeyFile, Secret};
use super::link_table::{LinkTable, LinkTask};
use super::link_tasks;
use super::wire_up::{self, KeySource, TcpStartError, WireUp};
use crate::fabric::process::carrier::{Carrier, CarrierCommand, EventSink, Started};
use crate::fabric::process::packet::Packet;
use crate::frame::{Frame, Sent};
use crate::lock::lock;
use crate::trace::TraceClock;
use dunlin_base::Rank;
use dunlin_links::{JobKey, Link, Listener, Party};
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
/// How often the end checks whether everything is sent.
const LOOK: Duration = Duration::from_millis(2);

/// Carries over TCP. Dropping it ends all links.
pub(crate) struct TcpCarrier {
    table: Arc<LinkTable>,
    /// Taken when it goes: a runtime must not be waited for on its own threads.
    runtime: Mutex<Option<Runtime>>,
    /// Rank 0's key file, which goes with the job.
    key_file: Mutex<Option<KeyFile>>,
}

impl TcpCarrier {
    /// Joins the job: rank 0 listens, everyone else connects to it.
    ///
    /// # Errors
    /// [`TcpStartError`]: no key, no port to listen at, or no rank 0.
    pub(crate) fn start(
        wire: &WireUp,
        clock: Arc<TraceClock>,
        events: EventSink,
    ) -> Result<Started, TcpStartError> {
        Ok(TcpCarrier::join(wire, clock, events)?.1)
    }

    /// The same, and what its tasks share.
    pub(super) fn join(
        wire: &WireUp,
        clock: Arc<TraceClock>,
        events: EventSink,
    ) -> Result<(Arc<LinkTable>, Started), TcpStartError> {
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
        let make = |party| Arc::new(LinkTable::new(party, wire.size(), clock, events, tasks));
        let (table, key_file, what) = match wire.rank() {
            Rank::TRACKER => lead(wire, &runtime, make)?,
            _ => follow(wire, &runtime, make)?,
        };
        let (runtime, key_file) = (Mutex::new(Some(runtime)), Mutex::new(key_file));
        let (rank, size) = (wire.rank(), wire.size());
        let carrier = Box::new(TcpCarrier { table: Arc::clone(&table), runtime, key_file });
        Ok((table, Started { rank, size, what, carrier, ended: None }))
    }
}

/// Starts a task that the table names.
fn start_task(table: &Arc<LinkTable>, task: LinkTask) {
    let (runtime, table) = (table.runtime.clone(), Arc::clone(table));
    match task {
        LinkTask::Run { links, id, wake, link } => {
            let Link { sender, receiver, .. } = *link;
            let table_too = Arc::clone(&table);
            runtime.spawn(link_tasks::send(table_too, Arc::clone(&links), id, wake, sender));
            runtime.spawn(link_tasks::receive(table, links, id, receiver));
        }
        LinkTask::DialPeer(links) => _ = runtime.spawn(dial::to_peer(table, links)),
        LinkTask::DialRoot { breaks } => _ = runtime.spawn(dial::to_root_again(table, breaks)),
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
    let life = getrandom::u64().map_err(start)?;
    Ok(Party { key, rank: wire.rank(), life })
}

type Joined = (Arc<LinkTable>, Option<KeyFile>, String);

/// Rank 0 listens, and writes a key file if that is to bring its address to the others.
fn lead(
    wire: &WireUp,
    runtime: &Runtime,
    make: impl FnOnce(Party) -> Arc<LinkTable>,
) -> Result<Joined, TcpStartError> {
    let opened = match wire.listener() {
        Some(listener) => listener.try_clone().map_err(start)?,
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
    let table = make(party(wire, key)?);
    let _inside = runtime.enter();
    let listener = Listener::of(&opened).map_err(start)?;
    let entered = Arc::clone(&table);
    let enter = move |link| entered.enter(link);
    runtime.spawn(listener.serve(table.party.clone(), SILENCE, enter));
    Ok((table, key_file, format!("TCP, port {}", address.port())))
}

/// Whether the job of this key goes on: only a process that has the key answers there.
async fn answers(secret: &Secret) -> bool {
    let Ok(life) = getrandom::u64() else { return false };
    // A rank that no job has: the link is closed as soon as it stands.
    let party = Party { key: secret.key.clone(), rank: Rank(u32::MAX), life };
    to_root(&party, &secret.root).await.is_ok()
}

/// A peer connects to rank 0 as soon as that can be found.
fn follow(
    wire: &WireUp,
    runtime: &Runtime,
    make: impl FnOnce(Party) -> Arc<LinkTable>,
) -> Result<Joined, TcpStartError> {
    let (link, party) = find(wire, runtime)?;
    let (there, here) = (link.there, link.here);
    let table = make(party);
    let any: IpAddr = match here {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let listen = wire.listen().unwrap_or_else(|| SocketAddr::new(any, 0));
    let _inside = runtime.enter();
    let listener = Listener::open(listen).map_err(|error| {
        TcpStartError::System(format!("cannot listen at {listen}: {error}; give another --listen"))
    })?;
    let port = listener.address().port();
    let chosen = Some(listen.ip()).filter(|ip| !ip.is_unspecified());
    // Both are set here and nowhere else.
    let _ = table.listens_at.set((port, chosen));
    let _ = table.root.set(there);
    let entered = Arc::clone(&table);
    let enter = move |link| entered.enter(link);
    runtime.spawn(listener.serve(table.party.clone(), SILENCE, enter));
    table.enter(link);
    Ok((table, None, format!("TCP, port {port}, rank 0 at {there}")))
}

/// Finds rank 0, which may not be there yet.
fn find(wire: &WireUp, runtime: &Runtime) -> Result<(Link, Party), TcpStartError> {
    let until = Instant::now() + wire.patience();
    let mut pause = TRIES.0;
    loop {
        let secret = match wire.key() {
            // Such a key comes without rank 0's address.
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

impl Carrier for TcpCarrier {
    fn send(&self, to: Rank, frame: Frame, sent: Option<Sent>) {
        self.table.send(to, frame, sent);
    }

    fn command(&self, command: CarrierCommand) {
        match command {
            CarrierCommand::Send { to, message } => {
                self.table.send_resumable(to, &Packet::Process(message));
            }
            CarrierCommand::Greet(session) => self.table.greet(session),
            CarrierCommand::Deliver(sink) => self.table.deliver_to(sink),
            CarrierCommand::Budget(budget) => self.table.use_budget(budget),
            CarrierCommand::Patience(patience) => self.table.set_patience(patience),
            CarrierCommand::Lost(rank) => self.table.lost(rank),
            CarrierCommand::Quiet => self.table.be_quiet(),
            CarrierCommand::Finish { sent, .. } => {
                let table = Arc::clone(&self.table);
                self.table.runtime.spawn(async move {
                    let until = Instant::now() + DRAIN;
                    while !table.drained() && Instant::now() < until {
                        tokio::time::sleep(LOOK).await;
                    }
                    // The receiver may have stopped waiting.
                    let _ = sent.send(());
                });
                drop(lock(&self.key_file).take());
            }
        }
    }
}

impl Drop for TcpCarrier {
    fn drop(&mut self) {
        self.table.end();
        let runtime = lock(&self.runtime).take();
        if let Some(runtime) = runtime {
            runtime.shutdown_background();
        }
    }
}
