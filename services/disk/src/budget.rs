//! The one memory budget of the process. Pieces that are being received, blocks that are being
//! served and buffers that are being hashed all draw on it.
//!
//! Receiving may take at most three quarters. The rest is for serving and hashing, whose charges
//! are short-lived; so neither side can starve the other, and nobody waits for himself. What
//! connections hold is counted and never refused; receiving gets so much less.

use crate::buffers::BufferPool;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// A function that tells somebody to ask again. It must not block, and it may call the budget.
pub type Waker = Box<dyn Fn() + Send + Sync>;

/// Memory that is handed out by the byte and comes back by itself.
pub struct Budget {
    total: u64,
    state: Mutex<State>,
    served: Condvar,
    buffers: Arc<BufferPool>,
}

#[derive(Default)]
struct State {
    pieces: u64,
    short: u64,
    /// What others hold who are never refused: receiving gets so much less.
    held: u64,
    peak: u64,
    /// Who waits for a piece, first come first served.
    queue: VecDeque<Waiting>,
    wakers: BTreeMap<u64, Arc<dyn Fn() + Send + Sync>>,
    pressure: BTreeMap<u64, Arc<dyn Fn() + Send + Sync>>,
    /// Who waits for a short charge, by ticket.
    line: VecDeque<u64>,
    next_ticket: u64,
}

struct Waiting {
    owner: u64,
    bytes: u64,
    told: bool,
}

/// There is no memory for the piece now. The owner stands in the queue and will be woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no memory for the piece now; the owner is queued and will be woken")]
pub struct Queued;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Share {
    Pieces,
    Short,
}

/// Memory that is in use. Dropping it gives it back and wakes who waits.
pub struct Charge {
    budget: Arc<Budget>,
    bytes: u64,
    share: Share,
}

/// Whether a piece of `piece_len` bytes is too large for a budget of `total` bytes to be held whole
/// (more than a quarter): it is then hashed in order as its blocks arrive, and written block by
/// block.
#[must_use]
pub fn streamed(total: u64, piece_len: u32) -> bool {
    u64::from(piece_len) > total / 4
}

impl State {
    fn piece_fits(&self, total: u64, bytes: u64) -> bool {
        // Half of the share is always there: nobody else's memory brings receiving to a halt.
        let share = piece_share(total) - self.held.min(piece_share(total) / 2);
        self.pieces == 0 || self.pieces.saturating_add(bytes) <= share
    }

    fn short_fits(&self, total: u64, bytes: u64) -> bool {
        self.short == 0 || self.short.saturating_add(bytes) <= short_share(total)
    }

    fn grant(&mut self, share: Share, bytes: u64) {
        match share {
            Share::Pieces => self.pieces = self.pieces.saturating_add(bytes),
            Share::Short => self.short = self.short.saturating_add(bytes),
        }
        self.peak = self.peak.max(self.used());
    }

    fn used(&self) -> u64 {
        self.pieces.saturating_add(self.short).saturating_add(self.held)
    }

    /// The waker of the head of the queue, if what it asked for fits and it was not told yet.
    fn wake_head(&mut self, total: u64) -> Option<Arc<dyn Fn() + Send + Sync>> {
        let bytes = self.queue.front()?.bytes;
        if !self.piece_fits(total, bytes) {
            return None;
        }
        let head = self.queue.front_mut().filter(|head| !head.told)?;
        head.told = true;
        self.wakers.get(&head.owner).cloned()
    }
}

fn piece_share(total: u64) -> u64 {
    total - short_share(total)
}

fn short_share(total: u64) -> u64 {
    total / 4
}

impl Budget {
    /// A budget of `total` bytes.
    #[must_use]
    pub fn new(total: u64) -> Arc<Budget> {
        let state = Mutex::new(State::default());
        let buffers = BufferPool::new(total);
        Arc::new(Budget { total, state, served: Condvar::new(), buffers })
    }

