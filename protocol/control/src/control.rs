//! The control messages of a cluster: what tracker and peers say to each other.
//!
//! The classic names (INIT, FILE_REQUEST, …) stand in `docs/vocabulary.md` and in traces; the code
//! uses ours.

use dunlin_base::{Bitfield, FileIndex, PieceIndex, Rank, TorrentId};
use dunlin_metainfo::{PieceHashes, SetInfo, TreeEntry};
use std::sync::Arc;

/// A message between the tracker (rank 0) and a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Control {
    /// Peer → tracker: still hashing its files; keeps the start barrier waiting.
    Checking {
        /// Bytes hashed so far.
        done: u64,
        /// Bytes to hash.
        total: u64,
    },
    /// Peer → tracker: every file it has and every name it wants (classic: INIT).
    Register(Box<Register>),
    /// Peer → tracker: nothing to say, but alive. Sent when nothing else was for a while.
    Alive,
    /// Tracker → all: the start barrier (classic: ACK, TRACKER_READY).
    Start(Box<Start>),
    /// Peer → tracker: which swarm has this file? (classic: FILE_REQUEST, SWARM_REQUEST)
    Lookup {
        /// The file's name.
        name: String,
    },
    /// Tracker → peer: the answer to a lookup or refresh: metainfo (to a lookup) and the swarm.
    Swarm(Box<Swarm>),
    /// Tracker → peer: a definite refusal of a lookup.
    Refused {
        /// The name that was looked up.
        name: String,
        /// Why, for people.
        reason: String,
    },
    /// Peer → tracker: the fresh swarm, please (classic: RESEND_SEEDERS, FILE_UPDATE).
    Refresh(Refresh),
    /// Tracker → peer: how busy are you?
    LoadQuery,
    /// Peer → tracker: how busy it is.
    Load(Load),
    /// Peer → tracker: it is now a seed of these files (classic: FILE_COMPLETE).
    FileComplete {
        /// The torrent.
        torrent: TorrentId,
        /// Files of the torrent, by index.
        files: Vec<FileIndex>,
    },
    /// Peer → tracker: everything it wanted is there, or has failed; it goes on serving (classic:
    /// DONE, RECEIVED_ALL_FILES).
    AllComplete {
        /// What it could not get.
        failed: Vec<FailedFile>,
    },
    /// Tracker → peer: a rank of the same host has these files; link them (see [`LinkFrom`]).
    Linkable {
        /// The torrent.
        torrent: TorrentId,
        /// Files of the torrent, by index.
        files: Vec<FileIndex>,
        /// Whether nothing more will come this way: the rest must be fetched.
        last: bool,
    },
    /// Tracker → all: this rank is gone; ask somebody else.
    Departed {
        /// The rank that was lost.
        rank: Rank,
    },
    /// Tracker → all: the run is over (classic: STOP).
    Shutdown(ShutdownReason),
}

/// A peer's registration.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Register {
    /// Every file it has, whole or in part.
    pub files: Vec<OwnedFile>,
    /// What it wants.
    pub wants: Vec<Want>,
    /// False if it serves nobody (`--no-share`).
    pub shares: bool,
    /// Where its wanted files will be written: to add up space by device.
    pub space: Option<Space>,
    /// What its trees are beside the bytes of files: one entry for each folder, link and owned file
    /// whose looks are to be kept; no name twice, in order.
    pub entries: Vec<TreeEntry>,
    /// What it should have given and cannot, or cannot take, each with its reason. No name a file
    /// of `files` has.
    pub unreadable: Vec<FailedFile>,
    /// The host it runs on; `None` where ranks of one host do not help each other.
    pub location: Option<Location>,
    /// Whether its own files are not where wanted ones go: what it owns and wants is then copied
    /// there, and a second copy of the name tells what stands there.
    pub elsewhere: bool,
    /// Folders and links that stand where wanted things go, by name; `None` if nobody looked, and
    /// then none counts as absent.
    pub stands: Option<Vec<TreeEntry>>,
    /// Whether it requests nothing more until its lookup or refresh is answered (profile `course`).
    /// An answer to it that is sorted by load is sorted by loads that were asked for that answer.
    pub awaits_answers: bool,
}

/// Where a peer runs, for whoever shares a host or a rack with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// The same text for ranks that see the same files.
    pub host: String,
    /// The same text for hosts that are near each other; empty if nobody said.
    pub rack: String,
    /// The folder for its wanted files. Ranks of one host with equal folders write one copy.
    pub dest: String,
    /// The file system of that folder, by number: files are linked within it only.
    pub device: u64,
}

/// The rank of the same host that fetches a torrent for another, and where it puts the files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkFrom {
    /// The rank.
    pub rank: Rank,
    /// Its folder for wanted files.
    pub dest: String,
}

/// What a peer wants.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Want {
    /// The file of this name.
    Name(String),
    /// Every file whose name matches this glob.
    Glob(String),
}

/// Free space at a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// The same number for ranks that write to the same device of the same host.
    pub device: u64,
    /// Free bytes.
    pub free: u64,
}

