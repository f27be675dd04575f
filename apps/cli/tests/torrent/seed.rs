//! `dunlin seed` with data that is not as it should be: what is right is served, each fault has its
//! message, nothing is written, and other torrents never notice.

use crate::common::{Sandbox, data, end, signal, wait_for};
use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};

const HERE: &str = "--bind 127.0.0.1 --port 0";
/// Of each torrent: name and length. In pieces of 16 KiB; in a hybrid each file has pieces of its
/// own, in version 1 they share some.
const FILES: [(&str, usize); 4] =
    [("a.bin", 80_000), ("c.txt", 40_000), ("deep/b.bin", 50_000), ("deep/empty", 0)];
const TORRENTS: usize = 5;
/// The torrent to which it happens.
const T: &str = "t2";
/// Somebody who owns nothing.
const NOBODY: u32 = 65_534;

/// What happens to the data of one of five torrents.
struct Case {
    /// When, and what.
    when: When,
    harm: fn(&Sandbox),
    /// What is said of it.
    says: &'static str,
    /// Files that are given all the same.
    gives: &'static [&'static str],
    /// How the seed ends when it is stopped.
    exit: i32,
    /// It is seeded by another user, who may not write there.
    foreign: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum When {
    Before,
    While,
}

const ALL: &[&str] = &["a.bin", "c.txt", "deep/b.bin", "deep/empty"];

impl Case {
    /// Something of the torrent is missing or wrong.
    fn part(says: &'static str, gives: &'static [&'static str], harm: fn(&Sandbox)) -> Case {
        Case { when: When::Before, harm, says, gives, exit: 0, foreign: false }
    }

    /// Nothing of it is right.
    fn none(says: &'static str, harm: fn(&Sandbox)) -> Case {
        Case { exit: 1, ..Case::part(says, &[], harm) }
    }
}

fn shared(sandbox: &Sandbox, name: &str) -> PathBuf {
    sandbox.path(&format!("shared/{T}/{name}"))
}

fn sandbox(format: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    fs::set_permissions(sandbox.path("."), Permissions::from_mode(0o755)).unwrap();
    for torrent in 0..TORRENTS {
        for (name, length) in FILES {
            let bytes = data(10 * torrent as u64 + length as u64, length);
            sandbox.write(&format!("shared/t{torrent}/{name}"), bytes);
        }
        let options = format!("--format {format} --piece-size 16KiB --quiet");
        sandbox.expect(0, &format!("create shared/t{torrent} -o t{torrent}.torrent {options}"));
    }
    sandbox
}

fn expected(torrent: &str, name: &str) -> Vec<u8> {
    let number: u64 = torrent[1..].parse().unwrap();
    let (_, length) = FILES.into_iter().find(|(file, _)| *file == name).unwrap();
    data(10 * number + length as u64, length)
}

fn torrents() -> String {
    (0..TORRENTS).map(|number| format!("t{number}.torrent ")).collect()
}

/// A seed that runs, and what it has said so far.
struct Seed {
    child: Child,
    said: Arc<Mutex<Vec<String>>>,
    address: String,
}

impl Seed {
    fn start(sandbox: &Sandbox, line: &str, foreign: bool) -> Seed {
        let mut command = sandbox.command(line);
        if foreign && fs::metadata(sandbox.path(".")).unwrap().uid() == 0 {
            command.uid(NOBODY).gid(NOBODY);
        }
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let said = Arc::new(Mutex::new(Vec::new()));
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let all = Arc::clone(&said);
        std::thread::spawn(move || {
            lines.map_while(Result::ok).for_each(|line| all.lock().unwrap().push(line));
        });
        let mut seed = Seed { child, said, address: String::new() };
        seed.address = seed.says("listening at ").rsplit(' ').next().unwrap().to_owned();
        seed
    }

    /// Waits until it has said that; gives the line.
    fn says(&self, what: &str) -> String {
        wait_for(&format!("`{what}`: {:?}", self.said.lock().unwrap()), || {
            let said = self.said.lock().unwrap();
            said.iter().find(|line| line.contains(what)).cloned()
        })
    }

