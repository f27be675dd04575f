//! The torrent that stands beside plain data without being named: it counts only if it can be
//! meant.

use crate::exit::Failure;
use crate::torrents;
use dunlin_disk::{FileKind, Fs, FsFile};
use dunlin_metainfo::{MAX_TORRENT_SIZE, Torrent};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// What to do about one that is not taken.
const ADVICE: &str = "give the .torrent itself to seed it, or move it away to have one made anew";

/// Reads the torrent at `beside` of the data at `path`; `None` if nothing stands there. Never
/// blocks.
///
/// # Errors
/// If what stands there is no file, belongs to a user who is not trusted, cannot be
/// read, is no torrent, or is one of other data (exit 4).
pub(super) fn read(fs: &dyn Fs, beside: &Path, path: &Path) -> Result<Option<Torrent>, Failure> {
    let name = beside.display();
    let refused = |why: &str| Failure::input(format!("{name}: {why}; {ADVICE}"));
    let unreadable = |error: io::Error| refused(&format!("it cannot be read: {error}"));
    match fs.look(beside) {
        Ok(look) if look.kind == FileKind::File => {}
        Ok(_) => return Err(refused("a link or something else than a file stands there")),
        // A name that is too long for the file system stands nowhere.
        Err(error) if is_absent(&error) => return Ok(None),
        Err(error) => return Err(unreadable(error)),
    }
    let file = fs.open_read(beside).map_err(unreadable)?;
    let look = file.look().map_err(unreadable)?;
    let folder = path.parent().unwrap_or(Path::new("/"));
    let owns_data = || fs.look(path).is_ok_and(|data| data.uid == look.uid);
    if !fs.trusts(look.uid, folder) && !owns_data() {
        let whose = look.uid;
        return Err(refused(&format!(
            "it belongs to another user, {whose}, and the data does not"
        )));
    }
    let torrent = torrents::parse(&name.to_string(), &whole(&*file).map_err(unreadable)?)?;
    let data = path.file_name().unwrap_or_default();
    if !is_of(&torrent, data.as_bytes()) {
        let (of, data) = (&torrent.name, data.display());
        return Err(refused(&format!("it is the torrent of `{of}` and not of `{data}`")));
    }
    Ok(Some(torrent))
}

fn is_absent(error: &io::Error) -> bool {
    [io::ErrorKind::NotFound, io::ErrorKind::InvalidFilename].contains(&error.kind())
}

/// At most one byte more than a torrent may have, so that the parser refuses it as too long.
fn whole(file: &dyn FsFile) -> io::Result<Vec<u8>> {
    let most = MAX_TORRENT_SIZE + 1;
    let length = usize::try_from(file.len()?).unwrap_or(most).min(most);
    let mut bytes = vec![0; length];
    file.read_at(&mut bytes, 0)?;
    Ok(bytes)
}

/// Whether data of this name may be that of the torrent.
fn is_of(torrent: &Torrent, name: &[u8]) -> bool {
    let first = |path: &[u8]| path.split(|byte| *byte == b'/').next() == Some(name);
    let aliases = torrent.files.iter().filter_map(|file| file.aliases.as_deref());
    let mut others = aliases.flat_map(|names| [&names.raw, &names.portable]).flatten();
    torrent.name.as_bytes() == name || others.any(|path| first(path))
}
