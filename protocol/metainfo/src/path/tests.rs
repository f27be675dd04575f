use super::*;
use proptest::prelude::*;

const UNIX: PathRules = PathRules { windows: false, fold_case: false };
const WINDOWS: PathRules = PathRules { windows: true, fold_case: true };

#[test]
fn names_of_a_cluster() {
    let long = "x".repeat(256);
    let deep = ["d"; 101].join("/");
    let good = ["a", "a/b.bin", "...", ".hidden", "a b/ü", "-", &long[1..], &deep[2..]];
    for name in good {
        assert_eq!(check_name(name), Ok(()), "{name}");
    }
    let bad = [
        ("", "a file name is empty"),
        ("/etc/passwd", "`/etc/passwd` begins with `/`"),
        ("a//b", "`a//b` has an empty component"),
        ("a/", "`a/` has an empty component"),
        ("../a", "`../a` has a component `.` or `..`"),
        ("a/./b", "`a/./b` has a component `.` or `..`"),
        ("a\\b", "`a\\b` has a backslash"),
        ("a\0b", "\"a\\0b\" has a control character"),
        ("a\nb", "\"a\\nb\" has a control character"),
        (&long, "`xxxx"),
        (&deep, "`d/d/"),
    ];
    for (name, expected) in bad {
        let text = check_name(name).map_err(|error| error.to_string());
        assert!(text.as_ref().is_err_and(|text| text.starts_with(expected)), "{text:?}");
    }
    let found = |name: &str| check_name(name).map_err(|error| error.to_string()).unwrap_err();
    assert!(found(&long).ends_with("has a component of 256 bytes, expected at most 255"));
    assert!(found(&deep).ends_with("has 101 components, expected at most 100"));
}

#[test]
fn components_of_torrents() {
    let cases: &[(&[u8], &str, &str)] = &[
        (b"plain.txt", "plain.txt", "plain.txt"),
        (b"", "_", "_"),
        (b".", "_", "_"),
        (b"..", "_", "_"),
        (b"...", "...", "_"),
        (b"../../etc", "....etc", "....etc"),
        (b"a\\b/c", "a\\bc", "abc"),
        (b"..\\..\\x", "..\\..\\x", "....x"),
        (b".dunlin", "_.dunlin", "_.dunlin"),
        (b".a.dunlin-part", "_.a.dunlin-part", "_.a.dunlin-part"),
        (b"a.dunlin-part", "a.dunlin-part", "a.dunlin-part"),
        (
            "\u{645}\u{6cc}\u{200c}\u{62e}".as_bytes(),
            "\u{645}\u{6cc}\u{200c}\u{62e}",
            "\u{645}\u{6cc}\u{200c}\u{62e}",
        ),
        (
            "\u{1f469}\u{200d}\u{1f467}".as_bytes(),
            "\u{1f469}\u{200d}\u{1f467}",
            "\u{1f469}\u{200d}\u{1f467}",
        ),
        ("\u{200d}..\u{200c}".as_bytes(), "_", "_"),
        ("rtl\u{200f}lrm\u{200e}wj\u{2060}".as_bytes(), "rtllrmwj", "rtllrmwj"),
        (b"./.", "_", "_"),
        (b"bad\xff\xfename", "bad__name", "bad__name"),
        (b"over\xc0\xaflong", "over__long", "over__long"),
        (b"half\xe2\x82", "half_", "half_"),
        (b"nul\0tab\tdel\x7f", "nul_tab_del_", "nul_tab_del_"),
        ("c1\u{85}".as_bytes(), "c1_", "c1_"),
        ("bidi\u{202e}txt.exe".as_bytes(), "biditxt.exe", "biditxt.exe"),
        ("\u{200b}\u{feff}".as_bytes(), "_", "_"),
        (b"a:b*?", "a:b*?", "a_b__"),
        (b"trail. . ", "trail. . ", "trail"),
        (b"CON", "CON", "_CON"),
        (b"nul.txt", "nul.txt", "_nul.txt"),
        (b"com7", "com7", "_com7"),
        (b"COM10", "COM10", "COM10"),
        (b"CONSOLE", "CONSOLE", "CONSOLE"),
        (b"lpt1. ", "lpt1. ", "_lpt1"),
        // What only dunlin makes.
        (b".dunlin", "_.dunlin", "_.dunlin"),
        (b".DunLin", "_.DunLin", "_.DunLin"),
        (b".dun/lin", "_.dunlin", "_.dunlin"),
        (".dunlin\u{200b}".as_bytes(), "_.dunlin", "_.dunlin"),
        (b".dunlin. ", ".dunlin. ", "_.dunlin"),
        (b".x.dunlin-part", "_.x.dunlin-part", "_.x.dunlin-part"),
        (b".dunlin-part", "_.dunlin-part", "_.dunlin-part"),
        (b"x.dunlin-part", "x.dunlin-part", "x.dunlin-part"),
        (b".dunlin-1000", "_.dunlin-1000", "_.dunlin-1000"),
        (b".dunlin-", ".dunlin-", ".dunlin-"),
        (b".dunlin2", ".dunlin2", ".dunlin2"),
    ];
    for (bytes, unix, windows) in cases {
        assert_eq!(sanitize_component(bytes, UNIX), *unix);
        assert_eq!(sanitize_component(bytes, WINDOWS), *windows);
    }
    assert_eq!(sanitize_name(b"..", UNIX), None);
    assert_eq!(sanitize(&[], UNIX), ["_"]);
    assert_eq!(sanitize(&[b"a", b"", b"b"], UNIX), ["a", "_", "b"]);
}

