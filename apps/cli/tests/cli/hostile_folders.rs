//! Folders that others may write to, and systems that are short of something: what a run does then.

use crate::common::{Done, Sandbox, complete, data, end, signal, text, wait_for};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::process::{Child, Stdio};

fn is_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}

/// Runs a shell script that ends with `exec dunlin`, here `"$@"`.
fn shell(sandbox: &Sandbox, script: &str, line: &str) -> Done {
    end(start(sandbox, script, line))
}

/// The same, while it runs.
fn start(sandbox: &Sandbox, script: &str, line: &str) -> Child {
    let dunlin = sandbox.command(line);
    let mut command = std::process::Command::new("sh");
    command.args(["-c", script, "sh"]).arg(dunlin.get_program()).args(dunlin.get_args());
    command.current_dir(sandbox.path("")).env("XDG_CACHE_HOME", sandbox.path(".cache"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

#[test]
fn links_in_the_place_of_what_a_run_writes_lead_nowhere() {
    for name in [".dunlin", ".dunlin/lock", "src/.a.dunlin-part", "src/a", "src"] {
        let sandbox = Sandbox::new();
        sandbox.write("src/a", data(1, 100_000));
        fs::create_dir_all(sandbox.path("victim/.dunlin")).unwrap();
        sandbox.write("victim/file", "precious");
        let is_folder = matches!(name, ".dunlin" | "src");
        let place = sandbox.path("dst").join(name);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        let victim = if is_folder { "victim" } else { "victim/file" };
        symlink(sandbox.path(victim), &place).unwrap();
        let done = sandbox.run("cast src dst --ranks 2 --from 0 -q");
        assert_eq!(done.code == 0, name == "src/.a.dunlin-part", "{name}: {done:?}");
        assert_eq!(fs::read(sandbox.path("victim/file")).unwrap(), b"precious", "{name}");
        assert_eq!(sandbox.tree("victim"), [".dunlin", "file"], "{name}");
    }
    let sandbox = Sandbox::new();
    sandbox.write("src/a", "1");
    sandbox.write("victim", "precious");
    symlink(sandbox.path("victim"), sandbox.path("trace")).unwrap();
    let done = sandbox.run("cast src dst --ranks 2 --from 0 -q --trace trace");
    assert!(done.code != 0 && done.stderr.contains("a link"), "{done:?}");
    assert_eq!(fs::read(sandbox.path("victim")).unwrap(), b"precious");
}

/// Whatever stands in the place of a name that a run uses: nothing outside is read or written,
/// nothing waits, and a run that ends well has made what it should.
#[test]
fn whatever_stands_there_nothing_outside_is_touched() {
    let names = [".dunlin", ".dunlin/lock", ".dunlin/run", "src/.a.dunlin-part", "src/a", "src"];
    for kind in ["symlink", "hard link", "pipe", "folder", "foreign", "foreign folder"] {
        if kind.starts_with("foreign") && !is_root() {
            continue;
        }
        for name in names {
            let sandbox = Sandbox::new();
            sandbox.write("src/a", data(1, 100_000));
            sandbox.write("victim/file", "precious");
            let (victim, place) = (sandbox.path("victim/file"), sandbox.path("dst").join(name));
            fs::create_dir_all(place.parent().unwrap()).unwrap();
            match kind {
                "symlink" => symlink(&victim, &place).unwrap(),
                "hard link" => fs::hard_link(&victim, &place).unwrap(),
                "pipe" => {
                    let made = std::process::Command::new("mkfifo").arg(&place).status();
                    assert!(made.unwrap().success());
                }
                "foreign" => fs::write(&place, "theirs").unwrap(),
                _ => fs::create_dir(&place).unwrap(),
            }
            if kind.starts_with("foreign") {
                std::os::unix::fs::chown(&place, Some(61_001), Some(61_001)).unwrap();
            }
            let done = sandbox.run("cast src dst --ranks 2 --from 0 -q");
            let what = format!("{kind} at {name}: {done:?}");
            assert_eq!(fs::read(&victim).unwrap(), b"precious", "{what}");
            assert_eq!(sandbox.tree("victim"), ["file"], "{what}");
            assert!(!done.stderr.contains("panicked") && done.code < 128, "{what}");
            if done.code == 0 {
                let copy = sandbox.path("dst/src/a");
                assert_eq!(fs::read(&copy).unwrap(), data(1, 100_000), "{what}");
                let meta = fs::symlink_metadata(&copy).unwrap();
                assert!(meta.is_file() && meta.nlink() == 1, "{what}");
            } else {
                assert!(done.stderr.contains("dst"), "it is named: {what}");
            }
        }
    }
}

fn open(sandbox: &Sandbox, path: &str, mode: u32) {
    fs::create_dir_all(sandbox.path(path)).unwrap();
    fs::set_permissions(sandbox.path(path), fs::Permissions::from_mode(mode)).unwrap();
}

/// A folder in which all users may write, and a program that they may run.
fn commons() -> Sandbox {
    let sandbox = Sandbox::new();
    open(&sandbox, "", 0o755);
    open(&sandbox, "shared", 0o1777);
    sandbox.copy_program("dunlin");
    sandbox
}

/// Runs what [`shell`] is given as this user, who has a home.
fn as_user(sandbox: &Sandbox, user: u32) -> String {
    open(sandbox, &format!("home-{user}"), 0o777);
    format!(
        "shift; export XDG_CACHE_HOME=home-{user}; \
         exec setpriv --reuid={user} --regid={user} --clear-groups ./dunlin \"$@\""
    )
}

/// The first run is in the middle of its work, and stands still, when the second one comes.
#[test]
fn users_of_one_folder_work_there_at_once() {
    if !is_root() {
        return;
    }
    let sandbox = commons();
    let token = format!("{}\n", "x".repeat(20_000));
    for name in ["one", "two"] {
        sandbox.write(&format!("{name}/in1.txt"), format!("1\n{name} 40\n{}0\n", token.repeat(40)));
        sandbox.write(&format!("{name}/in2.txt"), format!("0\n1\n{name}\n"));
    }
    let line = |name| format!("swarm {name} --out shared -q");
    let slow = format!("{} --fault slow=1:400kB", line("one"));
    let first = start(&sandbox, &as_user(&sandbox, 61_001), &slow);
    let lock = sandbox.path("shared/.dunlin/lock");
    wait_for("the lock", || text(&lock).filter(|text| text.contains(&first.id().to_string())));
    signal(first.id(), "STOP");
    let second = shell(&sandbox, &as_user(&sandbox, 61_002), &line("two"));
    let there = lock.exists();
    signal(first.id(), "CONT");
    let first = end(first);
    assert!(there, "the first run had ended before the second");
    assert_eq!((first.code, second.code), (0, 0), "{first:?} {second:?}");
    for (user, name) in [(61_001, "client2_one"), (61_002, "client2_two")] {
        let path = sandbox.path("shared").join(name);
        let found = text(&path).unwrap();
        assert!(found.trim_end() == token.repeat(40).trim_end(), "{name}");
        assert_eq!(fs::metadata(&path).unwrap().uid(), user);
    }
    assert_eq!(sandbox.tree("shared"), ["client2_one", "client2_two"]);
}

/// Real users of one folder in which all may write, one after the other.
#[test]
fn users_of_one_folder_do_not_lock_one_another_out() {
    if !is_root() {
        return;
    }
    let sandbox = commons();
    for (user, name) in [(61_001, "one"), (61_002, "two"), (61_001, "three")] {
        sandbox.write(&format!("{name}/{name}.bin"), data(7, 50_000));
        // Left by a run that was killed: a state folder stays.
        let line = format!("cast {name}/ shared --ranks 2 --from 0 -q");
        let done = shell(&sandbox, &as_user(&sandbox, user), &line);
        assert_eq!(done.code, 0, "{user}: {done:?}");
        let meta = fs::metadata(sandbox.path(&format!("shared/{name}.bin"))).unwrap();
        assert_eq!(meta.uid(), user);
        let state = sandbox.path(match user {
            61_001 => "shared/.dunlin",
            _ => "shared/.dunlin-61002",
        });
        assert!(!state.exists(), "nothing is left");
        fs::create_dir(sandbox.path("shared/.dunlin")).ok();
        let owner = Some(61_001);
        std::os::unix::fs::chown(sandbox.path("shared/.dunlin"), owner, owner).unwrap();
    }
}

/// Six hundred files with sixty-four descriptors.
#[test]
fn few_descriptors_are_enough_for_many_files() {
    let sandbox = Sandbox::new();
    for file in 0..600 {
        sandbox.write(&format!("src/d{}/f{file}", file % 7), data(file, 3000));
    }
    let few = "ulimit -n 64; exec \"$@\"";
    let done = shell(&sandbox, few, "cast src dst --ranks 3 --from 0 -q");
    assert_eq!(done.code, 0, "{done:?}");
    assert_eq!(sandbox.files("dst/src"), sandbox.files("src"));
    let done = shell(&sandbox, few, "cast src per/{rank} --ranks 3 --from 0 --per-rank -q");
    assert_eq!(done.code, 0, "{done:?}");
    assert_eq!(sandbox.files("per/2/src"), sandbox.files("src"));
}

/// Names are bytes but NUL and `/`, and a tree is moved as it is.
#[test]
fn any_name_of_a_tree_is_kept() {
    let sandbox = Sandbox::new();
    let names: [&[u8]; 7] = [
        b"system-systemd\\x2dcryptsetup.slice",
        b"latin1-\xe9",
        b"new\nline",
        b"tab\tand\x7fdelete",
        b"glob[*]?",
        b"folder \\ with \xff/file\x01",
        b"\xc2\x85 c1",
    ];
    let path = |name: &[u8]| sandbox.path("src").join(std::ffi::OsStr::from_bytes(name));
    for name in names {
        fs::create_dir_all(path(name).parent().unwrap()).unwrap();
        fs::write(path(name), name).unwrap();
    }
    symlink(std::ffi::OsStr::from_bytes(b"to \xfe\\\n"), path(b"link \\")).unwrap();
    fs::hard_link(path(names[1]), path(b"hard \\")).unwrap();
    for fabric in ["memory", "virtual"] {
        let line = format!("cast src {fabric} --ranks 4 --from 0 --fabric {fabric}");
        let report = sandbox.json(0, &line);
        assert!((0..4).all(|rank| complete(&report, rank)));
        let there = sandbox.path(fabric).join("src");
        crate::trees::same_tree(&sandbox.path("src"), &there);
        for name in names {
            let copy = there.join(std::ffi::OsStr::from_bytes(name));
            assert_eq!(fs::read(copy).unwrap(), name);
        }
        let link = fs::read_link(there.join(std::ffi::OsStr::from_bytes(b"link \\"))).unwrap();
        assert_eq!(link.as_os_str().as_bytes(), b"to \xfe\\\n");
        let again = sandbox.json(0, &line);
        assert_eq!(again["bytes_moved"], 0, "a second run changes nothing");
    }
    sandbox.expect(0, "cast src memory --ranks 4 --from 0 --verify-only -q");
}

/// What a run left unfinished in a source is not cast as if it were whole.
#[test]
fn unfinished_files_of_a_source_are_named() {
    let sandbox = Sandbox::new();
    sandbox.write("src/a", "1");
    sandbox.write("src/.movie.dunlin-part", "p");
    sandbox.write("src/.a.dunlin-part", "q");
    sandbox.write("src/.dunlin/data", "q");
    for line in ["cast src dst --ranks 3", "cast src dst --ranks 3 --verify-only"] {
        let done = sandbox.run(line);
        assert_ne!(done.code, 0, "{line}: {done:?}");
        let said = format!("{}{}", done.stdout, done.stderr);
        let named = |line: &str| line.contains("src/movie") && line.contains("unfinished");
        assert_eq!(said.lines().filter(|line| named(line)).count(), 1, "{line}: {said}");
        let left_out = said.lines().filter(|line| line.contains("src/.dunlin")).count();
        assert_eq!(left_out, 1, "a line a name, however many ranks see it: {said}");
    }
    let done = sandbox.run("cast src dst --ranks 3");
    assert!(done.stderr.contains("src/.dunlin"), "{}", done.stderr);
    assert_eq!(sandbox.tree("dst/src"), ["a"]);
    fs::remove_file(sandbox.path("src/.movie.dunlin-part")).unwrap();
    sandbox.expect(0, "cast src dst --ranks 3");
}

/// A file system without room for another name.
#[test]
fn a_destination_without_inodes_is_named() {
    if !is_root() {
        return;
    }
    let sandbox = Sandbox::new();
    for file in 0..60 {
        sandbox.write(&format!("src/f{file}"), data(file, 40_000));
    }
    fs::create_dir(sandbox.path("dst")).unwrap();
    let script =
        "exec unshare -m sh -c 'mount -t tmpfs -o nr_inodes=20 none dst && exec \"$@\"' sh \"$@\"";
    let line = "cast src dst --ranks 2 --from 0 --to 1 --stall-timeout 3s";
    let done = shell(&sandbox, script, line);
    assert_ne!(done.code, 0, "{done:?}");
    assert!(done.stderr.contains("inodes"), "{}", done.stderr);
}
