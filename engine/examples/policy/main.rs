//! A source policy of one file, studied in a virtual swarm: three seeds of different speed give one
//! file to two ranks that want it.
//!
//! ```sh
//! cargo run -p dunlin-engine --example policy
//! ```

#![allow(clippy::print_stdout, reason = "a program that prints what it has found")]

#[path = "../../tests/cluster_world/mod.rs"]
mod cluster_world;
mod fewest_blocks;

use cluster_world::{Setup, World};
use dunlin_base::Time;
use dunlin_engine::config::SourceOrder;
use std::fmt::Write;
use std::time::Duration;

/// How many pieces each rank has from whom, and when all is done: a line for each order.
fn study(orders: &[SourceOrder]) -> String {
    let mut text = String::new();
    for order in orders {
        let setup = Setup { sources: *order, ..Setup::default() };
        let ranks = ["has a:40", "has a:40", "has a:40", "wants a", "wants a"];
        let mut world = World::new(&setup, &ranks);
        for (rank, rate) in [(1, 10_000_000), (2, 20_000_000), (3, 40_000_000)] {
            world.set_uplinks([rank], rate);
        }
        assert!(world.run(Duration::from_secs(600)), "{order} does not come to its end");
        assert!(world.has_all(4) && world.has_all(5), "{order} leaves pieces out");
        let (first, second) = (world.pieces_from(4), world.pieces_from(5));
        let (millis, order) = (world.now().since(Time::ZERO).as_millis(), order.name());
        let line = writeln!(text, "{order}: {millis} ms, rank 4 {first:?}, rank 5 {second:?}");
        line.expect("a String takes all");
    }
    text
}

fn main() {
    let ours = SourceOrder::new(&fewest_blocks::POLICY);
    print!("{}", study(&[&[ours], SourceOrder::ALL].concat()));
}

#[test]
fn fewest_blocks_beside_round_robin() {
    let ours = SourceOrder::new(&fewest_blocks::POLICY);
    let expected = expect_test::expect![[r#"
        fewest-blocks: 996 ms, rank 4 {1: 4, 2: 8, 3: 18, 5: 10}, rank 5 {1: 3, 2: 7, 3: 18, 4: 12}
        round-robin: 1950 ms, rank 4 {1: 11, 2: 12, 3: 12, 5: 5}, rank 5 {1: 5, 2: 17, 3: 13, 4: 5}
    "#]];
    expected.assert_eq(&study(&[ours, SourceOrder::ROUND_ROBIN]));
}
