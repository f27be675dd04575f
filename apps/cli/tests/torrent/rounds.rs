//! Two torrents with one path, again and again, each time in another order, at other speeds and
//! with another pause between them: whoever has claimed the path first completes, the other one is
//! refused before it writes, and what a run that ends with 0 has written is right.
//!
//! `DUNLIN_ROUNDS` says how many rounds (`scripts/soak --only paths`), `DUNLIN_SEED` with which one
//! they begin: whatever fails names it.

use crate::common::{Done, Sandbox, data, end, wait_for};
use crate::transfer::{HERE, Seed};
use std::process::Child;
use std::time::Duration;

/// Whole pieces, so that two torrents prove that they mean the same content.
const SIZE: usize = 18 * 32 * 1024;

/// Speeds of a process, as its words.
const SPEEDS: [&str; 4] = ["", "--limit-down 8MiB", "--limit-down 1MiB", "--limit-down 400KiB"];

/// The torrents, by name: where the common file is in each, which content it has, and more words
/// for `create`.
const TORRENTS: [(&str, &str, u64, &str); 6] = [
    ("one", "Box/in/same.bin", 1, "--piece-size 32KiB"),
    ("two", "Box/in/same.bin", 2, "--piece-size 32KiB"),
    // As the first one, and both prove it.
    ("again", "Box/in/same.bin", 1, "--piece-size 32KiB --source again"),
    // As the first one, and nothing proves it.
    ("finer", "Box/in/same.bin", 1, "--piece-size 16KiB"),
    ("inside", "in/same.bin", 3, "--piece-size 32KiB"),
    ("bare", "same.bin", 4, "--piece-size 32KiB"),
];

/// How the content of two torrents compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Content {
    Different,
    Proven,
    /// Equal, which shows when one of them is finished.
    Unproven,
}

/// A torrent and the folder that it is fetched into, below that of the round.
type Side = (&'static str, &'static str);

/// A draw of numbers that is the same for the same seed.
struct Draw(u64);