/// A file that a peer has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedFile {
    /// Relative name with `/`.
    pub name: String,
    /// Bytes; segments for a token file.
    pub length: u64,
    /// Bytes a piece; 1 for a token file.
    pub piece_length: u32,
    /// The hashes of its pieces, in order; their kind tells whether it is a token file.
    pub hashes: PieceHashes,
    /// Which pieces are here; `None` means all.
    pub pieces: Option<Bitfield>,
    /// How the peer came by it.
    pub provenance: Provenance,
    /// Bytes of the payload (differs from `length` for a token file).
    pub bytes: u64,
    /// The SHA-256 of the whole file, where the plan pins it.
    pub sha256: Option<[u8; 32]>,
}

/// How much a peer's copy of a file counts when copies differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Provenance {
    /// The plan says that the peer has it: it is an owner.
    Owner,
    /// A whole file that stands at the place where a wanted file goes.
    InPlace,
    /// An unfinished file of an earlier run.
    Part,
}

/// The start of the run, as one rank needs to know it.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Start {
    /// The torrents that this rank takes part in.
    pub torrents: Vec<TorrentAssignment>,
    /// Names and patterns that this rank wants and cannot get, each with its reason.
    pub missing: Vec<FailedFile>,
    /// Ranks that never registered.
    pub absent: Vec<Rank>,
    /// Wanted files of other content that stand in place and may be replaced (`--force`), or are to
    /// be repaired.
    pub replace: Vec<String>,
    /// The folders, links and looks of the trees that this rank wants, by name. Many ranks share
    /// one list.
    pub entries: Arc<[TreeEntry]>,
}

/// What a rank is told of a torrent at the start: enough for a holder to serve it, and for a wanter
/// to know what to look up. The file names are the set's, in its order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TorrentAssignment {
    /// Its number.
    pub torrent: TorrentId,
    /// The names of its files, in order.
    pub names: Vec<String>,
    /// How many pieces it has.
    pub pieces: u32,
    /// Whether this rank holds every file of it (then it has all hashes itself).
    pub holds_all: bool,
    /// Whether this rank wants it.
    pub wants: bool,
    /// Who of the same host fetches it for this rank.
    pub link: Option<LinkFrom>,
}

/// The swarm of a torrent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Swarm {
    /// The torrent.
    pub torrent: TorrentId,
    /// The name that was looked up or refreshed.
    pub name: String,
    /// The metainfo; only in the answer to a lookup.
    pub info: Option<Arc<SetInfo>>,
    /// Who takes part, in the tracker's order, the asker last.
    pub members: Vec<Member>,
    /// With tracker map `pieces`: who has which piece, by member.
    pub owners: Option<Vec<(Rank, Bitfield)>>,
}

/// A member of a swarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its rank.
    pub rank: Rank,
    /// Its load as last reported: pieces served and in flight.
    pub load: u64,
}

/// [`Refresh::vain`] of a rank that gives nothing of these torrents any more and asks for nothing.
pub const WITHDRAWN: u32 = u32::MAX;

/// A refresh of one or several torrents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refresh {
    /// The torrents, each with the pieces gained since the last refresh (map `pieces` only).
    pub torrents: Vec<(TorrentId, Vec<PieceIndex>)>,
    /// Whether it is out of turn: nobody in the swarm gave a wanted piece.
    pub forced: bool,
    /// How many of those in a row have brought nothing, while nobody that the rank is connected to
    /// has anything that it lacks; or [`WITHDRAWN`].
    pub vain: u32,
}

/// How busy a peer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Load {
    /// Pieces it has served, as whole pieces' worth of blocks.
    pub served: u64,
    /// Blocks it is about to serve.
    pub in_flight: u64,
}

/// A wanted file that will not come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedFile {
    /// Its name, or the pattern that nothing matched.
    pub name: String,
    /// Why, for people.
    pub reason: String,
}

/// Why the run ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ShutdownReason {
    /// Everyone has what it wanted, or a stated reason why not.
    Done,
    /// Nothing was moved: the owners disagree, or something stands in the way. For people.
    Refused(String),
    /// Nothing was moved: this was only a check.
    Checked,
    /// A person stopped it.
    Interrupted,
}

impl Control {
    /// Whether it is for the tracker; otherwise it is for a peer. Rank 0 may be both, and the
    /// message says which of the two is meant.
    #[must_use]
    pub fn is_for_tracker(&self) -> bool {
        match self {
            Control::Checking { .. }
            | Control::Register(_)
            | Control::Alive
            | Control::Lookup { .. }
            | Control::Refresh(_)
            | Control::Load(_)
            | Control::FileComplete { .. }
            | Control::AllComplete { .. } => true,
            Control::Start(_)
            | Control::Swarm(_)
            | Control::Refused { .. }
            | Control::LoadQuery
            | Control::Linkable { .. }
            | Control::Departed { .. }
            | Control::Shutdown(_) => false,
        }
    }

    /// The message's name, as traces write it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Control::Checking { .. } => "checking",
            Control::Register(_) => "register",
            Control::Alive => "alive",
            Control::Start(_) => "go",
            Control::Lookup { .. } => "lookup",
            Control::Swarm(_) => "swarm",
            Control::Refused { .. } => "refused",
            Control::Refresh(_) => "refresh",
            Control::LoadQuery => "load-query",
            Control::Load(_) => "load",
            Control::FileComplete { .. } => "file-complete",
            Control::AllComplete { .. } => "all-complete",
            Control::Linkable { .. } => "linkable",
            Control::Departed { .. } => "departed",
            Control::Shutdown(_) => "shutdown",
        }
    }
}
