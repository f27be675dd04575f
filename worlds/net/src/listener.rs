//! Where peers connect to: one port, at one address of each family.

use crate::bind::Bind;
use crate::stream::Stream;
use mio::net::TcpListener;
use mio::{Interest, Registry, Token};
use socket2::Type;
use std::io;
use std::net::SocketAddr;

/// Connections that the system holds until they are accepted.
const BACKLOG: i32 = 256;
/// Ports that are tried after the wanted one, where any will do.
const PORTS: u16 = 10;

/// Where to listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// Nowhere.
    None,
    /// Here or nowhere; 0 is any.
    Exactly(u16),
    /// Here, or at one of the next ports.
    From(u16),
}

/// An address at which connections cannot be accepted, and why.
#[derive(Debug)]
pub(crate) struct ListenError {
    pub(crate) address: SocketAddr,
    pub(crate) error: io::Error,
}

/// A socket that accepts connections at one address.
pub(crate) struct Listener {
    socket: TcpListener,
    address: SocketAddr,
}

impl Listener {
    fn open(bind: &Bind, at: SocketAddr) -> io::Result<Listener> {
        let socket = bind.socket_at(at, Type::STREAM)?;
        socket.listen(BACKLOG)?;
        let address = socket.local_addr()?.as_socket().unwrap_or(at);
        Ok(Listener { socket: TcpListener::from_std(socket.into()), address })
    }

    /// Its address, with the port that it got.
    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Has `registry` report under `token` when a connection can be accepted.
    ///
    /// # Errors
    /// If the system cannot watch it.
    pub(crate) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        registry.register(&mut self.socket, token, Interest::READABLE)
    }

    /// Accepts a connection.
    ///
    /// # Errors
    /// `WouldBlock` if none waits; otherwise what the system says.
    pub(crate) fn accept(&self) -> io::Result<Stream> {
        let (stream, peer) = self.socket.accept()?;
        Ok(Stream::tcp(stream, peer))
    }
}

/// Listens at one port, at all addresses that `bind` allows; at none for [`Port::None`].
///
/// # Errors
/// If the address is not of this host, or none of the ports is free.
pub(crate) fn listen(bind: &Bind, port: Port) -> Result<Vec<Listener>, ListenError> {
    let (mut port, last) = match port {
        Port::None => return Ok(Vec::new()),
        Port::Exactly(port) => (port, port),
        Port::From(port) => (port, port.saturating_add(PORTS)),
    };
    loop {
        match listen_at(bind, port) {
            // No other port makes it an address of this host.
            Err(failed)
                if port < last && failed.error.kind() != io::ErrorKind::AddrNotAvailable =>
            {
                port += 1;
            }
            result => return result,
        }
    }
}

fn listen_at(bind: &Bind, mut port: u16) -> Result<Vec<Listener>, ListenError> {
    let mut listeners: Vec<Listener> = Vec::new();
    for at in bind.listen_at(port) {
        let at = SocketAddr::new(at.ip(), port);
        match Listener::open(bind, at) {
            Ok(listener) => {
                // The second family has the port that the system chose for the first.
                port = listener.local_addr().port();
                listeners.push(listener);
            }
            // A host without IPv6 listens for IPv4 alone.
            Err(error) if at.is_ipv6() && !listeners.is_empty() && lacks_family(&error) => {}
            Err(error) => return Err(ListenError { address: at, error }),
        }
    }
    Ok(listeners)
}

/// Whether the host does not have the family of the address.
pub(crate) fn lacks_family(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error())
        || matches!(error.kind(), io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported)
}
