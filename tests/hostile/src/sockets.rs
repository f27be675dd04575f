//! Strategies over real sockets, on a thread of their own: what a test or a tool turns against a
//! running program. Whoever starts an attack names the address, and it connects to nothing else.

use crate::line::{Line, Received};
use crate::strategy::{Kind, Target};
use dunlin_base::{Rng, Time};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token, Waker};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The token of what ends the thread.
const STOP: Token = Token(usize::MAX);
/// Bytes that are read at a time.
const READ: usize = 64 << 10;
/// Longest wait before everything is looked at again.
const PATIENCE: Duration = Duration::from_millis(200);

/// What is attacked, and how.
#[derive(Clone, Debug)]
pub struct Attack {
    /// The address that every connection is made to.
    pub address: SocketAddr,
    /// Where the connections come from, in turns; any address of the host if none is given.
    pub from: Vec<IpAddr>,
    /// How each of them behaves.
    pub kind: Kind,
    /// How many there are at a time.
    pub connections: usize,
    /// Whom it is for.
    pub target: Arc<Target>,
    /// The seed of every choice.
    pub seed: u64,
}

/// What an attack has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Connections that stood.
    pub connections: u64,
    /// Connections that the other side closed.
    pub closed: u64,
    /// Bytes that were sent.
    pub sent: u64,
    /// What came.
    pub received: Received,
}

/// An attack that is under way. Dropping it ends it.
#[derive(Debug)]
pub struct Running {
    seen: Arc<Mutex<Seen>>,
    stop: Arc<AtomicBool>,
    waker: Waker,
    thread: Option<JoinHandle<()>>,
}

impl Attack {
    /// Begins it.
    ///
    /// # Errors
    /// If the system gives no thread or no way to watch sockets.
    pub fn begin(self) -> io::Result<Running> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), STOP)?;
        let (seen, stop) = (Arc::new(Mutex::default()), Arc::new(AtomicBool::new(false)));
        let mut front = Front {
            places: (0..self.connections).map(|_| Place::Empty(Time::ZERO)).collect(),
            rng: Rng::new(self.seed),
            attack: self,
            poll,
            start: Instant::now(),
            seen: Arc::clone(&seen),
            buffer: vec![0; READ],
            dialled: 0,
        };
        let ends = Arc::clone(&stop);
        let run = move || while !ends.load(Ordering::Relaxed) && front.turn().is_ok() {};
        let thread = std::thread::Builder::new().name("attack".to_owned()).spawn(run)?;
        Ok(Running { seen, stop, waker, thread: Some(thread) })
    }
}

impl Running {
    /// What it has seen so far.
    #[must_use]
    pub fn seen(&self) -> Seen {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends it, and returns what it has seen.
    #[must_use]
    pub fn end(mut self) -> Seen {
        self.halt();
        self.seen()
    }

    fn halt(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.waker.wake();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.halt();
    }
}

/// One of the connections.
enum Place {
    /// None before this time.
    Empty(Time),
    Dialling(TcpStream, u64),
    Open(TcpStream, Box<Line>),
}

/// What the thread owns.
struct Front {
    attack: Attack,
    places: Vec<Place>,
    rng: Rng,
    poll: Poll,
    start: Instant,
    seen: Arc<Mutex<Seen>>,
    buffer: Vec<u8>,
    dialled: usize,
}

impl Front {
    fn now(&self) -> Time {
        Time::ZERO + self.start.elapsed()
    }

