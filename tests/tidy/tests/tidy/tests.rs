//! The checks themselves, on snippets that must fail and snippets that must pass.

mod structure;

use crate::manifest::Manifest;
use crate::scan::Source;
use crate::{bans, documents, edges, limits, lock, pages};

fn pure(text: &str) -> Vec<String> {
    bans::check_pure(&Source::new("engine/src/x.rs", text))
}

#[test]
fn io_is_found_however_it_is_written() {
    let cases = [
        "use std::fs;",
        "use std::fs::File;",
        "use ::std::fs::File;",
        "use core::sync::atomic::AtomicU64;",
        "use std::{fmt, fs};",
        "use std::{fmt::{self, Write}, io::{self, Read}};",
        "use std::{\n    collections::BTreeMap,\n    net::{Ipv4Addr, TcpStream},\n};",
        "use std as s;\nfn f() { s::fs::read(\"x\"); }",
        "use std::{self as s};\nfn f() { s::env::var(\"x\"); }",
        "use std::sync;\nstatic X: sync::Mutex<u8> = sync::Mutex::new(0);",
        "use std::sync::{self, Arc};\ntype X = sync::RwLock<u8>;",
        "use std::net;\nfn f() { net::UdpSocket::bind(a); }",
        "extern crate std as s;\nfn f() { s::process::exit(1) }",
        "use std::*;",
        "use std::sync::*;",
        "pub use std::fs as disk;",
        "fn f() { let x = std::time::Instant::now(); }",
        "fn f() { let x = ::std::time::SystemTime::now(); }",
        "fn f(x: &std::fs::File) {}",
        "fn f() -> Result<(), std::io::Error> { Ok(()) }",
        "fn f() { <std::fs::File as Drop>::drop(x) }",
        "fn f() { std :: thread :: spawn(g); }",
        "use std::sync::mpsc as m;",
        "use std::sync::{OnceLock};",
        "use std::collections::{BTreeMap, HashMap};",
        "use std::collections::hash_map::Entry;",
        "fn f() { println!(\"x\"); }",
        "fn f() { eprintln ! (\"x\"); }",
        "async fn f() {}",
        "fn f() { unsafe { g() } }",
        "mod tests;",
        "#[path = \"elsewhere.rs\"]\nmod x;",
        "include!(\"x.in\");",
        "#[cfg(test)]\nmod tests { fn f() {} }\nuse std::fs;",
        "#[cfg(test)]\nuse a::{b, c};\nuse std::fs;",
        "#[cfg(not(test))]\nuse std::fs;",
        "const A: &str = r#\"a \" b\"#; use std::fs;",
        "const A: char = '\"'; use std::fs;",
        "const A: char = '\\''; use std::fs; // '",
        "fn f<'a>(x: &'a str) { std::fs::read(x) }",
        "/* a /* b */ c */ use std::fs;",
    ];
    for case in cases {
        assert!(!pure(case).is_empty(), "not found in: {case}");
    }
}

#[test]
fn what_is_allowed_is_not_complained_of() {
    let cases = [
        "use std::fmt;",
        "// use std::fs;",
        "/// Never opens a [`std::fs::File`].\nfn f() {}",
        "/* std::fs /* std::io */ std::env */",
        "const A: &str = \"use std::fs; unsafe async\";",
        "const A: &str = \"a \\\" std::fs \";",
        "const A: &str = r##\"x \"# std::fs \"##;",
        "const A: &[u8] = br\"std::fs\";",
        "const A: char = '\"'; // std::fs\nconst B: char = '\"';",
        "#[cfg(test)]\nmod tests {\n    use std::fs;\n    fn f() { unsafe { g() } }\n}",
        "#[cfg(test)]\nmod tests;",
        "#[cfg(test)]\n#[allow(dead_code)]\nfn f() { std::fs::read(x) }",
        "#[cfg(test)]\nuse std::{fs, io};\nfn f() {}",
        "use std::net::{IpAddr, Ipv4Addr, SocketAddr};",
        "use std::sync::Arc;\nuse std::time::Duration;",
        "use std::sync::{Arc, Weak};",
        "use crate::io::{Input, Output};\nfn f() { crate::io::g(); }",
        "fn f(x: Io) { x.fs.io.env(); }",
        "mod fs { pub fn read() {} }\nfn f() { fs::read(); self::fs::read(); }",
        "fn print() { print(); }",
        "use std::collections::{BTreeMap, BTreeSet, VecDeque};",
        "fn r#async_like() {}",
        "fn f<'a>() -> impl Iterator<Item = &'a u8> + use<'a> { g() }",
    ];
    for case in cases {
        assert_eq!(pure(case), Vec::<String>::new(), "in: {case}");
    }
}

