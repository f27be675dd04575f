//! The contracts of the cluster's two drivers: a member, and the coordinator on rank 0.
//!
//! ```text
//!   coordinator                    member                        world of the member
//!                                    ◀── Checked ────────────────   its files are checked
//!     ◀── SendControl(register) ─────
//!     ─── Control(go) ──────────────▶                               all ranks are here
//!     ◀── SendControl(lookup) ───────
//!     ─── Control(swarm) ───────────▶
//!                                    ─── Open ──────────────────▶
//!                                    ◀── Opened ─────────────────
//!                                         Swarm(…): the core's
//!                                    ─── FinishFile ────────────▶   every piece is written
//!                                    ◀── FileFinished ───────────
//!     ◀── SendControl(complete) ─────
//!     ─── Control(shutdown) ────────▶
//! ```

use crate::swarm::io::{LocalError, SwarmInput, SwarmOutput};
use dunlin_base::{Bitfield, FileIndex, Rank, TorrentId};
use dunlin_control::{Control, FailedFile, LinkFrom, Register, ShutdownReason};
use dunlin_metainfo::SetInfo;
use std::sync::Arc;

/// What a member receives.
#[allow(missing_docs, reason = "the names and types of fields say what they are")]
#[derive(Clone, Debug)]
pub enum MemberInput {
    /// What the core receives.
    Swarm(SwarmInput),
    /// The time that `next_timeout` returned has come. Early calls do no harm.
    Timeout,
    /// Stop: hang up everywhere.
    Stop,
    /// This rank has checked its files and can register.
    Checked(Box<Register>),
    /// A message of the coordinator.
    Control(Control),
    /// The storage of a torrent is open; `have` was found right on disk, `resumed` pieces of it in
    /// unfinished files.
    Opened { torrent: TorrentId, have: Bitfield, resumed: u32 },
    /// The storage of a torrent could not be opened.
    OpenFailed { torrent: TorrentId, error: LocalError },
    /// A file stands under its final name.
    FileFinished { torrent: TorrentId, file: FileIndex },
    /// A file could not be finished.
    FileFailed { torrent: TorrentId, file: FileIndex, error: LocalError },
    /// A file that [`MemberOutput::Link`] asked for could not be linked or copied from a neighbour:
    /// it has to be fetched.
    LinkFailed { torrent: TorrentId, file: FileIndex, error: LocalError },
    /// Folders, links and metadata are as they should be, except for `failed`.
    TreeFinished { failed: Vec<FailedFile> },
}

/// What a member asks of the world.
#[allow(missing_docs, reason = "the names and types of fields say what they are")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberOutput {
    /// What the core asks for.
    Swarm(SwarmOutput),
    /// Send a message to the coordinator.
    SendControl(Control),
    /// Open the storage of a torrent, answered by [`MemberInput::Opened`] or
    /// [`MemberInput::OpenFailed`]. It is only read unless `wants`.
    Open { torrent: TorrentId, info: Arc<SetInfo>, wants: bool },
    /// Every piece of this file is written: make it durable and give it its final name, answered by
    /// [`MemberInput::FileFinished`] or [`MemberInput::FileFailed`].
    FinishFile { torrent: TorrentId, file: FileIndex },
    /// A rank of the same host has this file whole in its folder for wanted files: link or copy it
    /// from there, answered by [`MemberInput::FileFinished`] or [`MemberInput::LinkFailed`].
    Link { torrent: TorrentId, file: FileIndex, name: String, from: LinkFrom },
    /// Every wanted file is finished or has failed: make links, and set the metadata of folders and
    /// files, answered by [`MemberInput::TreeFinished`].
    FinishTree,
    /// Something that the app, the trace or a test wants to know. The engine needs no answer.
    Event(MemberEvent),
}

/// What happened to a member.
#[allow(missing_docs, reason = "the names and types of fields say what they are")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberEvent {
    /// The start barrier opened: so many `wanted` files are known, and nobody has the `missing`
    /// ones.
    Started { wanted: u64, missing: Vec<String> },
    /// A wanted file stands under its final name.
    FileComplete { torrent: TorrentId, file: FileIndex },
    /// A wanted file has failed.
    FileFailed(FailedFile),
    /// Every wanted file is complete or has failed.
    AllComplete,
    /// A refresh was sent; `forced` if it was out of turn.
    Refreshed { forced: bool },
    /// The coordinator ended the run.
    Shutdown(ShutdownReason),
}

/// What the coordinator receives.
#[allow(missing_docs, reason = "the names and types of fields say what they are")]
#[derive(Clone, Debug)]
pub enum CoordinatorInput {
    /// A message of a member.
    Message { from: Rank, message: Control },
    /// The time that `next_timeout` returned has come. Early calls do no harm.
    Timeout,
    /// The world knows that this rank is gone.
    Lost { rank: Rank },
    /// A rank has announced that it stops: it will not come back.
    Withdrawn { rank: Rank },
    /// This rank lives: the world received something of it that was not for the coordinator. A rank
    /// whose processor is taken by others may be late with its own sign of life.
    Alive { rank: Rank },
    /// A person wants the run to stop.
    Interrupt,
}

/// What the coordinator asks of the world.
#[allow(missing_docs, reason = "the names and types of fields say what they are")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CoordinatorOutput {
    /// Send a message to a member.
    Send { to: Rank, message: Control },
    /// The run is over: every member has been sent its end. The outcome is ready.
    Finished,
}

impl From<SwarmInput> for MemberInput {
    fn from(input: SwarmInput) -> MemberInput {
        MemberInput::Swarm(input)
    }
}

impl From<SwarmOutput> for MemberOutput {
    fn from(output: SwarmOutput) -> MemberOutput {
        MemberOutput::Swarm(output)
    }
}

impl From<MemberEvent> for MemberOutput {
    fn from(event: MemberEvent) -> MemberOutput {
        MemberOutput::Event(event)
    }
}
