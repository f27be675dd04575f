use super::*;
use proptest::prelude::*;

fn read(text: &str) -> Result<CourseInput, PlanError> {
    parse_course("in2.txt", text.as_bytes())
}

#[test]
fn the_form_in_all_its_spacings() {
    let expected = CourseInput {
        owned: vec![
            TokenFile { name: "a".to_owned(), tokens: vec!["t1".into(), "t2".into()] },
            TokenFile { name: "b".to_owned(), tokens: vec!["t1".into()] },
        ],
        wanted: vec!["c".to_owned(), "a".to_owned()],
    };
    for text in [
        "2\na 2\nt1\nt2\nb 1\nt1\n2\nc\na",
        "2\na 2\nt1\nt2\nb 1\nt1\n2\nc\na\n\n",
        "2\r\na 2\r\nt1\r\nt2\r\nb 1\r\nt1\r\n2\r\nc\r\na\r\n",
        "2 a 2 t1 t2 b 1 t1 2 c a",
        "\u{feff}\t2\t\ta\n2 t1\x0bt2\x0cb 01 t1 2 c a ",
    ] {
        assert_eq!(read(text).as_ref(), Ok(&expected), "{text:?}");
    }
}

#[test]
fn right_and_not_refused() {
    let long = "x".repeat(MAX_TOKEN);
    let cases = [
        ("0 0".to_owned(), 0, 0),
        ("0\n0\n".to_owned(), 0, 0),
        ("0 2 a b".to_owned(), 0, 2),
        ("1 a 0 0".to_owned(), 1, 0),
        ("1 a 3 t t t 1 a".to_owned(), 1, 1),
        ("2 a 1 t b 1 t 0".to_owned(), 2, 0),
        ("0 3 a b a".to_owned(), 0, 2),
        (format!("1 {long} 1 {long} 1 {long}"), 1, 1),
        ("1 naïve.txt 1 ☂ 0".to_owned(), 1, 0),
        ("1 -3 1 -3 0".to_owned(), 1, 0),
        ("1 .a 1 t 1 ..b".to_owned(), 1, 1),
    ];
    for (text, owned, wanted) in cases {
        let input = read(&text).unwrap_or_else(|wrong| panic!("{wrong}"));
        assert_eq!((input.owned.len(), input.wanted.len()), (owned, wanted), "{text:.40}");
    }
}

#[test]
fn every_fault_has_its_line() {
    let cases = [
        ("", "1: expected the number of owned files, found an empty file; write 0 twice"),
        (" \n\n", "1: expected the number of owned files, found an empty file"),
        ("two\n", "1: expected the number of owned files, found `two`; write a whole number"),
        ("\n-3\n", "2: expected the number of owned files, found `-3`; write a whole number"),
        ("+1 a 0 0", "1: expected the number of owned files, found `+1`"),
        ("1.0", "1: expected the number of owned files, found `1.0`"),
        ("1\na -1\n0", "2: expected the number of tokens of `a`, found `-1`"),
        (
            "1\na 1000000000000000000\nt\n0",
            "2: expected the number of tokens of `a`, at most 2 by the length of the file, found \
             1000000000000000000; correct the count or restore",
        ),
        ("1000000000000000000\n0\n", "1: expected the number of owned files, at most 0 by"),
        ("9999999999999999999999999", "1: expected the number of owned files, at most 0 by"),
        ("0\n1000000000000000000\na", "2: expected the number of wanted files, at most 1 by"),
        (
            "1\na 3\naaaaaa\nb\n",
            "4: expected token 3 of 3 of `a`, found the end of the file; correct the count on \
             line 2 or add",
        ),
        ("1\na 1\nt\n", "3: expected the number of wanted files, found the end of the file"),
        ("1\na", "1: expected the number of owned files, at most 0 by"),
        ("1\naaaa\n", "2: expected the number of tokens of `aaaa`, found the end of the file"),
        ("2\na 1\nttt\n", "3: expected the name of owned file 2 of 2, found the end of the file"),
        ("0\n2\naaaa\n", "3: expected the name of wanted file 2 of 2, found the end of the file"),
        ("0\n1\na\nb\n", "4: expected the end of the file after the last wanted file, found `b`"),
        (
            "2\na 1\nt\na 1\nt\n0",
            "4: expected every owned file once, found `a` again (first on line 2); remove one",
        ),
        ("1\n../a 1\nt\n0", "2: expected the name of a file, found `../a`, which has a slash"),
        ("1\n/etc/passwd 1\nt\n0", "2: expected the name of a file, found `/etc/passwd`, which"),
        ("0\n1\nd/a", "3: expected the name of a file, found `d/a`, which has a slash"),
        ("0\n1\nd\\a", "3: expected the name of a file, found `d\\\\a`, which has a backslash"),
        ("0\n1\n..", "3: expected the name of a file, found `..`, which is a folder"),
        ("0\n0\n\x01", "3: expected text (UTF-8), found control character 0x01; check"),
        ("0\n0\n\u{85}", "3: expected text (UTF-8), found control character 0x85; check"),
    ];
    for (text, start) in cases {
        let message = read(text).unwrap_err().to_string();
        assert!(message.starts_with(&format!("in2.txt:{start}")), "{text:?}\n{message}");
    }
}

