//! New torrents (BEP 3, 47, 52): what the info dictionary says of files and their hashes. Reading
//! and hashing the files is done elsewhere; so is what stands beside the info dictionary, which is
//! set in the [`Torrent`] that comes out here.

use dunlin_bencode::Writer;
use std::collections::{BTreeMap, BTreeSet};
use thiserror::Error;

use crate::geometry::{BLOCK_LENGTH, Geometry, GeometryError};
use crate::merkle::Node;
use crate::path::{MAX_COMPONENT, MAX_DEPTH, PathRules};
use crate::torrent::{MAX_PIECE_LENGTH, MetainfoError, Torrent};

/// The most pieces that a torrent gets when nobody chose a piece length.
const USUAL_PIECES: u64 = 2000;

/// The largest piece length that is chosen without being asked, in bytes.
const MAX_USUAL_PIECE_LENGTH: u32 = 16 << 20;

/// The piece length of a torrent of `total` bytes if nobody chose one: the smallest power of two of
/// at least 16 KiB with at most 2000 pieces, and at most 16 MiB.
#[must_use]
pub fn usual_piece_length(total: u64) -> u32 {
    let mut length = BLOCK_LENGTH;
    while length < MAX_USUAL_PIECE_LENGTH && total.div_ceil(u64::from(length)) > USUAL_PIECES {
        length *= 2;
    }
    length
}

/// For which versions a new torrent describes its data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// BEP 3: what every program reads.
    #[default]
    V1,
    /// BEP 52 alone.
    V2,
    /// Both: two swarms with one set of files.
    Hybrid,
}

impl Format {
    /// Whether there are SHA-1 hashes of pieces.
    #[must_use]
    pub fn has_v1(self) -> bool {
        self != Format::V2
    }

    /// Whether there are trees over the files.
    #[must_use]
    pub fn has_v2(self) -> bool {
        self != Format::V1
    }
}

/// Why no torrent can be made. Whoever asks for it is to blame.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BuildError {
    /// Nothing to describe.
    #[error("there are no bytes to make a torrent of: a torrent needs a file that is not empty")]
    Nothing,
    /// A piece length that is none.
    #[error("the piece length is {0}: choose a power of two from 16KiB to 256MiB")]
    PieceLength(u32),
    /// A name that no reader could create.
    #[error("`{0}` is no path that a torrent can have: {1}")]
    Path(String, &'static str),
    /// Two files of one path, or one that is a folder of another.
    #[error("`{0}` stands there twice, or is a file and a folder at once")]
    Twice(String),
    /// Hashes that do not fit the files; a defect of the program.
    #[error(
        "{found} hashes for {expected} {what}; this is a defect of the program, please report it"
    )]
    Hashes {
        /// Of what.
        what: &'static str,
        /// How many there had to be.
        expected: usize,
        /// How many there are.
        found: usize,
    },
    /// Lengths that make no torrent.
    #[error(transparent)]
    Geometry(#[from] GeometryError),
    /// More than readers read.
    #[error("no program would read the torrent: {0}")]
    Unreadable(#[from] MetainfoError),
}

/// A file of a new torrent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewFile {
    /// Its path below the torrent's folder; of a single file its name alone.
    pub path: Vec<String>,
    /// Its length in bytes.
    pub length: u64,
    /// Whether it is a program (BEP 47, `x`).
    pub executable: bool,
    /// Where it leads, if it is a symbolic link (BEP 47, `l`): the path of something of the
    /// torrent, below its folder. A link has no bytes.
    pub link: Option<Vec<String>>,
}

/// A torrent that is to be made, without its hashes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTorrent {
    name: String,
    single_file: bool,
    files: Vec<NewFile>,
    piece_length: u32,
    format: Format,
    private: bool,
    source: Option<String>,
}

/// The hashes of a torrent that is to be made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewHashes {
    /// For version 1: SHA-1 of each piece of [`NewTorrent::geometry`], padding hashed with it.
    pub pieces: Vec<[u8; 20]>,
    /// For version 2: the root of each piece of [`NewTorrent::geometry`], as [`NewTorrent::leaves`]
    /// says.
    pub roots: Vec<Node>,
}

impl NewTorrent {
    /// A torrent of one file.
    ///
    /// # Errors
    /// If the name or the piece length is of no use, or the file is empty.
    pub fn single(file: NewFile, piece_length: u32, format: Format) -> Result<Self, BuildError> {
        let name = file.path.concat();
        let single_file = true;
        let torrent = NewTorrent {
            name,
            single_file,
            files: vec![file],
            piece_length,
            format,
            private: false,
            source: None,
        };
        torrent.checked()
    }

    /// A torrent of a folder. Version 1 lists the files in the order given; with version 2 their
    /// order is that of the tree, by the bytes of each component (BEP 52).
    ///
    /// # Errors
    /// If a name or the piece length is of no use, a path comes twice, or there are no bytes.
    pub fn folder(
        name: String,
        mut files: Vec<NewFile>,
        piece_length: u32,
        format: Format,
    ) -> Result<NewTorrent, BuildError> {
        if format.has_v2() {
            files.sort_by(|a, b| a.path.cmp(&b.path));
        }
        let (single_file, private, source) = (false, false, None);
        let torrent =
            NewTorrent { name, single_file, files, piece_length, format, private, source };
        torrent.checked()
    }

