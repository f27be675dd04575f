//! Ranks of one host that link files from one another instead of fetching them: who waits for whom,
//! what is ready, and who takes over when somebody gives no more.
//!
//! ```text
//!            file complete at the other                all files told
//!  following ──────────────────────────▶ "linkable" ──────────────────▶ done
//!      │ the other is complete or dead: "linkable, last" ─▶ fetches itself
//!      └ dead, and a mate of the same folder fetches now ─▶ follows the mate
//! ```

use super::Coordinator;
use crate::cluster::SetPlan;
use dunlin_base::{Bitfield, FileIndex, PieceIndex, Rank, TorrentId};
use dunlin_control::Control;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::Arc;

/// Who waits for whom.
#[derive(Clone, Debug, Default)]
pub(super) struct Links {
    /// Who wants each torrent, by number.
    wanters: Vec<Arc<[Rank]>>,
    /// Late ranks that want a torrent.
    late: BTreeSet<(Rank, TorrentId)>,
    /// By who waits.
    follows: BTreeMap<(Rank, TorrentId), Follower>,
    /// By who is waited for.
    followed: BTreeMap<(Rank, TorrentId), BTreeSet<Rank>>,
    /// Files that stand in the folders of ranks that somebody may link from.
    done: BTreeMap<(Rank, TorrentId), Files>,
    /// Ranks whose mate of the same folder could not get the rest of a torrent, with that mate.
    hopeless: BTreeMap<(Rank, TorrentId), Rank>,
}

#[derive(Clone, Debug)]
struct Follower {
    from: Rank,
    /// What has been told.
    sent: Files,
}

/// Files of a torrent, by index.
#[derive(Clone, Debug)]
struct Files(Bitfield);

impl Files {
    fn new(of: u32) -> Files {
        Files(Bitfield::new(of))
    }

    /// False if it was in already, or is no file of the torrent.
    fn add(&mut self, file: FileIndex) -> bool {
        let place = PieceIndex(file.0);
        file.0 < self.0.len() && !self.0.has(place) && {
            self.0.set(place);
            true
        }
    }

    fn all(&self) -> Vec<FileIndex> {
        self.0.ones().map(|place| FileIndex(place.0)).collect()
    }
}

/// Everything of a rank.
fn of(rank: Rank) -> RangeInclusive<(Rank, TorrentId)> {
    (rank, TorrentId(0))..=(rank, TorrentId(u32::MAX))
}

impl Links {
    /// Whether anything is noted down of a rank.
    pub(super) fn knows(&self, rank: Rank) -> bool {
        self.follows.range(of(rank)).next().is_some()
            || self.followed.range(of(rank)).next().is_some()
            || self.done.range(of(rank)).next().is_some()
    }

    /// Whether `rank` takes the torrent.
    fn wants(&self, rank: Rank, torrent: TorrentId) -> bool {
        let wanters = self.wanters.get(torrent.0 as usize);
        wanters.is_some_and(|wanters| wanters.binary_search(&rank).is_ok())
            || self.late.contains(&(rank, torrent))
    }

    fn follow(&mut self, rank: Rank, torrent: TorrentId, from: Rank, files: u32) {
        self.follows.insert((rank, torrent), Follower { from, sent: Files::new(files) });
        self.followed.entry((from, torrent)).or_default().insert(rank);
    }

    /// Ends that `rank` waits for somebody.
    fn unfollow(&mut self, rank: Rank, torrent: TorrentId) {
        let Some(Follower { from, .. }) = self.follows.remove(&(rank, torrent)) else { return };
        let key = (from, torrent);
        if let Some(others) = self.followed.get_mut(&key) {
            others.remove(&rank);
            if others.is_empty() {
                self.followed.remove(&key);
            }
        }
    }

    fn followers(&self, from: Rank, torrent: TorrentId) -> Vec<Rank> {
        let followers = self.followed.get(&(from, torrent));
        followers.into_iter().flatten().copied().collect()
    }

    /// Asserts that both directions say the same.
    pub(super) fn check(&self) {
        for ((rank, torrent), follow) in &self.follows {
            let others = self.followed.get(&(follow.from, *torrent));
            assert!(others.is_some_and(|others| others.contains(rank)));
            assert!(!follow.sent.0.is_full() || follow.sent.0.is_empty());
        }
        let count = self.followed.values().map(BTreeSet::len).sum::<usize>();
        assert_eq!(count, self.follows.len());
    }
}

