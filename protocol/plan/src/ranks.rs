//! Ranks without a gap.

use dunlin_base::Rank;

/// The lowest rank missing from 1, 2, …, and the lowest one above it. `ranks` are in order.
#[must_use]
pub fn missing_rank(ranks: impl IntoIterator<Item = Rank>) -> Option<(Rank, Rank)> {
    let mut expected = 1;
    for rank in ranks {
        if rank.0 > expected {
            return Some((Rank(expected), rank));
        }
        expected = rank.0.saturating_add(1);
    }
    None
}
