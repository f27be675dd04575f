//! The trace: one JSON object a line for every message, written when it is handled, and for a few
//! local events. It is the same in every fabric. The classic programs' names are given beside ours.

mod clock;
mod merge;

pub(crate) use clock::TraceClock;
pub(crate) use merge::TraceMerge;

use crate::json;
use crate::lock::lock;
use bytes::Bytes;
use dunlin_base::{Rank, Time};
use dunlin_control::Control;
use dunlin_wire::Message;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

/// Bytes of lines that are collected before they go to the file: few enough to lose little when a
/// process is killed, enough that a line costs no system call.
const BUFFER: usize = 64 * 1024;

/// Where trace lines go. Clones write to the same place.
#[derive(Clone)]
pub struct TraceSink(Arc<Mutex<Sink>>);

struct Sink {
    target: TraceTarget,
    /// The time of the last line. Threads take the time before they write, and may overtake one
    /// another in between; no line may seem to come before an earlier one.
    last: Time,
    /// Sets times forward where the ranks are processes of their own.
    clock: Option<Arc<TraceClock>>,
}

enum TraceTarget {
    File { writer: BufWriter<File>, failed: Option<io::Error> },
    Memory(Vec<u8>),
}

impl std::fmt::Debug for TraceSink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TraceSink")
    }
}

impl TraceSink {
    /// Lines go to a file, which is created, or emptied if it is there and our own.
    ///
    /// # Errors
    /// As [`dunlin_disk::create_output`].
    pub fn create(path: &Path) -> io::Result<TraceSink> {
        let writer = BufWriter::with_capacity(BUFFER, dunlin_disk::create_output(path)?);
        Ok(TraceSink::new(TraceTarget::File { writer, failed: None }))
    }

    /// Lines stay in memory, for tests.
    #[must_use]
    pub fn memory() -> TraceSink {
        TraceSink::new(TraceTarget::Memory(Vec::new()))
    }

    /// Lines wait in memory until the fabric sends them to rank 0: for a rank that is a process of
    /// its own.
    #[must_use]
    pub fn remote() -> TraceSink {
        TraceSink::memory()
    }

    fn new(target: TraceTarget) -> TraceSink {
        TraceSink(Arc::new(Mutex::new(Sink { target, last: Time::ZERO, clock: None })))
    }

    /// Times are this clock's from now on.
    pub(crate) fn follow(&self, clock: Arc<TraceClock>) {
        self.sink().clock = Some(clock);
    }

    /// Takes the lines out of a sink in memory, and up to which time of the trace, in nanoseconds,
    /// they are complete.
    pub(crate) fn take(&self) -> (u64, Bytes) {
        let mut sink = self.sink();
        // A thread that took a time before now and has not written yet writes now's: see `write`.
        let until = sink.clock.as_ref().map_or(0, |clock| clock.now());
        sink.last = sink.last.max(Time(until));
        let lines = match &mut sink.target {
            TraceTarget::Memory(bytes) => std::mem::take(bytes),
            TraceTarget::File { .. } => Vec::new(),
        };
        (until, Bytes::from(lines))
    }

    /// Writes a whole line that has its time already.
    pub(crate) fn write_whole(&self, line: &[u8]) {
        self.sink().put(line);
    }

    fn sink(&self) -> MutexGuard<'_, Sink> {
        lock(&self.0)
    }

    /// What was written so far, of a sink in memory; empty for a file.
    #[must_use]
    pub fn text(&self) -> String {
        match &self.sink().target {
            TraceTarget::Memory(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            TraceTarget::File { .. } => String::new(),
        }
    }

    /// Brings all lines to the file.
    ///
    /// # Errors
    /// The first error that writing met. A trace that cannot be written never stops a run.
    pub fn flush(&self) -> io::Result<()> {
        match &mut self.sink().target {
            TraceTarget::File { failed: failed @ Some(_), .. } => failed.take().map_or(Ok(()), Err),
            TraceTarget::File { writer, .. } => writer.flush(),
            TraceTarget::Memory(_) => Ok(()),
        }
    }

    /// Writes one line. Its time is that of the line before it if that is later.
    pub fn write(&self, line: &TraceLine<'_>) {
        let rest = line.to_json();
        let mut sink = self.sink();
        let time = sink.clock.as_ref().map_or(line.time, |clock| clock.of(line.time));
        sink.last = sink.last.max(time);
        let (seconds, micros) = (sink.last.0 / 1_000_000_000, sink.last.0 / 1000 % 1_000_000);
        let text = format!("{{\"t\":{seconds}.{micros:06}{rest}");
        sink.put(text.as_bytes());
    }
}

impl Sink {
    fn put(&mut self, bytes: &[u8]) {
        match &mut self.target {
            TraceTarget::File { writer, failed } => {
                if failed.is_none() {
                    *failed = writer.write_all(bytes).err();
                }
            }
            TraceTarget::Memory(all) => all.extend_from_slice(bytes),
        }
    }
}

/// One line of a trace.
#[derive(Clone, Debug, Default)]
pub struct TraceLine<'a> {
    /// When the message was handled.
    pub time: Time,
    /// The rank that sent it.
    pub from: Rank,
    /// The rank that handled it; the sender itself for a local event.
    pub to: Rank,
    /// Our name of the message or event.
    pub msg: &'a str,
    /// The classic programs' name of it, where there is one.
    pub classic: Option<&'static str>,
    /// The files it is about.
    pub files: Vec<&'a str>,
    /// The piece, counted from 0 within the file.
    pub piece: Option<u32>,
    /// The swarm, in the tracker's order.
    pub members: Option<Vec<Rank>>,
    /// The loads of those members, in the same order, as the tracker knew them when it answered.
    pub loads: Option<Vec<u64>>,
    /// The load that was reported: pieces served and blocks in flight.
    pub load: Option<u64>,
    /// Whether a refresh was out of turn.
    pub forced: Option<bool>,
    /// Why, where a reason is stated.
    pub reason: Option<&'a str>,
    /// The rank that a local event is about: who gave the piece, who is banned or gone.
    pub about: Option<(&'static str, Vec<Rank>)>,
}

