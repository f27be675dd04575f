//! The network of virtual time, where its links have rates: every host has one link to a switch that is
//! never short of anything. A link carries packets of several destinations in turn, as fair queueing and
//! many TCP flows do, and a destination that does not take its packets holds up nobody else's. It only
//! computes: who calls it keeps the time and the queue of what happens.
//!
//! ```text
//!   frames ─▶ queue by destination ─▶ uplink, in turn ─▶ switch ─▶ downlink, in order ─▶ arrival
//!                  ▲ a flow has so much on its way at most ──────────────────────┘
//! ```

use crate::frame::Frame;
use dunlin_base::{Rank, Rate, Time};
use dunlin_control::Control;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Bytes that a link carries at a time for one destination.
const PACKET: u64 = 16 * 1024;
/// What one flow may have on its way: so much time of the sender's link, since the buffers of connections
/// and switches grow with it …
const FLOW: Duration = Duration::from_millis(10);
/// … and at least so many bytes.
const LEAST_FLOW: u64 = 64 * 1024;
/// What a message costs on the wire beside its payload: its header and seal, and its part of a packet.
const OVERHEAD: u64 = 32;

/// How fast links are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinkRates {
    /// Each rank's link, in both directions; `None` for one that takes no time.
    pub all: Option<Rate>,
    /// Ranks whose links differ.
    pub of: BTreeMap<Rank, Rate>,
}

impl LinkRates {
    /// The rate of a rank's link.
    #[must_use]
    pub fn rate(&self, rank: Rank) -> Option<Rate> {
        self.of.get(&rank).copied().or(self.all)
    }

    /// Whether every link takes no time.
    #[must_use]
    pub fn is_unlimited(&self) -> bool {
        self.all.is_none() && self.of.is_empty()
    }
}

/// Something that will happen in the network.
pub(super) enum Hop {
    /// A packet has left its sender.
    Left { from: Rank, to: Rank },
    /// A packet has reached its receiver.
    Landed { from: Rank, to: Rank, bytes: u64, frame: Option<Box<Frame>> },
}

/// A frame on its way, and what is told when it has left.
struct Queued<S> {
    left: u64,
    frame: Box<Frame>,
    sent: Option<S>,
}

/// The flow from one rank to another.
struct Flow<S> {
    queue: VecDeque<Queued<S>>,
    on_the_way: u64,
}

struct Link<S> {
    rate: Option<Rate>,
    /// The packet that the uplink carries now.
    carrying: Option<u64>,
    turn: Rank,
    flows: BTreeMap<Rank, Flow<S>>,
    down_free: Time,
}

/// All links. `S` is what a sender is told when a frame has left.
pub(super) struct Network<S> {
    rates: LinkRates,
    links: BTreeMap<Rank, Link<S>>,
}

fn took(rate: Option<Rate>, bytes: u64) -> Duration {
    rate.map_or(Duration::ZERO, |rate| rate.time_for(bytes))
}

impl<S> Network<S> {
    pub(super) fn new(rates: LinkRates) -> Network<S> {
        Network { rates, links: BTreeMap::new() }
    }

    pub(super) fn is_unlimited(&self) -> bool {
        self.rates.is_unlimited()
    }

    fn link(&mut self, rank: Rank) -> &mut Link<S> {
        let rate = self.rates.rate(rank);
        self.links.entry(rank).or_insert_with(|| Link {
            rate,
            carrying: None,
            turn: Rank(0),
            flows: BTreeMap::new(),
            down_free: Time::ZERO,
        })
    }

    /// Puts a frame into its queue. What happens next, if the link was idle.
    pub(super) fn send(
        &mut self,
        now: Time,
        from: Rank,
        to: Rank,
        frame: Frame,
        sent: Option<S>,
    ) -> Option<(Time, Hop)> {
        let left = bytes_of(&frame);
        let link = self.link(from);
        let flow = link.flows.entry(to).or_insert(Flow { queue: VecDeque::new(), on_the_way: 0 });
        flow.queue.push_back(Queued { left, frame: Box::new(frame), sent });
        link.start(now, from)
    }

    /// A packet has left: when it lands, what the link carries next, and what its sender is told.
    pub(super) fn left(
        &mut self,
        now: Time,
        from: Rank,
        to: Rank,
        delay: Duration,
    ) -> (Vec<(Time, Hop)>, Option<S>) {
        let mut hops = Vec::new();
        let link = self.link(from);
        let Some(bytes) = link.carrying.take() else { return (hops, None) };
        let (mut frame, mut sent) = (None, None);
        if let Some(flow) = link.flows.get_mut(&to)
            && let Some(queued) = flow.queue.front_mut()
        {
            queued.left = queued.left.saturating_sub(bytes);
            flow.on_the_way += bytes;
            if queued.left == 0
                && let Some(done) = flow.queue.pop_front()
            {
                (frame, sent) = (Some(done.frame), done.sent);
            }
        }
        hops.extend(link.start(now, from));
        let down = self.link(to);
        let at = now.max(down.down_free) + took(down.rate, bytes);
        down.down_free = at;
        hops.push((at + delay, Hop::Landed { from, to, bytes, frame }));
        (hops, sent)
    }