    /// Buffers for payload that is charged to this budget.
    #[must_use]
    pub fn buffers(&self) -> &Arc<BufferPool> {
        &self.buffers
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Memory for a piece, for `owner` (a rank, say). First come, first served: it fails while
    /// others wait ahead. A call that fails queues the owner, once, for the bytes it asked last.
    /// More than the piece share is granted when no other piece is held, so nobody waits for ever.
    ///
    /// # Errors
    /// [`Queued`] if there is none now; the owner's waker is called when it is its turn. An owner
    /// that does not want it any more must say so by [`Budget::cancel`], or it blocks the queue.
    pub fn reserve(self: &Arc<Self>, owner: u64, bytes: u64) -> Result<Charge, Queued> {
        let mut state = self.state();
        let mine = state.queue.iter().position(|waiting| waiting.owner == owner);
        let first = match mine {
            Some(position) => position == 0,
            None => state.queue.is_empty(),
        };
        if first && state.piece_fits(self.total, bytes) {
            if mine.is_some() {
                state.queue.pop_front();
            }
            state.grant(Share::Pieces, bytes);
            let wake = state.wake_head(self.total);
            drop(state);
            wake.into_iter().for_each(|wake| wake());
            return Ok(self.charge(bytes, Share::Pieces));
        }
        if let Some(waiting) = mine.and_then(|position| state.queue.get_mut(position)) {
            waiting.bytes = bytes;
            waiting.told = false;
            return Err(Queued);
        }
        state.queue.push_back(Waiting { owner, bytes, told: false });
        let others = state.pressure.iter().filter(|(other, _)| **other != owner);
        let press: Vec<_> = others.map(|(_, press)| Arc::clone(press)).collect();
        drop(state);
        press.into_iter().for_each(|press| press());
        Err(Queued)
    }

    /// Takes `owner` out of the queue; what it holds stays.
    pub fn cancel(&self, owner: u64) {
        let mut state = self.state();
        state.queue.retain(|waiting| waiting.owner != owner);
        let wake = state.wake_head(self.total);
        drop(state);
        wake.into_iter().for_each(|wake| wake());
    }

    /// Takes `owner` out of the queue and forgets its waker and its pressure call: it is gone.
    pub fn forget(&self, owner: u64) {
        let mut state = self.state();
        // Dropped outside the lock: a waker may own what calls the budget when it goes.
        let wakers = (state.wakers.remove(&owner), state.pressure.remove(&owner));
        drop(state);
        drop(wakers);
        self.cancel(owner);
    }

    /// Sets what is called (outside the lock) when `owner` is at the head of the queue and what it
    /// asked for fits.
    pub fn set_waker(&self, owner: u64, waker: Waker) {
        let old = self.state().wakers.insert(owner, Arc::from(waker));
        drop(old);
    }

    /// Sets what is called (outside the lock) when somebody other than `owner` begins to wait for a
    /// piece: the moment to spill what makes no progress.
    pub fn set_pressure(&self, owner: u64, pressure: Waker) {
        let old = self.state().pressure.insert(owner, Arc::from(pressure));
        drop(old);
    }

    /// Whether anybody waits for a piece.
    #[must_use]
    pub fn starving(&self) -> bool {
        !self.state().queue.is_empty()
    }

    /// Memory for serving or hashing; waits for its turn. More than the share of these is granted
    /// when nothing else of them is held. Who holds such a charge must not wait for another.
    #[must_use]
    pub fn charge_blocking(self: &Arc<Self>, bytes: u64) -> Charge {
        let mut state = self.state();
        let ticket = state.next_ticket;
        state.next_ticket += 1;
        state.line.push_back(ticket);
        while state.line.front() != Some(&ticket) || !state.short_fits(self.total, bytes) {
            state = self.served.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.line.pop_front();
        state.grant(Share::Short, bytes);
        drop(state);
        self.served.notify_all();
        self.charge(bytes, Share::Short)
    }

    /// As [`Budget::charge_blocking`], but gives up instead of waiting.
    #[must_use]
    pub fn try_charge(self: &Arc<Self>, bytes: u64) -> Option<Charge> {
        let mut state = self.state();
        if !state.line.is_empty() || !state.short_fits(self.total, bytes) {
            return None;
        }
        state.grant(Share::Short, bytes);
        drop(state);
        Some(self.charge(bytes, Share::Short))
    }

    /// Memory for serving or hashing that is counted and never refused: for one thread in virtual
    /// time, which cannot wait for itself.
    #[must_use]
    pub fn charge_unbounded(self: &Arc<Self>, bytes: u64) -> Charge {
        self.state().grant(Share::Short, bytes);
        self.charge(bytes, Share::Short)
    }

    /// Counts memory that is never refused here and bounded elsewhere: `bytes` are held now, in
    /// place of what was said last. Receiving pieces gets so much less, though never less than half
    /// of its share.
    pub fn hold(&self, bytes: u64) {
        let mut state = self.state();
        let less = bytes < state.held;
        state.held = bytes;
        state.peak = state.peak.max(state.used());
        let wake = if less { state.wake_head(self.total) } else { None };
        drop(state);
        wake.into_iter().for_each(|wake| wake());
    }

    fn charge(self: &Arc<Self>, bytes: u64, share: Share) -> Charge {
        Charge { budget: Arc::clone(self), bytes, share }
    }

    /// Bytes in use.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.state().used()
    }

    /// The most bytes that were ever in use.
    #[must_use]
    pub fn peak(&self) -> u64 {
        self.state().peak
    }

    /// All bytes there are.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The bytes that serving and hashing may take together: a quarter.
    #[must_use]
    pub fn short_share(&self) -> u64 {
        short_share(self.total)
    }

    fn give_back(&self, bytes: u64, share: Share) {
        let mut state = self.state();
        let wake = match share {
            Share::Pieces => {
                state.pieces = state.pieces.saturating_sub(bytes);
                state.wake_head(self.total)
            }
            Share::Short => {
                state.short = state.short.saturating_sub(bytes);
                None
            }
        };
        drop(state);
        if share == Share::Short {
            self.served.notify_all();
        }
        wake.into_iter().for_each(|wake| wake());
    }
}

impl std::fmt::Debug for Budget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Budget({} of {} bytes)", self.used(), self.total)
    }
}

impl Charge {
    /// How many bytes it stands for.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl std::fmt::Debug for Charge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Charge({} bytes, {:?})", self.bytes, self.share)
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.give_back(self.bytes, self.share);
    }
}

#[cfg(test)]
mod tests;
