//! The sockets of a tracker. Those of IPv6 are for IPv6 alone, so that one address of each family may
//! have the same port.

use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};

/// Connections that wait to be taken.
const BACKLOG: i32 = 1024;

/// A socket that takes connections.
pub(super) fn door(at: SocketAddr) -> io::Result<TcpListener> {
    let socket = open(at, Type::STREAM, Protocol::TCP)?;
    // What lingers of an earlier run must not keep us away.
    socket.set_reuse_address(true)?;
    socket.bind(&at.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// As many sockets at one address as there are workers: the system spreads packets over them.
pub(super) fn boxes(at: SocketAddr, workers: usize) -> io::Result<Vec<UdpSocket>> {
    let first = packets(at, false)?;
    if workers < 2 || !cfg!(target_os = "linux") {
        return Ok(vec![first]);
    }
    // The first is bound alone to see that nobody else is there, and made anew to share.
    let at = first.local_addr()?;
    drop(first);
    (0..workers).map(|_| packets(at, true)).collect()
}

fn packets(at: SocketAddr, shared: bool) -> io::Result<UdpSocket> {
    let socket = open(at, Type::DGRAM, Protocol::UDP)?;
    #[cfg(all(
        unix,
        not(any(target_os = "solaris", target_os = "illumos", target_os = "cygwin"))
    ))]
    socket.set_reuse_port(shared)?;
    #[cfg(not(unix))]
    let _ = shared;
    socket.bind(&at.into())?;
    Ok(socket.into())
}

fn open(at: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    let domain = if at.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
    let socket = Socket::new(domain, kind, Some(protocol))?;
    if at.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}