impl<'a> TraceLine<'a> {
    /// A line with nothing but the names.
    #[must_use]
    pub fn new(time: Time, from: Rank, to: Rank, msg: &'a str) -> TraceLine<'a> {
        TraceLine { time, from, to, msg, ..TraceLine::default() }
    }

    /// The line's JSON object behind its time.
    fn to_json(&self) -> String {
        let file = self.files.first().copied();
        let form = TraceForm {
            from: self.from,
            to: self.to,
            msg: self.msg,
            classic: self.classic,
            file,
            files: Some(self.files.as_slice()).filter(|files| files.len() > 1),
            piece: self.piece,
            members: self.members.as_deref().map(numbers),
            loads: self.loads.as_deref(),
            load: self.load,
            forced: self.forced,
            about: self.about.as_ref().map(|(name, ranks)| match ranks.as_slice() {
                [one] => BTreeMap::from([(*name, AboutRanks::One(one.0))]),
                more => BTreeMap::from([(*name, AboutRanks::More(numbers(more)))]),
            }),
            reason: self.reason,
        };
        // It has string keys, which is all that JSON asks for.
        let object = serde_json::to_string(&form).unwrap_or_default();
        object.replacen('{', ",", 1) + "\n"
    }
}

/// The JSON form of a line behind its time.
#[derive(Serialize)]
struct TraceForm<'a> {
    #[serde(with = "json::rank")]
    from: Rank,
    #[serde(with = "json::rank")]
    to: Rank,
    msg: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    classic: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    files: Option<&'a [&'a str]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    piece: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    members: Option<Vec<u32>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    loads: Option<&'a [u64]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    load: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    forced: Option<bool>,
    #[serde(flatten)]
    about: Option<BTreeMap<&'a str, AboutRanks>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

/// The ranks that a local event is about.
#[derive(Serialize)]
#[serde(untagged)]
enum AboutRanks {
    One(u32),
    More(Vec<u32>),
}

fn numbers(ranks: &[Rank]) -> Vec<u32> {
    ranks.iter().map(|rank| rank.0).collect()
}

/// What the classic programs call a control message, where they have it.
#[must_use]
pub fn classic_control(control: &Control) -> Option<&'static str> {
    match control {
        Control::Register(_) => Some("INIT"),
        Control::Start(_) => Some("ACK"),
        Control::Lookup { .. } => Some("FILE_REQUEST"),
        Control::Swarm(_) => Some("SWARM"),
        Control::Refused { .. } => Some("NACK"),
        Control::Refresh(_) => Some("UPDATE"),
        Control::LoadQuery | Control::Load(_) => Some("BUSYNESS"),
        Control::FileComplete { .. } => Some("FILE_COMPLETE"),
        Control::AllComplete { .. } => Some("ALL_DONE"),
        Control::Shutdown(_) => Some("STOP"),
        Control::Checking { .. }
        | Control::Alive
        | Control::Linkable { .. }
        | Control::Departed { .. } => None,
    }
}

/// What the classic programs call a peer wire message, where they have it.
#[must_use]
pub fn classic_wire(message: &Message) -> Option<&'static str> {
    match message {
        Message::Request(_) => Some("SEGMENT_REQUEST"),
        Message::Piece(_) => Some("SEGMENT"),
        Message::RejectRequest(_) => Some("NACK"),
        _ => None,
    }
}

/// Why a run ends, as the trace writes it.
#[must_use]
pub fn shutdown_reason(reason: &dunlin_control::ShutdownReason) -> &str {
    use dunlin_control::ShutdownReason as Why;
    match reason {
        Why::Done => "done",
        Why::Refused(text) => text,
        Why::Checked => "checked",
        Why::Interrupted => "interrupted",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_json_and_leaves_out_what_is_not_there() {
        let sink = TraceSink::memory();
        let time = Time(1_234_567_890);
        sink.write(&TraceLine::new(time, Rank(1), Rank(0), "alive"));
        sink.write(&TraceLine {
            classic: Some("SWARM"),
            files: vec!["a \"b\""],
            members: Some(vec![Rank(2), Rank(1)]),
            loads: Some(vec![0, 7]),
            load: Some(8),
            forced: Some(true),
            piece: Some(3),
            about: Some(("peer", vec![Rank(2)])),
            reason: Some("why\n"),
            ..TraceLine::new(time, Rank(0), Rank(1), "swarm")
        });
        let expected = concat!(
            r#"{"t":1.234567,"from":1,"to":0,"msg":"alive"}"#,
            "\n",
            r#"{"t":1.234567,"from":0,"to":1,"msg":"swarm","classic":"SWARM","file":"a \"b\"","#,
            r#""piece":3,"members":[2,1],"loads":[0,7],"load":8,"forced":true,"peer":2,"reason":"why\n"}"#,
            "\n",
        );
        assert_eq!(sink.text(), expected);
        sink.write(&TraceLine::new(Time(1_000_000_000), Rank(1), Rank(0), "late"));
        let late = r#"{"t":1.234567,"from":1,"to":0,"msg":"late"}"#;
        assert_eq!(sink.text().lines().last(), Some(late), "time never goes back");
        for line in sink.text().lines() {
            serde_json::from_str::<serde_json::Value>(line).unwrap();
        }
    }
}
