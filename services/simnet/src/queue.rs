//! A virtual clock and the events that it has before it, in one total order: by time, then by the
//! order in which they were scheduled.

use dunlin_base::Time;
use std::collections::BTreeMap;

/// The place of an event in the order of all events, and its name for whoever wants to cancel it.
/// No two events of a queue have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EventKey {
    at: Time,
    sequence: u64,
}

impl EventKey {
    /// When the event happens.
    #[must_use]
    pub fn at(self) -> Time {
        self.at
    }
}

/// A virtual clock and what will happen. The clock stands still but for [`EventQueue::pop`] and
/// [`EventQueue::advance_to`], and never goes back.
#[derive(Debug)]
pub struct EventQueue<E> {
    now: Time,
    scheduled: u64,
    events: BTreeMap<EventKey, E>,
}

impl<E> Default for EventQueue<E> {
    fn default() -> EventQueue<E> {
        EventQueue { now: Time::ZERO, scheduled: 0, events: BTreeMap::new() }
    }
}

impl<E> EventQueue<E> {
    /// No events, at [`Time::ZERO`].
    #[must_use]
    pub fn new() -> EventQueue<E> {
        EventQueue::default()
    }

    /// The time that it is.
    #[must_use]
    pub fn now(&self) -> Time {
        self.now
    }

    /// How many events are scheduled.
    #[must_use]
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Whether nothing is scheduled.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Schedules an event. With `at` in the past it happens now, after what is scheduled for now.
    pub fn schedule(&mut self, at: Time, event: E) -> EventKey {
        self.scheduled += 1;
        let key = EventKey { at: at.max(self.now), sequence: self.scheduled };
        self.events.insert(key, event);
        key
    }

    /// Takes an event out that has not happened yet; `None` if it has, or was cancelled before.
    pub fn cancel(&mut self, key: EventKey) -> Option<E> {
        self.events.remove(&key)
    }

    /// When the next event happens. This may be in the past, if [`EventQueue::advance_to`] went
    /// beyond it.
    #[must_use]
    pub fn next_at(&self) -> Option<Time> {
        self.events.first_key_value().map(|(key, _)| key.at)
    }

    /// The next event, if it happens at `until` or before; then the clock stands at its time, if it
    /// did not stand later already.
    pub fn pop(&mut self, until: Time) -> Option<E> {
        let entry = self.events.first_entry()?;
        if entry.key().at > until {
            return None;
        }
        self.now = self.now.max(entry.key().at);
        Some(entry.remove())
    }

    /// Puts the clock forward. Events that are then overdue are not lost: the next pops return
    /// them, in their order, at the later time.
    pub fn advance_to(&mut self, to: Time) {
        self.now = self.now.max(to);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(queue: &mut EventQueue<char>) -> String {
        std::iter::from_fn(|| queue.pop(Time::NEVER)).collect()
    }

    #[test]
    fn events_happen_by_time_and_ties_by_the_order_of_scheduling() {
        let mut queue = EventQueue::new();
        for (at, event) in [(2, 'c'), (1, 'a'), (2, 'd'), (1, 'b'), (0, '0')] {
            queue.schedule(Time(at), event);
        }
        assert_eq!((queue.len(), queue.next_at()), (5, Some(Time(0))));
        assert_eq!(all(&mut queue), "0abcd");
        assert_eq!((queue.now(), queue.is_empty()), (Time(2), true));
    }

    #[test]
    fn nothing_happens_after_the_time_that_is_asked_for() {
        let mut queue = EventQueue::new();
        queue.schedule(Time(5), 'a');
        assert_eq!((queue.pop(Time(4)), queue.now()), (None, Time::ZERO));
        assert_eq!((queue.pop(Time(5)), queue.now()), (Some('a'), Time(5)));
    }

    #[test]
    fn what_is_cancelled_does_not_happen_and_leaves_the_order_of_the_rest() {
        let mut queue = EventQueue::new();
        let keys: Vec<EventKey> =
            "abcd".chars().map(|event| queue.schedule(Time(1), event)).collect();
        assert_eq!(keys[1].at(), Time(1));
        assert_eq!((queue.cancel(keys[1]), queue.cancel(keys[1])), (Some('b'), None));
        assert_eq!(queue.pop(Time(1)), Some('a'));
        assert_eq!(queue.cancel(keys[0]), None, "it has happened");
        queue.schedule(Time(1), 'e');
        assert_eq!(all(&mut queue), "cde", "the key of a cancelled event is not used again");
    }

    #[test]
    fn the_past_happens_now() {
        let mut queue = EventQueue::new();
        queue.schedule(Time(3), 'a');
        queue.advance_to(Time(10));
        queue.advance_to(Time(9));
        queue.schedule(Time(10), 'b');
        assert_eq!(queue.schedule(Time(4), 'c').at(), Time(10));
        assert_eq!(queue.next_at(), Some(Time(3)), "overdue, and not lost");
        assert_eq!((queue.pop(Time(10)), queue.now()), (Some('a'), Time(10)));
        assert_eq!(all(&mut queue), "bc");
    }
}
