//! Positions found by hash: open addressing with linear probing, four bytes a slot. The things that
//! the positions stand for are kept elsewhere, in one piece of memory.

/// The fewest slots of an index that holds anything.
const MIN_SLOTS: usize = 8;

/// A table of positions.
#[derive(Clone, Debug, Default)]
pub(super) struct Index {
    /// Position + 1, or 0 for nothing. As many as a power of two, never more than three quarters
    /// full.
    slots: Vec<u32>,
    used: usize,
}

impl Index {
    /// The position with this hash for which `is` holds.
    pub(super) fn find(&self, hash: u64, is: impl Fn(usize) -> bool) -> Option<usize> {
        self.slot(hash, is).map(|(_, position)| position)
    }

    fn slot(&self, hash: u64, is: impl Fn(usize) -> bool) -> Option<(usize, usize)> {
        let mask = self.slots.len().checked_sub(1)?;
        let mut slot = hash as usize & mask;
        // There is always an empty slot, so this ends.
        while let Some(position) = self.at(slot) {
            if is(position) {
                return Some((slot, position));
            }
            slot = (slot + 1) & mask;
        }
        None
    }

    fn at(&self, slot: usize) -> Option<usize> {
        self.slots.get(slot).and_then(|value| (*value as usize).checked_sub(1))
    }

    fn set(&mut self, slot: usize, position: Option<usize>) {
        if let Some(value) = self.slots.get_mut(slot) {
            *value = position.map_or(0, |position| position as u32 + 1);
        }
    }

    /// Adds a position that is not in it. `hash_of` gives the hashes of those that are.
    pub(super) fn insert(&mut self, hash: u64, position: usize, hash_of: impl Fn(usize) -> u64) {
        if (self.used + 1) * 4 > self.slots.len() * 3 {
            self.resize((self.slots.len() * 2).max(MIN_SLOTS), &hash_of);
        }
        self.place(hash, position);
        self.used += 1;
    }

    fn place(&mut self, hash: u64, position: usize) {
        let mask = self.slots.len() - 1;
        let mut slot = hash as usize & mask;
        while self.at(slot).is_some() {
            slot = (slot + 1) & mask;
        }
        self.set(slot, Some(position));
    }

    /// Removes a position, and closes the gap: what was pushed behind it moves up.
    pub(super) fn remove(&mut self, hash: u64, position: usize, hash_of: impl Fn(usize) -> u64) {
        let Some((mut gap, _)) = self.slot(hash, |found| found == position) else { return };
        let mask = self.slots.len() - 1;
        let mut slot = gap;
        loop {
            slot = (slot + 1) & mask;
            let Some(next) = self.at(slot) else { break };
            let home = hash_of(next) as usize & mask;
            // It may move into the gap unless its home lies behind the gap.
            if slot.wrapping_sub(home) & mask >= slot.wrapping_sub(gap) & mask {
                self.set(gap, Some(next));
                gap = slot;
            }
        }
        self.set(gap, None);
        self.used -= 1;
        if self.used * 8 < self.slots.len() && self.slots.len() > MIN_SLOTS {
            self.resize(self.slots.len() / 2, &hash_of);
        }
    }

    /// What stood at `from` stands at `to` now.
    pub(super) fn moved(&mut self, hash: u64, from: usize, to: usize) {
        if let Some((slot, _)) = self.slot(hash, |found| found == from) {
            self.set(slot, Some(to));
        }
    }

    fn resize(&mut self, slots: usize, hash_of: &impl Fn(usize) -> u64) {
        let old = std::mem::replace(&mut self.slots, vec![0; slots]);
        for position in old.into_iter().filter_map(|value| (value as usize).checked_sub(1)) {
            self.place(hash_of(position), position);
        }
    }

    /// Bytes of memory.
    pub(super) fn memory(&self) -> usize {
        self.slots.capacity() * 4
    }

    /// How many positions it holds.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.used
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dunlin_base::Rng;

    #[test]
    fn it_finds_what_is_in_it_and_nothing_else() {
        // Few different hashes, so that most collide.
        let hash_of = |position: usize| position as u64 % 7;
        let mut rng = Rng::new(5);
        let mut index = Index::default();
        let mut there = [false; 300];
        for _ in 0..20_000 {
            let position = rng.below(300) as usize;
            if there[position] {
                index.remove(hash_of(position), position, hash_of);
            } else {
                index.insert(hash_of(position), position, hash_of);
            }
            there[position] ^= true;
            let probe = rng.below(300) as usize;
            let found = index.find(hash_of(probe), |found| found == probe);
            assert_eq!(found.is_some(), there[probe]);
        }
        assert_eq!(index.len(), there.iter().filter(|there| **there).count());
        for (position, _) in there.iter().enumerate().filter(|(_, there)| **there) {
            index.remove(hash_of(position), position, hash_of);
        }
        assert!(index.len() == 0 && index.memory() <= MIN_SLOTS * 4, "it gives memory back");
    }
}
