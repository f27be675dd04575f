//! `fastest`: the source that will have answered first: (in flight + 1) / measured rate.

use super::{SourceOrder, SourcePolicy, SourceView, best, rotation};
use std::cmp::Ordering;

impl SourceOrder {
    /// The source that will have answered first: (in flight + 1) / measured rate.
    pub const FASTEST: SourceOrder = SourceOrder::new(&POLICY);
}

pub(super) static POLICY: SourcePolicy = SourcePolicy {
    name: "fastest",
    summary: "whoever will have answered first",
    is_strict: false,
    needs_loads: false,
    choose: |sources, _, _| best(sources, soonest),
};

/// Who would answer first: (in flight + 1) / rate. A source that was never measured comes first
/// while it owes nothing, so that everybody is tried; then it counts as the slower one.
fn soonest(a: &SourceView, b: &SourceView) -> Ordering {
    let untried = |source: &SourceView| source.rate.0 == 0 && source.in_flight == 0;
    let time = |source: &SourceView, other: &SourceView| {
        u128::from(source.in_flight + 1) * u128::from(other.rate.0.max(1))
    };
    untried(b)
        .cmp(&untried(a))
        .then_with(|| time(a, b).cmp(&time(b, a)))
        .then_with(|| rotation(a).cmp(&rotation(b)))
}
