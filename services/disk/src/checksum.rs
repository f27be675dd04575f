//! Files of ours that end in a checksum, so that a torn one is told from a whole one: how they are
//! sealed and opened, and why one is ignored. It knows nothing of what stands in them.

use sha1::{Digest, Sha1};
use thiserror::Error;

/// Length of the checksum: the SHA-1 of all before it.
pub(crate) const SUM: usize = 20;

/// Why a file of ours is ignored.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum SealError {
    #[error("shorter than its checksum")]
    Short,
    #[error("its checksum is wrong: torn, or not ours")]
    Checksum,
    #[error("no valid bencoding: {0}")]
    Bencode(String),
    #[error("version {0}, which this program does not know")]
    Version(u64),
    #[error("`{0}` is missing or wrong")]
    Field(&'static str),
}

/// The bytes of a file with this body.
pub(crate) fn seal(mut body: Vec<u8>) -> Vec<u8> {
    let sum = Sha1::digest(&body);
    body.extend_from_slice(&sum);
    body
}

/// The body of a file.
pub(crate) fn open(bytes: &[u8]) -> Result<&[u8], SealError> {
    let at = bytes.len().checked_sub(SUM).ok_or(SealError::Short)?;
    let (body, sum) = bytes.split_at(at);
    if Sha1::digest(body).as_slice() == sum { Ok(body) } else { Err(SealError::Checksum) }
}
