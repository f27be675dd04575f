//! Bytes to messages.

use super::tag;
use crate::ControlError;
use crate::check::check_any_name;
use crate::{
    Control, FailedFile, LinkFrom, Load, Location, Member, OwnedFile, Provenance, Refresh,
    Register, ShutdownReason, Space, Start, Swarm, TorrentAssignment, Want,
};
use bytes::Bytes;
use dunlin_base::{Bitfield, FileIndex, PieceIndex, Rank, TorrentId};
use dunlin_metainfo::{EntryKind, EntryMeta, HashKind, PieceHashes, SetFile, SetInfo, TreeEntry};
use std::sync::Arc;

type Read<T> = Result<T, ControlError>;

/// What is left of a message.
struct Reader<'a> {
    rest: &'a [u8],
}

pub(super) fn control(bytes: &[u8]) -> Read<Control> {
    let mut from = Reader { rest: bytes };
    let message = from.control()?;
    match from.rest.len() {
        0 => Ok(message),
        left => Err(ControlError::Trailing { left }),
    }
}

impl<'a> Reader<'a> {
    fn control(&mut self) -> Read<Control> {
        Ok(match self.u8("a message")? {
            tag::CHECKING => {
                Control::Checking { done: self.u64("progress")?, total: self.u64("progress")? }
            }
            tag::REGISTER => Control::Register(Box::new(self.register()?)),
            tag::ALIVE => Control::Alive,
            tag::GO => Control::Start(Box::new(self.go()?)),
            tag::LOOKUP => Control::Lookup { name: self.name()? },
            tag::SWARM => Control::Swarm(Box::new(self.swarm()?)),
            tag::REFUSED => {
                Control::Refused { name: self.text("a name")?, reason: self.text("a reason")? }
            }
            tag::REFRESH => Control::Refresh(Refresh {
                torrents: self.list("torrents", 8, |from| {
                    Ok((
                        from.torrent()?,
                        from.list("pieces", 4, |from| Ok(PieceIndex(from.u32("a piece")?)))?,
                    ))
                })?,
                forced: self.flag("forced")?,
                vain: self.u32("vain")?,
            }),
            tag::LOAD_QUERY => Control::LoadQuery,
            tag::LOAD => {
                Control::Load(Load { served: self.u64("a load")?, in_flight: self.u64("a load")? })
            }
            tag::FILE_COMPLETE => Control::FileComplete {
                torrent: self.torrent()?,
                files: self.list("files", 4, |from| Ok(FileIndex(from.u32("a file")?)))?,
            },
            tag::ALL_COMPLETE => {
                Control::AllComplete { failed: self.list("failed files", 8, Reader::failed)? }
            }
            tag::LINKABLE => {
                let (torrent, last) = (self.torrent()?, self.flag("last")?);
                let files = self.list("files", 4, |from| Ok(FileIndex(from.u32("a file")?)))?;
                Control::Linkable { torrent, files, last }
            }
            tag::DEPARTED => Control::Departed { rank: self.rank()? },
            tag::SHUTDOWN => Control::Shutdown(match self.u8("a reason")? {
                0 => ShutdownReason::Done,
                1 => ShutdownReason::Refused(self.text("a reason")?),
                2 => ShutdownReason::Checked,
                3 => ShutdownReason::Interrupted,
                found => return Err(ControlError::Tag { what: "a shutdown", found }),
            }),
            found => return Err(ControlError::Tag { what: "a message", found }),
        })
    }

