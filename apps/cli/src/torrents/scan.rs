//! What a new torrent is made of: the files at a path, with their names in the torrent.

use crate::exit::Failure;
use crate::torrents::parsers::FileOrder;
use dunlin_base::plain;
use dunlin_disk::{FileKind, Fs, Look, Meta, RealFs};
use dunlin_metainfo::{MAX_DEPTH, NewFile, dangling_links, is_own_name, resolve_path};
use dunlin_plan::Pattern;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Names that are no UTF-8 and are named; one more line counts the others.
const MAX_NOT_UTF8: usize = 50;

/// What is wanted of a scan.
#[derive(Debug)]
pub(crate) struct ScanOptions<'a> {
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
pub(crate) struct SourceFile {
    /// Its path in the torrent; of a single file its name.
    pub(crate) path: Vec<String>,
    /// Where it is.
    pub(crate) place: PathBuf,
    /// What it is now.
    pub(crate) meta: Meta,
    /// Whether its owner may run it.
    pub(crate) executable: bool,
    /// The path in the torrent that it leads to, if it is a link.
    pub(crate) link: Option<Vec<String>>,
}

/// All files for a torrent.
#[derive(Debug)]
pub(crate) struct ScannedContent {
    /// The name of the file or folder.
    pub(crate) name: String,
    /// Whether it is a file.
    pub(crate) single: bool,
    /// The files.
    pub(crate) files: Vec<SourceFile>,
    /// What is not among them, a sentence each.
    pub(crate) left_out: Vec<String>,
}

/// Looks at a path.
///
/// # Errors
/// If there is nothing, or a name that no torrent can have (exit 4), or a folder cannot be read
/// (exit 5).
pub(crate) fn scan(path: &Path, wanted: &ScanOptions<'_>) -> Result<ScannedContent, Failure> {
    let shown = path.display();
    let whole = path.canonicalize().map_err(|error| {
        Failure::input(format!("cannot find {shown}: {error}; give a file or a folder"))
    })?;
    // `.` and `..` have a name only when they are spelled out; a link keeps its own.
    let name = path.file_name().or_else(|| whole.file_name()).unwrap_or_default();
    let name = utf8(name, path)?.to_owned();
    let (meta, executable) = follow(path).map_err(|error| unreadable(path, &error))?;
    if meta.is_file {
        let file = SourceFile {
            path: vec![name.clone()],
            place: path.to_owned(),
            meta,
            executable,
            link: None,
        };
        return Ok(ScannedContent { name, single: true, files: vec![file], left_out: Vec::new() });
    }
    if !meta.is_dir {
        return Err(Failure::input(format!("{shown} is neither a file nor a folder")));
    }
    let out = RealFs.metadata(wanted.out).ok().map(|meta| (meta.device, meta.inode));
    let mut walk = Walk {
        wanted,
        out,
        path: Vec::new(),
        top: &whole,
        above: vec![(meta.device, meta.inode)],
        files: Vec::new(),
        left_out: Vec::new(),
        not_utf8: Vec::new(),
    };
    walk.folder(path)?;
    if !walk.not_utf8.is_empty() {
        return Err(Failure::input(not_utf8(&walk.not_utf8)));
    }
    walk.leave_out_dangling();
    let (mut files, left_out) = (walk.files, walk.left_out);
    if wanted.order == FileOrder::Name {
        files.sort_by(|a, b| a.path.cmp(&b.path));
    }
    Ok(ScannedContent { name, single: false, files, left_out })
}

