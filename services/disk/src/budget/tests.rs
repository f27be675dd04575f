use super::*;
use proptest::prelude::*;
use std::sync::atomic::{AtomicU64, Ordering};

fn counter(budget: &Arc<Budget>, owner: u64) -> Arc<AtomicU64> {
    let count = Arc::new(AtomicU64::new(0));
    let inner = Arc::clone(&count);
    let bump = move || {
        inner.fetch_add(1, Ordering::Relaxed);
    };
    budget.set_waker(owner, Box::new(bump));
    count
}

#[test]
fn three_quarters_for_pieces_the_rest_for_serving() {
    let budget = Budget::new(1000);
    let piece = budget.reserve(1, 750).unwrap();
    assert_eq!(budget.reserve(1, 1).err(), Some(Queued));
    let served = budget.charge_blocking(250);
    assert!(budget.try_charge(1).is_none());
    assert_eq!((budget.used(), budget.peak(), piece.bytes()), (1000, 1000, 750));
    drop(served);
    assert!(budget.try_charge(9999).is_some(), "alone, any size goes");
    drop(piece);
    assert_eq!(budget.used(), 0);
}

#[test]
fn the_queue_is_first_come_first_served() {
    let budget = Budget::new(400);
    let woken = [1, 2, 3].map(|owner| counter(&budget, owner));
    let counts = || [0, 1, 2].map(|i: usize| woken[i].load(Ordering::Relaxed));
    let held = budget.reserve(1, 300).unwrap();
    assert!(budget.reserve(2, 200).is_err() && budget.reserve(3, 50).is_err());
    assert!(budget.starving());
    drop(held);
    assert_eq!(counts(), [0, 1, 0], "only the head is woken");
    assert!(budget.reserve(3, 50).is_err(), "it is not its turn");
    assert!(budget.reserve(1, 50).is_err(), "a newcomer goes to the end");
    let second = budget.reserve(2, 200).unwrap();
    assert_eq!(counts(), [0, 1, 1], "the next one fits beside it");
    budget.cancel(3);
    assert_eq!(counts(), [1, 1, 1]);
    let _first = budget.reserve(1, 50).unwrap();
    assert!(!budget.starving());
    drop(second);
}

#[test]
fn a_piece_larger_than_the_share_is_granted_alone() {
    let budget = Budget::new(100);
    let woken = counter(&budget, 1);
    let small = budget.reserve(2, 1).unwrap();
    assert!(budget.reserve(1, 5000).is_err());
    drop(small);
    assert_eq!(woken.load(Ordering::Relaxed), 1);
    assert_eq!(budget.reserve(1, 5000).unwrap().bytes(), 5000);
    assert!(streamed(100, 26) && !streamed(100, 25));
}

#[test]
fn pressure_goes_to_the_others_once_a_waiter() {
    let budget = Budget::new(100);
    let pressed = Arc::new(AtomicU64::new(0));
    for owner in [1, 2] {
        let pressed = Arc::clone(&pressed);
        let press = move || {
            pressed.fetch_add(owner, Ordering::Relaxed);
        };
        budget.set_pressure(owner, Box::new(press));
    }
    let _held = budget.reserve(1, 75).unwrap();
    assert!(budget.reserve(2, 75).is_err() && budget.reserve(2, 60).is_err());
    assert_eq!(pressed.load(Ordering::Relaxed), 1);
    budget.forget(2);
    assert!(!budget.starving());
}

#[test]
fn who_waits_to_serve_is_served_in_order() {
    let budget = Budget::new(400);
    let first = budget.charge_blocking(100);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..8)
            .map(|index| {
                let budget = &budget;
                scope.spawn(move || {
                    for round in 0..50 {
                        let charge = budget.charge_blocking(1 + (index * 37 + round) % 130);
                        assert!(budget.used() <= 130.max(charge.bytes()));
                    }
                })
            })
            .collect();
        drop(first);
        for worker in workers {
            worker.join().unwrap();
        }
    });
    assert_eq!(budget.used(), 0);
}

#[derive(Clone, Debug)]
enum Op {
    Reserve(u64, u64),
    Free(usize),
    Cancel(u64),
    Serve(u64),
    Done(usize),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        (0..5u64, 0..500u64).prop_map(|(owner, bytes)| Op::Reserve(owner, bytes)),
        any::<usize>().prop_map(Op::Free),
        (0..5u64).prop_map(Op::Cancel),
        (0..300u64).prop_map(Op::Serve),
        any::<usize>().prop_map(Op::Done),
    ]
}

proptest! {
    /// A plain model of the two shares and the queue gives the same answers.
    #[test]
    fn agrees_with_a_model(ops in proptest::collection::vec(op(), 0..80)) {
        let budget = Budget::new(1000);
        let (mut pieces, mut short) = (Vec::new(), Vec::new());
        let mut queue: Vec<u64> = Vec::new();
        for op in ops {
            let held: u64 = pieces.iter().map(Charge::bytes).sum();
            let lent: u64 = short.iter().map(Charge::bytes).sum();
            match op {
                Op::Reserve(owner, bytes) => {
                    let turn = queue.first().is_none_or(|first| *first == owner);
                    let expected = turn && (held == 0 || held + bytes <= 750);
                    let charge = budget.reserve(owner, bytes);
                    prop_assert_eq!(charge.is_ok(), expected);
                    if let Ok(charge) = charge {
                        queue.retain(|waiting| *waiting != owner);
                        pieces.push(charge);
                    } else if !queue.contains(&owner) {
                        queue.push(owner);
                    }
                }
                Op::Cancel(owner) => {
                    budget.cancel(owner);
                    queue.retain(|waiting| *waiting != owner);
                }
                Op::Serve(bytes) => {
                    let charge = budget.try_charge(bytes);
                    prop_assert_eq!(charge.is_some(), lent == 0 || lent + bytes <= 250);
                    short.extend(charge);
                }
                Op::Free(which) if !pieces.is_empty() => {
                    pieces.swap_remove(which % pieces.len());
                }
                Op::Done(which) if !short.is_empty() => {
                    short.swap_remove(which % short.len());
                }
                Op::Free(_) | Op::Done(_) => {}
            }
            let sum = pieces.iter().chain(&short).map(Charge::bytes).sum::<u64>();
            prop_assert_eq!(budget.used(), sum);
            prop_assert_eq!(budget.starving(), !queue.is_empty());
            prop_assert!(budget.peak() >= sum);
        }
    }
}

#[test]
fn what_connections_hold_is_taken_from_receiving_up_to_half_of_it() {
    let budget = Budget::new(400);
    let told = counter(&budget, 1);
    let first = budget.reserve(1, 100).unwrap();
    budget.hold(120);
    assert_eq!((budget.used(), budget.peak()), (220, 220));
    let second = budget.reserve(1, 80).unwrap();
    assert!(budget.reserve(1, 1).is_err(), "180 of 300 and 120");
    budget.hold(119);
    assert_eq!(told.load(Ordering::Relaxed), 1, "who waits is told when less is held");
    drop((first, second));
    budget.hold(10_000);
    let charge = budget.reserve(1, 150).unwrap();
    drop(charge);
    let _small = budget.reserve(1, 1).unwrap();
    assert!(budget.reserve(1, 150).is_err(), "half of the share is there, no more");
}
