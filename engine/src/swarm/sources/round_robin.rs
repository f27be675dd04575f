//! `round-robin`: one after another, in the order in which the tracker names them.

use super::{SourceOrder, SourcePolicy, SourceView, best};

impl SourceOrder {
    /// One after another, in the order in which the tracker names them.
    pub const ROUND_ROBIN: SourceOrder = SourceOrder::new(&POLICY);
}

pub(super) static POLICY: SourcePolicy = SourcePolicy {
    name: "round-robin",
    summary: "one after another",
    is_strict: true,
    needs_loads: false,
    choose: |sources, last, _| {
        let turn =
            |source: &SourceView| (last.is_some_and(|last| source.place <= last), source.place);
        best(sources, |a, b| turn(a).cmp(&turn(b)))
    },
};
