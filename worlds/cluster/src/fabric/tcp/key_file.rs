//! The file that brings a job's key and rank 0's address to its ranks: readable by its owner alone,
//! made by rank 0 at once and whole, removed when the job ends. A key never stands on a command
//! line or in the environment.
//!
//! ```text
//! {"dunlin":1,"key":"64 digits","root":["10.0.0.1:40123","n01:40123"],"size":17,"job":"…"}
//! ```
//!
//! A file of 64 hexadecimal digits alone is a key that was distributed by other means; it is used,
//! and left where it is.

use dunlin_links::JobKey;
use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The largest file that is read, in bytes; a key file has a few hundred.
const MAX_FILE: u64 = 64 * 1024;
/// The version of the form.
const FORM: u64 = 1;
/// How often rank 0 tries to put its file where another one keeps appearing.
const TRIES: usize = 5;

/// What a rank must know to join: the key, and where rank 0 may be.
#[derive(Clone, Debug)]
pub(crate) struct Secret {
    pub(crate) key: JobKey,
    /// `host:port`, the likeliest first.
    pub(crate) root: Vec<String>,
}

/// Why there is no key to be had. The environment is to blame.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFileError {
    /// Rank 0 has not made it yet, or elsewhere.
    #[error("the key file {0} is not there; rank 0 makes it: do all ranks see the same folder?")]
    Absent(PathBuf),
    /// Others than its owner may read or change it.
    #[error(
        "the key file {path} has mode {mode:o}: whoever reads it can take part; `chmod 600` it if \
         nobody has, else make another"
    )]
    Open {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// It belongs to another user.
    #[error(
        "the key file {path} belongs to user {owner}, expected user {us}; make one of your own"
    )]
    Owner {
        /// The file.
        path: PathBuf,
        /// The user that it belongs to.
        owner: u32,
        /// The user of this process.
        us: u32,
    },
    /// It is malformed.
    #[error("{0} is no key file; remove it if it is not needed, or give another --key-file")]
    Malformed(PathBuf),
    /// It is of another job.
    #[error(
        "the key file {path} is of a job of {found} ranks, expected {expected}: is it an earlier \
         job's, or does rank 0 have another size?"
    )]
    Size {
        /// The file.
        path: PathBuf,
        /// The size in it.
        found: u64,
        /// Ours.
        expected: u32,
    },
    /// A job that goes on has it.
    #[error("the key file {0} is of a job that goes on; give this one another --key-file")]
    InUse(PathBuf),
    /// The system refuses.
    #[error("the key file {path}: {error}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The line on standard input is malformed.
    #[error("standard input: expected one line of JSON with `key` and `root`")]
    Stdin,
    /// There is no randomness to be had.
    #[error(transparent)]
    NoRandomness(#[from] dunlin_links::NoRandomness),
}

impl KeyFileError {
    /// Whether rank 0 may still put it right.
    pub(crate) fn may_pass(&self) -> bool {
        matches!(self, KeyFileError::Absent(_) | KeyFileError::Size { .. })
    }
}

/// The key file of a job that this process leads. Dropping it removes the file.
#[derive(Debug)]
pub(crate) struct KeyFile {
    path: PathBuf,
    text: String,
}

