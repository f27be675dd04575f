//! The sockets of a tracker. Those of IPv6 are for IPv6 alone, so that one address of each family
//! may have the same port.

use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};

/// Connections that the system holds until they are accepted.
const BACKLOG: i32 = 1024;

/// Bytes of packets that may wait at a socket: a tenth of a second of a flood that a worker
/// answers. The system's usual 208 KiB are full before the worker has its next turn.
const WAITING_BYTES: usize = 4 << 20;

/// A socket that accepts connections.
pub(super) fn listener(at: SocketAddr) -> io::Result<TcpListener> {
    let socket = open(at, Type::STREAM, Protocol::TCP)?;
    // Connections of an earlier run that linger in the system must not take the address.
    socket.set_reuse_address(true)?;
    socket.bind(&at.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// One socket a worker at one address: the system spreads packets over them.
pub(super) fn udp_sockets(at: SocketAddr, workers: usize) -> io::Result<Vec<UdpSocket>> {
    let first = udp_socket(at, false)?;
    if workers < 2 || !cfg!(target_os = "linux") {
        return Ok(vec![first]);
    }
    // The first is bound alone, to see that the address is free, and made anew to share it.
    let at = first.local_addr()?;
    drop(first);
    (0..workers).map(|_| udp_socket(at, true)).collect()
}

fn udp_socket(at: SocketAddr, shared: bool) -> io::Result<UdpSocket> {
    let socket = open(at, Type::DGRAM, Protocol::UDP)?;
    #[cfg(all(
        unix,
        not(any(target_os = "solaris", target_os = "illumos", target_os = "cygwin"))
    ))]
    socket.set_reuse_port(shared)?;
    #[cfg(not(unix))]
    let _ = shared;
    enlarge_receive_buffer(&socket);
    socket.bind(&at.into())?;
    Ok(socket.into())
}

/// Lets [`WAITING_BYTES`] of packets wait, or as many as the system allows (Linux:
/// `net.core.rmem_max`). With fewer a flood loses packets earlier.
fn enlarge_receive_buffer(socket: &Socket) {
    #[cfg(target_os = "linux")]
    if rustix::net::sockopt::set_socket_recv_buffer_size_force(socket, WAITING_BYTES).is_ok() {
        return;
    }
    let _ = socket.set_recv_buffer_size(WAITING_BYTES);
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

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn packets_have_room_to_wait() {
        let most = std::fs::read("/proc/sys/net/core/rmem_max").unwrap();
        let most: usize = String::from_utf8(most).unwrap().trim().parse().unwrap();
        let has = |socket: &UdpSocket| socket2::SockRef::from(socket).recv_buffer_size().unwrap();
        for workers in [1, 3] {
            let sockets = udp_sockets("127.0.0.1:0".parse().unwrap(), workers).unwrap();
            // The system counts twice what it was asked for.
            let least = WAITING_BYTES.min(most) * 2;
            assert!(sockets.iter().all(|socket| has(socket) >= least), "{workers} workers");
        }
        let root = rustix::process::geteuid().is_root();
        let socket = udp_socket("127.0.0.1:0".parse().unwrap(), false).unwrap();
        let probe = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
        let forced =
            rustix::net::sockopt::set_socket_recv_buffer_size_force(&probe, WAITING_BYTES).is_ok();
        assert!(!(root && forced) || has(&socket) >= WAITING_BYTES, "root has all of it");
    }
}
