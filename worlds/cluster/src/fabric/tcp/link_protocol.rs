//! What carriers send each other beside what they carry: where ranks are, and how much of the
//! resumable stream has come. One message, one frame.
//!
//! | tag | | body, numbers big-endian |
//! |---|---|---|
//! | 1 | here | port (u16), address or none: where the sender listens |
//! | 2 | where | rank (u32) |
//! | 3 | at | rank (u32), life (u64), port (u16), address |
//! | 4 | nowhere | rank (u32) |
//! | 5 | resume | bytes of the resumable stream that have come (u64) |
//!
//! An address is 0 (none: the address that the link comes from), 4 and 4 bytes, or 6 and 16 bytes.

use dunlin_base::Rank;
use std::net::{IpAddr, SocketAddr};

/// One message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LinkMessage {
    /// The sender listens at this port, at the address that its link comes from unless it names
    /// another.
    ListensAt {
        /// The port.
        port: u16,
        /// The address, if it was chosen by a person.
        ip: Option<IpAddr>,
    },
    /// The receiver is to answer where this rank is.
    Where {
        /// The rank.
        rank: Rank,
    },
    /// The rank is there.
    At {
        /// The rank.
        rank: Rank,
        /// The number of its process.
        life: u64,
        /// Where it listens.
        address: SocketAddr,
    },
    /// The sender does not know where the rank is.
    Nowhere {
        /// The rank.
        rank: Rank,
    },
    /// So many bytes of the receiver's resumable stream have come: it goes on behind them.
    Resume {
        /// How many.
        received: u64,
    },
}

impl LinkMessage {
    /// The message as bytes.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(32);
        match self {
            LinkMessage::ListensAt { port, ip } => {
                out.push(1);
                out.extend_from_slice(&port.to_be_bytes());
                put_address(*ip, &mut out);
            }
            LinkMessage::Where { rank } => {
                out.push(2);
                out.extend_from_slice(&rank.0.to_be_bytes());
            }
            LinkMessage::At { rank, life, address } => {
                out.push(3);
                out.extend_from_slice(&rank.0.to_be_bytes());
                out.extend_from_slice(&life.to_be_bytes());
                out.extend_from_slice(&address.port().to_be_bytes());
                put_address(Some(address.ip()), &mut out);
            }
            LinkMessage::Nowhere { rank } => {
                out.push(4);
                out.extend_from_slice(&rank.0.to_be_bytes());
            }
            LinkMessage::Resume { received } => {
                out.push(5);
                out.extend_from_slice(&received.to_be_bytes());
            }
        }
        out
    }

    /// Reads a message; `None` for bytes that are no message. Every message has one encoding.
    pub(crate) fn decode(bytes: &[u8]) -> Option<LinkMessage> {
        let (tag, mut rest) = bytes.split_first()?;
        let message = match tag {
            1 => LinkMessage::ListensAt {
                port: u16::from_be_bytes(take(&mut rest)?),
                ip: take_address(&mut rest)?,
            },
            2 => LinkMessage::Where { rank: take_rank(&mut rest)? },
            3 => {
                let rank = take_rank(&mut rest)?;
                let life = u64::from_be_bytes(take(&mut rest)?);
                let port = u16::from_be_bytes(take(&mut rest)?);
                let address = SocketAddr::new(take_address(&mut rest)??, port);
                LinkMessage::At { rank, life, address }
            }
            4 => LinkMessage::Nowhere { rank: take_rank(&mut rest)? },
            5 => LinkMessage::Resume { received: u64::from_be_bytes(take(&mut rest)?) },
            _ => return None,
        };
        rest.is_empty().then_some(message)
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
        for message in [
            LinkMessage::ListensAt { port: 4711, ip: None },
            LinkMessage::ListensAt { port: 1, ip: Some([10, 0, 0, 7].into()) },
            LinkMessage::Where { rank },
            LinkMessage::At { rank, life: u64::MAX, address: "10.1.2.3:99".parse().unwrap() },
            LinkMessage::At { rank, life: 7, address: "[2001:db8::1]:99".parse().unwrap() },
            LinkMessage::Nowhere { rank },
            LinkMessage::Resume { received: 1 << 40 },
        ] {
            let bytes = message.encode();
            assert_eq!(LinkMessage::decode(&bytes), Some(message));
            assert_eq!(LinkMessage::decode(&bytes[..bytes.len() - 1]), None);
            assert_eq!(LinkMessage::decode(&[&bytes[..], &[0]].concat()), None);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_have_one_meaning_or_none(bytes in proptest::collection::vec(0..8_u8, 0..30)) {
            if let Some(message) = LinkMessage::decode(&bytes) {
                prop_assert_eq!(message.encode(), bytes);
            }
        }
    }
}
