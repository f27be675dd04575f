//! Who is at the other end, proved by the job's key: pure, from bytes to bytes. It opens no socket
//! and knows no time.
//!
//! ```text
//!   dialler                                             listener
//!   magic ‖ version ‖ from ‖ to ‖ life ‖ nonce ‖ MAC ──▶   MAC right, and meant for us? Otherwise
//!                                                          not one byte goes back
//!          ◀── life ‖ nonce ‖ MAC over both messages
//!   first sealed frame, empty ─────────────────────────▶   now the dialler is no replay
//! ```
//!
//! A MAC is HMAC-SHA-256 with the job's key. Both ends derive one AES-256-GCM key for each
//! direction by HKDF from the job's key and both messages: each holds a fresh nonce, so no two
//! links have a key in common, and what was recorded of one is noise on another. Whoever learns the
//! job's key later can read what was recorded: a key lives as long as its job, and is never used
//! again.

use crate::key::{JobKey, KEY, NoRandomness, random};
use crate::seal::{Opener, Sealer};
use dunlin_base::Rank;
use ring::{aead, hkdf, hmac};

/// What every first message begins with: a name, and the version of all that follows.
const MAGIC: &[u8; 8] = b"dunlin\0\x01";
/// Bytes of a MAC.
const MAC: usize = 32;
/// Bytes of the first message.
pub const HELLO: usize = MAGIC.len() + 4 + 4 + 8 + KEY + MAC;
/// Bytes of the answer.
pub const ANSWER: usize = 8 + KEY + MAC;

/// Labels keep the uses of one key apart.
const OF_HELLO: &[u8] = b"dunlin sockets 1 hello";
const OF_ANSWER: &[u8] = b"dunlin sockets 1 answer";
const TO_LISTENER: &[u8] = b"dunlin sockets 1 to listener";
const TO_DIALLER: &[u8] = b"dunlin sockets 1 to dialler";

/// One process of a job, as it introduces itself.
#[derive(Clone, Debug)]
pub struct Party {
    /// The key of the job.
    pub key: JobKey,
    /// Its rank.
    pub rank: Rank,
    /// A number that no other process has: a rank that was started again is told from the one that
    /// died.
    pub life: u64,
}

/// Why a message is no answer, or none that may be heard. Not our party is to blame, or a replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    /// It does not begin as every message of ours.
    #[error("what came is no handshake of this version of dunlin")]
    Magic,
    /// The MAC is another.
    #[error("the other end does not have the key of this job")]
    Key,
    /// It was meant for somebody else.
    #[error("the handshake was meant for rank {0}")]
    NotForUs(Rank),
    /// It names itself as us.
    #[error("the other end calls itself by our own rank")]
    Ourselves,
}

/// Who is at the other end of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remote {
    /// Its rank.
    pub rank: Rank,
    /// The number of its process.
    pub life: u64,
}

/// The two directions of a link.
#[derive(Debug)]
pub(crate) struct Keys {
    pub(crate) sealer: Sealer,
    pub(crate) opener: Opener,
}

/// A dialler that has said hello.
#[derive(Debug)]
pub(crate) struct Dialler {
    key: JobKey,
    to: Rank,
    hello: [u8; HELLO],
}

impl Dialler {
    /// Says hello to `to`.
    pub(crate) fn new(party: &Party, to: Rank) -> Result<Dialler, NoRandomness> {
        Ok(Dialler::with_nonce(party, to, random()?))
    }

    /// The same with a given nonce, for what must come out the same every time.
    pub(crate) fn with_nonce(party: &Party, to: Rank, nonce: [u8; KEY]) -> Dialler {
        let mut fields = Fields::new();
        fields.put(MAGIC);
        fields.put(&party.rank.0.to_be_bytes());
        fields.put(&to.0.to_be_bytes());
        fields.put(&party.life.to_be_bytes());
        fields.put(&nonce);
        let mac = sign(&party.key, OF_HELLO, &[fields.done()]);
        fields.put(&mac);
        Dialler { key: party.key.clone(), to, hello: fields.bytes }
    }

