//! What a new torrent is made of: the files at a path, with their names in the torrent.

use crate::exit::Failure;
use crate::values::torrent::FileOrder;
use dunlin_disk::{FileKind, Fs, Look, Meta, RealFs, STATE_DIR, is_part_name};
use dunlin_metainfo::MAX_DEPTH;
use dunlin_plan::Pattern;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// What is wanted of a scan.
#[derive(Debug)]
pub(crate) struct Wanted<'a> {
    /// What is left out, by its path below the folder.
    pub(crate) exclude: &'a [Pattern],
    /// Whether links are taken for what they lead to.
    pub(crate) follow_links: bool,
    /// The order of files.
    pub(crate) order: FileOrder,
    /// The torrent itself, which may stand among the files.
    pub(crate) out: &'a Path,
}

/// A file for a torrent.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// Its path in the torrent; of a single file its name.
    pub(crate) path: Vec<String>,
    /// Where it is.
    pub(crate) place: PathBuf,
    /// What it is now.
    pub(crate) meta: Meta,
    /// Whether its owner may run it.
    pub(crate) executable: bool,
}

/// All files for a torrent.
#[derive(Debug)]
pub(crate) struct Content {
    /// The name of the file or folder.
    pub(crate) name: String,
    /// Whether it is a file.
    pub(crate) single: bool,
    /// The files.
    pub(crate) files: Vec<Found>,
    /// What is not among them, a sentence each.
    pub(crate) left_out: Vec<String>,
}

/// Looks at a path.
///
/// # Errors
/// If there is nothing, or a name that no torrent can have (exit 4), or a folder cannot be read
/// (exit 5).
pub(crate) fn scan(path: &Path, wanted: &Wanted<'_>) -> Result<Content, Failure> {
    let shown = path.display();
    let whole = path.canonicalize().map_err(|error| {
        Failure::input(format!("cannot find {shown}: {error}; give a file or a folder"))
    })?;
    // `.` and `..` have a name only when they are spelled out; a link keeps its own.
    let name = path.file_name().or_else(|| whole.file_name()).unwrap_or_default();
    let name = utf8(name, path)?.to_owned();
    let (meta, executable) = follow(path).map_err(|error| unreadable(path, &error))?;
    if meta.is_file {
        let file = Found { path: vec![name.clone()], place: path.to_owned(), meta, executable };
        return Ok(Content { name, single: true, files: vec![file], left_out: Vec::new() });
    }
    if !meta.is_dir {
        return Err(Failure::input(format!("{shown} is neither a file nor a folder")));
    }
    let out = RealFs.metadata(wanted.out).ok().map(|meta| (meta.device, meta.inode));
    let mut walk = Walk {
        wanted,
        out,
        path: Vec::new(),
        above: vec![(meta.device, meta.inode)],
        files: Vec::new(),
        left_out: Vec::new(),
    };
    walk.folder(path)?;
    let (mut files, left_out) = (walk.files, walk.left_out);
    if wanted.order == FileOrder::Name {
        files.sort_by(|a, b| a.path.cmp(&b.path));
    }
    Ok(Content { name, single: false, files, left_out })
}

struct Walk<'a> {
    wanted: &'a Wanted<'a>,
    /// Device and number of the torrent that is about to be replaced.
    out: Option<(u64, u64)>,
    path: Vec<String>,
    /// Devices and numbers of the folders that we are in.
    above: Vec<(u64, u64)>,
    files: Vec<Found>,
    left_out: Vec<String>,
}

impl Walk<'_> {
    fn folder(&mut self, folder: &Path) -> Result<(), Failure> {
        let refused = |error: std::io::Error| unreadable(folder, &error);
        if self.path.len() >= MAX_DEPTH {
            let folder = folder.display();
            let text = format!("{folder}: more than {MAX_DEPTH} folders deep; leave it out");
            return Err(Failure::input(text));
        }
        for entry in std::fs::read_dir(folder).map_err(refused)? {
            let entry = entry.map_err(refused)?;
            let place = entry.path();
            self.path.push(utf8(&entry.file_name(), &place)?.to_owned());
            let name = self.path.join("/");
            if !self.wanted.exclude.iter().any(|pattern| pattern.matches(&name)) {
                self.entry(place, &name)?;
            }
            self.path.pop();
        }
        Ok(())
    }

    fn entry(&mut self, place: PathBuf, name: &str) -> Result<(), Failure> {
        let last = place.file_name().unwrap_or_default();
        if is_part_name(last) || last == STATE_DIR {
            self.leave_out(name, "it belongs to a run of dunlin");
            return Ok(());
        }
        let look = RealFs.look(&place).map_err(|error| unreadable(&place, &error))?;
        let (meta, executable) = match look {
            Look { kind: FileKind::Symlink, .. } if !self.wanted.follow_links => {
                self.leave_out(name, "it is a link; --follow-links takes it");
                return Ok(());
            }
            Look { kind: FileKind::Symlink, .. } => match follow(&place) {
                Ok(found) => found,
                Err(error) => {
                    self.leave_out(name, &format!("the link cannot be followed: {error}"));
                    return Ok(());
                }
            },
            look => (look.meta, look.mode & 0o100 != 0),
        };
        let id = (meta.device, meta.inode);
        if meta.is_dir {
            if self.above.contains(&id) {
                self.leave_out(name, "it is a link to a folder that it is in");
                return Ok(());
            }
            self.above.push(id);
            self.folder(&place)?;
            self.above.pop();
        } else if !meta.is_file {
            self.leave_out(name, "it is neither a file nor a folder");
        } else if self.out != Some(id) {
            self.files.push(Found { path: self.path.clone(), place, meta, executable });
        }
        Ok(())
    }

    fn leave_out(&mut self, name: &str, why: &str) {
        self.left_out.push(format!("`{}` is left out: {why}", super::plain(name)));
    }
}

/// What a path leads to, and whether its owner may run it.
fn follow(path: &Path) -> std::io::Result<(Meta, bool)> {
    let mode = std::fs::metadata(path)?.permissions().mode();
    Ok((RealFs.metadata(path)?, mode & 0o100 != 0))
}

fn utf8<'a>(name: &'a std::ffi::OsStr, path: &Path) -> Result<&'a str, Failure> {
    name.to_str().ok_or_else(|| {
        let path = path.to_string_lossy();
        let path = super::plain(&path);
        Failure::input(format!("`{path}` is no UTF-8, as names in torrents are; rename it"))
    })
}

fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::disk(format!("cannot read {}: {error}; check its rights", path.display()))
}