    fn take(&mut self, what: &'static str, len: u64) -> Read<&'a [u8]> {
        let taken = usize::try_from(len).ok().and_then(|len| self.rest.split_at_checked(len));
        let Some((taken, rest)) = taken else {
            return Err(ControlError::Truncated { what, needed: len, left: self.rest.len() });
        };
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Read<[u8; N]> {
        let taken = self.take(what, N as u64)?;
        taken.try_into().map_err(|_| ControlError::Truncated { what, needed: N as u64, left: 0 })
    }

    fn u8(&mut self, what: &'static str) -> Read<u8> {
        Ok(u8::from_be_bytes(self.array(what)?))
    }

    fn u32(&mut self, what: &'static str) -> Read<u32> {
        Ok(u32::from_be_bytes(self.array(what)?))
    }

    fn u64(&mut self, what: &'static str) -> Read<u64> {
        Ok(u64::from_be_bytes(self.array(what)?))
    }

    fn rank(&mut self) -> Read<Rank> {
        Ok(Rank(self.u32("a rank")?))
    }

    fn torrent(&mut self) -> Read<TorrentId> {
        Ok(TorrentId(self.u32("a torrent")?))
    }

    fn flag(&mut self, what: &'static str) -> Read<bool> {
        match self.u8(what)? {
            0 => Ok(false),
            1 => Ok(true),
            found => Err(ControlError::Tag { what, found }),
        }
    }

    fn option<T>(
        &mut self,
        what: &'static str,
        read: impl FnOnce(&mut Self) -> Read<T>,
    ) -> Read<Option<T>> {
        if self.flag(what)? { read(self).map(Some) } else { Ok(None) }
    }

    /// A list whose items take at least `least` bytes each: a count that the rest cannot hold is
    /// refused before anything is allocated.
    fn list<T>(
        &mut self,
        what: &'static str,
        least: u64,
        mut read: impl FnMut(&mut Self) -> Read<T>,
    ) -> Read<Vec<T>> {
        let count = self.u32(what)?;
        let needed = u64::from(count) * least;
        if needed > self.rest.len() as u64 {
            return Err(ControlError::Truncated { what, needed, left: self.rest.len() });
        }
        let mut items = Vec::with_capacity(count as usize);
        for _ in 0..count {
            items.push(read(self)?);
        }
        Ok(items)
    }

    fn text(&mut self, what: &'static str) -> Read<String> {
        let len = self.u32(what)?;
        let bytes = self.take(what, len.into())?;
        let text = std::str::from_utf8(bytes).map_err(|_| ControlError::Text { what })?;
        Ok(text.to_owned())
    }

    fn name(&mut self) -> Read<String> {
        let name = self.text("a name")?;
        check_any_name(&name)?;
        Ok(name)
    }

    fn names(&mut self) -> Read<Vec<String>> {
        self.list("names", 4, Reader::name)
    }

    fn bitfield(&mut self) -> Read<Bitfield> {
        let len = self.u32("a bitfield")?;
        let bytes = self.take("a bitfield", len.div_ceil(8).into())?;
        Ok(Bitfield::from_bytes(len, bytes)?)
    }

    fn kind(&mut self) -> Read<HashKind> {
        match self.u8("a kind of hash")? {
            0 => Ok(HashKind::Sha1),
            1 => Ok(HashKind::Token),
            2 => Ok(HashKind::Merkle),
            found => Err(ControlError::Tag { what: "a kind of hash", found }),
        }
    }

    fn hashes(&mut self) -> Read<PieceHashes> {
        Ok(match self.kind()? {
            HashKind::Sha1 => {
                let hashes = self.list("hashes", 20, |from| from.array("a hash"))?;
                PieceHashes::Sha1(hashes.into())
            }
            HashKind::Merkle => {
                let roots = self.list("roots", 32, |from| from.array("a root"))?;
                PieceHashes::Merkle(roots.into())
            }
            HashKind::Token => {
                let tokens = self.list("tokens", 4, |from| {
                    let len = from.u32("a token")?;
                    Ok(Bytes::copy_from_slice(from.take("a token", len.into())?))
                })?;
                PieceHashes::Tokens(tokens.into())
            }
        })
    }

    fn failed(&mut self) -> Read<FailedFile> {
        Ok(FailedFile { name: self.text("a name")?, reason: self.text("a reason")? })
    }

    fn entry(&mut self) -> Read<TreeEntry> {
        let name = self.text("a name")?;
        let kind = match self.u8("an entry")? {
            0 => EntryKind::File,
            1 => EntryKind::Directory,
            2 => EntryKind::Symlink { target: self.text("a target")? },
            3 => EntryKind::HardLink { to: self.text("a name")? },
            found => return Err(ControlError::Tag { what: "an entry", found }),
        };
        let meta = EntryMeta {
            mode: self.u32("a mode")?,
            modified: self.u64("a time")?.cast_signed(),
            uid: self.u32("an owner")?,
            gid: self.u32("a group")?,
            attributes: self.list("attributes", 8, |from| {
                let name = from.text("an attribute")?;
                let len = from.u32("an attribute")?;
                Ok((name, from.take("an attribute", len.into())?.to_vec()))
            })?,
        };
        let entry = TreeEntry { name, kind, meta };
        entry.check()?;
        Ok(entry)
    }

    fn register(&mut self) -> Read<Register> {
        let register = Register {
            files: self.list("files", 32, Reader::file)?,
            wants: self.list("wants", 5, |from| match from.u8("a want")? {
                0 => Ok(Want::Name(from.text("a name")?)),
                1 => Ok(Want::Glob(from.text("a glob")?)),
                found => Err(ControlError::Tag { what: "a want", found }),
            })?,
            shares: self.flag("shares")?,
            space: self.option("space", |from| {
                Ok(Space { device: from.u64("a device")?, free: from.u64("free space")? })
            })?,
            entries: self.list("entries", 29, Reader::entry)?,
            unreadable: self.list("unreadable files", 8, Reader::failed)?,
            location: self.option("a node", |from| {
                Ok(Location {
                    host: from.text("a host")?,
                    rack: from.text("a rack")?,
                    dest: from.text("a folder")?,
                    device: from.u64("a device")?,
                })
            })?,
            elsewhere: self.flag("elsewhere")?,
            stands: self.option("what stands", |from| from.list("entries", 29, Reader::entry))?,
            awaits_answers: self.flag("awaits answers")?,
        };
        register.check()?;
        Ok(register)
    }

    fn file(&mut self) -> Read<OwnedFile> {
        Ok(OwnedFile {
            name: self.text("a name")?,
            length: self.u64("a length")?,
            piece_length: self.u32("a piece length")?,
            hashes: self.hashes()?,
            pieces: self.option("pieces", Reader::bitfield)?,
            provenance: match self.u8("a standing")? {
                0 => Provenance::Owner,
                1 => Provenance::InPlace,
                2 => Provenance::Part,
                found => return Err(ControlError::Tag { what: "a standing", found }),
            },
            bytes: self.u64("bytes")?,
            sha256: self.option("a sha256", |from| from.array("a sha256"))?,
        })
    }

    fn go(&mut self) -> Read<Start> {
        Ok(Start {
            torrents: self.list("torrents", 15, |from| {
                Ok(TorrentAssignment {
                    torrent: from.torrent()?,
                    names: from.names()?,
                    pieces: from.u32("pieces")?,
                    holds_all: from.flag("holds all")?,
                    wants: from.flag("wants")?,
                    link: from.option("a link", |from| {
                        Ok(LinkFrom { rank: from.rank()?, dest: from.text("a folder")? })
                    })?,
                })
            })?,
            // Patterns, too: they are shown to people and name no file.
            missing: self.list("missing names", 8, Reader::failed)?,
            absent: self.list("absent ranks", 4, Reader::rank)?,
            replace: self.names()?,
            entries: self.list("entries", 29, Reader::entry)?.into(),
        })
    }

    fn swarm(&mut self) -> Read<Swarm> {
        let torrent = self.torrent()?;
        let name = self.name()?;
        let info = self.option("metainfo", Reader::info)?;
        let members = self.list("members", 12, |from| {
            Ok(Member { rank: from.rank()?, load: from.u64("a load")? })
        })?;
        let owners = self.option("owners", |from| {
            from.list("owners", 8, |from| Ok((from.rank()?, from.bitfield()?)))
        })?;
        let lengths = owners.iter().flatten().map(|(_, pieces)| pieces.len());
        let pieces = info.as_ref().map(|info: &Arc<SetInfo>| info.hashes.len() as u32);
        let mut known = pieces;
        for found in lengths {
            let expected = *known.get_or_insert(found);
            if found != expected {
                let why = format!("an owner's bitfield is for {found} pieces, expected {expected}");
                return Err(ControlError::File { name, why });
            }
        }
        Ok(Swarm { torrent, name, info, members, owners })
    }

    fn info(&mut self) -> Read<Arc<SetInfo>> {
        let kind = self.kind()?;
        let piece_length = self.u32("a piece length")?;
        let files = self.list("files", 12, |from| {
            Ok(SetFile { name: from.text("a name")?, length: from.u64("a length")? })
        })?;
        Ok(Arc::new(SetInfo::new(kind, piece_length, files, self.hashes()?)?))
    }
}
