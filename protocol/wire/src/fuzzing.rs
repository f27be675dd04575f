//! Checks that hold for any bytes. Fuzz targets and the replay of their corpus call them.

use crate::extended::{ExtendedHandshake, MetadataMessage, read_dont_have, read_upload_only};
use crate::{
    Frame, Framer, FramerLimits, HANDSHAKE_LEN, Handshake, HandshakeDecoder, Message, PieceMode,
    WireError, encode_into,
};
use dunlin_base::BlockRef;

/// A frame that owns its bytes, the same for every mode and cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Owned {
    Handshake(Handshake),
    Message(Message),
    Piece(BlockRef, Vec<u8>),
}

/// Runs the framer over `data` in cuts of the lengths `cuts` (repeated; 0 is the rest), and returns
/// complete frames and the error that ended them.
pub(crate) fn run(
    framer: &mut Framer,
    data: &[u8],
    cuts: &[usize],
) -> (Vec<Owned>, Option<WireError>) {
    let mut frames = Vec::new();
    let mut block: Option<(BlockRef, Vec<u8>)> = None;
    let (mut rest, mut turn) = (data, 0);
    while !rest.is_empty() {
        let cut = cuts.get(turn % cuts.len().max(1)).copied().unwrap_or(0);
        turn += 1;
        let (mut input, after) =
            rest.split_at(if cut == 0 { rest.len() } else { cut.min(rest.len()) });
        rest = after;
        loop {
            if turn % 3 == 1 && framer.payload_left() > 0 {
                let (direct, after) =
                    input.split_at(input.len().min(framer.payload_left() as usize));
                framer.payload_received(direct.len() as u32);
                input = after;
                if let Some((_, bytes)) = &mut block {
                    bytes.extend_from_slice(direct);
                }
            }
            flush(framer, &mut block, &mut frames);
            match framer.next_frame(&mut input) {
                Err(error) => {
                    assert_eq!(framer.next_frame(&mut input), Err(error), "an error is for ever");
                    return (frames, Some(error));
                }
                Ok(None) => {
                    assert!(input.is_empty(), "None means that all was used");
                    break;
                }
                Ok(Some(Frame::Handshake(handshake))) => frames.push(Owned::Handshake(handshake)),
                Ok(Some(Frame::Message(message))) => frames.push(Owned::Message(message)),
                Ok(Some(Frame::Piece { range, data })) => {
                    frames.push(Owned::Piece(range, data.to_vec()));
                }
                Ok(Some(Frame::PieceHeader { range })) => {
                    assert!(block.is_none(), "a block in a block");
                    block = Some((range, Vec::new()));
                }
                Ok(Some(Frame::Payload { offset, data })) => {
                    let (_, bytes) = block.as_mut().expect("payload follows a header");
                    assert_eq!(offset as usize, bytes.len(), "payload in order");
                    bytes.extend_from_slice(data);
                }
            }
            flush(framer, &mut block, &mut frames);
        }
        flush(framer, &mut block, &mut frames);
    }
    (frames, None)
}

fn flush(framer: &Framer, block: &mut Option<(BlockRef, Vec<u8>)>, frames: &mut Vec<Owned>) {
    if framer.payload_left() == 0
        && let Some((range, bytes)) = block.take()
    {
        frames.push(Owned::Piece(range, bytes));
    }
}

/// The framer over any bytes in any cut, in both modes, and every message that comes of them. The
/// first byte chooses the limits and whether a handshake comes first, the second seeds the cuts.
///
/// # Panics
/// If a property does not hold.
pub fn wire(data: &[u8]) {
    let (Some(flags), Some(seed)) = (data.first(), data.get(1)) else { return };
    let stream = data.get(2..).unwrap_or_default();
    let limits = match flags & 1 {
        0 => FramerLimits::default(),
        _ => FramerLimits { max_block: 64, max_frame: 100, max_extended: 40, max_hashes: 49 + 64 },
    };
    let framer = |mode| match flags & 2 {
        0 => Framer::after_handshake(limits, mode),
        _ => Framer::new(limits, mode),
    };
    let seed = usize::from(*seed);
    let cuts = [1 + seed % 7, 1 + seed % 13, 1 + seed / 16, 1];
    let whole = run(&mut framer(PieceMode::Whole), stream, &[0]);
    for mode in [PieceMode::Whole, PieceMode::Direct] {
        assert_eq!(run(&mut framer(mode), stream, &cuts), whole, "{mode:?} {cuts:?}");
    }
    for frame in &whole.0 {
        check_frame(frame, limits);
    }
    check_handshake(stream);
    if let Ok(Some(message)) = Message::decode(stream) {
        check_message(&message);
    }
}

fn check_frame(frame: &Owned, limits: FramerLimits) {
    match frame {
        Owned::Handshake(handshake) => {
            assert_eq!(Handshake::decode(&handshake.encode()), Ok(*handshake));
        }
        Owned::Message(message) => check_message(message),
        Owned::Piece(range, data) => {
            assert_eq!(range.len as usize, data.len());
            assert!(range.len > 0 && range.len <= limits.max_block);
            check_message(&Message::Piece(*range));
        }
    }
}

/// Encodes and decodes: the same message.
fn check_message(message: &Message) {
    let mut bytes = Vec::new();
    encode_into(message, &mut bytes);
    if let Message::Piece(range) = message {
        bytes.resize(bytes.len() + range.len as usize, 0);
    }
    let (prefix, body) = bytes.split_at(4);
    assert_eq!(prefix, (body.len() as u32).to_be_bytes(), "{message:?}");
    assert_eq!(Message::decode(body), Ok(Some(message.clone())));
}

fn check_handshake(stream: &[u8]) {
    let mut decoder = HandshakeDecoder::default();
    let mut input = stream;
    if decoder.feed(&mut input).is_ok()
        && let Some(handshake) = decoder.handshake()
    {
        assert_eq!(stream.get(..HANDSHAKE_LEN), Some(&handshake.encode()[..]));
    }
}

/// Payloads of extensions: whatever is read from any bytes comes back the same.
///
/// # Panics
/// If a property does not hold.
pub fn extended(data: &[u8]) {
    if let Ok(handshake) = ExtendedHandshake::decode(data) {
        let again = ExtendedHandshake::decode(&handshake.encode());
        assert_eq!(again, Ok(handshake));
    }
    let payload = bytes::Bytes::copy_from_slice(data);
    if let Ok(Some(message)) = MetadataMessage::decode(&payload) {
        assert_eq!(MetadataMessage::decode(&message.encode()), Ok(Some(message)));
    }
    let _ = (read_dont_have(data), read_upload_only(data));
}

/// Bytes from hex; for tests.
///
/// # Panics
/// If `text` is not hex.
#[must_use]
pub fn from_hex(text: &str) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).expect("a hex digit") as u8;
    text.as_bytes().chunks(2).map(|two| digit(two[0]) << 4 | digit(two[1])).collect()
}
