//! The policies of a run: the orders of a profile, overridden by options, those that only a swarm
//! has, and the seed.

use super::args::{RunArgs, SwarmArgs};
use crate::exit::Failure;
use dunlin_base::Rank;
use dunlin_cluster::{FabricKind, Fault};
use dunlin_engine::cluster::{OnConflict, TrackerMap, TrackerOrder};
use dunlin_engine::config::{PieceOrder, Profile, RefreshScope, SourceOrder};
use dunlin_engine::swarm::choker::ChokerKind;
use dunlin_plan::PlanForm;
use std::collections::BTreeSet;

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

/// Every policy of a swarm, decided.
#[derive(Clone, Debug)]
pub(crate) struct SwarmPolicies {
    /// Those that all runs have.
    pub(crate) policies: Policies,
    /// In what order the tracker names members.
    pub(crate) tracker_order: TrackerOrder,
    /// What the tracker knows.
    pub(crate) tracker_map: TrackerMap,
    /// Whom to serve.
    pub(crate) choker: ChokerKind,
    /// What a refresh asks for.
    pub(crate) refresh_scope: RefreshScope,
    /// What if owners disagree.
    pub(crate) on_conflict: OnConflict,
    /// Ranks that do not serve.
    pub(crate) no_share: BTreeSet<Rank>,
    /// Who misbehaves, and how.
    pub(crate) faults: Vec<Fault>,
    /// Bytes a piece, if it was given and matters.
    pub(crate) piece_size: Option<u32>,
    /// What a person should know and that stops nothing.
    pub(crate) warnings: Vec<String>,
}

impl SwarmPolicies {
    /// Decides every policy for a plan of `form`. Rank 0 of a job may not see the plan (`None`):
    /// what depends on its form is the peers' then.
    pub(crate) fn of(args: &SwarmArgs, form: Option<PlanForm>) -> SwarmPolicies {
        let course = form == Some(PlanForm::Course);
        let usual = if course { Profile::Course } else { Profile::BitTorrent };
        let mut settings = SwarmPolicies {
            policies: Policies::of(&args.run, usual),
            tracker_order: args.tracker_order.unwrap_or(TrackerOrder::Arrival),
            tracker_map: args.tracker_map.unwrap_or(TrackerMap::Swarm),
            choker: args.choker.unwrap_or(ChokerKind::Cooperative),
            refresh_scope: args.refresh_scope.unwrap_or(RefreshScope::File),
            on_conflict: args.on_conflict.unwrap_or(OnConflict::Refuse),
            no_share: args.no_share.iter().flat_map(|ranks| ranks.0.iter().copied()).collect(),
            faults: args.run.fault.clone(),
            piece_size: args.run.piece_size,
            warnings: Vec::new(),
        };
        if course && settings.piece_size.take().is_some() {
            settings.warnings.push(
                "--piece-size changes nothing here: a course plan has one token a piece".to_owned(),
            );
        }
        settings
    }

    /// Checks that ranks 1 to `peers`, which talk over `fabric`, can work by them.
    ///
    /// # Errors
    /// If the combination cannot work or a rank is not in the plan (exit 2).
    pub(crate) fn check(&self, peers: u32, fabric: &FabricKind) -> Result<(), Failure> {
        self.refuse_blind_rarest()?;
        self.refuse_unknown_ranks(peers, fabric)
    }

    fn refuse_blind_rarest(&self) -> Result<(), Failure> {
        let blind =
            self.policies.profile == Profile::Course && self.tracker_map == TrackerMap::Swarm;
        if blind && self.policies.pieces == PieceOrder::Rarest {
            return Err(Failure::usage(
                "--profile course with --tracker-map swarm and --pieces rarest cannot work: no \
                 peer says what it has and the tracker knows only who takes part, so nobody knows which \
                 piece is rarest; use --tracker-map pieces, or --pieces sequential or random",
            ));
        }
        Ok(())
    }