impl Drop for KeyFile {
    fn drop(&mut self) {
        // Another one may have replaced it.
        if load(&self.path).is_ok_and(|text| text == self.text) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

impl KeyFile {
    /// Rank 0: makes the file for a job of `size` ranks whose rank 0 is found at `places`. One that
    /// is there and of no job that `goes_on` is an earlier job's, and is replaced. A key alone is
    /// used as it is, and there is nothing to remove.
    ///
    /// # Errors
    /// [`KeyFileError`].
    pub(crate) fn lead(
        path: &Path,
        size: u32,
        places: &[String],
        goes_on: impl Fn(&Secret) -> bool,
    ) -> Result<(Option<KeyFile>, JobKey), KeyFileError> {
        let io = |error| KeyFileError::Io { path: path.to_owned(), error };
        let key = JobKey::random()?;
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let job = format!("{:x}-{:x}", std::process::id(), now.map_or(0, |now| now.as_nanos()));
        let secret = SecretForm { key: key.to_hex(), root: places.to_vec() };
        let form = FileForm { dunlin: FORM, job: job.clone(), secret, size: u64::from(size) };
        // It has string keys, which is all that JSON asks for.
        let text = serde_json::to_string(&form).unwrap_or_default() + "\n";
        for _ in 0..TRIES {
            let stale = match load(path) {
                Err(KeyFileError::Absent(_)) => false,
                Err(other) => return Err(other),
                Ok(text) => match Form::read(&text) {
                    None => return Err(KeyFileError::Malformed(path.to_owned())),
                    Some(Form { size: None, secret }) => return Ok((None, secret.key)),
                    Some(Form { secret, .. }) if goes_on(&secret) => {
                        return Err(KeyFileError::InUse(path.to_owned()));
                    }
                    Some(_) => true,
                },
            };
            match put(path, &text, &job, stale) {
                Ok(()) => return Ok((Some(KeyFile { path: path.to_owned(), text }), key)),
                // Another process was faster: is it a job that goes on?
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(io(error)),
            }
        }
        Err(KeyFileError::InUse(path.to_owned()))
    }

    /// A peer: the content of the file, which must be of a job of `size` ranks.
    ///
    /// # Errors
    /// [`KeyFileError`].
    pub(crate) fn read(path: &Path, size: u32) -> Result<Secret, KeyFileError> {
        let form = Form::read(&load(path)?);
        let form = form.ok_or_else(|| KeyFileError::Malformed(path.to_owned()))?;
        match form.size.filter(|found| *found != u64::from(size)) {
            Some(found) => Err(KeyFileError::Size { path: path.to_owned(), found, expected: size }),
            None => Ok(form.secret),
        }
    }
}

/// Writes a file at once and whole; it replaces another one only if that is `stale`.
fn put(path: &Path, text: &str, job: &str, stale: bool) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let aside = path.with_file_name(format!(".{name}.{job}"));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&aside)?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    let placed = written.and_then(|()| match stale {
        true => std::fs::rename(&aside, path),
        false => std::fs::hard_link(&aside, path),
    });
    // After a rename it is not there any more.
    let _ = std::fs::remove_file(&aside);
    placed
}

/// The text of a file that is its owner's alone.
fn load(path: &Path) -> Result<String, KeyFileError> {
    let io = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => KeyFileError::Absent(path.to_owned()),
        _ => KeyFileError::Io { path: path.to_owned(), error },
    };
    // Neither a symbolic link, nor a pipe that would block.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::empty()).map_err(|error| io(error.into()))?;
    let file = File::from(file);
    let meta = file.metadata().map_err(io)?;
    let (mode, owner) = (meta.mode() & 0o7777, meta.uid());
    let us = rustix::process::geteuid().as_raw();
    if !meta.is_file() {
        return Err(KeyFileError::Malformed(path.to_owned()));
    }
    if owner != us {
        return Err(KeyFileError::Owner { path: path.to_owned(), owner, us });
    }
    if mode & 0o077 != 0 {
        return Err(KeyFileError::Open { path: path.to_owned(), mode });
    }
    let mut text = String::new();
    match file.take(MAX_FILE).read_to_string(&mut text) {
        Ok(_) => Ok(text),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            Err(KeyFileError::Malformed(path.to_owned()))
        }
        Err(error) => Err(io(error)),
    }
}

/// The content of a file; a key alone has no size.
struct Form {
    secret: Secret,
    size: Option<u64>,
}