struct Walk<'a> {
    wanted: &'a ScanOptions<'a>,
    /// Device and number of the torrent that is about to be replaced.
    out: Option<(u64, u64)>,
    path: Vec<String>,
    /// The folder, without links on the way to it.
    top: &'a Path,
    /// Devices and numbers of the folders that we are in.
    above: Vec<(u64, u64)>,
    files: Vec<SourceFile>,
    left_out: Vec<String>,
    /// Names that no torrent can have.
    not_utf8: Vec<PathBuf>,
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
            let file_name = entry.file_name();
            // For `--exclude` what is wrong in a name counts as a character.
            self.path.push(file_name.to_string_lossy().into_owned());
            let name = self.path.join("/");
            let excluded = self.wanted.exclude.iter().any(|pattern| pattern.matches(&name));
            match file_name.to_str() {
                _ if excluded => {}
                None => self.not_utf8.push(place),
                Some(_) => self.entry(place, &name)?,
            }
            self.path.pop();
        }
        Ok(())
    }

    fn entry(&mut self, place: PathBuf, name: &str) -> Result<(), Failure> {
        if self.path.last().is_some_and(|last| is_own_name(last)) {
            self.leave_out(name, "it belongs to a run of dunlin");
            return Ok(());
        }
        let look = RealFs.look(&place).map_err(|error| unreadable(&place, &error))?;
        let (meta, executable) = match look {
            Look { kind: FileKind::Symlink, .. } if !self.wanted.follow_links => {
                match self.leads_to(&place) {
                    Ok(target) => {
                        let meta = Meta { len: 0, ..look.meta };
                        let (path, link) = (self.path.clone(), Some(target));
                        self.files.push(SourceFile { path, place, meta, executable: false, link });
                    }
                    Err(why) => self.leave_out(name, &self.unkept(&place, why)),
                }
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
            let path = self.path.clone();
            self.files.push(SourceFile { path, place, meta, executable, link: None });
        }
        Ok(())
    }

    /// Where a link leads, as a path in the torrent.
    fn leads_to(&self, place: &Path) -> Result<Vec<String>, String> {
        let out = || "it is a link that leads out of the folder".to_owned();
        let text = std::fs::read_link(place).map_err(|error| format!("the link: {error}"))?;
        let path: Vec<&[u8]> = self.path.iter().map(|name| name.as_bytes()).collect();
        let folder = path.split_last().map_or(&[][..], |(_, folder)| folder);
        let target = resolve_path(folder, text.as_os_str().as_bytes());
        let target = target.filter(|target| !target.is_empty()).ok_or_else(out)?;
        let names: Option<Vec<String>> =
            target.iter().map(|name| Some(std::str::from_utf8(name).ok()?.to_owned())).collect();
        let names = names.ok_or_else(|| "it is a link to a name that is no UTF-8".to_owned())?;
        // A way up from a folder that is itself a link ends elsewhere than it seems to.
        let there = std::fs::canonicalize(place)
            .map_err(|error| format!("it is a link that leads to nothing: {error}"))?;
        let seems = names.iter().fold(self.top.to_owned(), |path, name| path.join(name));
        let same = std::fs::canonicalize(seems).is_ok_and(|seems| seems == there);
        if same && there.starts_with(self.top) { Ok(names) } else { Err(out()) }
    }

    /// Why a link is left out, and whether it can be taken for what it leads to.
    fn unkept(&self, place: &Path, why: String) -> String {
        match follow(place) {
            Ok((meta, _)) if self.above.contains(&(meta.device, meta.inode)) => {
                "it is a link to a folder that it is in".to_owned()
            }
            Ok((meta, _)) if meta.is_file || meta.is_dir => {
                format!("{why}; --follow-links takes it")
            }
            _ => why,
        }
    }

    /// Leaves links out that lead to what is left out.
    fn leave_out_dangling(&mut self) {
        let file = |file: &SourceFile| NewFile {
            path: file.path.clone(),
            length: file.meta.len,
            executable: file.executable,
            link: file.link.clone(),
        };
        loop {
            let files: Vec<NewFile> = self.files.iter().map(file).collect();
            let dangling = dangling_links(&files);
            if dangling.is_empty() {
                return;
            }
            for index in dangling.into_iter().rev() {
                let link = self.files.remove(index);
                let why = "it is a link to something that is left out";
                self.leave_out(&link.path.join("/"), why);
            }
        }
    }

    fn leave_out(&mut self, name: &str, why: &str) {
        self.left_out.push(format!("`{}` is left out: {why}", plain(name)));
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
        let path = plain(&path);
        Failure::input(format!("`{path}` is no UTF-8, as names in torrents are; rename it"))
    })
}

/// Names the files whose names are no UTF-8.
fn not_utf8(places: &[PathBuf]) -> String {
    // Spelled out, so that names that look alike differ.
    let spelled = |place: &PathBuf| format!("{:?}", place.as_os_str());
    let named: Vec<String> = places.iter().take(MAX_NOT_UTF8).map(spelled).collect();
    let more = match places.len().saturating_sub(MAX_NOT_UTF8) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!(
        "names in torrents are UTF-8, and these are not: {}{more}; rename them, or leave them out \
         with --exclude, where `?` stands for what is wrong",
        named.join(", ")
    )
}

fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::disk(format!("cannot read {}: {error}; check its rights", path.display()))
}
