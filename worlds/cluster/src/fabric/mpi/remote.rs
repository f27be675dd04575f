//! What the MPI thread keeps of one other rank: the stream, the receives that are posted to it, the
//! requests that it has made of us, and the blocks that wait to be sent to it.

use super::stream::FragmentStream;
use super::tags::Tags;
use super::transport::OperationId;
use super::window::Window;
use crate::fabric::process::carrier::SentNotice;
use crate::fabric::process::packet::{Packet, PacketDecoder, encode};
use bytes::Bytes;
use dunlin_base::{BlockRef, TorrentId};
use dunlin_disk::{Budget, Charge};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

/// Requests that one rank may have open with us; a rank of this build has fewer.
const MAX_ASKED: usize = 65_536;

/// A receive that waits for a block.
#[derive(Debug)]
pub(super) struct Posted {
    pub(super) id: OperationId,
    pub(super) torrent: TorrentId,
    pub(super) range: BlockRef,
    pub(super) since: Instant,
    /// The memory, once it is overdue.
    pub(super) charge: Option<Charge>,
}

/// A block that waits to be sent.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) tag: u16,
    pub(super) torrent: TorrentId,
    pub(super) data: Bytes,
    pub(super) charge: Option<Charge>,
    /// Called when it is sent, or never will be.
    pub(super) notice: SentNotice,
}

/// A request as both sides name it: torrent, piece, begin, length.
type Key = (TorrentId, u32, u32, u32);

fn key(torrent: TorrentId, range: BlockRef) -> Key {
    (torrent, range.piece.0, range.begin, range.len)
}

/// One other rank.
#[derive(Debug, Default)]
pub(super) struct RemoteRank {
    pub(super) stream: FragmentStream,
    decoder: PacketDecoder,
    scratch: Vec<u8>,
    pub(super) tags: Tags,
    posted: BTreeMap<u16, Posted>,
    /// What it asked of us, with the tags it chose; tag 0 wants the answer in the stream.
    asked: BTreeMap<Key, VecDeque<u16>>,
    asked_count: usize,
    pub(super) blocks: VecDeque<Answer>,
    /// Blocks that the library is sending.
    pub(super) window: Window,
    /// The stream or the queue may have something to send.
    pub(super) dirty: bool,
    /// It is dead, or what it sends makes no sense.
    pub(super) gone: bool,
}

impl RemoteRank {
    /// Queues a packet.
    pub(super) fn queue(&mut self, packet: &Packet) {
        self.scratch.clear();
        encode(packet, &mut self.scratch);
        self.stream.push(&self.scratch);
    }

    /// Takes a fragment; whole packets go to `packets`. Returns the stamp of the sender, or what is
    /// wrong.
    pub(super) fn receive(
        &mut self,
        bytes: &[u8],
        packets: &mut Vec<Packet>,
    ) -> Result<u64, String> {
        let decoder = &mut self.decoder;
        let stamp = self
            .stream
            .accept(bytes, |bytes| decoder.push(bytes))
            .map_err(|fault| fault.to_string())?;
        loop {
            match self.decoder.next() {
                Ok(Some(packet)) => packets.push(packet),
                Ok(None) => break,
                Err(error) => return Err(error.to_string()),
            }
        }
        if self.asked_count > MAX_ASKED {
            return Err(format!("more than {MAX_ASKED} requests are open"));
        }
        Ok(stamp)
    }

    pub(super) fn post(&mut self, tag: u16, posted: Posted) {
        self.posted.insert(tag, posted);
    }

    /// The receive under a tag has ended.
    pub(super) fn unpost(&mut self, tag: u16) -> Option<Posted> {
        let posted = self.posted.remove(&tag)?;
        self.tags.give_back(tag);
        Some(posted)
    }

    pub(super) fn id(&self, tag: u16) -> Option<OperationId> {
        self.posted.get(&tag).map(|posted| posted.id)
    }

    /// Every receive that is posted to it.
    pub(super) fn posted(&self) -> Vec<OperationId> {
        self.posted.values().map(|posted| posted.id).collect()
    }

    /// It asks for a block.
    pub(super) fn asked(&mut self, torrent: TorrentId, range: BlockRef, tag: u16) {
        self.asked.entry(key(torrent, range)).or_default().push_back(tag);
        self.asked_count += 1;
    }

    /// Its oldest request for this block is being answered: the tag.
    pub(super) fn answer(&mut self, torrent: TorrentId, range: BlockRef) -> Option<u16> {
        let key = key(torrent, range);
        let waiting = self.asked.get_mut(&key)?;
        let tag = waiting.pop_front();
        if waiting.is_empty() {
            self.asked.remove(&key);
        }
        self.asked_count -= usize::from(tag.is_some());
        tag
    }

    /// Nothing of this torrent is answered any more: the tags that must be voided.
    pub(super) fn forget(&mut self, torrent: TorrentId) -> Vec<u16> {
        let mut tags = Vec::new();
        self.asked.retain(|(other, ..), waiting| {
            let mine = *other == torrent;
            if mine {
                self.asked_count -= waiting.len();
                tags.extend(waiting.iter().copied().filter(|tag| *tag != 0));
            }
            !mine
        });
        self.blocks.retain(|answer| {
            let mine = answer.torrent == torrent;
            if mine {
                tags.push(answer.tag);
            }
            !mine
        });
        tags
    }

    /// Drops everything that waits for it.
    pub(super) fn clear(&mut self) {
        self.asked.clear();
        self.asked_count = 0;
        self.blocks.clear();
        self.stream.clear();
    }

    /// Charges receives that have waited too long.
    pub(super) fn charge_overdue(&mut self, is: impl Fn(Instant) -> bool, budget: &Arc<Budget>) {
        for posted in self.posted.values_mut().filter(|posted| posted.charge.is_none()) {
            if is(posted.since) {
                posted.charge = Some(budget.charge_unbounded(u64::from(posted.range.len)));
            }
        }
    }
}
