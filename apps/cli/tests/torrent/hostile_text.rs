//! Texts from outside, over every command: whatever they hold, nothing reaches stdout or stderr
//! that does something to a terminal, turns a line around or begins a line that is not ours.

use crate::common::{Done, Sandbox, data, end, signal};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

/// Everything that does something, and a mark that must not begin a line.
const EVIL: &str = "x\u{1b}]0;t\u{7}\u{1b}[2J\r\tq\u{7f}\u{9b}31m\u{85}\u{202e}\u{2066}\u{200f}\u{61c}\
                    \u{2028}\u{feff}é\nMARK";
/// As a name of a file: shorter, since names are.
const NAME: &str = "n\u{1b}[2J\t\u{9b}1m\u{202e}\u{2067}é\nMARK";

fn is_bad(c: char) -> bool {
    let direction = matches!(c, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{200E}'
        | '\u{200F}' | '\u{061C}' | '\u{2028}' | '\u{2029}' | '\u{FEFF}');
    direction || (c.is_control() && c != '\n')
}

/// Which commands were tried, and with what.
struct Trial {
    sandbox: Sandbox,
    tried: BTreeSet<String>,
    faults: Vec<String>,
    /// As if a launcher of MPI had started it.
    launched: bool,
}

impl Trial {
    /// Runs a command. What it writes must be clean, and, if the text comes to be shown, say so.
    fn run<W: AsRef<OsStr>>(&mut self, words: &[W], input: &[u8], shown: bool) -> Done {
        let command = words[0].as_ref().to_str().unwrap().to_owned();
        let mut child = self.sandbox.command("");
        child.args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        if self.launched {
            let rank = [("OMPI_COMM_WORLD_RANK", "0"), ("OMPI_COMM_WORLD_SIZE", "2")];
            child.envs(rank).env("PMIX_RANK", "0");
        }
        let mut child = child.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_vec();
        let feeder = std::thread::spawn(move || _ = stdin.write_all(&input));
        // Both streams must be UTF-8, or this panics.
        let done = end(child);
        feeder.join().unwrap();
        let words: Vec<_> = words.iter().map(|word| word.as_ref().to_string_lossy()).collect();
        self.judge(&format!("{words:?}"), &done, shown);
        self.tried.insert(command);
        done
    }

    /// Runs a command until it says a line that begins so, and stops it then.
    fn said(&self, words: &[&str], begin: &str) -> Done {
        let mut child = self.sandbox.command("");
        child.args(words).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = child.spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut done = Done { code: 0, stdout: String::new(), stderr: String::new() };
        let (mut said, mut told) = (false, false);
        for (count, line) in lines.enumerate() {
            let line = line.unwrap();
            said |= line.starts_with(begin);
            // What goes on says a line a second.
            if (said || count > 30) && !told {
                signal(child.id(), "TERM");
                told = true;
            }
            done.stderr.push_str(&line);
            done.stderr.push('\n');
        }
        child.wait().unwrap();
        assert!(said, "{words:?}: {}", done.stderr);
        done
    }

    fn judge(&mut self, words: &str, done: &Done, shown: bool) {
        let all = format!("{}\n{}", done.stdout, done.stderr);
        let bad: Vec<char> = all.chars().filter(|c| is_bad(*c)).collect();
        let begun = all.lines().any(|line| line.starts_with("MARK"));
        let showed = all.contains("u{202e}") || all.contains("u202e");
        if !bad.is_empty() || begun || showed != shown || all.contains("panicked") {
            self.faults.push(format!("{words}: {bad:?} {begun} {showed}: {all:?}"));
        }
    }
}

/// A tracker that answers every request with these bytes.
fn tracker(answer: Vec<u8>) -> SocketAddr {
    let door = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = door.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in door.incoming() {
            let Ok(mut stream) = stream else { return };
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(&answer);
        }
    });
    at
}

/// A tracker over UDP that refuses everything with these words (BEP 15).
fn udp_tracker(words: &'static str) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let at = socket.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut packet = [0; 2048];
        while let Ok((length, from)) = socket.recv_from(&mut packet) {
            let connects = length == 16 && packet[8..12] == [0; 4];
            let mut answer = vec![0, 0, 0, if connects { 0 } else { 3 }];
            answer.extend_from_slice(&packet[12..16]);
            answer.extend_from_slice(if connects { &[7; 8] } else { words.as_bytes() });
            let _ = socket.send_to(&answer, from);
        }
    });
    at
}

