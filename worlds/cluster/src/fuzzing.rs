//! Checks of this crate's readers for fuzzing and for replaying corpora.

use crate::fabric::mpi::stream::{FRAGMENT, FragmentStream};
use crate::fabric::process::packet::{Packet, PacketDecoder, PacketError, encode};
use crate::fabric::process::session::Session;
use crate::fabric::tcp::WireUp;
use crate::fabric::tcp::link_protocol::LinkMessage;
use crate::fault::{Fault, FaultError};
use std::time::Duration;

/// Whatever the bytes, a trace is shown or refused, and a shown one names no more lines than it
/// has.
///
/// # Panics
/// If a property does not hold.
pub fn trace(data: &[u8]) {
    let mut shown = Vec::new();
    if crate::chart::chart(data, &mut shown).is_ok() {
        let text = String::from_utf8(shown).expect("a chart is text");
        let lines = data.split(|byte| *byte == b'\n').count();
        assert!(text.lines().count() <= lines + 1, "{lines} lines became {text}");
    }
}

/// Whatever the text, it is a fault or an error that names what was found.
///
/// # Panics
/// If a property does not hold.
pub fn fault(text: &str) {
    match text.parse::<Fault>() {
        Ok(fault) => assert!(fault.rank().0 > 0),
        Err(FaultError::Unknown(found)) => assert_eq!(found, text),
        Err(error) => assert!(error.to_string().contains(text)),
    }
}

/// Whatever another rank sends, what it sends is taken or refused, a refusal is for ever, memory is
/// bounded by what came, and every packet has one encoding. If the first byte is even, steps
/// follow: 0, a length (u16) and a fragment to take; 1 and a number of bytes to push; 2, send what
/// can be sent. If it is odd, it chooses cuts, and the bytes of the packets follow.
///
/// # Panics
/// If a property does not hold.
pub fn mpi_stream(data: &[u8]) {
    match data.split_first() {
        Some((mode, steps)) if mode % 2 == 0 => fragments(steps),
        Some((mode, bytes)) => {
            let whole = decoded(&[bytes]);
            let cut = 1 + usize::from(*mode);
            for cut in [1, 1 + cut % 13, cut] {
                assert_eq!(decoded(&bytes.chunks(cut).collect::<Vec<_>>()), whole, "cut at {cut}");
            }
        }
        None => {}
    }
}

/// Whatever is sent where a job comes together, it is understood or not, and what is understood can
/// be sent again. The first byte chooses what follows: 0, a message of a carrier; 1, a message of
/// the launch or the end; any other, the line for a rank's standard input.
///
/// # Panics
/// If a property does not hold.
pub fn joining(data: &[u8]) {
    let Some((choice, rest)) = data.split_first() else { return };
    match choice {
        0 => {
            if let Some(message) = LinkMessage::decode(rest) {
                assert_eq!(message.encode(), rest, "one encoding");
            }
        }
        1 => {
            if let Some(session) = Session::decode(rest) {
                assert!(Session::decode(&session.encode()).is_some(), "reads its own");
            }
        }
        _ => {
            let line = String::from_utf8_lossy(rest);
            if let Ok(wire) = WireUp::of_line(&line, Duration::ZERO) {
                assert!(wire.rank().0 < wire.size());
            }
        }
    }
}

/// What can be sent at once, which is a window and a fragment of credits.
const AT_ONCE: usize = crate::fabric::mpi::stream::WINDOW as usize + 1;

fn fragments(mut steps: &[u8]) {
    let (mut stream, mut parts, mut pushed) = (FragmentStream::new(), Vec::new(), 0);
    while let Some((step, rest)) = steps.split_first() {
        steps = rest;
        match (step, rest) {
            (0, [high, low, rest @ ..]) => {
                let length = usize::from(u16::from_be_bytes([*high, *low])).min(rest.len());
                let (fragment, rest) = rest.split_at(length);
                steps = rest;
                let taken = stream.accept(fragment, |bytes| parts.push(bytes.to_vec()));
                if let Err(fault) = taken {
                    assert!(!fault.to_string().is_empty());
                    let again = stream.accept(fragment, |_| panic!("a dead stream takes nothing"));
                    assert_eq!(again, Err(fault), "a fault is for ever");
                    assert!(stream.next(0).is_none(), "a dead stream sends nothing");
                    stream.check();
                    break;
                }
            }
            (1, [length, rest @ ..]) => {
                let bytes = vec![*length; usize::from(*length).pow(2)];
                steps = rest;
                pushed += bytes.len();
                stream.push(&bytes);
            }
            (2, _) => {
                let sent: Vec<_> = std::iter::from_fn(|| stream.next(9)).collect();
                assert!(sent.len() <= AT_ONCE, "{} fragments at once", sent.len());
                assert!(sent.iter().all(|fragment| fragment.len() <= FRAGMENT));
            }
            _ => break,
        }
        stream.check();
        assert!(stream.queued() <= pushed);
    }
    decoded(&parts.iter().map(Vec::as_slice).collect::<Vec<_>>());
}

