//! `dunlin get` and `dunlin seed` without any other client: refusals, resuming, and how they end.
//! What they do with other programs is in `tests/interop`.

use crate::common::{Sandbox, data};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

/// A sandbox with `home/album`, its torrent, and nothing else.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("home/album/one.bin", data(1, 300_000));
    sandbox.write("home/album/two/b.txt", data(2, 10));
    sandbox.expect(0, "create home/album -o album.torrent --piece-size 32KiB --quiet");
    sandbox
}

/// A seed that runs until it is dropped, and where it listens.
pub(crate) struct Seed {
    child: Child,
    pub(crate) address: String,
}

impl Seed {
    pub(crate) fn start(sandbox: &Sandbox, line: &str) -> Seed {
        let mut child = sandbox.command(line).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let found =
            lines.find_map(|line| line.unwrap().strip_prefix("listening at ").map(str::to_owned));
        // What it says later must not stop it.
        std::thread::spawn(move || lines.for_each(drop));
        Seed { child, address: found.expect("it says where it listens") }
    }
}

impl Drop for Seed {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) const HERE: &str = "--bind 127.0.0.1 --port 0";

#[test]
fn what_is_fetched_is_there_and_a_second_run_moves_nothing() {
    let sandbox = sandbox();
    let seed = Seed::start(&sandbox, &format!("seed album.torrent --data home {HERE}"));
    let line = format!("get album.torrent -o out --peer {} {HERE}", seed.address);
    let report: Value = sandbox.json(0, &line);
    assert_eq!((&report["ok"], &report["schema"]), (&Value::Bool(true), &Value::from(1)));
    let one = &report["torrents"][0];
    assert_eq!(
        (one["complete"].as_bool(), one["bytes_have"].as_u64()),
        (Some(true), Some(300_010))
    );
    assert_eq!(std::fs::read(sandbox.path("out/album/one.bin")).unwrap(), data(1, 300_000));
    assert_eq!(std::fs::read(sandbox.path("out/album/two/b.txt")).unwrap(), data(2, 10));
    let again: Value = sandbox.json(0, &line);
    let one = &again["torrents"][0];
    assert_eq!((one["bytes_received"].as_u64(), one["bytes_checked"].as_u64()), (Some(0), Some(0)));
    sandbox.expect(0, "verify album.torrent --data out --quiet");
}

#[test]
fn plain_data_becomes_a_torrent() {
    let sandbox = sandbox();
    let seed = Seed::start(&sandbox, &format!("seed home/album {HERE}"));
    let line = format!("get home/album.torrent -o out --peer {} {HERE} --quiet", seed.address);
    sandbox.expect(0, &line);
    assert_eq!(std::fs::read(sandbox.path("out/album/one.bin")).unwrap(), data(1, 300_000));
}

#[test]
fn only_what_is_selected_comes() {
    let sandbox = sandbox();
    let seed = Seed::start(&sandbox, &format!("seed album.torrent --data home {HERE}"));
    let get = format!("get album.torrent -o out --peer {} {HERE} --quiet", seed.address);
    sandbox.expect(0, &format!("{get} --select two/*"));
    assert_eq!(std::fs::read(sandbox.path("out/album/two/b.txt")).unwrap(), data(2, 10));
    assert!(!sandbox.path("out/album/one.bin").exists());
    let text = sandbox.expect(4, &format!("{get} --select no/such")).stderr;
    assert!(text.contains("--select no/such matches no file of album"), "{text}");
    sandbox.expect(0, &get);
    assert_eq!(std::fs::read(sandbox.path("out/album/one.bin")).unwrap(), data(1, 300_000));
}

#[test]
fn what_stands_in_the_way_is_refused_unless_it_may_go() {
    let sandbox = sandbox();
    let seed = Seed::start(&sandbox, &format!("seed album.torrent --data home {HERE}"));
    sandbox.write("out/album/two/b.txt", "another one");
    let get = format!("get album.torrent -o out --peer {} {HERE} --quiet", seed.address);
    let text = sandbox.expect(4, &get).stderr;
    assert!(text.contains("b.txt"), "{text}");
    assert_eq!(std::fs::read(sandbox.path("out/album/two/b.txt")).unwrap(), b"another one");
    sandbox.expect(0, &format!("{get} --force"));
    assert_eq!(std::fs::read(sandbox.path("out/album/two/b.txt")).unwrap(), data(2, 10));
}

