//! Faults that a person can inject, to see that the swarm stands them: `--fault corrupt=2`.

use dunlin_base::{Rank, Rate};
use std::str::FromStr;

/// One rank that misbehaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It registers true hashes and flips one byte in every block it serves.
    Corrupt {
        /// The rank.
        rank: Rank,
    },
    /// It stops at once and sends nothing more.
    Die {
        /// The rank.
        rank: Rank,
        /// When it holds this share of what it wants, or, if it wants nothing, has served this
        /// share of its bytes; 0 to 100.
        percent: u8,
    },
    /// It rejects requests.
    Refuse {
        /// The rank.
        rank: Rank,
        /// Which share of them; 0 to 100.
        percent: u8,
    },
    /// All that it uploads together is slow.
    Slow {
        /// The rank.
        rank: Rank,
        /// Bytes per second, at least 1.
        rate: Rate,
    },
    /// It never registers.
    Mute {
        /// The rank.
        rank: Rank,
    },
}

/// Why a text is no fault. Its author is to blame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FaultError {
    /// The kind is unknown or something is missing.
    #[error(
        "`{0}` is no fault: expected corrupt=R, die=R@PCT, refuse=R:PCT, slow=R:RATE or mute=R"
    )]
    Unknown(String),
    /// The rank is no number from 1.
    #[error("`{found}` in `{text}` is no rank of a peer: expected a whole number from 1")]
    Rank {
        /// The whole text.
        text: String,
        /// The text in the place of the rank.
        found: String,
    },
    /// The share is no percentage.
    #[error("`{found}` in `{text}` is no percentage: expected a whole number from 0 to 100")]
    Percent {
        /// The whole text.
        text: String,
        /// The text in the place of the percentage.
        found: String,
    },
    /// The rate cannot be read.
    #[error("`{found}` in `{text}` is no rate: expected something like 1MB or 512KiB, a second")]
    Rate {
        /// The whole text.
        text: String,
        /// The text in the place of the rate.
        found: String,
    },
}

impl Fault {
    /// The rank that misbehaves.
    #[must_use]
    pub fn rank(&self) -> Rank {
        match self {
            Fault::Corrupt { rank }
            | Fault::Die { rank, .. }
            | Fault::Refuse { rank, .. }
            | Fault::Slow { rank, .. }
            | Fault::Mute { rank } => *rank,
        }
    }
}

impl FromStr for Fault {
    type Err = FaultError;

    /// # Errors
    /// [`FaultError`] names what is wrong with the text and what was expected.
    fn from_str(text: &str) -> Result<Fault, FaultError> {
        let unknown = || FaultError::Unknown(text.to_owned());
        let (kind, rest) = text.split_once('=').ok_or_else(unknown)?;
        let rank = |found: &str| match found.parse() {
            Ok(number) if number > 0 => Ok(Rank(number)),
            _ => Err(FaultError::Rank { text: text.to_owned(), found: found.to_owned() }),
        };
        let percent = |found: &str| match found.trim_end_matches('%').parse() {
            Ok(number @ 0..=100) => Ok(number),
            _ => Err(FaultError::Percent { text: text.to_owned(), found: found.to_owned() }),
        };
        match kind {
            "corrupt" => Ok(Fault::Corrupt { rank: rank(rest)? }),
            "mute" => Ok(Fault::Mute { rank: rank(rest)? }),
            "die" => {
                let (who, share) = rest.split_once('@').ok_or_else(unknown)?;
                Ok(Fault::Die { rank: rank(who)?, percent: percent(share)? })
            }
            "refuse" => {
                let (who, share) = rest.split_once(':').ok_or_else(unknown)?;
                Ok(Fault::Refuse { rank: rank(who)?, percent: percent(share)? })
            }
            "slow" => {
                let (who, found) = rest.split_once(':').ok_or_else(unknown)?;
                let rank = rank(who)?;
                match dunlin_base::parse_rate(found) {
                    Ok(rate) if rate > 0 => Ok(Fault::Slow { rank, rate: Rate(rate) }),
                    _ => Err(FaultError::Rate { text: text.to_owned(), found: found.to_owned() }),
                }
            }
            _ => Err(unknown()),
        }
    }
}

/// All that is wrong with one rank.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RankFaults {
    /// It flips one byte in every block it serves.
    pub corrupt: bool,
    /// It stops at once at this share, in percent.
    pub die: Option<u8>,
    /// It rejects this share of requests, in percent.
    pub refuse: Option<u8>,
    /// It uploads at this rate.
    pub slow: Option<Rate>,
    /// It never registers.
    pub mute: bool,
}

impl RankFaults {
    /// The faults of `rank`; of two of one kind the later counts.
    #[must_use]
    pub fn of(rank: Rank, faults: &[Fault]) -> RankFaults {
        let mut all = RankFaults::default();
        for fault in faults.iter().filter(|fault| fault.rank() == rank) {
            match *fault {
                Fault::Corrupt { .. } => all.corrupt = true,
                Fault::Die { percent, .. } => all.die = Some(percent),
                Fault::Refuse { percent, .. } => all.refuse = Some(percent),
                Fault::Slow { rate, .. } => all.slow = Some(rate),
                Fault::Mute { .. } => all.mute = true,
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn right_ones_are_read() {
        let cases = [
            ("corrupt=2", Fault::Corrupt { rank: Rank(2) }),
            ("die=3@50", Fault::Die { rank: Rank(3), percent: 50 }),
            ("refuse=1:100", Fault::Refuse { rank: Rank(1), percent: 100 }),
            ("slow=4:1MB", Fault::Slow { rank: Rank(4), rate: Rate(1_000_000) }),
            ("mute=200", Fault::Mute { rank: Rank(200) }),
        ];
        for (text, fault) in cases {
            assert_eq!(text.parse(), Ok(fault), "{text}");
        }
    }

    #[test]
    fn wrong_ones_say_what_is_wrong() {
        let cases = [
            ("corrupt", "is no fault"),
            ("sleep=2", "is no fault"),
            ("die=2", "is no fault"),
            ("mute=0", "is no rank"),
            ("corrupt=x", "is no rank"),
            ("die=2@101", "is no percentage"),
            ("refuse=2:-1", "is no percentage"),
            ("slow=2:fast", "is no rate"),
            ("slow=2:0", "is no rate"),
        ];
        for (text, expected) in cases {
            let error = text.parse::<Fault>().unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn a_rank_collects_its_own() {
        let faults = ["corrupt=2", "slow=2:1kB", "mute=3"].map(|text| text.parse().unwrap());
        let two = RankFaults::of(Rank(2), &faults);
        assert!(two.corrupt && two.slow == Some(Rate(1000)) && !two.mute);
        assert_eq!(RankFaults::of(Rank(1), &faults), RankFaults::default());
    }
}
