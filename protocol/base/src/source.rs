//! Who is one stranger, as far as an address tells.

use std::net::{IpAddr, Ipv6Addr};

/// The source that an address belongs to, by which shares and bans are counted: an IPv4 address is
/// a source; of IPv6 a /64 is, since whoever has one address of it has them all (RFC 7421, section
/// 2). IPv4 within IPv6 is IPv4.
#[must_use]
pub fn source_of(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.into(),
        IpAddr::V6(ip) => Ipv6Addr::from(u128::from(ip) >> 64 << 64).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_64_is_one_source() {
        let cases = [
            ("192.0.2.7", "192.0.2.7"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
            ("::1", "::"),
        ];
        for (ip, expected) in cases {
            assert_eq!(source_of(ip.parse().unwrap()).to_string(), expected);
        }
    }
}
