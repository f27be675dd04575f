//! ConnectionSlots for connections of strangers: so many in all, and so many for each source.
//! Whoever comes gets a slot; who was idle for longest makes room, of the same source if that has
//! its share, otherwise of the source that has most slots. So one host keeps nobody else out,
//! however fast it connects.

use dunlin_base::source_of;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::task::AbortHandle;

/// ConnectionSlots, and who has them.
#[derive(Debug)]
pub struct ConnectionSlots {
    most: usize,
    share: usize,
    state: Mutex<State>,
}

/// Numbers grow: who has the smallest one was idle for longest.
#[derive(Debug, Default)]
struct State {
    next: u64,
    total: usize,
    sources: BTreeMap<IpAddr, BTreeMap<u64, AbortHandle>>,
    /// ConnectionSlots whose task is being started.
    begun: BTreeSet<u64>,
    /// Each source by its slots, and then by who was idle for longest.
    order: BTreeSet<(usize, Reverse<u64>, IpAddr)>,
}

/// A slot. Dropping it frees it.
#[derive(Debug)]
pub struct ConnectionSlot {
    slots: Arc<ConnectionSlots>,
    source: IpAddr,
    number: u64,
}

impl ConnectionSlots {
    /// `most` slots, of which one source has at most `share`; at least one each.
    #[must_use]
    pub fn new(most: usize, share: usize) -> Arc<ConnectionSlots> {
        let most = most.max(1);
        Arc::new(ConnectionSlots { most, share: share.clamp(1, most), state: Mutex::default() })
    }

    /// Runs a task that holds a slot for a connection from `ip` until it drops it. The task is
    /// ended at its next wait when it has to make room. A source that is `exempt` (a proxy that
    /// speaks for many) has no share of its own. Returns whether somebody else had to make room.
    pub fn spawn<F>(
        self: &Arc<ConnectionSlots>,
        ip: IpAddr,
        exempt: bool,
        task: impl FnOnce(ConnectionSlot) -> F,
    ) -> bool
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let source = source_of(ip);
        let mut state = self.lock();
        let own = state.sources.get(&source).map_or(0, BTreeMap::len);
        let crowded = if own >= self.share && !exempt {
            state.end_oldest(source)
        } else {
            state.total >= self.most && state.make_room()
        };
        let number = state.next;
        state.next += 1;
        let slot = ConnectionSlot { slots: Arc::clone(self), source, number };
        state.begun.insert(number);
        // A runtime that ends drops the task at once, and its slot takes the lock.
        drop(state);
        let handle = tokio::spawn(task(slot)).abort_handle();
        let mut state = self.lock();
        if state.begun.remove(&number) {
            state.change(source, |held| drop(held.insert(number, handle)));
            state.total += 1;
        }
        crowded
    }

    /// Ends the connection that would make room next, as when the process has no more descriptors.
    /// Returns whether there was one.
    pub fn make_room(&self) -> bool {
        self.lock().make_room()
    }

    /// ConnectionSlots that are held.
    #[must_use]
    pub fn held(&self) -> usize {
        self.lock().total
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn make_room(&mut self) -> bool {
        let source = self.order.last().map(|(_, _, source)| *source);
        source.is_some_and(|source| self.end_oldest(source))
    }

    fn end_oldest(&mut self, source: IpAddr) -> bool {
        let oldest = self.change(source, BTreeMap::pop_first);
        let Some((_, handle)) = oldest.flatten() else { return false };
        self.total -= 1;
        handle.abort();
        true
    }

    /// Changes what a source has, and its slot in the order.
    fn change<T>(
        &mut self,
        source: IpAddr,
        change: impl FnOnce(&mut BTreeMap<u64, AbortHandle>) -> T,
    ) -> Option<T> {
        let rank = |held: &BTreeMap<u64, AbortHandle>| {
            let oldest = held.first_key_value().map_or(u64::MAX, |(number, _)| *number);
            (held.len(), Reverse(oldest), source)
        };
        let held = self.sources.entry(source).or_default();
        self.order.remove(&rank(held));
        let result = change(held);
        if held.is_empty() {
            self.sources.remove(&source);
        } else {
            self.order.insert(rank(held));
        }
        Some(result)
    }
}

