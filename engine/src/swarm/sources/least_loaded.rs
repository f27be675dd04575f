//! `least-loaded`: the least reported load plus what we have asked of it since, ties rotated.

use super::{SourceOrder, SourcePolicy, best, rotation};

impl SourceOrder {
    /// The least reported load plus what we have asked of it since, ties rotated.
    pub const LEAST_LOADED: SourceOrder = SourceOrder::new(&POLICY);
}

pub(super) static POLICY: SourcePolicy = SourcePolicy {
    name: "least-loaded",
    summary: "the least reported load plus what we asked of it since",
    is_strict: true,
    needs_loads: true,
    choose: |sources, _, _| {
        best(sources, |a, b| (a.load + a.asked, rotation(a)).cmp(&(b.load + b.asked, rotation(b))))
    },
};
