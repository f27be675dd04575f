//! The policies that all runs have: the orders of a profile, overridden by options, and the seed.

use super::args::run::RunArgs;
use crate::exit::Failure;
use dunlin_cluster::FabricKind;
use dunlin_engine::config::{PieceOrder, Profile, SourceOrder};

/// The seed of a run in virtual time when none is given: such runs are repeated on purpose.
pub(crate) const VIRTUAL_SEED: u64 = 1;

/// How the peers of a run work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Policies {
    /// The bundle of defaults.
    pub(crate) profile: Profile,
    /// Which piece next.
    pub(crate) pieces: PieceOrder,
    /// From whom.
    pub(crate) sources: SourceOrder,
}

impl Policies {
    /// The profile of the options, or `usual`, with what the options override.
    pub(crate) fn of(run: &RunArgs, usual: Profile) -> Policies {
        let profile = run.profile.unwrap_or(usual);
        let orders = profile.policies();
        Policies {
            profile,
            pieces: run.pieces.unwrap_or(orders.pieces),
            sources: run.sources.unwrap_or(orders.sources),
        }
    }
}

/// The seed of a run: the given one, or one that is drawn.
///
/// # Errors
/// If none can be drawn (exit 3).
pub(crate) fn seed(given: Option<u64>, fabric: &FabricKind) -> Result<u64, Failure> {
    match (given, fabric) {
        (Some(seed), _) => Ok(seed),
        (None, FabricKind::Virtual(_)) => Ok(VIRTUAL_SEED),
        (None, _) => drawn_seed(),
    }
}

/// A number from the operating system.
fn drawn_seed() -> Result<u64, Failure> {
    getrandom::u64().map_err(|error| {
        let what = "the operating system gives no random bytes for a seed";
        Failure::environment(format!("{what}: {error}; give one with --seed"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use dunlin_cluster::VirtualConfig;

    #[test]
    fn seeds_are_drawn_given_or_one() {
        let fabric = FabricKind::Virtual(VirtualConfig::default());
        assert_eq!(seed(Some(7), &FabricKind::Memory), Ok(7));
        assert_eq!(seed(None, &fabric), Ok(VIRTUAL_SEED));
        let drawn = || seed(None, &FabricKind::Memory).unwrap();
        assert_ne!(drawn(), drawn());
    }
}