    fn refuse_unknown_ranks(&self, peers: u32, fabric: &FabricKind) -> Result<(), Failure> {
        let known = |rank: Rank| (1..=peers).contains(&rank.0);
        let whose = if matches!(fabric, FabricKind::Ranks(_)) { "this job" } else { "the plan" };
        let advice = format!("{whose}'s peers are ranks 1 to {peers}");
        if let Some(rank) = self.no_share.iter().find(|rank| !known(**rank)) {
            return Err(Failure::usage(format!("--no-share {rank}: no such rank; {advice}")));
        }
        match self.faults.iter().find(|fault| !known(fault.rank())) {
            Some(fault) => {
                let rank = fault.rank();
                Err(Failure::usage(format!("--fault for rank {rank}: no such rank; {advice}")))
            }
            None => Ok(()),
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
    use crate::args::{Args, Command};
    use crate::exit::Exit;
    use clap::Parser;
    use dunlin_cluster::VirtualConfig;

    fn decide(options: &str, form: impl Into<Option<PlanForm>>) -> Result<SwarmPolicies, Failure> {
        let words = format!("dunlin swarm plan {options}");
        let args = Args::try_parse_from(words.split_whitespace()).unwrap();
        let Command::Swarm(swarm) = args.command else { panic!("no swarm") };
        let settings = SwarmPolicies::of(&swarm, form.into());
        settings.check(4, &FabricKind::Memory).map(|()| settings)
    }

    #[test]
    fn the_form_of_the_plan_sets_the_profile_and_options_override_it() {
        let cases = [
            ("", PlanForm::Course, "course sequential round-robin swarm"),
            ("", PlanForm::Toml, "bittorrent rarest fastest swarm"),
            ("", PlanForm::Folders, "bittorrent rarest fastest swarm"),
            ("--profile course", PlanForm::Toml, "course sequential round-robin swarm"),
            ("--pieces random", PlanForm::Course, "course random round-robin swarm"),
            (
                "--pieces rarest --tracker-map pieces",
                PlanForm::Course,
                "course rarest round-robin pieces",
            ),
            ("--profile bittorrent", PlanForm::Course, "bittorrent rarest fastest swarm"),
        ];
        for (options, form, expected) in cases {
            let settings = decide(options, form).unwrap();
            let SwarmPolicies { policies, tracker_map, .. } = settings;
            let Policies { profile, pieces, sources } = policies;
            assert_eq!(format!("{profile} {pieces} {sources} {tracker_map}"), expected);
        }
    }

    #[test]
    fn what_cannot_work_is_a_usage_error_with_a_reason() {
        let cases = [
            ("--pieces rarest", "rarest"),
            ("--no-share 5", "ranks 1 to 4"),
            ("--fault mute=9", "ranks 1 to 4"),
        ];
        for (options, reason) in cases {
            let failure = decide(options, PlanForm::Course).unwrap_err();
            assert_eq!(failure.exit, Exit::Usage);
            assert!(failure.message.contains(reason), "{failure}");
        }
    }

    #[test]
    fn who_does_not_see_the_plan_leaves_its_form_to_others() {
        assert!(decide("--pieces rarest --piece-size 32KiB", None).is_ok());
        let failure = decide("--pieces rarest --profile course", None).unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
    }

    #[test]
    fn a_piece_size_for_tokens_is_a_warning() {
        let settings = decide("--piece-size 32KiB", PlanForm::Course).unwrap();
        assert_eq!((settings.piece_size, settings.warnings.len()), (None, 1));
        let settings = decide("--piece-size 32KiB", PlanForm::Toml).unwrap();
        assert_eq!((settings.piece_size, settings.warnings.len()), (Some(32 << 10), 0));
    }

    #[test]
    fn seeds_are_drawn_given_or_one() {
        let fabric = FabricKind::Virtual(VirtualConfig::default());
        assert_eq!(seed(Some(7), &FabricKind::Memory), Ok(7));
        assert_eq!(seed(None, &fabric), Ok(VIRTUAL_SEED));
        let drawn = || seed(None, &FabricKind::Memory).unwrap();
        assert_ne!(drawn(), drawn());
    }
}
