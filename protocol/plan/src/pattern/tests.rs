use super::*;
use proptest::prelude::*;

fn pattern(text: &str) -> Pattern {
    Pattern::parse(text).unwrap_or_else(|wrong| panic!("{text}: {wrong}"))
}

#[test]
fn what_matches_what() {
    let cases = [
        ("a", "a", "A b ab a/a"),
        ("*", "a .hidden ☂", "a/b"),
        ("*.txt", "a.txt .txt", "a.txt.gz d/a.txt"),
        ("a*b*c", "abc axxbxxc abcbc", "abcb ac a/b/c"),
        ("?", "a ☂", "ab"),
        ("a?c/d", "abc/d", "ac/d abc/e abc"),
        ("**", "a a/b a/b/c", ""),
        ("model/**", "model/a model/a/b", "model models/a x/model/a"),
        ("model/***", "model model/a model/a/b", "models x/model models/a"),
        ("a/**/***", "a a/b a/b/c", "b"),
        ("*/***", "a b a/b", ""),
        ("**/x", "x a/x a/b/x", "xx a/xx x/a"),
        ("a/**/b", "a/b a/x/b a/x/y/b", "ab a/xb b a"),
        ("a/**/**/b/**", "a/b/c a/x/b/c/d", "a/b"),
        ("**/a/*/b/**/c", "a/1/b/c q/a/1/b/2/3/c a/a/a/b/b/b/c", "a/b/c a/1/2/b/c"),
        ("[a-c]", "a b c", "d -"),
        ("[!a-c]", "d -", "a"),
        ("[^a]x", "bx", "ax x"),
        ("[]]", "]", "["),
        ("[a-]", "a -", "b"),
        ("[-a]", "a -", "b"),
        ("[]-a]", "] ^ a", "b"),
        ("[[]x[*]", "[x*", "[xx"),
        ("n[0-9][0-9].bin", "n07.bin", "n7.bin n007.bin"),
        ("x{a,b}", "x{a,b}", "xa"),
    ];
    for (text, yes, no) in cases {
        let pattern = pattern(text);
        let wrong = |name: &&str| panic!("{text} and {name}");
        yes.split_whitespace().filter(|name| !pattern.matches(name)).for_each(|name| wrong(&name));
        no.split_whitespace().filter(|name| pattern.matches(name)).for_each(|name| wrong(&name));
        assert!(!pattern.matches(""), "{text} matches no name");
        assert_eq!(pattern.as_str(), text);
    }
}

#[test]
fn plain_names_are_literal() {
    for (text, literal) in
        [("a/b.c", true), ("x{a}", true), ("a*", false), ("**", false), ("a/[b]", false)]
    {
        assert_eq!(pattern(text).is_literal(), literal, "{text}");
    }
}

#[test]
fn a_tree_is_its_name_and_all_below_it() {
    for name in ["a", "a*", "x[1]", "?", "a/b [c]*", "]"] {
        let tree = Pattern::tree(name).unwrap();
        assert!(tree.matches(name) && tree.matches(&format!("{name}/q/r")), "{name}");
        for other in [format!("{name}x"), format!("x/{name}"), "zzz".to_owned()] {
            assert!(!tree.matches(&other), "{name} {other}");
        }
    }
    assert!(Pattern::tree("").unwrap().matches("a/b"));
    assert!(Pattern::tree("../a").is_err());
}

#[test]
fn what_is_no_pattern() {
    let cases = [
        ("", PatternError::Empty),
        ("/a", PatternError::Absolute),
        ("a/../b", PatternError::Dots("..".to_owned())),
        ("./a", PatternError::Dots(".".to_owned())),
        ("a//b", PatternError::EmptyComponent),
        ("a/", PatternError::EmptyComponent),
        ("a\\b", PatternError::Backslash),
        ("a\tb", PatternError::Control),
        ("a**", PatternError::DoubleStar),
        ("***", PatternError::DoubleStar),
        ("***/a", PatternError::DoubleStar),
        ("a/***/b", PatternError::DoubleStar),
        ("a***", PatternError::DoubleStar),
        ("a[b", PatternError::OpenClass),
        ("a[", PatternError::OpenClass),
        ("a[]", PatternError::OpenClass),
        ("a[!", PatternError::OpenClass),
        ("a[b-", PatternError::OpenClass),
        ("[a/b]", PatternError::OpenClass),
        ("[z-a]", PatternError::Backwards('z', 'a')),
    ];
    for (text, wrong) in cases {
        assert_eq!(Pattern::parse(text).err(), Some(wrong), "{text}");
    }
    let long = "a".repeat(MAX_PATTERN + 1);
    assert_eq!(Pattern::parse(&long).err(), Some(PatternError::TooLong(MAX_PATTERN + 1)));
}

#[test]
fn hostile_patterns_cost_a_product_and_no_power() {
    // An exponential matcher would not end within the age of the world on any of these.
    let stars = pattern(&"*a".repeat(100));
    assert!(!stars.matches(&("a".repeat(99) + "b")));
    let deep = pattern(&("**/a/".repeat(300) + "b"));
    assert!(!deep.matches(&("a/".repeat(1000) + "c")));
    let both = pattern(&("**/*a*a*a*b/".repeat(100) + "x"));
    assert!(!both.matches(&("aaaaaaaaaaaa/".repeat(200) + "x")));
}

/// The definition, as slow as it is plain.
fn slow(pattern: &[char], name: &[char]) -> bool {
    match (pattern, name) {
        ([], []) => true,
        (['*', '*'], [_, ..]) => true,
        (['*', '*', '/', rest @ ..], _) => {
            slow(rest, name)
                || (0..name.len()).any(|at| name[at] == '/' && slow(rest, &name[at + 1..]))
        }
        (['*', rest @ ..], _) => {
            let end = name.iter().position(|c| *c == '/').unwrap_or(name.len());
            (0..=end).any(|at| slow(rest, &name[at..]))
        }
        (['?', rest @ ..], [c, name @ ..]) => *c != '/' && slow(rest, name),
        ([p, rest @ ..], [c, name @ ..]) => p == c && slow(rest, name),
        _ => false,
    }
}

proptest! {
    #[test]
    fn agrees_with_the_definition(
        parts in proptest::collection::vec("(\\*\\*)|([ab*?]{1,4})", 1..5),
        names in proptest::collection::vec("[ab]{1,4}", 1..5),
    ) {
        let (text, name) = (parts.join("/"), names.join("/"));
        // What `***` means is said by the others.
        if text.contains("***") {
            return Ok(());
        }
        let plain = |pattern: &str| {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            slow(&chars(pattern), &chars(&name))
        };
        if let Ok(pattern) = Pattern::parse(&text) {
            prop_assert_eq!(pattern.matches(&name), plain(&text), "{} {}", text, name);
            if !text.ends_with("**") {
                let below = Pattern::parse(&format!("{text}/***")).unwrap();
                let expected = plain(&text) || plain(&format!("{text}/**"));
                prop_assert_eq!(below.matches(&name), expected, "{}/*** {}", text, name);
            }
        }
    }
}
