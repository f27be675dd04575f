//! What a file was when somebody knew its bytes, as long as the process runs.

use super::{Look, Meta};

/// What a file was when its bytes were hashed. Whoever believes hashes later compares all of it:
/// who writes to a file can set the time of that back ([`Meta::modified`]), but not the time of the
/// change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Length, number and time of its content.
    pub meta: Meta,
    /// When anything of it was last changed, in nanoseconds since 1970.
    pub changed: i128,
}

impl Look {
    /// What there is to compare later.
    #[must_use]
    pub fn seen(&self) -> Seen {
        Seen { meta: self.meta, changed: self.changed }
    }
}