#[test]
fn long_components_keep_a_short_extension() {
    let cases = [
        ("x".repeat(300) + ".123456789", "x".repeat(245) + ".123456789"),
        ("x".repeat(300) + ".1234567890", "x".repeat(255)),
        ("ü".repeat(150) + ".md", "ü".repeat(126) + ".md"),
        ("x".repeat(300) + ".", "x".repeat(255)),
        ("x".repeat(255), "x".repeat(255)),
        ("x".repeat(256), "x".repeat(255)),
        ("x".repeat(300) + ".tar", "x".repeat(251) + ".tar"),
        ("ü".repeat(150), "ü".repeat(127)),
    ];
    for (name, expected) in cases {
        assert_eq!(sanitize_component(name.as_bytes(), UNIX), expected);
    }
}

#[test]
fn where_links_lead() {
    // (folder, text, where it leads)
    let cases: &[(&str, &str, Option<&str>)] = &[
        ("", "a", Some("a")),
        ("", "./a//b/", Some("a/b")),
        ("d", "a", Some("d/a")),
        ("d/e", "../../a", Some("a")),
        ("d/e", "../../../a", None),
        ("", "..", None),
        ("d", "..", Some("")),
        ("", "/a", None),
        ("d", "", Some("d")),
    ];
    for (folder, text, expected) in cases {
        let folder: Vec<&[u8]> =
            folder.split('/').filter(|name| !name.is_empty()).map(str::as_bytes).collect();
        let found = resolve_path(&folder, text.as_bytes()).map(|path| path.join(&b'/'));
        assert_eq!(found.as_deref(), expected.map(str::as_bytes), "{folder:?} {text}");
    }
    let text =
        |folder: &[&str], target: &[&str]| String::from_utf8(link_text(folder, target)).unwrap();
    assert_eq!(text(&["a", "b"], &["a", "c", "d"]), "../c/d");
    assert_eq!(text(&[], &["x"]), "x");
    assert_eq!(text(&["a"], &["a"]), ".");
}

fn resolved(paths: &[&str], rules: PathRules) -> Result<Vec<String>, PathError> {
    let mut paths: Vec<Vec<String>> =
        paths.iter().map(|path| path.split('/').map(str::to_owned).collect()).collect();
    resolve_duplicates(&mut paths, rules)?;
    Ok(paths.into_iter().map(|path| path.join("/")).collect())
}

#[test]
fn duplicates_get_a_number() {
    let cases: &[(&[&str], &[&str])] = &[
        (&["a", "b"], &["a", "b"]),
        (&["a.txt", "a.txt", "a.txt"], &["a.txt", "a.1.txt", "a.2.txt"]),
        (&["a", "a", "a.1"], &["a", "a.2", "a.1"]),
        (&[".rc", ".rc"], &[".rc", ".rc.1"]),
        (&["d", "d/x"], &["d.1", "d/x"]),
        (&["d/x/y", "d/x"], &["d/x/y", "d/x.1"]),
        (&["d", "d.1/x", "d/y"], &["d.2", "d.1/x", "d/y"]),
        (&["d", "d-", "d/x"], &["d.1", "d-", "d/x"]),
        (&["A", "a"], &["A", "a"]),
    ];
    for (paths, expected) in cases {
        assert_eq!(resolved(paths, UNIX).unwrap(), *expected);
    }
    let long = "x".repeat(253) + ".y";
    let numbered = resolved(&[&long, &long], UNIX).unwrap();
    assert_eq!(numbered, [long, "x".repeat(251) + ".1.y"]);
    let folded = resolved(&["A", "a", "D", "d/x"], WINDOWS).unwrap();
    assert_eq!(folded, ["A", "a.1", "D.1", "d/x"]);
    assert!(resolved(&["a"; 501], UNIX).is_ok());
    assert_eq!(resolved(&["a"; 502], UNIX), Err(PathError::TooManyDuplicates));
}

proptest! {
    #[test]
    fn sanitised_names_are_safe_and_stay(
        mut bytes in prop::collection::vec(any::<u8>(), 0..300),
        text in "\\PC{0,130}(\\.[a ]{0,12})?",
        device in prop::sample::select(&["", "CON", "aux.", "LPT9"][..]),
    ) {
        bytes.splice(0..0, device.bytes());
        let text = format!("{device}{text}");
        for rules in [UNIX, WINDOWS] {
            for name in [bytes.as_slice(), text.as_bytes()] {
                let once = sanitize_component(name, rules);
                prop_assert!(is_usable(&[once.as_bytes()]), "{once:?}");
                prop_assert!(!once.chars().any(char::is_control));
                prop_assert!(once.len() <= MAX_COMPONENT && !once.contains('/'));
                prop_assert_eq!(sanitize_component(once.as_bytes(), rules), once);
            }
        }
    }

    #[test]
    fn resolved_paths_are_unique_and_no_folders(
        paths in prop::collection::vec("[ab](/[ab](/[ab])?)?", 0..12),
    ) {
        let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
        let resolved = resolved(&paths, UNIX).unwrap();
        for (index, path) in resolved.iter().enumerate() {
            let folder = format!("{path}/");
            for (other_index, other) in resolved.iter().enumerate() {
                let apart = path != other && !other.starts_with(&folder);
                prop_assert!(index == other_index || apart);
            }
        }
    }
}
