//! An open file of this machine.

use super::metadata::{self, meta_of};
use super::{FsFile, Look, Meta};
use bytes::Bytes;
use std::fs::{File, TryLockError};
use std::io::{self, IoSlice};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// Slices that one vectored write may carry: `IOV_MAX` of Linux.
const MAX_SLICES: usize = 1024;

/// Data ranges that are told apart in a file; the rest of a more ragged file counts as data.
const MAX_RANGES: usize = 65_536;

#[derive(Debug)]
pub(super) struct RealFile(pub(super) Arc<File>);

impl FsFile for RealFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_exact_at(buffer, offset)
    }

    fn write_at(&self, parts: &[Bytes], offset: u64) -> io::Result<()> {
        write_all(parts, offset, |slices, at| {
            rustix::io::pwritev(&self.0, slices, at).map_err(Into::into)
        })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_all()
    }

    fn data_ranges(&self) -> io::Result<Vec<Range<u64>>> {
        use rustix::fs::{SeekFrom, seek};
        use rustix::io::Errno;
        let len = self.len()?;
        let mut ranges = Vec::new();
        let mut at = 0;
        while at < len {
            let start = match seek(&self.0, SeekFrom::Data(at)) {
                Ok(start) => start,
                Err(Errno::NXIO) => break,
                Err(_) => at,
            };
            let end = match seek(&self.0, SeekFrom::Hole(start)) {
                Ok(end) if ranges.len() < MAX_RANGES && end > start => end.min(len),
                _ => len,
            };
            if start >= end {
                break;
            }
            ranges.push(start..end);
            at = end;
        }
        Ok(ranges)
    }

    fn meta(&self) -> io::Result<Meta> {
        self.0.metadata().map(|meta| meta_of(&meta))
    }

    fn look(&self) -> io::Result<Look> {
        Ok(metadata::look_of(&self.0.metadata()?))
    }

    fn punch(&self, range: Range<u64>) -> io::Result<()> {
        if range.is_empty() || metadata::punch(&self.0, &range).is_ok() {
            return Ok(());
        }
        let zeros = Bytes::from_static(&dunlin_hash::ZEROS);
        let mut at = range.start;
        while at < range.end {
            let size = (range.end - at).min(zeros.len() as u64);
            self.write_at(&[zeros.slice(..size as usize)], at)?;
            at += size;
        }
        Ok(())
    }

    fn system_file(&self) -> Option<Arc<File>> {
        Some(Arc::clone(&self.0))
    }

    fn try_lock(&self) -> io::Result<bool> {
        locked(self.0.try_lock())
    }

    fn try_lock_shared(&self) -> io::Result<bool> {
        locked(self.0.try_lock_shared())
    }
}

fn locked(answer: Result<(), TryLockError>) -> io::Result<bool> {
    match answer {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Writes all `parts` by as few calls of `write` as it allows: it may take fewer bytes than
/// offered, or be interrupted.
fn write_all(
    parts: &[Bytes],
    mut offset: u64,
    mut write: impl FnMut(&[IoSlice<'_>], u64) -> io::Result<usize>,
) -> io::Result<()> {
    let mut slices: Vec<IoSlice<'_>> =
        parts.iter().filter(|part| !part.is_empty()).map(|part| IoSlice::new(part)).collect();
    let mut rest = &mut slices[..];
    while !rest.is_empty() {
        let batch = rest.get(..MAX_SLICES).unwrap_or(rest);
        match write(batch, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                offset += written as u64;
                IoSlice::advance_slices(&mut rest, written);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_and_interrupted_writes_go_on() {
        let parts = [Bytes::from_static(b"abc"), Bytes::new(), Bytes::from_static(b"defgh")];
        let (mut out, mut calls) = (Vec::new(), 0);
        write_all(&parts, 100, |slices, at| {
            calls += 1;
            if calls % 2 == 0 {
                return Err(io::ErrorKind::Interrupted.into());
            }
            assert_eq!(at, 100 + out.len() as u64);
            let all: Vec<u8> = slices.iter().flat_map(|slice| slice.to_vec()).collect();
            out.extend(all.iter().take(2));
            Ok(all.len().min(2))
        })
        .unwrap();
        assert_eq!((out.as_slice(), calls), (&b"abcdefgh"[..], 7));
        assert!(write_all(&parts, 0, |_, _| Ok(0)).is_err());
    }

    #[test]
    fn many_slices_go_in_batches() {
        let parts = vec![Bytes::from_static(b"x"); 2500];
        let mut batches = Vec::new();
        write_all(&parts, 0, |slices, _| {
            batches.push(slices.len());
            Ok(slices.len())
        })
        .unwrap();
        assert_eq!(batches, [1024, 1024, 452]);
    }
}
