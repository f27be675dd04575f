//! Circles, parts, names and columns, on small crates that must fail and small crates that must
//! pass.

use crate::modules::{Modules, trees};
use crate::scan::Source;
use crate::{allow_list, circles, columns, names, parts};

/// The complaints of a check on a crate in the folder `engine`, of files by name and text.
fn check(files: &[(&str, &str)], check: impl Fn(&[Modules]) -> Vec<String>) -> Vec<String> {
    let source = |(name, text): &(&str, &str)| Source::new(&format!("engine/src/{name}"), text);
    let sources: Vec<Source> = files.iter().map(source).collect();
    check(&trees("engine", &sources))
}

fn circles(files: &[(&str, &str)]) -> Vec<String> {
    check(files, |trees| trees.iter().flat_map(circles::check).collect())
}

#[test]
fn circles_are_found_however_they_are_written() {
    let lib = ("lib.rs", "mod a;\nmod b;\npub use a::A;\npub use b::*;\n");
    let a = ("a.rs", "use crate::b::B;\npub struct A;\n");
    let cases = [
        "use crate::a::A;",
        "use super::a::A;",
        "use crate::{fmt, a::{A, X}};",
        "use crate::a;",
        "use crate::a as other;\nfn f() -> other::A { g() }",
        "fn f(x: crate::a::A) {}",
        "fn f() { super::a::g() }",
        "fn f() { use crate::a::A; }",
        "pub(crate) use crate::a::*;",
        // By the name that the root gives it.
        "use crate::A;",
        "use super::A;",
        "use super::*;\nfn f(x: A) {}",
    ];
    for case in cases {
        let found = circles(&[lib, a, ("b.rs", &format!("{case}\npub struct B;\n"))]);
        assert_eq!(found.len(), 2, "in {case}: {found:?}");
        assert!(found[0].starts_with("engine/src/a.rs:1: closes a circle"), "{found:?}");
    }
    let by_root = ("a.rs", "use crate::B;\npub struct A;\n");
    let found = circles(&[lib, by_root, ("b.rs", "use crate::A;\npub struct B;\n")]);
    assert_eq!(found.len(), 2, "{found:?}");
}

#[test]
fn what_is_no_circle_is_not_complained_of() {
    let lib = ("lib.rs", "mod a;\nmod b;\npub use a::A;\npub struct Root;\n");
    let a = ("a.rs", "use crate::b::B;\npub struct A;\n");
    let cases = [
        "use crate::Root;\nuse other::a::A;\nuse std::a;",
        "/// See [`crate::a::A`].\nconst X: &str = \"crate::a::A\"; // crate::a",
        "#[cfg(test)]\nmod tests {\n    use crate::a::A;\n}",
        "#[cfg(test)]\nmod tests;",
        "pub(crate) fn f(a: X) -> X { a }",
        "mod deep { pub fn a() {} }\nfn f() { deep::a() }",
    ];
    let tests = ("b/tests.rs", "use crate::a::A;\n");
    for case in cases {
        let found = circles(&[lib, a, ("b.rs", &format!("{case}\npub struct B;\n")), tests]);
        assert_eq!(found, Vec::<String>::new(), "in: {case}");
    }
}

#[test]
fn a_module_and_its_children_may_name_each_other() {
    let lib = ("lib.rs", "mod a;\nmod b;\n");
    let a = ("a.rs", "mod x;\nmod y;\nuse x::X;\nuse y::Y;\npub struct A;\n");
    let x = ("a/x.rs", "use super::A;\nuse super::Y;\npub struct X;\n");
    let y = ("a/y.rs", "use crate::a::A;\npub struct Y;\n");
    let b = ("b.rs", "pub struct B;\n");
    assert_eq!(circles(&[lib, a, x, y, b]), Vec::<String>::new());
    // Two children.
    let both = ("a/y.rs", "use super::X;\npub struct Y;\n");
    assert_eq!(circles(&[lib, a, x, both, b]).len(), 2);
    // A child, a stranger and the parent.
    let stranger = ("b.rs", "use crate::a::x::X;\n");
    let uses_b = ("a.rs", "mod x;\nmod y;\nuse crate::b::B;\n");
    let found = circles(&[lib, uses_b, x, y, stranger]);
    assert!(found.iter().any(|line| line.starts_with("engine/src/b.rs:1: ")), "{found:?}");
    // The parent does not use the stranger, nor the child the parent.
    assert_eq!(circles(&[lib, a, y, ("a/x.rs", "pub struct X;\n"), stranger]), [""; 0]);
    // The same with `mod.rs`.
    let folder = ("a/mod.rs", "mod x;\nmod y;\n");
    assert_eq!(circles(&[lib, folder, x, both, b]).len(), 0, "`X` stands nowhere");
    let found =
        circles(&[lib, folder, ("a/x.rs", "use super::y::Y;"), ("a/y.rs", "use super::x::X;")]);
    assert_eq!(found.len(), 2);
}

