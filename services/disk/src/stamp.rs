//! What the file system says of a file, kept until the next run: whether the file can still be what
//! was verified then.
//!
//! All of number, length, time of writing and time of change must be the same. The last one changes
//! with every write, link, rename and change of the other times, and nobody can set it back. After
//! a run that did not end, a file may differ by what that run wrote after it saved for the last
//! time; that is told by the times, too ([`Ending::vouches`]).

use crate::checksum::SealError;
use crate::fs::{FileKind, Look};
use dunlin_bencode::Dict;
use std::time::Duration;

/// Bytes of an encoded stamp.
pub(crate) const STAMP: usize = 32;

/// What a file looked like when its content was known. Times are nanoseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// The number on its file system.
    pub(crate) inode: u64,
    /// Length in bytes.
    pub(crate) length: u64,
    /// When its content was last written.
    pub(crate) modified: i64,
    /// When anything of it was last changed.
    pub(crate) changed: i64,
}

impl Stamp {
    /// The stamp of a regular file; `None` for anything else, and where a time is beyond all
    /// reason: such a file is hashed again.
    pub(crate) fn of(look: &Look) -> Option<Stamp> {
        if look.kind != FileKind::File {
            return None;
        }
        Some(Stamp {
            inode: look.meta.inode,
            length: look.meta.len,
            modified: i64::try_from(look.meta.modified).ok()?,
            changed: i64::try_from(look.changed).ok()?,
        })
    }

    /// What is kept: four numbers, little-endian, in the order of the fields.
    pub(crate) fn encode(self) -> [u8; STAMP] {
        let mut bytes = [0; STAMP];
        bytes[..8].copy_from_slice(&self.inode.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.length.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.modified.to_le_bytes());
        bytes[24..].copy_from_slice(&self.changed.to_le_bytes());
        bytes
    }

    /// What [`Stamp::encode`] wrote.
    pub(crate) fn decode(bytes: &[u8; STAMP]) -> Stamp {
        let (numbers, _) = bytes.as_chunks::<8>();
        let number = |at: usize| numbers.get(at).copied().unwrap_or_default();
        Stamp {
            inode: u64::from_le_bytes(number(0)),
            length: u64::from_le_bytes(number(1)),
            modified: i64::from_le_bytes(number(2)),
            changed: i64::from_le_bytes(number(3)),
        }
    }
}

/// How the run ended that saved stamps, as far as they can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ending {
    /// It had ended: nothing was written after the stamps were taken.
    pub(crate) clean: bool,
    /// When they were saved, by the clock of the file system, in nanoseconds since 1970. They were
    /// taken afterwards.
    pub(crate) saved: i64,
    /// How long after that the run may have written before it would have saved again, in
    /// nanoseconds.
    pub(crate) window: i64,
}

impl Ending {
    /// A run that ended in order.
    pub(crate) const CLEAN: Ending = Ending { clean: true, saved: 0, window: 0 };

    /// A run that goes on and saved at `saved`, a time of the file system.
    pub(crate) fn running(saved: i128, window: Duration) -> Ending {
        let saved = i64::try_from(saved).unwrap_or(i64::MIN);
        let window = i64::try_from(window.as_nanos()).unwrap_or(i64::MAX);
        Ending { clean: false, saved, window }
    }

    /// Reads the fields `clean`, `saved` and `window`.
    pub(crate) fn decode(root: &Dict<'_>) -> Result<Ending, SealError> {
        let number = |key: &'static str| {
            root.get(key).and_then(|node| node.as_i64()).ok_or(SealError::Field(key))
        };
        let clean = match number("clean")? {
            0 => false,
            1 => true,
            _ => return Err(SealError::Field("clean")),
        };
        Ok(Ending { clean, saved: number("saved")?, window: number("window")? })
    }

    /// Whether a file that was `then` and is `now` still holds all that was claimed of it then. If
    /// the run did not end, it may itself have written, linked or renamed it within the window:
    /// what it wrote was not claimed. A change by others within that time is not told from that.
    pub(crate) fn vouches(&self, then: &Stamp, now: &Stamp) -> bool {
        if now == then {
            return true;
        }
        let end = self.saved.saturating_add(self.window);
        let within = |time: i64| self.saved <= time && time <= end;
        !self.clean
            && (now.inode, now.length) == (then.inode, then.length)
            && within(now.changed)
            && (now.modified == then.modified || within(now.modified))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_differ_after_which_end() {
        let then = Stamp { inode: 7, length: 100, modified: 1000, changed: 1001 };
        let running = Ending { clean: false, saved: 1010, window: 50 };
        // (inode, length, modified, changed, after a clean end, after another)
        let cases = [
            (7, 100, 1000, 1001, true, true),
            // Written in the window, and at its ends.
            (7, 100, 1020, 1020, false, true),
            (7, 100, 1010, 1010, false, true),
            (7, 100, 1060, 1060, false, true),
            // Renamed or linked in the window.
            (7, 100, 1000, 1015, false, true),
            // Before it, after it, or with one of the times set back.
            (7, 100, 1009, 1009, false, false),
            (7, 100, 1061, 1061, false, false),
            (7, 100, 1000, 1061, false, false),
            (7, 100, 1020, 1061, false, false),
            (7, 100, 999, 1015, false, false),
            // Another file, or another length.
            (8, 100, 1000, 1001, false, false),
            (8, 100, 1020, 1020, false, false),
            (7, 101, 1020, 1020, false, false),
        ];
        for (inode, length, modified, changed, clean, other) in cases {
            let now = Stamp { inode, length, modified, changed };
            assert_eq!(Ending::CLEAN.vouches(&then, &now), clean, "{now:?}");
            assert_eq!(running.vouches(&then, &now), other, "{now:?}");
            assert_eq!(Stamp::decode(&now.encode()), now);
        }
    }

    #[test]
    fn the_last_moments_of_time_are_survived() {
        let stamp = |at| Stamp { inode: 1, length: 1, modified: at, changed: at };
        let late = Ending::running(i128::from(i64::MAX) - 1, Duration::MAX);
        assert!(late.vouches(&stamp(0), &stamp(i64::MAX)));
        assert!(!Ending::running(i128::MAX, Duration::ZERO).vouches(&stamp(0), &stamp(1)));
    }
}
