//! Uplinks that carry one message after another.

use crate::config::time_for;
use dunlin_base::{Rate, Time};
use std::collections::BTreeMap;

/// When the uplink of each node is free again.
#[derive(Debug)]
pub(crate) struct Fifo<Id> {
    free_at: BTreeMap<Id, Time>,
}

impl<Id: Copy + Ord> Fifo<Id> {
    pub(crate) fn new() -> Fifo<Id> {
        Fifo { free_at: BTreeMap::new() }
    }

    /// When the uplink of a node is free, at the earliest now.
    pub(crate) fn free_at(&self, now: Time, id: Id) -> Time {
        self.free_at.get(&id).map_or(now, |free| now.max(*free))
    }

    /// Lets an uplink carry so many bytes after what it carries already; returns when they have
    /// left.
    pub(crate) fn carry(&mut self, now: Time, id: Id, rate: Option<Rate>, bytes: u64) -> Time {
        let left = self.free_at(now, id) + time_for(rate, bytes);
        if left > now {
            self.free_at.insert(id, left);
        }
        left
    }
}
