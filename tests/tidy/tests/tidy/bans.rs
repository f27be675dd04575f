//! What a source may not name, and why.

use crate::paths::{Named, named};
use crate::scan::Source;

/// Code lines of a file, tests apart.
const MAX_LINES: usize = 600;
/// What is read in an evening: the classic way to ask, and from whom; and how many lines that may
/// be, tests included.
const EVENING: (&[&str], usize) =
    (&["engine/src/cluster/course", "engine/src/swarm/sources"], 1000);
/// Files that may be longer. Empty, and to stay so: a long file is a hub that decides.
const LONGER: &[&str] = &[];

/// Where `unsafe` may stand: vector instructions, and the library that is loaded at run time.
const UNSAFE: &[&str] = &["services/hash/src/simd", "worlds/cluster/src/fabric/mpi"];

/// Modules of std that nothing below the services may name, and why.
const MODULES: &[(&[&str], &str)] = &[
    (&["std", "fs"], "files are the world's; take bytes and give bytes"),
    (&["std", "io"], "I/O is the world's; take bytes and give bytes"),
    (&["std", "os"], "the operating system is the world's"),
    (&["std", "thread"], "threads are the world's; one owner, `&mut self`"),
    (&["std", "env"], "the environment is the app's; take a value"),
    (&["std", "process"], "processes are the app's; return an error"),
    (&["std", "collections", "hash_map"], "its order is not deterministic; use BTreeMap"),
    (&["std", "collections", "hash_set"], "its order is not deterministic; use BTreeSet"),
    (&["std", "hash", "RandomState"], "it is seeded by the system; use BTreeMap"),
];

/// Modules of std of which only these names may be used.
const ONLY: &[(&[&str], &[&str], &str)] = &[
    (
        &["std", "net"],
        &["SocketAddr", "SocketAddrV4", "SocketAddrV6", "IpAddr", "Ipv4Addr", "Ipv6Addr"],
        "sockets are the world's; addresses are values",
    ),
    (&["std", "sync"], &["Arc", "Weak"], "no lock, channel, atomic or global; one owner"),
    (&["std", "time"], &["Duration"], "no clock; take `dunlin_base::Time` as an argument"),
];

/// Single words, and why.
const WORDS: &[(&str, &str)] = &[
    ("HashMap", "its order is not deterministic; use BTreeMap"),
    ("HashSet", "its order is not deterministic; use BTreeSet"),
    ("FxHashMap", "its order is an accident; use BTreeMap"),
    ("FxHashSet", "its order is an accident; use BTreeSet"),
    ("unsafe", "unsafe code has its places, and this is none"),
    ("async", "state machines here are polled by hand"),
    ("await", "state machines here are polled by hand"),
];

/// Macros, and why.
const MACROS: &[(&str, &str)] = &[
    ("print", "output is the app's"),
    ("println", "output is the app's"),
    ("eprint", "output is the app's"),
    ("eprintln", "output is the app's"),
    ("dbg", "output is the app's"),
    ("thread_local", "no globals"),
    ("include", "a source that is not seen is not checked"),
];

/// Where files of a run are opened by name: nothing but this module of the disk's crate does it, so
/// that no link and no pipe in an output folder can be forgotten.
const OPENS: &str = "services/disk/src/fs/";

/// Crates that write only through the disk's crate.
const WRITERS: &[&str] = &["services/disk/src/", "worlds/", "apps/"];

/// What of `std::fs` makes, empties or replaces files by name.
const WRITES: &[&[&str]] = &[
    &["std", "fs", "File", "create"],
    &["std", "fs", "OpenOptions"],
    &["std", "fs", "write"],
    &["std", "fs", "copy"],
];

/// Who may, and why it is sound: a key file is checked by its descriptor as strictly.
const MAY_WRITE: &[&str] = &["worlds/cluster/src/fabric/tcp/key_file.rs"];

/// Floats that decide nothing, and why.
const FLOATS: &[(&str, &str, &str)] = &[
    ("engine/src/cluster/coordinator/start.rs", "as_secs_f64", "a message for people"),
    ("engine/src/cluster/member/stall.rs", "as_secs_f64", "a message for people"),
];

fn complaint(source: &Source, line: usize, what: &str, why: &str) -> String {
    format!("{}:{line}: `{what}` may not be named here: {why}", source.path)
}

/// Files are opened by name in one place.
pub(crate) fn check_opens(source: &Source) -> Vec<String> {
    let path = source.path.as_str();
    let writes = WRITERS.iter().any(|crates| path.starts_with(crates));
    if !writes || path.starts_with(OPENS) || MAY_WRITE.contains(&path) {
        return Vec::new();
    }
    let disk = path.starts_with("services/disk/src/");
    let opens = |named: &Named| {
        let file = ["std", "fs", "File"];
        let only_type = named.parts == file;
        let any =
            named.starts_with(&["std", "fs"]) && !only_type || named.starts_with(&["rustix", "fs"]);
        disk && any || WRITES.iter().any(|call| named.starts_with(call))
    };
    let why = "names are opened by `dunlin_disk::Fs`, which follows no link; use it";
    let all = named(source).into_iter().filter(opens);
    all.map(|path| complaint(source, path.line, &path.parts.join("::"), why)).collect()
}

