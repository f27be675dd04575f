//! `two-choices`: the less loaded of two drawn from the seed.

use super::{SourceOrder, SourcePolicy, draw};

impl SourceOrder {
    /// The less loaded of two drawn from the seed.
    pub const TWO_CHOICES: SourceOrder = SourceOrder::new(&POLICY);
}

pub(super) static POLICY: SourcePolicy = SourcePolicy {
    name: "two-choices",
    summary: "the less loaded of two",
    is_strict: false,
    needs_loads: true,
    choose: |sources, _, rng| {
        let (first, mut second) = (draw(sources, rng), draw(sources, rng));
        if first == second {
            second = (second + 1) % sources.len();
        }
        let load = |index: usize| sources[index].load + sources[index].asked;
        Some(if load(second) < load(first) { second } else { first })
    },
};
