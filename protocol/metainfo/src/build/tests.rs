use super::*;
use crate::merkle::{root_of, root_over};
use dunlin_base::{BlockRef, PieceIndex, hex};
use proptest::prelude::*;
use sha1::{Digest, Sha1};
use sha2::Sha256;

/// The pattern of the specification's vectors.
fn pattern(range: std::ops::Range<u64>) -> Vec<u8> {
    range.map(|i| (i % 251) as u8).collect()
}

fn file(path: &str, length: u64) -> NewFile {
    NewFile {
        path: path.split('/').map(str::to_owned).collect(),
        length,
        executable: false,
        link: None,
    }
}

/// Hashes as whoever reads the files makes them: all files hold the pattern from its start.
fn hashes(torrent: &NewTorrent) -> NewHashes {
    let geometry = torrent.geometry();
    let mut hashes = NewHashes::default();
    for piece in (0..geometry.pieces()).map(PieceIndex) {
        let data = geometry.data_len(piece);
        let mut bytes = Vec::new();
        let mut length = 0;
        for extent in geometry.extents(BlockRef { piece, begin: 0, len: data }) {
            bytes.extend(pattern(extent.offset..extent.offset + u64::from(extent.len)));
            length = geometry.file_length(extent.file);
        }
        if torrent.format().has_v2() {
            let leaves: Vec<Node> =
                bytes.chunks(16_384).map(|block| Sha256::digest(block).into()).collect();
            let leaves_of_tree = torrent.leaves(length, data);
            hashes.roots.push(root_over(&leaves, 0, leaves_of_tree.trailing_zeros()));
        }
        if torrent.format().has_v1() {
            bytes.resize(geometry.hashed_len(piece) as usize, 0);
            hashes.pieces.push(Sha1::digest(&bytes).into());
        }
    }
    hashes
}

fn three() -> Vec<NewFile> {
    vec![file("a.bin", 100_000), file("empty", 0), file("sub/b.bin", 5000)]
}

fn folder(name: &str, files: Vec<NewFile>, piece_length: u32, format: Format) -> Torrent {
    let torrent = NewTorrent::folder(name.to_owned(), files, piece_length, format).unwrap();
    torrent.finish(&hashes(&torrent)).unwrap()
}

fn names(torrent: &Torrent) -> (String, String) {
    let v1 = torrent.hashes.v1.map(|hash| hash.to_string());
    let v2 = torrent.hashes.v2.map(|hash| hex(&hash));
    (v1.unwrap_or_default(), v2.unwrap_or_default())
}

#[test]
fn vectors_of_folders() {
    let m4 = vec![file("a.bin", 20_000), file("empty", 0), file("sub/b.bin", 5000)];
    let torrent = folder("multi", m4, 16_384, Format::V1);
    assert_eq!(names(&torrent).0, "1070539f3fb59f6e25cdf928d9f8001d94c63f3e");
    assert_eq!(torrent.info().len(), 193);
    let torrent = folder("v2multi", three(), 32_768, Format::V2);
    let expected = "8e4a09439743735d53afef841ee6206e1900611729bfe4be462c3f32d96ba3f9";
    assert_eq!(names(&torrent), (String::new(), expected.to_owned()));
    let whole = hex(&Sha256::digest(torrent.to_bytes()));
    assert_eq!(whole, "7a9486964643c5214fe3e6ab7f690cf0a0ecb6c6962072106f3d77f6c7a9d8c0");
    let torrent = folder("hybrid", three(), 32_768, Format::Hybrid);
    let (v1, v2) = names(&torrent);
    assert_eq!(v1, "6b88732f77d532e0557c4a31ad07df3bfea5a9d2");
    assert_eq!(v2, "1df43133737fab9640240068638edc15f4b37c6a1bd720711e455fe7b1761b36");
}

