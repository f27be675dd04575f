//! The messages of the launch and of the end, between rank 0 and the peers, as JSON: how a rank's
//! part of the plan was read, which processes it may watch, which ranks died, its report, and its
//! exit code.

use crate::json;
use crate::report::{PeerReport, RunError};
use crate::supervision::run_mark::LastRun;
use bytes::Bytes;
use dunlin_base::Rank;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::PathBuf;

/// What a peer sends before anything else: how its part of the plan was read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The highest peer that it sees in its plan; 0 if it sees none.
    pub highest: u32,
    /// Whether it sees its own input.
    pub own: bool,
    /// Why it cannot take part: the exit code, and the whole message for people.
    pub failure: Option<(u8, String)>,
    /// What its last run left behind.
    pub last_run: Option<LastRun>,
    /// The folder for its run mark: where wanted files go.
    #[serde(with = "json::text_path")]
    pub state: Option<PathBuf>,
    /// The longest block that it takes and gives, in bytes.
    pub block_length: u32,
    /// The name of its host.
    pub host: String,
}

/// A process on the same host that a rank may watch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RankProcess {
    #[serde(with = "json::rank")]
    pub(crate) rank: Rank,
    /// The name of its host.
    pub(crate) host: String,
    /// The same for processes that can watch each other.
    pub(crate) node: String,
    /// The same for processes that see the same files.
    pub(crate) mount: String,
    pub(crate) pid: u32,
    pub(crate) started: u64,
    /// Where its run mark is; `None` also for a path that is no UTF-8, so that its rank is not
    /// watched.
    #[serde(with = "json::text_path")]
    pub(crate) mark: Option<PathBuf>,
}

/// A message of the launch or the end.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Session {
    /// Rank 0 → peer, first: the name of the job, and what it is to do.
    Job { id: String, work: Value },
    /// Peer → rank 0, first.
    Hello { hello: Hello, process: RankProcess },
    /// Rank 0 → peer: take part.
    Welcome { seed: u64, block_length: u32, neighbours: Vec<RankProcess> },
    /// Peer → rank 0: this rank of my host has died.
    Died {
        #[serde(with = "json::rank")]
        rank: Rank,
    },
    /// Peer → rank 0, last: its report.
    Report { report: Box<PeerReport>, errors: Vec<RunError>, interrupted: bool },
    /// Rank 0 → peer: leave with this code; everyone else leaves too, unless a rank died.
    Bye { code: u8, together: bool },
    /// Peer → rank 0: the bye has come; the peer sends nothing more.
    Gone,
    /// Rank 0 → peer: no rank sends anything more. Whether everyone has acknowledged it, and all
    /// leave MPI together.
    End { together: bool },
}

impl Session {
    pub(crate) fn encode(&self) -> Bytes {
        // Every message has string keys, which is all that JSON asks for.
        Bytes::from(serde_json::to_vec(self).unwrap_or_default())
    }

    /// Reads a message; `None` for bytes that are no message. The receiver checks whether the
    /// sender may send it.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Session> {
        serde_json::from_slice(bytes).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn back(session: &Session) -> Session {
        Session::decode(&session.encode()).expect("reads its own")
    }

    #[test]
    fn every_message_comes_back() {
        let hello = Hello {
            highest: 5,
            own: true,
            failure: Some((4, "in3.txt:7: \"no\"".into())),
            last_run: Some(LastRun { died: vec![Rank(3)], unfinished: true }),
            state: Some("/data/peer3".into()),
            block_length: 1 << 18,
            host: "n03".into(),
        };
        let process = RankProcess {
            rank: Rank(3),
            host: "n03".into(),
            node: "b pid:[1]".into(),
            mount: "m".into(),
            pid: 77,
            started: 123_456,
            mark: None,
        };
        let Session::Hello { hello: again, process: same } =
            back(&Session::Hello { hello: hello.clone(), process: process.clone() })
        else {
            panic!("a hello");
        };
        assert_eq!((again, &same), (hello, &process));
        let neighbours = vec![process.clone()];
        let welcome = Session::Welcome { seed: u64::MAX, block_length: 1 << 19, neighbours };
        let Session::Welcome { seed, block_length: 0x80000, neighbours } = back(&welcome) else {
            panic!("a welcome")
        };
        assert_eq!((seed, neighbours), (u64::MAX, vec![process]));
        let work = json!({ "cast": ["a", 1] });
        let Session::Job { id, work: same } =
            back(&Session::Job { id: "7-a".into(), work: work.clone() })
        else {
            panic!("a job");
        };
        assert_eq!((id.as_str(), same), ("7-a", work));
        assert!(matches!(back(&Session::Died { rank: Rank(9) }), Session::Died { rank: Rank(9) }));
        let bye = Session::Bye { code: 8, together: true };
        assert!(matches!(back(&bye), Session::Bye { code: 8, together: true }));
        assert!(matches!(back(&Session::Gone), Session::Gone));
        let end = Session::End { together: false };
        assert!(matches!(back(&end), Session::End { together: false }));
        let errors = vec![RunError::Disk("full".into()), RunError::Input("bad".into())];
        let report = Box::new(PeerReport::silent(Rank(2)));
        let Session::Report { report, errors: same, interrupted: true } =
            back(&Session::Report { report, errors: errors.clone(), interrupted: true })
        else {
            panic!("a report");
        };
        assert_eq!((report.rank, same), (Rank(2), errors));
    }

    #[test]
    fn nonsense_is_no_message() {
        for text in [
            "",
            "{",
            "[]",
            "{}",
            "{\"hello\":{}}",
            "{\"bye\":{\"code\":256,\"together\":true}}",
            "{\"bye\":{\"code\":8}}",
        ] {
            assert!(Session::decode(text.as_bytes()).is_none(), "{text}");
        }
    }
}
