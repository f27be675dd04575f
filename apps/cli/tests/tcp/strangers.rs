//! Who has no key gets nothing, and disturbs nobody.

use crate::common::{Sandbox, text, wait_for};
use crate::job::{Job, codes, one_owner};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;

/// The port that rank 0 listens at, from the key file.
fn port(sandbox: &Sandbox) -> u16 {
    let text = wait_for("the key", || text(&sandbox.path("key")));
    let document: Value = serde_json::from_str(&text).unwrap();
    let place = document["root"][0].as_str().unwrap().to_owned();
    place.rsplit(':').next().unwrap().parse().unwrap()
}

#[test]
fn a_connection_without_the_key_gets_nothing() {
    let sandbox = Sandbox::new();
    let content = one_owner(&sandbox, 3, 8_000_000);
    let mut job = Job::start(&sandbox, 3, "--fault slow=1:4MB");
    let port = port(&sandbox);
    job.wait_for_bytes(2, "file", 200_000);
    let tries: Vec<Vec<u8>> = vec![
        Vec::new(),
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        b"dunlin\0\x01".to_vec(),
        [b"dunlin\0\x01".to_vec(), vec![0; 10_000]].concat(),
        vec![0xff; 500],
    ];
    let strangers: Vec<_> = tries
        .into_iter()
        .flat_map(|bytes| vec![bytes; 30])
        .map(|bytes| {
            thread::spawn(move || {
                let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
                let _ = stream.write_all(&bytes);
                let mut back = Vec::new();
                let _ = stream.read_to_end(&mut back);
                back
            })
        })
        .collect();
    let done = job.end();
    assert_eq!(codes(&done), [0; 3], "{done:?}");
    assert!(std::fs::read(job.file(2, "file")).unwrap() == content);
    for stranger in strangers {
        assert!(stranger.join().unwrap().is_empty(), "not one byte");
    }
}