    /// A packet has landed: its flow may send more.
    pub(super) fn landed(
        &mut self,
        now: Time,
        from: Rank,
        to: Rank,
        bytes: u64,
    ) -> Option<(Time, Hop)> {
        let link = self.link(from);
        if let Some(flow) = link.flows.get_mut(&to) {
            flow.on_the_way = flow.on_the_way.saturating_sub(bytes);
        }
        link.start(now, from)
    }
}

impl<S> Link<S> {
    /// Lets the next flow in turn have the uplink, if it is idle.
    fn start(&mut self, now: Time, from: Rank) -> Option<(Time, Hop)> {
        if self.carrying.is_some() {
            return None;
        }
        let most = self.rate.map_or(u64::MAX, |rate| {
            let bytes = u128::from(rate.0) * FLOW.as_nanos() / 1_000_000_000;
            u64::try_from(bytes).unwrap_or(u64::MAX).max(LEAST_FLOW)
        });
        let able = |flow: &Flow<S>| !flow.queue.is_empty() && flow.on_the_way < most;
        let after = self.flows.range(Rank(self.turn.0.saturating_add(1))..);
        let (to, flow) =
            after.chain(self.flows.range(..=self.turn)).find(|(_, flow)| able(flow))?;
        let bytes = flow.queue.front()?.left.min(PACKET);
        let to = *to;
        self.turn = to;
        self.carrying = Some(bytes);
        Some((now + took(self.rate, bytes), Hop::Left { from, to }))
    }
}

/// What a frame takes on the wire.
fn bytes_of(frame: &Frame) -> u64 {
    let body = match frame {
        Frame::Piece { payload, .. } => payload.data.len() as u64,
        // Only these grow with the plan.
        Frame::Control(control @ (Control::Register(_) | Control::Go(_) | Control::Swarm(_))) => {
            dunlin_control::encode(control).len() as u64
        }
        Frame::Wire { message: dunlin_wire::Message::Bitfield(bits), .. } => bits.len() as u64,
        Frame::Control(_) | Frame::Handshake { .. } | Frame::Wire { .. } | Frame::HangUp { .. } => {
            0
        }
    };
    body + OVERHEAD
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Payload;
    use bytes::Bytes;
    use dunlin_base::TorrentId;
    use dunlin_wire::BlockRange;

    const MB: u64 = 1_000_000;

    fn frame(bytes: u64) -> Frame {
        let length = (bytes - OVERHEAD) as u32;
        let range = BlockRange { piece: 0, begin: 0, length };
        let data = Bytes::from(vec![0; length as usize]);
        Frame::Piece { torrent: TorrentId(0), range, payload: Payload { data, charge: None } }
    }

    /// Sends `from>to:bytes` words at time 0; when each landed, in milliseconds, in order of landing.
    fn run(rates: LinkRates, words: &str) -> Vec<String> {
        let mut network: Network<()> = Network::new(rates);
        let mut queue: BTreeMap<(Time, u64), Hop> = BTreeMap::new();
        let mut sequence = 0;
        let mut put = |queue: &mut BTreeMap<_, _>, hops: Vec<(Time, Hop)>| {
            for (at, hop) in hops {
                sequence += 1;
                queue.insert((at, sequence), hop);
            }
        };
        for word in words.split_whitespace() {
            let (from, rest) = word.split_once('>').unwrap();
            let (to, bytes) = rest.split_once(':').unwrap();
            let rank = |text: &str| Rank(text.parse().unwrap());
            let frame = frame(bytes.parse().unwrap());
            let hop = network.send(Time::ZERO, rank(from), rank(to), frame, None);
            put(&mut queue, hop.into_iter().collect());
        }
        let mut landed = Vec::new();
        while let Some(((now, _), hop)) = queue.pop_first() {
            match hop {
                Hop::Left { from, to } => {
                    let (hops, _) = network.left(now, from, to, Duration::ZERO);
                    put(&mut queue, hops);
                }
                Hop::Landed { from, to, bytes, frame } => {
                    if frame.is_some() {
                        landed.push(format!("{from}>{to} {}", now.since(Time::ZERO).as_millis()));
                    }
                    let hop = network.landed(now, from, to, bytes);
                    put(&mut queue, hop.into_iter().collect());
                }
            }
        }
        landed
    }

    #[test]
    fn links_are_shared_and_the_slow_hold_up_nobody() {
        let all = |rate| LinkRates { all: Some(Rate(rate)), of: BTreeMap::new() };
        assert_eq!(run(all(10 * MB), "1>2:1000000"), ["1>2 101"]);
        assert_eq!(run(all(10 * MB), "1>2:1000000 1>3:1000000"), ["1>2 200", "1>3 201"]);
        assert_eq!(run(all(10 * MB), "1>3:1000000 2>3:1000000"), ["1>3 201", "2>3 201"]);
        assert_eq!(run(all(10 * MB), "1>2:1000000 2>1:1000000"), ["1>2 101", "2>1 101"]);
        let slow = LinkRates { of: [(Rank(2), Rate(MB))].into(), ..all(10 * MB) };
        assert_eq!(run(slow, "1>2:1000000 1>3:1000000"), ["1>3 124", "1>2 1001"]);
    }
}
