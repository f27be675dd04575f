//! A connection to a peer as a stream of bytes, whatever carries it. Now that is TCP; encryption
//! (MSE) over it and uTP are to be other kinds of it. Only this module and the listener know the
//! kind.
//!
//! The kind is an enum: each call to the system costs one branch more, bytes and connections cost
//! nothing more. A stream never waits: what cannot be done now is `WouldBlock`, and the registry
//! that it is registered with says when to try again.

use crate::bind::Bind;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use socket2::Type;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::SocketAddr;

/// A connection to a peer. Dropping it closes it.
pub(crate) struct Stream {
    peer: SocketAddr,
    kind: Kind,
}

enum Kind {
    Tcp(TcpStream),
}

impl Stream {
    /// Begins to connect to `peer`; [`Stream::is_connected`] says when that is done.
    ///
    /// # Errors
    /// If the system gives no socket, or knows at once that the peer cannot be reached.
    pub(crate) fn connect(bind: &Bind, peer: SocketAddr) -> io::Result<Stream> {
        let socket = bind.socket(peer.ip(), Type::STREAM)?;
        match socket.connect(&peer.into()) {
            Err(error) if !is_in_progress(&error) => return Err(error),
            _ => {}
        }
        Ok(Stream::tcp(TcpStream::from_std(socket.into()), peer))
    }

    /// A connection over TCP, which a listener has accepted or which is being dialled.
    pub(crate) fn tcp(stream: TcpStream, peer: SocketAddr) -> Stream {
        // The outbox puts messages together: the system is not to wait for more of them.
        let _ = stream.set_nodelay(true);
        Stream { peer, kind: Kind::Tcp(stream) }
    }

    /// The peer's address.
    pub(crate) fn peer_addr(&self) -> SocketAddr {
        self.peer
    }

    /// Whether a dial came through; false while it is under way.
    ///
    /// # Errors
    /// If it failed.
    pub(crate) fn is_connected(&self) -> io::Result<bool> {
        let Kind::Tcp(stream) = &self.kind;
        if let Some(error) = stream.take_error()? {
            return Err(error);
        }
        match stream.peer_addr() {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Has `registry` report under `token` when the stream can be read or written.
    ///
    /// # Errors
    /// If the system cannot watch it.
    pub(crate) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let Kind::Tcp(stream) = &mut self.kind;
        registry.register(stream, token, Interest::READABLE | Interest::WRITABLE)
    }

    /// Closes the connection. What the system has taken is still sent.
    pub(crate) fn shutdown(mut self, registry: &Registry) {
        let Kind::Tcp(stream) = &mut self.kind;
        // Closing the descriptor, which follows, ends both as well.
        let _ = registry.deregister(stream);
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Kind::Tcp(stream) = &mut self.kind;
        stream.read(buffer)
    }

    fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let Kind::Tcp(stream) = &mut self.kind;
        stream.read_vectored(buffers)
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Kind::Tcp(stream) = &mut self.kind;
        stream.write(bytes)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let Kind::Tcp(stream) = &mut self.kind;
        stream.write_vectored(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        let Kind::Tcp(stream) = &mut self.kind;
        stream.flush()
    }
}

fn is_in_progress(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
        || error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listener::{self, Port};
    use mio::{Events, Poll};
    use std::time::Duration;

    /// Calls `step` until it returns something, after each event of the system once more.
    fn wait<T>(poll: &mut Poll, mut step: impl FnMut() -> Option<T>) -> T {
        let mut events = Events::with_capacity(8);
        for _ in 0..1000 {
            if let Some(found) = step() {
                return found;
            }
            poll.poll(&mut events, Some(Duration::from_millis(100))).unwrap();
        }
        panic!("nothing came of it");
    }

    #[test]
    fn a_stream_connects_carries_bytes_and_ends() {
        let bind = Bind::parse("127.0.0.1").unwrap();
        let mut poll = Poll::new().unwrap();
        let mut listeners = listener::listen(&bind, Port::Exactly(0)).unwrap();
        let listener = &mut listeners[0];
        listener.register(poll.registry(), Token(0)).unwrap();
        let mut dialled = Stream::connect(&bind, listener.local_addr()).unwrap();
        dialled.register(poll.registry(), Token(1)).unwrap();
        assert_eq!(dialled.peer_addr(), listener.local_addr());
        wait(&mut poll, || dialled.is_connected().unwrap().then_some(()));
        let mut accepted = wait(&mut poll, || listener.accept().ok());
        accepted.register(poll.registry(), Token(2)).unwrap();
        let would_block = accepted.read(&mut [0; 9]).unwrap_err();
        assert_eq!(would_block.kind(), io::ErrorKind::WouldBlock);

        let slices = [IoSlice::new(b"one"), IoSlice::new(b""), IoSlice::new(b"two")];
        assert_eq!(dialled.write_vectored(&slices).unwrap(), 6);
        dialled.shutdown(poll.registry());
        let (mut head, mut rest) = ([0; 2], [0; 100]);
        let buffers = &mut [IoSliceMut::new(&mut head), IoSliceMut::new(&mut rest)];
        assert_eq!(wait(&mut poll, || accepted.read_vectored(buffers).ok()), 6);
        assert_eq!((&head, &rest[..4]), (b"on", &b"etwo"[..]));
        assert_eq!(wait(&mut poll, || accepted.read(&mut rest).ok()), 0, "the end");
    }

    #[test]
    fn a_dial_that_fails_says_so() {
        let bind = Bind::parse("127.0.0.1").unwrap();
        let mut poll = Poll::new().unwrap();
        let closed = listener::listen(&bind, Port::Exactly(0)).unwrap()[0].local_addr();
        let Ok(mut dialled) = Stream::connect(&bind, closed) else { return };
        dialled.register(poll.registry(), Token(1)).unwrap();
        wait(&mut poll, || dialled.is_connected().err());
        let other = Stream::connect(&bind, "[::1]:1".parse().unwrap()).err().unwrap();
        assert_eq!(other.kind(), io::ErrorKind::AddrNotAvailable);
    }
}
