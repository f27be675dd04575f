//! The two tasks of a link: one takes what waits for the rank and hands it to the system, the other
//! decodes what comes and passes it on. Payload is copied once on its way out, by the sealing, and
//! not at all on its way in.
//!
//! | frame | | body |
//! |---|---|---|
//! | 1 | per link | stamp (u64), bytes of packets that are lost with the link |
//! | 2 | resumable | stamp (u64), bytes of packets that outlive the link |
//! | 3 | block | stamp (u64), torrent, piece, begin, length of the request, length of the data (u32 each) |
//! | 4 | data | the next bytes of the block |
//! | 5 | pulse | bytes of the resumable stream that have come (u64) |
//! | 6 | message | a message of the carrier |

use super::link_protocol::LinkMessage;
use super::link_table::LinkTable;
use super::queue::{BATCH, Outgoing};
use super::rank_links::RankLinks;
use crate::fabric::process::carrier::CarrierEvent;
use crate::fabric::process::message::ProcessMessage;
use crate::fabric::process::packet::{MAX_BLOCK, Packet, PacketDecoder, PacketError};
use crate::frame::{Frame, Payload};
use bytes::Bytes;
use dunlin_base::{BlockRef, PieceIndex, Rank, TorrentId};
use dunlin_disk::Buffer;
use dunlin_links::{LinkError, LinkReceiver, LinkSender};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

/// Every rank sends a pulse this often.
const PULSE: Duration = Duration::from_secs(1);
/// Bytes of a block in one frame: they still lie in the processor's cache when they are handed to
/// the system, and small things that come up need not wait for the whole block.
const PART: usize = 128 * 1024;

mod kind {
    pub(super) const PER_LINK: u8 = 1;
    pub(super) const RESUMABLE: u8 = 2;
    pub(super) const BLOCK: u8 = 3;
    pub(super) const DATA: u8 = 4;
    pub(super) const PULSE: u8 = 5;
    pub(super) const MESSAGE: u8 = 6;
}

/// Why a link is over.
#[derive(Debug, thiserror::Error)]
enum LinkEnd {
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error(transparent)]
    Packet(#[from] PacketError),
    #[error("{0}; run the same build at every rank")]
    Violation(&'static str),
    /// The table has ended it.
    #[error("ended")]
    Ended,
}

/// Hands what waits to the system, until the link is over.
pub(super) async fn send(
    table: Arc<LinkTable>,
    links: Arc<RankLinks>,
    id: u64,
    wake: Arc<Notify>,
    mut sender: LinkSender,
) {
    let why = match sending(&table, &links, id, &wake, &mut sender).await {
        Ok(()) => return,
        Err(why) => why,
    };
    table.broke(&links, id, &why);
}

async fn sending(
    table: &LinkTable,
    links: &RankLinks,
    id: u64,
    wake: &Notify,
    sender: &mut LinkSender,
) -> Result<(), LinkError> {
    let mut pulse = Instant::now();
    loop {
        // Whatever else goes: it also acknowledges what has come of the resumable stream.
        if Instant::now() >= pulse && !table.is_quiet() {
            let received = links.resumable_in().received;
            sender.seal(kind::PULSE, &[&received.to_be_bytes()])?;
            sender.flush().await?;
            pulse = Instant::now() + PULSE;
        }
        let Ok(next) = links.next(id, false) else { return Ok(()) };
        match next {
            Some(Outgoing::Block(block)) => {
                let numbers = [block.torrent.0, block.range.piece.0, block.range.begin];
                let lengths = [block.range.len, block.payload.data.len() as u32];
                let head = numbers.into_iter().chain(lengths).flat_map(u32::to_be_bytes).collect();
                let data = block.payload.data.clone();
                let done = hand_over(table, links, id, sender, head, data).await;
                block.end(done.is_ok());
                done?;
            }
            Some(small) => {
                seal(table, sender, small)?;
                sender.flush().await?;
            }
            None => {
                // Nothing is left: new output notifies this task.
                let until = if table.is_quiet() { Instant::now() + PULSE } else { pulse };
                let _ = timeout_at(until, wake.notified()).await;
            }
        }
    }
}

/// Sends a block, and between its parts what must not wait for it.
async fn hand_over(
    table: &LinkTable,
    links: &RankLinks,
    id: u64,
    sender: &mut LinkSender,
    head: Vec<u8>,
    data: Bytes,
) -> Result<(), LinkError> {
    sender.seal(kind::BLOCK, &[&table.clock.now().to_be_bytes(), &head])?;
    for part in data.chunks(PART) {
        sender.seal(kind::DATA, &[part])?;
        sender.flush().await?;
        while let Ok(Some(small)) = links.next(id, true) {
            seal(table, sender, small)?;
        }
    }
    sender.flush().await
}

/// Seals what is no block.
fn seal(table: &LinkTable, sender: &mut LinkSender, next: Outgoing) -> Result<(), LinkError> {
    let stamp = table.clock.now().to_be_bytes();
    match next {
        Outgoing::Message(bytes) => sender.seal(kind::MESSAGE, &[&bytes])?,
        Outgoing::PerLink(bytes) => {
            for part in bytes.chunks(BATCH) {
                sender.seal(kind::PER_LINK, &[&stamp, part])?;
            }
        }
        Outgoing::Resumable(parts) => {
            let parts: Vec<&[u8]> =
                std::iter::once(&stamp[..]).chain(parts.iter().map(AsRef::as_ref)).collect();
            sender.seal(kind::RESUMABLE, &parts)?;
        }
        Outgoing::Block(block) => block.end(false),
    }
    Ok(())
}

/// Takes what comes, until the link is over.
pub(super) async fn receive(
    table: Arc<LinkTable>,
    links: Arc<RankLinks>,
    id: u64,
    mut receiver: LinkReceiver,
) {
    let mut reader = LinkReader {
        table: &table,
        links: &links,
        id,
        decoder: PacketDecoder::new(),
        packets: Vec::new(),
        block: None,
    };
    let why = loop {
        if let Err(why) = reader.next(&mut receiver).await {
            break why;
        }
    };
    drop(reader);
    match why {
        LinkEnd::Packet(_) | LinkEnd::Violation(_) => table.violated(&links, why.to_string()),
        LinkEnd::Link(error) => table.broke(&links, id, &error),
        LinkEnd::Ended => table.broke(&links, id, &LinkError::Closed),
    }
}

/// A block on its way in.
struct IncomingBlock {
    torrent: TorrentId,
    range: BlockRef,
    buffer: Buffer,
    done: usize,
}

struct LinkReader<'a> {
    table: &'a Arc<LinkTable>,
    links: &'a Arc<RankLinks>,
    id: u64,
    decoder: PacketDecoder,
    packets: Vec<Packet>,
    block: Option<IncomingBlock>,
}

