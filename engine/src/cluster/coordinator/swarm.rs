//! Look-ups and refreshes.

use super::Coordinator;
use dunlin_base::{Rank, Time, TorrentId};
use dunlin_control::{Control, Member, Refresh, Swarm};
use std::collections::BTreeSet;

impl Coordinator {
    /// Answers by name with metainfo and swarm, and makes the asker a member at once.
    pub(super) fn lookup(&mut self, now: Time, from: Rank, name: String) {
        let Some(torrent) = self.table.find(&name) else {
            let reason = match self.table.is_unwanted(&name) {
                true => "no peer wanted it when the run began, so it has no swarm",
                false => "no peer has a file of this name",
            };
            return self.send(from, Control::Refused { name, reason: reason.to_owned() });
        };
        if let Some(reason) = self.given_up_by_mate(from, torrent) {
            return self.send(from, Control::Refused { name, reason });
        }
        self.table.join(torrent, from);
        self.answer_all(now, from, Some(name), &BTreeSet::from([torrent]));
    }

    /// Records what was gained and answers with the fresh swarm, once a torrent however often the
    /// message names it. The asker need not be a member: it may ask for what it has not looked up
    /// yet. Torrents that do not exist are passed over.
    pub(super) fn refresh(&mut self, now: Time, from: Rank, refresh: Refresh) {
        if refresh.vain == dunlin_control::WITHDRAWN {
            return self.withdraw_from(from, &refresh.torrents);
        }
        let mut torrents = BTreeSet::new();
        for (torrent, gained) in &refresh.torrents {
            if self.table.info(*torrent).is_some() {
                self.table.gained(*torrent, from, gained);
                torrents.insert(*torrent);
            }
        }
        for torrent in &torrents {
            self.note_vain(*torrent, from, refresh.vain);
        }
        self.answer_all(now, from, None, &torrents);
    }

    /// Answers with the swarms of these torrents: at once, or once the loads that were asked for it
    /// are there.
    fn answer_all(
        &mut self,
        now: Time,
        to: Rank,
        name: Option<String>,
        torrents: &BTreeSet<TorrentId>,
    ) {
        if torrents.is_empty() {
            return;
        }
        let limit = self.config.members;
        let (table, rng) = (&self.table, &mut self.rng);
        let named = |torrent: &TorrentId| (*torrent, table.named_to(*torrent, to, limit, rng));
        let swarms: Vec<(TorrentId, Vec<Rank>)> = torrents.iter().map(named).collect();
        let loads = self.config.loads;
        if loads && self.peer(to).is_some_and(|peer| peer.awaits_answers) {
            return self.answer_by_load(now, to, name, swarms);
        }
        for (torrent, ranks) in &swarms {
            self.answer(to, *torrent, name.clone(), ranks);
        }
        if loads {
            let named = swarms.into_iter().flat_map(|(_, ranks)| ranks).collect();
            self.query_in_background(now, to, named);
        }
    }

    /// Sends the swarm of those of `ranks` that are still members; with the metainfo, if it is the
    /// answer to a lookup of `name`. The asker stands last, also before it is a member.
    pub(super) fn answer(
        &mut self,
        to: Rank,
        torrent: TorrentId,
        name: Option<String>,
        ranks: &[Rank],
    ) {
        let Some(info) = self.table.info(torrent) else { return };
        let first = info.files.first().map(|file| file.name.clone()).unwrap_or_default();
        let info = name.is_some().then(|| std::sync::Arc::clone(info));
        let still = |rank: &&Rank| self.table.is_member(torrent, **rank);
        let ranks: Vec<Rank> = ranks.iter().filter(still).copied().collect();
        let mut members = self.table.listed(&ranks, to, self.config.order, &mut self.rng);
        if members.last().is_none_or(|last| last.rank != to) {
            members.push(Member { rank: to, load: 0 });
        }
        let swarm = Swarm {
            torrent,
            info,
            name: name.unwrap_or(first),
            owners: self.table.owners(torrent, to, &members),
            members,
        };
        self.send(to, Control::Swarm(Box::new(swarm)));
    }
}
