//! Links that carry packets of several destinations in turn. Every node has one link to a switch
//! that is never short of anything. A destination that does not take its packets holds up nobody
//! else's.
//!
//! ```text
//!   messages ─▶ queue by destination ─▶ uplink, in turn ─▶ switch ─▶ downlink, in order ─▶ landing
//!                   ▲ a flow has so much on its way at most ──────────────────────┘
//! ```

use crate::config::{Latency, LinkRates, time_for};
use crate::transfer::Transfer;
use dunlin_base::{Rate, Rng, Time};
use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::time::Duration;

/// Bytes that a link carries at a time for one destination.
const PACKET: u64 = 16 * 1024;
/// What one flow may have on its way: so much time of the sender's link, since the buffers of
/// connections and switches grow with it …
const FLOW: Duration = Duration::from_millis(10);
/// … and at least so many bytes.
const LEAST_FLOW: u64 = 64 * 1024;

/// Something that will happen on the links.
#[derive(Debug)]
pub(crate) enum Hop<Id, T> {
    /// A packet has left its sender.
    Left { from: Id, to: Id },
    /// A packet has reached its receiver, and with the last one of a message the message.
    Landed { from: Id, to: Id, bytes: u64, message: Option<Box<T>> },
}

/// Hops that are to be scheduled, in this order.
pub(crate) type Hops<Id, T> = [Option<(Time, Hop<Id, T>)>; 2];

/// A message that waits or is on its way, and the notice for its sender when it has left.
#[derive(Debug)]
struct Queued<T> {
    /// Bytes that have not left yet.
    left: u64,
    message: Box<T>,
    sent: Option<T>,
}

/// What goes from one node to another.
#[derive(Debug)]
struct Flow<T> {
    queue: VecDeque<Queued<T>>,
    on_the_way: u64,
    /// When its last packet lands: no other one lands before.
    last_landing: Time,
}

#[derive(Debug)]
struct Link<Id, T> {
    rate: Option<Rate>,
    /// The bytes of the packet that the uplink carries now.
    carrying: Option<u64>,
    /// The destination that had the uplink last.
    turn: Option<Id>,
    flows: BTreeMap<Id, Flow<T>>,
    down_free: Time,
}

/// The links of all nodes.
#[derive(Debug)]
pub(crate) struct RoundRobin<Id, T> {
    links: BTreeMap<Id, Link<Id, T>>,
}

impl<Id: Copy + Ord, T> RoundRobin<Id, T> {
    pub(crate) fn new() -> RoundRobin<Id, T> {
        RoundRobin { links: BTreeMap::new() }
    }

    /// A link has another rate from its next packet on.
    pub(crate) fn set_rate(&mut self, id: Id, rate: Option<Rate>) {
        self.links.entry(id).and_modify(|link| link.rate = rate);
    }

    fn link(&mut self, rates: &LinkRates<Id>, id: Id) -> &mut Link<Id, T> {
        self.links.entry(id).or_insert_with(|| Link {
            rate: rates.rate(id),
            carrying: None,
            turn: None,
            flows: BTreeMap::new(),
            down_free: Time::ZERO,
        })
    }

    /// Puts a message into its queue; the uplink begins to carry it if it was idle.
    #[must_use]
    pub(crate) fn send(
        &mut self,
        now: Time,
        rates: &LinkRates<Id>,
        transfer: Transfer<Id, T>,
    ) -> Option<(Time, Hop<Id, T>)> {
        let Transfer { from, to, bytes, message, sent } = transfer;
        let link = self.link(rates, from);
        let flow = link.flows.entry(to).or_insert_with(|| Flow {
            queue: VecDeque::new(),
            on_the_way: 0,
            last_landing: Time::ZERO,
        });
        flow.queue.push_back(Queued { left: bytes, message: Box::new(message), sent });
        link.start(now, from)
    }

    /// A packet has left: what the link carries next, when the packet lands, and the sender's
    /// notice.
    #[must_use]
    pub(crate) fn left(
        &mut self,
        now: Time,
        rates: &LinkRates<Id>,
        (from, to): (Id, Id),
        latency: Latency,
        rng: &mut Rng,
    ) -> (Hops<Id, T>, Option<T>) {
        let link = self.link(rates, from);
        let Some(bytes) = link.carrying.take() else { return ([None, None], None) };
        let (mut message, mut sent) = (None, None);
        if let Some(flow) = link.flows.get_mut(&to)
            && let Some(queued) = flow.queue.front_mut()
        {
            queued.left = queued.left.saturating_sub(bytes);
            flow.on_the_way += bytes;
            if queued.left == 0
                && let Some(done) = flow.queue.pop_front()
            {
                (message, sent) = (Some(done.message), done.sent);
            }
        }
        let next = link.start(now, from);
        let down = self.link(rates, to);
        down.down_free = now.max(down.down_free) + time_for(down.rate, bytes);
        let mut at = down.down_free + latency.draw(rng);
        // With a constant latency the downlink keeps the order already.
        if let Latency::Uniform { .. } = latency
            && let Some(flow) = self.link(rates, from).flows.get_mut(&to)
        {
            at = at.max(flow.last_landing);
            flow.last_landing = at;
        }
        ([next, Some((at, Hop::Landed { from, to, bytes, message }))], sent)
    }

    /// A packet has landed: its flow may send more.
    #[must_use]
    pub(crate) fn landed(
        &mut self,
        now: Time,
        rates: &LinkRates<Id>,
        (from, to): (Id, Id),
        bytes: u64,
    ) -> Option<(Time, Hop<Id, T>)> {
        let link = self.link(rates, from);
        if let Some(flow) = link.flows.get_mut(&to) {
            flow.on_the_way = flow.on_the_way.saturating_sub(bytes);
        }
        link.start(now, from)
    }
}

impl<Id: Copy + Ord, T> Link<Id, T> {
    /// Lets the next flow in turn have the uplink, if it is idle.
    fn start(&mut self, now: Time, from: Id) -> Option<(Time, Hop<Id, T>)> {
        if self.carrying.is_some() {
            return None;
        }
        let most = self.rate.map_or(u64::MAX, |rate| {
            let bytes = u128::from(rate.0) * FLOW.as_nanos() / 1_000_000_000;
            u64::try_from(bytes).unwrap_or(u64::MAX).max(LEAST_FLOW)
        });
        let able = |(_, flow): &(&Id, &Flow<T>)| !flow.queue.is_empty() && flow.on_the_way < most;
        let (to, flow) = match self.turn {
            Some(turn) => {
                let after = self.flows.range((Bound::Excluded(turn), Bound::Unbounded));
                after.chain(self.flows.range(..=turn)).find(able)
            }
            None => self.flows.iter().find(able),
        }?;
        let bytes = flow.queue.front()?.left.min(PACKET);
        let to = *to;
        self.turn = Some(to);
        self.carrying = Some(bytes);
        Some((now + time_for(self.rate, bytes), Hop::Left { from, to }))
    }
}