impl LinkReader<'_> {
    /// Takes one frame.
    async fn next(&mut self, receiver: &mut LinkReceiver) -> Result<(), LinkEnd> {
        let head = receiver.head().await?;
        if head.kind == kind::DATA {
            let coming = self.block.as_mut().ok_or(LinkEnd::Violation("data without a block"))?;
            let end = coming.done + head.length;
            let place = coming.buffer.bytes_mut().get_mut(coming.done..end);
            let place = place.ok_or(LinkEnd::Violation("more data than the block has"))?;
            receiver.body(head, place).await?;
            coming.done = end;
            return self.landed();
        }
        let mut body = vec![0; head.length];
        receiver.body(head, &mut body).await?;
        match head.kind {
            kind::PER_LINK => self.per_link(&body),
            kind::RESUMABLE => self.resumable(&body),
            kind::BLOCK => self.begin(&body),
            kind::PULSE => self.pulse(&body),
            kind::MESSAGE => self.message(&body),
            _ => Err(LinkEnd::Violation("a frame of an unknown kind")),
        }
    }

    /// Takes the stamp in front in, before what came behind it is handled: else a trace line could
    /// seem older than its cause.
    fn stamp<'b>(&self, body: &'b [u8]) -> Result<&'b [u8], LinkEnd> {
        let (stamp, rest) = body.split_first_chunk().ok_or(LinkEnd::Violation("no stamp"))?;
        self.table.clock.observe(u64::from_be_bytes(*stamp));
        Ok(rest)
    }

    fn per_link(&mut self, body: &[u8]) -> Result<(), LinkEnd> {
        let bytes = self.stamp(body)?;
        self.decoder.push(bytes);
        while let Some(packet) = self.decoder.next()? {
            self.packet(packet)?;
        }
        Ok(())
    }

    fn resumable(&mut self, body: &[u8]) -> Result<(), LinkEnd> {
        if !self.table.leads() && self.links.rank != Rank::TRACKER {
            return Err(LinkEnd::Violation("a resumable stream between peers"));
        }
        let bytes = self.stamp(body)?;
        self.links.state().progressed();
        let mut stream = self.links.resumable_in();
        if stream.link != self.id {
            return Err(LinkEnd::Ended);
        }
        stream.received += bytes.len() as u64;
        stream.decoder.push(bytes);
        while let Some(packet) = stream.decoder.next()? {
            self.packets.push(packet);
        }
        let packets = std::mem::take(&mut self.packets);
        let is_resumable = |packet: &Packet| match packet {
            Packet::Frame(frame) => matches!(frame, Frame::Control(_)),
            Packet::Process(message) => *message != ProcessMessage::Pulse,
            Packet::Ask { .. } | Packet::Void { .. } => false,
        };
        if !packets.iter().all(is_resumable) {
            return Err(LinkEnd::Violation(
                "a packet that is lost with its link, in the resumable stream",
            ));
        }
        // Under the lock: a newer link must not overtake this one.
        packets.into_iter().try_for_each(|packet| self.packet(packet))
    }

    fn packet(&self, packet: Packet) -> Result<(), LinkEnd> {
        let (table, from) = (self.table, self.links.rank);
        let mut frame = match packet {
            Packet::Frame(frame) => frame,
            Packet::Process(ProcessMessage::Pulse) => return Ok(()),
            Packet::Process(message) => {
                table.report(from, CarrierEvent::Message(message));
                return Ok(());
            }
            Packet::Ask { .. } | Packet::Void { .. } => {
                return Err(LinkEnd::Violation("a packet of the lanes of MPI"));
            }
        };
        match &mut frame {
            Frame::Handshake { torrent, .. } => table.set_connected(self.links, *torrent, true),
            Frame::HangUp { torrent } => table.set_connected(self.links, *torrent, false),
            Frame::Piece { payload, .. } => {
                self.links.state().progressed();
                let bytes = payload.data.len() as u64;
                payload.charge = table.budget().map(|budget| budget.charge_unbounded(bytes));
            }
            Frame::Control(_) | Frame::Wire { .. } => {}
        }
        table.deliver(from, frame);
        Ok(())
    }

    fn begin(&mut self, body: &[u8]) -> Result<(), LinkEnd> {
        let rest = self.stamp(body)?;
        let mut numbers = [0_u32; 5];
        let (chunks, left) = rest.as_chunks();
        if chunks.len() != numbers.len() || !left.is_empty() {
            return Err(LinkEnd::Violation("the head of a block is of another length"));
        }
        for (number, chunk) in numbers.iter_mut().zip(chunks) {
            *number = u32::from_be_bytes(*chunk);
        }
        let [torrent, piece, begin, length, data] = numbers;
        if self.block.is_some() || !(1..=MAX_BLOCK).contains(&data) {
            return Err(LinkEnd::Violation("a block inside another one, or of no length"));
        }
        let buffer = self.table.buffer(data as usize);
        let range = BlockRef { piece: PieceIndex(piece), begin, len: length };
        self.block = Some(IncomingBlock { torrent: TorrentId(torrent), range, buffer, done: 0 });
        Ok(())
    }

    /// Passes the block on if all of it is here.
    fn landed(&mut self) -> Result<(), LinkEnd> {
        let whole = |coming: &IncomingBlock| coming.done == coming.buffer.as_ref().len();
        if let Some(coming) = self.block.take_if(|coming| whole(coming)) {
            self.links.state().progressed();
            let IncomingBlock { torrent, range, buffer, .. } = coming;
            let data: Bytes = buffer.freeze();
            // A requested block has its memory reserved.
            let payload = Payload { data, charge: None };
            self.table.deliver(self.links.rank, Frame::Piece { torrent, range, payload });
        }
        Ok(())
    }

    fn pulse(&mut self, body: &[u8]) -> Result<(), LinkEnd> {
        let received =
            body.try_into().map_err(|_| LinkEnd::Violation("a pulse of another length"))?;
        self.links.state().queue.resumable.acknowledged(u64::from_be_bytes(received));
        let pulse = CarrierEvent::Message(ProcessMessage::Pulse);
        self.table.report(self.links.rank, pulse);
        Ok(())
    }

    fn message(&mut self, body: &[u8]) -> Result<(), LinkEnd> {
        let message =
            LinkMessage::decode(body).ok_or(LinkEnd::Violation("no message of a carrier"))?;
        let mut state = self.links.state();
        let Some(link) = state.open.iter_mut().find(|link| link.id == self.id) else {
            return Err(LinkEnd::Ended);
        };
        match message {
            LinkMessage::ListensAt { port, ip } => {
                let ip = ip.unwrap_or(link.there);
                state.address = Some((state.life, SocketAddr::new(ip, port)));
            }
            LinkMessage::Resume { received } => {
                link.resumed = true;
                if !state.queue.resumable.resume(received) {
                    return Err(LinkEnd::Violation("another resumable stream"));
                }
                state.wake();
            }
            LinkMessage::Where { rank } => {
                let (here, there) = (link.here, link.there);
                drop(state);
                self.answer_where(rank, here, there);
            }
            LinkMessage::At { rank, life, address } => {
                drop(state);
                let other = self.table.of(rank);
                let mut other = other.state();
                other.address = Some((life, address));
                other.address_waiter.take().into_iter().for_each(|waiter| _ = waiter.send(()));
            }
            LinkMessage::Nowhere { rank } => {
                drop(state);
                let other = self.table.of(rank);
                let mut other = other.state();
                other.address = None;
                other.address_waiter.take().into_iter().for_each(|waiter| _ = waiter.send(()));
            }
        }
        Ok(())
    }

    /// Answers where a rank is, as the asker can reach it: a rank that is linked to us over the
    /// loop-back is on our host, and others find it under the address that they find us under.
    fn answer_where(&self, rank: Rank, here: IpAddr, there: IpAddr) {
        let other = self.table.of(rank);
        let state = other.state();
        let known = state.address.filter(|(life, _)| state.dead != Some(*life));
        drop(state);
        let answer = match known {
            Some((life, mut address)) => {
                if address.ip().is_loopback() && !there.is_loopback() {
                    address.set_ip(here);
                }
                LinkMessage::At { rank, life, address }
            }
            None => LinkMessage::Nowhere { rank },
        };
        self.table.send_link_message(self.links, &answer);
    }
}
