//! A tracker that runs: peers of HTTP and UDP meet, lists are read again, the dead are forgotten.

use crate::common::{Sandbox, wait_for};
use crate::{Running, announce, ask, get, udp};

const HASH: &str = "%7B%5E%91%8F6I%08%AF%AB%93~%CD%D8%40Y%DF%B6%11%02%B7";
const HEX: &str = "7b5e918f364908afab937ecdd84059dfb61102b7";

fn unhex(text: &str) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).unwrap() as u8;
    text.as_bytes().chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

#[test]
fn peers_meet_over_http_and_udp() {
    let sandbox = Sandbox::new();
    let options = "--http 127.0.0.1:0 --http [::1]:0 --udp 127.0.0.1:0 --udp [::1]:0";
    let running = Running::start(&sandbox, options);
    assert_eq!((&running.ready["ok"], &running.ready["schema"]), (&true.into(), &1.into()));
    let (http, at) = (running.at("http", 0), running.at("udp", 0));
    let reply = announce(http, HASH, 7001, "&event=started");
    assert!(reply.contains("8:completei0e") && reply.contains("10:incompletei1e"), "{reply}");
    assert!(reply.contains("8:intervali1800e") && reply.contains("5:peers0:"), "{reply}");

    let socket = udp(at);
    let connected = ask(&socket, &unhex("00000417271019800000000000000001"));
    let mut packet = connected[8..16].to_vec();
    packet.extend(unhex(&format!("0000000100000002{HEX}")));
    packet.extend(b"-YY0100-abcdefghijkl");
    packet.extend([0; 24]);
    // Event `started`, no address, a key, as many as it likes, port 7002; and it has everything.
    packet.extend(unhex("0000000200000000deadbeef3b9aca001b5a"));
    // It may be a magnet link that does not know better, until it says so again.
    for (counts, which) in [("0000000200000000", "no seed yet"), ("0000000100000001", "a seed")] {
        let found = ask(&socket, &packet);
        assert_eq!(found[12..20], unhex(counts), "{which}");
        assert_eq!(found[20..], unhex("7f0000011b59"), "it hears of the one over HTTP");
    }
    let again = announce(http, HASH, 7001, "");
    assert!(again.contains("8:completei1e") && again.contains("5:peers6:"), "{again}");

    let (_, scrape) = get(http, &format!("/scrape?info_hash={HASH}"));
    let scrape = String::from_utf8_lossy(&scrape).into_owned();
    assert!(scrape.contains("8:completei1e10:downloadedi0e"), "{scrape}");
    announce(http, HASH, 7001, "&event=stopped");
    let (status, stats) = get(running.at("http", 1), "/stats");
    let stats: serde_json::Value = serde_json::from_slice(&stats).unwrap();
    assert!(status.ends_with("200 OK"));
    assert_eq!(
        (&stats["torrents"], &stats["peers"], &stats["seeds"]),
        (&1.into(), &1.into(), &1.into())
    );
    assert_eq!(get(http, "/healthz").1, b"ok\n");

    let done = running.stop("INT");
    assert_eq!((done.code, done.stdout.as_str()), (0, ""));
    for at in [format!("http://{http}/announce"), format!("udp://{at}/announce")] {
        assert!(done.stderr.contains(&format!("listening at {at}")), "{}", done.stderr);
    }
    assert!(done.stderr.ends_with("stopped\n"), "{}", done.stderr);
}

#[test]
fn lists_are_read_again() {
    let sandbox = Sandbox::new();
    let list = sandbox.write("list", "# nobody yet\n");
    let running = Running::start(&sandbox, "--http 127.0.0.1:0 --allow list");
    let at = running.at("http", 0);
    assert!(announce(at, HASH, 7001, "").contains("does not serve this torrent"));
    std::fs::write(&list, format!("{HEX} # ours\n")).unwrap();
    running.signal("HUP");
    wait_for("the list", || announce(at, HASH, 7001, "").contains("5:peers").then_some(()));
    assert!(announce(at, &"a".repeat(20), 7001, "").contains("does not serve this torrent"));
    // A list that is wrong changes nothing; a line on stderr says so.
    std::fs::write(&list, "nonsense\n").unwrap();
    running.signal("HUP");
    let done = running.stop("TERM");
    assert_eq!(done.code, 0);
    assert!(done.stderr.contains("read the list again, 1 torrents"), "{}", done.stderr);
}

#[test]
fn a_denied_torrent_is_refused_and_others_are_not() {
    let sandbox = Sandbox::new();
    sandbox.write("denied", HEX);
    let running = Running::start(&sandbox, "--http 127.0.0.1:0 --deny denied --max-peers 1");
    let at = running.at("http", 0);
    assert!(announce(at, HASH, 7001, "").contains("does not serve this torrent"));
    let other = "b".repeat(20);
    assert!(announce(at, &other, 7001, "").contains("5:peers"));
    let full = announce(at, &other, 7002, "");
    assert!(full.contains("as many peers as it can hold8:retry in2:30"), "{full}");
}

#[test]
fn the_dead_are_forgotten() {
    let sandbox = Sandbox::new();
    let running = Running::start(&sandbox, "--http 127.0.0.1:0 --interval 1s");
    let at = running.at("http", 0);
    assert!(announce(at, HASH, 7001, "").contains("8:intervali1e"));
    wait_for("it to be forgotten", || {
        let stats: serde_json::Value = serde_json::from_slice(&get(at, "/stats").1).unwrap();
        (stats["peers"] == 0 && stats["torrents"] == 0).then_some(())
    });
    assert_eq!(running.stop("TERM").code, 0);
}

#[test]
fn a_proxy_that_is_trusted_speaks_for_others() {
    let sandbox = Sandbox::new();
    let running = Running::start(&sandbox, "--http 127.0.0.1:0 --trust-proxy 127.0.0.1");
    let at = running.at("http", 0);
    let forwarded = "&x HTTP/1.1\r\nX-Forwarded-For: 192.0.2.9\r\nX:";
    announce(at, HASH, 7001, forwarded);
    let reply =
        get(at, &format!("/announce?info_hash={HASH}&peer_id=aaaaaaaaaaaaaaaaaaaa&port=1")).1;
    let peer = b"5:peers6:\xC0\x00\x02\x09\x1B\x59";
    assert!(reply.windows(peer.len()).any(|bytes| bytes == peer), "{reply:?}");
}