/// A peer that greets by a hostile name and then talks nonsense.
fn peer(info_hash: [u8; 20]) -> SocketAddr {
    let door = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = door.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in door.incoming() {
            let Ok(mut stream) = stream else { return };
            let talk = |stream: &mut TcpStream| {
                stream.read_exact(&mut [0; 48])?;
                let mut hello = b"\x13BitTorrent protocol\0\0\0\0\0\x10\0\0".to_vec();
                hello.extend_from_slice(&info_hash);
                hello.extend_from_slice(
                    "-\u{1b}[2J\u{202e}-MARKMARKMARKMARK".as_bytes().first_chunk::<20>().unwrap(),
                );
                let name = EVIL.as_bytes();
                let mut body = format!("d1:md11:ut_metadatai1ee1:v{}:", name.len()).into_bytes();
                body.extend_from_slice(name);
                body.push(b'e');
                hello.extend_from_slice(&u32::try_from(body.len() + 2).unwrap().to_be_bytes());
                hello.extend_from_slice(b"\x14\0");
                hello.extend_from_slice(&body);
                hello.extend_from_slice(b"\0\0\0\x05\xFF\x1b[2J");
                stream.write_all(&hello)?;
                stream.read(&mut [0; 4096])
            };
            let _ = talk(&mut stream);
        }
    });
    at
}

fn http(head: &str, body: &[u8]) -> Vec<u8> {
    let mut answer = format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n", body.len());
    answer.push_str(&String::from_utf8_lossy(body));
    answer.into_bytes()
}

fn bencoded(text: &str) -> String {
    format!("{}:{text}", text.len())
}

