//! One deadline a key: when each of many state machines wants to be called again.

use dunlin_base::Time;
use std::collections::{BTreeMap, BTreeSet};

/// One deadline a key, in order of time, then of the keys.
#[derive(Debug)]
pub struct Timers<Key> {
    deadlines: BTreeMap<Key, Time>,
    by_time: BTreeSet<(Time, Key)>,
}

impl<Key> Default for Timers<Key> {
    fn default() -> Timers<Key> {
        Timers { deadlines: BTreeMap::new(), by_time: BTreeSet::new() }
    }
}

impl<Key: Copy + Ord> Timers<Key> {
    /// No deadlines.
    #[must_use]
    pub fn new() -> Timers<Key> {
        Timers::default()
    }

    /// The deadline of a key is `at` from now on; `None` for none.
    pub fn set(&mut self, key: Key, at: Option<Time>) {
        let old = match at {
            Some(at) => self.deadlines.insert(key, at),
            None => self.deadlines.remove(&key),
        };
        if old == at {
            return;
        }
        if let Some(old) = old {
            self.by_time.remove(&(old, key));
        }
        if let Some(at) = at {
            self.by_time.insert((at, key));
        }
    }

    /// The earliest deadline. It may be in the past: a deadline is no promise of whoever set it.
    #[must_use]
    pub fn next_at(&self) -> Option<Time> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// Takes the earliest deadline out, with its key. Of keys with one deadline the lowest is
    /// first.
    pub fn pop(&mut self) -> Option<(Time, Key)> {
        let (at, key) = self.by_time.pop_first()?;
        self.deadlines.remove(&key);
        Some((at, key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_come_by_time_then_by_key_and_each_key_has_one() {
        let mut timers = Timers::new();
        for (key, at) in [('b', 5), ('a', 5), ('c', 1), ('c', 9), ('d', 2)] {
            timers.set(key, Some(Time(at)));
        }
        timers.set('d', None);
        timers.set('e', None);
        assert_eq!(timers.next_at(), Some(Time(5)));
        let all: Vec<_> = std::iter::from_fn(|| timers.pop()).collect();
        assert_eq!(all, [(Time(5), 'a'), (Time(5), 'b'), (Time(9), 'c')]);
        timers.set('a', Some(Time(5)));
        assert_eq!(timers.pop(), Some((Time(5), 'a')), "it can be set again");
        assert_eq!(timers.next_at(), None);
    }
}