#[test]
fn complaints_name_the_line() {
    let found = pure("//! Docs.\n\nuse std::{\n    fmt,\n    fs::{File, OpenOptions},\n};\n");
    assert_eq!(found.len(), 2);
    assert!(found[0].starts_with("engine/src/x.rs:5: `std::fs::File` may not"), "{found:?}");
}

#[test]
fn floats_and_unsafe() {
    let floats = |text: &str| bans::check_floats(&Source::new("engine/src/x.rs", text)).len();
    for case in ["let x: f64;", "x.as_secs_f32()", "x * 1.5", "1f64", "y as f32"] {
        assert_eq!(floats(case), 1, "{case}");
    }
    for case in ["0..5", "x.0.1", "1_000", "0..=5", "t.0.len()", "// 1.5", "half(64)", "0xf64"] {
        assert_eq!(floats(case), 0, "{case}");
    }
    let unsafes = |path: &str| bans::check_unsafe(&Source::new(path, "unsafe {}")).len();
    assert_eq!(unsafes("services/hash/src/pool.rs"), 1);
    assert_eq!(unsafes("services/hash/src/simd.rs"), 0);
    assert_eq!(unsafes("worlds/cluster/src/fabric/mpi/abi.rs"), 0);
    assert_eq!(unsafes("apps/cli/src/main.rs"), 1);
}

#[test]
fn pages_are_held_to_the_source() {
    let sources = [
        Source::new("a/x.rs", "fn f() { unsafe { g() } }\n#[cfg(test)]\nmod t { unsafe {} }\n"),
        Source::new("a/y.rs", "// unsafe\nfn f() {}"),
    ];
    let list = |page: &str| pages::check_unsafe_page(page, &sources);
    assert_eq!(list("| file |\n| `a/x.rs` | 1 | calls g | g is fine |\n"), [""; 0]);
    assert!(list("")[0].contains("a/x.rs:1: 1 uses"));
    assert!(list("| `a/x.rs` | 2 | calls g | g is fine |")[0].contains("has 1 uses, not 2"));
    let two = "| `a/x.rs` | 1 | calls g | g is fine |\n| `a/y.rs` | 0 | nothing | it is |";
    assert!(list(two)[0].contains("a/y.rs has no unsafe code"));
    let threats = |page: &str| pages::check_threats_page(page, &sources);
    assert_eq!(threats("| cannot | held |\n|---|---|\n| fly | `a/x.rs: f, g` |"), [""; 0]);
    assert!(threats("| fly | gravity |")[0].contains(":1: expected where it is held"));
    assert!(threats("| fly | `a/y.rs: f, g` |")[0].contains("a/y.rs has no `g`"));
    assert!(threats("by `a/z.rs`")[0].contains("`a/z.rs` is not there"));
}

#[test]
fn a_vocabulary_and_budgets_are_held() {
    let sources = [Source::new("a/x.rs", "fn choke() {}\n")];
    let words = |rows: &str| {
        let page = format!("| other | `a/x.rs` |\n\n| word | what to open |\n|---|---|\n{rows}\n");
        pages::check_vocabulary_page(&page, &sources)
    };
    assert_eq!(words("| choke | `a/x.rs: choke` |\n| peer | `a/x.rs` |"), [""; 0]);
    assert!(words("| choke | nowhere |")[0].contains(":5: expected where it is held"));
    assert!(words("| choke | `a/y.rs` |")[0].contains("`a/y.rs` is not there"));
    assert!(words("| choke | `a/x.rs: unchoke` |")[0].contains("a/x.rs has no `unchoke`"));
    assert_eq!(pages::check_vocabulary_page("| choke | `a/x.rs` |", &sources).len(), 1);
    let plan = |row: &str| {
        let page = format!("by `a/x.rs`\n\n| decision | reason | where |\n|---|---|---|\n{row}\n");
        pages::check_architecture_page(&page, &sources)
    };
    assert_eq!(plan("| choke | fair | `a/x.rs: choke` |"), [""; 0]);
    assert!(plan("| choke | fair | `a/y.rs` |")[0].contains(":5: `a/y.rs` is not there"));
    assert!(plan("| choke | fair | |")[0].contains(":5: expected where it is held"));
    assert_eq!(pages::check_architecture_page("by `a/x.rs`", &sources).len(), 1);
    let budgets = |rows: &str| documents::check_budgets(&format!("| part | seconds |\n{rows}\n"));
    assert_eq!(budgets("| `whole` | 30 | x |\n| `a` | 10 | x |\n| `b` | 20 | x |"), [""; 0]);
    assert!(budgets("| `whole` | 30 | x |\n| `a` | 31 | x |")[0].contains("31 s together"));
    assert_eq!(budgets("| `a` | 31 | x |").len(), 1);
    assert_eq!(budgets("| `whole` | 1441 | x |\n| `a` | 1 | x |").len(), 1, "more than the bound");
}

