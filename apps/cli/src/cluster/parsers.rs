//! Values of the options of a cluster: who, hosts, racks, ranks, the fabric, rates of links.

use dunlin_base::{Rank, Rate, SizeError, parse_rate, parse_size};
use dunlin_engine::cluster::OnConflict;
use dunlin_plan::{expand_hosts, parse_ranks};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::str::FromStr;

/// The most ranks of one process: each of them has threads over memory.
const MAX_RANKS: u32 = 100_000;

/// The highest rank in a list: as in plans.
const MAX_RANK: u32 = 1_000_000;

/// Why the value of an option was refused. The person at the command line is to blame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ClusterValueError {
    /// Neither ranks nor hosts.
    #[error("`{0}`, {1}: write ranks like 0,3-5 or hosts like n[01-16],m1")]
    Who(String, &'static str),
    /// No list of hosts.
    #[error("`{0}`, {1}: write hosts like n[01-16],m1")]
    Hosts(String, &'static str),
    /// No label.
    #[error("`{0}` has no label: write HOSTS=LABEL like n[01-08]=r1, or the path of a file")]
    Rack(String),
    /// No rate, or none above zero.
    #[error("`{0}` is no rate above 0: write one like 100MB or 25MB,3=5MB")]
    Rate(String),
    /// Not a size.
    #[error(transparent)]
    Size(#[from] SizeError),
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
    /// No number of ranks.
    #[error("`{0}` is no number of ranks: write 1 to {MAX_RANKS}")]
    Count(String),
}

/// Ranks of peers: `3`, `2,3`, `5-16`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ranks(pub(crate) Vec<Rank>);

impl FromStr for Ranks {
    type Err = ClusterValueError;

    fn from_str(text: &str) -> Result<Ranks, ClusterValueError> {
        let wrong = || ClusterValueError::Ranks(text.to_owned());
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
pub(crate) fn on_conflict(text: &str) -> Result<OnConflict, ClusterValueError> {
    match text {
        "refuse" => Ok(OnConflict::Refuse),
        "lowest-rank" => Ok(OnConflict::LowestRank),
        _ => Err(ClusterValueError::OnConflict(text.to_owned())),
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
    type Err = ClusterValueError;

    fn from_str(text: &str) -> Result<Fabric, ClusterValueError> {
        match text {
            "auto" => Ok(Fabric::Auto),
            "memory" => Ok(Fabric::Memory),
            "virtual" => Ok(Fabric::Virtual),
            "mpi" => Ok(Fabric::Mpi),
            "tcp" => Ok(Fabric::Tcp),
            _ => Err(ClusterValueError::Fabric(text.to_owned())),
        }
    }
}

/// Reads a block size in bytes.
///
/// # Errors
/// If it is no power of two from 128 KiB to 1 MiB.
pub(crate) fn block_size(text: &str) -> Result<u32, ClusterValueError> {
    let bytes = parse_size(text)?;
    dunlin_metainfo::check_cluster_block_length(bytes)
        .map_err(|_| ClusterValueError::Block(text.to_owned()))
}

/// Ranks or hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    /// These ranks.
    Ranks(BTreeSet<Rank>),
    /// All ranks of these hosts.
    Hosts(Vec<String>),
}

impl FromStr for Who {
    type Err = ClusterValueError;

    fn from_str(text: &str) -> Result<Who, ClusterValueError> {
        let no_letter = |c: char| c.is_ascii_digit() || matches!(c, ',' | '-' | ' ');
        let wrong = |why: &'static str| {
            let why = if why.is_empty() { "which is no list" } else { why };
            ClusterValueError::Who(text.to_owned(), why)
        };
        if text.chars().all(no_letter) {
            let ranks = parse_ranks(text).map_err(wrong)?;
            return Ok(Who::Ranks(ranks.into_iter().collect()));
        }
        expand_hosts(text).map(Who::Hosts).map_err(wrong)
    }
}

impl Who {
    /// Whether a rank on a host is one of them.
    pub(crate) fn holds(&self, rank: Rank, host: &str) -> bool {
        match self {
            Who::Ranks(ranks) => ranks.contains(&rank),
            Who::Hosts(hosts) => hosts.iter().any(|one| same_host(one, host)),
        }
    }
}

/// Whether two names are of one host: the same, or one is the other's first part.
pub(crate) fn same_host(one: &str, other: &str) -> bool {
    let short = |name: &str, of: &str| {
        !name.contains('.') && of.split('.').next().is_some_and(|it| it.eq_ignore_ascii_case(name))
    };
    one.eq_ignore_ascii_case(other) || short(one, other) || short(other, one)
}

/// A list of hosts, expanded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hosts(pub(crate) Vec<String>);

impl FromStr for Hosts {
    type Err = ClusterValueError;

    fn from_str(text: &str) -> Result<Hosts, ClusterValueError> {
        expand_hosts(text).map(Hosts).map_err(|why| ClusterValueError::Hosts(text.to_owned(), why))
    }
}

/// Which hosts are in which rack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Racks {
    /// Hosts and their label.
    Label(Vec<String>, String),
    /// A file of `HOSTS=LABEL` lines.
    File(PathBuf),
}

impl FromStr for Racks {
    type Err = ClusterValueError;

    fn from_str(text: &str) -> Result<Racks, ClusterValueError> {
        let Some((hosts, label)) = text.split_once('=') else {
            return Ok(Racks::File(PathBuf::from(text)));
        };
        let label = label.trim();
        if label.is_empty() || label.chars().any(char::is_control) {
            return Err(ClusterValueError::Rack(text.to_owned()));
        }
        let hosts =
            expand_hosts(hosts).map_err(|why| ClusterValueError::Hosts(hosts.to_owned(), why))?;
        Ok(Racks::Label(hosts, label.to_owned()))
    }
}

/// How fast links are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LinkRate {
    /// Every link.
    pub(crate) all: Rate,
    /// Links that differ, by rank.
    pub(crate) of: BTreeMap<Rank, Rate>,
}

impl FromStr for LinkRate {
    type Err = ClusterValueError;

    fn from_str(text: &str) -> Result<LinkRate, ClusterValueError> {
        let mut parts = text.split(',');
        let all = rate(parts.next().unwrap_or_default())?;
        let mut of = BTreeMap::new();
        for part in parts {
            let wrong = || ClusterValueError::Rate(part.to_owned());
            let (rank, one) = part.split_once('=').ok_or_else(wrong)?;
            let rank = rank.trim().parse().map_err(|_| wrong())?;
            of.insert(Rank(rank), rate(one)?);
        }
        Ok(LinkRate { all, of })
    }
}

/// Reads a rate above zero, in bytes a second.
///
/// # Errors
/// If it is not a rate above zero.
pub(crate) fn rate(text: &str) -> Result<Rate, ClusterValueError> {
    match parse_rate(text)? {
        0 => Err(ClusterValueError::Rate(text.to_owned())),
        rate => Ok(Rate(rate)),
    }
}

/// Reads a number of ranks.
///
/// # Errors
/// If it is not a number from 1 to 100 000.
pub(crate) fn count(text: &str) -> Result<u32, ClusterValueError> {
    let count = text.trim().parse().ok().filter(|count| (1..=MAX_RANKS).contains(count));
    count.ok_or_else(|| ClusterValueError::Count(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_ranks_or_hosts() {
        let who = |text: &str| text.parse::<Who>();
        assert_eq!(who("0,3-4").unwrap(), Who::Ranks([0, 3, 4].map(Rank).into()));
        assert_eq!(who("n[1-2]").unwrap(), Who::Hosts(vec!["n1".into(), "n2".into()]));
        let cases = [
            ("0,2", 2, "x", true),
            ("0,2", 1, "x", false),
            ("n1,m2", 5, "n1.cluster", true),
            ("n1.cluster", 5, "N1", true),
            ("n1.a", 5, "n1.b", false),
            ("n1", 5, "n12", false),
        ];
        for (text, rank, host, expected) in cases {
            assert_eq!(who(text).unwrap().holds(Rank(rank), host), expected, "{text} {host}");
        }
        for text in ["", "3-1", "1,,2", "n[1", "a b", "-"] {
            assert!(who(text).is_err(), "{text}");
        }
    }

    #[test]
    fn racks_and_rates() {
        let racks = |text: &str| text.parse::<Racks>();
        let hosts = vec!["n1".to_owned(), "n2".to_owned()];
        assert_eq!(racks("n[1-2]=r 1").unwrap(), Racks::Label(hosts, "r 1".into()));
        assert_eq!(racks("racks.txt").unwrap(), Racks::File("racks.txt".into()));
        assert!(racks("n1=").is_err() && racks("=r").is_err());
        let rates = |text: &str| text.parse::<LinkRate>();
        let slow = rates("25MB,3=5MB").unwrap();
        assert_eq!((slow.all, slow.of[&Rank(3)]), (Rate(25_000_000), Rate(5_000_000)));
        for text in ["", "0", "x", "1MB,2", "1MB,a=2MB", "1MB,2=0"] {
            assert!(rates(text).is_err(), "{text}");
        }
        assert_eq!(count("8"), Ok(8));
        assert!(count("0").is_err() && count("x").is_err());
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

    #[test]
    fn block_sizes_within_bounds() {
        assert_eq!(block_size("128KiB"), Ok(128 << 10));
        assert_eq!(block_size("1MiB"), Ok(1 << 20));
        for text in ["64KiB", "2MiB", "200KiB", "0", "many"] {
            assert!(block_size(text).is_err(), "{text}");
        }
    }
}