impl Coordinator {
    fn file_count(&self, torrent: TorrentId) -> u32 {
        self.table.info(torrent).map_or(0, |info| info.files.len() as u32)
    }

    /// Notes down who links what. To be called before anybody is told to go.
    pub(super) fn note_links(&mut self, torrents: &[SetPlan]) {
        for (torrent, set) in (0..).map(TorrentId).zip(torrents) {
            self.links.wanters.push(Arc::clone(&set.wanters));
            let files = set.info.files.len() as u32;
            for (rank, from) in &set.links {
                self.links.follow(*rank, torrent, *from, files);
            }
            for (rank, ready) in &set.ready {
                let done = self.links.done.entry((*rank, torrent)).or_insert(Files::new(files));
                ready.iter().for_each(|file| {
                    done.add(*file);
                });
            }
        }
    }

    /// Tells everyone who links what is ready for it, once all have been told to go.
    pub(super) fn send_ready_links(&mut self) {
        let followed: Vec<(Rank, TorrentId)> = self.links.followed.keys().copied().collect();
        for (from, torrent) in followed {
            let Some(ready) = self.links.done.get(&(from, torrent)).map(Files::all) else {
                continue;
            };
            self.send_to_followers(from, torrent, &ready);
        }
    }

    /// A rank has these files under their names.
    pub(super) fn file_complete(&mut self, from: Rank, torrent: TorrentId, files: &[FileIndex]) {
        let has_location = self.peer(from).is_some_and(|peer| peer.location.is_some());
        if !has_location || !self.links.wants(from, torrent) {
            return;
        }
        let count = self.file_count(torrent);
        let done = self.links.done.entry((from, torrent)).or_insert(Files::new(count));
        let fresh: Vec<FileIndex> = files.iter().copied().filter(|file| done.add(*file)).collect();
        self.send_to_followers(from, torrent, &fresh);
    }

    fn send_to_followers(&mut self, from: Rank, torrent: TorrentId, files: &[FileIndex]) {
        for rank in self.links.followers(from, torrent) {
            self.send_linkable(rank, torrent, files);
        }
    }

    /// Tells a rank of files that it has not heard of; with the last of them it follows nobody.
    fn send_linkable(&mut self, rank: Rank, torrent: TorrentId, files: &[FileIndex]) {
        let Some(follow) = self.links.follows.get_mut(&(rank, torrent)) else { return };
        let fresh: Vec<FileIndex> =
            files.iter().copied().filter(|file| follow.sent.add(*file)).collect();
        let last = follow.sent.0.is_full();
        if fresh.is_empty() {
            return;
        }
        if last {
            self.links.unfollow(rank, torrent);
        }
        self.send(rank, Control::Linkable { torrent, files: fresh, last });
    }

    /// Nothing more comes from where a rank linked.
    fn send_last_linkable(&mut self, rank: Rank, torrent: TorrentId) {
        self.links.unfollow(rank, torrent);
        self.send(rank, Control::Linkable { torrent, files: Vec::new(), last: true });
    }

    /// A rank has all that it will ever have. Who shares its folder need not try what it tried;
    /// others fetch the rest themselves.
    pub(super) fn finish_links(&mut self, from: Rank) {
        let failed = self.outcome.failed.contains_key(&from);
        let followed: Vec<TorrentId> =
            self.links.followed.range(of(from)).map(|((_, torrent), _)| *torrent).collect();
        for torrent in followed {
            for rank in self.links.followers(from, torrent) {
                self.send_last_linkable(rank, torrent);
                if failed && self.same_folder(from, rank) {
                    self.links.hopeless.insert((rank, torrent), from);
                }
            }
        }
    }

