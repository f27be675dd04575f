use super::*;
use crate::torrent::Torrent;
use proptest::prelude::*;

fn files(list: &[(&str, u64)]) -> Vec<SetFile> {
    list.iter()
        .map(|(name, length)| SetFile { name: (*name).to_owned(), length: *length })
        .collect()
}

fn sha1(count: u8) -> PieceHashes {
    PieceHashes::Sha1((0..count).map(|byte| [byte; 20]).collect())
}

fn tokens(list: &[&'static str]) -> PieceHashes {
    PieceHashes::Tokens(list.iter().map(|token| Bytes::from(*token)).collect())
}

#[test]
fn hashes_are_cut_compared_and_shown() {
    let all = sha1(5);
    assert_eq!(all.slice(1..3).display(0), "01".repeat(20));
    assert_eq!((all.slice(4..9).len(), all.slice(7..9).len()), (1, 0));
    #[allow(clippy::reversed_empty_ranges, reason = "a range from the wire may be reversed")]
    let reversed = all.slice(3..1);
    assert!(reversed.is_empty());
    assert_eq!(all.display(5), "-");
    let words = tokens(&["a", "b", "c"]);
    assert_eq!((words.display(1).as_str(), words.kind()), ("b", HashKind::Token));
    let cases = [
        (&words, tokens(&["a", "b", "c"]), None),
        (&words, tokens(&["a", "x", "c"]), Some(1)),
        (&words, tokens(&["a", "b"]), Some(2)),
        (&words, tokens(&["a", "b", "c", "d"]), Some(3)),
        (&words, sha1(3), Some(0)),
        (&all, sha1(6), Some(5)),
    ];
    for (ours, theirs, expected) in cases {
        assert_eq!(ours.first_difference(&theirs), expected, "{theirs:?}");
    }
}

#[test]
fn a_set_is_a_genuine_torrent() {
    let list = files(&[("b/two.bin", 20_000), ("empty", 0), ("a.bin", 16_384), ("z", 1)]);
    let set = SetInfo::new(HashKind::Sha1, 16_384, list, sha1(4)).unwrap();
    let dict = set.info_dict().unwrap();
    let torrent = Torrent::parse_info(&dict, crate::PathRules::default()).unwrap();
    assert_eq!(torrent.hashes.first(), set.info_hash());
    assert_eq!((torrent.name.as_str(), torrent.single_file), ("set", false));
    assert_eq!((torrent.piece_length, &torrent.pieces), (16_384, &set.hashes));
    let shown: Vec<_> = torrent
        .files
        .iter()
        .map(|file| (file.path.join("/"), file.length, file.attributes.pad))
        .collect();
    let expected = [
        ("b/two.bin", 20_000, false),
        (".pad/12768", 12_768, true),
        ("empty", 0, false),
        ("a.bin", 16_384, false),
        ("z", 1, false),
        (".pad/16383", 16_383, true),
    ];
    assert_eq!(shown, expected.map(|(path, length, pad)| (path.to_owned(), length, pad)));
    let (ours, theirs) = (set.geometry(16_384), torrent.geometry(16_384));
    for piece in (0..4).map(dunlin_base::PieceIndex) {
        assert_eq!(ours.hashed_len(piece), theirs.hashed_len(piece));
        assert_eq!(ours.data_len(piece), theirs.data_len(piece));
    }
}

#[test]
fn files_are_found_by_name_with_their_hashes() {
    let list = files(&[("b", 20_000), ("e", 0), ("a/x", 16_384), ("z", 1), ("f", 0)]);
    let set = SetInfo::new(HashKind::Sha1, 16_384, list, sha1(4)).unwrap();
    let found = |name: &str| {
        let file = set.file_named(name)?;
        let hashes = set.file_hashes(file);
        Some((file.0, (0..hashes.len()).map(|i| hashes.display(i)[..2].to_owned()).collect()))
    };
    let two =
        |list: &[&str]| -> Vec<String> { list.iter().map(|text| (*text).to_owned()).collect() };
    assert_eq!(found("b"), Some((0, two(&["00", "01"]))));
    assert_eq!(found("e"), Some((1, two(&[]))));
    assert_eq!(found("a/x"), Some((2, two(&["02"]))));
    assert_eq!(found("z"), Some((3, two(&["03"]))));
    assert_eq!(found("f"), Some((4, two(&[]))));
    assert_eq!(found("a"), None);
    assert!(set.file_hashes(FileIndex(5)).is_empty());
}

#[test]
fn a_token_set() {
    let list = files(&[("file1", 3)]);
    let words = tokens(&["x", "y", "x"]);
    let set = SetInfo::new(HashKind::Token, 1, list, words).unwrap();
    assert_eq!(set.info_dict(), None);
    let hashed = ["x", "y", "x"].map(Bytes::from);
    assert_eq!(set.info_hash(), token_info_hash("file1", &hashed));
    assert_eq!(set.geometry(16_384), Geometry::tokens(3).unwrap());
    let empty = SetInfo::new(HashKind::Token, 1, files(&[("none", 0)]), tokens(&[])).unwrap();
    assert_eq!(empty.geometry(1).pieces(), 0);
    assert_eq!(empty.file_hashes(FileIndex(0)), tokens(&[]));
}

#[test]
fn what_does_not_fit_is_refused() {
    let new = |kind, piece, list: &[(&str, u64)], hashes| {
        SetInfo::new(kind, piece, files(list), hashes).map_err(|error| error.to_string())
    };
    let (bytes, token) = (HashKind::Sha1, HashKind::Token);
    let cases = [
        (new(bytes, 16, &[("a", 17)], sha1(1)), "1 piece hashes, expected 2 for the lengths"),
        (new(bytes, 16, &[("a", 17), ("a", 0)], sha1(2)), "`a` is listed twice"),
        (
            new(bytes, 16, &[("a", 0), ("a-", 0), ("a/b/c", 0)], sha1(0)),
            "`a` is a file and a folder",
        ),
        (new(bytes, 16, &[("a/../b", 17)], sha1(2)), "`a/../b` has a component `.` or `..`"),
        (new(bytes, 16, &[("a", 3)], tokens(&["x"])), "piece hashes of kind Token, expected Sha1"),
        (new(bytes, 0, &[("a", 3)], sha1(1)), "the piece length is 0"),
        (new(bytes, 1, &[("a", u64::MAX)], sha1(1)), "18446744073709551615 pieces are more"),
        (new(token, 1, &[("a", 1)], sha1(1)), "piece hashes of kind Sha1, expected Token"),
        (new(token, 2, &[("a", 1)], tokens(&["x"])), "1 token files with piece length 2"),
        (new(token, 1, &[("a", 1), ("b", 0)], tokens(&["x"])), "2 token files with piece"),
        (new(token, 1, &[("a", 2)], tokens(&["x"])), "1 piece hashes, expected 2"),
        (new(token, 1, &[("a", 1)], tokens(&["x y"])), "token 0 of `a`: ' ' at byte 1"),
    ];
    for (result, expected) in cases {
        assert!(result.as_ref().is_err_and(|text| text.starts_with(expected)), "{result:?}");
    }
}

#[test]
fn piece_lengths() {
    const MIB: u64 = 1 << 20;
    let cases = [
        (0, 16_384),
        (1, 16_384),
        (8 * MIB, 16_384),
        (16 * MIB - 16_384, 32_768),
        (16 * MIB, 32_768),
        (300 * MIB, 1 << 19),
        (2047 * MIB, 4 << 20),
        (2048 * MIB, 4 << 20),
        (1 << 40, 4 << 20),
        (u64::MAX, 4 << 20),
    ];
    for (length, expected) in cases {
        assert_eq!(piece_length_for(length, None), expected, "{length}");
        let pieces = length.div_ceil(u64::from(expected));
        assert!(pieces >= 512 || expected == 16_384, "{length}");
    }
    assert_eq!(piece_length_for(1 << 40, Some(16_384)), 16_384);
    assert_eq!(check_piece_length(16_384), Ok(16_384));
    assert_eq!(check_piece_length(64 << 20), Ok(64 << 20));
    for bad in [0, 1, 8_192, 16_385, 49_152, 128 << 20, 1 << 40, u64::MAX] {
        assert_eq!(check_piece_length(bad), Err(SetError::PieceLength(bad)));
    }
    let most = CLUSTER_BLOCK_LENGTH;
    assert_eq!(cluster_block_length(16_384, most), 16_384);
    assert_eq!(cluster_block_length(4 << 20, most), 524_288);
    for good in [128 << 10, 256 << 10, 512 << 10, 1 << 20] {
        assert_eq!(check_cluster_block_length(good), Ok(good as u32));
    }
    for bad in [0, 64 << 10, 200_000, 2 << 20, u64::MAX] {
        assert_eq!(check_cluster_block_length(bad), Err(SetError::BlockLength(bad)));
    }
}

proptest! {
    #[test]
    fn hashes_of_the_files_are_the_hashes_of_the_set(
        lengths in prop::collection::vec(0_u64..70, 1..10),
    ) {
        let file = |(index, length): (usize, &u64)| {
            SetFile { name: format!("d/{index}"), length: *length }
        };
        let list: Vec<SetFile> = lengths.iter().enumerate().map(file).collect();
        let pieces: u64 = lengths.iter().map(|length| length.div_ceil(16)).sum();
        let set = SetInfo::new(HashKind::Sha1, 16, list, sha1(pieces as u8)).unwrap();
        let mut next = 0;
        for (index, length) in lengths.iter().enumerate() {
            prop_assert_eq!(set.file_named(&format!("d/{index}")), Some(FileIndex(index as u32)));
            let hashes = set.file_hashes(FileIndex(index as u32));
            prop_assert_eq!(hashes.len() as u64, length.div_ceil(16));
            prop_assert_eq!(&hashes, &set.hashes.slice(next..next + hashes.len()));
            next += hashes.len();
        }
        prop_assert_eq!(next, set.hashes.len());
        if pieces > 0 {
            let dict = set.info_dict().unwrap();
            let torrent = Torrent::parse_info(&dict, crate::PathRules::default()).unwrap();
            prop_assert_eq!(torrent.hashes.first(), set.info_hash());
        }
    }
}