#[test]
fn tests_do_not_count_as_length() {
    let code = "fn f() {}\n".repeat(600);
    let tests = format!("#[cfg(test)]\nmod tests {{\n{code}}}\n");
    let length = |path: &str, text: &str| bans::check_length(&Source::new(path, text));
    assert_eq!(length("engine/src/x.rs", &format!("{code}{tests}")), None);
    let long = format!("{code}fn g() {{}}\n{tests}");
    assert!(length("engine/src/x.rs", &long).is_some_and(|text| text.contains("601 lines")));
    assert_eq!(length("engine/src/x/tests.rs", &long), None);
    assert_eq!(length("engine/tests/x.rs", &long), None);
}

#[test]
fn the_classic_client_has_its_bound() {
    let check = |files: &[(&str, usize)]| bans::check_evening(files.iter().copied());
    let (asks, sources) = ("engine/src/cluster/course/x.rs", "engine/src/swarm/sources.rs");
    assert_eq!(check(&[(asks, 400), (sources, 600), ("engine/src/swarm/x.rs", 9)]), [""; 0]);
    assert!(check(&[(asks, 401), (sources, 600)])[0].contains("1001 lines"));
    assert_eq!(check(&[(asks, 1)]).len(), 1, "a folder that is gone bounds nothing");
}

const WORKSPACE: &str = "[workspace.dependencies]\ntokio = \"1\"\nbytes = { version = \"1.12\" }\n\
                         dunlin-a = { path = \"protocol/a\" }\n";

fn manifest(folder: &str, name: &str, rest: &str) -> Manifest {
    let text = format!("[package]\nname = \"{name}\"\n[dependencies]\n{rest}\n");
    Manifest::read(&format!("{folder}/Cargo.toml"), &text, WORKSPACE)
}

#[test]
fn reserved_crates_are_for_few() {
    let cases = [
        ("services/links", "dunlin-links", "ring", true),
        ("worlds/cluster", "dunlin-cluster", "tokio", true),
        ("worlds/cluster", "dunlin-cluster", "ring", false),
        ("services/disk", "dunlin-disk", "tokio", false),
        ("apps/cli", "dunlin", "socket2", false),
        ("apps/cli", "dunlin", "clap", true),
    ];
    for (folder, name, dependency, fine) in cases {
        let found =
            edges::check_reserved(&[manifest(folder, name, &format!("{dependency} = \"1\""))]);
        assert_eq!(found.is_empty(), fine, "{name} → {dependency}: {found:?}");
    }
}

#[test]
fn a_disk_in_memory_is_for_tests() {
    let found = |rest: &str| edges::check_test_features(&[manifest("worlds/w", "w", rest)]);
    let disk = |more: &str| format!("dunlin-disk = {{ path = \"x\"{more} }}");
    assert_eq!(found(&disk("")), [""; 0]);
    let tests = format!("[dev-dependencies]\n{}", disk(", features = [\"test-fs\"]"));
    assert_eq!(found(&tests), [""; 0]);
    assert!(found(&disk(", features = [\"test-fs\"]"))[0].contains("`test-fs` is for"));
    let build = format!("[build-dependencies]\n{}", disk(", features = [\"test-fs\"]"));
    assert_eq!(found(&build).len(), 1);
}

