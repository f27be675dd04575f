//! Command lines and inputs that are wrong, and what is said about them.

use crate::Running;
use crate::common::Sandbox;

#[test]
fn every_option_is_in_the_help() {
    let long = Sandbox::new().expect(0, "tracker --help").stdout;
    assert!(long.starts_with("Runs a public tracker"), "{long}");
    let options = "--http --udp --trust-proxy --interval --allow --deny --max-torrents --max-peers \
                   --max-connections --json";
    for option in options.split_whitespace() {
        assert!(long.contains(&format!("{option} ")) || long.contains(&format!("{option}\n")));
    }
}

#[test]
fn wrong_lines_are_refused() {
    let sandbox = Sandbox::new();
    sandbox.write("bad", "# one\n7b5e\n");
    // Exit code, options, what is said.
    let cases = [
        (2, "", "--http <ADDR>"),
        (2, "--http nonsense", "nonsense"),
        (2, "--udp 127.0.0.1", "127.0.0.1"),
        (2, "--udp 127.0.0.1:0 --interval 500ms", "from 1s to 24h"),
        (2, "--udp 127.0.0.1:0 --interval 25h", "from 1s to 24h"),
        (2, "--udp 127.0.0.1:0 --allow bad --deny bad", "cannot be used with"),
        (4, "--udp 127.0.0.1:0 --allow bad", "bad: line 2: expected an info-hash"),
        (4, "--udp 127.0.0.1:0 --deny nowhere", "cannot read nowhere"),
        (4, "--udp 127.0.0.1:0 --allow nowhere", "give a file of info-hashes"),
        (7, "--udp 192.0.2.1:6969", "cannot listen at 192.0.2.1:6969"),
    ];
    for (code, options, expected) in cases {
        let done = sandbox.expect(code, &format!("tracker {options}"));
        assert!(done.stderr.contains(expected), "{options}: {}", done.stderr);
        assert_eq!(done.stdout, "", "{options}");
    }
    let document = sandbox.json(7, "tracker --http 192.0.2.1:6969");
    assert_eq!((&document["ok"], &document["error"]["kind"]), (&false.into(), &"network".into()));
}

#[test]
fn an_address_is_for_one() {
    let sandbox = Sandbox::new();
    let running = Running::start(&sandbox, "--http 127.0.0.1:0 --udp 127.0.0.1:0");
    for (kind, option) in [("http", "--http"), ("udp", "--udp")] {
        let at = running.at(kind, 0);
        let done = sandbox.expect(7, &format!("tracker {option} {at}"));
        assert!(done.stderr.contains(&format!("cannot listen at {at}")), "{}", done.stderr);
    }
}