#[test]
fn parts_share_the_core_and_the_base() {
    let lib = "mod client;\nmod cluster;\nmod config;\nmod dht;\nmod io;\nmod swarm;\nmod tracker;\n\
               pub use client::Client;\n";
    let edges = |file: &str, text: &str| {
        let mut files = vec![("lib.rs", lib), (file, text)];
        let names = ["client", "cluster", "config", "dht", "io", "swarm", "tracker"];
        let others: Vec<String> = names.iter().map(|name| format!("{name}.rs")).collect();
        let rest = others.iter().filter(|name| *name != file);
        files.extend(rest.map(|name| (name.as_str(), "pub struct Client;\nmod deep;\n")));
        files.push(("client/deep.rs", "pub struct Deep;\n"));
        check(&files, |trees| trees.iter().flat_map(parts::check_edges).collect())
    };
    let cases = [
        ("swarm.rs", "use crate::client::X;", 1),
        ("swarm.rs", "use crate::Client;", 1),
        ("swarm.rs", "fn f() { crate::cluster::f() }", 1),
        ("swarm.rs", "use super::tracker::X;", 1),
        ("swarm.rs", "use crate::{config::X, io::Y};", 1),
        ("client.rs", "use crate::cluster::X;\nuse crate::tracker::X;", 2),
        ("client.rs", "use crate::swarm::X;\nuse crate::io::X;", 1),
        ("io.rs", "pub use crate::client::X;\npub use crate::swarm::X;", 0),
        ("cluster.rs", "use crate::client::deep::Deep;", 1),
        ("tracker.rs", "use crate::client;", 1),
        ("dht.rs", "use crate::client::X;", 1),
        ("dht.rs", "use crate::swarm::X;", 0),
        ("client.rs", "use crate::dht::X;", 1),
        ("config.rs", "use crate::client::X;", 1),
        ("config.rs", "use crate::swarm::X;", 0),
    ];
    for (file, text, complaints) in cases {
        let found = edges(file, text);
        assert_eq!(found.len(), complaints, "{file}: {text}: {found:?}");
    }
}

#[test]
fn questions_for_the_world_are_found() {
    let found = |path: &str, text: &str| parts::check_worlds(&Source::new(path, text)).len();
    let core = "engine/src/swarm/peer.rs";
    let cases = [
        "if shared.net.is_some() {}",
        "if self.net\n    .is_none() {}",
        "peer.abroad.as_ref()",
        "if config.is_internet() {}",
        "match config.profile {}",
        "use crate::config::Profile;",
        "if choker == ChokerKind::Cooperative {}",
        "matches!(remote, Endpoint::Rank(_))",
        "let Endpoint::Socket(at) = remote else { return };",
        "remote.rank().is_some()",
    ];
    for case in cases {
        assert_eq!(found(core, case), 1, "{case}");
        assert_eq!(found("engine/src/swarm.rs", case), 1, "{case}");
        assert_eq!(found("engine/src/client/peer.rs", case), 0, "{case}");
        assert_eq!(found("engine/src/swarm/peer/tests.rs", case), 0, "{case}");
    }
    assert_eq!(found(core, "// abroad\nlet net = limits.is_some();"), 0);
    assert_eq!(found("engine/src/swarm_table.rs", cases[0]), 0);
    assert_eq!(found("engine/src/swarm/address.rs", "Endpoint::Rank(_) => None"), 0);
}

