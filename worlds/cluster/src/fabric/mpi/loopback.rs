//! The contract of `transport` between threads of one process, for tests: messages in order within
//! a pair and lane, receives matched in the order they were posted, cancelled when nothing matched
//! them, as MPI does. It can swallow what a rank sends, and slip in messages that nobody sent.

use super::transport::{Done, Lane, OperationId, Transport, TransportError};
use crate::lock::lock;
use bytes::Bytes;
use dunlin_disk::Buffer;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

struct Mailed {
    lane: Lane,
    from: u32,
    tag: u16,
    data: Bytes,
}

/// Where messages wait for the ranks they are for.
#[derive(Clone)]
pub(crate) struct Hub(Arc<Mutex<Mail>>);

struct Mail {
    boxes: Vec<VecDeque<Mailed>>,
    /// Ranks of which nothing arrives any more, as if their processes had ended.
    silenced: Vec<u32>,
    /// Ranks whose library fails.
    broken: Vec<u32>,
    /// Ranks that have ended MPI as everyone does.
    finalized: Vec<u32>,
}

struct Receive {
    id: OperationId,
    lane: Lane,
    from: Option<u32>,
    tag: u16,
    buffer: Buffer,
}

/// One rank's end.
pub(crate) struct Loopback {
    hub: Hub,
    rank: u32,
    size: u32,
    next: u64,
    posted: Vec<Receive>,
    done: Vec<Done>,
}

impl Hub {
    /// A hub of `size` ranks, and each rank's end.
    pub(crate) fn of(size: u32) -> (Hub, Vec<Loopback>) {
        let boxes = (0..size).map(|_| VecDeque::new()).collect();
        let (silenced, broken, finalized) = Default::default();
        let hub = Hub(Arc::new(Mutex::new(Mail { boxes, silenced, broken, finalized })));
        let end = |rank| Loopback {
            hub: hub.clone(),
            rank,
            size,
            next: 0,
            posted: Vec::new(),
            done: Vec::new(),
        };
        let ends = (0..size).map(end).collect();
        (hub, ends)
    }

    fn mail(&self) -> MutexGuard<'_, Mail> {
        lock(&self.0)
    }

    /// The ranks that have ended MPI as everyone does, the lowest first.
    pub(crate) fn finalized(&self) -> Vec<u32> {
        let mut ranks = self.mail().finalized.clone();
        ranks.sort_unstable();
        ranks
    }

    /// From now on nothing arrives of this rank, and nothing at it.
    pub(crate) fn silence(&self, rank: u32) {
        self.mail().silenced.push(rank);
    }

    /// The library of this rank fails at its next call.
    pub(crate) fn break_down(&self, rank: u32) {
        self.mail().broken.push(rank);
    }

    /// Puts a message on the way as if `from` had sent it.
    pub(crate) fn slip(&self, lane: Lane, from: u32, to: u32, tag: u16, data: Bytes) {
        self.mail().boxes[to as usize].push_back(Mailed { lane, from, tag, data });
    }
}

impl Loopback {
    /// Ends MPI at this rank.
    pub(crate) fn finalize(self) {
        self.hub.mail().finalized.push(self.rank);
    }

    fn id(&mut self) -> OperationId {
        self.next += 1;
        OperationId(self.next)
    }
}

impl Transport for Loopback {
    fn rank(&self) -> u32 {
        self.rank
    }

    fn size(&self) -> u32 {
        self.size
    }

    fn send(
        &mut self,
        lane: Lane,
        to: u32,
        tag: u16,
        data: Bytes,
    ) -> Result<OperationId, TransportError> {
        let id = self.id();
        let mut mail = self.hub.mail();
        if !mail.silenced.contains(&self.rank) && !mail.silenced.contains(&to) {
            mail.boxes[to as usize].push_back(Mailed { lane, from: self.rank, tag, data });
        }
        drop(mail);
        self.done.push(Done::Sent { id });
        Ok(id)
    }

    fn receive(
        &mut self,
        lane: Lane,
        from: Option<u32>,
        tag: u16,
        buffer: Buffer,
    ) -> Result<OperationId, TransportError> {
        let id = self.id();
        self.posted.push(Receive { id, lane, from, tag, buffer });
        Ok(id)
    }

    fn cancel(&mut self, id: OperationId) {
        if let Some(at) = self.posted.iter().position(|posted| posted.id == id) {
            self.posted.remove(at);
            self.done.push(Done::Cancelled { id });
        }
    }

    fn poll(&mut self, done: &mut Vec<Done>) -> Result<(), TransportError> {
        let mut mail = self.hub.mail();
        if mail.broken.contains(&self.rank) {
            let text = "the network card has melted".to_owned();
            return Err(TransportError { call: "poll", code: 16, text });
        }
        let waiting = std::mem::take(&mut mail.boxes[self.rank as usize]);
        for message in waiting {
            let matches = |posted: &Receive| {
                posted.lane == message.lane
                    && posted.tag == message.tag
                    && posted.from.is_none_or(|from| from == message.from)
            };
            let Some(at) = self.posted.iter().position(matches) else {
                mail.boxes[self.rank as usize].push_back(message);
                continue;
            };
            let Receive { id, mut buffer, .. } = self.posted.remove(at);
            let len = message.data.len();
            self.done.push(match buffer.bytes_mut().get_mut(..len) {
                Some(place) => {
                    place.copy_from_slice(&message.data);
                    Done::Received { id, from: message.from, buffer, len }
                }
                None => Done::Failed {
                    id,
                    error: TransportError {
                        call: "receive",
                        code: 15,
                        text: format!("a message of {len} bytes is too long"),
                    },
                },
            });
        }
        done.append(&mut self.done);
        Ok(())
    }

    fn open(&self) -> usize {
        self.posted.len()
    }
}