    /// A rank is gone. One that shares its folder takes over, and the others there wait for that
    /// one; who has a folder of its own fetches the rest itself.
    pub(super) fn drop_links(&mut self, gone: Rank) {
        let follows: Vec<TorrentId> =
            self.links.follows.range(of(gone)).map(|((_, torrent), _)| *torrent).collect();
        follows.into_iter().for_each(|torrent| self.links.unfollow(gone, torrent));
        let followed: Vec<TorrentId> =
            self.links.followed.range(of(gone)).map(|((_, torrent), _)| *torrent).collect();
        for torrent in followed {
            let files = self.file_count(torrent);
            let mut heir = None;
            for rank in self.links.followers(gone, torrent) {
                if !self.same_folder(gone, rank) {
                    self.send_last_linkable(rank, torrent);
                } else if let Some(heir) = heir {
                    let sent = self.links.follows.get(&(rank, torrent)).map(|f| f.sent.clone());
                    self.links.unfollow(rank, torrent);
                    self.links.follow(rank, torrent, heir, files);
                    if let (Some(follow), Some(sent)) =
                        (self.links.follows.get_mut(&(rank, torrent)), sent)
                    {
                        follow.sent = sent;
                    }
                    let done = self.links.done.get(&(heir, torrent)).map(Files::all);
                    self.send_linkable(rank, torrent, &done.unwrap_or_default());
                } else {
                    self.send_last_linkable(rank, torrent);
                    heir = Some(rank);
                }
            }
        }
        let done: Vec<(Rank, TorrentId)> =
            self.links.done.range(of(gone)).map(|(key, _)| *key).collect();
        for key in done {
            self.links.done.remove(&key);
        }
        let hopeless = |key: &(Rank, TorrentId)| key.0 == gone;
        self.links.hopeless.retain(|key, mate| !hopeless(key) && *mate != gone);
    }

    /// Why nobody needs to look for a torrent that a rank of the same folder could not get.
    pub(super) fn given_up_by_mate(&self, rank: Rank, torrent: TorrentId) -> Option<String> {
        let mate = self.links.hopeless.get(&(rank, torrent))?;
        let failed = self.outcome.failed.get(mate).and_then(|failed| failed.first());
        let why = failed
            .map_or_else(String::new, |failed| format!(": `{}`: {}", failed.name, failed.reason));
        Some(format!("rank {mate}, which writes into the same folder, could not get it{why}"))
    }

    fn same_folder(&self, one: Rank, other: Rank) -> bool {
        let location = |rank| self.peer(rank).and_then(|peer| peer.location.as_ref());
        match (location(one), location(other)) {
            (Some(one), Some(other)) => one.host == other.host && one.dest == other.dest,
            _ => false,
        }
    }

    /// From whom a late rank links a torrent: from who writes into its folder, whoever that is;
    /// else, if it has nothing of it, from the lowest rank of its file system that follows nobody.
    pub(super) fn late_link(&self, rank: Rank, torrent: TorrentId, has_any: bool) -> Option<Rank> {
        let location = self.peer(rank)?.location.as_ref()?;
        let near = self.ranks().filter(|other| {
            let other_location = self.peer(*other).and_then(|peer| peer.location.as_ref());
            *other != rank
                && other_location
                    .is_some_and(|of| of.host == location.host && of.device == location.device)
                && self.is_living(*other)
                && self.links.wants(*other, torrent)
                && self.will_give(*other, torrent)
        });
        let near: Vec<Rank> = near.collect();
        let mate = near.iter().find(|other| self.same_folder(rank, **other));
        let free = || {
            let follows = |other: &Rank| self.links.follows.contains_key(&(*other, torrent));
            near.iter().find(|other| !has_any && !follows(other))
        };
        mate.or_else(free).copied()
    }

    /// Whether a rank has all files of a torrent, or still tries to get them.
    fn will_give(&self, rank: Rank, torrent: TorrentId) -> bool {
        let done = self.links.done.get(&(rank, torrent));
        let open = self.peer(rank).is_some_and(|peer| peer.life == super::Life::Registered);
        open || done.is_some_and(|done| done.0.is_full())
    }

    /// A late rank takes a torrent, and links it if there is somebody to link from. To be called
    /// when it has been told to go.
    pub(super) fn note_late(&mut self, rank: Rank, torrent: TorrentId, from: Option<Rank>) {
        self.links.late.insert((rank, torrent));
        let Some(from) = from else { return };
        let files = self.file_count(torrent);
        self.links.follow(rank, torrent, from, files);
        let done = self.links.done.get(&(from, torrent)).map(Files::all);
        self.send_linkable(rank, torrent, &done.unwrap_or_default());
    }
}
