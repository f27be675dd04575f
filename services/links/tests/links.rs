//! Links over real sockets of this host: who is let in, and what becomes of frames on their way.

use dunlin_base::Rank;
use dunlin_links::{
    AuthError, DialError, HELLO, JobKey, Link, LinkError, Listener, MAX_FRAME, Party, Remote, dial,
};
use socket2::{Domain, Socket, Type};
use std::collections::VecDeque;
use std::future::Future;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// Longer than anything takes here.
const LONG: Duration = Duration::from_secs(30);

fn run<T>(body: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.worker_threads(2).enable_all().build().unwrap().block_on(body)
}

fn key(digit: &str) -> JobKey {
    JobKey::of_hex(&digit.repeat(64)).unwrap()
}

fn party(rank: u32) -> Party {
    Party { key: key("7"), rank: Rank(rank), life: 1000 + u64::from(rank) }
}

/// Rank 0 at its listener, and who came in.
fn rank_0() -> (SocketAddr, UnboundedReceiver<Link>) {
    let listener = Listener::open("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.address();
    let (enter, entered) = unbounded_channel();
    tokio::spawn(listener.serve(party(0), LONG, move |link| drop(enter.send(link))));
    (address, entered)
}

async fn receive(link: &mut Link) -> Result<(u8, Vec<u8>), LinkError> {
    let head = link.receiver.head().await?;
    let mut body = vec![0; head.length];
    link.receiver.body(head, &mut body).await?;
    Ok((head.kind, body))
}

async fn send(link: &mut Link, kind: u8, body: &[u8]) {
    link.sender.seal(kind, &[body]).unwrap();
    link.sender.flush().await.unwrap();
}

/// Everything that comes back for these bytes until the other end closes.
fn answer_to(address: SocketAddr, bytes: &[u8], shut: bool) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).unwrap();
    let _ = stream.write_all(bytes);
    if shut {
        let _ = stream.shutdown(Shutdown::Write);
    }
    let mut back = Vec::new();
    let _ = stream.read_to_end(&mut back);
    back
}

#[test]
fn both_ends_know_who_is_there() {
    run(async {
        let (address, mut entered) = rank_0();
        let mut ours = dial(&party(3), Rank(0), address, LONG, LONG).await.unwrap();
        let mut theirs = entered.recv().await.unwrap();
        assert_eq!(ours.remote, Remote { rank: Rank(0), life: 1000 });
        assert_eq!(theirs.remote, Remote { rank: Rank(3), life: 1003 });
        assert_eq!((ours.dialled, theirs.dialled), (true, false));
        assert_eq!((ours.here, ours.there), (theirs.there, theirs.here));
        send(&mut ours, 1, b"to the listener").await;
        send(&mut theirs, 2, b"").await;
        assert_eq!(receive(&mut theirs).await.unwrap(), (1, b"to the listener".to_vec()));
        assert_eq!(receive(&mut ours).await.unwrap(), (2, Vec::new()));
        drop(ours);
        assert!(matches!(receive(&mut theirs).await, Err(LinkError::Closed)));
    });
}

#[test]
fn whoever_has_no_key_gets_not_one_byte() {
    run(async {
        let (address, mut entered) = rank_0();
        let other = Party { key: key("8"), ..party(3) };
        let refused = dial(&other, Rank(0), address, LONG, LONG).await;
        assert!(matches!(refused, Err(DialError::NoAnswer(_))), "{refused:?}");
        let elsewhere = dial(&party(3), Rank(1), address, LONG, LONG).await;
        assert!(matches!(elsewhere, Err(DialError::NoAnswer(_))), "{elsewhere:?}");
        let asked = tokio::task::spawn_blocking(move || {
            // All of a message that is none, and parts of one; the last says nothing and is shut
            // out.
            [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0; HELLO], &[7; 10 * HELLO], b"dunlin\0\x01", b""]
                .map(|bytes| answer_to(address, bytes, bytes.len() < HELLO && !bytes.is_empty()))
        });
        for back in asked.await.unwrap() {
            assert!(back.is_empty(), "{back:?}");
        }
        assert!(entered.try_recv().is_err());
    });
}

