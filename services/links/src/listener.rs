//! Where links begin: a listener that lets in who has the key, and dialling. Whoever has no key
//! gets not one byte, little time, and one of few places, of which one source has its share alone.

use crate::handshake::{self, ANSWER, Dialler, HELLO, HandshakeError, Party, Remote, nonce_of};
use crate::key::{KEY, NoRandomness, random};
use crate::link::{Link, LinkError};
use crate::slots::{ConnectionSlot, ConnectionSlots};
use crate::tuning;
use dunlin_base::Rank;
use socket2::{Domain, Protocol, Socket, Type};
use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// Connections that may be at the listener without having shown their key; for a further one the
/// one that has waited for longest makes room. Each costs a descriptor and a few hundred bytes.
const MAX_PENDING: usize = 256;
/// Those of one source (an IPv4 address, a /64 of IPv6): as many ranks as one host starts at a
/// moment.
const MAX_PER_SOURCE: usize = 128;
/// A connection that has not shown its key by then is closed: one of ours does so in two trips.
const SHOW: Duration = Duration::from_secs(3);
/// The length of the system's queue: a whole job may start at the same moment.
const QUEUE: i32 = 4096;
/// Handshakes that are remembered, so that a recorded one gets nothing: several for each rank of a
/// large job. Older ones get an answer that is of no use to them.
const REMEMBERED: usize = 65_536;
/// What is waited for after the system could not accept: it may be out of descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// Why nobody was reached, or nobody of ours.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DialError {
    /// The host is there, and nobody listens at the port.
    #[error("{0} refuses connections")]
    Refused(SocketAddr),
    /// The network, or the other host.
    #[error("{0} cannot be reached: {1}")]
    Unreachable(SocketAddr, io::Error),
    /// Somebody is there who gives no answer in time: without our key nobody gets one.
    #[error("whoever listens at {0} gives no answer; is it of this job?")]
    NoAnswer(SocketAddr),
    /// Somebody else is there.
    #[error("{0}: {1}")]
    Handshake(SocketAddr, HandshakeError),
    /// There is no randomness to be had here.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
}

/// Dials `to` at `address`, and proves that both are of one job. Each step may take `limit`; who is
/// silent for `patience` later is taken for dead.
///
/// # Errors
/// [`DialError`].
pub async fn dial(
    party: &Party,
    to: Rank,
    address: SocketAddr,
    limit: Duration,
    patience: Duration,
) -> Result<Link, DialError> {
    let unreachable = |error| DialError::Unreachable(address, error);
    let connected = timeout(limit, TcpStream::connect(address)).await;
    let stream = match connected {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
            return Err(DialError::Refused(address));
        }
        Ok(Err(error)) => return Err(unreachable(error)),
        Err(_) => return Err(unreachable(io::ErrorKind::TimedOut.into())),
    };
    tuning::tune(&stream);
    let dialler = Dialler::new(party, to)?;
    let asked = async {
        write_all(&stream, dialler.hello()).await?;
        let mut answer = [0; ANSWER];
        read_exact(&stream, &mut answer).await.map(|()| answer)
    };
    let answer = match timeout(limit, asked).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) | Err(_) => return Err(DialError::NoAnswer(address)),
    };
    let stranger = |why| DialError::Handshake(address, why);
    let (remote, keys) = dialler.finish(&answer).map_err(stranger)?;
    let mut link = Link::new(stream, remote, keys, true, patience).map_err(unreachable)?;
    let broken = |error| match error {
        LinkError::Io(error) => unreachable(error),
        _ => DialError::NoAnswer(address),
    };
    // Until this has come the other end takes us for a replay.
    link.sender.seal(0, &[]).map_err(|error| broken(error.into()))?;
    link.sender.flush().await.map_err(broken)?;
    Ok(link)
}

/// A place to be reached at. Dropping it closes it.
#[derive(Debug)]
pub struct Listener {
    listener: TcpListener,
    address: SocketAddr,
}

/// Takes a place at `address`, for a listener to be made of it; port 0 takes any. Nobody is let in
/// yet, but whoever comes waits. The unspecified address of IPv6 stands for those of IPv4, too.
///
/// # Errors
/// What the system says: the port is taken, say.
pub fn bind(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() && address.ip().is_unspecified() {
        socket.set_only_v6(false)?;
    }
    // A job that starts again takes the port of the one that ended a moment ago.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(QUEUE)?;
    Ok(socket.into())
}

