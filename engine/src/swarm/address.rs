//! Addresses of peers: which of them count as one, and whom a ban shuts out.

use dunlin_base::Endpoint;
use std::net::{IpAddr, SocketAddr};

/// The address of a peer of the internet, without its port and in one form.
pub(crate) fn ip_of(remote: Endpoint) -> Option<IpAddr> {
    match remote {
        Endpoint::Socket(address) => Some(address.ip().to_canonical()),
        Endpoint::Rank(_) => None,
    }
}

/// Who counts as one where places are shared and bans are made ([`dunlin_base::source_of`]).
pub(crate) fn source_of(remote: Endpoint) -> Option<IpAddr> {
    ip_of(remote).map(dunlin_base::source_of)
}

/// Whom a ban of `remote` shuts out: the whole source on the internet, where ports are cheap.
pub(crate) fn ban_key(remote: Endpoint) -> Endpoint {
    source_of(remote).map_or(remote, |source| Endpoint::Socket(SocketAddr::new(source, 0)))
}

/// An address in one form: IPv4 mapped into IPv6 is IPv4 (RFC 4291, 2.5.5.2).
pub(crate) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Whether a peer can be reached there at all.
pub(crate) fn is_dialable(address: SocketAddr) -> bool {
    let ip = address.ip();
    let broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
    address.port() != 0 && !ip.is_unspecified() && !ip.is_multicast() && !broadcast
}

#[cfg(test)]
mod tests {
    use super::*;
    use dunlin_base::Rank;

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_ban_is_of_the_whole_address() {
        let (a, b) = (at("192.0.2.1:5"), at("[::ffff:192.0.2.1]:9"));
        assert_eq!(ban_key(Endpoint::Socket(a)), ban_key(Endpoint::Socket(b)));
        assert_eq!(ban_key(Endpoint::Rank(Rank(3))), Endpoint::Rank(Rank(3)));
        let of = |text| ban_key(Endpoint::Socket(at(text)));
        assert_eq!(of("[2001:db8:0:7::1]:5"), of("[2001:db8:0:7:8:9:a:b]:6"), "one /64");
        assert_ne!(of("[2001:db8:0:7::1]:5"), of("[2001:db8:0:8::1]:5"));
        assert_ne!(of("192.0.2.1:5"), of("192.0.2.2:5"));
        assert_eq!(canonical(b), at("192.0.2.1:9"));
    }

    #[test]
    fn where_nobody_can_be_is_not_dialled() {
        let bad = ["192.0.2.1:0", "0.0.0.0:1", "[::]:1", "224.0.0.1:1", "255.255.255.255:1"];
        assert!(bad.iter().all(|address| !is_dialable(at(address))));
        assert!(is_dialable(at("127.0.0.1:1")) && is_dialable(at("[2001:db8::1]:6881")));
    }
}
