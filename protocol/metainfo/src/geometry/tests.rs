use super::*;
use proptest::prelude::*;

fn contiguous(piece: u32, block: u32, lengths: &[u64]) -> Geometry {
    Geometry::contiguous(piece, block, lengths).unwrap()
}

fn aligned(piece: u32, block: u32, lengths: &[u64]) -> Geometry {
    Geometry::aligned(piece, block, lengths).unwrap()
}

/// Every piece as `hashed/data:file@offset+len,…|…`, one group a block.
fn drawn(geometry: &Geometry) -> Vec<String> {
    let piece = |p: PieceIndex| {
        let blocks = (0..geometry.blocks(p)).map(|index| {
            let parts = geometry.extents(geometry.block(p, index));
            let parts = parts.map(|e| format!("{}@{}+{}", e.file.0, e.offset, e.len));
            parts.collect::<Vec<_>>().join(",")
        });
        let blocks = blocks.collect::<Vec<_>>().join("|");
        format!("{}/{}:{blocks}", geometry.hashed_len(p), geometry.data_len(p))
    };
    (0..geometry.pieces()).map(|p| piece(PieceIndex(p))).collect()
}

#[test]
fn files_share_pieces_in_the_classic_layout() {
    let geometry = contiguous(8, 3, &[10, 0, 5, 4]);
    let expected = ["8/8:0@0+3|0@3+3|0@6+2", "8/8:0@8+2,2@0+1|2@1+3|2@4+1,3@0+1", "3/3:3@1+3"];
    assert_eq!(drawn(&geometry), expected);
    assert_eq!(
        (0..4).map(|f| geometry.file_pieces(FileIndex(f))).collect::<Vec<_>>(),
        [0..2, 0..0, 1..2, 1..3]
    );
    assert_eq!(
        (0..3).map(|p| geometry.piece_files(PieceIndex(p))).collect::<Vec<_>>(),
        [0..1, 0..4, 3..4]
    );
    assert_eq!((geometry.total_len(), geometry.files()), (19, 4));
    assert_eq!([0, 1, 2, 3, 4].map(|f| geometry.file_start(FileIndex(f))), [0, 10, 10, 15, 19]);
}

#[test]
fn files_begin_pieces_in_the_aligned_layout() {
    let geometry = aligned(8, 3, &[10, 0, 8, 1]);
    let expected = ["8/8:0@0+3|0@3+3|0@6+2", "8/2:0@8+2", "8/8:2@0+3|2@3+3|2@6+2", "8/1:3@0+1"];
    assert_eq!(drawn(&geometry), expected);
    assert_eq!(
        (0..5).map(|f| geometry.file_pieces(FileIndex(f))).collect::<Vec<_>>(),
        [0..2, 0..0, 2..3, 3..4, 0..0]
    );
    assert_eq!(geometry.piece_files(PieceIndex(1)), 0..1);
    assert_eq!((geometry.total_len(), geometry.files()), (19, 4));
    assert_eq!(geometry.file_length(FileIndex(2)), 8);
    assert_eq!([0, 2, 3].map(|f| geometry.file_start(FileIndex(f))), [0, 16, 24]);
}

#[test]
fn listed_padding_is_an_empty_file() {
    let entry = |length, pad| Entry { length, pad };
    let entries = [entry(5, false), entry(3, true), entry(2, false), entry(4, true)];
    let geometry = Geometry::padded(8, 8, &entries).unwrap();
    assert_eq!(drawn(&geometry), ["8/5:0@0+5", "6/2:2@0+2"]);
    let middle = [entry(2, false), entry(3, true), entry(2, false), entry(17, true)];
    let geometry = Geometry::padded(8, 8, &middle).unwrap();
    assert_eq!(drawn(&geometry), ["8/7:0@0+2,2@0+2", "8/8:", "8/8:"]);
    assert_eq!(geometry.piece_files(PieceIndex(1)), 0..0);
    assert_eq!(geometry.file_length(FileIndex(1)), 0);
}

#[test]
fn tokens_are_pieces_of_one() {
    let geometry = Geometry::tokens(3).unwrap();
    assert_eq!(drawn(&geometry), ["1/1:0@0+1", "1/1:0@1+1", "1/1:0@2+1"]);
    let none = Geometry::tokens(0).unwrap();
    assert_eq!((none.pieces(), none.files(), none.piece(0)), (0, 1, None));
    assert!(Geometry::tokens(MAX_PIECES + 1).is_err());
}

