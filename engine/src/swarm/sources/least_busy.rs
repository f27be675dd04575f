//! `least-busy`: the first of the tracker's order by reported load, until the next refresh.

use super::{SourceOrder, SourcePolicy, best};

impl SourceOrder {
    /// The first of the tracker's order by reported load, until the next refresh.
    pub const LEAST_BUSY: SourceOrder = SourceOrder::new(&POLICY);
}

pub(super) static POLICY: SourcePolicy = SourcePolicy {
    name: "least-busy",
    summary: "the first of the tracker's order by reported load, until the next refresh",
    is_strict: true,
    needs_loads: true,
    choose: |sources, _, _| best(sources, |a, b| (a.load, a.place).cmp(&(b.load, b.place))),
};
