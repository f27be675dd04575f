//! Places for connections of strangers: so many in all, and so many for each source. Whoever comes gets
//! a place; who was idle for longest makes room, of the same source if that has its share, otherwise of
//! the source that has most places. So one host keeps nobody else out, however fast it connects.

use dunlin_base::source_of;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::task::AbortHandle;

/// Places, and who has them.
#[derive(Debug)]
pub struct Places {
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
    /// Places whose task is being started.
    begun: BTreeSet<u64>,
    /// Each source by its places, and then by who was idle for longest.
    order: BTreeSet<(usize, Reverse<u64>, IpAddr)>,
}

/// A place. Dropping it frees it.
#[derive(Debug)]
pub struct Place {
    places: Arc<Places>,
    source: IpAddr,
    number: u64,
}

impl Places {
    /// `most` places, of which one source has at most `share`; at least one each.
    #[must_use]
    pub fn new(most: usize, share: usize) -> Arc<Places> {
        let most = most.max(1);
        Arc::new(Places { most, share: share.clamp(1, most), state: Mutex::default() })
    }

    /// Runs a task that holds a place for a connection from `ip` until it drops it. The task is ended
    /// at its next wait when it has to make room. A source that is `exempt` (a proxy that speaks for
    /// many) has no share of its own. Returns whether somebody else had to make room.
    pub fn spawn<F>(
        self: &Arc<Places>,
        ip: IpAddr,
        exempt: bool,
        task: impl FnOnce(Place) -> F,
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
        let place = Place { places: Arc::clone(self), source, number };
        state.begun.insert(number);
        // A runtime that ends drops the task at once, and its place takes the lock.
        drop(state);
        let handle = tokio::spawn(task(place)).abort_handle();
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

    /// Places that are held.
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

    /// Changes what a source has, and its place in the order.
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

impl Place {
    /// Something came that is worth a place: from now on this one was idle for the shortest time.
    pub fn touch(&mut self) {
        let mut state = self.places.lock();
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

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.places.lock();
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
    struct Told(Sender<&'static str>, &'static str);

    impl Drop for Told {
        fn drop(&mut self) {
            let _ = self.0.send(self.1);
        }
    }

    fn run(test: impl Future<Output = ()>) {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_all().build().unwrap().block_on(test);
    }

    fn idle(places: &Arc<Places>, ip: &str, told: &Sender<&'static str>, name: &'static str) {
        let told = Told(told.clone(), name);
        places.spawn(ip.parse().unwrap(), false, |place| async move {
            let _held = (place, told);
            std::future::pending::<()>().await;
        });
    }

    async fn ended(told: &Receiver<&'static str>) -> Vec<&'static str> {
        // Tasks that were ended are dropped when the runtime comes to them.
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        told.try_iter().collect()
    }

    #[test]
    fn a_source_has_its_share_and_keeps_nobody_out() {
        run(async {
            let places = Places::new(4, 2);
            let (tell, told) = channel();
            idle(&places, "192.0.2.1", &tell, "a1");
            idle(&places, "192.0.2.1", &tell, "a2");
            assert_eq!(ended(&told).await, [""; 0]);
            idle(&places, "192.0.2.1", &tell, "a3");
            assert_eq!(ended(&told).await, ["a1"], "of the same source");
            idle(&places, "2001:db8::1", &tell, "b1");
            idle(&places, "2001:db8::2", &tell, "b2");
            idle(&places, "2001:db8::ffff:1", &tell, "b3");
            assert_eq!(ended(&told).await, ["b1"], "a /64 is one source");
            assert_eq!(places.held(), 4);
            idle(&places, "192.0.2.9", &tell, "c1");
            assert_eq!(ended(&told).await, ["a2"], "of those with most, who was idle for longest");
            idle(&places, "192.0.2.8", &tell, "d1");
            assert_eq!(ended(&told).await, ["b2"]);
            idle(&places, "192.0.2.7", &tell, "e1");
            assert_eq!(ended(&told).await, ["a3"], "with one each, who came first");
            assert!(places.make_room());
            assert_eq!((ended(&told).await, places.held()), (vec!["b3"], 3));
        });
    }

    #[test]
    fn who_is_busy_stays_and_who_leaves_is_gone() {
        run(async {
            let places = Places::new(3, 2);
            let (tell, told) = channel();
            let ip: IpAddr = "192.0.2.1".parse().unwrap();
            let (leave, left) = tokio::sync::oneshot::channel::<()>();
            let first = Told(tell.clone(), "first");
            places.spawn(ip, false, |mut place| async move {
                let _first = first;
                tokio::task::yield_now().await;
                place.touch();
                let _ = left.await;
            });
            idle(&places, "192.0.2.1", &tell, "second");
            assert_eq!(ended(&told).await, [""; 0]);
            idle(&places, "192.0.2.1", &tell, "third");
            assert_eq!(ended(&told).await, ["second"], "the first one said something");
            leave.send(()).unwrap();
            assert_eq!((ended(&told).await, places.held()), (vec!["first"], 1));
            // A proxy has as many places as there are.
            for name in ["p1", "p2", "p3"] {
                let told = Told(tell.clone(), name);
                let crowded = places.spawn(ip, true, |place| async move {
                    let _held = (place, told);
                    std::future::pending::<()>().await;
                });
                assert_eq!(crowded, name == "p3");
            }
            assert_eq!((ended(&told).await, places.held()), (vec!["third"], 3));
        });
    }
}
