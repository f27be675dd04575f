//! The messages of the launch and of the end, between rank 0 and the peers, as JSON: how a rank's part of
//! the plan was read, which processes it may watch, which ranks died, its report, and its exit code.

use crate::report::{PeerReport, RunError};
use crate::supervision::run_mark::LastRun;
use bytes::Bytes;
use dunlin_base::Rank;
use serde_json::{Value, json};
use std::path::PathBuf;

/// What a peer sends before anything else: how its part of the plan was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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
    pub state: Option<PathBuf>,
    /// The longest block that it takes and gives, in bytes.
    pub block_length: u32,
    /// The name of its host.
    pub host: String,
}

/// A process on the same host that a rank may watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RankProcess {
    pub(crate) rank: Rank,
    /// The name of its host.
    pub(crate) host: String,
    /// The same for processes that can watch each other.
    pub(crate) node: String,
    /// The same for processes that see the same files.
    pub(crate) mount: String,
    pub(crate) pid: u32,
    pub(crate) started: u64,
    /// Where its run mark is.
    pub(crate) mark: Option<PathBuf>,
}

/// A message of the launch or the end.
#[derive(Debug)]
pub(crate) enum Session {
    /// Rank 0 → peer, first: the name of the job, and what it is to do.
    Job { id: String, work: Value },
    /// Peer → rank 0, first.
    Hello { hello: Hello, process: RankProcess },
    /// Rank 0 → peer: take part.
    Welcome { seed: u64, block_length: u32, neighbours: Vec<RankProcess> },
    /// Peer → rank 0: this rank of my host has died.
    Died { rank: Rank },
    /// Peer → rank 0, last: its report.
    Report { report: Box<PeerReport>, errors: Vec<RunError>, interrupted: bool },
    /// Rank 0 → peer: leave with this code; everyone else leaves too, unless a rank died.
    Bye { code: u8, together: bool },
    /// Peer → rank 0: the bye has come; the peer sends nothing more.
    Gone,
    /// Rank 0 → peer: no rank sends anything more. Whether everyone has acknowledged it, and all leave
    /// MPI together.
    End { together: bool },
}

impl Session {
    pub(crate) fn encode(&self) -> Bytes {
        let value = match self {
            Session::Hello { hello, process } => json!({
                "hello": hello_json(hello), "process": process_json(process),
            }),
            Session::Job { id, work } => json!({ "job": id, "work": work }),
            Session::Welcome { seed, block_length, neighbours } => json!({
                "welcome": seed, "block_length": block_length,
                "neighbours": neighbours.iter().map(process_json).collect::<Vec<_>>(),
            }),
            Session::Died { rank } => json!({ "died": rank.0 }),
            Session::Report { report, errors, interrupted } => json!({
                "report": report.to_json(), "interrupted": interrupted,
                "errors": errors.iter().map(error_json).collect::<Vec<_>>(),
            }),
            Session::Bye { code, together } => json!({ "bye": code, "together": together }),
            Session::Gone => json!({ "gone": true }),
            Session::End { together } => json!({ "end": true, "together": together }),
        };
        Bytes::from(value.to_string())
    }

    /// Reads a message; `None` for bytes that are no message. The receiver checks whether the sender may
    /// send it.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Session> {
        let value: Value = serde_json::from_slice(bytes).ok()?;
        let has = |key| value.get(key);
        if let Some(hello) = has("hello") {
            let process = process_of(has("process")?)?;
            return Some(Session::Hello { hello: hello_of(hello)?, process });
        }
        if let Some(seed) = has("welcome") {
            let all = has("neighbours")?.as_array()?;
            let neighbours = all.iter().map(process_of).collect::<Option<Vec<_>>>()?;
            let block_length = u32::try_from(has("block_length")?.as_u64()?).ok()?;
            return Some(Session::Welcome { seed: seed.as_u64()?, block_length, neighbours });
        }
        if let Some(id) = has("job") {
            return Some(Session::Job { id: id.as_str()?.to_owned(), work: has("work")?.clone() });
        }
        if let Some(rank) = has("died") {
            return Some(Session::Died { rank: rank_of(rank)? });
        }
        if let Some(report) = has("report") {
            let report = Box::new(PeerReport::of_json(report)?);
            let errors = has("errors")?.as_array()?;
            let errors = errors.iter().map(error_of).collect::<Option<Vec<_>>>()?;
            let interrupted = has("interrupted")?.as_bool()?;
            return Some(Session::Report { report, errors, interrupted });
        }
        if let Some(code) = has("bye") {
            let code = u8::try_from(code.as_u64()?).ok()?;
            return Some(Session::Bye { code, together: has("together")?.as_bool()? });
        }
        if has("end").is_some() {
            return Some(Session::End { together: has("together")?.as_bool()? });
        }
        has("gone").map(|_| Session::Gone)
    }
}