/// The packets of bytes that come in parts, and what is wrong with the rest.
fn decoded(parts: &[&[u8]]) -> (Vec<Packet>, Option<PacketError>) {
    let (mut decoder, mut came) = (PacketDecoder::new(), 0);
    let (mut packets, mut encoded) = (Vec::new(), Vec::new());
    for part in parts {
        decoder.push(part);
        came += part.len();
        loop {
            match decoder.next() {
                Ok(Some(packet)) => {
                    encode(&packet, &mut encoded);
                    packets.push(packet);
                }
                Ok(None) => break,
                Err(error) => {
                    assert!(!error.to_string().is_empty());
                    assert_eq!(decoder.next(), Err(error.clone()), "an error is for ever");
                    decoder.check(came);
                    assert!(parts.concat().starts_with(&encoded), "one encoding: {packets:?}");
                    return (packets, Some(error));
                }
            }
            decoder.check(came);
        }
    }
    assert!(parts.concat().starts_with(&encoded), "one encoding: {packets:?}");
    (packets, None)
}

#[cfg(test)]
mod tests {
    use crate::fabric::mpi::stream::FragmentStream;
    use proptest::collection::vec;
    use proptest::prelude::*;

    /// A script that takes these fragments, with a step of `step` after each.
    fn script(fragments: &[Vec<u8>], step: &[u8]) -> Vec<u8> {
        let mut data = vec![0];
        for fragment in fragments {
            data.push(0);
            data.extend_from_slice(&(fragment.len() as u16).to_be_bytes());
            data.extend_from_slice(fragment);
            data.extend_from_slice(step);
        }
        data
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_trace_or_not(data: Vec<u8>) {
            super::trace(&data);
        }

        #[test]
        fn lines_of_any_numbers(
            lines in proptest::collection::vec((any::<u64>(), any::<u64>(), ".{0,40}"), 0..20)
        ) {
            let mut text = String::new();
            for (from, to, msg) in lines {
                let line = serde_json::json!({ "t": 1.5, "from": from, "to": to, "msg": msg });
                text.push_str(&format!("{line}\n"));
            }
            super::trace(text.as_bytes());
        }

        #[test]
        fn any_bytes_of_another_rank(data: Vec<u8>) {
            super::mpi_stream(&data);
        }

        #[test]
        fn any_bytes_at_joining(data: Vec<u8>) {
            super::joining(&data);
        }

        #[test]
        fn fragments_out_of_order_cut_and_flipped(
            pushes in vec(0..3000_usize, 0..40),
            order: u64,
            spoilt in proptest::option::of((any::<usize>(), 0..40_usize, any::<u8>())),
        ) {
            let mut stream = FragmentStream::new();
            let mut rng = dunlin_base::Rng::new(order);
            for length in pushes {
                // A session of so many bytes; the last ones wait for credits that never come.
                let head = (length as u32 + 1).to_be_bytes();
                stream.push(&[&head[..], &[8], &vec![7; length]].concat());
            }
            let sent = std::iter::from_fn(|| stream.next(1)).map(|fragment| fragment.to_vec());
            let mut sent: Vec<Vec<u8>> = sent.collect();
            rng.shuffle(&mut sent);
            if let Some((which, place, bits)) = spoilt
                && let Some(byte) = sent.get_mut(which % 16).and_then(|each| each.get_mut(place))
            {
                *byte ^= bits;
            }
            super::mpi_stream(&script(&sent, &[1, 200, 2]));
        }

        #[test]
        fn any_text_is_a_fault_or_not(text in "(corrupt|die|refuse|slow|mute|x)?=?.{0,12}") {
            super::fault(&text);
        }
    }
}
