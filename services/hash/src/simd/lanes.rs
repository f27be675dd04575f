//! Messages in lanes: who is hashed in which one, block by block (FIPS 180-4, section 5).

use crate::job::{HashJob, ZEROS};
use bytes::Bytes;

/// What a message is hashed in steps of, in bytes (FIPS 180-4, section 5.2.1).
const BLOCK: usize = 64;

/// Where the length in bits stands in the last block: its last eight bytes.
const LENGTH_AT: usize = BLOCK - 8;

/// A hash function with a state of `W` words.
pub(super) trait Function<const W: usize> {
    /// The state before the first block (FIPS 180-4, section 5.3).
    const START: [u32; W];

    /// Hashes blocks of one message alone.
    fn compress(state: &mut [u32; W], blocks: &[[u8; BLOCK]]);
}

/// SHA-1.
pub(super) struct Sha1Function;

impl Function<5> for Sha1Function {
    const START: [u32; 5] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];

    fn compress(state: &mut [u32; 5], blocks: &[[u8; BLOCK]]) {
        sha1::block_api::compress(state, blocks);
    }
}

/// SHA-256.
pub(super) struct Sha256Function;

impl Function<8> for Sha256Function {
    const START: [u32; 8] = [
        0x6a09_e667,
        0xbb67_ae85,
        0x3c6e_f372,
        0xa54f_f53a,
        0x510e_527f,
        0x9b05_688c,
        0x1f83_d9ab,
        0x5be0_cd19,
    ];

    fn compress(state: &mut [u32; 8], blocks: &[[u8; BLOCK]]) {
        sha2::block_api::compress256(state, blocks);
    }
}

/// The states of `N` messages: word by word, each word of all lanes side by side.
pub(super) type States<const N: usize, const W: usize> = [[u32; N]; W];

/// The blocks that come next in each lane.
pub(super) type Blocks<'a, const N: usize> = [&'a [[u8; BLOCK]]; N];

