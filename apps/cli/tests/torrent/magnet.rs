//! `dunlin magnet`: the link that stands for a torrent.

use crate::common::Sandbox;
use crate::{pattern, pipe};

fn torrent(sandbox: &Sandbox, options: &str) {
    for name in ["a.bin", "docs/1", "docs/2", "z"] {
        sandbox.write(&format!("two words/{name}"), pattern(20_000));
    }
    let mut command = sandbox.command("create -o t.torrent");
    command.arg("two words").args(options.split_whitespace());
    assert!(command.output().unwrap().status.success());
}

#[test]
fn a_link_has_hashes_name_trackers_and_web_seeds() {
    let sandbox = Sandbox::new();
    let options = "--format hybrid --tracker udp://t.example:80/x --web-seed http://w.example/";
    torrent(&sandbox, options);
    let document = sandbox.json(0, "show t.torrent");
    let text = |key: &str| document["torrent"][key].as_str().unwrap().to_owned();
    let hashes =
        format!("xt=urn:btih:{}&xt=urn:btmh:1220{}", text("info_hash"), text("info_hash_v2"));
    let trackers = "tr=udp%3A%2F%2Ft.example%3A80%2Fx";
    let web = "ws=http%3A%2F%2Fw.example%2F";
    let link = sandbox.expect(0, "magnet t.torrent").stdout;
    assert_eq!(link, format!("magnet:?{hashes}&dn=two%20words&{trackers}&{web}\n"));
    assert_eq!(text("magnet"), link.trim());
    let link = sandbox.expect(0, "magnet t.torrent --no-trackers").stdout;
    assert_eq!(link, format!("magnet:?{hashes}&dn=two%20words&{web}\n"));
    let bytes = std::fs::read(sandbox.path("t.torrent")).unwrap();
    let (piped, _) = pipe(&sandbox, 0, "magnet -", &bytes);
    assert!(String::from_utf8(piped).unwrap().starts_with("magnet:?"));
}

#[test]
fn files_and_peers_can_be_named() {
    let sandbox = Sandbox::new();
    torrent(&sandbox, "");
    let link = |options: &str| sandbox.expect(0, &format!("magnet t.torrent {options}")).stdout;
    for (options, expected) in [
        ("--select docs/**", "&so=1-2\n"),
        ("--select a.bin --select docs/2", "&so=0,2\n"),
        ("--select 0,2-9", "&so=0,2-3\n"),
        (
            "--peer 192.0.2.7:6881 --peer [2001:db8::1]:1",
            "&x.pe=192.0.2.7:6881&x.pe=[2001:db8::1]:1\n",
        ),
    ] {
        assert!(link(options).ends_with(expected), "{options}: {}", link(options));
    }
    for (code, options, expected) in [
        (4, "--select nothing/**", "--select number 1 means no file"),
        (4, "--select a.bin --select 7", "--select number 2 means no file"),
        (2, "--select ../x", "../x"),
        (2, "--peer nowhere", "no peer"),
        (2, "--peer 1.2.3.4:0", "no peer"),
    ] {
        let done = sandbox.expect(code, &format!("magnet t.torrent {options}"));
        assert!(done.stderr.contains(expected), "{options}: {}", done.stderr);
    }
}
