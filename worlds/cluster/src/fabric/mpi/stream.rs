//! A reliable byte stream between two ranks, over messages that are small enough to travel eagerly:
//! numbered fragments, put in order again at the other end, and credits, so that no rank sends more
//! than the other end has room for. It sends and receives nothing itself, knows no clock (stamps
//! are the caller's numbers), and never looks at what the bytes mean.
//!
//! ```text
//!  0      2         4          8              16                  at most 4096
//!  ├──────┼─────────┼──────────┼───────────────┼──────────────────┤
//!  │ kind │ credits │ sequence │ stamp         │ bytes …          │   numbers big-endian
//!  └──────┴─────────┴──────────┴───────────────┴──────────────────┘
//!  kind 1: data, one byte at least; counted by `sequence`, which wraps; takes one credit
//!  kind 2: credits and a stamp only; `sequence` is 0; takes none, so that it can always be sent
//! ```
//!
//! Each direction begins with [`WINDOW`] credits. The receiver gives one back for each data
//! fragment whose bytes it has handed on in order, not for one that waits for an earlier one:
//!
//! ```text
//!   our `in_flight`  =  data on its way  +  their `early` and `owed`  +  credits on their way back
//! ```
//!
//! What a receiver has to keep is therefore less than a window, and a sender that is out of credits
//! always gets some: once all its data has arrived, a whole window is owed to it, and half of one
//! is reason enough for a fragment of its own.

use bytes::Bytes;
use std::collections::{BTreeMap, VecDeque};

/// The longest fragment in bytes, header included: what MPI libraries send eagerly over shared
/// memory by default, and less than over a network.
pub(crate) const FRAGMENT: usize = 4096;
/// Data fragments of one direction that the receiver has not given back. 16 hold 64 KiB: far more
/// than two ranks ever send each other between two polls of the library.
pub(crate) const WINDOW: u16 = 16;

/// Kind, credits, sequence, stamp.
const HEADER: usize = 16;
const DATA: u16 = 1;
const CREDIT: u16 = 2;

/// Why bytes are no fragment that may come now. The rank at the other end is to blame: it is
/// another program, or a broken one. Nothing later can be put in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum StreamFault {
    /// It is no fragment by its length.
    #[error(
        "malformed fragment: {found} bytes, expected {HEADER} to {FRAGMENT}; run the same build at \
         every rank"
    )]
    Length {
        /// Its length in bytes.
        found: usize,
    },
    /// Its kind means nothing here.
    #[error(
        "malformed fragment: kind {found}, expected {DATA} or {CREDIT}; run the same build at \
         every rank"
    )]
    Kind {
        /// Its kind.
        found: u16,
    },
    /// It takes a credit and carries no byte.
    #[error("malformed fragment: number {sequence} carries no byte, expected one at least")]
    Empty {
        /// Its number.
        sequence: u32,
    },
    /// It carries credits only, and something besides, or not even credits.
    #[error(
        "malformed fragment: one of credits with number {sequence}, {credits} credits and {bytes} \
         bytes, expected number 0, some credits and no byte"
    )]
    Credit {
        /// Its number.
        sequence: u32,
        /// Its credits.
        credits: u16,
        /// Bytes after its header.
        bytes: usize,
    },
    /// It gives back what was not taken.
    #[error("malformed fragment: {credits} credits come back, expected at most {in_flight}")]
    Credits {
        /// What it gives back.
        credits: u16,
        /// What could be given back.
        in_flight: u16,
    },
    /// Its number has come before.
    #[error(
        "malformed fragment: number {sequence} comes again, expected {expected} or a later one"
    )]
    Again {
        /// Its number.
        sequence: u32,
        /// The lowest number that is missing.
        expected: u32,
    },
    /// The sender had no credit for it.
    #[error(
        "malformed fragment: number {sequence} was sent without a credit, expected less than {limit}"
    )]
    Outside {
        /// Its number.
        sequence: u32,
        /// The first number that no credit was given for.
        limit: u32,
    },
}

