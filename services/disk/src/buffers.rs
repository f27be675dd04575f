//! Buffers for payload, used again and again. Blocks are read a few hundred KiB at a time,
//! thousands a second: through the general allocator each of them is fresh pages from the kernel,
//! and what is freed stays behind in holes that the memory budget knows nothing of.
//!
//! The pool never asks whether memory may be used: that is what the budget's charges are for. It
//! keeps what is given back, as long as all its buffers together stay within the budget's total.

use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Sizes are rounded up to whole pages, so that blocks of a few bytes more or less share buffers.
const PAGE: usize = 4096;

/// Buffers that wait to be used again.
#[derive(Debug)]
pub struct BufferPool {
    limit: u64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// By size in bytes; no list is empty.
    free: BTreeMap<usize, Vec<Vec<u8>>>,
    free_bytes: u64,
    used_bytes: u64,
}

/// A buffer on loan. Dropping it, or the last [`Bytes`] made of it, gives it back.
#[derive(Debug)]
pub struct Buffer {
    pool: Arc<BufferPool>,
    bytes: Vec<u8>,
    len: usize,
}

impl State {
    fn take_free(&mut self, size: usize) -> Option<Vec<u8>> {
        // A buffer up to twice as large is better than a new one.
        let (&found, list) = self.free.range_mut(size..=2 * size).next()?;
        let bytes = list.pop()?;
        if list.is_empty() {
            self.free.remove(&found);
        }
        self.free_bytes -= found as u64;
        Some(bytes)
    }

    /// Lets the largest free buffers go until `limit` holds.
    fn shrink(&mut self, limit: u64) {
        while self.used_bytes + self.free_bytes > limit {
            let Some(mut largest) = self.free.last_entry() else { return };
            let size = *largest.key() as u64;
            largest.get_mut().pop();
            if largest.get().is_empty() {
                largest.remove();
            }
            self.free_bytes -= size;
        }
    }
}

impl BufferPool {
    /// A pool whose buffers, on loan and waiting, stay within `limit` bytes where the loans alone
    /// do.
    #[must_use]
    pub fn new(limit: u64) -> Arc<BufferPool> {
        Arc::new(BufferPool { limit, state: Mutex::default() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A buffer of `len` bytes. What stands in it is old payload or zeros: write before reading.
    #[must_use]
    pub fn take(self: &Arc<Self>, len: usize) -> Buffer {
        let size = len.max(1).next_multiple_of(PAGE);
        let mut state = self.state();
        let found = state.take_free(size);
        state.used_bytes += found.as_ref().map_or(size, Vec::len) as u64;
        if found.is_none() {
            state.shrink(self.limit);
        }
        drop(state);
        let bytes = found.unwrap_or_else(|| vec![0; size]);
        Buffer { pool: Arc::clone(self), bytes, len }
    }

    /// Gives the memory of buffers that wait to be used again back to the allocator.
    pub fn release(&self) {
        let mut state = self.state();
        state.free.clear();
        state.free_bytes = 0;
    }

    /// Bytes of buffers that wait to be used again.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        self.state().free_bytes
    }
}

impl Buffer {
    /// The buffer, to be filled.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.len]
    }

    /// The buffer as shared bytes.
    #[must_use]
    pub fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        let mut state = self.pool.state();
        state.used_bytes -= bytes.len() as u64;
        state.free_bytes += bytes.len() as u64;
        state.free.entry(bytes.len()).or_default().push(bytes);
        state.shrink(self.pool.limit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_and_is_used_again() {
        let pool = BufferPool::new(1 << 20);
        let mut buffer = pool.take(10_000);
        buffer.bytes_mut().fill(7);
        assert_eq!(buffer.as_ref().len(), 10_000);
        let bytes = buffer.freeze();
        let part = bytes.slice(100..200);
        drop(bytes);
        assert_eq!(pool.waiting(), 0, "a part of it is still in use");
        assert_eq!(part[0], 7);
        drop(part);
        assert_eq!(pool.waiting(), 12_288);
        let again = pool.take(9_000);
        assert_eq!((again.as_ref().len(), pool.waiting()), (9_000, 0));
        drop(again);
        pool.release();
        assert_eq!(pool.waiting(), 0);
    }

    #[test]
    fn all_buffers_together_stay_within_the_limit() {
        let pool = BufferPool::new(100 * 4096);
        let loans: Vec<Buffer> = (1..=13).map(|pages| pool.take(pages * 4096)).collect();
        drop(loans);
        assert_eq!(pool.waiting(), 91 * 4096);
        let large = pool.take(60 * 4096);
        assert!(pool.waiting() <= 40 * 4096, "{}", pool.waiting());
        drop(large);
        assert!(pool.waiting() <= 100 * 4096);
        let none = BufferPool::new(0);
        drop(none.take(5));
        assert_eq!(none.waiting(), 0);
    }

    #[test]
    fn an_empty_buffer_is_no_special_case() {
        let pool = BufferPool::new(1 << 20);
        assert!(pool.take(0).freeze().is_empty());
    }
}
