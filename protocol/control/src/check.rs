//! Whether a registration makes sense by itself. Whoever decodes one, or is handed one in memory,
//! checks it before it counts.

use crate::{ControlError, OwnedFile, Register, Want};
use dunlin_metainfo::{HashKind, MAX_PIECES, PieceHashes, TreeEntry, check_name, check_token};
use dunlin_plan::Pattern;

/// Checks a name whose kind of file is not known: a safe relative path, or a name of the course
/// format, which may be of any length but has no slash.
pub(crate) fn check_any_name(name: &str) -> Result<(), ControlError> {
    if name.contains('/') {
        return check_name(name).map_err(|why| bad_name(name, &why));
    }
    check_course_name(name)
}

fn check_course_name(name: &str) -> Result<(), ControlError> {
    match name {
        "" | "." | ".." => Err(bad_name(name, &"it names no file")),
        _ if name.contains('/') => Err(bad_name(name, &"a name of the course format has no `/`")),
        _ if name.contains('\\') || name.chars().any(char::is_control) => {
            Err(bad_name(name, &"backslashes and control characters are not for names"))
        }
        _ => Ok(()),
    }
}

fn bad_name(name: &str, why: &dyn std::fmt::Display) -> ControlError {
    ControlError::Name { name: name.to_owned(), why: why.to_string() }
}

impl OwnedFile {
    /// How many pieces the file has.
    #[must_use]
    pub fn piece_count(&self) -> u32 {
        u32::try_from(self.hashes.len()).unwrap_or(u32::MAX)
    }

    /// Whether every piece is there.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.pieces.as_ref().is_none_or(dunlin_base::Bitfield::is_full)
    }

    /// Checks that name, length, hashes and pieces fit together.
    ///
    /// # Errors
    /// [`ControlError::Name`] or [`ControlError::File`]; the peer that registers it is to blame.
    pub fn check(&self) -> Result<(), ControlError> {
        match self.hashes.kind() {
            HashKind::Sha1 => check_name(&self.name).map_err(|why| bad_name(&self.name, &why))?,
            HashKind::Token => check_course_name(&self.name)?,
            HashKind::Merkle => {
                let why = "its hashes are of a kind that no set has".to_owned();
                return Err(ControlError::File { name: self.name.clone(), why });
            }
        }
        let fault = |why: String| Err(ControlError::File { name: self.name.clone(), why });
        if self.piece_length == 0 {
            return fault("its piece length is 0".to_owned());
        }
        let (found, expected) =
            (self.hashes.len() as u64, self.length.div_ceil(u64::from(self.piece_length)));
        if found != expected {
            return fault(format!("it has {found} piece hashes, expected {expected}"));
        }
        if found > u64::from(MAX_PIECES) {
            return fault(format!("it has {found} pieces, expected at most {MAX_PIECES}"));
        }
        if let PieceHashes::Tokens(tokens) = &self.hashes {
            if self.piece_length != 1 {
                return fault(format!("its piece length is {}, expected 1", self.piece_length));
            }
            if let Some(why) = tokens.iter().find_map(|token| check_token(token).err()) {
                return fault(format!("a token is none: {why}"));
            }
        }
        match &self.pieces {
            Some(pieces) if u64::from(pieces.len()) != found => {
                fault(format!("its bitfield is for {} pieces, expected {found}", pieces.len()))
            }
            _ => Ok(()),
        }
    }
}

impl Want {
    /// Checks that the name could be a file's, or that the glob is one.
    ///
    /// # Errors
    /// [`ControlError::Name`]; the peer that wants it is to blame.
    pub fn check(&self) -> Result<(), ControlError> {
        match self {
            Want::Name(name) => check_any_name(name),
            Want::Glob(glob) => match Pattern::parse(glob) {
                Ok(_) => Ok(()),
                Err(why) => Err(bad_name(glob, &why)),
            },
        }
    }
}

impl Register {
    /// Checks every file, want and entry. [`decode`](crate::decode) has done so; a registration
    /// that did not come through it must be checked before it counts.
    ///
    /// # Errors
    /// The first fault; the peer that registers is to blame.
    pub fn check(&self) -> Result<(), ControlError> {
        self.files.iter().try_for_each(OwnedFile::check)?;
        self.wants.iter().try_for_each(Want::check)?;
        let entries = self.entries.iter().chain(self.stands.iter().flatten());
        Ok(entries.into_iter().try_for_each(TreeEntry::check)?)
    }
}