    /// Stops it, and gives its exit code.
    fn stop(mut self) -> i32 {
        assert_eq!(self.child.try_wait().unwrap(), None, "{:?}", self.said.lock().unwrap());
        signal(self.child.id(), "TERM");
        let status = self.child.wait().unwrap();
        let said = self.said.lock().unwrap().join("\n");
        assert!(!said.contains("defect") && !said.contains("panicked"), "{said}");
        status.code().unwrap_or(-1)
    }
}

impl Drop for Seed {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Everything below a folder but `.dunlin`: length, mode, time of its content.
fn snapshot(folder: &Path) -> BTreeMap<PathBuf, (u64, u32, i64, i64)> {
    let mut all = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(at) = folders.pop() {
        for entry in fs::read_dir(&at).unwrap() {
            let path = entry.unwrap().path();
            let meta = fs::symlink_metadata(&path).unwrap();
            if path.file_name().unwrap() == ".dunlin" {
                continue;
            }
            if meta.is_dir() {
                folders.push(path.clone());
            }
            let len = if meta.is_dir() { 0 } else { meta.len() };
            let name = path.strip_prefix(folder).unwrap().to_owned();
            all.insert(name, (len, meta.mode(), meta.mtime(), meta.mtime_nsec()));
        }
    }
    // The state folder may have come: that changes the time of what it is in.
    all.remove(Path::new(""));
    all
}

fn same(sandbox: &Sandbox, out: &str, torrent: &str, names: &[&str]) {
    for name in names {
        let path = sandbox.path(&format!("{out}/{torrent}/{name}"));
        let found = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert!(found == expected(torrent, name), "{} is wrong", path.display());
    }
}

fn check(case: &Case, beside_another: bool) {
    let sandbox = sandbox(if beside_another { "v1" } else { "hybrid" });
    let other = beside_another.then(|| {
        let copied = std::process::Command::new("cp")
            .args(["-r", "shared", "other"])
            .current_dir(sandbox.path("."))
            .status();
        assert!(copied.unwrap().success());
        Seed::start(&sandbox, &format!("seed {}--data other {HERE}", torrents()), false)
    });
    if case.when == When::Before {
        (case.harm)(&sandbox);
    }
    let mut before = snapshot(&sandbox.path("shared"));
    let to_other = other.as_ref().map(|seed| format!("--peer {}", seed.address));
    let to_other = to_other.unwrap_or_default();
    let line = format!("seed {}--data shared {to_other} {HERE}", torrents());
    let seed = Seed::start(&sandbox, &line, case.foreign);
    let others: Vec<_> = (0..TORRENTS).map(|n| format!("t{n}")).filter(|name| name != T).collect();
    others.iter().for_each(|name| _ = seed.says(&format!("{name}: seeding")));
    if case.when == When::While {
        seed.says(&format!("{T}: seeding"));
        (case.harm)(&sandbox);
        before = snapshot(&sandbox.path("shared"));
    } else {
        seed.says(case.says);
    }
    // The others never notice.
    let files: String = others.iter().map(|name| format!("{name}.torrent ")).collect();
    let peer = format!("--peer {} {HERE} --quiet", seed.address);
    sandbox.expect(0, &format!("get {files}-o out {peer}"));
    others.iter().for_each(|name| same(&sandbox, "out", name, ALL));
    // What is right is given.
    if !case.gives.is_empty() {
        let select: String = case.gives.iter().map(|name| format!("--select {name} ")).collect();
        // A piece may be shared with a file that is not right.
        sandbox.expect(0, &format!("get {T}.torrent -o part {select}{peer} {to_other}"));
        same(&sandbox, "part", T, case.gives);
    }
    if case.when == When::While {
        sandbox.expect(8, &format!("get {T}.torrent -o none {peer} --stall-timeout 1s"));
        seed.says(case.says);
    }
    if let Some(other) = other {
        let line = format!("get {}-o all {peer} --peer {}", torrents(), other.address);
        sandbox.expect(0, &line);
        (0..TORRENTS).for_each(|number| same(&sandbox, "all", &format!("t{number}"), ALL));
    }
    assert_eq!(seed.stop(), case.exit, "{}", case.says);
    let after = snapshot(&sandbox.path("shared"));
    assert_eq!(before, after, "{}: something was written", case.says);
    if case.foreign {
        assert!(!sandbox.path("shared/.dunlin").exists());
    }
}

/// Each case alone, and beside a seed that has everything.
macro_rules! cases {
    ($($name:ident: $case:expr;)*) => {
        $(mod $name {
            use super::*;

            #[test]
            fn alone() {
                check(&$case, false);
            }

            #[test]
            fn beside_another_seed() {
                check(&$case, true);
            }
        })*
    };
}

cases! {
    an_empty_file_is_missing: Case::part("t2: deep/empty: missing", ALL, |sandbox| {
        fs::remove_file(shared(sandbox, "deep/empty")).unwrap();
    });
    a_file_is_missing: Case::part(
        "t2: deep/b.bin: missing",
        &["a.bin", "c.txt", "deep/empty"],
        |sandbox| fs::remove_file(shared(sandbox, "deep/b.bin")).unwrap(),
    );
    a_byte_is_wrong: Case::part(
        "t2: a.bin: 1 of 5 pieces are wrong",
        &["c.txt", "deep/b.bin", "deep/empty"],
        |sandbox| {
            let mut bytes = expected(T, "a.bin");
            bytes[40_000] ^= 1;
            fs::write(shared(sandbox, "a.bin"), bytes).unwrap();
        },
    );
    a_file_is_short: Case::part(
        "t2: c.txt: 39999 bytes long, expected 40000",
        &["a.bin", "deep/b.bin", "deep/empty"],
        |sandbox| fs::write(shared(sandbox, "c.txt"), &expected(T, "c.txt")[..39_999]).unwrap(),
    );
    a_file_is_a_link: Case::part(
        "t2: c.txt: something else stands there",
        &["a.bin", "deep/b.bin", "deep/empty"],
        |sandbox| {
            fs::rename(shared(sandbox, "c.txt"), sandbox.path("c.txt")).unwrap();
            symlink(sandbox.path("c.txt"), shared(sandbox, "c.txt")).unwrap();
        },
    );
    a_folder_is_a_file: Case::part(
        "t2: deep/b.bin: something else stands there",
        &["a.bin", "c.txt"],
        |sandbox| {
            fs::remove_dir_all(shared(sandbox, "deep")).unwrap();
            fs::write(shared(sandbox, "deep"), "a file").unwrap();
        },
    );
    a_file_may_not_be_read: Case {
        foreign: true,
        ..Case::part(
            "permission denied",
            &["a.bin", "deep/b.bin", "deep/empty"],
            |sandbox| {
                let mode = Permissions::from_mode(0o000);
                fs::set_permissions(shared(sandbox, "c.txt"), mode).unwrap();
                fs::set_permissions(sandbox.path("shared"), Permissions::from_mode(0o555)).unwrap();
            },
        )
    };
    it_is_read_only_and_of_another_user: Case {
        foreign: true,
        ..Case::part("t2: seeding", ALL, |sandbox| {
            fs::set_permissions(sandbox.path("shared"), Permissions::from_mode(0o555)).unwrap();
        })
    };
    it_stands_too_deep: Case::none("/shared/in/here: give --data", |sandbox| {
        fs::create_dir_all(sandbox.path("shared/in/here")).unwrap();
        fs::rename(shared(sandbox, ""), sandbox.path("shared/in/here/t2")).unwrap();
    });
    it_stands_above: Case::none("files of its names and lengths are in ", |sandbox| {
        fs::rename(shared(sandbox, ""), sandbox.path("t2")).unwrap();
    });
    it_has_another_name: Case::none("/shared/other name holds its files", |sandbox| {
        fs::rename(shared(sandbox, ""), sandbox.path("shared/other name")).unwrap();
    });
    its_folder_is_renamed_while_seeding: Case {
        when: When::While,
        exit: 0,
        ..Case::none("t2: nothing of it is right any more", |sandbox| {
            fs::rename(shared(sandbox, ""), sandbox.path("shared/renamed")).unwrap();
        })
    };
}

#[test]
fn where_nothing_of_any_torrent_is_right_it_ends_at_once() {
    // (command, what it says)
    let cases = [
        ("seed t0.torrent --data shared/t0", "/shared: give --data"),
        ("seed t0.torrent --data shared/t0/deep", "/shared: give --data"),
        ("seed t0.torrent --data .", "/shared: give --data"),
        ("seed t0.torrent --data empty", "files: 4 missing; give --data"),
        ("seed t1.torrent t0.torrent --data wrong", "files: 1 missing, 3 wrong"),
        ("seed t0.torrent t1.torrent --data empty", "t1: nothing of it is right in"),
    ];
    let sandbox = sandbox("hybrid");
    fs::create_dir(sandbox.path("empty")).unwrap();
    for torrent in ["t0", "t1"] {
        sandbox.write(&format!("wrong/{torrent}/a.bin"), vec![1; 80_000]);
        sandbox.write(&format!("wrong/{torrent}/c.txt"), "short");
        fs::create_dir_all(sandbox.path(&format!("wrong/{torrent}/deep/b.bin"))).unwrap();
    }
    for (line, says) in cases {
        for quiet in ["", " --quiet"] {
            let done = sandbox.expect(6, &format!("{line} {HERE}{quiet}"));
            assert!(done.stderr.contains(says), "{line}: {}", done.stderr);
            assert_eq!(done.stderr.contains("a.bin: "), quiet.is_empty(), "{}", done.stderr);
        }
        let document = sandbox.json(6, &format!("{line} {HERE}"));
        assert_eq!(document["error"]["kind"], "mismatch");
        let files = document["torrents"][0]["files"].as_array().unwrap();
        let named = files.iter().filter(|file| file["error"].is_string()).count();
        assert!(named == files.len() || line.contains("wrong"), "{document}");
    }
    assert!(!sandbox.path("empty/.dunlin").exists() && !sandbox.path("wrong/.dunlin").exists());
}

#[test]
fn what_a_get_has_left_unfinished_is_not_written_over() {
    let sandbox = sandbox("hybrid");
    // The store holds what came with pieces that two files share.
    sandbox.expect(0, "create shared/t0 -o v1.torrent --piece-size 16KiB --quiet");
    let seed = Seed::start(&sandbox, &format!("seed v1.torrent --data shared {HERE}"), false);
    let get = format!("get v1.torrent -o out --peer {} {HERE}", seed.address);
    sandbox.expect(0, &format!("{get} --select c.txt --quiet"));
    let states = || {
        let all = sandbox.files("out/.dunlin");
        all.into_iter().filter(|(name, _)| !name.ends_with(".lock")).collect::<BTreeMap<_, _>>()
    };
    let before = states();
    assert!(before.keys().any(|name| name.ends_with(".parts")), "{:?}", before.keys());
    let reader = Seed::start(&sandbox, &format!("seed v1.torrent --data out {HERE}"), false);
    reader.says("t0: seeding");
    assert_eq!(reader.stop(), 0);
    assert!(states() == before);
    let report = sandbox.json(0, &get);
    assert!(report["torrents"][0]["bytes_received"].as_u64().unwrap() < 170_000, "{report}");
    same(&sandbox, "out", "t0", ALL);
}

#[test]
fn nothing_but_the_state_is_written_beside_plain_data() {
    let sandbox = sandbox("hybrid");
    let child = sandbox.start(&format!("seed shared/t0 --seed-ratio 0 {HERE}"));
    assert_eq!(end(child).code, 0);
    let names = sandbox.tree("shared");
    let mut expected: Vec<String> = (0..TORRENTS)
        .flat_map(|n| {
            let folders = [format!("t{n}"), format!("t{n}/deep")];
            folders.into_iter().chain(FILES.map(|(name, _)| format!("t{n}/{name}")))
        })
        .collect();
    expected.push("t0.torrent".into());
    expected.sort();
    let others: Vec<_> = names.into_iter().filter(|name| !name.starts_with(".dunlin")).collect();
    assert_eq!(others, expected);
}
