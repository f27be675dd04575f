//! Values of options that are more than a name: durations, sizes within bounds, lists of ranks, the
//! fabric.

pub(crate) mod placing;
pub(crate) mod torrent;

use dunlin_base::{Rank, parse_size};
use dunlin_engine::cluster::OnConflict;
use std::str::FromStr;
use std::time::Duration;

/// The least memory budget in bytes: below it not even blocks of 16 KiB to a few peers fit.
pub(crate) const MIN_MEMORY: u64 = 1 << 20;
/// The smallest piece in bytes: one block (BEP 3).
pub(crate) const MIN_PIECE: u64 = 16 << 10;
/// The largest piece in bytes: above it resuming and blame get too coarse.
pub(crate) const MAX_PIECE: u64 = 64 << 20;
/// The longest time-out: a year. More than that is "for ever", and nothing waits for ever.
const MAX_DURATION: Duration = Duration::from_secs(366 * 24 * 3600);
/// The highest rank in a list: as in plans.
const MAX_RANK: u32 = 1_000_000;

/// Why the value of an option was refused. The person at the command line is to blame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ValueError {
    /// No number or an unknown unit.
    #[error("`{0}` is no duration: write a number and ms, s, m or h, like 60s or 500ms")]
    Duration(String),
    /// Zero, or longer than a year.
    #[error("`{0}` is out of range: a time is above 0 and at most 366 days")]
    DurationRange(String),
    /// A size that is none.
    #[error(transparent)]
    Size(#[from] dunlin_base::SizeError),
    /// Too little memory.
    #[error("`{0}` is too little: at least 1MiB is needed")]
    Memory(String),
    /// No power of two or out of bounds.
    #[error("`{0}` is no piece size: use a power of two from 16KiB to 64MiB, like 256KiB")]
    Piece(String),
    /// No power of two or out of bounds.
    #[error("`{0}` is no block size: use a power of two from 128KiB to 1MiB, like 256KiB")]
    Block(String),
    /// No list of ranks.
    #[error("`{0}` is no list of ranks: write ranks of peers (1 or more), like 2,3 or 5-16")]
    Ranks(String),
    /// No way to settle a conflict.
    #[error("`{0}` is no way to settle a conflict: use one of refuse, lowest-rank")]
    OnConflict(String),
    /// No fabric of this name.
    #[error("`{0}` is no fabric: use one of auto, memory, virtual, mpi, tcp")]
    Fabric(String),
}

/// Reads a duration: `60s`, `500ms`, `2m`, `1h`, `1.5s`, or plain seconds.
///
/// # Errors
/// If it is no duration, is zero, or is longer than a year.
pub(crate) fn duration(text: &str) -> Result<Duration, ValueError> {
    let wrong = || ValueError::Duration(text.to_owned());
    let trimmed = text.trim();
    let end = trimmed.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at(end);
    let unit_ns: u128 = match unit.trim() {
        "ms" => 1_000_000,
        "" | "s" => 1_000_000_000,
        "m" | "min" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return Err(wrong()),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    if whole.is_empty() || fraction.is_empty() || fraction.contains('.') || fraction.len() > 9 {
        return Err(wrong());
    }
    let range = || ValueError::DurationRange(text.to_owned());
    let whole: u128 = whole.parse().map_err(|_| range())?;
    let places = 10_u128.pow(u32::try_from(fraction.len()).map_err(|_| wrong())?);
    let fraction: u128 = fraction.parse().map_err(|_| wrong())?;
    let ns = whole.checked_mul(unit_ns).ok_or_else(range)? + fraction * unit_ns / places;
    let ns = u64::try_from(ns).map_err(|_| range())?;
    Some(Duration::from_nanos(ns))
        .filter(|duration| !duration.is_zero() && *duration <= MAX_DURATION)
        .ok_or_else(range)
}

/// Reads a memory budget in bytes.
///
/// # Errors
/// If it is no size or below [`MIN_MEMORY`].
pub(crate) fn memory(text: &str) -> Result<u64, ValueError> {
    let bytes = parse_size(text)?;
    if bytes < MIN_MEMORY { Err(ValueError::Memory(text.to_owned())) } else { Ok(bytes) }
}

/// Reads a piece size in bytes.
///
/// # Errors
/// If it is no power of two from [`MIN_PIECE`] to [`MAX_PIECE`].
pub(crate) fn piece_size(text: &str) -> Result<u32, ValueError> {
    let bytes = parse_size(text)?;
    let good = bytes.is_power_of_two() && (MIN_PIECE..=MAX_PIECE).contains(&bytes);
    u32::try_from(bytes).ok().filter(|_| good).ok_or_else(|| ValueError::Piece(text.to_owned()))
}

/// Reads a block size in bytes.
///
/// # Errors
/// If it is no power of two from 128 KiB to 1 MiB.
pub(crate) fn block_size(text: &str) -> Result<u32, ValueError> {
    let bytes = parse_size(text)?;
    dunlin_metainfo::check_cluster_block_length(bytes)
        .map_err(|_| ValueError::Block(text.to_owned()))
}

/// Ranks of peers: `3`, `2,3`, `5-16`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ranks(pub(crate) Vec<Rank>);

impl FromStr for Ranks {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Ranks, ValueError> {
        let wrong = || ValueError::Ranks(text.to_owned());
        let number = |word: &str| {
            let rank: u32 = word.trim().parse().map_err(|_| wrong())?;
            if (1..=MAX_RANK).contains(&rank) { Ok(rank) } else { Err(wrong()) }
        };
        let mut ranks = Vec::new();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (number(first)?, number(last)?);
            if first > last {
                return Err(wrong());
            }
            ranks.extend((first..=last).map(Rank));
        }
        Ok(Ranks(ranks))
    }
}