#[test]
fn nothing_waits_for_ever() {
    let sandbox = sandbox();
    let get = format!("get album.torrent -o out {HERE} --stall-timeout 1s");
    let report: Value = sandbox.json(8, &get);
    assert_eq!(report["error"]["kind"], "stalled");
    assert_eq!(report["torrents"][0]["complete"], false);
}

#[test]
fn a_torrent_is_fetched_by_one_process_at_a_time() {
    let sandbox = sandbox();
    let get = format!("get album.torrent -o out {HERE}");
    let _first = Seed::start(&sandbox, &get);
    let text = sandbox.expect(4, &get).stderr;
    assert!(text.contains("in use by process"), "{text}");
}

#[test]
fn wrong_words_are_refused_with_what_to_do() {
    let sandbox = sandbox();
    let seed = Seed::start(&sandbox, &format!("seed album.torrent --data home {HERE}"));
    let port = seed.address.rsplit(':').next().unwrap().to_owned();
    sandbox.write("no.torrent", "d4:infoi1ee");
    // (exit code, command line, what it says)
    let cases = [
        (4, "get missing.torrent".to_owned(), "missing.torrent"),
        (4, "get no.torrent".to_owned(), "no.torrent"),
        (4, "get magnet:?dn=x".to_owned(), "magnet link names no torrent"),
        (2, "get album.torrent album.torrent".to_owned(), "given twice"),
        (
            2,
            "get album.torrent --bind nowhere0".to_owned(),
            "neither an IP address nor an interface",
        ),
        (2, "get album.torrent --limit-down 0".to_owned(), "lets nothing through"),
        (2, "get album.torrent --seed-ratio x".to_owned(), "no ratio"),
        (7, format!("get album.torrent --bind 127.0.0.1 --port {port}"), "choose another port"),
        (
            2,
            "seed magnet:?xt=urn:btih:7b5e918f364908afab937ecdd84059dfb61102b7".to_owned(),
            "dunlin get",
        ),
        (5, "seed album.torrent --data nowhere".to_owned(), "nowhere"),
    ];
    for (code, line, says) in cases {
        let done = sandbox.expect(code, &line);
        assert!(done.stderr.contains(says), "{line}: {}", done.stderr);
    }
}

#[test]
fn an_address_of_another_host_is_at_fault_and_not_the_port() {
    let sandbox = sandbox();
    for command in ["get album.torrent -o out", "seed album.torrent --data home"] {
        let done = sandbox.expect(7, &format!("{command} --bind 192.0.2.1"));
        assert!(done.stderr.contains("cannot listen at 192.0.2.1:6881"), "{}", done.stderr);
        assert!(done.stderr.contains("--bind an address of this host"), "{}", done.stderr);
        assert!(!done.stderr.contains("--port"), "{}", done.stderr);
    }
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let line = format!("get album.torrent -o out --bind 127.0.0.1 --port {port}");
    let done = sandbox.expect(7, &line);
    assert!(done.stderr.contains("another port with --port"), "{}", done.stderr);
}

#[test]
fn where_nobody_is_known_it_says_so_at_once_and_in_the_end() {
    let sandbox = sandbox();
    let why = "no tracker and no peer is known: give --tracker or --peer";
    let hash = sandbox.json(0, "show album.torrent")["torrent"]["info_hash"].clone();
    let magnet = format!("magnet:?xt=urn:btih:{}", hash.as_str().unwrap());
    for what in ["album.torrent", &magnet] {
        let done = sandbox.expect(8, &format!("get {what} -o out --stall-timeout 1s {HERE}"));
        let said: Vec<&str> = done.stderr.lines().filter(|line| line.contains(why)).collect();
        assert_eq!(said.len(), 2, "{}", done.stderr);
        assert!(said[1].contains("nothing came for 1 s"), "{}", done.stderr);
    }
    let peer = "--peer 127.0.0.1:1 --stall-timeout 1s";
    let done = sandbox.expect(8, &format!("get album.torrent -o out {peer} {HERE}"));
    assert!(!done.stderr.contains("no tracker"), "{}", done.stderr);
    let seed = sandbox.expect(0, &format!("seed home/album --seed-time 1s {HERE}"));
    assert!(!seed.stderr.contains("no tracker"), "{}", seed.stderr);
}
