//! A network in virtual time, for worlds that run many nodes on one thread: a clock, a queue of
//! events in one total order, and models of links. It only computes: it opens no socket, starts no
//! thread and reads no clock, and the same calls with the same seed give the same run, bit for bit.
//!
//! [`Network`] is what a world uses. It is generic over the name of a node (`Id`) and over what
//! travels (`T`), of which it knows the number of bytes alone. [`EventQueue`] and [`Timers`] are
//! its parts for worlds that have other things to order.
//!
//! ```
//! use dunlin_base::{Rate, Rng, Time};
//! use dunlin_simnet::{Delivery, Latency, LinkRates, Network, NetworkConfig, Transfer};
//! use std::time::Duration;
//!
//! // Every node uploads a megabyte a second; a message takes 10 ms beside.
//! let mut network = Network::new(
//!     NetworkConfig {
//!         latency: Latency::Constant(Duration::from_millis(10)),
//!         rates: LinkRates::all(Rate(1_000_000)),
//!         ..NetworkConfig::default()
//!     },
//!     Rng::new(1),
//! );
//! network.send(Transfer { from: "a", to: "b", bytes: 500_000, message: "block", sent: None });
//! let second = Time::from_duration(Duration::from_secs(1));
//! let delivery = network.next_delivery(second);
//! assert_eq!(delivery, Some(Delivery { from: "a", to: "b", message: "block" }));
//! assert_eq!(network.now(), Time::from_duration(Duration::from_millis(510)));
//! ```
//!
//! # Units
//!
//! Moments are [`Time`](dunlin_base::Time): whole nanoseconds since the start of the run. Sizes are
//! bytes, rates whole bytes a second. How long bytes take is rounded down to a nanosecond. No float
//! orders anything.
//!
//! # Order
//!
//! 1. Events happen by their time, and those of one time in the order in which they were scheduled.
//!    A sequence number that is never used again decides; nothing is left to chance or to a hash.
//! 2. What is scheduled for the past happens now, after everything that is already scheduled for
//!    now.
//! 3. A [`Transfer`] schedules its delivery before the notice that it has been sent.
//! 4. Whether messages of one pair of nodes may overtake one another is [`Order`]'s choice.
//!
//! A world that has timers too decides which of the two is first at one time: it asks
//! [`Network::next_delivery`] until the timer's time, which includes it, and then fires the timer.
//!
//! # Adding a model
//!
//! A [`Latency`] is what a message takes beside its bytes; one that depends on the pair of nodes is
//! one more variant. A [`Sharing`] is how links carry bytes: one more variant, and a module beside
//! `fifo` and `round_robin` that keeps the state of the links, schedules its own steps in the
//! network's queue, and may cancel them when the rates of others change. Loss is a decision at the
//! landing of a transfer, drawn from the network's generator.

mod config;
mod fifo;
mod network;
mod queue;
mod round_robin;
mod timers;
mod transfer;

pub use config::{Latency, LinkRates, NetworkConfig, Order, Sharing};
pub use network::Network;
pub use queue::{EventKey, EventQueue};
pub use timers::Timers;
pub use transfer::{Delivery, Transfer};
