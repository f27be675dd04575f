//! An open file of a disk in memory.

use super::change::Change;
use super::{Disk, Node, PAGE};
use crate::fs::{FsFile, Look, Meta};
use bytes::Bytes;
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

#[derive(Debug)]
pub(super) struct MemFile {
    pub(super) disk: Arc<Mutex<Disk>>,
    pub(super) inode: u64,
    pub(super) path: PathBuf,
    pub(super) handle: u64,
}

impl MemFile {
    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self, exclusive: bool) -> io::Result<bool> {
        let mut disk = self.disk();
        disk.check(&self.path)?;
        let content = disk.files.get_mut(&self.inode);
        Ok(content.is_some_and(|content| content.lock.take(self.handle, exclusive)))
    }
}

impl FsFile for MemFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let mut disk = self.disk();
        disk.check(&self.path)?;
        disk.before_read(self.inode);
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        let content = disk.files.get(&self.inode);
        let found = content.and_then(|content| content.now.get(start..start + buffer.len()));
        buffer.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        disk.bytes_read += buffer.len() as u64;
        Ok(())
    }

    fn write_at(&self, parts: &[Bytes], offset: u64) -> io::Result<()> {
        let mut disk = self.disk();
        disk.check(&self.path)?;
        disk.write(self.inode, offset, parts.concat())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut disk = self.disk();
        disk.check(&self.path)?;
        disk.change(self.inode, Change::SetLen(len));
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        self.meta().map(|meta| meta.len)
    }

    fn sync(&self) -> io::Result<()> {
        let mut disk = self.disk();
        disk.begin_sync()?;
        disk.check(&self.path)?;
        if disk.broken_syncs.remove(&self.path) {
            return Err(io::Error::other("input/output error"));
        }
        disk.sync_file(self.inode);
        Ok(())
    }

    fn data_ranges(&self) -> io::Result<Vec<Range<u64>>> {
        let disk = self.disk();
        disk.check(&self.path)?;
        let content = disk.files.get(&self.inode).map_or(&[][..], |content| &content.now);
        let mut ranges: Vec<Range<u64>> = Vec::new();
        for (index, page) in content.chunks(PAGE).enumerate() {
            if page.iter().all(|byte| *byte == 0) {
                continue;
            }
            let start = (index * PAGE) as u64;
            let end = start + page.len() as u64;
            match ranges.last_mut() {
                Some(last) if last.end == start => last.end = end,
                _ => ranges.push(start..end),
            }
        }
        Ok(ranges)
    }

    fn meta(&self) -> io::Result<Meta> {
        let disk = self.disk();
        disk.check(&self.path)?;
        Ok(disk.meta(self.inode))
    }

    fn look(&self) -> io::Result<Look> {
        let disk = self.disk();
        disk.check(&self.path)?;
        disk.look(Node::File(self.inode))
    }

    fn punch(&self, range: Range<u64>) -> io::Result<()> {
        let mut disk = self.disk();
        disk.check(&self.path)?;
        let len = disk.meta(self.inode).len;
        let zeros = vec![0; (range.end.min(len).saturating_sub(range.start)) as usize];
        disk.change(self.inode, Change::Write(range.start, zeros));
        Ok(())
    }

    fn try_lock(&self) -> io::Result<bool> {
        self.lock(true)
    }

    fn try_lock_shared(&self) -> io::Result<bool> {
        self.lock(false)
    }
}

impl Drop for MemFile {
    fn drop(&mut self) {
        let mut disk = self.disk();
        if let Some(content) = disk.files.get_mut(&self.inode) {
            content.lock.holders.remove(&self.handle);
        }
        if let Some(count) = disk.open.get_mut(&self.inode) {
            *count = count.saturating_sub(1);
        }
    }
}
