//! Messages to bytes.

use super::tag;
use crate::{
    Control, FailedFile, OwnedFile, Provenance, Refresh, Register, ShutdownReason, Start, Swarm,
    TorrentAssignment, Want,
};
use dunlin_base::{Bitfield, Rank};
use dunlin_metainfo::{EntryKind, HashKind, PieceHashes, SetInfo, TreeEntry};

struct Writer {
    out: Vec<u8>,
}

pub(super) fn control(message: &Control) -> Vec<u8> {
    let mut to = Writer { out: Vec::new() };
    match message {
        Control::Checking { done, total } => {
            to.tag(tag::CHECKING).u64(*done).u64(*total);
        }
        Control::Register(register) => to.tag(tag::REGISTER).register(register),
        Control::Alive => {
            to.tag(tag::ALIVE);
        }
        Control::Start(go) => to.tag(tag::GO).go(go),
        Control::Lookup { name } => {
            to.tag(tag::LOOKUP).text(name);
        }
        Control::Swarm(swarm) => to.tag(tag::SWARM).swarm(swarm),
        Control::Refused { name, reason } => {
            to.tag(tag::REFUSED).text(name).text(reason);
        }
        Control::Refresh(refresh) => to.tag(tag::REFRESH).refresh(refresh),
        Control::LoadQuery => {
            to.tag(tag::LOAD_QUERY);
        }
        Control::Load(load) => {
            to.tag(tag::LOAD).u64(load.served).u64(load.in_flight);
        }
        Control::FileComplete { torrent, files } => {
            to.tag(tag::FILE_COMPLETE).u32(torrent.0);
            to.list(files, |to, file| {
                to.u32(file.0);
            });
        }
        Control::AllComplete { failed } => {
            to.tag(tag::ALL_COMPLETE).list(failed, Writer::failed);
        }
        Control::Linkable { torrent, files, last } => {
            to.tag(tag::LINKABLE).u32(torrent.0).flag(*last);
            to.list(files, |to, file| {
                to.u32(file.0);
            });
        }
        Control::Departed { rank } => {
            to.tag(tag::DEPARTED).u32(rank.0);
        }
        Control::Shutdown(reason) => to.tag(tag::SHUTDOWN).shutdown(reason),
    }
    to.out
}

impl Writer {
    fn tag(&mut self, tag: u8) -> &mut Writer {
        self.out.push(tag);
        self
    }

    fn flag(&mut self, flag: bool) -> &mut Writer {
        self.tag(u8::from(flag))
    }

    fn u32(&mut self, number: u32) -> &mut Writer {
        self.out.extend_from_slice(&number.to_be_bytes());
        self
    }

    fn u64(&mut self, number: u64) -> &mut Writer {
        self.out.extend_from_slice(&number.to_be_bytes());
        self
    }

    fn len(&mut self, len: usize) -> &mut Writer {
        self.u32(u32::try_from(len).unwrap_or(u32::MAX))
    }

    fn bytes(&mut self, bytes: &[u8]) -> &mut Writer {
        self.len(bytes.len());
        self.out.extend_from_slice(bytes);
        self
    }

    fn text(&mut self, text: &str) -> &mut Writer {
        self.bytes(text.as_bytes())
    }

    fn list<T>(&mut self, items: &[T], mut write: impl FnMut(&mut Writer, &T)) {
        self.len(items.len());
        for item in items {
            write(self, item);
        }
    }

    fn ranks(&mut self, ranks: &[Rank]) {
        self.list(ranks, |to, rank| {
            to.u32(rank.0);
        });
    }

    fn texts(&mut self, texts: &[String]) {
        self.list(texts, |to, text| {
            to.text(text);
        });
    }

    fn bitfield(&mut self, field: &Bitfield) {
        self.u32(field.len());
        self.out.extend_from_slice(&field.to_bytes());
    }

    fn hashes(&mut self, hashes: &PieceHashes) {
        match hashes {
            PieceHashes::Sha1(hashes) => {
                self.tag(0).len(hashes.len());
                self.out.extend_from_slice(hashes.as_flattened());
            }
            PieceHashes::Merkle(roots) => {
                self.tag(2).len(roots.len());
                self.out.extend_from_slice(roots.as_flattened());
            }
            PieceHashes::Tokens(tokens) => self.tag(1).list(tokens, |to, token| {
                to.bytes(token);
            }),
        }
    }