#[test]
fn nobody_is_nobody() {
    run(async {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let refused = dial(&party(3), Rank(0), address, LONG, LONG).await;
        assert!(matches!(refused, Err(DialError::Refused(_))), "{refused:?}");
    });
}

/// Between a dialler and a listener: hands on what `change` makes of everything that the dialler
/// has sent once it has sent `all` bytes, and what comes back as it is. Keeps what it has seen.
fn between(
    upstream: SocketAddr,
    all: usize,
    change: impl FnOnce(&mut Vec<u8>) + Send + 'static,
) -> (SocketAddr, thread::JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let body = move || {
        let (mut near, _) = listener.accept().unwrap();
        let mut far = TcpStream::connect(upstream).unwrap();
        let mut hello = vec![0; HELLO];
        near.read_exact(&mut hello).unwrap();
        far.write_all(&hello).unwrap();
        let (mut from, mut to) = (far.try_clone().unwrap(), near.try_clone().unwrap());
        let back = thread::spawn(move || _ = std::io::copy(&mut from, &mut to));
        let mut rest = vec![0; all];
        near.read_exact(&mut rest).unwrap();
        let seen = [hello, rest.clone()].concat();
        change(&mut rest);
        let _ = far.write_all(&rest);
        let _ = far.shutdown(Shutdown::Write);
        back.join().unwrap();
        seen
    };
    (address, thread::spawn(body))
}

/// Head and tag of a frame.
const AROUND: usize = 20;

#[test]
fn what_was_recorded_is_of_no_use() {
    run(async {
        let (address, mut entered) = rank_0();
        // The frame that confirms, and one of five bytes.
        let (proxy, seen) = between(address, AROUND + AROUND + 5, |_| {});
        let mut ours = dial(&party(3), Rank(0), proxy, LONG, LONG).await.unwrap();
        send(&mut ours, 1, b"hello").await;
        let mut theirs = entered.recv().await.unwrap();
        assert_eq!(receive(&mut theirs).await.unwrap(), (1, b"hello".to_vec()));
        drop((ours, theirs));
        let seen = seen.join().unwrap();
        let back = tokio::task::spawn_blocking(move || answer_to(address, &seen, false)).await;
        assert!(back.unwrap().is_empty());
        assert!(entered.try_recv().is_err(), "nobody came in");
    });
}

type Change = fn(&mut Vec<u8>);

#[test]
fn a_frame_that_is_tampered_with_ends_the_link() {
    const FRAME: usize = AROUND + 5;
    let cases: [(&str, Change, &[&str], bool); 6] = [
        ("nothing", |_| {}, &["one__", "two__"], false),
        ("a bit changed", |bytes| bytes[AROUND + FRAME + 6] ^= 4, &["one__"], true),
        ("a kind changed", |bytes| bytes[AROUND + FRAME] ^= 1, &["one__"], true),
        (
            "replayed",
            |bytes| drop(bytes.splice(AROUND + FRAME.., bytes[AROUND..AROUND + FRAME].to_vec())),
            &["one__"],
            true,
        ),
        ("reordered", |bytes| bytes[AROUND..].rotate_left(FRAME), &[], true),
        ("left out", |bytes| drop(bytes.drain(AROUND..AROUND + FRAME)), &[], true),
    ];
    for (name, change, opened, forged) in cases {
        run(async {
            let (address, mut entered) = rank_0();
            let (proxy, seen) = between(address, AROUND + 2 * FRAME, change);
            let mut ours = dial(&party(3), Rank(0), proxy, LONG, LONG).await.unwrap();
            send(&mut ours, 1, b"one__").await;
            send(&mut ours, 1, b"two__").await;
            let mut theirs = entered.recv().await.unwrap();
            for text in opened {
                assert_eq!(receive(&mut theirs).await.unwrap().1, text.as_bytes(), "{name}");
            }
            let end = receive(&mut theirs).await.unwrap_err();
            assert_eq!(matches!(end, LinkError::Auth(AuthError::Seal)), forged, "{name}: {end:?}");
            assert_eq!(matches!(end, LinkError::Closed), !forged, "{name}: {end:?}");
            drop(theirs);
            // The dialler hears of it, too.
            assert!(receive(&mut ours).await.is_err(), "{name}");
            drop(ours);
            seen.join().unwrap();
        });
    }
}

