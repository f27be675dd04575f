//! BEP 52: torrents of version 2 and hybrid ones.

use super::*;
use crate::geometry::BLOCK_LENGTH;
use crate::merkle::{piece_layer_of, root_of, root_over};
use dunlin_base::{BlockRef, FileIndex, PieceIndex, hex};
use sha2::{Digest, Sha256};

/// M-8: the info dictionary of `hello.txt` for version 2 alone.
const M8: &str = "64393a66696c65207472656564393a68656c6c6f2e74787464303a64363a6c656e6774686931326531\
    313a70696563657320726f6f7433323aa948904f2f0f479b8f8197694b30184b0d2ed1c1cd2a1ec0fb85d299a192a447\
    65656531323a6d6574612076657273696f6e693265343a6e616d65393a68656c6c6f2e74787431323a7069656365206c\
    656e6774686931363338346565";

fn value(bytes: &[u8]) -> Value {
    let limits = dunlin_bencode::Limits::MESSAGE;
    let document = dunlin_bencode::decode(bytes, dunlin_bencode::Mode::Strict, limits).unwrap();
    document.root().to_value().unwrap()
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i % 251) as u8).collect()
}

fn leaves(length: usize) -> Vec<Node> {
    let bytes = pattern(length);
    bytes.chunks(BLOCK_LENGTH as usize).map(|block| Sha256::digest(block).into()).collect()
}

fn root(length: usize) -> Node {
    root_of(&leaves(length), 0)
}

fn layer(length: usize, piece_length: u32) -> Vec<Node> {
    let height = piece_layer_of(piece_length);
    leaves(length).chunks(1 << height).map(|piece| root_over(piece, 0, height)).collect()
}

/// A leaf of the tree for the pattern of that length.
fn leaf(length: usize) -> Value {
    let mut leaf = dict([("length", int(length as i64))]);
    if length > 0 {
        leaf = with(&leaf, [("pieces root", Some(Value::Bytes(root(length).to_vec())))]);
    }
    dict([("", leaf)])
}

fn tree() -> Value {
    let sub = dict([("b.bin", leaf(5000))]);
    dict([("a.bin", leaf(100_000)), ("empty", leaf(0)), ("sub", sub)])
}

/// M-9.
fn m9() -> Value {
    dict([
        ("file tree", tree()),
        ("meta version", int(2)),
        ("name", text("v2multi")),
        ("piece length", int(32_768)),
    ])
}

fn layers() -> Value {
    let layer = layer(100_000, 32_768).concat();
    Value::Dict([(root(100_000).to_vec(), Value::Bytes(layer))].into())
}

fn whole(info: &Value, layers: &Value) -> Vec<u8> {
    dict([("info", info.clone()), ("piece layers", layers.clone())]).encode()
}

fn pad(length: i64) -> Value {
    let path = list([text(".pad"), text(&length.to_string())]);
    dict([("attr", text("p")), ("length", int(length)), ("path", path)])
}

/// M-10, without and with the padding behind the last file.
fn m10(tail: bool) -> Value {
    let mut files = vec![
        entry(100_000, ["a.bin"]),
        pad(31_072),
        entry(0, ["empty"]),
        entry(5000, ["sub", "b.bin"]),
    ];
    let last = if tail {
        files.push(pad(27_768));
        "538702566405823706176c2ba55139eb4c267a8f"
    } else {
        "e6937aa016bc06eda81d3b227fffde825d881ce5"
    };
    let pieces = format!(
        "9dbe5260858a0f960c062aa8f8d3914ff5bde25090a403ae509472973169822bf527e7a7011de7e9\
         d545625dee47575ea74059f49c10a703197969ccc5e5b04ba79bb426d444f53f8100b902fa8e9da6{last}"
    );
    with(
        &m9(),
        [
            ("files", Some(Value::List(files))),
            ("name", Some(text("hybrid"))),
            ("pieces", Some(Value::Bytes(unhex(&pieces)))),
        ],
    )
}

