//! Torrents that want one path: in one process, in two, below one folder and below nested ones; and
//! part files that change between two runs. What the storage does of it is tested where it is.

use crate::common::{Done, Sandbox, data, end, number, signal, wait_for};
use crate::transfer::{HERE, Seed};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

const SIZE: usize = 2_000_000;

/// Two folders with one torrent each, `one.torrent` and `two.torrent`, and a seed of each.
struct Pair {
    sandbox: Sandbox,
    seeds: [Seed; 2],
}

impl Pair {
    /// `path` is what is made a torrent of, in `one/` and in `two/`, with more words for `create`.
    fn new(sandbox: Sandbox, paths: [&str; 2], words: [&str; 2]) -> Pair {
        let seeds = [("one", paths[0], words[0]), ("two", paths[1], words[1])].map(
            |(name, path, words)| {
                let create = format!("create {name}/{path} -o {name}.torrent --quiet {words}");
                sandbox.expect(0, &create);
                let folder = match path.rsplit_once('/') {
                    Some((above, _)) => format!("{name}/{above}"),
                    None => name.to_owned(),
                };
                Seed::start(&sandbox, &format!("seed {name}.torrent --data {folder} {HERE}"))
            },
        );
        Pair { sandbox, seeds }
    }

    /// The words that fetch from both seeds.
    fn get(&self, torrents: &str, out: &str) -> String {
        let [one, two] = &self.seeds;
        let peers = format!("--peer {} --peer {}", one.address, two.address);
        format!("get {torrents} -o {out} {peers} {HERE} --quiet")
    }

    /// A process that fetches slowly, and has claimed its paths.
    fn slowly(&self, torrent: &str, out: &str) -> Child {
        let line = format!("{} --limit-down 1MiB", self.get(torrent, out));
        let child = self.sandbox.start(&line);
        self.claimed(out);
        child
    }

    /// Somebody has claimed paths there.
    fn claimed(&self, out: &str) {
        let state = self.sandbox.path(out).join(".dunlin");
        wait_for("its claims", || {
            let entries = std::fs::read_dir(&state).ok()?.flatten();
            let mut claims = entries
                .filter(|entry| entry.path().extension().is_some_and(|ending| ending == "claims"));
            claims.find(|entry| std::fs::read(entry.path()).is_ok_and(|b| b.first() == Some(&b'!')))
        });
    }

    fn is(&self, path: &str, source: &str) {
        let bytes = |path: &str| std::fs::read(self.sandbox.path(path)).unwrap();
        assert!(bytes(path) == bytes(source), "{path} is not {source}");
    }
}

fn ended(done: &Done, code: i32) {
    assert_eq!(done.code, code, "{}{}", done.stdout, done.stderr);
}

/// A pair whose path `same.bin` has other content in each.
fn different() -> Pair {
    let sandbox = Sandbox::new();
    sandbox.write("one/same.bin", data(1, SIZE));
    sandbox.write("two/same.bin", data(2, SIZE));
    Pair::new(sandbox, ["same.bin", "same.bin"], ["", ""])
}

#[test]
fn in_one_process_the_first_completes_and_the_second_is_refused() {
    for (order, first) in [("one.torrent two.torrent", "one"), ("two.torrent one.torrent", "two")] {
        let pair = different();
        let done = pair.sandbox.expect(4, &pair.get(order, "out"));
        pair.is("out/same.bin", &format!("{first}/same.bin"));
        assert!(done.stderr.contains("out/same.bin: the torrent"), "{}", done.stderr);
        assert!(done.stderr.contains("writes other content there"), "{}", done.stderr);
    }
}

#[test]
fn of_two_processes_the_second_is_refused_before_it_writes() {
    let pair = different();
    let first = pair.slowly("one.torrent", "out");
    let done = pair.sandbox.expect(4, &pair.get("two.torrent", "out"));
    let (path, by) = ("out/same.bin: the torrent", format!("of process {}", first.id()));
    assert!(done.stderr.contains(path) && done.stderr.contains(&by), "{}", done.stderr);
    ended(&end(first), 0);
    pair.is("out/same.bin", "one/same.bin");
}

