//! What `-v` says of connections that end, and of torrents that nobody can be found for.

use crate::common::{Sandbox, data, end, wait_for};
use crate::transfer::{HERE, Seed};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::Stdio;

/// Runs `get -v` until it says something, and gives that line.
fn says(sandbox: &Sandbox, options: &str, expected: &str) -> String {
    let line = format!("get album.torrent -o out -v --stall-timeout 30s {HERE} {options}");
    let mut child = sandbox.command(&line).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let found = lines.find_map(|line| line.ok().filter(|line| line.contains(expected)));
    child.kill().unwrap();
    child.wait().unwrap();
    found.unwrap_or_else(|| panic!("it never says: {expected}"))
}

#[test]
fn hang_ups_and_missing_sources_are_named() {
    let sandbox = Sandbox::new();
    sandbox.write("album/one.bin", data(1, 300_000));
    sandbox.expect(0, "create album -o album.torrent --quiet");
    let hash = sandbox.json(0, "show album.torrent")["torrent"]["info_hash"].clone();
    let hash = hash.as_str().unwrap().to_owned();
    let digit = |at: usize| u8::from_str_radix(&hash[at..at + 2], 16).unwrap();
    let hash: Vec<u8> = (0..40).step_by(2).map(digit).collect();
    let text = says(&sandbox, "", "no tracker and no peer is known");
    assert!(text.contains("album"), "{text}");

    // A handshake of BEP 3, and a HAVE of a piece that is not there.
    let mut breach = b"\x13BitTorrent protocol\0\0\0\0\0\0\0\0".to_vec();
    breach.extend(hash);
    breach.extend(b"-XX0000-abcdefghijkl\0\0\0\x05\x04\xff\xff\xff\xff");
    // What a peer says before it closes the connection, and what is said of it.
    let cases = [
        (Vec::new(), "closed the connection before its handshake"),
        (breach.clone(), "breaks the protocol: "),
        ([&breach[..68], b"\0\0\0\x02\x04\0"].concat(), "breaks the protocol: "),
        (vec![b'x'; 200], "greets otherwise than BEP 3 says"),
    ];
    for (bytes, expected) in cases {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let peer = std::thread::spawn(move || {
            // It has the handshake of the other side when it answers.
            let (mut stream, _) = listener.accept().unwrap();
            stream.read_exact(&mut [0; 68]).unwrap();
            stream.write_all(&bytes).unwrap();
            stream
        });
        let stream = std::thread::spawn(move || {
            let stream = peer.join().unwrap();
            _ = stream.shutdown(std::net::Shutdown::Write);
            // Until the other side is gone, so that nothing is reset.
            _ = std::io::copy(&mut &stream, &mut std::io::sink());
        });
        let text = says(&sandbox, &format!("--peer {address}"), expected);
        assert!(text.contains(&address.to_string()), "{text}");
        wait_for("the peer to end", || stream.is_finished().then_some(()));
    }
}

/// What fails for every piece, and again at every sync, is said once.
#[test]
fn a_folder_that_is_replaced_meanwhile_is_no_flood_of_warnings() {
    let sandbox = Sandbox::new();
    for file in 0..5 {
        sandbox.write(&format!("home/album/{file}.bin"), data(file, 400_000));
    }
    sandbox.expect(0, "create home/album -o album.torrent --piece-size 16KiB --quiet");
    let seed = Seed::start(&sandbox, &format!("seed album.torrent --data home {HERE}"));
    std::fs::create_dir(sandbox.path("other")).unwrap();
    let line = format!("get album.torrent -o out --peer {} {HERE} --quiet", seed.address);
    let child = sandbox.start(&format!("{line} --limit-down 500KiB"));
    let parts = [0, 1, 2, 3, 4].map(|n| sandbox.path(&format!("out/album/.{n}.bin.dunlin-part")));
    let written = || -> u64 {
        let metas = parts.iter().filter_map(|part| std::fs::metadata(part).ok());
        metas.map(|meta| std::os::unix::fs::MetadataExt::blocks(&meta) * 512).sum()
    };
    wait_for("some of it", || (written() >= 200_000).then_some(()));
    std::fs::rename(sandbox.path("out"), sandbox.path("gone")).unwrap();
    std::fs::rename(sandbox.path("other"), sandbox.path("out")).unwrap();
    let done = end(child);
    assert_eq!(done.code, 1, "{done:?}");
    // Without the time.
    let lines = done.stderr.lines().map(|line| line.split_once("WARN").map_or(line, |cut| cut.1));
    let lines: Vec<_> = lines.collect();
    let once: std::collections::BTreeSet<_> = lines.iter().collect();
    assert_eq!(lines.len(), once.len(), "{}", done.stderr);
}