impl Form {
    fn read(text: &str) -> Option<Form> {
        if let Some(key) = JobKey::of_hex(text.trim()) {
            return Some(Form { secret: Secret { key, root: Vec::new() }, size: None });
        }
        let form: FileForm = serde_json::from_str(text).ok()?;
        let secret = form.secret.read()?;
        (form.dunlin == FORM).then_some(Form { secret, size: Some(form.size) })
    }
}

/// The JSON form of a key file.
#[derive(Serialize, Deserialize)]
struct FileForm {
    dunlin: u64,
    #[serde(default)]
    job: String,
    #[serde(flatten)]
    secret: SecretForm,
    size: u64,
}

/// The JSON form of a secret.
#[derive(Serialize, Deserialize)]
pub(crate) struct SecretForm {
    /// 64 hexadecimal digits.
    pub(crate) key: String,
    /// `host:port`, the likeliest first.
    pub(crate) root: Vec<String>,
}

impl SecretForm {
    /// The secret; `None` if the key is malformed.
    pub(crate) fn read(self) -> Option<Secret> {
        Some(Secret { key: JobKey::of_hex(&self.key)?, root: self.root })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    fn places() -> Vec<String> {
        vec!["10.0.0.1:7".to_owned(), "n01:7".to_owned()]
    }

    fn lead(path: &Path, goes_on: bool) -> Result<(Option<KeyFile>, JobKey), KeyFileError> {
        KeyFile::lead(path, 5, &places(), |_| goes_on)
    }

    #[test]
    fn rank_0_makes_it_and_takes_it_away() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let absent = KeyFile::read(&path, 5).unwrap_err();
        assert!(absent.may_pass(), "{absent}");
        let (file, key) = lead(&path, true).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        let secret = KeyFile::read(&path, 5).unwrap();
        assert_eq!((secret.key.to_hex(), secret.root), (key.to_hex(), places()));
        let other = KeyFile::read(&path, 6).unwrap_err();
        assert!(other.may_pass() && other.to_string().contains("5 ranks, expected 6"), "{other}");
        drop(file);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left");
    }

    #[test]
    fn one_of_an_earlier_job_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let (old, first) = lead(&path, false).unwrap();
        let in_use = lead(&path, true).unwrap_err();
        assert!(matches!(in_use, KeyFileError::InUse(_)), "{in_use}");
        let (new, second) = lead(&path, false).unwrap();
        assert_ne!(first.to_hex(), second.to_hex());
        drop(old);
        assert_eq!(KeyFile::read(&path, 5).unwrap().key.to_hex(), second.to_hex(), "not its own");
        drop(new);
        assert!(!path.exists());
    }

    #[test]
    fn a_key_alone_is_used_and_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        std::fs::write(&path, format!("{}\n", "ab".repeat(32))).unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o400)).unwrap();
        let (file, key) = lead(&path, false).unwrap();
        assert!(file.is_none());
        let secret = KeyFile::read(&path, 99).unwrap();
        assert_eq!((secret.key.to_hex(), secret.root.len()), (key.to_hex(), 0));
        assert!(path.exists());
    }

    #[test]
    fn what_others_can_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        for (mode, text, expected) in [
            (0o640, "ab".repeat(32), "has mode 640"),
            (0o602, "ab".repeat(32), "has mode 602"),
            (0o600, "ab".repeat(31), "is no key file"),
            (0o600, "{}".to_owned(), "is no key file"),
            (0o600, "\u{0}".to_owned(), "is no key file"),
        ] {
            std::fs::write(&path, &text).unwrap();
            std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            for error in [lead(&path, false).unwrap_err(), KeyFile::read(&path, 5).unwrap_err()] {
                assert!(error.to_string().contains(expected), "{mode:o} {text}: {error}");
                assert!(!error.may_pass());
            }
        }
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(matches!(lead(&link, false), Err(KeyFileError::Io { .. })));
        assert!(matches!(lead(folder.path(), false), Err(KeyFileError::Malformed(_))));
    }
}
