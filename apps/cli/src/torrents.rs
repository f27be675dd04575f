//! The commands around .torrent files. What they share: reading a torrent from a file or stdin, and
//! writing one where nothing stands yet.

pub(crate) mod args;
pub(crate) mod create;
pub(crate) mod edit;
pub(crate) mod magnet;
pub(crate) mod parsers;
mod scan;
pub(crate) mod show;
pub(crate) mod transfer;
pub(crate) mod verify;

use crate::console::out;
use crate::exit::Failure;
use dunlin_disk::RealFs;
use dunlin_metainfo::{MAX_TORRENT_SIZE, Torrent};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Whether a path stands for a standard stream.
pub(crate) fn is_stream(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// Reads a .torrent file, or stdin, and warns of what was made safe in it. Returns its bytes, too.
///
/// # Errors
/// If it cannot be read, or is no torrent that we take (exit 4).
pub(crate) fn read(path: &Path) -> Result<(Vec<u8>, Torrent), Failure> {
    let name = if is_stream(path) { "stdin".to_owned() } else { path.display().to_string() };
    let bytes = bytes(path).map_err(|error| {
        Failure::input(format!("cannot read the torrent {name}: {error}; give a .torrent file"))
    })?;
    let torrent = parse(&name, &bytes)?;
    Ok((bytes, torrent))
}

/// Parses the bytes of a .torrent file called `name`, and warns of what was made safe in it.
///
/// # Errors
/// If it is no torrent that we take (exit 4).
pub(crate) fn parse(name: &str, bytes: &[u8]) -> Result<Torrent, Failure> {
    let torrent =
        Torrent::parse(bytes).map_err(|error| Failure::input(format!("{name}: {error}")))?;
    for warning in &torrent.warnings {
        out::notice(&format!("warning: {name}: {warning}"));
    }
    Ok(torrent)
}

/// At most one byte more than a torrent may have, so that the parser refuses it as too long.
fn bytes(path: &Path) -> io::Result<Vec<u8>> {
    let most = MAX_TORRENT_SIZE as u64 + 1;
    let mut bytes = Vec::new();
    if is_stream(path) {
        io::stdin().lock().take(most).read_to_end(&mut bytes)?;
    } else {
        File::open(path)?.take(most).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

/// Refuses an output that would replace something, unless that is wanted.
///
/// # Errors
/// If something stands there (exit 4).
pub(crate) fn check_output(path: &Path, force: bool) -> Result<(), Failure> {
    if is_stream(path) {
        return Ok(());
    }
    match path.symlink_metadata() {
        Ok(meta) if meta.is_dir() => {
            Err(Failure::input(format!("{} is a folder; name a file", path.display())))
        }
        Ok(_) if !force => Err(exists(path)),
        _ => Ok(()),
    }
}

/// Whether the folder is there that a named output goes into, before anything is hashed for it.
///
/// # Errors
/// If it is not (exit 5).
pub(crate) fn check_folder(path: &Path) -> Result<(), Failure> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    match folder.filter(|folder| !folder.is_dir()) {
        None => Ok(()),
        Some(folder) => {
            let (path, folder) = (path.display(), folder.display());
            let why = format!("cannot write {path}: {folder} is no folder; make it first");
            Err(Failure::disk(why))
        }
    }
}

fn exists(path: &Path) -> Failure {
    let path = path.display();
    Failure::input(format!("{path} is there already; name another file, or give --force"))
}

/// Writes a torrent to a file or to stdout.
///
/// # Errors
/// If something stands there that must not be replaced (exit 4), or it cannot be written (exit 5).
pub(crate) fn write(path: &Path, force: bool, bytes: &[u8]) -> Result<(), Failure> {
    if is_stream(path) {
        if out::is_terminal() {
            return Err(Failure::usage(
                "stdout is a terminal, and a torrent is no text; send it to a file or a program",
            ));
        }
        return out::data(|page| page.file(bytes));
    }
    let done = if force {
        dunlin_disk::write_file(&RealFs, path, bytes)
    } else {
        dunlin_disk::write_new(&RealFs, path, bytes)
    };
    done.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => exists(path),
        _ => Failure::disk(format!(
            "cannot write {}: {error}; check the folder and its rights",
            path.display()
        )),
    })
}
