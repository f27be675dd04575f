//! Nodes that send one another messages in virtual time.

use crate::config::{Latency, NetworkConfig, Order, Sharing};
use crate::fifo::Fifo;
use crate::queue::{EventKey, EventQueue};
use crate::round_robin::{Hop, RoundRobin};
use crate::transfer::{Delivery, Transfer};
use dunlin_base::{Rate, Rng, Time};
use std::collections::BTreeMap;
use std::time::Duration;

#[derive(Debug)]
enum Step<Id, T> {
    Deliver(Delivery<Id, T>),
    Hop(Hop<Id, T>),
}

#[derive(Debug)]
enum Links<Id, T> {
    Fifo(Fifo<Id>),
    RoundRobin(RoundRobin<Id, T>),
}

/// A clock, nodes, and links between them. See the crate's documentation for units and order.
///
/// There is no list of nodes: whoever is named exists. Memory is proportional to the nodes and
/// pairs that have sent, and to what is on its way.
#[derive(Debug)]
pub struct Network<Id, T> {
    config: NetworkConfig<Id>,
    queue: EventQueue<Step<Id, T>>,
    links: Links<Id, T>,
    last_arrival: BTreeMap<(Id, Id), Time>,
    rng: Rng,
}

impl<Id: Copy + Ord, T> Network<Id, T> {
    /// A network in which nothing is on its way, at [`Time::ZERO`]. `rng` draws latencies.
    #[must_use]
    pub fn new(config: NetworkConfig<Id>, rng: Rng) -> Network<Id, T> {
        let links = match config.sharing {
            Sharing::Fifo => Links::Fifo(Fifo::new()),
            Sharing::RoundRobin => Links::RoundRobin(RoundRobin::new()),
        };
        let (queue, last_arrival) = (EventQueue::new(), BTreeMap::new());
        Network { config, queue, links, last_arrival, rng }
    }

    /// The time that it is.
    #[must_use]
    pub fn now(&self) -> Time {
        self.queue.now()
    }

    /// Puts the clock forward. What is then overdue is delivered at the later time.
    pub fn advance_to(&mut self, to: Time) {
        self.queue.advance_to(to);
    }

    /// When something happens next, on a link or at a node; `None` if nothing ever will.
    #[must_use]
    pub fn next_at(&self) -> Option<Time> {
        self.queue.next_at()
    }

    /// A time between `min` and `max`, both included, drawn from the network's generator: for what
    /// nodes do beside sending, so that one seed gives the whole run.
    pub fn draw(&mut self, min: Duration, max: Duration) -> Duration {
        Latency::Uniform { min, max }.draw(&mut self.rng)
    }

    /// The latency of messages that are sent, and of packets that leave, from now on.
    pub fn set_latency(&mut self, latency: Latency) {
        self.config.latency = latency;
    }

    /// What a message from a node to itself takes from now on.
    pub fn set_loopback(&mut self, latency: Latency) {
        self.config.loopback = latency;
    }

    /// The rate of a node's link, in bytes a second; `None` for one that takes no time.
    #[must_use]
    pub fn rate(&self, id: Id) -> Option<Rate> {
        self.config.rates.rate(id)
    }

    /// The rate of a node's link, in bytes a second, for what it begins to carry from now on;
    /// `None` for one that takes no time, unless all links have a rate.
    pub fn set_rate(&mut self, id: Id, rate: Option<Rate>) {
        match rate {
            Some(rate) => self.config.rates.of.insert(id, rate),
            None => self.config.rates.of.remove(&id),
        };
        if let Links::RoundRobin(links) = &mut self.links {
            links.set_rate(id, self.config.rates.rate(id));
        }
    }