impl Listener {
    /// Opens a listener at `address`; port 0 takes any. Must be called inside a runtime.
    ///
    /// # Errors
    /// What the system says: the port is taken, say.
    pub fn open(address: SocketAddr) -> io::Result<Listener> {
        Listener::of(&bind(address)?)
    }

    /// Makes a listener of a place that was taken before. Must be called inside a runtime.
    ///
    /// # Errors
    /// What the system says.
    pub fn of(slot: &std::net::TcpListener) -> io::Result<Listener> {
        let slot = slot.try_clone()?;
        slot.set_nonblocking(true)?;
        let listener = TcpListener::from_std(slot)?;
        let address = listener.local_addr()?;
        Ok(Listener { listener, address })
    }

    /// Where it is.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets everyone in who has the key, for ever: each link goes to `enter`.
    pub async fn serve(
        self,
        party: Party,
        patience: Duration,
        enter: impl Fn(Link) + Send + Sync + 'static,
    ) {
        let slots = ConnectionSlots::new(MAX_PENDING, MAX_PER_SOURCE);
        let acceptor = Arc::new(Acceptor { party, patience, seen: Mutex::default() });
        let enter = Arc::new(enter);
        loop {
            let (stream, from) = match self.listener.accept().await {
                Ok(taken) => taken,
                Err(error) => {
                    tracing::debug!(%error, "nobody can be let in now");
                    // Descriptors are short, most likely: those who wait here have the least right.
                    slots.make_room();
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            let (acceptor, enter) = (Arc::clone(&acceptor), Arc::clone(&enter));
            slots.spawn(from.ip(), false, |mut slot| async move {
                let link = timeout(SHOW, acceptor.greet(stream, &mut slot)).await;
                drop(slot);
                match link {
                    Ok(Ok(link)) => enter(link),
                    Ok(Err(why)) => tracing::debug!(%why, "somebody was not let in"),
                    Err(_) => tracing::debug!("somebody at the door showed no key"),
                }
            });
        }
    }
}

/// Why somebody was not let in.
#[derive(Debug, thiserror::Error)]
enum RejectReason {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    #[error("a handshake was played back")]
    Replay,
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
    #[error(transparent)]
    Link(#[from] LinkError),
}

/// What all who are at the listener have in common.
struct Acceptor {
    party: Party,
    patience: Duration,
    seen: Mutex<SeenHandshakes>,
}

/// Handshakes that have been answered.
#[derive(Default)]
struct SeenHandshakes {
    nonces: BTreeSet<[u8; KEY]>,
    order: VecDeque<[u8; KEY]>,
}

impl SeenHandshakes {
    /// Whether this one is new.
    fn first(&mut self, nonce: [u8; KEY]) -> bool {
        if !self.nonces.insert(nonce) {
            return false;
        }
        self.order.push_back(nonce);
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.nonces.remove(&oldest);
        }
        true
    }
}

impl Acceptor {
    async fn greet(
        &self,
        stream: TcpStream,
        slot: &mut ConnectionSlot,
    ) -> Result<Link, RejectReason> {
        tuning::tune(&stream);
        let mut hello = [0; HELLO];
        read_exact(&stream, &mut hello).await?;
        let (answer, remote, keys) = handshake::answer(&self.party, &hello, random()?)?;
        let new = self.seen.lock().unwrap_or_else(PoisonError::into_inner).first(nonce_of(&hello));
        if !new {
            return Err(RejectReason::Replay);
        }
        // It has the key, or a record of who has it: it comes after all who are silent.
        slot.touch();
        write_all(&stream, &answer).await?;
        let mut link = Link::new(stream, remote, keys, false, self.patience)?;
        // Whoever can seal knows the key and heard our answer.
        let head = link.receiver.head().await?;
        if head.length > 0 {
            return Err(RejectReason::Replay);
        }
        link.receiver.body(head, &mut []).await?;
        Ok(link)
    }
}

async fn write_all(stream: &TcpStream, bytes: &[u8]) -> io::Result<()> {
    let mut sent = 0;
    while let Some(rest) = bytes.get(sent..).filter(|rest| !rest.is_empty()) {
        stream.writable().await?;
        match stream.try_write(rest) {
            Ok(bytes) => sent += bytes,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

async fn read_exact(stream: &TcpStream, bytes: &mut [u8]) -> io::Result<()> {
    let mut read = 0;
    while let Some(rest) = bytes.get_mut(read..).filter(|rest| !rest.is_empty()) {
        stream.readable().await?;
        match stream.try_read(rest) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(bytes) => read += bytes,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Who a link leads to, for messages.
impl std::fmt::Display for Remote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "rank {}", self.rank)
    }
}
