//! Networks drawn by seed: equal seeds and equal calls give equal runs, nothing is lost, time never
//! goes back, and no link carries more than its rate.

use dunlin_base::{Rate, Rng, Time};
use dunlin_simnet::{
    Delivery, EventKey, Latency, LinkRates, Network, NetworkConfig, Order, Sharing, Transfer,
};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::time::Duration;

#[derive(Clone, Debug)]
enum Call {
    Send { from: u8, to: u8, bytes: u64, notice: bool },
    Schedule { after: u64, node: u8 },
    CancelLast,
    Deliver(u8),
    Pass(u64),
}

fn call() -> impl Strategy<Value = Call> {
    let node = 0..4_u8;
    prop_oneof![
        4 => (node.clone(), node.clone(), 0..100_000_u64, any::<bool>())
            .prop_map(|(from, to, bytes, notice)| Call::Send { from, to, bytes, notice }),
        1 => (0..50_000_000_u64, node).prop_map(|(after, node)| Call::Schedule { after, node }),
        1 => Just(Call::CancelLast),
        2 => (1..5_u8).prop_map(Call::Deliver),
        1 => (0..20_000_000_u64).prop_map(Call::Pass),
    ]
}

fn config() -> impl Strategy<Value = NetworkConfig<u8>> {
    let latency = prop_oneof![
        (0..5_u64).prop_map(|ms| Latency::Constant(Duration::from_millis(ms))),
        (0..5_u64, 0..9_u64).prop_map(|(min, max)| Latency::Uniform {
            min: Duration::from_millis(min),
            max: Duration::from_millis(max),
        }),
    ];
    let rates =
        (prop::option::of(100_000..10_000_000_u64), prop::option::of(50_000..1_000_000_u64));
    let orders = prop_oneof![Just(Order::ByArrival), Just(Order::PerPair)];
    let sharings = prop_oneof![Just(Sharing::Fifo), Just(Sharing::RoundRobin)];
    (latency.clone(), latency, rates, orders, sharings).prop_map(
        |(latency, loopback, (all, own), order, sharing)| {
            let of = own.map(|rate| (1, Rate(rate))).into_iter().collect();
            let rates = LinkRates { all: all.map(Rate), of };
            NetworkConfig { latency, loopback, order, rates, sharing }
        },
    )
}

/// What travels: the number of the call, and whether it is the notice that it was sent.
type Message = (usize, bool);

/// Everything that came, and when. At the end all is delivered.
fn run(
    config: &NetworkConfig<u8>,
    seed: u64,
    calls: &[Call],
) -> Vec<(Time, Delivery<u8, Message>)> {
    let mut network: Network<u8, Message> = Network::new(config.clone(), Rng::new(seed));
    let mut came = Vec::new();
    let mut last: Option<EventKey> = None;
    for (number, call) in calls.iter().enumerate() {
        match *call {
            Call::Send { from, to, bytes, notice } => {
                let sent = notice.then_some((number, true));
                network.send(Transfer { from, to, bytes, message: (number, false), sent });
            }
            Call::Schedule { after, node } => {
                let at = network.now() + Duration::from_nanos(after);
                last = Some(network.schedule(at, node, (number, false)));
            }
            Call::CancelLast => {
                last.take().map(|key| network.cancel(key));
            }
            Call::Deliver(most) => {
                for _ in 0..most {
                    let delivery = network.next_delivery(Time::NEVER);
                    came.extend(delivery.map(|delivery| (network.now(), delivery)));
                }
            }
            Call::Pass(nanos) => {
                let until = network.now() + Duration::from_nanos(nanos);
                while let Some(delivery) = network.next_delivery(until) {
                    came.push((network.now(), delivery));
                }
                network.advance_to(until);
                assert!(network.next_at().is_none_or(|at| at > until));
            }
        }
    }
    while let Some(delivery) = network.next_delivery(Time::NEVER) {
        came.push((network.now(), delivery));
    }
    came
}

/// When each call was made is not known here, so this bounds from the start of the run.
fn assert_no_link_is_too_fast(
    config: &NetworkConfig<u8>,
    calls: &[Call],
    came: &[(Time, Delivery<u8, Message>)],
) {
    let mut carried: BTreeMap<u8, u64> = BTreeMap::new();
    for (at, Delivery { from, to, message: (number, notice) }) in came {
        let Call::Send { bytes, .. } = calls[*number] else { continue };
        if *notice || from == to {
            continue;
        }
        let Some(rate) = config.rates.rate(*from) else { continue };
        let sum = carried.entry(*from).or_default();
        *sum += bytes;
        // Each message, and each of its packets, may be rounded down by a nanosecond.
        let slack = Duration::from_nanos(10 * calls.len() as u64);
        assert!(*at + slack >= Time::ZERO + rate.time_for(*sum), "{at:?}: {sum} bytes of {from}");
    }
}

proptest! {
    #[test]
    fn equal_seeds_give_equal_runs(
        config in config(),
        seed in any::<u64>(),
        calls in prop::collection::vec(call(), 0..60),
    ) {
        let came = run(&config, seed, &calls);
        prop_assert_eq!(&came, &run(&config, seed, &calls));
        prop_assert!(came.is_sorted_by_key(|(at, _)| *at));
        assert_no_link_is_too_fast(&config, &calls, &came);
        // Every message comes once, every notice once, and nothing else.
        let mut expected: Vec<Message> = Vec::new();
        for (number, call) in calls.iter().enumerate() {
            if let Call::Send { notice, .. } = call {
                expected.push((number, false));
                expected.extend(notice.then_some((number, true)));
            }
        }
        let is_sent = |number: usize| matches!(calls[number], Call::Send { .. });
        let messages = came.iter().map(|(_, delivery)| delivery.message);
        let mut sent: Vec<Message> = messages.filter(|(number, _)| is_sent(*number)).collect();
        sent.sort_unstable();
        prop_assert_eq!(sent, expected);
        // Messages of a pair are in order where the network promises it.
        let ordered = config.order == Order::PerPair || config.sharing == Sharing::RoundRobin;
        let mut latest: BTreeMap<(u8, u8), usize> = BTreeMap::new();
        for (_, Delivery { from, to, message: (number, notice) }) in &came {
            if ordered && from != to && !notice {
                let before = latest.insert((*from, *to), *number);
                prop_assert!(before.is_none_or(|before| before < *number));
            }
        }
    }

    #[test]
    fn another_seed_gives_another_run(seed in any::<u64>()) {
        let latency = Latency::Uniform { min: Duration::ZERO, max: Duration::from_secs(1) };
        let config = NetworkConfig { latency, ..NetworkConfig::default() };
        let calls = vec![Call::Send { from: 0, to: 1, bytes: 0, notice: false }; 20];
        prop_assert_ne!(run(&config, seed, &calls), run(&config, seed ^ 1, &calls));
    }
}
