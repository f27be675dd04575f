//! Frames that nobody but the two ends can read, change, repeat, drop or reorder: pure, from bytes
//! to bytes.
//!
//! ```text
//!   kind (u8) ‖ length (u24) ‖ ciphertext, as long as the length says ‖ tag (16)
//! ```
//!
//! AES-256-GCM; kind and length are authenticated with the rest. The nonce is not sent: it is the
//! frame's number in its direction, so that a frame in any other place than its own is a forgery.
//! Everything is encrypted: with the processor's instructions AES-GCM costs no more than a MAC
//! alone.

use ring::aead::{Aad, LessSafeKey, NONCE_LEN, Nonce};

/// Bytes in front of a frame's ciphertext.
pub const HEAD: usize = 4;
/// Bytes behind it.
pub const TAG: usize = 16;
/// The most plaintext in one frame, in bytes: what an end must be ready to keep before it knows
/// whether the frame is right.
pub const MAX_FRAME: usize = 1 << 20;

/// Why a frame is none. The other end is to blame, or somebody between; the link is of no use any
/// more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// Its length is beyond [`MAX_FRAME`].
    #[error("a frame of {0} bytes, expected at most {MAX_FRAME}")]
    Length(usize),
    /// It is not what the other end sealed, or not in its place.
    #[error("a frame was changed, repeated, left out or moved on its way")]
    Seal,
}

/// The frame is too long, or there were too many: the caller's mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a frame of {0} bytes cannot be sealed: the most is {MAX_FRAME}")]
pub struct TooLong(pub usize);

/// What stands in front of a frame. Nobody has vouched for it until the whole frame is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// What the frame is; a number of whoever sends it.
    pub kind: u8,
    /// Bytes of plaintext.
    pub length: usize,
}

impl Head {
    /// Reads a head.
    ///
    /// # Errors
    /// If it promises more than [`MAX_FRAME`].
    pub fn read(bytes: [u8; HEAD]) -> Result<Head, AuthError> {
        let [kind, high, middle, low] = bytes;
        let length = u32::from_be_bytes([0, high, middle, low]) as usize;
        if length > MAX_FRAME { Err(AuthError::Length(length)) } else { Ok(Head { kind, length }) }
    }

    /// The bytes of a head whose length is within [`MAX_FRAME`].
    fn bytes(self) -> [u8; HEAD] {
        let [_, high, middle, low] = (self.length as u32).to_be_bytes();
        [self.kind, high, middle, low]
    }
}

/// The nonce of the frame with this number.
fn nonce(number: u64) -> Nonce {
    let mut bytes = [0; NONCE_LEN];
    if let Some(place) = bytes.last_chunk_mut() {
        *place = number.to_be_bytes();
    }
    Nonce::assume_unique_for_key(bytes)
}

/// Seals the frames of one direction.
#[derive(Debug)]
pub(crate) struct Sealer {
    key: LessSafeKey,
    next: u64,
}

impl Sealer {
    pub(crate) fn new(key: LessSafeKey) -> Sealer {
        Sealer { key, next: 0 }
    }

    /// Appends a frame that holds `parts` one after another. The copy into `out` is the one that
    /// sealing needs, since others may hold the parts, too.
    ///
    /// # Errors
    /// [`TooLong`]; `out` is as it was.
    pub(crate) fn seal(
        &mut self,
        kind: u8,
        parts: &[&[u8]],
        out: &mut Vec<u8>,
    ) -> Result<(), TooLong> {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        // A counter of 64 bits does not come round.
        if length > MAX_FRAME || self.next == u64::MAX {
            return Err(TooLong(length));
        }
        let head = Head { kind, length }.bytes();
        let start = out.len();
        out.reserve(HEAD + length + TAG);
        out.extend_from_slice(&head);
        parts.iter().for_each(|part| out.extend_from_slice(part));
        let plain = out.get_mut(start + HEAD..).unwrap_or_default();
        let (number, aad) = (nonce(self.next), Aad::from(head));
        match self.key.seal_in_place_separate_tag(number, aad, plain) {
            Ok(tag) => {
                out.extend_from_slice(tag.as_ref());
                self.next += 1;
                Ok(())
            }
            Err(_) => {
                out.truncate(start);
                Err(TooLong(length))
            }
        }
    }
}

