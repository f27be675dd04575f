//! What a network is like: latency, order, rates of links, and how a link is shared.

use dunlin_base::{Rate, Rng};
use std::collections::BTreeMap;
use std::time::Duration;

/// What a network is like. The default one takes no time for anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkConfig<Id> {
    /// What a message takes from one node to another, beside the time of its bytes.
    pub latency: Latency,
    /// What a message takes from a node to itself. It crosses no link.
    pub loopback: Latency,
    /// Whether messages may overtake one another.
    pub order: Order,
    /// How fast the nodes' links are.
    pub rates: LinkRates<Id>,
    /// How a link is shared.
    pub sharing: Sharing,
}

impl<Id> Default for NetworkConfig<Id> {
    fn default() -> NetworkConfig<Id> {
        NetworkConfig {
            latency: Latency::default(),
            loopback: Latency::default(),
            order: Order::default(),
            rates: LinkRates::default(),
            sharing: Sharing::default(),
        }
    }
}

/// What a message takes beside the time of its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Latency {
    /// Always the same. Draws nothing from the generator.
    Constant(Duration),
    /// Between `min` and `max`, both included: one draw a message. With a `max` below `min` it is
    /// `min`.
    Uniform {
        /// The shortest latency.
        min: Duration,
        /// The longest latency.
        max: Duration,
    },
}

impl Default for Latency {
    fn default() -> Latency {
        Latency::Constant(Duration::ZERO)
    }
}

impl Latency {
    /// The latency of one message, in whole nanoseconds.
    pub fn draw(self, rng: &mut Rng) -> Duration {
        match self {
            Latency::Constant(latency) => latency,
            Latency::Uniform { min, max } => {
                let (min, max) = (min.as_nanos() as u64, max.as_nanos() as u64);
                Duration::from_nanos(min + rng.below(max.saturating_sub(min).saturating_add(1)))
            }
        }
    }
}

/// Whether messages from one node to another may overtake one another. Between other pairs there is
/// no order but that of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// Each arrives when its own latency has passed, like datagrams.
    #[default]
    ByArrival,
    /// None arrives before one that was sent earlier, like a connection.
    PerPair,
}

/// How fast links are, in bytes a second.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkRates<Id> {
    /// Each node's link, in each direction; `None` for one that takes no time.
    pub all: Option<Rate>,
    /// Nodes whose links differ.
    pub of: BTreeMap<Id, Rate>,
}

impl<Id> Default for LinkRates<Id> {
    /// No link takes any time.
    fn default() -> LinkRates<Id> {
        LinkRates { all: None, of: BTreeMap::new() }
    }
}

impl<Id: Ord> LinkRates<Id> {
    /// Every node has a link of this rate.
    #[must_use]
    pub fn all(rate: Rate) -> LinkRates<Id> {
        LinkRates { all: Some(rate), of: BTreeMap::new() }
    }

    /// The rate of a node's link.
    #[must_use]
    pub fn rate(&self, id: Id) -> Option<Rate> {
        self.of.get(&id).copied().or(self.all)
    }

    /// Whether every link takes no time.
    #[must_use]
    pub fn is_unlimited(&self) -> bool {
        self.all.is_none() && self.of.is_empty()
    }
}

/// How a node's link is shared by what it sends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sharing {
    /// The uplink carries one message after another, each as a whole; downlinks take no time. A
    /// message of 0 bytes takes no link and waits for none, so it may overtake others.
    #[default]
    Fifo,
    /// The uplink carries packets of its destinations in turn, as fair queueing and many TCP flows
    /// do. Downlinks have the same rate and carry packets in order. Messages of a pair are in
    /// order.
    RoundRobin,
}

/// How long a link takes for so many bytes.
pub(crate) fn time_for(rate: Option<Rate>, bytes: u64) -> Duration {
    rate.map_or(Duration::ZERO, |rate| rate.time_for(bytes))
}