/// Both directions between this rank and one other.
#[derive(Debug, Default)]
pub(crate) struct FragmentStream {
    /// What waits, cut already, each with room for its header; only the last may grow.
    waiting: VecDeque<Vec<u8>>,
    /// Bytes in `waiting`, headers apart.
    queued: usize,
    /// The number of the next data fragment to send.
    sequence: u32,
    /// Data fragments that were sent and not given back.
    in_flight: u16,
    /// The lowest number that has not come.
    expected: u32,
    /// Credits to give back.
    owed: u16,
    /// The bytes of fragments that came before an earlier one.
    early: BTreeMap<u32, Vec<u8>>,
    fault: Option<StreamFault>,
}

impl FragmentStream {
    /// A stream over which nothing has gone yet.
    pub(crate) fn new() -> FragmentStream {
        FragmentStream::default()
    }

    /// Puts `bytes` behind what waits. A dead stream forgets them.
    pub(crate) fn push(&mut self, mut bytes: &[u8]) {
        if self.fault.is_some() {
            return;
        }
        self.queued += bytes.len();
        while !bytes.is_empty() {
            if self.waiting.back().is_none_or(|last| last.len() >= FRAGMENT) {
                let mut fragment = Vec::with_capacity(FRAGMENT.min(HEADER + bytes.len()));
                fragment.resize(HEADER, 0);
                self.waiting.push_back(fragment);
            }
            let Some(last) = self.waiting.back_mut() else { return };
            let (now, later) = bytes.split_at(bytes.len().min(FRAGMENT - last.len()));
            last.extend_from_slice(now);
            bytes = later;
        }
    }

    /// Drops what waits. What comes later would follow a part of it: only for a stream that is
    /// over.
    pub(crate) fn clear(&mut self) {
        self.waiting.clear();
        self.queued = 0;
    }

    /// The next fragment to send now, marked with `stamp`: as many waiting bytes as it holds, or
    /// credits alone if half a window is owed and no data may go. `None` when there is nothing to
    /// send, when the receiver has no room, or when the stream is dead. Every fragment that is
    /// given out must be sent, in any order.
    pub(crate) fn next(&mut self, stamp: u64) -> Option<Bytes> {
        if self.fault.is_some() {
            return None;
        }
        let data = if self.in_flight < WINDOW { self.waiting.pop_front() } else { None };
        let (kind, sequence, mut fragment) = match data {
            Some(fragment) => {
                let sequence = self.sequence;
                self.sequence = sequence.wrapping_add(1);
                self.in_flight += 1;
                self.queued -= fragment.len() - HEADER;
                (DATA, sequence, fragment)
            }
            None if self.owed >= WINDOW / 2 => (CREDIT, 0, vec![0; HEADER]),
            None => return None,
        };
        let header = Header { kind, credits: std::mem::take(&mut self.owed), sequence, stamp };
        if let Some(head) = fragment.first_chunk_mut() {
            *head = header.encode();
        }
        Some(Bytes::from(fragment))
    }

