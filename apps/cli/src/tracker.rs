//! `dunlin tracker`: serves announces until it is stopped. What a tracker does is the world's; here
//! are its options, its lists of torrents, and its signals.

pub(crate) mod args;

use crate::console::{json, out};
use crate::exit::{Exit, Failure};
use crate::tracker::args::TrackerArgs;
use dunlin_engine::tracker::{Access, HashList};
use dunlin_net::tracker_server::{
    TrackerLimits, TrackerServer, TrackerServerConfig, TrackerServerError,
};
use serde_json::json;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::fs::File;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

/// Time between two announces of a peer, as most trackers have it.
const INTERVAL: Duration = Duration::from_secs(1800);
/// The longest interval: clients believe no longer one.
const MAX_INTERVAL: Duration = Duration::from_secs(86_400);
/// The shortest interval: answers give it in whole seconds.
const MIN_INTERVAL: Duration = Duration::from_secs(1);
/// The longest list of torrents, in bytes: three million of them.
const MAX_LIST: u64 = 128 << 20;

/// Runs the command until SIGINT or SIGTERM.
///
/// # Errors
/// If an interval is out of range (exit 2), the system gives no threads or signals (exit 3), a list
/// of torrents is not there or wrong (exit 4) or cannot be read (exit 5), or an address is not to
/// be had (exit 7).
pub(crate) fn run(args: &TrackerArgs) -> Result<Exit, Failure> {
    let interval = args.interval.unwrap_or(INTERVAL);
    if !(MIN_INTERVAL..=MAX_INTERVAL).contains(&interval) {
        return Err(Failure::usage("--interval: expected a time from 1s to 24h"));
    }
    let access = access(args)?;
    // Before it listens: a process that sees it listening may send a signal.
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).map_err(|error| {
        Failure::environment(format!("cannot listen for signals: {error}; try again"))
    })?;
    let usual = TrackerLimits::default();
    let limits = TrackerLimits {
        torrents: args.max_torrents.unwrap_or(usual.torrents),
        peers: args.max_peers.unwrap_or(usual.peers),
        connections: args.max_connections.unwrap_or(usual.connections),
        ..usual
    };
    let server = TrackerServer::start(TrackerServerConfig {
        http: args.http.clone(),
        udp: args.udp.clone(),
        interval,
        access,
        trusted: args.trust_proxy.clone(),
        limits,
    })
    .map_err(failure)?;
    ready(args, &server)?;
    for signal in signals.forever() {
        if signal != SIGHUP {
            break;
        }
        reread(args, &server);
    }
    server.stop();
    out::notice("stopped");
    Ok(Exit::Ok)
}

fn failure(error: TrackerServerError) -> Failure {
    match error {
        TrackerServerError::NoAddress => Failure::usage("give --http ADDR, --udp ADDR, or both"),
        TrackerServerError::Listen(..) => Failure {
            exit: Exit::Network,
            message: format!(
                "{error}; is another program there, or is the address not of this host?"
            ),
        },
        TrackerServerError::System(_) => Failure::environment(error),
    }
}

/// Says where it listens.
fn ready(args: &TrackerArgs, server: &TrackerServer) -> Result<(), Failure> {
    for at in server.http() {
        out::notice(&format!("listening at http://{at}/announce"));
    }
    for at in server.udp() {
        out::notice(&format!("listening at udp://{at}/announce"));
    }
    if args.json {
        let list = |found: &[SocketAddr]| found.iter().map(ToString::to_string).collect::<Vec<_>>();
        let (http, udp) = (list(server.http()), list(server.udp()));
        let document = json!({ "schema": json::SCHEMA, "ok": true, "http": http, "udp": udp });
        out::data(|page| page.json(&document.to_string()))?;
    }
    Ok(())
}

/// Reads the list again. If that fails, the one before it stays.
fn reread(args: &TrackerArgs, server: &TrackerServer) {
    match access(args) {
        Ok(access) => {
            let count = match &access {
                Access::Open => return out::notice("SIGHUP: there is no list to read again"),
                Access::Only(list) | Access::Except(list) => list.len(),
            };
            server.set_access(access);
            out::notice(&format!("SIGHUP: read the list again, {count} torrents"));
        }
        Err(failure) => out::error(&format!("{failure}; the list before it stays")),
    }
}

/// Which torrents are served.
fn access(args: &TrackerArgs) -> Result<Access, Failure> {
    match (&args.allow, &args.deny) {
        (Some(path), _) => Ok(Access::Only(list(path)?)),
        (None, Some(path)) => Ok(Access::Except(list(path)?)),
        (None, None) => Ok(Access::Open),
    }
}

fn list(path: &Path) -> Result<HashList, Failure> {
    let name = path.display();
    let unreadable = |error: io::Error| {
        let what = "give a file of info-hashes, one in hex a line";
        let message = format!("cannot read {name}: {error}; {what}");
        match error.kind() {
            io::ErrorKind::NotFound => Failure::input(message),
            _ => Failure::disk(message),
        }
    };
    let mut text = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(MAX_LIST + 1).read_to_end(&mut text).map_err(unreadable)?;
    if text.len() as u64 > MAX_LIST {
        return Err(Failure::input(format!("{name}: expected a list of at most {MAX_LIST} bytes")));
    }
    let text = String::from_utf8_lossy(&text);
    HashList::parse(&text).map_err(|error| Failure::input(format!("{name}: {error}")))
}