/// M-3, M-8 and M-11 are torrents of one file that is no pattern.
#[test]
fn vectors_of_one_file() {
    let hello = b"hello world\n";
    let hashes = |format: Format| NewHashes {
        pieces: format.has_v1().then(|| Sha1::digest(hello).into()).into_iter().collect(),
        roots: format.has_v2().then(|| Sha256::digest(hello).into()).into_iter().collect(),
    };
    let new = |format| NewTorrent::single(file("hello.txt", 12), 16_384, format).unwrap();
    let make = |format| names(&new(format).finish(&hashes(format)).unwrap());
    assert_eq!(make(Format::V1).0, "7b5e918f364908afab937ecdd84059dfb61102b7");
    let v2 = "f5c45fbdc7ab75176d3e2a6e9b00c3c6d1902ec8bff632ecf3a45a5a8145f379";
    assert_eq!(make(Format::V2).1, v2);
    let (v1, v2) = make(Format::Hybrid);
    assert_eq!(v1, "1201f46812e91f688421cd180814fbe5a366bf56");
    assert_eq!(v2, "09228e7815691a5825b1ef70178c6790bb59ed2f7550579567f36230c5e1e206");
    let private = new(Format::V1).with_private(true).finish(&hashes(Format::V1)).unwrap();
    assert_eq!(names(&private).0, "a1b5bcc0d125f7b5a0eb29a8d900f6f08092a84c");
    let source = new(Format::V1).with_source(Some("X".into()));
    let source = source.finish(&hashes(Format::V1)).unwrap();
    assert_eq!(names(&source).0, "eaccc0d0e2614a96ed6bd69a22194a8d79ba1176");
}

/// What libtorrent 2.0.8 makes of the same files, with `add_files` and `set_piece_hashes`.
#[test]
fn the_same_as_another_program() {
    let mut program = file("x.sh", 20_000);
    program.executable = true;
    let single = |format| {
        let torrent = NewTorrent::single(program.clone(), 16_384, format).unwrap();
        names(&torrent.finish(&hashes(&torrent)).unwrap())
    };
    assert_eq!(single(Format::V1).0, "47472eb286e68f3c6171baa0a642441234c2ef8f");
    let v2 = "89ca41b4757a72500b55fae6ac8f64e61ba7bba8779cd766f04fa81a96c846c0";
    assert_eq!(single(Format::V2).1, v2);
    let v2 = "2ccc561f749af2174eac372821191835615437e1d25445c13616593484c3cb0a";
    let v1 = "f1b53c796153359e2b5a788413b6417bc1adbd92";
    assert_eq!(single(Format::Hybrid), (v1.to_owned(), v2.to_owned()));
    let cases = [
        (
            "lone",
            vec![file("only.bin", 40_000)],
            "d4ac510f73f2e61100560f784228a12bff9059d4",
            "50a053fc645b25bde4188eb72d259b00af654753885cd579e9f315734e62ef4f",
        ),
        (
            "two",
            vec![file("a", 40_000), file("b", 0)],
            "0905ff3fbf5e9b036169ea01276ac8ce66528f2f",
            "0b06937dd07d55281cafefd0c9e131d4049a31eebc5fd07aef0b78def32a82f8",
        ),
        (
            "lastempty",
            vec![file("a", 40_000), file("b", 32_768), file("c", 0)],
            "44074ee0100cd7529129c832e2443c00ce708656",
            "65db61786a12968de538eeabc845a355ae8f63f16e49d7fd78978c9d7009f12d",
        ),
    ];
    for (name, files, v1, v2) in cases {
        let torrent = folder(name, files, 16_384, Format::Hybrid);
        assert_eq!(names(&torrent), (v1.to_owned(), v2.to_owned()), "{name}");
    }
    // Names beyond ASCII, hidden ones, and folders beside files of nearly the same name.
    let mut files = vec![
        file("sub.txt", 10),
        file("a.bin", 100_000),
        file("empty", 0),
        file("sub/b.bin", 5000),
        file("sub/deep/x", 70_000),
        file("Über/naïve ☃.txt", 33_000),
        file("sub/zero", 0),
        file("B upper", 16_384),
        file("a/inner", 20),
        file("z10", 1),
        file("z9", 1),
        file(".hidden", 5),
        file("日本.bin", 3),
    ];
    files[10].executable = true;
    let torrent = folder("tree", files.clone(), 16_384, Format::Hybrid);
    let v1 = "552ff8f2a90df19b688997e7e27225adda41e5f8";
    let v2 = "8e3bc1dd7519b709514453d0df340f0971002e1258ad1d9ce3b7b8d4210c67bf";
    assert_eq!(names(&torrent), (v1.to_owned(), v2.to_owned()));
    let torrent = folder("tree", files, 16_384, Format::V2);
    let v2 = "7be1a60cba736cf3bac66376100f82a34147c0b64cead2eabca08d79b2080e3e";
    assert_eq!(names(&torrent).1, v2);
}

