//! Torrents that are refused, each with its message and exit 4, by whoever reads them.

use crate::common::Sandbox;

/// A string of bencode.
fn s(text: &str) -> String {
    format!("{}:{text}", text.len())
}

/// A torrent of version 1 with these keys instead of the usual ones.
fn v1(length: &str, piece_length: &str, pieces: usize) -> String {
    let pieces = s(&"a".repeat(pieces * 20));
    let name = s("n");
    format!("d4:infod{length}4:name{name}12:piece length{piece_length}6:pieces{pieces}ee")
}

fn files(files: &str) -> String {
    v1(&format!("5:filesl{files}e"), "i16384e", 1)
}

/// A torrent of version 2 with this tree.
fn v2(tree: &str, more: &str) -> String {
    let name = s("n");
    format!("d4:infod9:file tree{tree}12:meta versioni2e4:name{name}12:piece lengthi16384e{more}ee")
}

#[test]
fn hostile_torrents() {
    let sandbox = Sandbox::new();
    let file = |path: &str, more: &str| format!("d{more}6:lengthi1e4:pathl{}ee", s(path));
    let link = format!("d4:attr1:l6:lengthi0e4:pathl{}e12:symlink pathl2:..3:etcee", s("x"));
    let root = s(&"r".repeat(32));
    let other = s(&"s".repeat(32));
    let leaf = |length: u64, root: &str| format!("d0:d6:lengthi{length}e11:pieces root{root}ee");
    let one = format!("d1:f{}e", leaf(1, &root));
    let hybrid = |name: &str| {
        let tree = format!("d1:f{}e", leaf(1, &root));
        format!(
            "d4:infod9:file tree{tree}5:filesld6:lengthi1e4:pathl{}eee12:meta versioni2e4:name1:n\
             12:piece lengthi16384e6:pieces20:aaaaaaaaaaaaaaaaaaaaee",
            s(name)
        )
    };
    let cases = [
        ("links", files(&format!("{}{link}", file("a", ""))), "points out of the torrent"),
        ("many", v1("6:lengthi16384000000000e", "i16384e", 1), "1000000000 pieces are more than"),
        ("zero", v1("6:lengthi1e", "i0e", 1), "the piece length is 0"),
        ("negative", v1("6:lengthi1e", "i-5e", 1), "the piece length is -5"),
        ("long", v1("6:lengthi1e", "i536854529e", 1), "the piece length is 536854529"),
        ("deep", format!("{}{}", "l".repeat(10_000), "e".repeat(10_000)), "nests deeper than 100"),
        ("huge", v1("6:lengthi18446744073709551615e", "i16384e", 1), "pieces are more than"),
        (
            "overflow",
            files(&format!("{0}{0}", "d6:lengthi9223372036854775807e4:pathl1:aee".repeat(2))),
            "add up to more than 2^64",
        ),
        ("beyond", v1("6:lengthi99999999999999999999e", "i16384e", 1), "key `length`"),
        ("cut", v1("6:lengthi1e", "i16384e", 1).chars().take(50).collect(), "damaged"),
        ("number", "i1e".to_owned(), "the torrent is a number"),
        ("newer", v2(&one, "").replace("versioni2e", "versioni3e"), "a newer program is needed"),
        ("both", v2(&format!("d1:fd0:d6:lengthi0ee1:x{}ee", leaf(1, &root)), ""), "at once"),
        ("twins", v2(&format!("d1:f{}1:g{}e", leaf(1, &root), leaf(2, &root)), ""), "same root"),
        (
            "layer",
            format!(
                "d4:info{}12:piece layersd{other}32:{}ee",
                &v2(&one, "")[7..v2(&one, "").len() - 1],
                "l".repeat(32)
            ),
            "no file of more than one piece",
        ),
        ("halves", hybrid("g"), "disagree"),
        ("rootless", v2("d1:fd0:d6:lengthi1eeee", ""), "expected a `pieces root`"),
    ];
    for (name, torrent, expected) in cases {
        // What is not named so, and is none, is plain data to `seed`.
        let name = &format!("{name}.torrent");
        sandbox.write(name, torrent);
        for (command, more) in [
            ("show", ""),
            ("magnet", ""),
            ("get", "-o into --bind 127.0.0.1"),
            ("seed", "--data from --bind 127.0.0.1"),
            ("verify", "--data from"),
        ] {
            let done = sandbox.expect(4, &format!("{command} {name} {more}"));
            assert!(done.stderr.contains(expected), "{command} {name}: {}", done.stderr);
            assert!(done.stdout.is_empty(), "{command} {name}");
        }
        assert!(!sandbox.path("into").exists() && !sandbox.path("from").exists(), "{name}");
        let failure = sandbox.json(4, &format!("show {name}"));
        assert_eq!(failure["error"]["kind"], "input", "{name}");
    }
    sandbox.write("fine", hybrid("f"));
    sandbox.expect(0, "show fine");
    sandbox.write("large", vec![b'd'; 10_000_001]);
    let done = sandbox.expect(4, "show large");
    assert!(done.stderr.contains("expected at most 10000000"), "{}", done.stderr);
    let done = sandbox.expect(4, "show .");
    assert!(done.stderr.contains("cannot read the torrent"), "{}", done.stderr);
}

#[test]
fn names_are_made_safe_with_a_warning() {
    let sandbox = Sandbox::new();
    let file = |path: &[&str]| {
        let path: String = path.iter().map(|name| s(name)).collect();
        format!("d6:lengthi1e4:pathl{path}ee")
    };
    let long = "n".repeat(300);
    let all = [
        file(&["..", "..", "etc", "passwd"]),
        file(&["/etc/passwd"]),
        file(&[&long]),
        file(&["twice"]),
        file(&["twice"]),
        file(&["bell\x07"]),
    ];
    sandbox.write("t", files(&all.concat()));
    let done = sandbox.expect(0, "show t");
    for warning in [
        "`../../etc/passwd` was changed to `_/_/etc/passwd`",
        "`/etc/passwd` was changed to `etcpasswd`",
        "`twice` was changed to `twice.1`",
        "`bell\\u{7}` was changed to `bell_`",
    ] {
        assert!(done.stderr.contains(warning), "{warning}: {}", done.stderr);
    }
    assert_eq!(done.stderr.matches("warning").count(), 5);
}