/// Reads what happens if owners disagree.
///
/// # Errors
/// If it is neither `refuse` nor `lowest-rank`.
pub(crate) fn on_conflict(text: &str) -> Result<OnConflict, ValueError> {
    match text {
        "refuse" => Ok(OnConflict::Refuse),
        "lowest-rank" => Ok(OnConflict::LowestRank),
        _ => Err(ValueError::OnConflict(text.to_owned())),
    }
}

/// Over what the ranks talk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fabric {
    /// Whatever fits: MPI if a launcher started more than one process, otherwise memory.
    Auto,
    /// Threads in this process.
    Memory,
    /// All ranks on one thread, in virtual time.
    Virtual,
    /// One rank a process, over MPI.
    Mpi,
    /// One rank a process, over TCP.
    Tcp,
}

impl FromStr for Fabric {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Fabric, ValueError> {
        match text {
            "auto" => Ok(Fabric::Auto),
            "memory" => Ok(Fabric::Memory),
            "virtual" => Ok(Fabric::Virtual),
            "mpi" => Ok(Fabric::Mpi),
            "tcp" => Ok(Fabric::Tcp),
            _ => Err(ValueError::Fabric(text.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_as_people_write_them() {
        let cases = [
            ("60s", 60_000),
            ("60", 60_000),
            ("500ms", 500),
            ("2m", 120_000),
            ("1.5s", 1500),
            ("0.25", 250),
            ("1h", 3_600_000),
        ];
        for (text, ms) in cases {
            assert_eq!(duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "s", "-1s", "1 week", "1..2s", ".5s", "5.", "1.0000000001s"] {
            assert!(matches!(duration(text), Err(ValueError::Duration(_))), "{text}");
        }
        for text in ["0", "0ms", "9999999999999999999999999999999999999999s", "400000000s"] {
            assert!(matches!(duration(text), Err(ValueError::DurationRange(_))), "{text}");
        }
    }

    #[test]
    fn sizes_within_bounds() {
        assert_eq!(memory("64MiB"), Ok(64 << 20));
        assert!(memory("1023KiB").is_err());
        assert_eq!(piece_size("16KiB"), Ok(16 << 10));
        assert_eq!(piece_size("64MiB"), Ok(64 << 20));
        for text in ["8KiB", "128MiB", "48KiB", "0", "lots", "16EiB"] {
            assert!(piece_size(text).is_err(), "{text}");
        }
        assert_eq!(block_size("128KiB"), Ok(128 << 10));
        assert_eq!(block_size("1MiB"), Ok(1 << 20));
        for text in ["64KiB", "2MiB", "200KiB", "0", "many"] {
            assert!(block_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn ranks_as_lists_and_ranges() {
        let ranks = |text: &str| text.parse::<Ranks>().map(|ranks| ranks.0);
        assert_eq!(ranks("3"), Ok(vec![Rank(3)]));
        assert_eq!(ranks("2,5-7"), Ok(vec![Rank(2), Rank(5), Rank(6), Rank(7)]));
        for text in ["", "0", "-1", "3-2", "a", "1,", "4294967296", "1-4294967295"] {
            assert!(ranks(text).is_err(), "{text}");
        }
    }
}
