use super::*;
use crate::piece_hashes::HashKind;
use dunlin_bencode::Value;
use proptest::prelude::*;

mod version_2;

const RULES: PathRules = PathRules { windows: false, fold_case: false };

/// M-3: the info dictionary of `hello.txt`, 12 bytes.
const M3: &str = "64363a6c656e67746869313265343a6e616d65393a68656c6c6f2e74787431323a7069656365\
    206c656e67746869313633383465363a70696563657332303a22596363b3de40b06f981fb85d82312e8c0ed51165";

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|byte| byte.is_ascii_hexdigit()).collect();
    let digit = |byte: u8| char::from(byte).to_digit(16).unwrap() as u8;
    digits.chunks(2).map(|pair| digit(pair[0]) * 16 + digit(pair[1])).collect()
}

fn dict<const N: usize>(entries: [(&str, Value); N]) -> Value {
    Value::Dict(entries.into_iter().map(|(key, value)| (key.as_bytes().to_vec(), value)).collect())
}

fn list<const N: usize>(elements: [Value; N]) -> Value {
    Value::List(elements.to_vec())
}

fn text(text: &str) -> Value {
    Value::text(text)
}

fn int(value: i64) -> Value {
    Value::Integer(value)
}

/// `base` with `changes` on top; `None` removes a key.
fn with<const N: usize>(base: &Value, changes: [(&str, Option<Value>); N]) -> Value {
    let Value::Dict(mut map) = base.clone() else { panic!("no dictionary") };
    for (key, value) in changes {
        match value {
            Some(value) => map.insert(key.as_bytes().to_vec(), value),
            None => map.remove(key.as_bytes()),
        };
    }
    Value::Dict(map)
}

fn m3() -> Value {
    let bytes = unhex(M3);
    let limits = dunlin_bencode::Limits::MESSAGE;
    let document = dunlin_bencode::decode(&bytes, dunlin_bencode::Mode::Strict, limits).unwrap();
    document.root().to_value().unwrap()
}

fn parse(info: &Value) -> Result<Torrent, MetainfoError> {
    Torrent::parse(&dict([("info", info.clone())]).encode())
}

/// A torrent of several files with as many hashes as its pieces of 16 bytes need.
fn several(files: Vec<Value>, bytes: u64) -> Value {
    let pieces = Value::Bytes(vec![7; bytes.div_ceil(16) as usize * 20]);
    dict([
        ("files", Value::List(files)),
        ("name", text("set")),
        ("piece length", int(16)),
        ("pieces", pieces),
    ])
}

fn entry<const N: usize>(length: i64, path: [&str; N]) -> Value {
    dict([("length", int(length)), ("path", list(path.map(text)))])
}

fn shown(torrent: &Torrent) -> Vec<String> {
    let file = |file: &TorrentFile| {
        let attributes = file.attributes;
        let flags = [
            (attributes.pad, "p"),
            (attributes.executable, "x"),
            (attributes.hidden, "h"),
            (attributes.symlink, "l"),
        ];
        let flags: String = flags.iter().filter(|(set, _)| *set).map(|(_, name)| *name).collect();
        let target = file.target.as_ref().map(|target| format!(" -> {}", target.join("/")));
        format!("{} {} {flags}{}", file.path.join("/"), file.length, target.unwrap_or_default())
    };
    torrent.files.iter().map(|entry| file(entry).trim_end().to_owned()).collect()
}