#[test]
fn one_name_is_one_type_in_a_crate() {
    let found = |files: &[(&str, &str)]| check(files, |trees| names::check("engine", trees));
    let lib = ("lib.rs", "mod a;\nmod b;\npub struct Part;\n");
    let cases = [
        ("pub(crate) struct Part { x: u8 }", 1),
        ("enum Part<T> { A(T) }", 1),
        ("pub trait Part {}", 1),
        ("type Part = u8;", 1),
        ("pub struct Error;\nenum State {}\nstruct Args;", 0),
        ("impl X for Y {\n    type Part = u8;\n}", 0),
        ("fn f() {\n    struct Part;\n}", 0),
        ("#[cfg(test)]\nmod tests {\n    struct Part;\n}\n#[cfg(test)]\nstruct Part;", 0),
        ("// struct Part\nconst X: &str = \"struct Part\";", 0),
        ("use other::Part;\npub fn part(x: Part) {}", 0),
    ];
    for (text, complaints) in cases {
        let b = ("b.rs", "pub struct Error;\nenum State {}\nstruct Args;\n");
        assert_eq!(found(&[lib, ("a.rs", text), b]).len(), complaints, "{text}");
    }
    let found = found(&[lib, ("a.rs", "struct Part;"), ("b.rs", "\ntype Part = u8;")]);
    assert_eq!(found.len(), 2);
    assert!(found[0].starts_with("engine/src/b.rs:2: `Part` is also a type at engine/src/a.rs:1"));
}

#[test]
fn pages_are_measured() {
    let found = |text: &str| columns::check_page("x.md", text).len();
    let words = "word ".repeat(19);
    assert_eq!(found(&format!("{words}words")), 0, "100 columns");
    assert_eq!(found(&format!("{words}a words")), 1);
    assert_eq!(found(&format!("- {words}a words")), 1);
    assert_eq!(found(&("ä".repeat(50) + " " + &"ä".repeat(49))), 0, "columns, not bytes");
    let fine = format!("| {words} | {words} |\n```sh\n{words} {words}\n```\n");
    assert_eq!(found(&fine), 0);
    assert_eq!(found(&format!("{fine}{words} {words}")), 1, "after a code block");
    assert_eq!(found(&format!("[a]({}) and", "x".repeat(100))), 0, "a link");
    assert_eq!(found(&format!("[a]: https://example.org/{}", "x".repeat(100))), 0);
}

#[test]
fn the_allow_list_shrinks() {
    let list = [("circles", "engine", 2)];
    let settle = |folder: &str, found: usize| {
        allow_list::settle_by(&list, "circles", folder, vec![String::from("x"); found])
    };
    assert_eq!(settle("engine", 2), [""; 0]);
    assert_eq!(settle("engine", 3).len(), 4, "all, and the row");
    assert!(settle("engine", 1)[0].contains("write 1"));
    assert!(settle("engine", 0)[0].contains("remove it"));
    assert_eq!(settle("apps/cli", 0), [""; 0]);
    assert_eq!(settle("apps/cli", 1).len(), 2);
    assert_eq!(allow_list::settle_by(&list, "names", "engine", vec![String::new()]).len(), 2);
}

#[test]
fn sources_are_measured() {
    let found = |text: &str| columns::check_source("x.rs", text).len();
    let long = "word ".repeat(21);
    assert_eq!(found(&format!("/// {long}\n    // {long}\n")), 2);
    assert_eq!(found(&format!("let a = 1 + {}1;\n", "1 + ".repeat(25))), 1);
    assert_eq!(found(&format!("let a = 1; {} // why\n", " ".repeat(100))), 1);
    // Strings, tables, code blocks and links may be long.
    assert_eq!(found(&format!("let a = \"{long}\";\n")), 0);
    assert_eq!(found(&format!("/// | {long} |\n")), 0);
    assert_eq!(found(&format!("/// ```text\n/// {long}\n/// ```\nfn f() {{}}\n")), 0);
    assert_eq!(found(&format!("/// <https://example.org/{}>\n", "a".repeat(100))), 0);
    // A block ends with its comment.
    assert_eq!(found(&format!("/// ```text\nfn f() {{}}\n/// {long}\n")), 1);
}
