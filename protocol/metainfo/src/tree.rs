//! What a tree of files is beside the bytes of its files: folders, links, and what is kept of each
//! entry. Only says what there is; looking at a disk and writing to one is done elsewhere.

use crate::escape::unescape_name;
use crate::path::check_name;
use thiserror::Error;

/// The longest target of a symlink in bytes (`PATH_MAX` of the systems we run on).
pub const MAX_TARGET: usize = 4096;
/// The most bytes of all extended attributes of one entry, names included: what usual file systems
/// hold for one inode.
pub const MAX_ATTRIBUTES: usize = 64 << 10;

/// One name of a tree.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TreeEntry {
    /// Relative name with `/`, safe to create.
    pub name: String,
    /// What stands there.
    pub kind: EntryKind,
    /// What is kept of it.
    pub meta: EntryMeta,
}

/// What stands under a name of a tree.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EntryKind {
    /// A regular file; its bytes are a torrent's business.
    File,
    /// A folder.
    Directory,
    /// A symbolic link, with the text of its target, escaped like a name. Nobody follows it.
    Symlink {
        /// The target, as it stands in the link; 1 to [`MAX_TARGET`] bytes.
        target: String,
    },
    /// Another name of a file of this tree.
    HardLink {
        /// The first of its names, in the order of names.
        to: String,
    },
}

/// What is kept of an entry.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct EntryMeta {
    /// Permissions, the lowest twelve bits. Means nothing for a symlink.
    pub mode: u32,
    /// When its content was last written, in nanoseconds since 1970.
    pub modified: i64,
    /// The owner's number.
    pub uid: u32,
    /// The group's number.
    pub gid: u32,
    /// Extended attributes, by name.
    pub attributes: Vec<(String, Vec<u8>)>,
}

/// Why an entry is none. Whoever registers it is to blame.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{name}` is refused: {why}; leave it out, or rename it at the peer that has it")]
pub struct EntryError {
    /// The entry's name.
    pub name: String,
    /// What is wrong with it.
    pub why: String,
}

impl TreeEntry {
    /// Checks that the name is safe to create and the rest within its limits.
    ///
    /// # Errors
    /// [`EntryError`]: what is wrong.
    pub fn check(&self) -> Result<(), EntryError> {
        let fault = |why: String| Err(EntryError { name: self.name.clone(), why });
        if let Err(why) = check_name(&self.name) {
            return fault(why.to_string());
        }
        match &self.kind {
            EntryKind::File | EntryKind::Directory => {}
            EntryKind::Symlink { target } => {
                let target = unescape_name(target);
                if !(1..=MAX_TARGET).contains(&target.len()) || target.contains(&0) {
                    return fault(format!(
                        "its target has {} bytes, expected 1 to {MAX_TARGET} and no zero byte",
                        target.len()
                    ));
                }
            }
            EntryKind::HardLink { to } => {
                if let Err(why) = check_name(to) {
                    return fault(format!("it is another name of `{to}`: {why}"));
                }
                if *to >= self.name {
                    return fault(format!(
                        "it is another name of `{to}`, which must come before it"
                    ));
                }
            }
        }
        if self.meta.mode > 0o7777 {
            return fault(format!("its mode is {:o}, expected at most 7777", self.meta.mode));
        }
        let bytes: usize = self.meta.attributes.iter().map(|(k, v)| k.len() + v.len()).sum();
        if bytes > MAX_ATTRIBUTES {
            return fault(format!(
                "its extended attributes have {bytes} bytes, expected at most {MAX_ATTRIBUTES}"
            ));
        }
        let named = |name: &String| !name.is_empty() && !name.contains('\0');
        if !self.meta.attributes.iter().all(|(name, _)| named(name)) {
            return fault("an extended attribute has no proper name".to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, kind: EntryKind) -> TreeEntry {
        TreeEntry { name: name.into(), kind, meta: EntryMeta::default() }
    }

    #[test]
    fn what_is_no_entry_is_refused() {
        let link = |target: &str| EntryKind::Symlink { target: target.into() };
        let hard = |to: &str| EntryKind::HardLink { to: to.into() };
        let cases = [
            ("a/b", EntryKind::Directory, true),
            ("a/../b", EntryKind::Directory, false),
            ("/etc", EntryKind::File, false),
            ("l", link("../../anywhere"), true),
            ("l", link(""), false),
            ("l", link(&"x".repeat(MAX_TARGET + 1)), false),
            ("l", link("a\0b"), false),
            ("b", hard("a"), true),
            ("a", hard("b"), false),
            ("a", hard("a"), false),
            ("b", hard("../a"), false),
        ];
        for (name, kind, right) in cases {
            let entry = entry(name, kind);
            assert_eq!(entry.check().is_ok(), right, "{entry:?}");
        }
        let mut wide = entry("f", EntryKind::File);
        wide.meta.mode = 0o10000;
        assert!(wide.check().is_err());
        wide.meta.mode = 0o4755;
        assert!(wide.check().is_ok());
        wide.meta.attributes = vec![("user.x".into(), vec![0; MAX_ATTRIBUTES])];
        assert!(wide.check().is_err());
    }
}
