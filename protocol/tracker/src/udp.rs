//! Announces and scrapes over UDP (BEP 15, BEP 41): every packet, both ways, and connection ids
//! that need no memory. Packets may be longer than they have to be, never shorter. It sends
//! nothing.

mod ids;
mod reply;
mod request;

pub use ids::ConnectionIds;
pub use reply::{
    ANNOUNCE_HEAD, UdpReply, announce_reply, connect_reply, error_reply, parse_reply, scrape_reply,
};
pub use request::{
    MAX_PEERS_V4, MAX_PEERS_V6, UdpRequest, announce_request, connect_request, parse_request,
    scrape_request, url_data,
};

/// What a connect request begins with.
const PROTOCOL: u64 = 0x0000_0417_2710_1980;

/// What a packet is.
mod action {
    pub(super) const CONNECT: u32 = 0;
    pub(super) const ANNOUNCE: u32 = 1;
    pub(super) const SCRAPE: u32 = 2;
    pub(super) const ERROR: u32 = 3;
}

/// The `N` bytes at an offset.
fn array<const N: usize>(packet: &[u8], at: usize) -> Option<[u8; N]> {
    packet.get(at..)?.first_chunk::<N>().copied()
}

fn u32_at(packet: &[u8], at: usize) -> Option<u32> {
    array(packet, at).map(u32::from_be_bytes)
}

fn u64_at(packet: &[u8], at: usize) -> Option<u64> {
    array(packet, at).map(u64::from_be_bytes)
}

#[cfg(test)]
mod tests;
