//! What the thread `net` and the others send each other: torrents and commands from the app,
//! results from the other threads, events for the app. A sender never waits.

use crate::disk::DiskDone;
use crate::tracker_client::AnnounceResult;
use dunlin_base::TorrentId;
use dunlin_disk::{DiskError, Existing, FileFault};
use dunlin_engine::io::{AddTorrent, ClientEvent, Command, SwarmEvent, TorrentView, TrackerIndex};
use mio::Waker;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::mpsc::Sender;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A torrent, and where its files are.
#[derive(Clone, Debug)]
pub struct NewTorrent {
    /// What the engine gets.
    pub add: AddTorrent,
    /// The folder that holds the torrent's name.
    pub folder: PathBuf,
    /// What may be done with files that stand there.
    pub existing: Existing,
}

/// What the app receives.
#[derive(Debug)]
pub enum NetEvent {
    /// Something happened to a torrent.
    Client(ClientEvent),
    /// Something happened between peers.
    Swarm(SwarmEvent),
    /// A torrent's files are being checked: bytes hashed, and to be hashed.
    Checking {
        /// The torrent.
        torrent: TorrentId,
        /// Bytes hashed.
        done: u64,
        /// Bytes to hash.
        total: u64,
    },
    /// The files of a torrent that are only read were looked at: what is wrong with which. It comes
    /// each time they are, before the engine says where the torrent stands.
    Faults {
        /// The torrent.
        torrent: TorrentId,
        /// What is wrong, in the order of the files; nothing if all are right.
        faults: Vec<FileFault>,
    },
    /// A torrent's files could not be opened.
    OpenFailed {
        /// The torrent.
        torrent: TorrentId,
        /// Why.
        error: DiskError,
    },
    /// A torrent that was to be removed is gone: its files are closed, trackers know it, and
    /// nothing is kept of it.
    Removed {
        /// The torrent.
        torrent: TorrentId,
    },
    /// The loop has ended; nothing follows.
    Stopped,
}

/// What the thread `net` receives.
pub(crate) enum WorldMessage {
    Add(Box<NewTorrent>),
    Command(Command),
    Done(DiskDone),
    Announced { torrent: TorrentId, tracker: TrackerIndex, result: AnnounceResult },
    MemoryFree,
}

/// What the thread `net` and the others share.
pub(crate) struct Mailbox {
    sender: Mutex<Sender<WorldMessage>>,
    waker: Waker,
    /// Views that have changed since the app took them.
    views: Mutex<BTreeMap<TorrentId, TorrentView>>,
}

impl Mailbox {
    /// Messages go to `sender`, and `waker` wakes the thread that receives them.
    pub(crate) fn new(sender: Sender<WorldMessage>, waker: Waker) -> Mailbox {
        Mailbox { sender: Mutex::new(sender), waker, views: Mutex::default() }
    }

    /// Sends a message to the thread `net`.
    pub(crate) fn send(&self, message: WorldMessage) {
        let sent = self.sender.lock().unwrap_or_else(PoisonError::into_inner).send(message);
        if sent.is_ok() {
            // If it fails, the thread receives the message when it wakes up next.
            let _ = self.waker.wake();
        }
    }

    /// Publishes views that have changed.
    pub(crate) fn publish(&self, views: BTreeMap<TorrentId, TorrentView>) {
        self.views().extend(views);
    }

    /// The views that have changed since they were taken last.
    pub(crate) fn take_views(&self) -> BTreeMap<TorrentId, TorrentView> {
        std::mem::take(&mut *self.views())
    }

    /// Forgets the view of a torrent that is gone.
    pub(crate) fn forget_view(&self, torrent: TorrentId) {
        self.views().remove(&torrent);
    }

    fn views(&self) -> MutexGuard<'_, BTreeMap<TorrentId, TorrentView>> {
        self.views.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