    /// What to send.
    pub(crate) fn hello(&self) -> &[u8; HELLO] {
        &self.hello
    }

    /// Reads the answer.
    pub(crate) fn finish(&self, answer: &[u8; ANSWER]) -> Result<(Remote, Keys), HandshakeError> {
        let (text, mac) = answer.split_at(ANSWER - MAC);
        verify(&self.key, OF_ANSWER, &[&self.hello, text], mac)?;
        let remote = Remote { rank: self.to, life: u64::from_be_bytes(at(text, 0)) };
        let [forth, back] = derive(&self.key, &self.hello, answer)?;
        Ok((remote, Keys { sealer: Sealer::new(forth), opener: Opener::new(back) }))
    }
}

/// Answers a hello, if it may be answered: what to send back, who is there, and the keys. The other
/// end may still be a replay, until its first sealed frame has come.
pub(crate) fn answer(
    party: &Party,
    hello: &[u8; HELLO],
    nonce: [u8; KEY],
) -> Result<([u8; ANSWER], Remote, Keys), HandshakeError> {
    let (text, mac) = hello.split_at(HELLO - MAC);
    if !text.starts_with(MAGIC) {
        return Err(HandshakeError::Magic);
    }
    verify(&party.key, OF_HELLO, &[text], mac)?;
    let number = |offset| Rank(u32::from_be_bytes(at(text, MAGIC.len() + offset)));
    let (from, to) = (number(0), number(4));
    if to != party.rank {
        return Err(HandshakeError::NotForUs(to));
    }
    if from == party.rank {
        return Err(HandshakeError::Ourselves);
    }
    let remote = Remote { rank: from, life: u64::from_be_bytes(at(text, MAGIC.len() + 8)) };
    let mut fields = Fields::<ANSWER>::new();
    fields.put(&party.life.to_be_bytes());
    fields.put(&nonce);
    let mac = sign(&party.key, OF_ANSWER, &[hello, fields.done()]);
    fields.put(&mac);
    let [forth, back] = derive(&party.key, hello, &fields.bytes)?;
    Ok((fields.bytes, remote, Keys { sealer: Sealer::new(back), opener: Opener::new(forth) }))
}

/// The nonce of a hello: the same one twice is a replay.
pub(crate) fn nonce_of(hello: &[u8; HELLO]) -> [u8; KEY] {
    at(hello, HELLO - MAC - KEY)
}

/// A message that is put together field by field.
struct Fields<const N: usize> {
    bytes: [u8; N],
    used: usize,
}

impl<const N: usize> Fields<N> {
    fn new() -> Fields<N> {
        Fields { bytes: [0; N], used: 0 }
    }

    fn put(&mut self, field: &[u8]) {
        let end = self.used + field.len();
        debug_assert!(end <= N, "the constants count the fields");
        if let Some(place) = self.bytes.get_mut(self.used..end) {
            place.copy_from_slice(field);
        }
        self.used = end;
    }

    fn done(&self) -> &[u8] {
        self.bytes.get(..self.used).unwrap_or_default()
    }
}

fn mac_key(key: &JobKey) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, key.bytes())
}

/// Every part has a length that follows from the label, so that no two lists of parts are alike.
fn sign(key: &JobKey, label: &[u8], parts: &[&[u8]]) -> [u8; MAC] {
    let mut context = hmac::Context::with_key(&mac_key(key));
    context.update(label);
    parts.iter().for_each(|part| context.update(part));
    at(context.sign().as_ref(), 0)
}

fn verify(key: &JobKey, label: &[u8], parts: &[&[u8]], mac: &[u8]) -> Result<(), HandshakeError> {
    let text: Vec<u8> = [label].iter().chain(parts).flat_map(|part| part.iter().copied()).collect();
    hmac::verify(&mac_key(key), &text, mac).map_err(|_| HandshakeError::Key)
}

