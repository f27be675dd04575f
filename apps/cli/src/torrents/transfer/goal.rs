//! When a torrent that is complete is done.

use crate::torrents::args::transfer::NetArgs;
use dunlin_engine::io::SeedGoal;

/// `get` ends when everything is here, unless it is to seed.
pub(super) fn of_get(seed: bool, options: &NetArgs) -> Option<SeedGoal> {
    let goal = of_seed(options);
    (seed || goal != SeedGoal::default()).then_some(goal)
}

/// `seed` goes on until a goal is reached, if there is one.
pub(super) fn of_seed(options: &NetArgs) -> SeedGoal {
    SeedGoal { ratio_permille: options.seed_ratio, time: options.seed_time }
}
