//! How an engine works: policies by name, and the numbers that come with them.

pub use crate::swarm::sources::SourceOrder;
use dunlin_base::{PeerId, Rank};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A name that is none of a policy's values.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{found}` is no {what}: use one of {expected}")]
pub struct UnknownName {
    /// The kind of policy.
    pub what: &'static str,
    /// The name that was given.
    pub found: String,
    /// The names that there are.
    pub expected: String,
}

macro_rules! policy {
    ($(#[$doc:meta])* $name:ident, $what:literal {
        $($(#[$vdoc:meta])* $variant:ident = $text:literal,)+
    }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$vdoc])* $variant,)+ }

        impl $name {
            /// Every value, in the order of the documentation.
            pub const ALL: &'static [$name] = &[$($name::$variant,)+];

            /// The value's name on a command line.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $($name::$variant => $text,)+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }

        impl FromStr for $name {
            type Err = $crate::config::UnknownName;
            fn from_str(text: &str) -> Result<Self, $crate::config::UnknownName> {
                let found = Self::ALL.iter().copied().find(|value| value.name() == text);
                found.ok_or_else(|| {
                    let names: Vec<_> = Self::ALL.iter().map(|value| value.name()).collect();
                    $crate::config::UnknownName {
                        what: $what,
                        found: text.to_owned(),
                        expected: names.join(", "),
                    }
                })
            }
        }
    };
}
policy! {
    /// Whom to serve.
    ChokerKind, "choker" {
        /// Everybody at once; the windows per destination share the uplink.
        Cooperative = "cooperative",
        /// Those who give most, and one optimistic slot.
        TitForTat = "tit-for-tat",
    }
}

impl ChokerKind {
    /// Whether each peer is unchoked as soon as it is established, and never choked again.
    #[must_use]
    pub fn unchokes_all(self) -> bool {
        self == ChokerKind::Cooperative
    }
}

policy! {
    /// How a peer works: a bundle of defaults.
    Profile, "profile" {
        /// Bitfields and HAVE, many requests in flight.
        BitTorrent = "bittorrent",
        /// The same among cooperating ranks: seeds give first what the swarm has fewest copies of.
        Cluster = "cluster",
        /// The classic algorithm: files one after another, one request in flight, every member may
        /// be asked, refreshes every few pieces, each of which is answered before the next request.
        Course = "course",
    }
}

impl FromStr for SourceOrder {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<SourceOrder, UnknownName> {
        let names = || SourceOrder::ALL.iter().map(|order| order.name());
        SourceOrder::ALL.iter().copied().find(|order| order.name() == text).ok_or_else(|| {
            UnknownName {
                what: "source order",
                found: text.to_owned(),
                expected: names().collect::<Vec<_>>().join(", "),
            }
        })
    }
}

/// The orders that a profile starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProfilePolicies {
    /// Which piece next.
    pub pieces: PieceOrder,
    /// From whom.
    pub sources: SourceOrder,
}

impl Profile {
    /// The orders of pieces and sources that go with the profile.
    #[must_use]
    pub fn policies(self) -> ProfilePolicies {
        let (pieces, sources) = match self {
            Profile::Course => (PieceOrder::Sequential, SourceOrder::ROUND_ROBIN),
            Profile::BitTorrent | Profile::Cluster => (PieceOrder::Rarest, SourceOrder::FASTEST),
        };
        ProfilePolicies { pieces, sources }
    }
}

policy! {
    /// Which piece next.
    PieceOrder, "piece order" {
        /// The piece that the fewest peers have.
        Rarest = "rarest",
        /// In order of the index.
        Sequential = "sequential",
        /// In an order drawn from the seed.
        Random = "random",
    }
}

policy! {
    /// What a refresh asks for.
    RefreshScope, "refresh scope" {
        /// The swarm of the file at hand.
        File = "file",
        /// The swarms of all unfinished files.
        All = "all",
    }
}

/// Everything an engine is told once.
#[derive(Clone, Debug)]
pub struct Config {
    /// Our rank in a cluster.
    pub rank: Rank,
    /// Who we say we are in handshakes.
    pub peer_id: PeerId,
    /// The profile.
    pub profile: Profile,
    /// Which piece next.
    pub pieces: PieceOrder,
    /// From whom.
    pub sources: SourceOrder,
    /// Whom to serve.
    pub choker: ChokerKind,
    /// Whether availability is what the tracker says (map `pieces`) instead of bitfields and HAVE.
    pub tracker_pieces: bool,
    /// Whether we serve anybody (`--no-share`).
    pub shares: bool,
    /// A refresh after so many verified pieces; 0 means never.
    pub refresh_every: u32,
    /// What a refresh asks for.
    pub refresh_scope: RefreshScope,
    /// A file that no live source can give for so long has failed.
    pub stall_timeout: Duration,
    /// The longest block that is asked for, in bytes: what the ranks have agreed on.
    pub block_length: u32,
    /// Whether trees get their folders, links and looks in the end.
    pub placing: bool,
    /// The memory budget of the process, in bytes: pieces above a quarter of it are streamed.
    pub memory: u64,
    /// The seed of every random choice.
    pub seed: u64,
}