/// The keys of the two directions: to the listener, and to the dialler.
fn derive(
    key: &JobKey,
    hello: &[u8; HELLO],
    answer: &[u8; ANSWER],
) -> Result<[aead::LessSafeKey; 2], HandshakeError> {
    let secret = hkdf::Salt::new(hkdf::HKDF_SHA256, MAGIC).extract(key.bytes());
    let of = |label: &[u8]| {
        let info = [label, hello, answer];
        let bytes = secret.expand(&info, &aead::AES_256_GCM);
        // It fails only when more is asked for than HKDF can give.
        bytes.map(|bytes| aead::LessSafeKey::new(bytes.into())).map_err(|_| HandshakeError::Key)
    };
    Ok([of(TO_LISTENER)?, of(TO_DIALLER)?])
}

/// So many bytes from `offset` on; all zero if they are not there, which the constants rule out.
fn at<const N: usize>(bytes: &[u8], offset: usize) -> [u8; N] {
    bytes.get(offset..).and_then(|rest| rest.first_chunk()).copied().unwrap_or([0; N])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn party(key: &JobKey, rank: u32) -> Party {
        Party { key: key.clone(), rank: Rank(rank), life: 100 + u64::from(rank) }
    }

    fn key(digit: &str) -> JobKey {
        JobKey::of_hex(&digit.repeat(64)).unwrap()
    }

    #[test]
    fn both_ends_know_each_other_and_share_keys() {
        let key = key("7");
        let (me, you) = (party(&key, 3), party(&key, 0));
        let dialler = Dialler::new(&me, Rank(0)).unwrap();
        let (text, remote, mut theirs) = answer(&you, dialler.hello(), [9; KEY]).unwrap();
        assert_eq!(remote, Remote { rank: Rank(3), life: 103 });
        let (remote, mut ours) = dialler.finish(&text).unwrap();
        assert_eq!(remote, Remote { rank: Rank(0), life: 100 });
        for (sealer, opener) in
            [(&mut ours.sealer, &mut theirs.opener), (&mut theirs.sealer, &mut ours.opener)]
        {
            let mut frame = Vec::new();
            sealer.seal(5, &[b"as", b"sent"], &mut frame).unwrap();
            assert_eq!(opener.open_whole(&frame), Ok((5, b"assent".to_vec())));
        }
        let mut frame = Vec::new();
        ours.sealer.seal(5, &[b"x"], &mut frame).unwrap();
        assert!(ours.opener.open_whole(&frame).is_err(), "it must not come back as another's");
    }

    #[test]
    fn whoever_lacks_the_key_is_a_stranger() {
        let (ours, other) = (key("7"), key("8"));
        let hello = |key: &JobKey, from, to| {
            *Dialler::with_nonce(&party(key, from), Rank(to), [1; KEY]).hello()
        };
        let listener = party(&ours, 0);
        let refused = |hello: [u8; HELLO]| answer(&listener, &hello, [2; KEY]).err();
        assert_eq!(refused(hello(&ours, 3, 0)), None);
        assert_eq!(refused(hello(&other, 3, 0)), Some(HandshakeError::Key));
        assert_eq!(refused(hello(&ours, 3, 1)), Some(HandshakeError::NotForUs(Rank(1))));
        assert_eq!(refused(hello(&ours, 0, 0)), Some(HandshakeError::Ourselves));
        assert_eq!(refused([0; HELLO]), Some(HandshakeError::Magic));
        for bit in 0..HELLO * 8 {
            let mut changed = hello(&ours, 3, 0);
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(refused(changed).is_some(), "bit {bit}");
        }
    }

    #[test]
    fn an_answer_to_another_hello_is_none() {
        let key = key("7");
        let first = Dialler::with_nonce(&party(&key, 3), Rank(0), [1; KEY]);
        let second = Dialler::with_nonce(&party(&key, 3), Rank(0), [2; KEY]);
        let (text, ..) = answer(&party(&key, 0), first.hello(), [9; KEY]).unwrap();
        assert!(first.finish(&text).is_ok());
        assert_eq!(second.finish(&text).err(), Some(HandshakeError::Key));
        for bit in 0..ANSWER * 8 {
            let mut changed = text;
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(first.finish(&changed).err(), Some(HandshakeError::Key), "bit {bit}");
        }
    }
}
