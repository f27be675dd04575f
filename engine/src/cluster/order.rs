//! The tracker's orders and maps: named values, one a question.

use dunlin_base::{Rank, Rng};
use dunlin_control::Member;
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// A name that is none of the policy's.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{found}` is no {policy}: use {names}")]
pub struct UnknownPolicy {
    /// What was asked for.
    pub found: String,
    /// Which policy.
    pub policy: &'static str,
    /// The names that there are.
    pub names: &'static str,
}

/// In which order the tracker lists the members of a swarm (`--tracker-order`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum TrackerOrder {
    /// As they came.
    #[default]
    Arrival,
    /// The least load first, as last reported; equal loads as they came.
    LeastBusy,
    /// At random, anew for every answer.
    Random,
}

/// What the tracker knows of a swarm (`--tracker-map`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum TrackerMap {
    /// Who takes part in it.
    #[default]
    Swarm,
    /// Who has which piece.
    Pieces,
}

impl TrackerOrder {
    /// Puts `members`, which are in the order of their arrival, into this order. The asker stands
    /// last in every order, as in the classic programs: nobody asks itself.
    pub fn arrange(self, members: &mut Vec<Member>, asker: Rank, rng: &mut Rng) {
        let own = members.iter().position(|member| member.rank == asker);
        let own = own.map(|at| members.remove(at));
        match self {
            TrackerOrder::Arrival => {}
            TrackerOrder::LeastBusy => members.sort_by_key(|member| member.load),
            TrackerOrder::Random => rng.shuffle(members),
        }
        members.extend(own);
    }
}

impl FromStr for TrackerOrder {
    type Err = UnknownPolicy;

    fn from_str(text: &str) -> Result<TrackerOrder, UnknownPolicy> {
        match text {
            "arrival" => Ok(TrackerOrder::Arrival),
            "least-busy" => Ok(TrackerOrder::LeastBusy),
            "random" => Ok(TrackerOrder::Random),
            _ => Err(UnknownPolicy {
                found: text.to_owned(),
                policy: "order of the tracker",
                names: "arrival, least-busy or random",
            }),
        }
    }
}

impl fmt::Display for TrackerOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TrackerOrder::Arrival => "arrival",
            TrackerOrder::LeastBusy => "least-busy",
            TrackerOrder::Random => "random",
        })
    }
}

impl FromStr for TrackerMap {
    type Err = UnknownPolicy;

    fn from_str(text: &str) -> Result<TrackerMap, UnknownPolicy> {
        match text {
            "swarm" => Ok(TrackerMap::Swarm),
            "pieces" => Ok(TrackerMap::Pieces),
            _ => Err(UnknownPolicy {
                found: text.to_owned(),
                policy: "map of the tracker",
                names: "swarm or pieces",
            }),
        }
    }
}

impl fmt::Display for TrackerMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TrackerMap::Swarm => "swarm",
            TrackerMap::Pieces => "pieces",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arranged(order: TrackerOrder, asker: u32, seed: u64) -> Vec<u32> {
        let loads = [(4, 7), (1, 3), (3, 7), (2, 0), (5, 3)];
        let mut members: Vec<Member> =
            loads.map(|(rank, load)| Member { rank: Rank(rank), load }).into();
        order.arrange(&mut members, Rank(asker), &mut Rng::new(seed));
        members.iter().map(|member| member.rank.0).collect()
    }

    #[test]
    fn the_asker_stands_last_in_every_order() {
        assert_eq!(arranged(TrackerOrder::Arrival, 1, 0), [4, 3, 2, 5, 1]);
        assert_eq!(arranged(TrackerOrder::LeastBusy, 2, 0), [1, 5, 4, 3, 2]);
        assert_eq!(arranged(TrackerOrder::Arrival, 9, 0), [4, 1, 3, 2, 5]);
        for seed in 0..50 {
            assert_eq!(arranged(TrackerOrder::Random, 4, seed).last(), Some(&4));
        }
        let some = (0..50).map(|seed| arranged(TrackerOrder::Random, 4, seed));
        assert!(some.clone().any(|order| order[0] == 2) && some.clone().any(|o| o[0] == 5));
        assert_eq!(
            arranged(TrackerOrder::Random, 4, 7),
            arranged(TrackerOrder::Random, 4, 7),
            "a seed is an order"
        );
    }

    #[test]
    fn names_read_back() {
        for order in [TrackerOrder::Arrival, TrackerOrder::LeastBusy, TrackerOrder::Random] {
            assert_eq!(order.to_string().parse(), Ok(order));
        }
        for map in [TrackerMap::Swarm, TrackerMap::Pieces] {
            assert_eq!(map.to_string().parse(), Ok(map));
        }
        let error = "fifo".parse::<TrackerOrder>().unwrap_err().to_string();
        assert_eq!(error, "`fifo` is no order of the tracker: use arrival, least-busy or random");
        assert!("Pieces".parse::<TrackerMap>().is_err());
    }
}