/// No I/O, clock, thread, lock, environment, output, unsafe, async or hash order.
pub(crate) fn check_pure(source: &Source) -> Vec<String> {
    let mut found = Vec::new();
    for path in named(source) {
        if let Some(why) = banned(&path) {
            found.push(complaint(source, path.line, &path.parts.join("::"), why));
        }
    }
    for (at, word) in source.words.iter().enumerate() {
        let next = |more: usize| source.words.get(at + more).map_or("", |word| &word.text);
        if let Some((_, why)) = WORDS.iter().find(|(name, _)| *name == word.text) {
            found.push(complaint(source, word.line, &word.text, why));
        }
        let is_macro = |(name, _): &&(&str, &str)| *name == word.text && next(1) == "!";
        if let Some((name, why)) = MACROS.iter().find(is_macro) {
            found.push(complaint(source, word.line, &format!("{name}!"), why));
        }
        if word.text == "mod" && next(1) == "tests" {
            let why = "without #[cfg(test)] it is no test";
            found.push(complaint(source, word.line, "mod tests", why));
        }
        if word.text == "#" && next(1) == "[" && next(2) == "path" {
            let why = "a source that is not seen is not checked";
            found.push(complaint(source, word.line, "#[path]", why));
        }
    }
    found
}

/// Why a path may not be named.
fn banned(path: &Named) -> Option<&'static str> {
    // A glob above a banned module brings it in without its name.
    let glob = path.parts.last().is_some_and(|part| part == "*");
    let above = path.parts.len().saturating_sub(1);
    let brings = |module: &[&str]| {
        glob && above < module.len() && path.starts_with(&module[..above]) && above > 0
    };
    for (module, why) in MODULES {
        if path.starts_with(module) || brings(module) {
            return Some(why);
        }
    }
    for (module, allowed, why) in ONLY {
        let name = path.parts.get(module.len());
        let other = name.is_some_and(|name| !allowed.contains(&name.as_str()));
        if path.starts_with(module) && other || brings(module) {
            return Some(why);
        }
    }
    None
}

/// No `f32` or `f64`, no conversion to one, no literal of one.
pub(crate) fn check_floats(source: &Source) -> Vec<String> {
    let allowed =
        |word: &str| FLOATS.iter().any(|(path, name, _)| *path == source.path && *name == word);
    let float = |word: &str| {
        let typed = !word.starts_with("0x")
            && ["f32", "f64"].iter().any(|kind| {
                word.strip_suffix(kind).is_some_and(|rest| {
                    rest.is_empty() || rest.ends_with('_') || rest.starts_with(char::is_numeric)
                })
            });
        let literal = word.starts_with(|c: char| c.is_ascii_digit())
            && word.split_once('.').is_some_and(|(_, digits)| !digits.is_empty());
        typed || literal
    };
    let words = source.words.iter().filter(|word| float(&word.text) && !allowed(&word.text));
    let why = "decisions must replay on every machine; use integers, or allow it in tidy with \
               the reason";
    words.map(|word| complaint(source, word.line, &word.text, why)).collect()
}

/// `unsafe` only where it may be.
pub(crate) fn check_unsafe(source: &Source) -> Vec<String> {
    if UNSAFE.iter().any(|place| source.path.starts_with(place)) {
        return Vec::new();
    }
    let words = source.words.iter().filter(|word| word.text == "unsafe");
    let why = "unsafe code has its places: services/hash/src/simd*, worlds/cluster/src/fabric/mpi*";
    words.map(|word| complaint(source, word.line, "unsafe", why)).collect()
}

/// Who may write to stdout or stderr, or draw on them: what goes out for people is cleaned in one
/// place. The witness answers the process that started it.
const STREAMS: &[&str] = &[
    "apps/cli/src/console/out.rs",
    "apps/cli/src/console/progress.rs",
    "worlds/cluster/src/supervision/witness.rs",
];

/// Standard streams are named where texts are cleaned, and nowhere else.
pub(crate) fn check_streams(source: &Source) -> Vec<String> {
    if source.is_test() || STREAMS.contains(&source.path.as_str()) {
        return Vec::new();
    }
    let word = |at: usize| source.words.get(at).map_or("", |word| word.text.as_str());
    let why = "texts from outside are cleaned in apps/cli/src/console/out.rs; write through it";
    let mut found = Vec::new();
    for (at, here) in source.words.iter().enumerate() {
        let before = |back: usize| at.checked_sub(back).map_or("", word);
        let method = before(1) == ".";
        let taken = match here.text.as_str() {
            // `Command::stdout` is the output of another program.
            "stdout" | "stderr" => word(at + 1) == "(" && !method || before(1) == "::",
            "Stdout" | "Stderr" | "indicatif" | "inherit" => true,
            // The parser of the command line prints by itself.
            "print" => method,
            _ => false,
        };
        if taken {
            found.push(complaint(source, here.line, &here.text, why));
        }
    }
    found
}

/// Files are short enough to be read at a sitting.
pub(crate) fn check_length(source: &Source) -> Option<String> {
    let long = source.lines > MAX_LINES && !source.is_test();
    (long && !LONGER.contains(&source.path.as_str())).then(|| {
        let (path, lines) = (&source.path, source.lines);
        format!("{path}:{MAX_LINES}: {lines} lines without tests, at most {MAX_LINES}; split it")
    })
}

/// The classic client stays something that is read in an evening: files with their lines, by path.
pub(crate) fn check_evening<'a>(files: impl Iterator<Item = (&'a str, usize)>) -> Vec<String> {
    let (folders, most) = EVENING;
    let mut lines = vec![0; folders.len()];
    for (path, count) in files {
        for (folder, lines) in folders.iter().zip(&mut lines) {
            let rest = path.strip_prefix(folder);
            if rest.is_some_and(|rest| rest == ".rs" || rest.starts_with('/')) {
                *lines += count;
            }
        }
    }
    let gone = folders.iter().zip(&lines).filter(|(_, lines)| **lines == 0);
    let mut found: Vec<String> = gone
        .map(|(folder, _)| format!("{folder}: nothing is there; name where the classic client is"))
        .collect();
    let all: usize = lines.iter().sum();
    if all > most {
        found.push(format!("{}: {all} lines, at most {most}", folders.join(" and ")));
    }
    found
}