#[test]
fn edges_up_and_sideways_are_found() {
    let path = "path = \"x\"";
    let on = |name: &str| format!("{name} = {{ {path} }}");
    let house = |from: Manifest| {
        let mut all = vec![
            manifest("protocol/p", "p", ""),
            manifest("engine", "e", "p.path = \"x\""),
            manifest("services/s", "s", "p.path = \"x\""),
            manifest("worlds/w", "w", "e.path = \"x\""),
            manifest("apps/a", "a", "w.path = \"x\""),
        ];
        all.push(from);
        edges::check(&all)
    };
    let cases = [
        ("protocol/x", "e", false),
        ("protocol/x", "p", true),
        ("engine", "s", false),
        ("services/x", "e", false),
        ("services/x", "s", true),
        ("worlds/x", "w", false),
        ("worlds/x", "s", true),
        ("worlds/x", "a", false),
        ("apps/x", "w", true),
        ("apps/x", "a", false),
        ("fuzz", "p", true),
        ("cellar/x", "p", false),
    ];
    for (folder, to, fine) in cases {
        let found = house(manifest(folder, "x", &on(to)));
        assert_eq!(found.is_empty(), fine, "{folder} → {to}: {found:?}");
    }
    let dev = "[package]\nname = \"x\"\n[target.'cfg(unix)'.dev-dependencies]\ne.path = \"x\"";
    let found = house(Manifest::read("protocol/x/Cargo.toml", dev, WORKSPACE));
    assert!(found[0].starts_with("protocol/x/Cargo.toml:4: x depends on e"), "{found:?}");
    for (kind, fine) in [("dev-dependencies", true), ("dependencies", false)] {
        let text =
            format!("[package]\nname = \"dunlin-engine\"\n[{kind}]\n{}", on("dunlin-simnet"));
        let engine = Manifest::read("engine/Cargo.toml", &text, WORKSPACE);
        let found = edges::check(&[manifest("services/simnet", "dunlin-simnet", ""), engine]);
        assert_eq!(found.is_empty(), fine, "tests may, the engine may not: {found:?}");
    }
    let circle = [manifest("protocol/a", "a", &on("b")), manifest("protocol/b", "b", &on("a"))];
    assert_eq!(edges::check(&circle).len(), 2);
    for (kind, complaints) in [("dependencies", 1), ("dev-dependencies", 0)] {
        let text = format!("[package]\nname = \"a\"\n[{kind}]\n{}", on("a"));
        let itself = [Manifest::read("protocol/a/Cargo.toml", &text, WORKSPACE)];
        assert_eq!(edges::check(&itself).len(), complaints, "{kind}");
    }
}

#[test]
fn other_peoples_crates_are_counted() {
    let allowed = |folder: &str, name: &str, rest: &str| {
        edges::check_allowed(&[manifest(folder, name, rest)]).is_empty()
    };
    assert!(allowed("engine", "e", "bytes.workspace = true"));
    assert!(!allowed("engine", "e", "tokio.workspace = true"));
    assert!(!allowed("engine", "e", "innocent = { package = \"tokio\", version = \"1\" }"));
    assert!(!allowed("protocol/p", "p", "[build-dependencies]\ncc = \"1\""));
    assert!(!allowed("protocol/p", "p", "proptest = \"1\""));
    assert!(allowed("protocol/p", "p", "[dev-dependencies]\nproptest = \"1\""));
    assert!(allowed("protocol/plan", "dunlin-plan", "toml = \"1\""));
    assert!(!allowed("protocol/p", "p", "toml = \"1\""));
    assert!(allowed("services/s", "s", "tokio.workspace = true"));
    let both = manifest("engine", "e", "bytes.workspace = true\ntokio.workspace = true");
    let versions: Vec<_> = both.dependencies.iter().map(|each| each.version.as_str()).collect();
    assert_eq!(versions, ["1.12", "1"]);
}