    /// Marks it private (BEP 27).
    #[must_use]
    pub fn with_private(mut self, private: bool) -> NewTorrent {
        self.private = private;
        self
    }

    /// Gives it a tag that makes another torrent of the same files, as private sites want it.
    #[must_use]
    pub fn with_source(mut self, source: Option<String>) -> NewTorrent {
        self.source = source;
        self
    }

    fn checked(self) -> Result<NewTorrent, BuildError> {
        let usual = self.piece_length.is_power_of_two() && self.piece_length >= BLOCK_LENGTH;
        if !usual || self.piece_length > MAX_PIECE_LENGTH {
            return Err(BuildError::PieceLength(self.piece_length));
        }
        check_path(std::slice::from_ref(&self.name))?;
        let mut paths = BTreeSet::new();
        for file in &self.files {
            check_path(&file.path)?;
            if let Some(target) = &file.link {
                check_path(target)?;
                if file.length > 0 || self.single_file {
                    let why = "a link has no bytes, and leads to something beside it";
                    return Err(BuildError::Path(file.path.join("/"), why));
                }
            }
            if !paths.insert(file.path.as_slice()) {
                return Err(BuildError::Twice(file.path.join("/")));
            }
        }
        for path in &paths {
            let folders = (1..path.len()).filter_map(|length| path.get(..length));
            if let Some(folder) = folders.into_iter().find(|folder| paths.contains(folder)) {
                return Err(BuildError::Twice(folder.join("/")));
            }
        }
        if self.files.iter().all(|file| file.length == 0) {
            return Err(BuildError::Nothing);
        }
        self.try_geometry()?;
        Ok(self)
    }

    /// The files, in the order of [`NewTorrent::geometry`].
    #[must_use]
    pub fn files(&self) -> &[NewFile] {
        &self.files
    }

    /// The versions.
    #[must_use]
    pub fn format(&self) -> Format {
        self.format
    }

    /// The length of a piece in bytes.
    #[must_use]
    pub fn piece_length(&self) -> u32 {
        self.piece_length
    }

    /// Which bytes of which file are hashed together. Blocks are of 16 KiB. What `hashed_len` has
    /// above `data_len` are zeros, which count for version 1 only.
    #[must_use]
    pub fn geometry(&self) -> Geometry {
        self.try_geometry().unwrap_or_else(|_| Geometry::nothing())
    }

    fn try_geometry(&self) -> Result<Geometry, GeometryError> {
        let lengths: Vec<u64> = self.files.iter().map(|file| file.length).collect();
        match self.format {
            Format::V1 => Geometry::contiguous(self.piece_length, BLOCK_LENGTH, &lengths),
            Format::V2 => Geometry::aligned(self.piece_length, BLOCK_LENGTH, &lengths),
            // A lone file has no padding behind it, and so no zeros in its last hash.
            Format::Hybrid if lengths.len() == 1 => {
                Geometry::contiguous(self.piece_length, BLOCK_LENGTH, &lengths)
            }
            Format::Hybrid => Geometry::aligned(self.piece_length, BLOCK_LENGTH, &lengths),
        }
    }

    /// How many leaves the tree over a piece of a file of `length` bytes has, of whose bytes the
    /// piece holds `data` (BEP 52): those of a whole piece, or of the file where that is shorter.
    #[must_use]
    pub fn leaves(&self, length: u64, data: u32) -> u32 {
        let one = length <= u64::from(self.piece_length);
        let bytes = if one { data } else { self.piece_length };
        bytes.div_ceil(BLOCK_LENGTH).max(1).next_power_of_two()
    }

    /// The torrent, with nothing beside its info dictionary yet.
    ///
    /// # Errors
    /// If the hashes are not as many as the pieces, or readers would refuse the torrent.
    pub fn finish(&self, hashes: &NewHashes) -> Result<Torrent, BuildError> {
        let geometry = self.try_geometry()?;
        let counts = [
            ("pieces of version 1", self.format.has_v1(), hashes.pieces.len()),
            ("pieces of version 2", self.format.has_v2(), hashes.roots.len()),
        ];
        for (what, there, found) in counts {
            let expected = if there { geometry.pieces() as usize } else { 0 };
            if found != expected {
                return Err(BuildError::Hashes { what, expected, found });
            }
        }
        let mut roots = vec![None; self.files.len()];
        let mut layers = BTreeMap::new();
        if self.format.has_v2() {
            let mut rest = hashes.roots.as_slice();
            for (file, root) in self.files.iter().zip(&mut roots) {
                let pieces = file.length.div_ceil(u64::from(self.piece_length));
                let (own, later) = rest.split_at(rest.len().min(pieces as usize));
                rest = later;
                *root = match own {
                    [] => None,
                    [only] => Some(*only),
                    layer => {
                        let height = crate::merkle::piece_layer_of(self.piece_length);
                        let root = crate::merkle::root_of(layer, height);
                        layers.insert(root, layer.to_vec());
                        Some(root)
                    }
                };
            }
        }
        let info = self.info(hashes, &roots);
        let torrent = Torrent::parse_info(&info, PathRules::default())?;
        Ok(torrent.with_layers(layers)?)
    }

