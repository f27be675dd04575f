//! Which files of a torrent are neither finished nor failed, and how many: trees have tens of
//! thousands, and each that is finished asks whether it was the last.

use dunlin_base::FileIndex;

/// The open files of one torrent.
#[derive(Clone, Debug, Default)]
pub(super) struct Unfinished {
    files: Vec<bool>,
    left: usize,
}

impl Unfinished {
    /// So many files, all open or all not.
    pub(super) fn new(files: usize, open: bool) -> Unfinished {
        Unfinished { files: vec![open; files], left: if open { files } else { 0 } }
    }

    /// Whether any file is open.
    pub(super) fn any(&self) -> bool {
        self.left > 0
    }

    /// Whether this file is open.
    pub(super) fn has(&self, file: FileIndex) -> bool {
        self.files.get(file.index()).copied().unwrap_or_default()
    }

    /// The file is finished or has failed; false if it was already.
    pub(super) fn settle(&mut self, file: FileIndex) -> bool {
        let open = self.files.get_mut(file.index()).is_some_and(std::mem::take);
        self.left -= usize::from(open);
        open
    }

    /// The open files, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = FileIndex> + '_ {
        let open = (0u32..).zip(&self.files).filter(|(_, open)| **open);
        open.map(|(file, _)| FileIndex(file))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_settled_once() {
        let mut open = Unfinished::new(3, true);
        assert!(open.settle(FileIndex(1)) && !open.settle(FileIndex(1)));
        assert_eq!(open.iter().collect::<Vec<_>>(), [FileIndex(0), FileIndex(2)]);
        assert!(open.has(FileIndex(0)) && !open.has(FileIndex(1)) && !open.has(FileIndex(9)));
        assert!(
            open.settle(FileIndex(0)) && open.any() && open.settle(FileIndex(2)) && !open.any()
        );
        assert!(!open.settle(FileIndex(9)) && !Unfinished::new(3, false).any());
    }
}