#[test]
fn vector_m8_single_file() {
    let info = unhex(M8);
    assert_eq!(info.len(), 150);
    let torrent = Torrent::parse_info(&info, RULES).unwrap();
    let expected = "f5c45fbdc7ab75176d3e2a6e9b00c3c6d1902ec8bff632ecf3a45a5a8145f379";
    assert_eq!(hex(&torrent.hashes.v2.unwrap()), expected);
    assert_eq!((torrent.hashes.v1, torrent.is_hybrid()), (None, false));
    assert_eq!(torrent.hashes.first().to_string(), expected[..40]);
    assert_eq!((torrent.single_file, torrent.name.as_str()), (true, "hello.txt"));
    assert_eq!(shown(&torrent), ["hello.txt 12"]);
    assert_eq!(torrent.stored_path(0).as_deref(), Some("hello.txt"));
    let content = torrent.content(BLOCK_LENGTH).unwrap();
    let root = unhex("a948904f2f0f479b8f8197694b30184b0d2ed1c1cd2a1ec0fb85d299a192a447");
    let expected = crate::ExpectedPiece::Merkle { root: root.try_into().unwrap(), leaves: 1 };
    assert_eq!(content.expected(PieceIndex(0)), Some(expected));
}

#[test]
fn vector_m9_several_files() {
    let info = m9();
    assert_eq!(info.encode().len(), 255);
    let bytes = whole(&info, &layers());
    assert_eq!(bytes.len(), 447);
    let expected = "7a9486964643c5214fe3e6ab7f690cf0a0ecb6c6962072106f3d77f6c7a9d8c0";
    assert_eq!(hex(&Sha256::digest(&bytes)), expected);
    let torrent = Torrent::parse(&bytes).unwrap();
    let expected = "8e4a09439743735d53afef841ee6206e1900611729bfe4be462c3f32d96ba3f9";
    assert_eq!(hex(&torrent.hashes.v2.unwrap()), expected);
    assert_eq!(shown(&torrent), ["a.bin 100000", "empty 0", "sub/b.bin 5000"]);
    assert_eq!(torrent.stored_path(2).as_deref(), Some("v2multi/sub/b.bin"));
    let geometry = torrent.geometry(BLOCK_LENGTH);
    assert_eq!((geometry.pieces(), geometry.total_len()), (5, 105_000));
    assert_eq!(geometry.file_pieces(FileIndex(2)), 4..5);
    assert_eq!((geometry.data_len(PieceIndex(3)), geometry.data_len(PieceIndex(4))), (1696, 5000));
    assert_eq!(torrent.to_bytes(), bytes);
    let content = torrent.content(BLOCK_LENGTH).unwrap();
    let leaves: Vec<u32> = (0..5)
        .map(|piece| match content.expected(PieceIndex(piece)) {
            Some(crate::ExpectedPiece::Merkle { leaves, .. }) => leaves,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(leaves, [2, 2, 2, 2, 1]);
    let block = BlockRef { piece: PieceIndex(4), begin: 0, len: 5000 };
    let extents: Vec<_> = geometry.extents(block).collect();
    assert_eq!((extents.len(), extents[0].file, extents[0].len), (1, FileIndex(2), 5000));
}

#[test]
fn layers_may_come_later() {
    let torrent = Torrent::parse_info(&m9().encode(), RULES).unwrap();
    let missing = torrent.layers_missing();
    let expected =
        MissingLayer { root: root(100_000), file: FileIndex(0), length: 100_000, pieces: 4 };
    assert_eq!(missing, [expected]);
    assert_eq!((torrent.content(BLOCK_LENGTH), torrent.pieces.len()), (None, 0));
    assert_eq!(torrent.tree(&root(100_000)), None);
    let small = torrent.tree(&root(5000)).unwrap();
    assert_eq!(small.layers(), 0);
    let layer = layer(100_000, 32_768);
    let with =
        |layer: &[Node]| torrent.clone().with_layers([(root(100_000), layer.to_vec())].into());
    let whole = with(&layer).unwrap();
    assert_eq!(whole.layers_missing(), []);
    assert_eq!((whole.pieces.len(), whole.tree(&root(100_000)).unwrap().layers()), (5, 3));
    assert_eq!(whole.files_with_root(&root(5000)).collect::<Vec<_>>(), [FileIndex(2)]);
    assert_eq!(Torrent::parse(&whole.to_bytes()), Ok(whole));
    let fault = |result: Result<Torrent, MetainfoError>| result.unwrap_err().to_string();
    assert!(fault(with(&layer[..3])).ends_with("it has 3 hashes, expected 4"));
    let mut other = layer.clone();
    other.swap(0, 1);
    assert!(fault(with(&other)).ends_with("its hashes have another root"));
    let small = torrent.clone().with_layers([(root(5000), vec![root(5000)])].into());
    assert!(fault(small).ends_with("no file of more than one piece has that root"));
}

#[test]
fn vector_m10_hybrid_of_several_files() {
    let cases = [
        (
            false,
            519,
            "137faadedddbb3bb13f38f05a932b6c72352e452",
            "8ae5bb2074f750f3374f0a87e1af672f2e753d53d678e51603209b41944f4ccc",
        ),
        (
            true,
            566,
            "6b88732f77d532e0557c4a31ad07df3bfea5a9d2",
            "1df43133737fab9640240068638edc15f4b37c6a1bd720711e455fe7b1761b36",
        ),
    ];
    for (tail, length, v1, v2) in cases {
        let info = m10(tail);
        assert_eq!(info.encode().len(), length);
        let torrent = Torrent::parse(&whole(&info, &layers())).unwrap();
        assert_eq!(torrent.hashes.v1.unwrap().to_string(), v1);
        assert_eq!(hex(&torrent.hashes.v2.unwrap()), v2);
        assert!(torrent.is_hybrid() && torrent.layers_missing().is_empty());
        assert_eq!(torrent.files.len(), if tail { 5 } else { 4 });
        assert_eq!(torrent.files[3].root, Some(root(5000)));
        let geometry = torrent.geometry(BLOCK_LENGTH);
        assert_eq!((geometry.pieces(), geometry.total_len()), (5, 105_000));
        let content = torrent.content(BLOCK_LENGTH).unwrap();
        let zeros: Vec<u32> = (0..5)
            .map(|piece| match content.expected(PieceIndex(piece)) {
                Some(crate::ExpectedPiece::Sha1 { zeros, .. }) => zeros,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(zeros, [0, 0, 0, 31_072, if tail { 27_768 } else { 0 }]);
        assert_eq!(Torrent::parse(&torrent.to_bytes()), Ok(torrent));
    }
}

#[test]
fn vector_m11_hybrid_of_one_file() {
    let (Value::Dict(mut hybrid), Value::Dict(v1)) = (value(&unhex(M8)), m3()) else {
        panic!("dictionaries")
    };
    hybrid.extend(v1);
    let hybrid = Value::Dict(hybrid);
    let torrent = parse(&hybrid).unwrap();
    assert!(torrent.is_hybrid() && torrent.single_file);
    let expected = "1201f46812e91f688421cd180814fbe5a366bf56";
    assert_eq!(torrent.hashes.first().to_string(), expected);
    let expected = "09228e7815691a5825b1ef70178c6790bb59ed2f7550579567f36230c5e1e206";
    assert_eq!(hex(&torrent.hashes.v2.unwrap()), expected);
    let newer = with(&hybrid, [("meta version", Some(int(3)))]);
    assert_eq!(parse(&newer), Err(MetainfoError::NewerVersion(3)));
    for key in ["meta version", "file tree"] {
        let half = with(&hybrid, [(key, None)]);
        assert_eq!(parse(&half), Err(MetainfoError::HalfV2), "{key}");
    }
}

#[test]
fn a_tree_of_one_file_with_another_name_is_a_folder() {
    let info = with(&value(&unhex(M8)), [("name", Some(text("greetings")))]);
    let torrent = parse(&info).unwrap();
    assert!(!torrent.single_file);
    assert_eq!(torrent.stored_path(0).as_deref(), Some("greetings/hello.txt"));
}

#[test]
fn names_in_trees_are_made_safe_too() {
    let tree = dict([("..", leaf(3)), ("_", leaf(4)), ("a\0b", dict([("x/y", leaf(5))]))]);
    let torrent = parse(&with(&m9(), [("file tree", Some(tree))])).unwrap();
    assert_eq!(shown(&torrent), ["_.1 3", "_ 4", "a_b/xy 5"]);
    assert_eq!(
        torrent.warnings,
        ["the name `..` was changed to `_.1`", "the name `a\\u{0}b/x/y` was changed to `a_b/xy`",]
    );
}

#[test]
fn trees_that_contradict_themselves_are_refused() {
    let with_tree = |tree: Value| parse(&with(&m9(), [("file tree", Some(tree))]));
    let one = |leaf: Value| with_tree(dict([("f", dict([("", leaf)]))]));
    let file = |length: i64, root: &[u8]| {
        dict([("length", int(length)), ("pieces root", Value::Bytes(root.to_vec()))])
    };
    let mut deep = leaf(1);
    for _ in 0..45 {
        deep = dict([("d", deep)]);
    }
    assert!(with_tree(deep.clone()).is_ok());
    for _ in 0..60 {
        deep = dict([("d", deep)]);
    }
    let both = dict([("f", with(&leaf(1), [("x", Some(leaf(1)))]))]);
    let twins =
        dict([("f", dict([("", file(5, &[1; 32]))])), ("g", dict([("", file(6, &[1; 32]))]))]);
    let cases = [
        (with_tree(leaf(5)), "the file tree is wrong at ``: the root of the tree is a file"),
        (with_tree(int(1)), "key `file tree` of the torrent is absent or wrong"),
        (with_tree(dict([])), "the torrent holds no bytes at all"),
        (with_tree(dict([("f", int(1))])), "the file tree is wrong at `f`: expected a dictionary"),
        (with_tree(both), "the file tree is wrong at `f`: a file and a folder at once"),
        (with_tree(deep), "the torrent is damaged: bencode nests deeper than 100"),
        (with_tree(twins), "the file tree is wrong at `g`: another file of another length"),
        (one(int(1)), "the file tree is wrong at `f`: expected a dictionary for the file"),
        (one(dict([])), "the file tree is wrong at `f`: expected a `length`"),
        (one(file(-1, &[1; 32])), "the file tree is wrong at `f`: expected a `length`"),
        (one(dict([("length", int(5))])), "the file tree is wrong at `f`: expected a `pieces root"),
        (one(file(5, &[1; 31])), "the file tree is wrong at `f`: expected a `pieces root`"),
        (one(file(5, &[0; 32])), "the file tree is wrong at `f`: expected a `pieces root`"),
        (one(file(0, &[1; 32])), "the file tree is wrong at `f`: an empty file with a"),
        (
            one(with(&file(5, &[1; 32]), [("attr", Some(text("p")))])),
            "the file tree is wrong at `f`: padding",
        ),
        (one(file(i64::MAX, &[1; 32])), "281474976710656 pieces are more than 2097152"),
        (
            with_tree(dict([
                ("f", dict([("", file(i64::MAX, &[1; 32]))])),
                ("g", dict([("", file(i64::MAX, &[2; 32]))])),
                ("h", dict([("", file(i64::MAX, &[3; 32]))])),
            ])),
            "the lengths of the files add up to more than 2^64 bytes",
        ),
    ];
    for (result, expected) in cases {
        let text = result.map_err(|error| error.to_string());
        assert!(
            text.as_ref().is_err_and(|text| text.starts_with(expected)),
            "{expected}: {text:?}"
        );
    }
    for (length, good) in [(16_384, true), (16_383, false), (8192, false), (49_152, false)] {
        let result = parse(&with(&m9(), [("piece length", Some(int(length)))]));
        assert_eq!(result.is_ok(), good, "{length}");
        assert!(good || result == Err(MetainfoError::PieceLengthV2(length as u32)));
    }
}

#[test]
fn a_tree_that_repeats_long_folders_is_refused() {
    let mut folder =
        Value::Dict((0..16_000).map(|i| (format!("{i:05}").into(), leaf(0))).collect());
    for _ in 0..60 {
        folder =
            dict([("a folder with a name as long as folders have it, to fill memory", folder)]);
    }
    let result = parse(&with(&m9(), [("file tree", Some(folder))]));
    assert_eq!(result, Err(MetainfoError::PathsTooLong { limit: 64 << 20 }));
}

#[test]
fn layers_that_contradict_the_tree_are_refused() {
    let root_of_a = root(100_000).to_vec();
    let good = layer(100_000, 32_768).concat();
    let read = |key: Vec<u8>, value: Value| {
        Torrent::parse(&whole(&m9(), &Value::Dict([(key, value)].into())))
    };
    let bytes = |bytes: &[u8]| Value::Bytes(bytes.to_vec());
    let mut wrong = good.clone();
    wrong[0] ^= 1;
    let cases = [
        (read(root_of_a.clone(), bytes(&wrong)), "its hashes have another root"),
        (read(root_of_a.clone(), bytes(&good[..96])), "it has 3 hashes, expected 4"),
        (read(root_of_a.clone(), bytes(&good[..97])), "expected hashes of 32 bytes each"),
        (read(root_of_a.clone(), int(1)), "expected a byte string of hashes"),
        (read(root_of_a[..31].to_vec(), bytes(&good)), "a root has 32 bytes"),
        (read(vec![1; 32], bytes(&good)), "no file of more than one piece has that root"),
        (read(root(5000).to_vec(), bytes(&root(5000))), "no file of more than one piece"),
    ];
    for (result, expected) in cases {
        let text = result.map_err(|error| error.to_string());
        assert!(text.as_ref().is_err_and(|text| text.contains(expected)), "{expected}: {text:?}");
    }
}

#[test]
fn hybrids_whose_halves_disagree_are_refused() {
    let files = |files: Vec<Value>, bytes: i64| {
        let pieces = vec![7; (bytes as u64).div_ceil(32_768) as usize * 20];
        let pieces = Some(Value::Bytes(pieces));
        parse(&with(&m10(false), [("files", Some(Value::List(files))), ("pieces", pieces)]))
    };
    let (a, pad_a) = (entry(100_000, ["a.bin"]), pad(31_072));
    let (empty, b) = (entry(0, ["empty"]), entry(5000, ["sub", "b.bin"]));
    let all = |a: &Value, pad: &Value, empty: &Value, b: &Value| {
        vec![a.clone(), pad.clone(), empty.clone(), b.clone()]
    };
    assert!(files(all(&a, &pad_a, &empty, &b), 136_072).is_ok());
    let cases = [
        (
            files(all(&entry(99_999, ["a.bin"]), &pad(31_073), &empty, &b), 136_072),
            "`a.bin` has 99999 bytes in one and 100000 in the other",
        ),
        (
            files(all(&entry(100_000, ["A.bin"]), &pad_a, &empty, &b), 136_072),
            "`A.bin` stands where the file tree has `a.bin`",
        ),
        (files(all(&a, &pad_a, &b, &empty), 136_072), "`sub/b.bin` stands where"),
        (
            files(all(&a, &empty, &b, &pad_a), 136_072),
            "`sub/b.bin` does not begin at the start of a piece",
        ),
        (
            files(vec![a.clone(), pad_a.clone(), empty.clone()], 131_072),
            "`sub/b.bin` is in the file tree only",
        ),
        (
            files(
                [all(&a, &pad_a, &empty, &b), vec![pad(27_768), entry(1, ["c"])]].concat(),
                163_841,
            ),
            "`c` is in the list of files only",
        ),
        (
            files(all(&a, &pad(31_072 + 32_768), &empty, &b), 168_840),
            "there is more padding than the last piece of a file needs",
        ),
        (
            parse(&with(&m10(false), [("files", None), ("length", Some(int(105_000)))])),
            "`hybrid` stands where the file tree has `a.bin`",
        ),
    ];
    for (result, expected) in cases {
        let text = result.map_err(|error| error.to_string());
        assert!(text.as_ref().is_err_and(|text| text.contains(expected)), "{expected}: {text:?}");
    }
}

#[test]
fn hybrids_whose_halves_disagree_about_a_link_are_refused() {
    let to = |target: &str| Some(list([text("sub"), text(target)]));
    let link = |attr: &str, target: Option<Value>| {
        let attr = Some(text(attr)).filter(|attr| *attr != text(""));
        with(&dict([]), [("attr", attr), ("symlink path", target)])
    };
    let read = |listed: &Value, leaf: &Value| {
        let part = |entry: &Value| match entry {
            Value::Dict(entries) => entries.clone(),
            _ => unreachable!("a dictionary"),
        };
        let mut file = part(&entry(0, ["zlink"]));
        file.extend(part(listed));
        let mut leaf = part(leaf);
        leaf.insert(b"length".to_vec(), int(0));
        let tree = with(&tree(), [("zlink", Some(dict([("", Value::Dict(leaf))])))]);
        let files = vec![
            entry(100_000, ["a.bin"]),
            pad(31_072),
            entry(0, ["empty"]),
            entry(5000, ["sub", "b.bin"]),
            Value::Dict(file),
        ];
        parse(&with(&m10(false), [("files", Some(Value::List(files))), ("file tree", Some(tree))]))
    };
    let one = link("l", to("b.bin"));
    assert!(read(&one, &one).is_ok());
    // Who may run a file is no part of what it holds, and not every program writes it twice.
    assert!(read(&link("lx", to("b.bin")), &one).is_ok());
    let cases = [
        (read(&one, &link("", None)), "`zlink` is a link in one and a file in the other"),
        (read(&link("", None), &one), "`zlink` is a link in one and a file in the other"),
        (read(&one, &link("l", to("c"))), "the link `zlink` leads elsewhere in one"),
        (read(&link("l", None), &one), "the link `zlink` leads elsewhere in one"),
    ];
    for (result, expected) in cases {
        let text = result.map_err(|error| error.to_string());
        assert!(text.as_ref().is_err_and(|text| text.contains(expected)), "{expected}: {text:?}");
    }
}

#[test]
fn links_in_a_tree() {
    let link = |target: Value| dict([("", dict([("attr", text("l")), ("symlink path", target)]))]);
    let torrent = |target: Value| {
        let tree = with(&tree(), [("zlink", Some(link(target)))]);
        parse(&with(&m9(), [("file tree", Some(tree))]))
    };
    let inside = torrent(list([text("sub"), text("b.bin")])).unwrap();
    assert_eq!(shown(&inside)[3], "zlink 0 l -> sub/b.bin");
    let nothing = torrent(list([text("nowhere")])).unwrap();
    assert_eq!(nothing.files[3].target, None);
    assert_eq!(nothing.warnings.len(), 1);
    for outside in [
        list([text(".."), text("etc")]),
        list([text("sub"), text(".."), text("..")]),
        list([text(""), text("etc")]),
        list([text("/etc/passwd")]),
        list([text("sub/../../x")]),
    ] {
        let error = torrent(outside.clone()).unwrap_err();
        assert!(matches!(error, MetainfoError::LinkLeaves { .. }), "{outside:?}: {error}");
    }
}
