//! From whom. A pure choice over the sources that could give a piece now.

use crate::config::SourceOrder;
use dunlin_base::{Rate, Rng};
use std::cmp::Ordering;

/// A source as the choice sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SourceView {
    /// Its place in the tracker's order.
    pub place: u32,
    /// Its load as the tracker last reported it.
    pub load: u64,
    /// Pieces that were asked of it since that report: ours, and as many for each other asker.
    pub asked: u64,
    /// Bytes it owes us.
    pub in_flight: u64,
    /// What it gives us; 0 where nothing was measured yet.
    pub rate: Rate,
    /// When we last chose it (a counter); 0 if never.
    pub last_chosen: u64,
}

/// Chooses one of `sources`; returns its index, or `None` if there is none. `last` is the place of the one
/// that was chosen last: round robin takes the next in the tracker's order.
pub fn choose(
    order: SourceOrder,
    sources: &[SourceView],
    last: Option<u32>,
    rng: &mut Rng,
) -> Option<usize> {
    if sources.is_empty() {
        return None;
    }
    let at_random = |rng: &mut Rng| rng.below(sources.len() as u64) as usize;
    match order {
        SourceOrder::Fastest => best(sources, soonest),
        SourceOrder::RoundRobin => {
            let turn =
                |source: &SourceView| (last.is_some_and(|last| source.place <= last), source.place);
            best(sources, |a, b| turn(a).cmp(&turn(b)))
        }
        SourceOrder::Random => Some(at_random(rng)),
        SourceOrder::TwoChoices => {
            let (first, mut second) = (at_random(rng), at_random(rng));
            if first == second {
                second = (second + 1) % sources.len();
            }
            let load = |index: usize| sources[index].load + sources[index].asked;
            Some(if load(second) < load(first) { second } else { first })
        }
        SourceOrder::LeastBusy => best(sources, |a, b| (a.load, a.place).cmp(&(b.load, b.place))),
        SourceOrder::LeastLoaded => best(sources, |a, b| {
            (a.load + a.asked, rotation(a)).cmp(&(b.load + b.asked, rotation(b)))
        }),
    }
}

fn best(
    sources: &[SourceView],
    compare: impl Fn(&SourceView, &SourceView) -> Ordering,
) -> Option<usize> {
    (0..sources.len()).min_by(|a, b| compare(&sources[*a], &sources[*b]))
}

/// Whoever was chosen longest ago; before the first round in the tracker's order.
fn rotation(source: &SourceView) -> (u64, u32) {
    (source.last_chosen, source.place)
}

/// Who would answer first: (in flight + 1) / rate. A source that was never measured comes first while
/// it owes nothing, so that everybody is tried; then it counts as the slower one.
fn soonest(a: &SourceView, b: &SourceView) -> Ordering {
    let untried = |source: &SourceView| source.rate.0 == 0 && source.in_flight == 0;
    let time = |source: &SourceView, other: &SourceView| {
        u128::from(source.in_flight + 1) * u128::from(other.rate.0.max(1))
    };
    untried(b)
        .cmp(&untried(a))
        .then_with(|| time(a, b).cmp(&time(b, a)))
        .then_with(|| rotation(a).cmp(&rotation(b)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One source a word: load/asked/in-flight/rate/last-chosen.
    fn sources(drawing: &str) -> Vec<SourceView> {
        drawing
            .split_whitespace()
            .enumerate()
            .map(|(place, word)| {
                let n: Vec<u64> = word.split('/').map(|n| n.parse().unwrap()).collect();
                SourceView {
                    place: place as u32,
                    load: n[0],
                    asked: n[1],
                    in_flight: n[2],
                    rate: Rate(n[3]),
                    last_chosen: n[4],
                }
            })
            .collect()
    }

    #[test]
    fn each_order_has_its_reason() {
        use SourceOrder::{Fastest, LeastBusy, LeastLoaded};
        let cases = [
            (Fastest, "0/0/0/10/1 0/0/0/20/2", 1),
            (Fastest, "0/0/0/10/1 0/0/9/20/2", 0),
            (Fastest, "0/0/0/10/1 0/0/0/0/0", 1),
            (Fastest, "0/0/5/10/1 0/0/5/0/0", 0),
            (Fastest, "0/0/4/10/3 0/0/4/10/2", 1),
            (LeastBusy, "5/0/0/0/0 4/99/0/0/9 4/0/0/0/0", 1),
            (LeastLoaded, "5/0/0/0/0 4/99/0/0/9 4/0/0/0/0", 2),
            (LeastLoaded, "4/1/0/0/7 5/0/0/0/3", 1),
        ];
        for (order, drawing, expected) in cases {
            let chosen = choose(order, &sources(drawing), None, &mut Rng::new(1));
            assert_eq!(chosen, Some(expected), "{order} of {drawing}");
        }
        for order in SourceOrder::ALL {
            assert_eq!(choose(*order, &[], None, &mut Rng::new(1)), None);
        }
    }

    #[test]
    fn round_robin_goes_down_the_list_and_begins_again() {
        let mut three = sources("0/0/0/0/9 0/0/0/0/0 0/0/0/0/5");
        let next = |three: &[SourceView], last| {
            choose(SourceOrder::RoundRobin, three, last, &mut Rng::new(1)).map(|i| three[i].place)
        };
        assert_eq!(next(&three, None), Some(0));
        assert_eq!(next(&three, Some(0)), Some(1));
        assert_eq!(next(&three, Some(1)), Some(2));
        assert_eq!(next(&three, Some(2)), Some(0));
        three.remove(1);
        assert_eq!(next(&three, Some(0)), Some(2), "who refused is passed over");
        assert_eq!(next(&three, Some(1)), Some(2));
    }

    #[test]
    fn two_choices_never_takes_the_most_loaded_of_two() {
        let pair = sources("9/0/0/0/0 1/0/0/0/0");
        for seed in 0..50 {
            assert_eq!(choose(SourceOrder::TwoChoices, &pair, None, &mut Rng::new(seed)), Some(1));
        }
        let one = sources("9/0/0/0/0");
        assert_eq!(choose(SourceOrder::TwoChoices, &one, None, &mut Rng::new(1)), Some(0));
    }

    #[test]
    fn random_reaches_everyone() {
        let four = sources("0/0/0/0/0 0/0/0/0/0 0/0/0/0/0 0/0/0/0/0");
        let mut rng = Rng::new(5);
        let mut counts = [0; 4];
        for _ in 0..400 {
            counts[choose(SourceOrder::Random, &four, None, &mut rng).unwrap()] += 1;
        }
        assert!(counts.iter().all(|count| *count > 60), "{counts:?}");
    }
}
