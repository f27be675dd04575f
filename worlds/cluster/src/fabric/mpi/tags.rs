//! Tags of the receives that are posted to one source: which tag the next block comes under. Plain
//! numbers; it posts and cancels nothing itself.
//!
//! ```text
//!  tag = slot × 8 + use          slots 1 to 4095, uses 0 to 7: tags 8 to 32 767
//!
//!  unused ─ take ─▶ taken ─ give_back ─▶ free, behind all others ─ take ─▶ taken, the next use
//! ```
//!
//! A receive that cannot be cancelled keeps its tag for ever.
//!
//! A block that was given up may still come, after its receive was cancelled. It must not meet the
//! receive of another block, so a tag comes back as late as can be: only after all slots were used
//! and this one eight times.

use super::transport::MAX_TAG;
use std::collections::VecDeque;

/// Tags that a slot takes turns with.
const USES: u16 = 8;
/// The last slot. Slot 0 is left out: tag 0 is the streams' own.
const SLOTS: u16 = MAX_TAG / USES;

#[derive(Clone, Copy, Debug)]
struct Slot {
    taken: bool,
    /// The tag of the current use, or of the last one.
    tag: u16,
}

/// The tags of one source; at first all are free.
#[derive(Debug, Default)]
pub(crate) struct Tags {
    /// All slots that were ever taken: slot 1 first.
    slots: Vec<Slot>,
    /// The free ones of them; that which was given back first is in front.
    free: VecDeque<u16>,
}

impl Tags {
    /// A tag that no open receive has, 1 to [`MAX_TAG`]; `None` if all slots are taken.
    pub(crate) fn take(&mut self) -> Option<u16> {
        // Slots that were never used come first: what is late is later still then.
        let used = self.slots.len() as u16;
        if used < SLOTS {
            let tag = (used + 1) * USES;
            self.slots.push(Slot { taken: true, tag });
            return Some(tag);
        }
        let number = self.free.pop_front()?;
        let slot = self.slots.get_mut(usize::from(number - 1))?;
        let tag = number * USES + (slot.tag + 1) % USES;
        *slot = Slot { taken: true, tag };
        Some(tag)
    }

    /// The receive under `tag` has ended: its block came, or it was cancelled. False if the tag is
    /// not taken, and nothing happens.
    pub(crate) fn give_back(&mut self, tag: u16) -> bool {
        let index = usize::from(tag / USES).checked_sub(1);
        let slot = index.and_then(|index| self.slots.get_mut(index));
        let Some(slot) = slot.filter(|slot| slot.tag == tag && slot.taken) else { return false };
        slot.taken = false;
        self.free.push_back(tag / USES);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};

    #[test]
    fn every_tag_is_used_before_one_comes_again() {
        let mut tags = Tags::default();
        let mut seen = BTreeSet::new();
        for _ in 0..usize::from(SLOTS * USES) {
            let tag = tags.take().unwrap();
            assert!((1..=MAX_TAG).contains(&tag));
            assert!(seen.insert(tag), "{tag} too early");
            assert!(tags.give_back(tag));
        }
        assert_eq!((seen.first(), seen.last()), (Some(&8), Some(&32_767)));
        assert_eq!(tags.take(), Some(8));
    }

    #[test]
    fn all_at_once_and_no_more() {
        let mut tags = Tags::default();
        let all: Vec<u16> = std::iter::from_fn(|| tags.take()).collect();
        assert_eq!(all.len(), 4095);
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), 4095);
        assert_eq!(tags.take(), None);
        assert!(tags.give_back(all[3000]) && tags.give_back(all[5]));
        // The oldest first, each with its next tag.
        assert_eq!([tags.take(), tags.take()], [Some(all[3000] + 1), Some(all[5] + 1)]);
        assert_eq!(tags.take(), None);
    }

    #[test]
    fn what_is_not_taken_cannot_be_given_back() {
        let mut tags = Tags::default();
        let tag = tags.take().unwrap();
        for other in [0, 1, 7, tag + 1, tag + 8, MAX_TAG, MAX_TAG + 1, u16::MAX] {
            assert!(!tags.give_back(other), "{other}");
        }
        assert!(tags.give_back(tag));
        assert!(!tags.give_back(tag));
    }

    /// Tags of which only so many slots are left, all of them free.
    fn with_slots(left: usize) -> (Tags, VecDeque<u16>) {
        let mut tags = Tags::default();
        let all: Vec<u16> = std::iter::from_fn(|| tags.take()).collect();
        // The others' receives never end.
        let (free, _stuck) = all.split_at(left);
        assert!(free.iter().all(|tag| tags.give_back(*tag)));
        (tags, free.iter().map(|tag| tag / USES).collect())
    }

    proptest! {
        #[test]
        fn oldest_slots_first_and_each_with_another_tag(
            left in 1..20_usize,
            steps in proptest::collection::vec((0..100_u8, any::<usize>()), 0..1000),
        ) {
            let (mut tags, mut free) = with_slots(left);
            let mut open = Vec::new();
            let mut uses: BTreeMap<u16, u16> = free.iter().map(|slot| (*slot, 0)).collect();
            for (step, which) in steps {
                if step < 50 {
                    let expected = free.pop_front().map(|slot| {
                        let turn = uses.entry(slot).or_default();
                        *turn += 1;
                        slot * USES + *turn % USES
                    });
                    prop_assert_eq!(tags.take(), expected);
                    open.extend(expected);
                } else if !open.is_empty() {
                    let tag = open.swap_remove(which % open.len());
                    if step < 99 {
                        prop_assert!(tags.give_back(tag));
                        prop_assert!(!tags.give_back(tag));
                        free.push_back(tag / USES);
                    }
                }
            }
        }
    }
}
