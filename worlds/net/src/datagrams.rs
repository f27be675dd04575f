//! The UDP sockets: one for each address family, at the port where peers connect, shared by
//! everything that speaks UDP. They belong to the thread `net`, which receives; any thread may
//! send. A datagram's protocol is known by its first bytes:
//!
//! | first bytes | protocol |
//! |---|---|
//! | 0, 0, 0, then 0 to 3 | the reply of a tracker: its action (BEP 15) |
//! | `d` | DHT: a bencoded dictionary (BEP 5) |
//! | a type of 0 to 4 and version 1, four bits each | uTP (BEP 29) |
//!
//! No two of these can be mistaken for each other. Of each protocol its owner decides what is
//! valid.

use crate::bind::Bind;
use crate::listener::lacks_family;
use mio::net::UdpSocket;
use mio::{Interest, Registry, Token};
use socket2::Type;
use std::io;
use std::net::SocketAddr;

/// The longest datagram: its length has 16 bits (RFC 768).
pub(crate) const MAX_DATAGRAM: usize = 65_535;
/// Datagrams that one socket receives in one turn, before connections have theirs.
const DATAGRAMS_PER_TURN: usize = 64;
/// The last action of a tracker (BEP 15): connect, announce, scrape, error.
const LAST_ACTION: u8 = 3;
/// The last type of a uTP packet (BEP 29): data, fin, state, reset, syn.
const LAST_UTP_TYPE: u8 = 4;

/// The protocol of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// The reply of a tracker.
    Tracker,
    /// The distributed hash table.
    Dht,
    /// The micro transport protocol.
    Utp,
}

impl Protocol {
    /// The protocol that a datagram belongs to by its first bytes; `None` if to none.
    pub(crate) fn of(datagram: &[u8]) -> Option<Protocol> {
        match datagram {
            [0, 0, 0, action, ..] if *action <= LAST_ACTION => Some(Protocol::Tracker),
            [b'd', ..] => Some(Protocol::Dht),
            [first, ..] if first & 0x0F == 1 && first >> 4 <= LAST_UTP_TYPE => Some(Protocol::Utp),
            _ => None,
        }
    }
}

/// Sends datagrams from the shared sockets. Tests have one without sockets.
pub trait DatagramSender: Send + Sync {
    /// Sends one datagram. It does not wait: what the system cannot take now is lost, as it may be
    /// on its way.
    ///
    /// # Errors
    /// If the system refuses it: there is no socket of that family, or no route.
    fn send_to(&self, datagram: &[u8], to: SocketAddr) -> io::Result<()>;
}

/// The sockets, IPv4 before IPv6, as far as there are any.
pub(crate) struct DatagramSockets {
    sockets: Vec<(SocketAddr, UdpSocket)>,
}

