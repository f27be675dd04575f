//! Who says what: of all processes of one run only one tells how it goes, and the others warn of
//! what is their own, with their rank before it.

use crate::out;
use dunlin_base::Rank;

/// How this process speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Voice {
    quiet: bool,
    /// The rank, if this process is one peer of a job.
    rank: Option<Rank>,
}

impl Voice {
    /// The process that tells how the run goes: the only one, or rank 0 of a job.
    pub(crate) fn lead(quiet: bool) -> Voice {
        Voice { quiet, rank: None }
    }

    /// One peer of a job.
    pub(crate) fn peer(rank: Rank, quiet: bool) -> Voice {
        Voice { quiet, rank: Some(rank) }
    }

    /// Whether it is this process that tells how the run goes.
    pub(crate) fn leads(self) -> bool {
        self.rank.is_none()
    }

    /// Says on stderr that something deserves attention and stops nothing, unless a person wants
    /// quiet.
    pub(crate) fn warning(self, text: &str) {
        if !self.quiet {
            out::say(&self.line("warning", text));
        }
    }

    /// Says on stderr what went wrong; that is never silenced.
    pub(crate) fn error(self, text: &str) {
        out::say(&self.line("error", text));
    }

    fn line(self, what: &str, text: &str) -> String {
        match self.rank {
            Some(rank) => format!("rank {rank}: {what}: {text}"),
            None => format!("{what}: {text}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_says_who_it_is() {
        let lead = Voice::lead(false);
        assert_eq!((lead.leads(), lead.line("warning", "a")), (true, "warning: a".to_owned()));
        let peer = Voice::peer(Rank(3), false);
        assert_eq!((peer.leads(), peer.line("error", "b")), (false, "rank 3: error: b".to_owned()));
    }
}