#[test]
fn garbage_and_long_tokens() {
    let wrong = parse_course("in1.txt", b"1\na 1\n\xff\xfe").unwrap_err();
    assert!(wrong.to_string().starts_with("in1.txt:3: expected text (UTF-8), found byte 0xff"));
    let text = format!("1\na 1\n{}\n0", "x".repeat(MAX_TOKEN + 1));
    let fault = Fault::TokenTooLong { limit: MAX_TOKEN, length: MAX_TOKEN + 1 };
    assert_eq!(read(&text), Err(error("in2.txt", 3, fault)));
    let word = "w".repeat(10_000);
    assert!(read(&word).unwrap_err().to_string().len() < 300, "a message fits a line");
}

#[test]
fn tokens_are_found_by_line() {
    let text = "\u{feff}2\r\na 3 t1\r\n\r\nt2 t3\nb\n1\nt1\n1\nc";
    let cases = [
        ("a", None, Some(2)),
        ("a", Some(0), Some(2)),
        ("a", Some(1), Some(4)),
        ("a", Some(2), Some(4)),
        ("a", Some(3), None),
        ("b", None, Some(5)),
        ("b", Some(0), Some(7)),
        ("b", Some(usize::MAX), None),
        ("c", None, None),
        ("t1", None, None),
    ];
    for (name, piece, line) in cases {
        assert_eq!(token_line(text.as_bytes(), name, piece), line, "{name} {piece:?}");
    }
    let short = format!("{0}\na {0}\nt", usize::MAX);
    for wrong in ["", "two", "1", "1\na", "1\na x", &short, "0 1 a"] {
        assert_eq!(token_line(wrong.as_bytes(), "a", Some(1)), None, "{wrong}");
    }
    assert_eq!(token_line(b"1\na 1\n\xff", "a", None), None);
}

fn word() -> impl Strategy<Value = String> {
    "[!-.0-\\[\\]-~]{1,9}".prop_filter("folders", |word| word != "." && word != "..")
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        owned in proptest::collection::btree_map(
            word(), proptest::collection::vec("[!-~]{1,9}", 0..5), 0..5),
        wanted in proptest::collection::btree_set(word(), 0..5),
    ) {
        let owned = owned.into_iter().map(|(name, tokens)| TokenFile {
            name, tokens: tokens.into_iter().map(Bytes::from).collect(),
        });
        let input =
            CourseInput { owned: owned.collect(), wanted: wanted.into_iter().collect() };
        prop_assert_eq!(parse_course("x", &input.to_text()), Ok(input));
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        for kind in b"0123" {
            let mut data = vec![*kind];
            data.extend_from_slice(&bytes);
            crate::fuzzing::plan(&data);
        }
    }

    #[test]
    fn any_words_are_read_or_refused(words in proptest::collection::vec("[0-3a./-]{1,3}", 0..12)) {
        crate::fuzzing::plan(format!("0{}", words.join("\n")).as_bytes());
    }
}