/// Opens the frames of one direction.
#[derive(Debug)]
pub(crate) struct Opener {
    key: LessSafeKey,
    next: u64,
    spoilt: bool,
}

impl Opener {
    pub(crate) fn new(key: LessSafeKey) -> Opener {
        Opener { key, next: 0, spoilt: false }
    }

    /// Opens a frame where it lies: `body` is the ciphertext before, the plaintext after.
    ///
    /// # Errors
    /// [`AuthError`], from then on for ever; what stands in `body` then means nothing.
    pub(crate) fn open(
        &mut self,
        head: Head,
        body: &mut [u8],
        tag: [u8; TAG],
    ) -> Result<(), AuthError> {
        if self.spoilt || head.length != body.len() {
            self.spoilt = true;
            return Err(AuthError::Seal);
        }
        let (number, aad) = (nonce(self.next), Aad::from(head.bytes()));
        let opened = self.key.open_in_place_separate_tag(number, aad, tag.into(), body, 0..);
        self.spoilt = opened.is_err();
        self.next += 1;
        opened.map(|_| ()).map_err(|_| AuthError::Seal)
    }

    /// Opens a frame that is all there, for checks.
    ///
    /// # Errors
    /// [`AuthError`], from then on for ever; so is a frame that is shorter or longer than it says.
    pub(crate) fn open_whole(&mut self, frame: &[u8]) -> Result<(u8, Vec<u8>), AuthError> {
        let parts = || {
            let (head, rest) = frame.split_first_chunk()?;
            let (body, tag) = rest.split_last_chunk()?;
            Some((Head::read(*head), body.to_vec(), *tag))
        };
        let opened = parts().ok_or(AuthError::Seal).and_then(|(head, mut body, tag)| {
            let head = head?;
            self.open(head, &mut body, tag).map(|()| (head.kind, body))
        });
        self.spoilt |= opened.is_err();
        opened
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring::aead::{AES_256_GCM, UnboundKey};

    fn pair() -> (Sealer, Opener) {
        let key = || LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &[7; 32]).unwrap());
        (Sealer::new(key()), Opener::new(key()))
    }

    fn frames(texts: &[&str]) -> (Vec<Vec<u8>>, Opener) {
        let (mut sealer, opener) = pair();
        let seal = |text: &&str| {
            let mut frame = Vec::new();
            sealer.seal(1, &[text.as_bytes()], &mut frame).unwrap();
            frame
        };
        (texts.iter().map(seal).collect(), opener)
    }

    #[test]
    fn frames_open_in_order_and_only_so() {
        for (order, opened) in
            [("0 1 2", 3), ("0 0", 1), ("0 1 0 2", 2), ("1 0", 0), ("0 2 1", 1), ("0 2 0 1 2", 1)]
        {
            let (frames, mut opener) = frames(&["", "one", "two"]);
            let count = order
                .split(' ')
                .filter(|at| opener.open_whole(&frames[at.parse::<usize>().unwrap()]).is_ok())
                .count();
            assert_eq!(count, opened, "{order}");
        }
    }

    #[test]
    fn any_changed_bit_is_seen() {
        let (whole, _) = frames(&["attack at dawn"]);
        for bit in 0..whole[0].len() * 8 {
            let (_, mut opener) = frames(&[]);
            let mut frame = whole[0].clone();
            frame[bit / 8] ^= 1 << (bit % 8);
            assert!(opener.open_whole(&frame).is_err(), "bit {bit}");
            assert!(opener.open_whole(&whole[0]).is_err(), "it is over");
        }
        for cut in 0..whole[0].len() {
            let (_, mut opener) = frames(&[]);
            assert!(opener.open_whole(&whole[0][..cut]).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn a_length_has_a_limit() {
        let (mut sealer, mut opener) = pair();
        let (most, mut out) = (vec![3; MAX_FRAME], Vec::new());
        assert_eq!(sealer.seal(0, &[&most, b"!"], &mut out), Err(TooLong(MAX_FRAME + 1)));
        assert!(out.is_empty());
        sealer.seal(255, &[&most], &mut out).unwrap();
        assert_eq!(opener.open_whole(&out), Ok((255, most)));
        assert_eq!(Head::read([1, 0x10, 0, 1]), Err(AuthError::Length(MAX_FRAME + 1)));
    }
}
