//! Taking a file from a rank of the same host: shared, linked or copied, never sent over the
//! network.

use super::copies::LinkedFile;
use super::files::FileContent;
use crate::lock::lock;
use dunlin_disk::{DiskError, DiskErrorKind, FileKind, Fs, Look, part_path, path_of};
use std::io;
use std::path::{Path, PathBuf};

impl FileContent {
    /// Makes the wanted file `name` of the file at `from`, which is right and stays as it is. It
    /// shares its bytes where the file system can; or else it is one more name of the same file,
    /// which is what read-only data needs; or else a copy.
    pub(super) fn link(&self, fs: &dyn Fs, name: &str, from: &Path) -> Result<u64, DiskError> {
        let preserver = lock(&self.placed).preserver.clone();
        let dest = path_of(&self.lists.dest, name);
        let fs = &*fs.inside(&self.lists.dest);
        let preserver = preserver.ok_or_else(|| {
            DiskError::new(&dest, DiskErrorKind::Misuse("a link outside of a tree"))
        })?;
        let first = fs.look(from).map_err(|error| DiskError::io(from, &error))?;
        if first.kind != FileKind::File {
            return Err(DiskError::new(from, DiskErrorKind::Changed));
        }
        preserver.clear_way(name)?;
        let replace = match fs.look(&dest) {
            Ok(there) if same_file(&there, &first) => {
                let linked =
                    LinkedFile { from: from.to_owned(), source: first.meta, made: there.meta };
                lock(&self.placed).linked.insert(name.to_owned(), linked);
                return Ok(0);
            }
            Ok(there) if there.kind == FileKind::File => true,
            Ok(_) => return Err(DiskError::new(dest, DiskErrorKind::Exists)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(DiskError::io(&dest, &error)),
        };
        let part = part_path(&dest);
        let made = make(fs, from, &part, &first, (!replace).then_some(&dest)).and_then(|made| {
            match made {
                Made::Named => preserver.apply_metadata(name, &dest),
                Made::Part(inode) => {
                    preserver.apply_metadata(name, &part);
                    let settled = fs.settle(&part, &dest, inode, replace);
                    settled.map_err(|error| DiskError::io(&dest, &error))?;
                }
            }
            Ok(())
        });
        if let Err(error) = made {
            let _ = fs.remove_file(&part);
            return Err(error);
        }
        let made = fs.look(&dest).map_err(|error| DiskError::io(&dest, &error))?.meta;
        let linked = LinkedFile { from: from.to_owned(), source: first.meta, made };
        let mut placed = lock(&self.placed);
        placed.linked.insert(name.to_owned(), linked);
        placed.unsynced.extend(dest.parent().map(Path::to_owned));
        Ok(first.meta.len)
    }
}

fn same_file(one: &Look, other: &Look) -> bool {
    one.kind == other.kind
        && (one.meta.device, one.meta.inode) == (other.meta.device, other.meta.inode)
}

/// Whether a file is unchanged, but for further names that neighbours give it.
fn is_as_before(now: &Look, before: &Look) -> bool {
    let linked = now.meta == before.meta && now.links > before.links;
    now.seen() == before.seen() || linked
}

/// What was made of a file.
enum Made {
    /// A file of this number under its part name.
    Part(u64),
    /// One more name of it: the final one.
    Named,
}

/// Makes `part` of `from`, durably, or links `from` under the name `free`, which is not taken. A
/// name is given in one step: a rename would change the metadata of the neighbour's file a second
/// time, perhaps just when the neighbour reads it.
fn make(
    fs: &dyn Fs,
    from: &Path,
    part: &Path,
    first: &Look,
    free: Option<&PathBuf>,
) -> Result<Made, DiskError> {
    let named = |error: io::Error| DiskError::io(part, &error);
    match fs.remove_file(part) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(named(error)),
        _ => {}
    }
    let made = fs.create_private(part).map_err(named)?;
    let at_source = |error: io::Error| DiskError::io(from, &error);
    let source = fs.open_read(from).map_err(at_source)?;
    // The old part file can have been one more name of it, which is gone now.
    let before = source.look().map_err(at_source)?;
    if before.meta != first.meta {
        return Err(DiskError::new(from, DiskErrorKind::Changed));
    }
    let mut number = made.meta().map_err(named)?.inode;
    if fs.share(&*source, &*made).is_err() {
        fs.remove_file(part).map_err(named)?;
        let name = free.map_or(part, PathBuf::as_path);
        if fs.hard_link(from, name).is_ok() {
            // Another file may have replaced the neighbour's, or other bytes may be in it.
            if !fs.look(name).is_ok_and(|now| is_as_before(&now, &before)) {
                let _ = fs.remove_file(name);
                return Err(DiskError::new(from, DiskErrorKind::Changed));
            }
            return Ok(if free.is_some() { Made::Named } else { Made::Part(first.meta.inode) });
        }
        let made = fs.create_private(part).map_err(named)?;
        made.set_len(first.meta.len).map_err(named)?;
        for range in source.data_ranges().map_err(at_source)? {
            fs.copy_range(&*source, &*made, range).map_err(named)?;
        }
        made.sync().map_err(named)?;
        number = made.meta().map_err(named)?.inode;
    } else {
        made.sync().map_err(named)?;
    }
    // Bytes that were written to it meanwhile may be in the copy, or half of them.
    match fs.look(from) {
        Ok(now) if is_as_before(&now, &before) => Ok(Made::Part(number)),
        _ => Err(DiskError::new(from, DiskErrorKind::Changed)),
    }
}
