//! The plans of these tests: made in a sandbox, with what must stand there in the end.

use crate::common::{Course, Sandbox, data};
use crate::rules::Wanted;
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

/// By path below the output folder: what must stand there.
pub(crate) type Outputs = BTreeMap<String, Vec<u8>>;

/// A plan that was written to a folder of a sandbox.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// How many ranks it needs: one for each peer, and the tracker's.
    pub(crate) ranks: u32,
    /// What each rank has to fetch.
    pub(crate) wanted: Wanted,
    /// Whether it moves real files, in blocks, and no tokens.
    pub(crate) blocks: bool,
    outputs: Outputs,
}

impl Plan {
    /// Asserts that the output folder holds exactly what it must, byte by byte.
    pub(crate) fn check(&self, sandbox: &Sandbox, folder: &str) {
        same(&sandbox.files(folder), &self.outputs, folder);
    }
}

/// Asserts that two folders hold the same, without printing it.
pub(crate) fn same(found: &Outputs, expected: &Outputs, folder: &str) {
    let names = |files: &Outputs| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(found), names(expected), "{folder}");
    for (name, bytes) in expected {
        assert!(found[name] == *bytes, "{folder}/{name} is wrong");
    }
}

/// A course plan with all there is in one: files of no token, one and many, with two owners and
/// one; a rank that wants what it owns, one that only serves, and one that only wants.
pub(crate) fn course(sandbox: &Sandbox, folder: &str) -> Plan {
    let course = Course::new(&[("a", 60), ("b", 37), ("one", 1), ("none", 0)])
        .peer("a b one none", "")
        .peer("a", "b none")
        .peer("", "a b one none")
        .peer("b", "a b")
        .peer("", "b a");
    course.write(sandbox, folder);
    Plan { ranks: 6, wanted: course.pieces(), blocks: false, outputs: course.outputs() }
}

/// The example of the course format that comes with the program.
pub(crate) fn example(sandbox: &Sandbox, folder: &str) -> Plan {
    let mut source = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    source.extend(["..", "..", "examples", "course"]);
    let (mut tokens, mut owned, mut wants) = (BTreeMap::new(), Vec::new(), Vec::new());
    for rank in 1..=5_u64 {
        let name = format!("in{rank}.txt");
        let text = String::from_utf8(fs::read(source.join(&name)).unwrap()).unwrap();
        sandbox.write(&format!("{folder}/{name}"), &text);
        let mut words = text.split_whitespace().map(str::to_owned);
        let mut next = || words.next().unwrap();
        for _ in 0..next().parse().unwrap() {
            let (name, count) = (next(), next().parse().unwrap());
            tokens.insert(name.clone(), (0..count).map(|_| next()).collect::<Vec<String>>());
            owned.push((rank, name));
        }
        let count: usize = next().parse().unwrap();
        wants.extend((0..count).map(|_| (rank, next())));
    }
    let (mut wanted, mut outputs) = (Wanted::new(), Outputs::new());
    for (rank, name) in wants {
        let tokens: &Vec<String> = &tokens[&name];
        let text: String = tokens.iter().map(|token| format!("{token}\n")).collect();
        outputs.insert(format!("client{rank}_{name}"), text.into_bytes());
        let has = owned.contains(&(rank, name.clone()));
        wanted.insert((rank, name), if has { 0 } else { tokens.len() as u64 });
    }
    Plan { ranks: 6, wanted, blocks: false, outputs }
}

/// A plan of real files of odd sizes in a tree, to be moved in pieces of `piece` bytes: rank 1 has
/// most of them, rank 3 one and rank 4 two; rank 2 wants everything.
pub(crate) fn folders(sandbox: &Sandbox, folder: &str, piece: u64) -> Plan {
    const FILES: &[(u64, &str, usize)] = &[
        (1, "big", 3_000_000),
        (1, "empty", 0),
        (1, "one", 1),
        (1, "tree/a", 70_001),
        (1, "tree/deep/b", 65_536),
        (1, "tree/deep/c", 0),
        (3, "mine", 100_000),
        (4, "big", 3_000_000),
        (4, "tree/d", 262_145),
    ];
    const WANTS: &[(u64, &str)] = &[(2, "**"), (3, "big\ntree/**\n"), (4, "mine\none\n")];
    let (mut wanted, mut outputs) = (Wanted::new(), Outputs::new());
    for (rank, name, length) in FILES {
        let bytes = data(*length as u64, *length);
        sandbox.write(&format!("{folder}/peer{rank}/{name}"), &bytes);
        let wants = |rank: u64| match rank {
            2 => true,
            3 => *name == "big" || name.starts_with("tree/"),
            4 => ["mine", "one"].contains(name),
            _ => false,
        };
        for rank in (1..=4).filter(|rank| wants(*rank)) {
            wanted.insert((rank, (*name).to_owned()), (*length as u64).div_ceil(piece));
            outputs.insert(format!("peer{rank}/{name}"), bytes.clone());
        }
    }
    for (rank, wants) in WANTS {
        sandbox.write(&format!("{folder}/peer{rank}/wants"), wants);
    }
    Plan { ranks: 5, wanted, blocks: true, outputs }
}

/// One file of so many bytes, which rank 1 has and all others up to `last` want.
pub(crate) fn one_file(sandbox: &Sandbox, folder: &str, last: u64, bytes: usize) -> Plan {
    let content = data(7, bytes);
    sandbox.write(&format!("{folder}/peer1/big"), &content);
    for rank in 2..=last {
        sandbox.write(&format!("{folder}/peer{rank}/wants"), "big");
    }
    let outputs = (2..=last).map(|rank| (format!("peer{rank}/big"), content.clone()));
    let outputs = outputs.collect();
    Plan { ranks: last as u32 + 1, wanted: Wanted::new(), blocks: true, outputs }
}
