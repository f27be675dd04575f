//! Checks of this crate's readers for fuzzing and for replaying corpora.

use crate::handshake::{self, ANSWER, Dialler, HELLO, Keys, Party};
use crate::key::JobKey;
use crate::seal::AuthError;
use dunlin_base::Rank;

fn party(rank: u32) -> Party {
    let key = JobKey::of_hex(&"5a".repeat(32)).expect("64 digits");
    Party { key, rank: Rank(rank), life: u64::from(rank) }
}

/// Whatever comes over a connection, only what the other end sealed is opened, in the order in
/// which it was sealed. The first byte chooses: 0, a first message follows; 1, an answer follows;
/// any other, the rest is steps on the frames of a link: a frame to send (even) or what happens to
/// one of those on their way.
///
/// # Panics
/// If a property does not hold.
pub fn sealed(data: &[u8]) {
    let Some((choice, rest)) = data.split_first() else { return };
    let dialler = Dialler::with_nonce(&party(1), Rank(0), [3; 32]);
    let (right, _, theirs) =
        handshake::answer(&party(0), dialler.hello(), [4; 32]).expect("one of ours");
    match choice {
        0 => {
            let mut hello = *dialler.hello();
            hello.iter_mut().zip(rest).for_each(|(byte, change)| *byte ^= change);
            let same = hello == *dialler.hello();
            assert_eq!(handshake::answer(&party(0), &hello, [4; 32]).is_ok(), same);
            let mut raw = [0; HELLO];
            raw.iter_mut().zip(rest).for_each(|(byte, other)| *byte = *other);
            let known = raw == *dialler.hello();
            assert!(known || handshake::answer(&party(0), &raw, [4; 32]).is_err());
        }
        1 => {
            let mut answer: [u8; ANSWER] = right;
            answer.iter_mut().zip(rest).for_each(|(byte, change)| *byte ^= change);
            assert_eq!(dialler.finish(&answer).is_ok(), answer == right);
        }
        _ => {
            let (_, ours) = dialler.finish(&right).expect("the right answer");
            frames(ours, theirs, rest);
        }
    }
}

fn frames(mut ours: Keys, mut theirs: Keys, mut steps: &[u8]) {
    let mut sent: Vec<(u8, Vec<u8>)> = Vec::new();
    let mut way: Vec<Vec<u8>> = Vec::new();
    while let Some((step, rest)) = steps.split_first() {
        if step % 2 == 0 {
            let body = rest.get(..usize::from(*step / 2)).unwrap_or(rest);
            steps = rest.get(body.len()..).unwrap_or_default();
            let mut frame = Vec::new();
            ours.sealer.seal(*step, &[body], &mut frame).expect("short");
            sent.push((*step, body.to_vec()));
            way.push(frame);
            continue;
        }
        let [which, how, after @ ..] = rest else { break };
        steps = after;
        if way.is_empty() {
            continue;
        }
        let count = way.len();
        let at = usize::from(*which) % count;
        match step / 2 % 5 {
            0 => way.swap(at, usize::from(*how) % count),
            1 => way.extend(way.get(at).cloned()),
            2 => way.get_mut(at).into_iter().for_each(|one| one.truncate(usize::from(*how))),
            3 => _ = way.remove(at),
            _ => {
                let one = way.get_mut(at).and_then(|one| {
                    let place = usize::from(*how) % one.len().max(1);
                    one.get_mut(place)
                });
                one.into_iter().for_each(|byte| *byte ^= step | 1);
            }
        }
    }
    let mut opened = 0;
    let mut over: Option<AuthError> = None;
    for frame in &way {
        match theirs.opener.open_whole(frame) {
            Ok(one) => {
                assert!(over.is_none(), "a link that is spoilt opens nothing");
                assert_eq!(Some(&one), sent.get(opened), "in order, and as sent");
                opened += 1;
            }
            Err(why) => over = over.or(Some(why)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes(data: Vec<u8>) {
            super::sealed(&data);
        }

        #[test]
        fn any_steps(mut data: Vec<u8>) {
            data.insert(0, 2);
            super::sealed(&data);
        }

        #[test]
        fn a_few_changed_bits(
            choice in 0..2_u8, changes in proptest::collection::vec(0..3_u8, 0..120),
        ) {
            let mut data = vec![choice];
            data.extend(changes.iter().map(|change| change.saturating_sub(1)));
            super::sealed(&data);
        }
    }
}
