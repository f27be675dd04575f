//! How many blocks the library sends to one rank at a time. One after another keeps a slow link
//! busy, and blocks that wait here can still be cancelled, or overtaken by more urgent ones; a fast
//! link needs several, since the end of each is noticed only at the next poll. It knows no clock:
//! its caller measures how long a block took.

use std::time::Duration;

/// Blocks on their way to one rank at most.
const MOST: usize = 4;
/// A block that took no longer than this went over a link that is fast enough for one more at a
/// time.
const QUICK: Duration = Duration::from_millis(4);
/// Bytes that may always be on their way together.
const SMALL: usize = 128 << 10;

/// What is on its way to one rank.
#[derive(Debug, Default)]
pub(super) struct Window {
    blocks: usize,
    bytes: usize,
    /// Blocks beyond the first one that may be on their way.
    more: usize,
}

impl Window {
    /// Whether a block of `len` bytes may be sent now.
    pub(super) fn takes(&self, len: usize) -> bool {
        self.blocks <= self.more || (self.blocks < MOST && self.bytes + len <= SMALL)
    }

    /// A block is on its way.
    pub(super) fn sent(&mut self, len: usize) {
        self.blocks += 1;
        self.bytes += len;
    }

    /// A block has gone, or was dropped, after so long.
    pub(super) fn ended(&mut self, len: usize, took: Duration) {
        self.blocks = self.blocks.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(len);
        self.more = match took <= QUICK {
            true => (self.more + 1).min(MOST - 1),
            false => self.more.saturating_sub(1),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: usize = 512 << 10;

    /// How many blocks are taken at once.
    fn room(window: &mut Window, len: usize) -> usize {
        let mut taken = 0;
        while window.takes(len) {
            window.sent(len);
            taken += 1;
        }
        taken
    }

    #[test]
    fn fast_links_get_several_and_slow_ones_one() {
        let mut window = Window::default();
        assert_eq!(room(&mut window, BLOCK), 1);
        for expected in [2, 3, 4, 4] {
            window.ended(BLOCK, QUICK);
            room(&mut window, BLOCK);
            assert_eq!(window.blocks, expected);
        }
        for expected in [3, 2, 1, 1] {
            window.ended(BLOCK, QUICK * 2);
            room(&mut window, BLOCK);
            assert_eq!(window.blocks, expected, "what is on its way is waited for");
        }
    }

    #[test]
    fn small_blocks_go_together_whatever_the_link() {
        let mut window = Window::default();
        assert_eq!(room(&mut window, 64 << 10), 2);
        assert_eq!(room(&mut Window::default(), 1), MOST);
        window.ended(64 << 10, QUICK * 9);
        assert!(!window.takes(BLOCK) && window.takes(64 << 10));
    }
}