#[test]
fn vector_m3_single_file() {
    let info = unhex(M3);
    assert_eq!(info.len(), 84);
    let torrent = Torrent::parse_info(&info, RULES).unwrap();
    assert_eq!(torrent.hashes.first().to_string(), "7b5e918f364908afab937ecdd84059dfb61102b7");
    assert_eq!((torrent.name.as_str(), torrent.single_file), ("hello.txt", true));
    assert_eq!(shown(&torrent), ["hello.txt 12"]);
    assert_eq!((torrent.piece_length, torrent.private), (16_384, false));
    assert_eq!(torrent.pieces.kind(), HashKind::Sha1);
    assert_eq!(torrent.pieces.display(0), "22596363b3de40b06f981fb85d82312e8c0ed511");
    assert_eq!(torrent.stored_path(0).as_deref(), Some("hello.txt"));
    let private = parse(&with(&m3(), [("private", Some(int(1)))])).unwrap();
    assert_eq!(private.hashes.first().to_string(), "a1b5bcc0d125f7b5a0eb29a8d900f6f08092a84c");
    assert!(private.private);
    let source = parse(&with(&m3(), [("source", Some(text("X")))])).unwrap();
    assert_eq!(source.hashes.first().to_string(), "eaccc0d0e2614a96ed6bd69a22194a8d79ba1176");
    assert_eq!(source.source.as_deref(), Some("X"));
    let announced = dict([("announce", text("http://tracker.example/announce")), ("info", m3())]);
    let bytes = announced.encode();
    assert_eq!(bytes.len(), 136);
    let torrent = Torrent::parse(&bytes).unwrap();
    assert_eq!(torrent.trackers, [["http://tracker.example/announce"]]);
    assert_eq!(torrent.to_bytes(), bytes);
    use sha1::{Digest, Sha1};
    let whole = dunlin_base::hex(&Sha1::digest(torrent.to_bytes()));
    assert_eq!(whole, "ed18f4b19ee6a0194a917edaa4f30b8e5eb02c7d");
}

#[test]
fn vector_m4_several_files() {
    let pieces = "68f3b81a11de1e1629e81555b4e70aed955d1140b2e56b72e60c3e8a562dc6a27e1c84a955fa3066";
    let info = dict([
        (
            "files",
            list([entry(20_000, ["a.bin"]), entry(0, ["empty"]), entry(5_000, ["sub", "b.bin"])]),
        ),
        ("name", text("multi")),
        ("piece length", int(16_384)),
        ("pieces", Value::Bytes(unhex(pieces))),
    ]);
    assert_eq!(info.encode().len(), 193);
    let torrent = parse(&info).unwrap();
    assert_eq!(torrent.hashes.first().to_string(), "1070539f3fb59f6e25cdf928d9f8001d94c63f3e");
    assert_eq!(shown(&torrent), ["a.bin 20000", "empty 0", "sub/b.bin 5000"]);
    assert_eq!(torrent.stored_path(2).as_deref(), Some("multi/sub/b.bin"));
    let geometry = torrent.geometry(16_384);
    assert_eq!((geometry.pieces(), geometry.total_len()), (2, 25_000));
}

#[test]
fn a_hybrid_must_be_canonical_and_version_1_need_not() {
    let info = String::from_utf8(m3().encode()[..64].to_vec()).unwrap();
    let unsorted = info.replace("6:lengthi12e4:name9:hello.txt", "4:name9:hello.txt6:lengthi12e");
    let finish = |head: &str| [head.as_bytes(), &m3().encode()[64..]].concat();
    let lenient = Torrent::parse_info(&finish(&unsorted), RULES).unwrap();
    assert_ne!(lenient.hashes.first().to_string(), "7b5e918f364908afab937ecdd84059dfb61102b7");
    assert_eq!(lenient.info().len(), 84);
    assert_eq!(Torrent::parse(&lenient.to_bytes()).as_ref(), Ok(&lenient));
    let hybrid = unsorted.replacen('d', "d9:file treede12:meta versioni2e", 1);
    let refused = Torrent::parse_info(&finish(&hybrid), RULES);
    assert!(matches!(refused, Err(MetainfoError::NotCanonical(_))), "{refused:?}");
    let v2 = hybrid.replace("4:name", "04:name");
    let refused = Torrent::parse_info(&finish(&v2), RULES);
    assert!(matches!(refused, Err(MetainfoError::NotCanonical(_))), "{refused:?}");
}

