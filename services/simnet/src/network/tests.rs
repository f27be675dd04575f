use super::*;
use crate::config::LinkRates;

const MB: u64 = 1_000_000;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn network(config: NetworkConfig<u32>) -> Network<u32, &'static str> {
    Network::new(config, Rng::new(1))
}

fn message(from: u32, to: u32, bytes: u64, message: &'static str) -> Transfer<u32, &'static str> {
    Transfer { from, to, bytes, message, sent: None }
}

/// What came, where and when (in milliseconds), in order.
fn all(network: &mut Network<u32, &'static str>) -> Vec<String> {
    let next = || {
        let Delivery { from, to, message } = network.next_delivery(Time::NEVER)?;
        let at = network.now().since(Time::ZERO).as_millis();
        Some(if from == to {
            format!("{to} {message} {at}")
        } else {
            format!("{from}>{to} {message} {at}")
        })
    };
    std::iter::from_fn(next).collect()
}

#[test]
fn a_message_takes_the_latency_and_ties_keep_the_order_of_sending() {
    let latency = Latency::Constant(ms(10));
    let mut network = network(NetworkConfig { latency, ..NetworkConfig::default() });
    network.send(message(1, 2, 0, "a"));
    network.send(message(3, 2, 0, "b"));
    network.schedule(Time::ZERO + ms(10), 2, "own");
    network.send(message(2, 2, 0, "loop"));
    network.send(message(2, 1, 5000, "c"));
    assert_eq!(network.next_at(), Some(Time::ZERO));
    assert_eq!(all(&mut network), ["2 loop 0", "1>2 a 10", "3>2 b 10", "2 own 10", "2>1 c 10"]);
}

#[test]
fn the_clock_goes_as_far_as_it_is_asked_to() {
    let mut network = network(NetworkConfig::default());
    network.schedule(Time(5), 1, "a");
    network.schedule(Time(7), 1, "b");
    assert_eq!(network.next_delivery(Time(4)), None);
    assert_eq!(network.now(), Time::ZERO);
    network.advance_to(Time(6));
    assert_eq!(network.next_delivery(Time(6)).map(|delivery| delivery.message), Some("a"));
    assert_eq!(network.next_delivery(Time(6)), None);
    assert_eq!(network.now(), Time(6), "what is overdue comes at the later time");
}

#[test]
fn what_is_cancelled_is_not_delivered() {
    let mut network = network(NetworkConfig::default());
    let first = network.schedule(Time(5), 1, "a");
    network.schedule(Time(5), 1, "b");
    assert_eq!((network.cancel(first), network.cancel(first)), (Some("a"), None));
    assert_eq!(all(&mut network), ["1 b 0"]);
}

#[test]
fn an_uplink_carries_one_message_after_another_and_small_ones_at_once() {
    let latency = Latency::Constant(ms(10));
    let rates = LinkRates { of: [(1, Rate(MB))].into(), ..LinkRates::default() };
    let config = NetworkConfig { latency, rates, ..NetworkConfig::default() };
    let mut network = network(config);
    network.send(Transfer { sent: Some("sent"), ..message(1, 2, 100_000, "a") });
    network.send(message(1, 3, 100_000, "b"));
    network.send(message(1, 2, 0, "small"));
    network.send(message(2, 1, 100_000, "c"));
    assert_eq!(network.uplink_free_at(1), Time::ZERO + ms(200));
    assert_eq!(network.occupy_uplink(1, 50_000), Time::ZERO + ms(250));
    let expected = ["1>2 small 10", "2>1 c 10", "1 sent 100", "1>2 a 110", "1>3 b 210"];
    assert_eq!(all(&mut network), expected);
    assert_eq!(network.uplink_free_at(1), Time::ZERO + ms(250));
    assert_eq!(network.uplink_free_at(2), network.now(), "it has no rate");
    network.advance_to(Time::ZERO + ms(300));
    network.set_rate(1, Some(Rate(10 * MB)));
    network.send(message(1, 2, 100_000, "d"));
    network.set_latency(Latency::Constant(ms(1)));
    network.send(message(1, 2, 0, "e"));
    network.set_rate(1, None);
    network.send(message(1, 2, 100_000, "f"));
    assert_eq!(all(&mut network), ["1>2 e 301", "1>2 f 311", "1>2 d 320"]);
}

#[test]
fn messages_of_a_pair_overtake_one_another_or_do_not() {
    let latency = Latency::Uniform { min: ms(1), max: ms(1000) };
    let sent = "abcdefghijklmnop";
    let run = |order, sharing| {
        let config = NetworkConfig { latency, order, sharing, ..NetworkConfig::default() };
        let mut network = network(config);
        for at in 0..sent.len() {
            network.send(message(1, 2, 0, &sent[at..=at]));
        }
        let came = std::iter::from_fn(|| network.next_delivery(Time::NEVER));
        came.map(|delivery| delivery.message).collect::<String>()
    };
    assert_ne!(run(Order::ByArrival, Sharing::Fifo), sent);
    assert_eq!(run(Order::PerPair, Sharing::Fifo), sent);
    assert_eq!(run(Order::ByArrival, Sharing::RoundRobin), sent, "flows are connections");
}

#[test]
fn links_are_shared_in_turn_and_the_slow_hold_up_nobody() {
    let run = |rates: LinkRates<u32>, words: &str| {
        let sharing = Sharing::RoundRobin;
        let mut network = network(NetworkConfig { rates, sharing, ..NetworkConfig::default() });
        for word in words.split_whitespace() {
            let (from, rest) = word.split_once('>').unwrap();
            let (to, bytes) = rest.split_once(':').unwrap();
            let (from, to) = (from.parse().unwrap(), to.parse().unwrap());
            network.send(message(from, to, bytes.parse().unwrap(), "m"));
        }
        all(&mut network)
    };
    let all = |rate| LinkRates::all(Rate(rate));
    assert_eq!(run(all(10 * MB), "1>2:1000000"), ["1>2 m 101"]);
    assert_eq!(run(all(10 * MB), "1>2:1000000 1>3:1000000"), ["1>2 m 200", "1>3 m 201"]);
    assert_eq!(run(all(10 * MB), "1>3:1000000 2>3:1000000"), ["1>3 m 201", "2>3 m 201"]);
    assert_eq!(run(all(10 * MB), "1>2:1000000 2>1:1000000"), ["1>2 m 101", "2>1 m 101"]);
    let slow = LinkRates { of: [(2, Rate(MB))].into(), ..all(10 * MB) };
    assert_eq!(run(slow, "1>2:1000000 1>3:1000000"), ["1>3 m 124", "1>2 m 1001"]);
}

#[test]
fn a_notice_comes_when_the_last_packet_has_left() {
    let config = NetworkConfig {
        latency: Latency::Constant(ms(500)),
        loopback: Latency::Constant(ms(7)),
        rates: LinkRates::all(Rate(MB)),
        sharing: Sharing::RoundRobin,
        ..NetworkConfig::default()
    };
    let mut network = network(config);
    network.send(Transfer { sent: Some("sent"), ..message(1, 2, 50_000, "a") });
    network.send(Transfer { sent: Some("at once"), ..message(1, 1, 50_000, "b") });
    assert_eq!(all(&mut network), ["1 at once 0", "1 b 7", "1 sent 50", "1>2 a 566"]);
    network.set_rate(1, Some(Rate(10 * MB)));
    network.send(message(1, 2, 10_000, "c"));
    assert_eq!(all(&mut network), ["1>2 c 1077"], "1 ms up, 10 ms down");
}