    /// The canonical info dictionary.
    fn info(&self, hashes: &NewHashes, roots: &[Option<Node>]) -> Vec<u8> {
        let single = self.files.first().filter(|_| self.single_file && self.format.has_v1());
        let mut writer = Writer::new();
        writer.dict();
        single.into_iter().for_each(|file| write_attr(&mut writer, file));
        if self.format.has_v2() {
            writer.key("file tree");
            let files: Vec<_> = self.files.iter().zip(roots.iter().copied()).collect();
            write_tree(&mut writer, &files, 0);
        }
        if self.format.has_v1() && single.is_none() {
            writer.key("files").list();
            self.write_list(&mut writer);
            writer.end();
        }
        if let Some(file) = single {
            writer.key("length").integer(file.length);
        }
        if self.format.has_v2() {
            writer.key("meta version").integer(2);
        }
        writer.key("name").bytes(&self.name).key("piece length").integer(self.piece_length);
        if self.format.has_v1() {
            writer.key("pieces").bytes(hashes.pieces.as_flattened());
        }
        if self.private {
            writer.key("private").integer(1);
        }
        if let Some(source) = &self.source {
            writer.key("source").bytes(source);
        }
        writer.end();
        writer.finish().unwrap_or_default()
    }

    /// The entries of `files`, for a hybrid with padding behind each file, a lone one excepted
    /// (BEP 47, BEP 52).
    fn write_list(&self, writer: &mut Writer) {
        let unit = u64::from(self.piece_length);
        for file in &self.files {
            writer.dict();
            write_attr(writer, file);
            writer.key("length").integer(file.length).key("path").list();
            file.path.iter().for_each(|name| _ = writer.bytes(name));
            writer.end();
            write_target(writer, file);
            writer.end();
            let tail = file.length % unit;
            if self.format == Format::Hybrid && tail > 0 && self.files.len() > 1 {
                let pad = unit - tail;
                writer.dict().key("attr").bytes("p").key("length").integer(pad);
                writer.key("path").list().bytes(".pad").bytes(pad.to_string()).end().end();
            }
        }
    }
}

/// The places in `files` of links that lead to none of them and to no folder of theirs, also not
/// through other links that lead somewhere. Readers make empty files of such links.
#[must_use]
pub fn dangling_links(files: &[NewFile]) -> Vec<usize> {
    if files.iter().all(|file| file.link.is_none()) {
        return Vec::new();
    }
    let links: Vec<_> = files.iter().map(|file| (&file.path[..], file.link.as_deref())).collect();
    crate::torrent::dangling(&links)
}

/// The attributes of a file (BEP 47, "attr"), if it has any.
fn write_attr(writer: &mut Writer, file: &NewFile) {
    let attr = match (&file.link, file.executable) {
        (Some(_), _) => "l",
        (None, true) => "x",
        (None, false) => return,
    };
    writer.key("attr").bytes(attr);
}

/// Where a link leads (BEP 47, "symlink path"): counted from the torrent's folder.
fn write_target(writer: &mut Writer, file: &NewFile) {
    if let Some(target) = &file.link {
        writer.key("symlink path").list();
        target.iter().for_each(|name| _ = writer.bytes(name));
        writer.end();
    }
}

/// The part of the tree below a folder: files in the order of their paths, of which the first
/// `depth` components are the folder's. Depth is limited, since paths are.
fn write_tree(writer: &mut Writer, files: &[(&NewFile, Option<Node>)], depth: usize) {
    writer.dict();
    let name = |file: &NewFile| file.path.get(depth).cloned().unwrap_or_default();
    for group in files.chunk_by(|a, b| name(a.0) == name(b.0)) {
        let Some((first, root)) = group.first() else { continue };
        writer.key(name(first));
        if first.path.len() > depth + 1 {
            write_tree(writer, group, depth + 1);
            continue;
        }
        writer.dict().key("").dict();
        write_attr(writer, first);
        // A link has none in version 2 (practice).
        if first.link.is_none() {
            writer.key("length").integer(first.length);
        }
        if let Some(root) = root {
            writer.key("pieces root").bytes(root);
        }
        write_target(writer, first);
        writer.end().end();
    }
    writer.end();
}

/// Names that everybody can create as they are on some system.
fn check_path(path: &[String]) -> Result<(), BuildError> {
    let wrong = |why| Err(BuildError::Path(path.join("/"), why));
    if path.is_empty() || path.len() > MAX_DEPTH {
        return wrong("expected 1 to 100 components");
    }
    for name in path {
        if matches!(name.as_str(), "" | "." | "..") {
            return wrong("a component is empty, `.` or `..`");
        }
        if name.contains(['/', '\0']) {
            return wrong("a component holds `/` or a zero byte");
        }
        if name.len() > MAX_COMPONENT {
            return wrong("a component has more than 255 bytes");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