impl ConnectionSlot {
    /// Something came that is worth a slot: from now on this one was idle for the shortest time.
    pub fn touch(&mut self) {
        let mut state = self.slots.lock();
        let number = state.next;
        let moved = state.change(self.source, |held| {
            let handle = held.remove(&self.number)?;
            held.insert(number, handle);
            Some(())
        });
        // Who has been told to make room stays told.
        if moved.flatten().is_some() {
            state.next += 1;
            self.number = number;
        }
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        let mut state = self.slots.lock();
        state.begun.remove(&self.number);
        let freed = state.change(self.source, |held| held.remove(&self.number).is_some());
        if freed == Some(true) {
            state.total -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, Sender, channel};

    /// Tells its name when its task ends.
    struct ReportsDrop(Sender<&'static str>, &'static str);

    impl Drop for ReportsDrop {
        fn drop(&mut self) {
            let _ = self.0.send(self.1);
        }
    }

    fn run(test: impl Future<Output = ()>) {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_all().build().unwrap().block_on(test);
    }

    fn idle(
        slots: &Arc<ConnectionSlots>,
        ip: &str,
        ended_tasks: &Sender<&'static str>,
        name: &'static str,
    ) {
        let ended_tasks = ReportsDrop(ended_tasks.clone(), name);
        slots.spawn(ip.parse().unwrap(), false, |slot| async move {
            let _held = (slot, ended_tasks);
            std::future::pending::<()>().await;
        });
    }

    async fn ended(ended_tasks: &Receiver<&'static str>) -> Vec<&'static str> {
        // Tasks that were ended are dropped when the runtime comes to them.
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        ended_tasks.try_iter().collect()
    }

    #[test]
    fn a_source_has_its_share_and_keeps_nobody_out() {
        run(async {
            let slots = ConnectionSlots::new(4, 2);
            let (report, ended_tasks) = channel();
            idle(&slots, "192.0.2.1", &report, "a1");
            idle(&slots, "192.0.2.1", &report, "a2");
            assert_eq!(ended(&ended_tasks).await, [""; 0]);
            idle(&slots, "192.0.2.1", &report, "a3");
            assert_eq!(ended(&ended_tasks).await, ["a1"], "of the same source");
            idle(&slots, "2001:db8::1", &report, "b1");
            idle(&slots, "2001:db8::2", &report, "b2");
            idle(&slots, "2001:db8::ffff:1", &report, "b3");
            assert_eq!(ended(&ended_tasks).await, ["b1"], "a /64 is one source");
            assert_eq!(slots.held(), 4);
            idle(&slots, "192.0.2.9", &report, "c1");
            assert_eq!(
                ended(&ended_tasks).await,
                ["a2"],
                "of those with most, who was idle for longest"
            );
            idle(&slots, "192.0.2.8", &report, "d1");
            assert_eq!(ended(&ended_tasks).await, ["b2"]);
            idle(&slots, "192.0.2.7", &report, "e1");
            assert_eq!(ended(&ended_tasks).await, ["a3"], "with one each, who came first");
            assert!(slots.make_room());
            assert_eq!((ended(&ended_tasks).await, slots.held()), (vec!["b3"], 3));
        });
    }

    #[test]
    fn who_is_busy_stays_and_who_leaves_is_gone() {
        run(async {
            let slots = ConnectionSlots::new(3, 2);
            let (report, ended_tasks) = channel();
            let ip: IpAddr = "192.0.2.1".parse().unwrap();
            let (leave, left) = tokio::sync::oneshot::channel::<()>();
            let first = ReportsDrop(report.clone(), "first");
            slots.spawn(ip, false, |mut slot| async move {
                let _first = first;
                tokio::task::yield_now().await;
                slot.touch();
                let _ = left.await;
            });
            idle(&slots, "192.0.2.1", &report, "second");
            assert_eq!(ended(&ended_tasks).await, [""; 0]);
            idle(&slots, "192.0.2.1", &report, "third");
            assert_eq!(ended(&ended_tasks).await, ["second"], "the first one said something");
            leave.send(()).unwrap();
            assert_eq!((ended(&ended_tasks).await, slots.held()), (vec!["first"], 1));
            // A proxy has as many slots as there are.
            for name in ["p1", "p2", "p3"] {
                let ended_tasks = ReportsDrop(report.clone(), name);
                let crowded = slots.spawn(ip, true, |slot| async move {
                    let _held = (slot, ended_tasks);
                    std::future::pending::<()>().await;
                });
                assert_eq!(crowded, name == "p3");
            }
            assert_eq!((ended(&ended_tasks).await, slots.held()), (vec!["third"], 3));
        });
    }
}
