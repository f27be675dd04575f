//! What people and scripts see. Of all processes of one run only one reports how it goes; the
//! others warn of what is their own, with their rank in front.

pub(crate) mod json;
pub(crate) mod logging;
pub(crate) mod out;
pub(crate) mod progress;
pub(crate) mod signals;

use crate::exit::{Exit, Failure};
use dunlin_base::Rank;

/// What this process reports on stderr.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Console {
    quiet: bool,
    /// The rank, if this process is one peer of a job.
    rank: Option<Rank>,
}

impl Console {
    /// The process that reports how the run goes: the only one, or rank 0 of a job.
    pub(crate) fn lead(quiet: bool) -> Console {
        Console { quiet, rank: None }
    }

    /// One peer of a job.
    pub(crate) fn peer(rank: Rank, quiet: bool) -> Console {
        Console { quiet, rank: Some(rank) }
    }

    /// Whether a person wants no progress and no warnings.
    pub(crate) fn is_quiet(self) -> bool {
        self.quiet
    }

    /// Whether it is this process that reports how the run goes.
    pub(crate) fn leads(self) -> bool {
        self.rank.is_none()
    }

    /// Says on stderr that something deserves attention and stops nothing, unless a person wants
    /// quiet.
    pub(crate) fn warning(self, text: &str) {
        if !self.quiet {
            out::notice(&self.line("warning", text));
        }
    }

    /// Says on stderr what went wrong; that is never silenced.
    pub(crate) fn error(self, text: &str) {
        out::notice(&self.line("error", text));
    }

    fn line(self, what: &str, text: &str) -> String {
        match self.rank {
            Some(rank) => format!("rank {rank}: {what}: {text}"),
            None => format!("{what}: {text}"),
        }
    }
}

/// Reports a failure on stderr, and with `json` on stdout too. Returns how the program ends: a
/// closed stdout changes nothing, the failure is what counts.
pub(crate) fn fail(failure: &Failure, json: bool) -> Exit {
    out::error(&failure.message);
    if json {
        let _ = out::document(&json::failure(failure.exit, &failure.message));
    }
    failure.exit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_says_who_it_is() {
        let lead = Console::lead(false);
        assert_eq!((lead.leads(), lead.line("warning", "a")), (true, "warning: a".to_owned()));
        let peer = Console::peer(Rank(3), false);
        assert_eq!((peer.leads(), peer.line("error", "b")), (false, "rank 3: error: b".to_owned()));
    }
}
