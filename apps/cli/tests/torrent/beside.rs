//! `dunlin seed PATH` and what stands at `PATH.torrent`, which nobody has named.

use crate::common::{Sandbox, data, end, wait_for};
use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

const HERE: &str = "--bind 127.0.0.1 --port 0 --seed-time 1s";

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("d.bin", data(1, 100_000));
    sandbox.write("f.bin", data(2, 100_000));
    sandbox
}

fn pipe_at(sandbox: &Sandbox, name: &str) {
    let made = Command::new("mkfifo").arg(sandbox.path(name)).status().unwrap();
    assert!(made.success());
}

#[test]
fn a_pipe_beside_the_data_is_named_at_once() {
    let sandbox = sandbox();
    pipe_at(&sandbox, "d.bin.torrent");
    let done = sandbox.expect(4, &format!("seed d.bin {HERE}"));
    let said = "something else than a file stands there; give the .torrent itself";
    assert!(
        done.stderr.contains("d.bin.torrent: ") && done.stderr.contains(said),
        "{}",
        done.stderr
    );
}

#[test]
fn a_torrent_of_other_data_is_not_taken() {
    let sandbox = sandbox();
    sandbox.expect(0, "create f.bin -o d.bin.torrent --quiet");
    let done = sandbox.expect(4, &format!("seed d.bin {HERE}"));
    let said = "d.bin.torrent: it is the torrent of `f.bin` and not of `d.bin`";
    assert!(done.stderr.contains(said), "{}", done.stderr);
    // It is taken where it is named.
    sandbox.expect(0, &format!("seed d.bin.torrent {HERE}"));
}

#[test]
fn a_torrent_of_the_data_is_taken() {
    let sandbox = sandbox();
    sandbox.write("al\tbum/one", data(3, 40_000));
    for name in ["d.bin", "al\tbum"] {
        for round in 0..2 {
            let mut command = sandbox.command("seed");
            let done = command.arg(name).args(HERE.split(' ')).output().unwrap();
            let said = String::from_utf8_lossy(&done.stderr);
            assert!(done.status.success(), "{name}: {said}");
            assert_eq!(said.contains("there already, and taken"), round == 1, "{said}");
        }
    }
}

#[test]
fn a_torrent_of_a_stranger_is_not_taken() {
    let sandbox = sandbox();
    sandbox.expect(0, "create d.bin -o d.bin.torrent --quiet");
    let path = sandbox.path("d.bin.torrent");
    if std::os::unix::fs::chown(&path, Some(65_534), None).is_err() {
        // Only root gives files away.
        return;
    }
    let done = sandbox.expect(4, &format!("seed d.bin {HERE}"));
    assert!(done.stderr.contains("belongs to another user, 65534"), "{}", done.stderr);
    assert!(done.stderr.contains("give the .torrent itself to seed it"), "{}", done.stderr);
    // Whose data it is may say what it is.
    std::os::unix::fs::chown(sandbox.path("d.bin"), Some(65_534), None).unwrap();
    sandbox.expect(0, &format!("seed d.bin {HERE}"));
}

#[test]
fn a_pipe_that_is_named_is_read() {
    let sandbox = sandbox();
    sandbox.expect(0, "create d.bin --quiet");
    let torrent = fs::read(sandbox.path("d.bin.torrent")).unwrap();
    pipe_at(&sandbox, "pipe");
    let mut command = sandbox.command(&format!("seed pipe {HERE}"));
    let run = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // Opened for both ends, so that nobody waits here.
    let mut pipe = fs::File::options().write(true).read(true).open(sandbox.path("pipe")).unwrap();
    pipe.write_all(&torrent).unwrap();
    let id = run.id();
    wait_for("a reader", || {
        let fds = fs::read_dir(format!("/proc/{id}/fd")).ok()?;
        fds.flatten().find(|fd| fs::read_link(fd.path()).is_ok_and(|to| to.ends_with("pipe")))
    });
    drop(pipe);
    let done = end(run);
    assert_eq!(done.code, 0, "{}", done.stderr);
}

#[test]
fn a_link_beside_the_data_is_not_taken() {
    let sandbox = sandbox();
    sandbox.expect(0, "create d.bin -o elsewhere.torrent --quiet");
    std::os::unix::fs::symlink("elsewhere.torrent", sandbox.path("d.bin.torrent")).unwrap();
    let done = sandbox.expect(4, &format!("seed d.bin {HERE}"));
    assert!(done.stderr.contains("d.bin.torrent: a link or something"), "{}", done.stderr);
}

/// Where the name of the torrent would be too long, none stands there, and the data is seeded.
#[test]
fn a_name_that_leaves_no_room_for_an_ending_is_seeded() {
    let sandbox = sandbox();
    let name = "m".repeat(250);
    sandbox.write(&name, data(3, 1000));
    let done = sandbox.expect(0, &format!("seed {name} {HERE}"));
    assert!(done.stderr.contains("seeding"), "{}", done.stderr);
}