/// A hybrid torrent has two names, and a link may know one of them: it is written once all the
/// same.
#[test]
fn a_torrent_of_two_names_is_written_once() {
    let sandbox = Sandbox::new();
    for name in ["one", "two"] {
        sandbox.write(&format!("{name}/same.bin"), data(1, SIZE));
    }
    let pair = Pair::new(sandbox, ["same.bin", "same.bin"], ["--format hybrid"; 2]);
    let links = ["info_hash", "info_hash_v2"].map(|key| {
        let shown = pair.sandbox.json(0, "show one.torrent");
        let (kind, hash) = if key == "info_hash" { ("btih:", "") } else { ("btmh:", "1220") };
        format!("magnet:?xt=urn:{kind}{hash}{}", shown["torrent"][key].as_str().unwrap())
    });
    let [one, two] = &links;
    for (first, second) in [(one, two), (two, one)] {
        let done = pair.sandbox.expect(4, &pair.get(&format!("{first} {second}"), "a"));
        assert!(done.stderr.contains("writes the same torrent there"), "{}", done.stderr);
        pair.is("a/same.bin", "one/same.bin");
        std::fs::remove_dir_all(pair.sandbox.path("a")).unwrap();
    }
    for (first, second) in [("one.torrent", two), (two.as_str(), one), (one.as_str(), two)] {
        let running = pair.slowly(first, "b");
        let done = pair.sandbox.expect(4, &pair.get(second, "b"));
        let by = format!("of process {}", running.id());
        assert!(done.stderr.contains("the same torrent"), "{}", done.stderr);
        assert!(done.stderr.contains(&by), "{}", done.stderr);
        ended(&end(running), 0);
        pair.is("b/same.bin", "one/same.bin");
        std::fs::remove_dir_all(pair.sandbox.path("b")).unwrap();
    }
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").unwrap().uid() == 0
}

/// Two users, who have this umask.
struct Users<'a> {
    sandbox: &'a Sandbox,
    umask: &'a str,
}

impl Users<'_> {
    fn new<'a>(sandbox: &'a Sandbox, umask: &'a str) -> Users<'a> {
        let users = Users { sandbox, umask };
        users.open("", 0o755);
        [61_001, 61_002].iter().for_each(|user| users.open(&format!("home-{user}"), 0o777));
        sandbox.copy_program("dunlin");
        users
    }

    /// Makes a folder of these permissions.
    fn open(&self, path: &str, mode: u32) {
        std::fs::create_dir_all(self.sandbox.path(path)).unwrap();
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(self.sandbox.path(path), mode).unwrap();
    }

    fn start(&self, user: u32, line: &str) -> Child {
        let script = format!(
            "umask {}; exec setpriv --reuid={user} --regid={user} --clear-groups ./dunlin {line}",
            self.umask
        );
        let mut command = std::process::Command::new("sh");
        command.args(["-c", &script]).current_dir(self.sandbox.path(""));
        command.env("XDG_CACHE_HOME", self.sandbox.path(&format!("home-{user}")));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    }
}

/// Each has a state folder and a part file of its own.
#[test]
fn two_users_fetch_one_torrent_into_one_folder_at_once() {
    if !is_root() {
        return;
    }
    let pair = different();
    let users = Users::new(&pair.sandbox, "022");
    for round in 0..3 {
        let out = format!("all{round}");
        users.open(&out, 0o1777);
        let line = format!("{} --limit-down 2MiB", pair.get("one.torrent", &out));
        let both = [61_001, 61_002].map(|user| users.start(user, &line));
        both.into_iter().for_each(|run| ended(&end(run), 0));
        pair.is(&format!("{out}/same.bin"), "one/same.bin");
        let left = std::fs::read_dir(pair.sandbox.path(&out)).unwrap().flatten();
        let left: Vec<_> = left.map(|entry| entry.file_name().into_string().unwrap()).collect();
        assert!(!left.iter().any(|name| name.ends_with("-part")), "{left:?}");
    }
}

/// Whoever has the usual name of a part file keeps nobody else out.
#[test]
fn a_part_file_of_somebody_else_locks_nobody_out() {
    if !is_root() {
        return;
    }
    let pair = different();
    let users = Users::new(&pair.sandbox, "022");
    users.open("all", 0o1777);
    pair.sandbox.write("all/.same.bin.dunlin-part", "theirs");
    let part = pair.sandbox.path("all/.same.bin.dunlin-part");
    std::os::unix::fs::chown(&part, Some(61_001), Some(61_001)).unwrap();
    ended(&end(users.start(61_002, &pair.get("one.torrent", "all"))), 0);
    pair.is("all/same.bin", "one/same.bin");
    assert_eq!(std::fs::read(&part).unwrap(), b"theirs");
}

/// The part files of a folder that have data, with how much.
fn parts(folder: &Path) -> Vec<(PathBuf, u64)> {
    let entries = std::fs::read_dir(folder).unwrap().flatten();
    let parts = entries.filter(|entry| entry.file_name().to_string_lossy().ends_with("-part"));
    let size = |entry: std::fs::DirEntry| Some((entry.path(), entry.metadata().ok()?.blocks()));
    let mut parts: Vec<_> = parts.filter_map(size).filter(|(_, blocks)| *blocks > 0).collect();
    parts.sort();
    parts
}