#[test]
fn a_frame_that_is_cut_off_is_torn() {
    run(async {
        let (address, mut entered) = rank_0();
        let (proxy, seen) = between(address, 2 * AROUND + 5, |bytes| bytes.truncate(40));
        let mut ours = dial(&party(3), Rank(0), proxy, LONG, LONG).await.unwrap();
        send(&mut ours, 1, b"hello").await;
        let mut theirs = entered.recv().await.unwrap();
        let end = receive(&mut theirs).await.unwrap_err();
        assert!(matches!(end, LinkError::Torn), "{end:?}");
        drop((ours, theirs));
        seen.join().unwrap();
    });
}

#[test]
fn who_says_nothing_is_taken_for_dead() {
    run(async {
        let (address, mut entered) = rank_0();
        let patience = Duration::from_millis(20);
        let mut ours = dial(&party(3), Rank(0), address, LONG, patience).await.unwrap();
        let theirs = entered.recv().await.unwrap();
        let end = receive(&mut ours).await.unwrap_err();
        assert!(matches!(end, LinkError::Silent(_)), "{end:?}");
        drop(theirs);
    });
}

#[test]
fn a_link_is_cut_from_outside() {
    run(async {
        let (address, mut entered) = rank_0();
        let mut ours = dial(&party(3), Rank(0), address, LONG, LONG).await.unwrap();
        let mut theirs = entered.recv().await.unwrap();
        ours.shutdown_handle().shutdown();
        assert!(matches!(receive(&mut ours).await, Err(LinkError::Closed)));
        assert!(matches!(receive(&mut theirs).await, Err(LinkError::Closed)));
    });
}

#[test]
fn many_links_carry_long_frames() {
    const LINKS: u32 = 40;
    const FRAMES: usize = 6;
    let length = |rank: u32, at: usize| (rank as usize * 7919 + at * 104_729) % MAX_FRAME;
    run(async move {
        let (address, mut entered) = rank_0();
        let mut tasks = Vec::new();
        for rank in 1..=LINKS {
            tasks.push(tokio::spawn(async move {
                let mut link = dial(&party(rank), Rank(0), address, LONG, LONG).await.unwrap();
                for at in 0..FRAMES {
                    // Two at a time, so that they lie in each other's way.
                    let body = vec![at as u8; length(rank, at)];
                    link.sender.seal(at as u8, &[&body[..body.len() / 3]]).unwrap();
                    link.sender.seal(at as u8, &[&body[body.len() / 3..], &body]).unwrap_or(());
                    link.sender.flush().await.unwrap();
                }
                let _ = receive(&mut link).await;
            }));
        }
        for _ in 0..LINKS {
            let mut link = entered.recv().await.unwrap();
            tasks.push(tokio::spawn(async move {
                let rank = link.remote.rank.0;
                for at in 0..FRAMES {
                    let whole = length(rank, at);
                    let mut bodies = vec![whole / 3];
                    if whole - whole / 3 + whole <= MAX_FRAME {
                        bodies.push(whole - whole / 3 + whole);
                    }
                    for expected in bodies {
                        let (kind, body) = receive(&mut link).await.unwrap();
                        assert_eq!((usize::from(kind), body.len()), (at, expected));
                        assert!(body.iter().all(|byte| *byte == kind));
                    }
                }
            }));
        }
        for task in tasks {
            task.await.unwrap();
        }
    });
}

