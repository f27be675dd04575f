//! The addresses under which others may reach this host. What the system lists need not be
//! reachable from everywhere: whoever is told them tries them.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// The most that is read of the system's lists, in bytes: a host with more addresses has enough of
/// them.
const MAX_LIST: u64 = 256 * 1024;
/// Addresses that are given at most.
const MAX_ADDRESSES: usize = 16;

/// The address that this host has towards another one; nothing is sent. `None` if there is no way.
#[must_use]
pub fn towards(there: SocketAddr) -> Option<IpAddr> {
    let any: IpAddr = match there {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect(there).ok()?;
    let here = socket.local_addr().ok()?.ip();
    (!here.is_unspecified()).then_some(here)
}

/// The addresses of this host that are not for itself only, those of IPv4 first. Empty where the
/// system does not list them.
#[must_use]
pub fn local_addresses() -> Vec<IpAddr> {
    let old = read("/proc/self/net/fib_trie").map(|text| of_trie(&text)).unwrap_or_default();
    let new = read("/proc/self/net/if_inet6").map(|text| of_inet6(&text)).unwrap_or_default();
    let old = old.into_iter().map(IpAddr::from);
    old.chain(new.into_iter().map(IpAddr::from)).take(MAX_ADDRESSES).collect()
}

fn read(path: &str) -> Option<String> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(MAX_LIST).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// The table of routes: an address of ours is a leaf whose next line says `/32 host LOCAL`.
fn of_trie(text: &str) -> BTreeSet<Ipv4Addr> {
    let mut found = BTreeSet::new();
    let mut leaf = None;
    for line in text.lines().map(str::trim) {
        if let Some(address) = line.strip_prefix("|-- ") {
            leaf = address.parse::<Ipv4Addr>().ok();
        } else if line == "/32 host LOCAL" {
            found.extend(leaf.filter(|one| !one.is_loopback() && !one.is_link_local()));
        }
    }
    found
}

/// Address, number of the interface, length of the prefix, scope (00 is everywhere), flags, name.
fn of_inet6(text: &str) -> BTreeSet<Ipv6Addr> {
    let address = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let bits = u128::from_str_radix(words.next()?, 16).ok()?;
        (words.nth(2)? == "00").then(|| Ipv6Addr::from_bits(bits))
    };
    text.lines().filter_map(address).filter(|one| !one.is_loopback()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_of_the_system_are_read() {
        let trie = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 0.0.0.0\n        /0 universe UNICAST\n\
                    Local:\n     |-- 10.77.0.1\n        /32 host LOCAL\n     |-- 10.77.0.255\n        \
                    /32 link BROADCAST\n           |-- 127.0.0.1\n              /32 host LOCAL\n\
                    |-- 169.254.1.1\n  /32 host LOCAL\n";
        assert_eq!(of_trie(trie), [Ipv4Addr::new(10, 77, 0, 1)].into());
        let inet6 = "00000000000000000000000000000001 01 80 10 80       lo\n\
                     20010db8000000000000000000000007 02 40 00 80     eth0\n\
                     fe800000000000000000000000000007 02 40 20 80     eth0\nnonsense\n";
        assert_eq!(of_inet6(inet6), ["2001:db8::7".parse().unwrap()].into());
        assert!(of_trie("nonsense\n/32 host LOCAL").is_empty());
    }

    #[test]
    fn a_host_reaches_itself() {
        let here = towards("127.0.0.1:9".parse().unwrap());
        assert_eq!(here, Some(Ipv4Addr::LOCALHOST.into()));
        assert!(local_addresses().iter().all(|one| !one.is_loopback()));
    }
}