    /// Takes a fragment that came from the other rank, and hands `take` all bytes that are in order
    /// now, none or in several parts. Returns the sender's stamp.
    ///
    /// # Errors
    /// [`StreamFault`] if it cannot come from a stream like this one. The stream is dead from then
    /// on: it holds nothing, sends nothing, and every later call gives the same error.
    pub(crate) fn accept(
        &mut self,
        fragment: &[u8],
        take: impl FnMut(&[u8]),
    ) -> Result<u64, StreamFault> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        let admitted = self.admit(fragment, take);
        if let Err(fault) = admitted {
            *self = FragmentStream { fault: Some(fault), ..FragmentStream::default() };
        }
        admitted
    }

    fn admit(&mut self, fragment: &[u8], mut take: impl FnMut(&[u8])) -> Result<u64, StreamFault> {
        let (header, bytes) = Header::split(fragment)?;
        let Header { kind, credits, sequence, stamp } = header;
        let in_flight = self.in_flight;
        self.in_flight =
            in_flight.checked_sub(credits).ok_or(StreamFault::Credits { credits, in_flight })?;
        if kind == CREDIT {
            return Ok(stamp);
        }
        self.check_sequence(sequence)?;
        if sequence != self.expected {
            self.early.insert(sequence, bytes.to_vec());
            return Ok(stamp);
        }
        take(bytes);
        self.handed_on();
        while let Some(bytes) = self.early.remove(&self.expected) {
            take(&bytes);
            self.handed_on();
        }
        Ok(stamp)
    }

    fn handed_on(&mut self) {
        self.expected = self.expected.wrapping_add(1);
        self.owed += 1;
    }

    /// Whether a data fragment of this number may come. The sender has credits up to a window
    /// after what was given back to it; what is merely owed it cannot have used.
    fn check_sequence(&self, sequence: u32) -> Result<(), StreamFault> {
        let expected = self.expected;
        let ahead = sequence.wrapping_sub(expected);
        let room = u32::from(WINDOW - self.owed);
        // Half of all numbers lie ahead, the other half behind: numbers wrap.
        if ahead > u32::MAX / 2 || self.early.contains_key(&sequence) {
            Err(StreamFault::Again { sequence, expected })
        } else if ahead >= room {
            Err(StreamFault::Outside { sequence, limit: expected.wrapping_add(room) })
        } else {
            Ok(())
        }
    }

    /// Bytes that were pushed and are in no fragment yet.
    pub(crate) fn queued(&self) -> usize {
        self.queued
    }

    /// Asserts what always holds. Tests call it after every step.
    ///
    /// # Panics
    /// If something does not hold.
    pub(crate) fn check(&self) {
        let room = usize::from(WINDOW - self.owed);
        assert!(self.in_flight <= WINDOW, "{} in flight", self.in_flight);
        assert!(self.early.len() < room.max(1), "{} early, {} owed", self.early.len(), self.owed);
        for (sequence, bytes) in &self.early {
            let ahead = sequence.wrapping_sub(self.expected) as usize;
            assert!((1..room).contains(&ahead), "{sequence} waits for {}", self.expected);
            assert!((1..=FRAGMENT - HEADER).contains(&bytes.len()));
        }
        let waiting = self.waiting.iter().map(|fragment| fragment.len() - HEADER);
        assert_eq!(waiting.sum::<usize>(), self.queued);
        let full = |fragment: &Vec<u8>| fragment.len() == FRAGMENT;
        assert!(self.waiting.iter().rev().skip(1).all(full), "only the last may grow");
        if self.fault.is_some() {
            assert!(
                self.waiting.is_empty() && self.early.is_empty(),
                "a dead stream holds nothing"
            );
        }
    }
}

struct Header {
    kind: u16,
    credits: u16,
    sequence: u32,
    stamp: u64,
}

impl Header {
    fn encode(&self) -> [u8; HEADER] {
        let all = u128::from(self.kind) << 112
            | u128::from(self.credits) << 96
            | u128::from(self.sequence) << 64
            | u128::from(self.stamp);
        all.to_be_bytes()
    }

    /// The header and the bytes of a fragment, which is right by itself.
    fn split(fragment: &[u8]) -> Result<(Header, &[u8]), StreamFault> {
        let length = StreamFault::Length { found: fragment.len() };
        let (head, bytes) = fragment.split_first_chunk().ok_or(length)?;
        if fragment.len() > FRAGMENT {
            return Err(length);
        }
        let all = u128::from_be_bytes(*head);
        let header = Header {
            kind: (all >> 112) as u16,
            credits: (all >> 96) as u16,
            sequence: (all >> 64) as u32,
            stamp: all as u64,
        };
        let Header { kind, credits, sequence, .. } = header;
        match kind {
            DATA if bytes.is_empty() => Err(StreamFault::Empty { sequence }),
            DATA => Ok((header, bytes)),
            CREDIT if bytes.is_empty() && sequence == 0 && credits > 0 => Ok((header, bytes)),
            CREDIT => Err(StreamFault::Credit { sequence, credits, bytes: bytes.len() }),
            found => Err(StreamFault::Kind { found }),
        }
    }
}

#[cfg(test)]
mod tests;