#[test]
fn what_is_no_geometry() {
    use GeometryError::*;
    assert_eq!(Geometry::contiguous(0, 1, &[1]), Err(PieceLength));
    assert_eq!(Geometry::aligned(0, 1, &[1]), Err(PieceLength));
    assert_eq!(Geometry::aligned(1, 0, &[1]), Err(BlockLength));
    assert_eq!(Geometry::contiguous(8, 8, &[u64::MAX, 1]), Err(Overflow));
    assert_eq!(Geometry::aligned(8, 8, &[u64::MAX]), Err(Overflow));
    let pieces = u64::from(MAX_PIECES) + 1;
    assert_eq!(Geometry::contiguous(2, 2, &[pieces * 2]), Err(TooManyPieces { pieces }));
    assert_eq!(contiguous(2, 2, &[pieces * 2 - 2]).pieces(), MAX_PIECES);
    assert_eq!(aligned(4, 4, &[]).pieces(), 0);
    assert_eq!(contiguous(4, 4, &[0, 0]).pieces(), 0);
}

#[test]
fn requests_from_the_wire() {
    let geometry = aligned(65_536, 16_384, &[70_000]);
    let cases = [
        (0, 0, 16_384, true),
        (0, 100, 7, true),
        (0, 0, 16_385, false),
        (0, 65_535, 1, true),
        (0, 65_535, 2, false),
        (0, 0, 0, false),
        (1, 0, 4_464, true),
        // The rest of the block in which the file ends is padding.
        (1, 0, 16_384, true),
        (1, 4_464, 1, true),
        (1, 0, 16_385, false),
        (1, 16_384, 1, false),
        (2, 0, 1, false),
        (0, u32::MAX, 1, false),
        (0, u32::MAX, u32::MAX, false),
        (u32::MAX, 0, 1, false),
    ];
    let block = |piece, begin, len| BlockRef { piece: PieceIndex(piece), begin, len };
    for (piece, begin, len, good) in cases {
        let block = block(piece, begin, len);
        assert_eq!(geometry.check_request(block), good, "{block:?}");
    }
    let bare = Geometry::contiguous(65_536, 16_384, &[70_000]).unwrap();
    assert!(bare.check_request(block(1, 0, 4_464)), "all there is");
    assert!(!bare.check_request(block(1, 0, 16_384)), "nothing follows the end of version 1");
    let large = aligned(1 << 20, 1 << 18, &[1 << 20]);
    assert!(large.check_request(block(0, 0, 1 << 18)));
    let tokens = Geometry::tokens(2).unwrap();
    assert!(tokens.check_request(block(1, 0, 1)) && !tokens.check_request(block(1, 0, 2)));
}

#[test]
fn only_our_own_blocks_have_an_index() {
    let geometry = aligned(8, 3, &[10]);
    let index =
        |piece, begin, len| geometry.block_index(BlockRef { piece: PieceIndex(piece), begin, len });
    assert_eq!((index(0, 0, 3), index(0, 3, 3), index(0, 6, 2)), (Some(0), Some(1), Some(2)));
    assert_eq!((index(1, 0, 2), index(1, 0, 3), index(0, 6, 3)), (Some(0), None, None));
    assert_eq!(
        (index(0, 1, 3), index(0, 8, 0), index(0, 9, 3), index(2, 0, 3)),
        (None, None, None, None)
    );
}

#[test]
fn an_unknown_piece_is_empty() {
    let geometry = contiguous(8, 3, &[10]);
    let past = PieceIndex(7);
    assert_eq!((geometry.hashed_len(past), geometry.data_len(past)), (0, 0));
    assert_eq!((geometry.blocks(past), geometry.piece_files(past)), (0, 0..0));
}

/// Each byte of the stream as (file, offset), or `None` for padding.
type Stream = Vec<Option<(u32, u64)>>;

fn stream(entries: &[Entry]) -> Stream {
    let mut stream = Stream::new();
    for (file, entry) in entries.iter().enumerate() {
        let at = |offset| (!entry.pad).then_some((file as u32, offset));
        stream.extend((0..entry.length).map(at));
    }
    stream
}