#[test]
fn attributes_of_files() {
    let attr = |base: Value, attr: &str| with(&base, [("attr", Some(text(attr)))]);
    let link = |path: &str, target: Value| {
        let base = attr(with(&entry(0, [path]), [("length", None)]), "l");
        with(&base, [("symlink path", Some(target))])
    };
    let files = vec![
        attr(entry(10, ["run"]), "zx"),
        with(&attr(entry(6, [""]), "p"), [("path", None)]),
        attr(entry(3, ["d", ".secret"]), "hx"),
        entry(13, ["_____padding_file_0_if you see this"]),
        link("to file", list([text("d"), text(".secret")])),
        link("to folder", list([text("d")])),
        link("to nothing", list([text("etc")])),
        attr(with(&entry(0, ["nowhere"]), [("length", None)]), "l"),
        attr(entry(99, ["long link"]), "l"),
    ];
    let torrent = parse(&several(files, 32)).unwrap();
    let expected = [
        "run 10 x",
        ".pad/6 6 p",
        "d/.secret 3 xh",
        "_____padding_file_0_if you see this 13 p",
        "to file 0 l -> d/.secret",
        "to folder 0 l -> d",
        "to nothing 0 l",
        "nowhere 0 l",
        "long link 0 l",
    ];
    assert_eq!(shown(&torrent), expected);
    let geometry = torrent.geometry(16);
    assert_eq!((geometry.pieces(), geometry.total_len(), geometry.files()), (2, 13, 9));
    let lens = |raw| {
        let piece = geometry.piece(raw).unwrap();
        (geometry.hashed_len(piece), geometry.data_len(piece))
    };
    assert_eq!((lens(0), lens(1)), ((16, 10), (16, 3)));
}

