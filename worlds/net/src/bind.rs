//! Which addresses and interface every socket of this world is bound to, without exception. It
//! opens no connection.

use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Where all sockets are bound: to an address, to an interface, or to nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bind {
    /// The only address that sockets have.
    address: Option<IpAddr>,
    /// The interface that everything goes through.
    interface: Option<String>,
}

/// What was given is neither an address nor an interface of this machine.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is neither an IP address nor an interface of this machine")]
pub struct NoSuchInterface(pub String);

/// The longest name of an interface (Linux: 15 bytes).
const MAX_INTERFACE: usize = 15;

impl Bind {
    /// `text` is an IP address, or the name of an interface.
    ///
    /// # Errors
    /// If it is neither.
    pub fn parse(text: &str) -> Result<Bind, NoSuchInterface> {
        if let Ok(address) = text.trim_matches(['[', ']']).parse() {
            return Ok(Bind { address: Some(address), interface: None });
        }
        let named = !text.is_empty() && text.len() <= MAX_INTERFACE && !text.contains(['/', '\0']);
        if named && std::path::Path::new("/sys/class/net").join(text).exists() {
            return Ok(Bind { address: None, interface: Some(text.to_owned()) });
        }
        Err(NoSuchInterface(text.to_owned()))
    }

    /// Whether sockets of the family of `remote` may be opened at all.
    #[must_use]
    pub fn reaches(&self, remote: IpAddr) -> bool {
        self.address.is_none_or(|address| address.is_ipv4() == remote.is_ipv4())
    }

    /// Where to listen at `port`: at most one address of each family.
    #[must_use]
    pub fn listen_at(&self, port: u16) -> Vec<SocketAddr> {
        match self.address {
            Some(address) => vec![SocketAddr::new(address, port)],
            None => vec![
                SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port),
                SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port),
            ],
        }
    }

    /// A socket of the family of `remote`, non-blocking and bound as it must be, at any port.
    ///
    /// # Errors
    /// If the system gives none; `AddrNotAvailable` if the family is not the address's.
    pub fn socket(&self, remote: IpAddr, kind: Type) -> io::Result<Socket> {
        let socket = self.raw(remote, kind)?;
        if let Some(address) = self.address {
            socket.bind(&SocketAddr::new(address, 0).into())?;
        }
        Ok(socket)
    }

    /// A socket that is bound to `at`, which [`Bind::listen_at`] gave: non-blocking, and of IPv6
    /// for IPv6 alone.
    ///
    /// # Errors
    /// If the system gives none: the port is in use, or the address is not one of this host.
    pub fn socket_at(&self, at: SocketAddr, kind: Type) -> io::Result<Socket> {
        let socket = self.raw(at.ip(), kind)?;
        if at.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        if kind == Type::STREAM {
            socket.set_reuse_address(true)?;
        }
        socket.bind(&at.into())?;
        Ok(socket)
    }

    fn raw(&self, family: IpAddr, kind: Type) -> io::Result<Socket> {
        if !self.reaches(family) {
            let why = "the address that sockets are bound to is of the other family";
            return Err(io::Error::new(io::ErrorKind::AddrNotAvailable, why));
        }
        let domain = if family.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
        let protocol = if kind == Type::STREAM { Protocol::TCP } else { Protocol::UDP };
        let socket = Socket::new(domain, kind, Some(protocol))?;
        socket.set_nonblocking(true)?;
        #[cfg(target_os = "linux")]
        if let Some(interface) = &self.interface {
            socket.bind_device(Some(interface.as_bytes()))?;
        }
        #[cfg(not(target_os = "linux"))]
        if self.interface.is_some() {
            let why = "this system cannot bind a socket to an interface: give its address";
            return Err(io::Error::new(io::ErrorKind::Unsupported, why));
        }
        Ok(socket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_or_an_interface() {
        let four = Bind::parse("127.0.0.1").unwrap();
        assert!(
            four.reaches(Ipv4Addr::LOCALHOST.into()) && !four.reaches(Ipv6Addr::LOCALHOST.into())
        );
        assert_eq!(four.listen_at(7), ["127.0.0.1:7".parse().unwrap()]);
        assert!(Bind::parse("[::1]").unwrap().reaches(Ipv6Addr::LOCALHOST.into()));
        assert!(Bind::parse("lo").is_ok());
        for bad in ["", "no-such-interface", "../lo", "127.0.0.256"] {
            assert_eq!(Bind::parse(bad), Err(NoSuchInterface(bad.to_owned())));
        }
        assert_eq!(Bind::default().listen_at(0).len(), 2);
    }

    #[test]
    fn sockets_have_the_address() {
        let bind = Bind::parse("127.0.0.1").unwrap();
        let socket = bind.socket(Ipv4Addr::LOCALHOST.into(), Type::STREAM).unwrap();
        let local = socket.local_addr().unwrap().as_socket().unwrap();
        assert_eq!(local.ip(), IpAddr::from(Ipv4Addr::LOCALHOST));
        let other = bind.socket(Ipv6Addr::LOCALHOST.into(), Type::DGRAM).unwrap_err();
        assert_eq!(other.kind(), io::ErrorKind::AddrNotAvailable);
    }
}