impl Draw {
    fn below(&mut self, limit: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// The torrents of a scene, with a seed of each.
struct Scene {
    sandbox: Sandbox,
    sides: [Side; 2],
    content: Content,
    seeds: [Seed; 2],
    links: [String; 2],
}

/// Where the common file stands and what it holds.
fn of(name: &str) -> (&'static str, Vec<u8>) {
    let (_, path, seed, _) = TORRENTS.iter().find(|one| one.0 == name).unwrap();
    (path, data(*seed, SIZE))
}

impl Scene {
    fn new(sides: [Side; 2], content: Content) -> Scene {
        let sandbox = Sandbox::new();
        let seeds = sides.map(|(name, _)| {
            let (_, path, seed, words) = TORRENTS.iter().find(|one| one.0 == name).unwrap();
            sandbox.write(&format!("{name}/{path}"), data(*seed, SIZE));
            let top = path.split('/').next().unwrap();
            if top != *path {
                // What nobody else has.
                sandbox.write(&format!("{name}/{top}/z-{name}.txt"), data(seed + 10, 9_000));
            }
            sandbox.expect(0, &format!("create {name}/{top} -o {name}.torrent --quiet {words}"));
            Seed::start(&sandbox, &format!("seed {name}.torrent --data {name} {HERE}"))
        });
        let links = sides.map(|(name, _)| {
            sandbox.expect(0, &format!("magnet {name}.torrent")).stdout.trim().to_owned()
        });
        Scene { sandbox, sides, content, seeds, links }
    }

    fn start(&self, torrents: &str, out: &str, speed: &str) -> Child {
        let [one, two] = &self.seeds;
        let peers = format!("--peer {} --peer {}", one.address, two.address);
        self.sandbox.start(&format!("get {torrents} -o {out} {peers} {HERE} --quiet {speed}"))
    }

    /// Waits until a process has claimed its paths, or has ended.
    fn claimed(&self, child: &mut Child, out: &str) {
        let state = self.sandbox.path(out).join(".dunlin");
        wait_for("its claims", || {
            let entries = std::fs::read_dir(&state).into_iter().flatten().flatten();
            let settled = |path: std::path::PathBuf| {
                path.extension().is_some_and(|ending| ending == "claims")
                    && std::fs::read(path).is_ok_and(|bytes| bytes.first() == Some(&b'!'))
            };
            let found = entries.map(|entry| entry.path()).any(settled);
            (found || child.try_wait().unwrap().is_some()).then_some(())
        });
    }

    /// What stands in the folder of a round, when it is over: all files of who is `done`, each of
    /// them right, and nothing of anybody else.
    fn check(&self, root: &str, done: &[Side], what: &str) {
        let mut expected = std::collections::BTreeMap::new();
        for (name, out) in done {
            let (path, bytes) = of(name);
            let below = |path: &str| format!("{out}/{path}").trim_start_matches('/').to_owned();
            expected.insert(below(path), bytes);
            if let Some((top, _)) = path.split_once('/') {
                let own = std::fs::read(self.sandbox.path(&format!("{name}/{top}/z-{name}.txt")));
                expected.insert(below(&format!("{top}/z-{name}.txt")), own.unwrap());
            }
        }
        let mut found = self.sandbox.files(root);
        found.retain(|path, _| !path.split('/').any(|part| part == ".dunlin"));
        let (expects, stands): (Vec<_>, Vec<_>) =
            (expected.keys().collect(), found.keys().collect());
        assert_eq!(expects, stands, "{what}");
        for (path, bytes) in &expected {
            assert!(found.get(path) == Some(bytes), "{path} is wrong: {what}");
        }
    }

    /// Both torrents in one process. A magnet link knows its paths later than a torrent does.
    fn in_one(&self, seed: u64) {
        let mut draw = Draw(seed);
        let (first, speed) = (draw.below(2), SPEEDS[draw.below(SPEEDS.len())]);
        let link = draw.below(3) == 0;
        let what = format!("round {seed}: {:?}, {first} first, link: {link}", self.sides);
        let words = |side: usize, link: bool| match link {
            true => self.links[side].clone(),
            false => format!("{}.torrent", self.sides[side].0),
        };
        // The one that is named first, if both are known from the beginning.
        let torrents = match link {
            true => format!("{} {}", words(1 - first, true), words(first, false)),
            false => format!("{} {}", words(first, false), words(1 - first, false)),
        };
        let root = format!("one-{seed}");
        let done = end(self.start(&torrents, &root, speed));
        let all: Vec<_> = match self.content {
            Content::Proven => self.sides.to_vec(),
            // The first may be finished before the second one is known.
            Content::Unproven if done.code == 0 => self.sides.to_vec(),
            _ => vec![self.sides[first]],
        };
        let code = if all.len() == 2 { 0 } else { 4 };
        assert_eq!(done.code, code, "{what}: {}", done.stderr);
        if code == 4 {
            refused(&done, &what);
        }
        self.check(&root, &all, &what);
    }

    /// Each in a process of its own. The second one begins when the first has claimed its paths, or
    /// whenever it likes.
    fn in_two(&self, seed: u64) {
        let mut draw = Draw(seed);
        let first = draw.below(2);
        let speeds = [0, 1].map(|_| SPEEDS[draw.below(SPEEDS.len())]);
        let waits = draw.below(2) == 0;
        let what = format!("round {seed}: {:?}, {first} first, waits: {waits}", self.sides);
        let root = format!("two-{seed}");
        let sides = [self.sides[first], self.sides[1 - first]];
        let out = |side: Side| format!("{root}/{}", side.1);
        let start =
            |side: Side, speed| self.start(&format!("{}.torrent", side.0), &out(side), speed);
        let mut one = start(sides[0], speeds[0]);
        match waits {
            true => self.claimed(&mut one, &out(sides[0])),
            false => std::thread::sleep(Duration::from_millis(draw.below(200) as u64)),
        }
        let two = start(sides[1], speeds[1]);
        let done = [end(one), end(two)];
        let codes = [done[0].code, done[1].code];
        let said = format!("{what}: {codes:?} {} {}", done[0].stderr, done[1].stderr);
        let good = |code: &i32| *code == 0;
        assert!(codes.iter().all(|code| [0, 4].contains(code)), "{said}");
        match self.content {
            Content::Proven => assert!(codes.iter().all(good), "{said}"),
            Content::Different => {
                assert_eq!(codes.iter().filter(|code| good(code)).count(), 1, "{said}");
                assert!(!waits || codes[0] == 0, "{said}");
            }
            Content::Unproven => {
                assert!(codes.iter().any(good) && (!waits || codes[0] == 0), "{said}")
            }
        }
        let finished: Vec<_> =
            sides.into_iter().zip(codes).filter(|(_, code)| *code == 0).collect();
        let finished: Vec<_> = finished.into_iter().map(|(side, _)| side).collect();
        done.iter().filter(|done| done.code == 4).for_each(|done| refused(done, &said));
        self.check(&root, &finished, &said);
    }
}

/// It says which file it is, and who has it or what stands there.
fn refused(done: &Done, what: &str) {
    let reasons = ["writes other content there", "other content", "is no folder"];
    let says = |text: &&str| done.stderr.contains(*text);
    assert!(done.stderr.contains("same.bin") && reasons.iter().any(says), "{what}");
}

fn rounds(round: impl Fn(u64)) {
    let from = number("DUNLIN_SEED").unwrap_or(1);
    (from..from + number("DUNLIN_ROUNDS").unwrap_or(1)).for_each(round);
}

#[test]
fn rounds_of_other_content() {
    let scene = Scene::new([("one", ""), ("two", "")], Content::Different);
    rounds(|seed| {
        scene.in_one(seed);
        scene.in_two(seed);
    });
}

#[test]
fn rounds_of_nested_folders() {
    let scene = Scene::new([("one", ""), ("bare", "Box/in")], Content::Different);
    rounds(|seed| scene.in_two(seed));
}

#[test]
fn rounds_of_a_torrent_within_another() {
    let scene = Scene::new([("one", ""), ("inside", "Box")], Content::Different);
    rounds(|seed| scene.in_two(seed));
}

#[test]
fn rounds_of_content_that_is_proved_to_be_the_same() {
    let scene = Scene::new([("one", ""), ("again", "")], Content::Proven);
    rounds(|seed| {
        scene.in_one(seed);
        scene.in_two(seed);
    });
}

#[test]
fn rounds_of_content_that_shows_to_be_the_same() {
    let scene = Scene::new([("one", ""), ("finer", "")], Content::Unproven);
    rounds(|seed| {
        scene.in_one(seed);
        scene.in_two(seed);
    });
}
