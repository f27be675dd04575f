//! Changes of a .torrent file (BEP 3, 12, 19): what stands beside the info dictionary can be
//! changed freely, and everything that is not named stays byte for byte, unknown keys too. What
//! stands in the info dictionary can be changed as well, and then it is another torrent.

use dunlin_bencode::{Dict, Limits, Mode, Writer, decode};
use std::collections::BTreeMap;

use crate::torrent::{MetainfoError, Torrent};

/// Keys and the bytes of their values, as they stand in the file.
type Raw = BTreeMap<Vec<u8>, Vec<u8>>;

/// A .torrent file that is being changed.
#[derive(Clone, Debug)]
pub struct TorrentEdit {
    outer: Raw,
    /// The keys of the info dictionary.
    info: Raw,
    /// Whether any of them was changed.
    renewed: bool,
    /// Of the torrent as it was: whether its name is that of its only file in a file tree, too.
    lone: bool,
}

impl TorrentEdit {
    /// Begins with a torrent that is read in full first.
    ///
    /// # Errors
    /// As [`Torrent::parse`].
    pub fn open(bytes: &[u8]) -> Result<TorrentEdit, MetainfoError> {
        let torrent = Torrent::parse(bytes)?;
        let document = decode(bytes, Mode::Lenient, Limits::TORRENT)?;
        let outer = document.root().dict().map(raw).unwrap_or_default();
        let info = decode(torrent.info(), Mode::Lenient, Limits::TORRENT)?;
        let info = info.root().dict().map(raw).unwrap_or_default();
        let lone = torrent.single_file && torrent.hashes.v2.is_some();
        Ok(TorrentEdit { outer, info, renewed: false, lone })
    }

    /// Sets the addresses of trackers, in tiers (BEP 12); without any there are none any more.
    pub fn trackers(&mut self, tiers: &[Vec<String>]) {
        let all: Vec<&String> = tiers.iter().flatten().collect();
        let first = all.first().map(|first| write(|writer| _ = writer.bytes(first)));
        set(&mut self.outer, "announce", first);
        let list = (all.len() > 1).then(|| {
            write(|writer| {
                writer.list();
                tiers.iter().filter(|tier| !tier.is_empty()).for_each(|tier| list(writer, tier));
                writer.end();
            })
        });
        set(&mut self.outer, "announce-list", list);
    }

    /// Sets the servers that hold the files (BEP 19); without any there are none any more.
    pub fn web_seeds(&mut self, urls: &[String]) {
        let urls = (!urls.is_empty()).then(|| write(|writer| list(writer, urls)));
        set(&mut self.outer, "url-list", urls);
    }

    /// Sets or removes the comment.
    pub fn comment(&mut self, text: Option<&str>) {
        set(&mut self.outer, "comment.utf-8", None);
        set(&mut self.outer, "comment", text.map(string));
    }

    /// Sets or removes the program that made the file.
    pub fn created_by(&mut self, text: Option<&str>) {
        set(&mut self.outer, "created by.utf-8", None);
        set(&mut self.outer, "created by", text.map(string));
    }

    /// Sets or removes when the file was made, in seconds since 1970.
    pub fn creation_date(&mut self, date: Option<i64>) {
        let date = date.map(|date| write(|writer| _ = writer.integer(date)));
        set(&mut self.outer, "creation date", date);
    }

    /// Makes it private or public (BEP 27): another torrent.
    pub fn private(&mut self, private: bool) {
        let flag = private.then(|| write(|writer| _ = writer.integer(1)));
        self.renew("private", flag);
    }

    /// Sets or removes the tag of private sites: another torrent.
    pub fn source(&mut self, text: Option<&str>) {
        self.renew("source", text.map(string));
    }

    /// Sets the name: another torrent.
    pub fn name(&mut self, name: &str) {
        self.renew("name.utf-8", None);
        self.renew("name", Some(string(name)));
        if !self.lone {
            return;
        }
        let tree = self.info.get("file tree".as_bytes()).cloned().unwrap_or_default();
        let leaf = decode(&tree, Mode::Strict, Limits::TORRENT).ok().and_then(|document| {
            let (_, leaf) = document.root().dict()?.iter().next()?;
            Some(leaf.raw().to_vec())
        });
        if let Some(leaf) = leaf {
            let tree = write(|writer| _ = writer.dict().key(name).raw(&leaf).end());
            self.renew("file tree", Some(tree));
        }
    }

    /// Whether it is another torrent than it was.
    #[must_use]
    pub fn is_renewed(&self) -> bool {
        self.renewed
    }

    /// The .torrent file.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        if self.renewed {
            set(&mut self.outer, "info", Some(encode(&self.info)));
        }
        encode(&self.outer)
    }

    fn renew(&mut self, key: &str, value: Option<Vec<u8>>) {
        if self.info.get(key.as_bytes()) != value.as_ref() {
            set(&mut self.info, key, value);
            self.renewed = true;
        }
    }
}

/// The keys of a dictionary; of keys that come twice the first counts, as for readers.
fn raw(dict: Dict<'_>) -> Raw {
    let mut raw = Raw::new();
    for (key, value) in dict {
        raw.entry(key.to_vec()).or_insert_with(|| value.raw().to_vec());
    }
    raw
}

