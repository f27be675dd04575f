//! The key of a job: 32 random bytes that all its processes share and nobody else knows. It is
//! never shown: not by `Debug`, not in an error.

use dunlin_base::{hex, parse_hex};

/// Bytes of a key and of a nonce.
pub(crate) const KEY: usize = 32;

/// The key of a job. Whoever has it is one of us.
#[derive(Clone)]
pub struct JobKey([u8; KEY]);

/// The system has no randomness to give. The environment is to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the operating system gives no random bytes; without them there is no key")]
pub struct NoRandomness;

impl std::fmt::Debug for JobKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JobKey(…)")
    }
}

impl JobKey {
    /// A key that nobody else has.
    ///
    /// # Errors
    /// [`NoRandomness`].
    pub fn random() -> Result<JobKey, NoRandomness> {
        random().map(JobKey)
    }

    /// The key as 64 hexadecimal digits, to be handed to another process of the job.
    #[must_use]
    pub fn to_hex(&self) -> String {
        hex(&self.0)
    }

    /// Reads what [`JobKey::to_hex`] wrote; `None` if it is anything else.
    #[must_use]
    pub fn of_hex(text: &str) -> Option<JobKey> {
        parse_hex(text).map(JobKey)
    }

    pub(crate) fn bytes(&self) -> &[u8; KEY] {
        &self.0
    }
}

/// Random bytes of the system.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|_| NoRandomness)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_comes_back_from_its_digits() {
        let key = JobKey::random().unwrap();
        let text = key.to_hex();
        assert_eq!(JobKey::of_hex(&text).unwrap().bytes(), key.bytes());
        assert_eq!(JobKey::of_hex(&text.to_uppercase()).unwrap().bytes(), key.bytes());
        assert_ne!(text, JobKey::random().unwrap().to_hex());
        assert!(!format!("{key:?}").contains(&text[..4]));
    }

    #[test]
    fn anything_else_is_no_key() {
        let (short, long, odd) = ("0".repeat(63), "0".repeat(65), "0".repeat(63) + "g");
        for text in ["", &short, &long, &odd, &"é".repeat(32)] {
            assert!(JobKey::of_hex(text).is_none(), "{text}");
        }
    }
}
