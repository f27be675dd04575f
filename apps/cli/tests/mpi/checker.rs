//! The way in which the checker of the classic programs runs them: a launcher starts `./tema2` in a
//! folder of `in<R>.txt`, and each `client<R>_<file>` is compared as `diff -w` does. `./tema2` is a
//! script of two lines.

use crate::common::{Sandbox, text};
use crate::job::{Job, Mpi};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Folders that are generated, each from its number.
const FOLDERS: u64 = 20;
/// Names that a file may have: odd ones among them.
const NAMES: [&str; 8] =
    ["file1", "file2", "file10", "data.bin", "-x", "in1", "client1_file1", "жар-птица"];

/// Numbers from a seed, each below its bound.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// What must stand in a folder in the end: the lines of each output.
type Expected = BTreeMap<String, Vec<String>>;

/// Writes a folder of this number; how many peers it has, and what they must make of it.
fn generate(sandbox: &Sandbox, folder: &str, number: u64) -> (u32, Expected) {
    let mut dice = Dice(0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(number + 1) | 1);
    let peers = 1 + dice.below(6);
    let mut files: Vec<(&str, Vec<String>, BTreeSet<u64>)> = Vec::new();
    for name in NAMES.iter().take(1 + dice.below(NAMES.len() as u64) as usize) {
        let count = [0, 1, 9, 10, 11, 30, 75][dice.below(7) as usize];
        let mut tokens = Vec::new();
        for _ in 0..count {
            // Some tokens stand in several files, and several times in one.
            let token = if dice.chance(20) { dice.below(5) } else { dice.below(u64::MAX) };
            tokens.push(format!("{token:032x}"));
        }
        let mut owners: BTreeSet<u64> = (1..=peers).filter(|_| dice.chance(30)).collect();
        owners.insert(1 + dice.below(peers));
        files.push((name, tokens, owners));
    }
    let mut expected = Expected::new();
    for rank in 1..=peers {
        let owned: Vec<_> = files.iter().filter(|(.., owners)| owners.contains(&rank)).collect();
        let mut text = format!("{}\n", owned.len());
        for (name, tokens, _) in owned {
            writeln!(text, "{name} {}", tokens.len()).unwrap();
            tokens.iter().for_each(|token| writeln!(text, "{token}").unwrap());
        }
        // One in four wants nothing; some want what they own.
        let chance = if dice.chance(25) { 0 } else { 60 };
        let wanted: Vec<_> = files.iter().filter(|_| dice.chance(chance)).collect();
        write!(text, "{}", wanted.len()).unwrap();
        for (name, tokens, _) in wanted {
            write!(text, "\n{name}").unwrap();
            expected.insert(format!("client{rank}_{name}"), tokens.clone());
        }
        sandbox.write(&format!("{folder}/in{rank}.txt"), text);
    }
    (peers as u32, expected)
}

/// Copies a folder of the checker's own; what it has is `in<R>.txt` and `out<K>.txt` for `file<K>`.
fn copy(sandbox: &Sandbox, folder: &str, from: &Path) -> (u32, Expected) {
    let (mut peers, mut expected) = (0, Expected::new());
    for rank in 1.. {
        let name = format!("in{rank}.txt");
        let Some(own) = text(&from.join(&name)) else { break };
        sandbox.write(&format!("{folder}/{name}"), &own);
        peers = rank;
        let mut words = own.split_whitespace();
        let mut number = || words.next().unwrap().parse::<usize>().unwrap();
        for _ in 0..number() {
            let count: usize = words.nth(1).unwrap().parse().unwrap();
            words.by_ref().take(count).for_each(drop);
        }
        for name in words.skip(1) {
            let out = from.join(format!("out{}.txt", name.trim_start_matches("file")));
            expected.insert(format!("client{rank}_{name}"), lines(&text(&out).unwrap()));
        }
    }
    (peers, expected)
}

/// Lines as `diff -w` sees them.
fn lines(text: &str) -> Vec<String> {
    text.lines().map(|line| line.split_whitespace().collect()).collect()
}

/// Runs the checker's program in the folder, and compares.
fn run(sandbox: &Sandbox, mpi: &Mpi, folder: &str, peers: u32, expected: &Expected) {
    let script = sandbox.write(&format!("{folder}/tema2"), "#!/bin/sh\nexec dunlin swarm\n");
    fs::set_permissions(script, fs::Permissions::from_mode(0o755)).unwrap();
    Job::new(sandbox, mpi, peers + 1, "").program(folder, "./tema2").expect(0);
    let found: BTreeSet<String> =
        sandbox.files(folder).into_keys().filter(|name| name.starts_with("client")).collect();
    assert_eq!(found, expected.keys().cloned().collect(), "{} {folder}", mpi.name());
    for (name, tokens) in expected {
        let found = text(&sandbox.path(folder).join(name)).unwrap();
        assert!(lines(&found) == *tokens, "{} {folder}/{name} is wrong", mpi.name());
    }
}

#[test]
#[ignore = "needs Open MPI and MPICH; scripts/test runs it"]
fn generated_folders() {
    for (index, mpi) in Mpi::all().iter().enumerate() {
        let sandbox = Sandbox::new();
        for number in 0..FOLDERS {
            let folder = format!("{index}-{number}");
            let (peers, expected) = generate(&sandbox, &folder, number);
            run(&sandbox, mpi, &folder, peers, &expected);
        }
    }
}

/// The checker's own folders, which are beside the repository.
#[test]
#[ignore = "needs Open MPI and MPICH; scripts/test runs it"]
fn folders_beside_the_repository() {
    let mut place = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    place.extend(["..", "..", "..", "shared", "cases", "course"]);
    let entries = fs::read_dir(&place);
    let entries = entries.unwrap_or_else(|error| panic!("{}: {error}", place.display()));
    let cases: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    assert!(!cases.is_empty(), "{} has no folders", place.display());
    for (index, mpi) in Mpi::all().iter().enumerate() {
        let sandbox = Sandbox::new();
        for case in &cases {
            let folder = format!("{index}-{}", case.file_name().unwrap().to_str().unwrap());
            let (peers, expected) = copy(&sandbox, &folder, case);
            assert!(peers > 0 && !expected.is_empty(), "{}", case.display());
            run(&sandbox, mpi, &folder, peers, &expected);
        }
    }
}