    /// Sends a message.
    pub fn send(&mut self, transfer: Transfer<Id, T>) {
        let now = self.now();
        let (from, to) = (transfer.from, transfer.to);
        let left = match &mut self.links {
            _ if from == to => now,
            Links::RoundRobin(links) => {
                let hop = links.send(now, &self.config.rates, transfer);
                return self.schedule_hop(hop);
            }
            Links::Fifo(_) if transfer.bytes == 0 => now,
            Links::Fifo(links) => {
                links.carry(now, from, self.config.rates.rate(from), transfer.bytes)
            }
        };
        let latency = if from == to { self.config.loopback } else { self.config.latency };
        let mut at = left + latency.draw(&mut self.rng);
        if self.config.order == Order::PerPair {
            let last = self.last_arrival.entry((from, to)).or_default();
            at = at.max(*last);
            *last = at;
        }
        let Transfer { message, sent, .. } = transfer;
        self.queue.schedule(at, Step::Deliver(Delivery { from, to, message }));
        if let Some(message) = sent {
            self.schedule(left, from, message);
        }
    }

    /// Schedules what a node delivers to itself at `at`, beside all links. It has its place in the
    /// order of all events; with `at` in the past it comes now.
    pub fn schedule(&mut self, at: Time, id: Id, message: T) -> EventKey {
        self.queue.schedule(at, Step::Deliver(Delivery { from: id, to: id, message }))
    }

    /// Takes back what a node has scheduled for itself; `None` if it has been delivered, or was
    /// cancelled before.
    pub fn cancel(&mut self, key: EventKey) -> Option<T> {
        match self.queue.cancel(key)? {
            Step::Deliver(delivery) => Some(delivery.message),
            Step::Hop(_) => None,
        }
    }

    /// The next delivery, if there is one at `until` or before. The clock then stands at its time;
    /// without one it stands at the last thing that happened on a link.
    pub fn next_delivery(&mut self, until: Time) -> Option<Delivery<Id, T>> {
        loop {
            let delivery = match self.queue.pop(until)? {
                Step::Deliver(delivery) => Some(delivery),
                Step::Hop(hop) => self.hop(hop),
            };
            if delivery.is_some() {
                return delivery;
            }
        }
    }

    fn hop(&mut self, hop: Hop<Id, T>) -> Option<Delivery<Id, T>> {
        let now = self.now();
        let Links::RoundRobin(links) = &mut self.links else { return None };
        match hop {
            Hop::Left { from, to } => {
                let (rates, latency) = (&self.config.rates, self.config.latency);
                let (hops, sent) = links.left(now, rates, (from, to), latency, &mut self.rng);
                for hop in hops {
                    self.schedule_hop(hop);
                }
                sent.map(|message| Delivery { from, to: from, message })
            }
            Hop::Landed { from, to, bytes, message } => {
                let hop = links.landed(now, &self.config.rates, (from, to), bytes);
                self.schedule_hop(hop);
                message.map(|message| Delivery { from, to, message: *message })
            }
        }
    }

    fn schedule_hop(&mut self, hop: Option<(Time, Hop<Id, T>)>) {
        if let Some((at, hop)) = hop {
            self.queue.schedule(at, Step::Hop(hop));
        }
    }

    /// When the uplink of a node is free, at the earliest now. For worlds that carry some bytes
    /// themselves, as streams that wait for their reader do.
    ///
    /// # Panics
    /// If links are shared in another way than [`Sharing::Fifo`]: there the uplink has its own
    /// queue.
    #[must_use]
    pub fn uplink_free_at(&self, id: Id) -> Time {
        match &self.links {
            Links::Fifo(links) => links.free_at(self.now(), id),
            Links::RoundRobin(_) => panic!("these links have queues of their own"),
        }
    }

    /// Lets the uplink of a node carry bytes that are no message of this network, after what it
    /// carries already; returns when they have left.
    ///
    /// # Panics
    /// As [`Network::uplink_free_at`].
    pub fn occupy_uplink(&mut self, id: Id, bytes: u64) -> Time {
        let now = self.now();
        match &mut self.links {
            Links::Fifo(links) => links.carry(now, id, self.config.rates.rate(id), bytes),
            Links::RoundRobin(_) => panic!("these links have queues of their own"),
        }
    }
}

#[cfg(test)]
mod tests;
