//! The requests of one connection, in whatever pieces they come in.

use super::{Head, HeadError};

/// Takes bytes and gives heads of requests, one after another. It holds no more than what came
/// behind the last head that it gave: never more than a head may have and one piece, as long as
/// every head is asked for before the next piece is put in.
#[derive(Clone, Debug, Default)]
pub struct Requests {
    input: Vec<u8>,
    /// So many of them were looked at in vain.
    seen: usize,
}

impl Requests {
    /// Puts in what came next.
    pub fn push(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
    }

    /// Hands the next head to `found`, and gives what that returns; `None` until the head is whole.
    /// After an error nothing of the connection makes sense any more, and all of it is thrown away.
    pub fn next<T>(&mut self, found: impl FnOnce(Result<Head<'_>, HeadError>) -> T) -> Option<T> {
        match Head::parse(&self.input, self.seen) {
            Ok(None) => {
                self.seen = self.input.len();
                None
            }
            Ok(Some(head)) => {
                let len = head.len;
                let result = found(Ok(head));
                self.input.drain(..len);
                self.seen = 0;
                Some(result)
            }
            Err(error) => {
                *self = Requests::default();
                Some(found(Err(error)))
            }
        }
    }

    /// Bytes that it holds.
    #[must_use]
    pub fn held(&self) -> usize {
        self.input.len()
    }
}