#[test]
fn links_lead_through_links_and_stay_within() {
    let link = |path: &[&str], target: &[&str]| {
        let names = |names: &[&str]| Value::List(names.iter().map(|name| text(name)).collect());
        let entry = with(&entry(0, ["x"]), [("path", Some(names(path)))]);
        let entry = with(&entry, [("attr", Some(text("l")))]);
        with(&entry, [("symlink path", Some(names(target)))])
    };
    let header = || entry(32, ["Versions", "A", "Headers", "h"]);
    // (links before and behind the file, where they lead: the text on disk)
    type Link<'a> = (&'a [&'a str], &'a [&'a str], Option<&'a str>);
    let cases: &[&[Link<'_>]] = &[
        // As a framework of macOS has them, from the root (BEP 47).
        &[
            (&["Headers"], &["Versions", "Current", "Headers"], Some("Versions/Current/Headers")),
            (&["Versions", "Current"], &["Versions", "A"], Some("A")),
        ],
        // As libtorrent writes the same ones: their own text.
        &[
            (&["Versions", "Current"], &["A"], Some("A")),
            (
                &["sub", "h"],
                &["..", "Versions", "Current", "Headers", "h"],
                Some("../Versions/Current/Headers/h"),
            ),
        ],
        // In one name, and with names that stay.
        &[(&["l"], &["./Versions//A"], Some("Versions/A"))],
        // A link to a link to a link.
        &[
            (&["1"], &["2", "Headers", "h"], Some("2/Headers/h")),
            (&["2"], &["3"], Some("3")),
            (&["3"], &["Versions", "A"], Some("Versions/A")),
        ],
        // To nothing, round in a circle, and to the root itself.
        &[
            (&["a"], &["b", "x"], None),
            (&["b"], &["a", "x"], None),
            (&["c"], &["c", "c"], None),
            (&["d"], &["."], None),
            (&["e"], &["Versions", "B"], None),
        ],
        // To itself, to one another, and to a link that does.
        &[(&["a"], &["a"], None), (&["b"], &["c"], None), (&["c"], &["b"], None)],
        &[(&["d"], &["e"], None), (&["e"], &["f"], None), (&["f"], &["e"], None)],
    ];
    for links in cases {
        let entries = links.iter().map(|(path, target, _)| link(path, target));
        let torrent = parse(&several(std::iter::once(header()).chain(entries).collect(), 32));
        let torrent = torrent.unwrap();
        let content = torrent.content(16_384).unwrap();
        for (file, (path, _, expected)) in content.files[1..].iter().zip(*links) {
            let found = file.link.as_deref().map(|text| String::from_utf8_lossy(text));
            assert_eq!(found.as_deref(), *expected, "{path:?}");
        }
        crate::fuzzing::metainfo(&torrent.to_bytes());
    }
    let leaving: &[(&[&str], &[&str])] = &[
        (&["l"], &["..", "x"]),
        (&["d", "l"], &["..", "..", "x"]),
        (&["l"], &["/etc"]),
        (&["l"], &["", "etc"]),
        (&["l"], &["a", "..", "..", "x"]),
        (&["d", "l"], &["a/../../../x"]),
        (&["d", "l"], &["..\\x"]),
    ];
    for (path, target) in leaving {
        let refused = parse(&several(vec![header(), link(path, target)], 32));
        assert!(matches!(refused, Err(MetainfoError::LinkLeaves { .. })), "{target:?}");
    }
}

#[test]
fn data_is_looked_for_under_the_names_that_it_may_have() {
    let names: &[(&str, &[&str])] = &[
        ("plain", &["t/plain"]),
        ("tab\there", &["t/tab\there", "t/tab_here.1"]),
        ("tab_here", &["t/tab_here"]),
        ("back\\slash", &["t/back\\slash", "t/backslash"]),
        ("mark\u{200f}", &["t/mark\u{200f}", "t/mark"]),
        ("mi\u{200c}join", &["t/mi\u{200c}join"]),
        (".x.dunlin-part", &["t/_.x.dunlin-part"]),
    ];
    let entries = names.iter().map(|(name, _)| entry(1, [*name])).collect();
    let base = with(&several(entries, 7), [("name", Some(text("t")))]);
    let torrent = parse(&base).unwrap();
    let content = torrent.content(16_384).unwrap();
    for (file, (name, expected)) in content.files.iter().zip(names) {
        let found: Vec<_> =
            file.places().map(|place| String::from_utf8(place.to_vec()).unwrap()).collect();
        assert_eq!(found, *expected, "{name:?}");
    }
}

#[test]
fn paths_are_made_safe_and_unique() {
    let utf8 = with(&entry(1, ["latin"]), [("path.utf-8", Some(list([text("ü")])))]);
    let files = vec![
        entry(1, ["..", "x"]),
        entry(1, ["_", "x"]),
        entry(1, ["a/b"]),
        entry(1, ["d"]),
        entry(1, ["d", "e"]),
        utf8,
    ];
    let mut info = several(files, 6);
    let torrent = parse(&info).unwrap();
    // Whose name is its own keeps it.
    assert_eq!(shown(&torrent), ["_/x.1 1", "_/x 1", "ab 1", "d.1 1", "d/e 1", "ü 1"]);
    info = with(&info, [("name", Some(text("..")))]);
    let torrent = parse(&info).unwrap();
    assert_eq!(torrent.name, torrent.hashes.first().to_string());
    info = with(&info, [("name.utf-8", Some(text("schön")))]);
    assert_eq!(parse(&info).unwrap().name, "schön");
}

#[test]
fn outer_keys() {
    let outer = dict([
        ("announce", text("http://ignored.example/a")),
        (
            "announce-list",
            list([
                list([text("  udp://a.example:80"), text("gopher://x"), int(3)]),
                text("http://no-tier.example"),
                list([]),
                list([text("HTTPS://b.example/x"), text("wss://c.example")]),
            ]),
        ),
        ("comment", text("old")),
        ("comment.utf-8", text("new")),
        ("created by", text("dunlin")),
        ("creation date", int(1_700_000_000)),
        ("collections", list([text("one"), text("two"), text("one")])),
        ("httpseeds", list([text("http://s.example/seed")])),
        ("info", with(&m3(), [("collections", Some(list([text("three"), text("two")])))])),
        (
            "nodes",
            list([
                list([text("router.example"), int(6881)]),
                list([text("x"), int(70_000)]),
                list([text("only host")]),
                text("bad"),
            ]),
        ),
        ("similar", list([text("01234567890123456789"), text("short")])),
        ("url-list", text("http://w.example/")),
    ]);
    let torrent = Torrent::parse(&outer.encode()).unwrap();
    assert_eq!(
        torrent.trackers,
        [vec!["udp://a.example:80"], vec!["HTTPS://b.example/x", "wss://c.example"]]
    );
    assert_eq!(torrent.comment.as_deref(), Some("new"));
    assert_eq!(torrent.created_by.as_deref(), Some("dunlin"));
    assert_eq!(torrent.creation_date, Some(1_700_000_000));
    assert_eq!(torrent.collections, ["one", "two", "three"]);
    assert_eq!(torrent.http_seeds, ["http://s.example/seed"]);
    assert_eq!(torrent.web_seeds, ["http://w.example/"]);
    assert_eq!(torrent.nodes, [("router.example".to_owned(), 6881)]);
    assert_eq!(torrent.similar, [InfoHash(*b"01234567890123456789")]);
    assert_eq!(Torrent::parse(&torrent.to_bytes()).as_ref(), Ok(&torrent));
    let fallback = with(&outer, [("announce-list", Some(list([list([text("gopher://x")])])))]);
    let torrent = Torrent::parse(&fallback.encode()).unwrap();
    assert_eq!(torrent.trackers, [["http://ignored.example/a"]]);
    let wrong = with(&outer, [("announce-list", Some(int(1))), ("announce", Some(int(1)))]);
    let wrong = with(&wrong, [("comment.utf-8", Some(int(1))), ("nodes", Some(int(1)))]);
    let torrent = Torrent::parse(&wrong.encode()).unwrap();
    assert!(torrent.trackers.is_empty() && torrent.nodes.is_empty());
    assert_eq!(torrent.comment.as_deref(), Some("old"));
}

#[test]
fn what_is_no_torrent_is_said() {
    let change = |key, value| parse(&with(&m3(), [(key, value)]));
    let one = |file: Value, bytes| parse(&several(vec![file], bytes));
    let deep = entry(1, ["d"; 101]);
    let both = with(&m3(), [("files", Some(list([])))]);
    let many = with(&m3(), [("length", Some(int(i64::MAX))), ("piece length", Some(int(1)))]);
    let cases = [
        (Torrent::parse(b""), "this is no torrent: it is empty"),
        (Torrent::parse(b"<html>"), "this is no torrent: it begins otherwise"),
        (Torrent::parse(b"2026-12"), "this is no torrent: it begins otherwise"),
        (Torrent::parse(b"d4:in"), "the torrent is damaged: bencode"),
        (Torrent::parse(b"le"), "the torrent is a list, expected a dictionary"),
        (Torrent::parse(b"de"), "key `info` of the torrent is absent or wrong"),
        (Torrent::parse(b"d4:infoi1ee"), "key `info` of the torrent is absent or wrong"),
        (Torrent::parse(&vec![b'x'; 10_000_001]), "the torrent has 10000001 bytes, expected at"),
        (
            Torrent::parse_info(b"deX", RULES),
            "the torrent is damaged: bencode value ends at byte 2",
        ),
        (change("name", None), "key `name` of the torrent is absent or wrong"),
        (change("piece length", None), "key `piece length` of the torrent is absent or wrong"),
        (change("piece length", Some(int(0))), "the piece length is 0, expected 1 to 536854528"),
        (change("piece length", Some(int(-1))), "the piece length is -1, expected 1 to"),
        (change("piece length", Some(int(536_854_529))), "the piece length is 536854529"),
        (change("length", None), "the torrent must have exactly one of `length` and `files`, fou"),
        (parse(&both), "the torrent must have exactly one of `length` and `files`, found both"),
        (change("length", Some(int(-1))), "key `length` of the torrent is absent or wrong"),
        (change("length", Some(int(0))), "`pieces` has 20 bytes, expected 0"),
        (parse(&several(vec![], 0)), "the torrent holds no bytes at all"),
        (change("length", Some(int(16_385))), "`pieces` has 20 bytes, expected 40"),
        (change("pieces", Some(text("short"))), "`pieces` has 5 bytes, expected 20"),
        (change("pieces", None), "key `pieces` of the torrent is absent or wrong"),
        (parse(&many), "9223372036854775807 pieces are more than 2097152"),
        (one(int(1), 1), "key `files` of the torrent is absent or wrong"),
        (one(entry(-1, ["a"]), 1), "key `length` of file 0 of the torrent is absent or wrong"),
        (one(entry(1, []), 1), "key `path` of file 0 of the torrent is absent or wrong"),
        (one(with(&entry(1, ["a"]), [("path", Some(list([int(1)])))]), 1), "key `path` of file 0"),
        (one(deep, 1), "the path of file 0 has 101 components, expected at most 100"),
        (parse(&several(vec![entry(1, ["a"]); 502], 502)), "more than 500 files have names"),
    ];
    for (result, expected) in cases {
        let text = result.map_err(|error| error.to_string());
        assert!(
            text.as_ref().is_err_and(|text| text.starts_with(expected)),
            "{expected}: {text:?}"
        );
    }
}

fn torrents() -> impl Strategy<Value = Value> {
    let name = prop_oneof!["[a-c./ ]{0,3}", "\\PC{0,6}"];
    let target = prop::collection::vec(prop_oneof!["[a-c]", "\\.{0,2}", name.clone()], 0..4);
    let file = (0_i64..40, prop::collection::vec(name.clone(), 1..4), "[pxhl]{0,2}", target);
    let files = prop::collection::vec(file, 1..6);
    (files, name, 1_i64..20, any::<bool>()).prop_map(|(files, name, piece, private)| {
        let total: i64 = files
            .iter()
            .map(
                |(length, _, attr, _)| {
                    if attr.contains('l') && !attr.contains('p') { 0 } else { *length }
                },
            )
            .sum();
        let files = files.into_iter().map(|(length, path, attr, target)| {
            let names =
                |names: &[String]| Value::List(names.iter().map(|name| text(name)).collect());
            let file = dict([
                ("attr", text(&attr)),
                ("length", int(length)),
                ("path", names(&path)),
                ("symlink path", names(&target)),
            ]);
            let link = Some(names(&target)).filter(|_| attr.contains('l'));
            with(&file, [("symlink path", link)])
        });
        let pieces = (total as u64).div_ceil(piece as u64) as usize * 20;
        dict([
            ("files", Value::List(files.collect())),
            ("name", text(&name)),
            ("piece length", int(piece)),
            ("pieces", Value::Bytes(vec![1; pieces])),
            ("private", int(i64::from(private))),
        ])
    })
}

proptest! {
    #[test]
    fn torrents_round_trip(
        info in torrents(), urls in prop::collection::vec("http://[a-z]{1,5}", 0..3),
    ) {
        let tier = Value::List(urls.iter().map(|url| text(url)).collect());
        let outer = dict([("announce-list", list([tier])), ("info", info.clone())]);
        match Torrent::parse(&outer.encode()) {
            Err(MetainfoError::Nothing | MetainfoError::LinkLeaves { .. }) => {}
            Err(error) => prop_assert!(false, "{}", error),
            Ok(torrent) => {
                prop_assert_eq!(torrent.info(), &info.encode());
                prop_assert_eq!(torrent.trackers.concat(), urls);
                let again = Torrent::parse(&torrent.to_bytes());
                prop_assert_eq!(again.as_ref(), Ok(&torrent));
            }
        }
        crate::fuzzing::metainfo(&outer.encode());
    }

    #[test]
    fn damaged_torrents_keep_the_promises(
        info in torrents(), at in any::<prop::sample::Index>(), byte in any::<u8>(),
    ) {
        let mut bytes = info.encode();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        crate::fuzzing::metainfo(&bytes);
        let outer = [b"d4:info", bytes.as_slice(), b"e"].concat();
        crate::fuzzing::metainfo(&outer);
        crate::fuzzing::metainfo(&outer[..at]);
    }
}