#[test]
fn what_nobody_reads_is_not_taken_as_sent() {
    run(async {
        let (address, mut entered) = rank_0();
        let mut ours = dial(&party(3), Rank(0), address, LONG, LONG).await.unwrap();
        let mut theirs = entered.recv().await.unwrap();
        let (tell, told) = channel();
        let sending = tokio::spawn(async move {
            // More than any system keeps for a connection.
            for at in 0..64_u8 {
                send(&mut ours, at, &vec![at; MAX_FRAME]).await;
                let _ = tell.send(at);
            }
            ours
        });
        // The first frame has been read as a whole, and still the last is not sent.
        assert_eq!(receive(&mut theirs).await.unwrap().0, 0);
        assert!(told.try_iter().all(|at| at < 63));
        for at in 1..64 {
            assert_eq!(receive(&mut theirs).await.unwrap().0, at);
        }
        drop(sending.await.unwrap());
        assert_eq!(told.try_iter().last(), Some(63));
    });
}

#[test]
fn silent_sockets_keep_no_rank_out() {
    run(async {
        let listener = Listener::open("0.0.0.0:0".parse().unwrap()).unwrap();
        let port = listener.address().port();
        let (enter, mut entered) = unbounded_channel();
        tokio::spawn(listener.serve(party(0), LONG, move |link| drop(enter.send(link))));
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        // More than there are places, from the host that a rank comes from, too, and for ever.
        let mut silent = Vec::new();
        for _ in 0..600 {
            silent.push(tokio::net::TcpStream::connect(address).await.unwrap());
        }
        let begun = std::time::Instant::now();
        for rank in 1..5 {
            let ours = dial(&party(rank), Rank(0), address, LONG, LONG).await.unwrap();
            let theirs = entered.recv().await.unwrap();
            assert_eq!(theirs.remote.rank, Rank(rank));
            drop(ours);
        }
        // Those who wait are closed after seconds: whoever waited for that would wait longer.
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
        drop(silent);
    });
}

/// Connects to `address` from `ip` again and again, and holds what it can, until it is told to end.
/// Not for ever: a host has only so many ports. Counts in `made`.
fn flood(
    ip: [u8; 4],
    address: SocketAddr,
    made: &Arc<AtomicUsize>,
    over: &Arc<AtomicBool>,
) -> thread::JoinHandle<()> {
    let (made, over) = (Arc::clone(made), Arc::clone(over));
    thread::spawn(move || {
        let mut held = VecDeque::new();
        for _ in 0..20_000 {
            if over.load(Ordering::Relaxed) {
                break;
            }
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            socket.bind(&SocketAddr::from((ip, 0)).into()).unwrap();
            if socket.connect(&address.into()).is_ok() {
                made.fetch_add(1, Ordering::Relaxed);
                held.push_back(socket);
            }
            if held.len() > 400 {
                held.pop_front();
            }
        }
    })
}

#[test]
fn whoever_floods_the_door_keeps_no_rank_out() {
    run(async {
        let (address, mut entered) = rank_0();
        let (made, over) = (Arc::default(), Arc::default());
        // Two sources have all places between them, and lose them to themselves and to others.
        let floods = [2, 3].map(|host| flood([127, 0, 0, host], address, &made, &over));
        while made.load(Ordering::Relaxed) < 600 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        for rank in 1..9 {
            let ours = dial(&party(rank), Rank(0), address, LONG, LONG).await.unwrap();
            assert_eq!(entered.recv().await.unwrap().remote.rank, Rank(rank));
            drop(ours);
        }
        over.store(true, Ordering::Relaxed);
        floods.into_iter().for_each(|flood| flood.join().unwrap());
    });
}