    fn register(&mut self, register: &Register) {
        self.list(&register.files, Writer::file);
        self.list(&register.wants, |to, want| {
            match want {
                Want::Name(name) => to.tag(0).text(name),
                Want::Glob(glob) => to.tag(1).text(glob),
            };
        });
        self.flag(register.shares).flag(register.space.is_some());
        if let Some(space) = register.space {
            self.u64(space.device).u64(space.free);
        }
        self.list(&register.entries, Writer::entry);
        self.list(&register.unreadable, Writer::failed);
        self.flag(register.location.is_some());
        if let Some(location) = &register.location {
            self.text(&location.host)
                .text(&location.rack)
                .text(&location.dest)
                .u64(location.device);
        }
        self.flag(register.elsewhere).flag(register.stands.is_some());
        if let Some(stands) = &register.stands {
            self.list(stands, Writer::entry);
        }
        self.flag(register.awaits_answers);
    }

    fn entry(&mut self, entry: &TreeEntry) {
        self.text(&entry.name);
        match &entry.kind {
            EntryKind::File => self.tag(0),
            EntryKind::Directory => self.tag(1),
            EntryKind::Symlink { target } => self.tag(2).text(target),
            EntryKind::HardLink { to } => self.tag(3).text(to),
        };
        let meta = &entry.meta;
        self.u32(meta.mode).u64(meta.modified.cast_unsigned()).u32(meta.uid).u32(meta.gid);
        self.list(&meta.attributes, |to, (name, value)| {
            to.text(name).bytes(value);
        });
    }

    fn file(&mut self, file: &OwnedFile) {
        self.text(&file.name).u64(file.length).u32(file.piece_length);
        self.hashes(&file.hashes);
        self.flag(file.pieces.is_some());
        if let Some(pieces) = &file.pieces {
            self.bitfield(pieces);
        }
        self.tag(match file.provenance {
            Provenance::Owner => 0,
            Provenance::InPlace => 1,
            Provenance::Part => 2,
        });
        self.u64(file.bytes).flag(file.sha256.is_some());
        if let Some(hash) = &file.sha256 {
            self.out.extend_from_slice(hash);
        }
    }

    fn go(&mut self, go: &Start) {
        self.list(&go.torrents, Writer::assignment);
        self.list(&go.missing, Writer::failed);
        self.ranks(&go.absent);
        self.texts(&go.replace);
        self.list(&go.entries, Writer::entry);
    }

    fn assignment(&mut self, assignment: &TorrentAssignment) {
        self.u32(assignment.torrent.0).texts(&assignment.names);
        self.u32(assignment.pieces);
        self.flag(assignment.holds_all).flag(assignment.wants).flag(assignment.link.is_some());
        if let Some(link) = &assignment.link {
            self.u32(link.rank.0).text(&link.dest);
        }
    }

    fn swarm(&mut self, swarm: &Swarm) {
        self.u32(swarm.torrent.0).text(&swarm.name).flag(swarm.info.is_some());
        if let Some(info) = &swarm.info {
            self.info(info);
        }
        self.list(&swarm.members, |to, member| {
            to.u32(member.rank.0).u64(member.load);
        });
        self.flag(swarm.owners.is_some());
        if let Some(owners) = &swarm.owners {
            self.list(owners, |to, (rank, pieces)| to.u32(rank.0).bitfield(pieces));
        }
    }

    fn info(&mut self, info: &SetInfo) {
        self.tag(match info.kind {
            HashKind::Sha1 => 0,
            HashKind::Token => 1,
            HashKind::Merkle => 2,
        });
        self.u32(info.piece_length);
        self.list(&info.files, |to, file| {
            to.text(&file.name).u64(file.length);
        });
        self.hashes(&info.hashes);
    }

    fn refresh(&mut self, refresh: &Refresh) {
        self.list(&refresh.torrents, |to, (torrent, pieces)| {
            to.u32(torrent.0).list(pieces, |to, piece| {
                to.u32(piece.0);
            });
        });
        self.flag(refresh.forced).u32(refresh.vain);
    }

    fn failed(&mut self, file: &FailedFile) {
        self.text(&file.name).text(&file.reason);
    }

    fn shutdown(&mut self, reason: &ShutdownReason) {
        match reason {
            ShutdownReason::Done => self.tag(0),
            ShutdownReason::Refused(why) => self.tag(1).text(why),
            ShutdownReason::Checked => self.tag(2),
            ShutdownReason::Interrupted => self.tag(3),
        };
    }
}
