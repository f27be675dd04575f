//! What carriers say to each other beside what they carry: where ranks are, and how much of the firm
//! stream has come. One message, one frame.
//!
//! | tag | | body, numbers big-endian |
//! |---|---|---|
//! | 1 | here | port (u16), address or none: where the sender lets others in |
//! | 2 | where | rank (u32) |
//! | 3 | at | rank (u32), life (u64), port (u16), address |
//! | 4 | nowhere | rank (u32) |
//! | 5 | resume | bytes of the firm stream that have come (u64) |
//!
//! An address is 0 (none: as you see me), 4 and 4 bytes, or 6 and 16 bytes.

use dunlin_base::Rank;
use std::net::{IpAddr, SocketAddr};

/// One message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Talk {
    /// The sender lets others in at this port, at the address that it is seen under unless it says
    /// another.
    Here {
        /// The port.
        port: u16,
        /// The address, if it was chosen by a person.
        ip: Option<IpAddr>,
    },
    /// Where is this rank?
    Where {
        /// The rank.
        rank: Rank,
    },
    /// It is there.
    At {
        /// The rank.
        rank: Rank,
        /// The number of its process.
        life: u64,
        /// Where it lets others in.
        address: SocketAddr,
    },
    /// Nobody knows.
    Nowhere {
        /// The rank.
        rank: Rank,
    },
    /// So many bytes of your firm stream have come: go on behind them.
    Resume {
        /// How many.
        received: u64,
    },
}

impl Talk {
    /// The message as bytes.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(32);
        match self {
            Talk::Here { port, ip } => {
                out.push(1);
                out.extend_from_slice(&port.to_be_bytes());
                put_address(*ip, &mut out);
            }
            Talk::Where { rank } => {
                out.push(2);
                out.extend_from_slice(&rank.0.to_be_bytes());
            }
            Talk::At { rank, life, address } => {
                out.push(3);
                out.extend_from_slice(&rank.0.to_be_bytes());
                out.extend_from_slice(&life.to_be_bytes());
                out.extend_from_slice(&address.port().to_be_bytes());
                put_address(Some(address.ip()), &mut out);
            }
            Talk::Nowhere { rank } => {
                out.push(4);
                out.extend_from_slice(&rank.0.to_be_bytes());
            }
            Talk::Resume { received } => {
                out.push(5);
                out.extend_from_slice(&received.to_be_bytes());
            }
        }
        out
    }

    /// Reads a message; `None` if it is none of ours. Every message has one encoding.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Talk> {
        let (tag, mut rest) = bytes.split_first()?;
        let talk = match tag {
            1 => Talk::Here {
                port: u16::from_be_bytes(take(&mut rest)?),
                ip: take_address(&mut rest)?,
            },
            2 => Talk::Where { rank: take_rank(&mut rest)? },
            3 => {
                let rank = take_rank(&mut rest)?;
                let life = u64::from_be_bytes(take(&mut rest)?);
                let port = u16::from_be_bytes(take(&mut rest)?);
                let address = SocketAddr::new(take_address(&mut rest)??, port);
                Talk::At { rank, life, address }
            }
            4 => Talk::Nowhere { rank: take_rank(&mut rest)? },
            5 => Talk::Resume { received: u64::from_be_bytes(take(&mut rest)?) },
            _ => return None,
        };
        rest.is_empty().then_some(talk)
    }
}

fn put_address(ip: Option<IpAddr>, out: &mut Vec<u8>) {
    match ip {
        None => out.push(0),
        Some(IpAddr::V4(ip)) => {
            out.push(4);
            out.extend_from_slice(&ip.octets());
        }
        Some(IpAddr::V6(ip)) => {
            out.push(6);
            out.extend_from_slice(&ip.octets());
        }
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (first, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(*first)
}

fn take_rank(rest: &mut &[u8]) -> Option<Rank> {
    take(rest).map(u32::from_be_bytes).map(Rank)
}

#[allow(clippy::option_option, reason = "none is an address that was read, too")]
fn take_address(rest: &mut &[u8]) -> Option<Option<IpAddr>> {
    match take(rest)? {
        [0_u8] => Some(None),
        [4] => take::<4>(rest).map(|ip| Some(IpAddr::from(ip))),
        [6] => take::<16>(rest).map(|ip| Some(IpAddr::from(ip))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_message_comes_back() {
        let rank = Rank(70_000);
        for talk in [
            Talk::Here { port: 4711, ip: None },
            Talk::Here { port: 1, ip: Some([10, 0, 0, 7].into()) },
            Talk::Where { rank },
            Talk::At { rank, life: u64::MAX, address: "10.1.2.3:99".parse().unwrap() },
            Talk::At { rank, life: 7, address: "[2001:db8::1]:99".parse().unwrap() },
            Talk::Nowhere { rank },
            Talk::Resume { received: 1 << 40 },
        ] {
            let bytes = talk.encode();
            assert_eq!(Talk::decode(&bytes), Some(talk));
            assert_eq!(Talk::decode(&bytes[..bytes.len() - 1]), None);
            assert_eq!(Talk::decode(&[&bytes[..], &[0]].concat()), None);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_have_one_meaning_or_none(bytes in proptest::collection::vec(0..8_u8, 0..30)) {
            if let Some(talk) = Talk::decode(&bytes) {
                prop_assert_eq!(talk.encode(), bytes);
            }
        }
    }
}