fn rank_of(value: &Value) -> Option<Rank> {
    u32::try_from(value.as_u64()?).ok().map(Rank)
}

fn path_json(path: Option<&PathBuf>) -> Value {
    // A path that is no UTF-8 cannot be sent; its rank is only not watched.
    path.and_then(|path| path.to_str()).map_or(Value::Null, Value::from)
}

fn path_of(value: Option<&Value>) -> Option<PathBuf> {
    value?.as_str().map(PathBuf::from)
}

fn hello_json(hello: &Hello) -> Value {
    json!({
        "highest": hello.highest,
        "host": hello.host,
        "block_length": hello.block_length,
        "own": hello.own,
        "failure": hello.failure.as_ref().map(|(code, text)| json!([code, text])),
        "died": hello.last_run.as_ref().map(|last| {
            last.died.iter().map(|rank| rank.0).collect::<Vec<_>>()
        }),
        "unfinished": hello.last_run.as_ref().map(|last| last.unfinished),
        "state": path_json(hello.state.as_ref()),
    })
}

fn hello_of(value: &Value) -> Option<Hello> {
    let failure = match value.get("failure")? {
        Value::Null => None,
        pair => {
            let code = u8::try_from(pair.get(0)?.as_u64()?).ok()?;
            Some((code, pair.get(1)?.as_str()?.to_owned()))
        }
    };
    let last_run = match value.get("died")? {
        Value::Null => None,
        died => Some(LastRun {
            died: died.as_array()?.iter().map(rank_of).collect::<Option<Vec<_>>>()?,
            unfinished: value.get("unfinished")?.as_bool()?,
        }),
    };
    Some(Hello {
        highest: u32::try_from(value.get("highest")?.as_u64()?).ok()?,
        own: value.get("own")?.as_bool()?,
        failure,
        last_run,
        state: path_of(value.get("state")),
        host: value.get("host")?.as_str()?.to_owned(),
        block_length: u32::try_from(value.get("block_length")?.as_u64()?).ok()?,
    })
}

fn process_json(process: &RankProcess) -> Value {
    json!({
        "rank": process.rank.0, "host": process.host, "node": process.node, "mount": process.mount, "pid": process.pid,
        "started": process.started, "mark": path_json(process.mark.as_ref()),
    })
}

fn process_of(value: &Value) -> Option<RankProcess> {
    let text = |key| value.get(key).and_then(Value::as_str).map(str::to_owned);
    Some(RankProcess {
        rank: rank_of(value.get("rank")?)?,
        host: text("host")?,
        node: text("node")?,
        mount: text("mount")?,
        pid: u32::try_from(value.get("pid")?.as_u64()?).ok()?,
        started: value.get("started")?.as_u64()?,
        mark: path_of(value.get("mark")),
    })
}

fn error_json(error: &RunError) -> Value {
    json!({ "kind": error.kind(), "message": error.to_string() })
}

fn error_of(value: &Value) -> Option<RunError> {
    let message = value.get("message")?.as_str()?.to_owned();
    RunError::of_kind(value.get("kind")?.as_str()?, message)
}

#[cfg(test)]
mod tests {
    use super::*;

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
        for text in ["", "{", "[]", "{}", "{\"hello\":{}}", "{\"bye\":256,\"together\":true}"] {
            assert!(Session::decode(text.as_bytes()).is_none(), "{text}");
        }
    }
}