    /// Waits for something to do and does it.
    fn turn(&mut self) -> io::Result<()> {
        let now = self.now();
        let next = self.places.iter().filter_map(|place| match place {
            Place::Empty(at) => Some(*at),
            Place::Dialling(..) => None,
            Place::Open(_, line) => line.next_wake(),
        });
        let patience = next.min().map_or(PATIENCE, |at| at.since(now).min(PATIENCE));
        let mut events = Events::with_capacity(256);
        match self.poll.poll(&mut events, Some(patience)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        for index in 0..self.places.len() {
            let place = std::mem::replace(&mut self.places[index], Place::Empty(Time::ZERO));
            self.places[index] = self.work(index, place);
        }
        Ok(())
    }

    fn count(&self, f: impl FnOnce(&mut Seen)) {
        f(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Does what can be done with one place.
    fn work(&mut self, index: usize, place: Place) -> Place {
        let now = self.now();
        match place {
            Place::Empty(at) if at > now => Place::Empty(at),
            Place::Empty(_) => match self.dial(index) {
                Ok(stream) => Place::Dialling(stream, self.rng.next_u64()),
                Err(_) => self.pause(),
            },
            Place::Dialling(stream, seed) => match (stream.take_error(), stream.peer_addr()) {
                (Ok(None), Ok(_)) => {
                    let target = Arc::clone(&self.attack.target);
                    let mut line = Line::new(self.attack.kind, target, seed);
                    line.opened(now, true);
                    self.count(|seen| seen.connections += 1);
                    self.work(index, Place::Open(stream, Box::new(line)))
                }
                (Ok(None), Err(error)) if error.kind() == io::ErrorKind::NotConnected => {
                    Place::Dialling(stream, seed)
                }
                _ => self.pause(),
            },
            Place::Open(mut stream, mut line) => {
                line.wake(now);
                if self.exchange(&mut stream, &mut line).is_err() {
                    self.count(|seen| seen.closed += 1);
                    return self.pause();
                }
                if line.is_over() { self.pause() } else { Place::Open(stream, line) }
            }
        }
    }

    /// A place stays empty for a while.
    fn pause(&self) -> Place {
        Place::Empty(self.now() + self.attack.target.tempo.max(Duration::from_millis(5)))
    }

    fn exchange(&mut self, stream: &mut TcpStream, line: &mut Line) -> io::Result<()> {
        while line.readable() > 0 {
            let most = line.readable().min(self.buffer.len());
            let before = line.received();
            match stream.read(&mut self.buffer[..most]) {
                Ok(0) => return Err(io::ErrorKind::ConnectionReset.into()),
                Ok(bytes) => line.receive(self.now(), &self.buffer[..bytes]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
            let after = line.received();
            self.count(|seen| {
                seen.received.bytes += after.bytes - before.bytes;
                seen.received.messages += after.messages - before.messages;
                seen.received.payload += after.payload - before.payload;
            });
        }
        while !line.output().is_empty() {
            match stream.write(line.output()) {
                Ok(bytes) => {
                    line.sent(bytes);
                    self.count(|seen| seen.sent += bytes as u64);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn dial(&mut self, index: usize) -> io::Result<TcpStream> {
        let from = &self.attack.from;
        let from = (!from.is_empty()).then(|| from[self.dialled % from.len()]);
        self.dialled += 1;
        let socket = socket(self.attack.address, from, SocketFlags::NONBLOCK)?;
        match rustix::net::connect(&socket, &self.attack.address) {
            Ok(()) | Err(rustix::io::Errno::INPROGRESS) => {}
            Err(error) => return Err(error.into()),
        }
        let mut stream = TcpStream::from_std(std::net::TcpStream::from(socket));
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut stream, Token(index), interest)?;
        Ok(stream)
    }
}

/// A connection that blocks, from an address of this host.
///
/// # Errors
/// As the system says.
pub fn connect(address: SocketAddr, from: IpAddr) -> io::Result<std::net::TcpStream> {
    let socket = socket(address, Some(from), SocketFlags::empty())?;
    rustix::net::connect(&socket, &address)?;
    Ok(std::net::TcpStream::from(socket))
}

fn socket(address: SocketAddr, from: Option<IpAddr>, flags: SocketFlags) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = flags | SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    if let Some(from) = from {
        rustix::net::bind(&socket, &SocketAddr::new(from, 0))?;
    }
    Ok(socket)
}