#[test]
fn piece_lengths_nobody_chose() {
    let cases = [
        (0, 16_384),
        (1, 16_384),
        (2000 * 16_384, 16_384),
        (2000 * 16_384 + 1, 32_768),
        (1 << 30, 1 << 20),
        (1 << 40, 16 << 20),
    ];
    for (total, expected) in cases {
        assert_eq!(usual_piece_length(total), expected, "{total}");
    }
}

#[test]
fn what_cannot_be_a_torrent_is_said() {
    let folder = |files, piece| NewTorrent::folder("n".to_owned(), files, piece, Format::V1);
    let single = |path, length| NewTorrent::single(file(path, length), 16_384, Format::V2);
    let mut twice = three();
    twice.push(file("empty", 1));
    let mut inside = three();
    inside.push(file("empty/x", 1));
    let long = "n".repeat(256);
    let nameless = NewTorrent::folder(String::new(), three(), 16_384, Format::V1);
    let cases = [
        (folder(vec![], 16_384), "there are no bytes"),
        (folder(vec![file("a", 0)], 16_384), "there are no bytes"),
        (single("a", 0), "there are no bytes"),
        (folder(three(), 0), "the piece length is 0"),
        (folder(three(), 20_000), "the piece length is 20000"),
        (folder(three(), 8192), "the piece length is 8192"),
        (folder(three(), 1 << 30), "the piece length is 1073741824"),
        (folder(twice, 16_384), "`empty` stands there twice"),
        (folder(inside, 16_384), "`empty` stands there twice, or is a file and a folder"),
        (folder(vec![file("a/../b", 1)], 16_384), "`a/../b` is no path"),
        (folder(vec![file("a//b", 1)], 16_384), "`a//b` is no path"),
        (folder(vec![file(&long, 1)], 16_384), "`nnnn"),
        (nameless, "`` is no path"),
        (folder(vec![file("a", 1 << 40)], 16_384), "67108864 pieces are more than"),
        (folder(vec![file("a", u64::MAX), file("b", 1)], 16_384), "the lengths of the files add"),
    ];
    for (result, expected) in cases {
        let text = result.map_err(|error| error.to_string());
        assert!(
            text.as_ref().is_err_and(|text| text.starts_with(expected)),
            "{expected}: {text:?}"
        );
    }
    let torrent = folder(three(), 16_384).unwrap();
    let missing = torrent.finish(&NewHashes::default());
    assert!(missing.is_err_and(|error| error.to_string().starts_with("0 hashes for 7 pieces")));
}

fn files() -> impl Strategy<Value = Vec<NewFile>> {
    let file = ("[a-c]{1,2}(/[a-c]{1,2}){0,2}", 0_u64..90_000, any::<bool>());
    let file = file
        .prop_map(|(path, length, executable)| NewFile { executable, ..file_of(&path, length) });
    prop::collection::vec(file, 1..6)
}

fn file_of(path: &str, length: u64) -> NewFile {
    file(path, length)
}

proptest! {
    #[test]
    fn what_was_built_reads_back(files in files(), shift in 0_u32..3, which in 0_usize..3) {
        let format = [Format::V1, Format::V2, Format::Hybrid][which];
        let piece_length = 16_384 << shift;
        let Ok(new) = NewTorrent::folder("folder".to_owned(), files, piece_length, format) else {
            return Ok(());
        };
        let torrent = new.finish(&hashes(&new)).unwrap();
        prop_assert_eq!(&Torrent::parse(&torrent.to_bytes()).unwrap(), &torrent);
        let stored: Vec<_> = torrent.files.iter().filter(|file| !file.attributes.pad).collect();
        prop_assert_eq!(stored.len(), new.files().len());
        for (made, wanted) in stored.iter().zip(new.files()) {
            prop_assert_eq!(&made.path, &wanted.path);
            prop_assert_eq!(made.length, wanted.length);
            prop_assert_eq!(made.attributes.executable, wanted.executable);
            if let Some(root) = made.root {
                let bytes = pattern(0..wanted.length);
                let leaves: Vec<Node> =
                    bytes.chunks(16_384).map(|block| Sha256::digest(block).into()).collect();
                prop_assert_eq!(root, root_of(&leaves, 0));
            }
        }
        prop_assert_eq!(torrent.geometry(16_384).pieces(), new.geometry().pieces());
        prop_assert!(torrent.warnings.is_empty() && torrent.content(16_384).is_some());
        crate::fuzzing::metainfo(&torrent.to_bytes());
    }
}