/// Root and the owner of a folder are trusted, but nobody else may write what a killed run of
/// theirs left: each goes on with a part file of its own name, whatever the umask.
#[test]
fn what_a_killed_run_of_root_or_of_the_folders_owner_left_locks_nobody_out() {
    if !is_root() {
        return;
    }
    let pair = different();
    for (umask, mode, owner, first) in [
        ("022", 0o1777, 0, 0),
        ("022", 0o777, 0, 0),
        ("022", 0o777, 61_001, 61_001),
        ("022", 0o1777, 61_001, 61_001),
        ("000", 0o1777, 0, 0),
        ("000", 0o777, 61_001, 61_001),
        ("000", 0o1777, 61_001, 61_001),
    ] {
        let users = Users::new(&pair.sandbox, umask);
        let out = format!("all-{umask}-{mode:o}-{owner}");
        users.open(&out, mode);
        std::os::unix::fs::chown(pair.sandbox.path(&out), Some(owner), Some(owner)).unwrap();
        let get = pair.get("one.torrent", &out);
        // One is killed when it has written something; so is somebody else. Then come the rest, in
        // turn.
        for user in [first, 61_002] {
            let folder = pair.sandbox.path(&out);
            let before = parts(&folder);
            let mut running = users.start(user, &format!("{get} --limit-down 100KiB"));
            let begun = wait_for("bytes of it", || {
                let ended = running.try_wait().unwrap().is_some();
                (ended || parts(&folder) != before).then_some(!ended)
            });
            if begun {
                signal(running.id(), "KILL");
            }
            let killed = end(running);
            assert!(begun && killed.stderr.is_empty(), "{out}, {user}: {}", killed.stderr);
        }
        for user in [61_002, 61_003, first, 0] {
            users.open(&format!("home-{user}"), 0o777);
            let done = end(users.start(user, &get));
            assert_eq!(done.code, 0, "{out}, {user}: {}{}", done.stdout, done.stderr);
            pair.is(&format!("{out}/same.bin"), "one/same.bin");
        }
    }
}

/// Two users of one folder who show their files to nobody: each is told of the other all the same.
#[test]
fn users_who_hide_their_files_are_seen_by_their_claims() {
    if !is_root() {
        return;
    }
    let pair = different();
    let users = Users::new(&pair.sandbox, "077");
    let start = |user: u32, line: &str| users.start(user, line);
    for (out, mode) in [("all", 0o1777), ("group", 0o777)] {
        users.open(out, mode);
        let line = format!("{} --limit-down 1MiB", pair.get("one.torrent", out));
        let first = start(61_001, &line);
        pair.claimed(out);
        let done = end(start(61_002, &pair.get("two.torrent", out)));
        ended(&done, 4);
        let (path, by) =
            (format!("{out}/same.bin: the torrent"), format!("process {}", first.id()));
        assert!(done.stderr.contains(&path) && done.stderr.contains(&by), "{}", done.stderr);
        // A run that has the whole folder writes over files of others, if the folder lets it.
        pair.sandbox.write("plain/x", "1");
        let done = end(start(61_002, &format!("cast plain/x {out} --ranks 2 --from 0 -q")));
        let refused = done.code != 0 && done.stderr.contains("in use by process");
        assert_eq!(refused, mode & 0o1000 == 0, "{out}: {done:?}");
        ended(&end(first), 0);
        pair.is(&format!("{out}/same.bin"), "one/same.bin");
    }
}

#[test]
fn one_path_of_many_is_enough_and_the_rest_can_be_had() {
    let sandbox = Sandbox::new();
    for (name, seed) in [("one", 1), ("two", 2)] {
        sandbox.write(&format!("{name}/Album/cover.jpg"), data(seed, SIZE));
        sandbox.write(&format!("{name}/Album/{name}.mp3"), data(seed + 10, 100_000));
    }
    let pair = Pair::new(sandbox, ["Album", "Album"], ["", ""]);
    let first = pair.slowly("one.torrent", "out");
    let get = pair.get("two.torrent", "out");
    let done = pair.sandbox.expect(4, &get);
    assert!(done.stderr.contains("out/Album/cover.jpg: the torrent"), "{}", done.stderr);
    assert!(!pair.sandbox.path("out/Album/two.mp3").exists());
    pair.sandbox.expect(0, &format!("{get} --select two.mp3"));
    pair.is("out/Album/two.mp3", "two/Album/two.mp3");
    ended(&end(first), 0);
    pair.is("out/Album/cover.jpg", "one/Album/cover.jpg");
    pair.is("out/Album/one.mp3", "one/Album/one.mp3");
}