fn escaped(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

/// A torrent whose every text is hostile.
fn torrent(announce: &str) -> Vec<u8> {
    let (evil, file) = (bencoded(EVIL), bencoded(NAME));
    format!(
        "d8:announce{}7:comment{evil}10:created by{evil}4:infod5:filesld6:lengthi3e4:pathl{file}\
         {file}eed6:lengthi4e4:pathl{}eee4:name{file}12:piece lengthi16384e6:pieces20:{}6:source\
         {evil}ee",
        bencoded(announce),
        bencoded(&format!("2{NAME}")),
        "a".repeat(20),
    )
    .into_bytes()
}

fn torrents(trial: &mut Trial) {
    let refusal =
        tracker(http("200 OK", format!("d14:failure reason{}e", bencoded(EVIL)).as_bytes()));
    let url = format!("http://{refusal}/announce");
    trial.sandbox.write("evil.torrent", torrent(&url));
    trial.run(&["show", "evil.torrent"], b"", true);
    let done = trial.run(&["show", "evil.torrent", "--json"], b"", true);
    let document: serde_json::Value = serde_json::from_str(&done.stdout).unwrap();
    assert_eq!(document["torrent"]["comment"], EVIL, "programs read what was written");
    trial.run(&["magnet", "evil.torrent"], b"", true);
    trial.run(&["magnet", "evil.torrent", "--select", NAME], b"", true);
    trial.run(&["edit", "evil.torrent", "-o", "other.torrent", "--comment", EVIL], b"", true);
    trial.run(&["edit", EVIL, "-o", "third.torrent"], b"", true);
    trial.run(&["verify", "evil.torrent", "--data", "."], b"", true);
    trial.run(&["verify", "evil.torrent", "--data", ".", "--json"], b"", true);

    let here = ["--bind", "127.0.0.1", "--port", "0", "--stall-timeout", "200ms"];
    let get = |words: &[&str]| {
        let all = ["get"].iter().chain(words).chain(&here);
        all.map(|word| (*word).to_owned()).collect::<Vec<String>>()
    };
    trial.run(&get(&["evil.torrent", "-o", "out"]), b"", true);
    trial.run(&get(&["evil.torrent", "-o", "out", "--json", "-vvv"]), b"", true);
    let hash = "7".repeat(40);
    let peer = peer([0x77; 20]).to_string();
    let magnet = format!("magnet:?xt=urn:btih:{hash}&dn={}&tr={}", escaped(EVIL), escaped(&url));
    trial.run(&get(&[&magnet, "-o", "out", "--peer", &peer, "-vvv"]), b"", true);
    trial.run(&get(&[&magnet, "-o", "out", "--peer", &peer, "--json"]), b"", true);
    trial.run(&get(&[&format!("magnet:?xt={EVIL}")]), b"", false);
    let inline = EVIL.replace(['\r', '\n'], "");
    for answer in [
        format!("HTTP/1.1 302 Found\r\nLocation: http://{inline}/\r\n\r\n"),
        format!("HTTP/1.1 500 {inline}\r\n\r\n"),
        format!("HTTP/1.1 200 OK\r\nContent-Encoding: {inline}\r\n\r\n"),
        format!("HTTP/1.1 200 OK\r\n\r\nd14:failure reason{}e", bencoded(EVIL)),
        format!("HTTP/1.1 200 OK\r\n\r\n{EVIL}"),
    ] {
        let at = tracker(answer.into_bytes());
        said_of_a_tracker(trial, &format!("http://{at}/announce"));
    }
    said_of_a_tracker(trial, &format!("udp://{}", udp_tracker(EVIL)));
    // Two that want one path: the second is refused by its name.
    let other = String::from_utf8(torrent(&url)).unwrap().replace(&"a".repeat(20), &"b".repeat(20));
    trial.sandbox.write("rival.torrent", other);
    trial.run(&get(&["evil.torrent", "rival.torrent", "-o", "out"]), b"", true);
    trial.run(&["seed", "evil.torrent", "--data", NAME], b"", true);
    trial.run(&["seed", NAME], b"", true);
}

/// What `get` says of a tracker, when it says it.
fn said_of_a_tracker(trial: &mut Trial, url: &str) {
    let hash = "7".repeat(40);
    let magnet = format!("magnet:?xt=urn:btih:{hash}&dn=x&tr={url}");
    let words = ["get", "-o", "out", "-vvv", "--bind", "127.0.0.1", "--port", "0", &magnet];
    let done = trial.said(&words, "tracker ");
    let shown = done.stderr.contains("u{202e}");
    trial.judge("get", &done, shown);
}

fn files(trial: &mut Trial) {
    for name in [NAME.to_owned(), format!("{NAME}/{NAME}")] {
        trial.sandbox.write(&format!("home/{name}-file"), data(1, 100));
    }
    let home = format!("home/{NAME}");
    trial.run(&["create", &home, "-o", "made.torrent"], b"", true);
    trial.run(&["create", &home, "-o", &format!("{NAME}.torrent")], b"", true);
    trial.run(&["create", &home, "-o", "third.torrent", "--json", "-vv"], b"", true);
    // One that lacks a file names it, and goes on with the rest.
    fs::remove_file(trial.sandbox.path(&format!("{home}/{NAME}-file"))).unwrap();
    trial.sandbox.write(&format!("{home}/other"), data(2, 40_000));
    trial.sandbox.write(&format!("{home}/{NAME}-2"), data(3, 40_000));
    trial.run(&["create", &home, "-o", "whole.torrent"], b"", true);
    fs::remove_file(trial.sandbox.path(&format!("{home}/{NAME}-2"))).unwrap();
    let seed = ["seed", "whole.torrent", "--data", "home", "--bind", "127.0.0.1", "--port", "0"];
    let done = trial.said(&seed, "n_[2J");
    trial.judge("seed", &done, true);
    let odd = OsStr::from_bytes(b"home/\xff\x1b[2J");
    fs::write(trial.sandbox.path("home").join(OsStr::from_bytes(b"\xff\x1b[2J\xe2\x80\xae")), "x")
        .unwrap();
    trial.run(&["create", "home", "-o", "fourth.torrent"], b"", true);
    trial.run(&[OsStr::new("create"), odd, OsStr::new("-o"), OsStr::new("5.torrent")], b"", false);
    trial.sandbox.write(&format!("left/.{NAME}.dunlin-part"), data(1, 10));
    trial.run(&["clean", "left", "--dry-run"], b"", true);
    trial.run(&["clean", &format!("left/{NAME}")], b"", true);
}

fn clusters(trial: &mut Trial) {
    let sandbox = &trial.sandbox;
    let ssh = format!("#!/bin/sh\nprintf '%s\\n' '{EVIL}' >&2\nshift\nexec sh -c \"$*\"\n");
    let ssh = sandbox.write("ssh", ssh);
    fs::set_permissions(ssh, fs::Permissions::from_mode(0o755)).unwrap();
    sandbox.write("src/m", data(1, 1000));
    let cast = ["cast", "src/m", "dst/{host}", "--ssh", "./ssh", "--from", "0"];
    let to = |who: &str| {
        [&cast[..], &["--hosts", who, "--start-timeout", "60s"]]
            .concat()
            .iter()
            .map(|word| (*word).to_owned())
            .collect::<Vec<String>>()
    };
    let done = trial.run(&to("n1"), b"", true);
    assert!(done.stderr.contains("n1: x\\u{1b}]0;t"), "{}", done.stderr);
    let json = [to("n1"), vec!["--json".to_owned(), "-vv".to_owned()]].concat();
    trial.run(&json, b"", true);
    trial.run(&["cast", &format!("src/{NAME}"), "dst", "--ranks", "2"], b"", true);
    trial.run(&to(EVIL), b"", true);

    let turned = "n\u{202e}\u{2067}é";
    let plan = format!("[[node]]\nranks = \"0\"\nroot = \"{turned}\"\nwant = [\"{turned}\"]\n");
    trial.sandbox.write("places/plan.toml", plan);
    trial.run(&["place", "places/plan.toml"], b"", true);
    trial.sandbox.write("course/in1.txt", format!("0\n1\n{turned}\n"));
    trial.run(&["swarm", "course"], b"", true);
    trial.sandbox.write("raw/in1.txt", format!("1\n{} 1\n", EVIL.replace('\n', "")));
    trial.run(&["swarm", "raw"], b"", false);
    let plan = "[[node]]\nranks = \"1\"\n\"\\u001b[2J\\u202e\\nMARK\" = 1\n";
    trial.sandbox.write("plan.toml", plan);
    trial.run(&["swarm", "plan.toml", "--json"], b"", true);
    trial.sandbox.write(NAME, "no library");
    trial.launched = true;
    let library = format!("./{NAME}");
    trial.run(&["swarm", "course", "--fabric", "mpi", "--mpi-lib", &library], b"", true);
    trial.launched = false;
    let line = serde_json::json!({ "t": 1, "from": 1, "to": 0, "msg": EVIL, "file": NAME });
    trial.sandbox.write("run.trace", format!("{line}\n"));
    trial.run(&["trace", "run.trace"], b"", true);
    trial.run(&["trace", NAME], b"", true);
    trial.run(&["join", "-"], format!("{}\n", EVIL.replace('\n', "")).as_bytes(), false);
    trial.run(&["join", EVIL], b"", true);
    trial.run(&["witness"], EVIL.as_bytes(), false);
}

fn others(trial: &mut Trial) {
    trial.sandbox.write("list", format!("{EVIL}\n"));
    let tracker = ["tracker", "--http", "127.0.0.1:0", "--allow"];
    trial.run(&[&tracker[..], &["list"]].concat(), b"", true);
    trial.run(&[&tracker[..], &[NAME]].concat(), b"", true);
    trial.run(&["cast", "list", "dst/{host}", "--hostfile", "list"], b"", true);
    trial.run(&["cast", "list", "dst", "--ranks", "2", "--rack", EVIL], b"", true);
    trial.run(&["create", "list", "--tracker", &format!("http://x/{EVIL}")], b"", true);
    trial.run(&["seed", "list", "--bind", EVIL], b"", true);
    trial.run(&["completions", EVIL], b"", true);
    trial.run(&["man", &format!("list/{NAME}")], b"", true);
    trial.run(&["help", EVIL], b"", true);
    trial.run(&[EVIL], b"", true);
    let words: [&OsStr; 2] =
        [OsStr::new("show"), OsStr::from_bytes(b"--\xff\x1b[2J\n\xe2\x80\xae")];
    trial.run(&words, b"", true);
}

/// On a terminal there are bars and colours of ours, and nothing of theirs.
fn on_a_terminal(trial: &mut Trial) {
    let refusal =
        tracker(http("200 OK", format!("d14:failure reason{}e", bencoded(EVIL)).as_bytes()));
    trial.sandbox.write("shown.torrent", torrent(&format!("http://{refusal}/announce")));
    let program = env!("CARGO_BIN_EXE_dunlin");
    let get = "get shown.torrent -o shown --bind 127.0.0.1 --port 0 --stall-timeout 200ms";
    for line in ["show shown.torrent", "verify shown.torrent --data .", get] {
        let mut script = Command::new("script");
        script.args(["-q", "-e", "-c", &format!("{program} {line}"), "/dev/null"]);
        script.current_dir(trial.sandbox.path("")).stdin(Stdio::null());
        let out = script.output().unwrap();
        let text = String::from_utf8(out.stdout).unwrap();
        assert!(text.contains("u{202e}"), "{line}: {text:?}");
        for theirs in
            ["\u{202e}", "\u{2066}", "\u{9b}", "\u{1b}]0", "\u{1b}[2J", "\u{7}", "\u{feff}"]
        {
            assert!(!text.contains(theirs), "{line}: {theirs:?} in {text:?}");
        }
        assert!(!text.lines().any(|line| line.starts_with("MARK")), "{line}: {text:?}");
    }
}

#[test]
fn no_text_from_outside_does_anything_to_a_terminal() {
    let mut trial = Trial {
        sandbox: Sandbox::new(),
        tried: BTreeSet::new(),
        faults: Vec::new(),
        launched: false,
    };
    torrents(&mut trial);
    files(&mut trial);
    clusters(&mut trial);
    others(&mut trial);
    on_a_terminal(&mut trial);
    assert!(trial.faults.is_empty(), "{}", trial.faults.join("\n\n"));
    // Every command was tried, those too that help does not list.
    let help = trial.sandbox.expect(0, "--help").stdout;
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let listed = listed.take_while(|line| !line.is_empty() && !line.starts_with("Options"));
    let mut count = 0;
    for line in listed.filter(|line| line.starts_with("  ") && !line.starts_with("    ")) {
        let name = line.split_whitespace().next().unwrap();
        assert!(trial.tried.contains(name), "{name} was not tried");
        count += 1;
    }
    assert!(count > 10, "{help}");
}
