//! `fewest-blocks`: the source that owes us the fewest bytes, ties rotated.
//!
//! In the engine this file stands in `engine/src/swarm/sources`, where `use super::…` takes the
//! place of the imports from `dunlin_engine`, and `mod fewest_blocks;` in `source_policies!`
//! registers it.

use dunlin_engine::swarm::sources::SourcePolicy;

pub(super) static POLICY: SourcePolicy = SourcePolicy {
    name: "fewest-blocks",
    summary: "whoever owes us the fewest bytes",
    is_strict: false,
    needs_loads: false,
    choose: |sources, _, _| {
        (0..sources.len()).min_by_key(|index| {
            let source = &sources[*index];
            (source.in_flight, source.last_chosen, source.place)
        })
    },
};