impl DatagramSockets {
    /// Opens a socket at each address that `bind` allows: at `port`, or at any port where that is
    /// taken.
    ///
    /// # Errors
    /// If the system gives none.
    pub(crate) fn open(bind: &Bind, port: u16) -> io::Result<DatagramSockets> {
        let mut sockets = Vec::new();
        for at in bind.listen_at(port) {
            let any = SocketAddr::new(at.ip(), 0);
            let opened = bind.socket_at(at, Type::DGRAM).or_else(|error| {
                tracing::debug!(%error, %at, "another port is used for UDP");
                bind.socket_at(any, Type::DGRAM)
            });
            match opened {
                Ok(socket) => {
                    let address = socket.local_addr()?.as_socket().unwrap_or(any);
                    sockets.push((address, UdpSocket::from_std(socket.into())));
                }
                Err(error) if at.is_ipv6() && !sockets.is_empty() && lacks_family(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(DatagramSockets { sockets })
    }

    /// Has `registry` report when datagrams have come: under `first` of the first socket, and so
    /// on.
    ///
    /// # Errors
    /// If the system cannot watch them.
    pub(crate) fn register(&mut self, registry: &Registry, first: Token) -> io::Result<()> {
        for (index, (_, socket)) in self.sockets.iter_mut().enumerate() {
            registry.register(socket, Token(first.0 + index), Interest::READABLE)?;
        }
        Ok(())
    }

    /// Receives what has come at the socket of this index, a bounded number of datagrams; those of
    /// no known protocol are dropped. Returns whether more may have come. `buffer` has room for
    /// [`MAX_DATAGRAM`] bytes.
    pub(crate) fn receive(
        &self,
        index: usize,
        buffer: &mut [u8],
        mut received: impl FnMut(Protocol, SocketAddr, &[u8]),
    ) -> bool {
        debug_assert!(buffer.len() >= MAX_DATAGRAM, "{} bytes of room", buffer.len());
        let Some((_, socket)) = self.sockets.get(index) else { return false };
        for _ in 0..DATAGRAMS_PER_TURN {
            match socket.recv_from(buffer) {
                Ok((length, from)) => {
                    let datagram = buffer.get(..length).unwrap_or_default();
                    if let Some(protocol) = Protocol::of(datagram) {
                        received(protocol, from, datagram);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                // It is of a datagram that was sent before; the next one may be received.
                Err(error) => tracing::debug!(%error, "a datagram was not received"),
            }
        }
        true
    }
}

impl DatagramSender for DatagramSockets {
    fn send_to(&self, datagram: &[u8], to: SocketAddr) -> io::Result<()> {
        let of_family = |(at, _): &&(SocketAddr, UdpSocket)| at.is_ipv4() == to.is_ipv4();
        let Some((_, socket)) = self.sockets.iter().find(of_family) else {
            let why = "there is no UDP socket of that address family";
            return Err(io::Error::new(io::ErrorKind::AddrNotAvailable, why));
        };
        match socket.send_to(datagram, to) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mio::{Events, Poll};
    use std::time::Duration;

    #[test]
    fn the_first_bytes_tell_the_protocol() {
        let utp = |kind: u8| [kind << 4 | 1, 0, 0x12, 0x34];
        let cases: [(&[u8], Option<Protocol>); 14] = [
            (&[0, 0, 0, 0, 9, 9, 9, 9], Some(Protocol::Tracker)),
            (&[0, 0, 0, 1, 9, 9, 9, 9], Some(Protocol::Tracker)),
            (&[0, 0, 0, 3], Some(Protocol::Tracker)),
            (&[0, 0, 0, 4, 9, 9, 9, 9], None),
            (&[0, 0, 1, 0, 9, 9, 9, 9], None),
            (&[0, 0, 0], None),
            (&[], None),
            (b"d1:ad2:id20:", Some(Protocol::Dht)),
            (b"l", None),
            (&utp(0), Some(Protocol::Utp)),
            (&utp(4), Some(Protocol::Utp)),
            (&utp(5), None),
            (&[0x02, 0, 0, 0], None),
            (b"GET / HTTP/1.1", None),
        ];
        for (datagram, expected) in cases {
            assert_eq!(Protocol::of(datagram), expected, "{datagram:?}");
        }
    }

    fn opened(poll: &Poll, port: u16, first: usize) -> DatagramSockets {
        let bind = Bind::parse("127.0.0.1").unwrap();
        let mut sockets = DatagramSockets::open(&bind, port).unwrap();
        sockets.register(poll.registry(), Token(first)).unwrap();
        sockets
    }

    #[test]
    fn what_belongs_to_no_protocol_is_dropped() {
        let mut poll = Poll::new().unwrap();
        let (one, other) = (opened(&poll, 0, 0), opened(&poll, 0, 1));
        let to = other.sockets[0].0;
        for datagram in [b"nothing".as_slice(), b"d1:q", &[0, 0, 0, 3, 1], &[0x41]] {
            one.send_to(datagram, to).unwrap();
        }
        let six = one.send_to(b"d", "[::1]:9".parse().unwrap()).unwrap_err();
        assert_eq!(six.kind(), io::ErrorKind::AddrNotAvailable);
        let mut buffer = vec![0; MAX_DATAGRAM];
        let mut events = Events::with_capacity(8);
        let mut found = Vec::new();
        while found.len() < 3 {
            poll.poll(&mut events, Some(Duration::from_secs(30))).unwrap();
            assert!(!events.is_empty(), "only {found:?} came");
            let more = other.receive(0, &mut buffer, |protocol, from, datagram| {
                assert_eq!(from, one.sockets[0].0);
                found.push((protocol, datagram.len()));
            });
            assert!(!more);
        }
        assert_eq!(found, [(Protocol::Dht, 4), (Protocol::Tracker, 5), (Protocol::Utp, 1)]);
    }

    #[test]
    fn another_port_is_used_where_the_wanted_one_is_taken() {
        let poll = Poll::new().unwrap();
        let one = opened(&poll, 0, 0);
        let port = one.sockets[0].0.port();
        let other = opened(&poll, port, 1);
        assert_ne!(other.sockets[0].0.port(), port);
    }
}