#[test]
fn lints_are_taken_or_copied() {
    let workspace = "[workspace.lints.rust]\nunsafe_code = \"forbid\"\nmissing_docs = \"warn\"\n\
                     [workspace.lints.clippy]\nall = { level = \"warn\", priority = -1 }\n";
    let lints = |folder: &str, text: &str| {
        Manifest::read(&format!("{folder}/Cargo.toml"), text, workspace).lints
    };
    let shared = "[lints]\nworkspace = true\n";
    let own = "[lints.rust]\nunsafe_code = \"deny\"\nmissing_docs = \"warn\"\n\
               [lints.clippy]\nall = { level = \"warn\", priority = -1 }\n";
    assert!(lints("engine", shared));
    assert!(lints("services/hash", own));
    // Only where a module is unsafe; all of them; none weaker; none more.
    assert!(!lints("engine", own));
    assert!(!lints("services/hash", shared));
    assert!(!lints("services/hash", ""));
    assert!(!lints("services/hash", &own.replace("missing_docs = \"warn\"\n", "")));
    assert!(!lints("services/hash", &own.replace("deny", "allow")));
    assert!(!lints("services/hash", &own.replace("-1", "1")));
    assert!(!lints("services/hash", &format!("{own}style = \"allow\"\n")));
}

#[test]
fn texts_and_locks() {
    let text = |line: &str| documents::check_text("x.md", line).len();
    let wo = concat!("/wo", "rk/");
    assert_eq!(text(&format!("cd {wo}main")), 1);
    assert_eq!(text(&format!("\"{wo}main\"")), 1);
    assert_eq!(text(&format!("root = \".{wo}{{rank}}\"")), 0);
    assert_eq!(text(&format!("plan{wo}a")), 0);
    let package = |name: &str| format!("[[package]]\nname = \"{name}\"\n");
    assert_eq!(lock::check(&[package("rustls"), package("ring")].concat()).len(), 0);
    assert_eq!(lock::check(&package("aws-lc-sys")).len(), 1);
    let two = [package("rustls"), package("ring"), package("boring")].concat();
    assert_eq!(lock::check(&two).len(), 1);
    assert_eq!(lock::check("source = \"registry+https://elsewhere.example\"").len(), 1);
}

#[test]
fn bounds_and_their_rows() {
    let source = "/// Doc.\npub const MAX_A: usize = 4 << 20;\nconst B_LIMIT: Duration =\n    \
                  Duration::from_secs(3);\nconst C: u32 = 7;\n#[cfg(test)]\nmod tests { const \
                  MAX_T: u32 = 1; }\n";
    let source = Source::new("engine/src/x.rs", source);
    let row = |rest: &str| format!("| `engine/src/x.rs` | {rest} |\n");
    let a = row("`MAX_A` | `4 << 20` | bytes of x | y");
    let b = row("`B_LIMIT` | `Duration::from_secs(3)` | time | z");
    let check = |rows: &[&str]| limits::check_page(&rows.concat(), &[&source]);
    assert_eq!(check(&[&b, &a]), Vec::<String>::new());
    let c = row("`C` | `7` | a constant that no name marks | z");
    assert_eq!(check(&[&b, &c, &a]), Vec::<String>::new());
    assert_eq!(check(&[&b]).len(), 1, "a bound without a row");
    assert_eq!(check(&[&a, &b]).len(), 1, "out of order");
    assert_eq!(check(&[&b, &a, &a]).len(), 1, "twice");
    assert_eq!(check(&[&b, &a.replace("20", "21")]).len(), 1, "another value");
    assert_eq!(check(&[&b, &a, &row("`MAX_Z` | `1` | b | c")]).len(), 1, "no such constant");
    assert_eq!(check(&[&b, &row("`MAX_A` | `4 << 20` |  | y")]).len(), 1, "it bounds nothing");
    assert_eq!(check(&[&b, &row("`MAX_A` | `4 << 20` | y")]).len(), 2, "a cell is missing");
}

#[test]
fn streams_are_found_however_they_are_written() {
    let found = |text: &str| bans::check_streams(&Source::new("apps/cli/src/x.rs", text)).len();
    let cases = [
        "fn f() { writeln!(std::io::stdout(), \"x\"); }",
        "use std::io::stderr;",
        "fn f() { io::stderr().lock() }",
        "use std::io::{stdout as out};\nfn f() { stdout() }",
        "fn f(x: io::Stdout) {}",
        "use indicatif::ProgressBar;",
        "fn f() { error.print(); }",
        "fn f() { command.stderr(Stdio::inherit()); }",
    ];
    for case in cases {
        assert!(found(case) > 0, "not found in: {case}");
    }
    let fine = "fn f() { command.stdout(Stdio::piped()); child.stderr.take(); table::print(x); }";
    assert_eq!(found(fine), 0);
    assert_eq!(bans::check_streams(&Source::new("apps/cli/src/console/out.rs", cases[0])).len(), 0);
}