/// Vector code for `N` lanes. Whoever holds one may run it: it is made only where the processor has
/// its instructions.
pub(super) trait Kernel<const N: usize, const W: usize>: Copy {
    /// Hashes as many blocks of every lane as the lane with the fewest has.
    fn compress(self, states: &mut States<N, W>, blocks: &Blocks<'_, N>);
}

/// The hashes of the messages, `OUT` bytes each, in order. Lanes are refilled as long as messages
/// wait; once fewer than `worth` are left, each is finished alone, which is faster then.
pub(super) fn side_by_side<F, K, const N: usize, const W: usize, const OUT: usize>(
    kernel: K,
    jobs: &[HashJob],
    worth: usize,
) -> Vec<[u8; OUT]>
where
    F: Function<W>,
    K: Kernel<N, W>,
{
    let mut hashes = vec![[0; OUT]; jobs.len()];
    // The longest first, so that the last ones end together.
    let mut waiting: Vec<Lane<'_>> =
        jobs.iter().enumerate().map(|(index, job)| Lane::new(index, job)).collect();
    waiting.sort_by_key(|lane| lane.bits);
    let mut states = [[0; N]; W];
    let mut lanes = [const { None::<Lane<'_>> }; N];
    loop {
        let mut active = 0;
        for (at, place) in lanes.iter_mut().enumerate() {
            while !place.as_mut().is_some_and(Lane::prepare) {
                if let Some(done) = place.take() {
                    store(&mut hashes, done.job, state(&states, at));
                }
                let Some(next) = waiting.pop() else { break };
                *place = Some(next);
                set(&mut states, at, F::START);
            }
            active += usize::from(place.is_some());
        }
        if active == 0 || active < worth {
            break;
        }
        let ready = || lanes.iter().flatten().map(Lane::blocks);
        // An empty lane reads along with another; what comes of it is not looked at.
        let least = ready().min_by_key(|blocks| blocks.len()).unwrap_or_default();
        let count = least.len();
        let blocks = lanes.each_ref().map(|lane| lane.as_ref().map_or(least, Lane::blocks));
        kernel.compress(&mut states, &blocks);
        lanes.iter_mut().flatten().for_each(|lane| lane.advance(count));
    }
    for (at, lane) in lanes.into_iter().enumerate() {
        if let Some(mut lane) = lane {
            let end = lane.finish::<F, W>(state(&states, at));
            store(&mut hashes, lane.job, end);
        }
    }
    hashes
}

fn state<const N: usize, const W: usize>(states: &States<N, W>, lane: usize) -> [u32; W] {
    states.map(|word| word.get(lane).copied().unwrap_or_default())
}

fn set<const N: usize, const W: usize>(states: &mut States<N, W>, lane: usize, to: [u32; W]) {
    for (word, to) in states.iter_mut().zip(to) {
        if let Some(word) = word.get_mut(lane) {
            *word = to;
        }
    }
}

fn store<const W: usize, const OUT: usize>(hashes: &mut [[u8; OUT]], job: usize, state: [u32; W]) {
    if let Some(hash) = hashes.get_mut(job) {
        for (bytes, word) in hash.as_chunks_mut::<4>().0.iter_mut().zip(state) {
            *bytes = word.to_be_bytes();
        }
    }
}

/// What of a message is still to come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Its bytes, then the bit that ends it.
    Bytes,
    /// Its length.
    Length,
    /// Nothing.
    Done,
}

/// One message on its way through a lane. Whole blocks are read where they lie; a block that lies
/// in several parts, and the last ones with the length, are put together in a block of our own.
struct Lane<'a> {
    job: usize,
    parts: std::slice::Iter<'a, Bytes>,
    rest: &'a [u8],
    zeros: usize,
    /// Length of the message in bits.
    bits: u64,
    stage: Stage,
    own: [[u8; BLOCK]; 1],
    /// Whether the next block is our own.
    is_own: bool,
}

impl<'a> Lane<'a> {
    fn new(index: usize, job: &'a HashJob) -> Lane<'a> {
        let bytes: usize = job.parts.iter().map(Bytes::len).sum();
        Lane {
            job: index,
            parts: job.parts.iter(),
            rest: &[],
            zeros: job.zeros as usize,
            bits: (bytes as u64 + u64::from(job.zeros)) * 8,
            stage: Stage::Bytes,
            own: [[0; BLOCK]],
            is_own: false,
        }
    }

    /// Makes the next block ready; false when there is none any more.
    fn prepare(&mut self) -> bool {
        if self.is_own || self.rest.len() >= BLOCK {
            return true;
        }
        let [own] = &mut self.own;
        let mut held = 0;
        while let Some(place) = own.get_mut(held..).filter(|place| !place.is_empty()) {
            if self.rest.is_empty() {
                let zeros = ZEROS.get(..self.zeros).unwrap_or(&ZEROS);
                let Some(next) = self.parts.next().map(Bytes::as_ref).or_else(|| {
                    self.zeros -= zeros.len();
                    Some(zeros).filter(|zeros| !zeros.is_empty())
                }) else {
                    break;
                };
                self.rest = next;
                if held == 0 && next.len() >= BLOCK {
                    return true;
                }
            }
            let (now, later) = self.rest.split_at(place.len().min(self.rest.len()));
            place.iter_mut().zip(now).for_each(|(to, from)| *to = *from);
            held += now.len();
            self.rest = later;
        }
        self.is_own = held == BLOCK || self.pad(held);
        self.is_own
    }

    /// Ends our own block, of which `held` bytes, fewer than all, are there; false when nothing is
    /// left to be said.
    fn pad(&mut self, held: usize) -> bool {
        let [own] = &mut self.own;
        let room = own.get_mut(held..).unwrap_or_default();
        room.fill(0);
        let mut taken = held;
        match (self.stage, room.first_mut()) {
            (Stage::Bytes, Some(end)) => {
                *end = 0x80;
                taken += 1;
                self.stage = Stage::Length;
            }
            (Stage::Length, _) => {}
            (Stage::Bytes | Stage::Done, _) => return false,
        }
        if taken <= LENGTH_AT
            && let Some(place) = own.last_chunk_mut()
        {
            *place = self.bits.to_be_bytes();
            self.stage = Stage::Done;
        }
        true
    }

    /// The blocks that come next and lie together; at least one if the lane is prepared.
    fn blocks(&self) -> &[[u8; BLOCK]] {
        if self.is_own { &self.own } else { self.rest.as_chunks().0 }
    }

    /// So many of these blocks have been hashed.
    fn advance(&mut self, blocks: usize) {
        if self.is_own {
            self.is_own = false;
        } else {
            self.rest = self.rest.get(blocks * BLOCK..).unwrap_or_default();
        }
    }

    /// Hashes all that is left, alone.
    fn finish<F: Function<W>, const W: usize>(&mut self, mut state: [u32; W]) -> [u32; W] {
        while self.prepare() {
            let blocks = self.blocks();
            F::compress(&mut state, blocks);
            self.advance(blocks.len());
        }
        state
    }
}
