//! `random`: any, drawn from the seed.

use super::{SourceOrder, SourcePolicy, draw};

impl SourceOrder {
    /// Any, drawn from the seed.
    pub const RANDOM: SourceOrder = SourceOrder::new(&POLICY);
}

pub(super) static POLICY: SourcePolicy = SourcePolicy {
    name: "random",
    summary: "any",
    is_strict: false,
    needs_loads: false,
    choose: |sources, _, rng| Some(draw(sources, rng)),
};