#[test]
fn nested_folders_and_torrents_within_others_are_one_path_too() {
    let sandbox = Sandbox::new();
    sandbox.write("one/Box/in/same.bin", data(1, SIZE));
    sandbox.write("two/same.bin", data(2, SIZE));
    let pair = Pair::new(sandbox, ["Box", "same.bin"], ["", ""]);
    // (what the first fetches and where, what the second does)
    let cases = [
        (("one.torrent", "a"), ("two.torrent", "a/Box/in")),
        (("two.torrent", "b/Box/in"), ("one.torrent", "b")),
    ];
    for ((first, out), (second, there)) in cases {
        let running = pair.slowly(first, out);
        let done = pair.sandbox.expect(4, &pair.get(second, there));
        assert!(done.stderr.contains("Box/in/same.bin: the torrent"), "{}", done.stderr);
        ended(&end(running), 0);
    }
    pair.is("a/Box/in/same.bin", "one/Box/in/same.bin");
    pair.is("b/Box/in/same.bin", "two/same.bin");
}

#[test]
fn equal_content_is_for_both() {
    let sandbox = Sandbox::new();
    for name in ["one", "two"] {
        sandbox.write(&format!("{name}/same.bin"), data(1, SIZE));
    }
    let pair = Pair::new(sandbox, ["same.bin", "same.bin"], ["", "--private"]);
    pair.sandbox.expect(0, &pair.get("one.torrent two.torrent", "a"));
    pair.is("a/same.bin", "one/same.bin");
    let first = pair.slowly("two.torrent", "b");
    pair.sandbox.expect(0, &pair.get("one.torrent", "b"));
    ended(&end(first), 0);
    pair.is("b/same.bin", "one/same.bin");
    let left = std::fs::read_dir(pair.sandbox.path("b")).unwrap().flatten();
    let mut left: Vec<_> = left.map(|entry| entry.file_name().into_string().unwrap()).collect();
    left.sort();
    assert_eq!(left, [".dunlin", "same.bin"], "no part file is left");
}

#[test]
fn a_part_file_that_was_written_between_two_runs_is_not_believed() {
    let pair = different();
    let first = pair.slowly("one.torrent", "out");
    let part = pair.sandbox.path("out/.same.bin.dunlin-part");
    wait_for("some of it", || {
        let bytes = std::fs::read(&part).ok()?;
        (bytes.iter().filter(|byte| **byte != 0).count() > SIZE / 4).then_some(())
    });
    signal(first.id(), "TERM");
    ended(&end(first), 9);
    let mut bytes = std::fs::read(&part).unwrap();
    bytes[..SIZE / 2].fill(0);
    std::fs::write(&part, &bytes).unwrap();
    pair.sandbox.expect(0, &pair.get("one.torrent", "out"));
    pair.is("out/same.bin", "one/same.bin");
}

#[test]
fn a_finished_file_that_is_right_for_both_is_for_both() {
    let sandbox = Sandbox::new();
    for name in ["one", "two"] {
        sandbox.write(&format!("{name}/same.bin"), data(1, SIZE));
    }
    // Cut into other pieces, so that nothing proves it but the file.
    let words = ["--piece-size 32KiB", "--piece-size 64KiB --format v2"];
    let pair = Pair::new(sandbox, ["same.bin", "same.bin"], words);
    for (order, out) in [("one two", "a"), ("two one", "b")] {
        for (name, received) in order.split(' ').zip([SIZE as u64, 0]) {
            let get = pair.get(&format!("{name}.torrent"), out);
            let report = pair.sandbox.json(0, &get);
            assert_eq!(number(&report["torrents"][0]["bytes_received"]), received, "{order}");
        }
        pair.is(&format!("{out}/same.bin"), "one/same.bin");
    }
}

/// `d4:newsi1e7:versioni3ee` and its checksum, as a later program may have written it.
const LATER: &[u8] = b"d4:newsi1e7:versioni3ee\xbd\x08\xbd\xf8\xcc\x9e\xe1\x6c\xea\x16\x7b\xe6\x3a\x36\x5b\x7b\xbe\xea\x54\x7a";

#[test]
fn a_state_of_a_later_program_is_refused_by_name_and_left_alone() {
    let pair = different();
    let get = pair.get("one.torrent", "out");
    pair.sandbox.expect(0, &get);
    let states = pair.sandbox.tree("out/.dunlin");
    let state = states.iter().find(|name| name.ends_with(".state")).unwrap();
    let path = pair.sandbox.write(&format!("out/.dunlin/{state}"), LATER);
    let done = pair.sandbox.expect(4, &get);
    assert!(done.stderr.contains(state.as_str()), "{}", done.stderr);
    // Who only reads the files needs no state.
    let seed = Seed::start(&pair.sandbox, &format!("seed one.torrent --data out {HERE}"));
    let from = format!("get one.torrent -o again --peer {} {HERE} --quiet", seed.address);
    pair.sandbox.expect(0, &from);
    drop(seed);
    assert_eq!(std::fs::read(&path).unwrap(), LATER);
    pair.is("again/same.bin", "one/same.bin");
}
