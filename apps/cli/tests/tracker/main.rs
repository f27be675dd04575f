//! `dunlin tracker` as its users meet it: where it listens, what it serves, how it ends.

#[path = "../cli/common.rs"]
#[allow(dead_code, reason = "the other tests use the rest")]
mod common;
mod serving;
mod usage;

use common::{Done, Sandbox, end, signal};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::process::{Child, ChildStdout};
use std::time::Duration;

/// No answer of a tracker next door takes that long.
const LONG: Duration = Duration::from_secs(60);

/// A tracker that runs, and has said where.
struct Running {
    child: Option<Child>,
    stdout: BufReader<ChildStdout>,
    ready: Value,
}

impl Running {
    /// Starts `dunlin tracker --json` and waits until it listens.
    fn start(sandbox: &Sandbox, options: &str) -> Running {
        let mut child = sandbox.start(&format!("tracker --json {options}"));
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let mut running = Running { child: Some(child), stdout, ready: Value::Null };
        running.ready = serde_json::from_str(&line).unwrap_or_else(|_| {
            let done = running.end();
            panic!("no line of JSON: `{line}`\n{}", done.stderr)
        });
        running
    }

    fn at(&self, kind: &str, index: usize) -> SocketAddr {
        self.ready[kind][index].as_str().unwrap().parse().unwrap()
    }

    fn signal(&self, name: &str) {
        signal(self.child.as_ref().unwrap().id(), name);
    }

    fn end(&mut self) -> Done {
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).unwrap();
        let mut done = end(self.child.take().unwrap());
        done.stdout = rest;
        done
    }

    /// Stops it as a person would.
    fn stop(mut self, name: &str) -> Done {
        self.signal(name);
        self.end()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Status line and body of a page.
fn get(at: SocketAddr, target: &str) -> (String, Vec<u8>) {
    let mut stream = TcpStream::connect(at).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    write!(stream, "GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(answer[..end].to_vec()).unwrap();
    (head.lines().next().unwrap().to_owned(), answer[end + 4..].to_vec())
}

/// What the tracker says to a peer that listens at `port`.
fn announce(at: SocketAddr, hash: &str, port: u16, more: &str) -> String {
    let target = format!(
        "/announce?info_hash={hash}&peer_id=-XX0100-abcdefg{port:05}&port={port}&left=1{more}"
    );
    String::from_utf8_lossy(&get(at, &target).1).into_owned()
}

/// A socket towards a tracker.
fn udp(at: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind(if at.is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" }).unwrap();
    socket.connect(at).unwrap();
    socket.set_read_timeout(Some(LONG)).unwrap();
    socket
}

/// What it answers to one packet.
fn ask(socket: &UdpSocket, packet: &[u8]) -> Vec<u8> {
    socket.send(packet).unwrap();
    let mut answer = [0; 2048];
    let len = socket.recv(&mut answer).unwrap();
    answer[..len].to_vec()
}
