//! Passkeys of trackers: nothing on stderr shows one, however much is said.

use crate::common::{Sandbox, end};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::Stdio;

const SECRET: &str = "s3cret0123456789";

/// A tracker that answers every request with these bytes.
fn tracker(answer: String) -> SocketAddr {
    let door = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = door.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in door.incoming() {
            let Ok(mut stream) = stream else { return };
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    at
}

#[test]
fn no_passkey_stands_on_stderr() {
    let sandbox = Sandbox::new();
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let refuses = tracker("HTTP/1.1 200 OK\r\n\r\nd14:failure reason2:noe".to_owned());
    let breaks = tracker("HTTP/1.1 200 OK\r\n\r\nd8:intervali".to_owned());
    let leads = tracker(format!("HTTP/1.1 302 Found\r\nLocation: /{SECRET}\r\n\r\n"));
    let away = tracker(format!("HTTP/1.1 302 Found\r\nLocation: ftp://x/{SECRET}\r\n\r\n"));
    let urls = [
        format!("http://{nobody}/announce/{SECRET}"),
        format!("http://{refuses}/announce?passkey={SECRET}"),
        format!("http://{breaks}/announce.php?passkey={SECRET}"),
        format!("http://{leads}/announce/{SECRET}"),
        format!("http://{away}/announce/{SECRET}"),
        // None of these is asked at all.
        format!("http://{refuses}/{SECRET}/announce"),
        format!("wss://{refuses}/{SECRET}"),
        format!("http://{SECRET}:x@{refuses}/announce"),
        format!("http://{refuses}/announce?info_hash={SECRET}"),
        format!("http://{refuses}:99999/{SECRET}/announce"),
    ];
    let here = ["--bind", "127.0.0.1", "--port", "0", "--stall-timeout", "300ms", "-vvv"];
    for url in urls {
        let announce = format!("8:announce{}:{url}", url.len());
        let info =
            "4:infod6:lengthi3e4:name1:x12:piece lengthi16384e6:pieces20:aaaaaaaaaaaaaaaaaaaae";
        sandbox.write("x.torrent", format!("d{announce}{info}e"));
        let magnet = format!("magnet:?xt=urn:btih:{}&tr={url}", "7".repeat(40));
        for words in [
            [&["get", "x.torrent", "-o", "out"][..], &here].concat(),
            [&["get", &magnet, "-o", "out"][..], &here].concat(),
            [&["seed", "x.torrent", "--data", "out"][..], &here[..4]].concat(),
            vec!["verify", "x.torrent", "--data", "out"],
        ] {
            let mut child = sandbox.command("");
            child.args(&words).stdout(Stdio::piped()).stderr(Stdio::piped());
            let done = end(child.spawn().unwrap());
            assert!(!done.stderr.contains(SECRET), "{words:?}: {}", done.stderr);
        }
    }
}