fn encode(raw: &Raw) -> Vec<u8> {
    write(|writer| {
        writer.dict();
        for (key, value) in raw {
            writer.key(key).raw(value);
        }
        writer.end();
    })
}

fn write(value: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut writer = Writer::new();
    value(&mut writer);
    writer.finish().unwrap_or_default()
}

fn string(text: &str) -> Vec<u8> {
    write(|writer| _ = writer.bytes(text))
}

fn list(writer: &mut Writer, strings: &[String]) {
    writer.list();
    strings.iter().for_each(|text| _ = writer.bytes(text));
    writer.end();
}

fn set(raw: &mut Raw, key: &str, value: Option<Vec<u8>>) {
    match value {
        Some(value) => _ = raw.insert(key.as_bytes().to_vec(), value),
        None => _ = raw.remove(key.as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Format, NewFile, NewHashes, NewTorrent};

    /// A torrent of one file of 12 bytes, with more keys than are known here.
    fn torrent(format: Format) -> Vec<u8> {
        let file =
            NewFile { path: vec!["hello.txt".into()], length: 12, executable: false, link: None };
        let new = NewTorrent::single(file, 16_384, format).unwrap();
        let hashes = NewHashes {
            pieces: vec![[1; 20]; usize::from(format.has_v1())],
            roots: vec![[2; 32]; usize::from(format.has_v2())],
        };
        let mut torrent = new.finish(&hashes).unwrap();
        torrent.trackers = vec![vec!["http://a.example/".into()]];
        torrent.comment = Some("old".into());
        torrent.creation_date = Some(5);
        let bytes = torrent.to_bytes();
        // Behind `info` no key of ours comes before these.
        [&bytes[..bytes.len() - 1], b"7:unknowni-7ee"].concat()
    }

    #[test]
    fn nothing_changes_by_itself() {
        for format in [Format::V1, Format::V2, Format::Hybrid] {
            let bytes = torrent(format);
            let edit = TorrentEdit::open(&bytes).unwrap();
            assert!(!edit.is_renewed());
            assert_eq!(edit.finish(), bytes);
        }
    }

    #[test]
    fn what_stands_outside_changes_and_the_hash_stays() {
        let bytes = torrent(Format::Hybrid);
        let before = Torrent::parse(&bytes).unwrap();
        let mut edit = TorrentEdit::open(&bytes).unwrap();
        let url = |text: &str| text.to_owned();
        edit.trackers(&[vec![url("http://b.example/"), url("udp://c.example:1")], vec![]]);
        edit.web_seeds(&[url("https://w.example/")]);
        edit.comment(Some("new"));
        edit.created_by(Some("me"));
        edit.creation_date(None);
        assert!(!edit.is_renewed());
        let bytes = edit.finish();
        let after = Torrent::parse(&bytes).unwrap();
        assert_eq!((after.info(), after.hashes), (before.info(), before.hashes));
        assert_eq!(after.trackers, [["http://b.example/", "udp://c.example:1"]]);
        assert_eq!(after.web_seeds, ["https://w.example/"]);
        assert_eq!((after.comment.as_deref(), after.creation_date), (Some("new"), None));
        assert!(bytes.windows(13).any(|part| part == b"7:unknowni-7e"), "unknown keys stay");
        let mut edit = TorrentEdit::open(&bytes).unwrap();
        edit.trackers(&[]);
        edit.web_seeds(&[]);
        edit.comment(None);
        let bytes = edit.finish();
        let after = Torrent::parse(&bytes).unwrap();
        assert!(after.trackers.is_empty() && after.web_seeds.is_empty());
        assert_eq!(after.comment, None);
        assert!(!bytes.windows(8).any(|part| part == b"announce"));
    }

    #[test]
    fn what_stands_inside_makes_another_torrent() {
        for format in [Format::V1, Format::V2, Format::Hybrid] {
            let bytes = torrent(format);
            let before = Torrent::parse(&bytes).unwrap();
            let mut edit = TorrentEdit::open(&bytes).unwrap();
            edit.private(false);
            edit.source(None);
            assert!(!edit.is_renewed(), "they were so before");
            edit.private(true);
            edit.source(Some("here"));
            edit.name("other.txt");
            assert!(edit.is_renewed());
            let after = Torrent::parse(&edit.finish()).unwrap();
            assert_ne!(after.hashes, before.hashes);
            assert!(after.private && after.single_file);
            assert_eq!((after.source.as_deref(), after.name.as_str()), (Some("here"), "other.txt"));
            assert_eq!(after.stored_path(0).as_deref(), Some("other.txt"));
        }
    }

    #[test]
    fn a_file_that_is_not_canonical_keeps_its_hash() {
        let bytes = torrent(Format::V1);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let odd = text.replacen("6:lengthi12e", "06:lengthi12e", 1);
        let before = Torrent::parse(odd.as_bytes()).unwrap();
        let mut edit = TorrentEdit::open(odd.as_bytes()).unwrap();
        edit.comment(None);
        let after = Torrent::parse(&edit.finish()).unwrap();
        assert_eq!((after.info(), after.hashes), (before.info(), before.hashes));
    }
}