/// Compares everything the geometry says with the stream written out byte by byte.
fn agrees(geometry: &Geometry, stream: &Stream) -> Result<(), TestCaseError> {
    let unit = geometry.piece_length() as usize;
    prop_assert_eq!(geometry.pieces() as usize, stream.len().div_ceil(unit));
    let data = stream.iter().flatten().count() as u64;
    prop_assert_eq!(geometry.total_len(), data);
    for (index, bytes) in stream.chunks(unit).enumerate() {
        let piece = PieceIndex(index as u32);
        prop_assert_eq!(geometry.hashed_len(piece) as usize, bytes.len());
        let kept = bytes.iter().rposition(|byte| byte.is_some()).map_or(bytes.len(), |at| at + 1);
        prop_assert_eq!(geometry.data_len(piece) as usize, kept);
        let mut covered = 0;
        for block in 0..geometry.blocks(piece) {
            let block_ref = geometry.block(piece, block);
            prop_assert_eq!(geometry.block_index(block_ref), Some(block));
            prop_assert_eq!(block_ref.begin, covered);
            covered += block_ref.len;
            let range = block_ref.begin as usize..covered as usize;
            let mut expected = bytes[range].iter().flatten().copied();
            for extent in geometry.extents(block_ref) {
                prop_assert!(extent.len > 0);
                for offset in extent.offset..extent.offset + u64::from(extent.len) {
                    prop_assert_eq!(expected.next(), Some((extent.file.0, offset)));
                }
            }
            prop_assert_eq!(expected.next(), None);
        }
        prop_assert_eq!(covered as usize, kept);
        let files: Vec<u32> = bytes.iter().flatten().map(|(file, _)| *file).collect();
        let range = files.first().map_or(0..0, |first| *first..files[files.len() - 1] + 1);
        prop_assert_eq!(geometry.piece_files(piece), range);
    }
    for file in 0..geometry.files() {
        let holds = |byte: &Option<(u32, u64)>| byte.is_some_and(|(other, _)| other == file);
        let first = stream.iter().position(holds).map(|at| at / unit);
        let last = stream.iter().rposition(holds).map(|at| at / unit + 1);
        let range = first.unwrap_or(0) as u32..last.unwrap_or(0) as u32;
        prop_assert_eq!(geometry.file_pieces(FileIndex(file)), range);
    }
    Ok(())
}

proptest! {
    #[test]
    fn padded_layouts_agree_with_the_stream(
        piece in 1_u32..20, block in 1_u32..25,
        files in prop::collection::vec((0_u64..30, any::<bool>()), 0..12),
    ) {
        let entries: Vec<Entry> =
            files.into_iter().map(|(length, pad)| Entry { length, pad }).collect();
        let geometry = Geometry::padded(piece, block, &entries).unwrap();
        agrees(&geometry, &stream(&entries))?;
        let lengths: Vec<u64> = entries.iter().map(|entry| entry.length).collect();
        let plain: Vec<Entry> =
            lengths.iter().map(|length| Entry { length: *length, pad: false }).collect();
        agrees(&contiguous(piece, block, &lengths), &stream(&plain))?;
    }

    #[test]
    fn aligned_layouts_agree_with_the_stream(
        piece in 1_u32..20, block in 1_u32..25,
        lengths in prop::collection::vec(0_u64..30, 0..12),
    ) {
        let mut stream = Stream::new();
        for (file, length) in lengths.iter().enumerate() {
            stream.extend((0..*length).map(|offset| Some((file as u32, offset))));
            stream.resize(stream.len().next_multiple_of(piece as usize), None);
        }
        agrees(&aligned(piece, block, &lengths), &stream)?;
    }

    #[test]
    fn any_request_is_answered_within_the_piece(
        piece in 0_u32..4, begin in any::<u32>(), len in any::<u32>(), near in 0_u32..40,
    ) {
        let geometry = aligned(16, 4, &[20, 7]);
        for (begin, len) in [(begin, len), (near, len), (near, near)] {
            let block = BlockRef { piece: PieceIndex(piece), begin, len };
            if geometry.check_request(block) {
                prop_assert!(block.begin + block.len <= geometry.served_len(block.piece));
                let bytes: u32 = geometry.extents(block).map(|extent| extent.len).sum();
                let end = (block.begin + block.len).min(geometry.data_len(block.piece));
                prop_assert_eq!(bytes, end.saturating_sub(block.begin), "the rest is padding");
            }
        }
    }
}
