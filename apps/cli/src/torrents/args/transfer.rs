//! Options of `get` and `seed`: torrents of the internet.
#![allow(
    rustdoc::invalid_html_tags,
    rustdoc::broken_intra_doc_links,
    reason = "these doc comments are help texts for a terminal"
)]

use crate::parsers;
use clap::Args as ClapArgs;
use dunlin_base::{Rate, parse_rate};
use dunlin_net::Bind;
use dunlin_plan::Pattern;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Options of `dunlin get`.
#[derive(Debug, ClapArgs)]
pub(crate) struct GetArgs {
    /// Torrent files, magnet links, or - for a torrent on standard input.
    ///
    /// Several are fetched at the same time. A magnet link must be quoted for the shell.
    #[arg(value_name = "TORRENT|MAGNET", required = true)]
    pub(crate) torrents: Vec<String>,

    /// The folder that gets the torrent's name [default: the current one].
    ///
    /// It is made where it is not there. Files have their names only when they are complete; until
    /// then they are `.NAME.dunlin-part` beside their places.
    #[arg(short, long, value_name = "DIR", default_value = ".", help_heading = "Files")]
    pub(crate) out: PathBuf,

    /// Only these files; repeatable.
    ///
    /// Names below the torrent's folder: `*` stays in one folder, `**` crosses them. Without it
    /// everything is wanted, or what a magnet link selects.
    #[arg(long, value_name = "GLOB", value_parser = pattern, help_heading = "Files")]
    pub(crate) select: Vec<Pattern>,

    /// Replaces complete files of other content that stand where wanted files go.
    ///
    /// Without it such a file is a refusal (exit 4) before anything moves. What is right of it is
    /// kept, and it is replaced only at the end.
    #[arg(long, help_heading = "Files")]
    pub(crate) force: bool,

    /// Pieces in order instead of the rarest first.
    ///
    /// For files that are looked at while they come. The swarm is better off without it.
    #[arg(long, help_heading = "Files")]
    pub(crate) sequential: bool,

    /// Goes on as a seed when everything is here, until it is stopped.
    ///
    /// --seed-ratio and --seed-time do so, too, and end it.
    #[arg(long, help_heading = "Limits")]
    pub(crate) seed: bool,

    /// How long nothing may come before it gives up; 0 waits for ever.
    ///
    /// Exit 8 then; what is here stays, and the same command goes on. A full disk and the check of
    /// files do not count.
    #[arg(
        long,
        value_name = "TIME",
        value_parser = patience,
        default_value = "5m",
        help_heading = "Limits"
    )]
    pub(crate) stall_timeout: Patience,

    /// What `get` and `seed` have in common.
    #[command(flatten)]
    pub(crate) net: NetArgs,
}

/// Options of `dunlin seed`.
#[derive(Debug, ClapArgs)]
pub(crate) struct SeedArgs {
    /// Torrent files, or plain files and folders, which become torrents.
    ///
    /// Of plain data a torrent file is written beside it, as `dunlin create` does, unless there is
    /// one already.
    #[arg(value_name = "TORRENT|PATH", required = true)]
    pub(crate) torrents: Vec<String>,

    /// The folder that holds the torrent's name [default: the current one].
    ///
    /// Only read, never written to but for the folder .dunlin, where what was verified is
    /// remembered. Files that are missing or wrong are named, and the others are seeded; exit 6
    /// where nothing is right.
    #[arg(long, value_name = "DIR", default_value = ".", help_heading = "Files")]
    pub(crate) data: PathBuf,

    /// What `get` and `seed` have in common.
    #[command(flatten)]
    pub(crate) net: NetArgs,
}

/// What `get` and `seed` have in common.
#[derive(Debug, ClapArgs)]
pub(crate) struct NetArgs {
    /// Another tracker, for all torrents; repeatable.
    ///
    /// Like http://host/announce or udp://host:port/announce. Each is a tier of its own, behind
    /// those of the torrent. Not for private torrents, which have their own.
    #[arg(
        long,
        value_name = "URL",
        value_parser = crate::torrents::parsers::tracker,
        help_heading = "Peers"
    )]
    pub(crate) tracker: Vec<String>,

    /// A peer to connect to, like 10.0.0.7:6881 or [::1]:6881; repeatable.
    ///
    /// Beside those that trackers give.
    #[arg(long, value_name = "IP:PORT", help_heading = "Peers")]
    pub(crate) peer: Vec<SocketAddr>,

    /// Where to listen for peers [default: 6881, or one of the next ports].
    ///
    /// 0 is any port. A port that is given is used or nothing is: exit 7.
    #[arg(long, value_name = "PORT", help_heading = "Peers")]
    pub(crate) port: Option<u16>,

    /// The address or interface of every socket, without exception.
    ///
    /// Like 10.8.0.2 or tun0: peers, trackers and the port to listen at, all of them. Without that
    /// address or interface nothing is sent at all.
    #[arg(long, value_name = "IP|IFACE", value_parser = bind, help_heading = "Peers")]
    pub(crate) bind: Option<Bind>,

    /// Connections at most, of all torrents together.
    ///
    /// Half of it for one torrent.
    #[arg(long, value_name = "N", default_value_t = 200, help_heading = "Peers")]
    pub(crate) max_peers: usize,

    /// What comes at most, like 2MB (a second).
    ///
    /// Payload of all torrents together.
    #[arg(long, value_name = "RATE", value_parser = rate, help_heading = "Limits")]
    pub(crate) limit_down: Option<Rate>,

    /// What goes at most, like 500kB (a second).
    ///
    /// Payload of all torrents together.
    #[arg(long, value_name = "RATE", value_parser = rate, help_heading = "Limits")]
    pub(crate) limit_up: Option<Rate>,

    /// Seeds until so many times the torrent's size was given, like 1.5.
    ///
    /// Of several goals the one that is reached first ends it. 0 ends at once.
    #[arg(long, value_name = "RATIO", value_parser = ratio, help_heading = "Limits")]
    pub(crate) seed_ratio: Option<u64>,

    /// Seeds for so long, like 30m or 2h.
    ///
    /// Counted from when everything is here.
    #[arg(long, value_name = "TIME", value_parser = parsers::duration, help_heading = "Limits")]
    pub(crate) seed_time: Option<Duration>,

    /// Memory for payload in the whole process, at least 1MiB.
    ///
    /// Receiving, serving and hashing draw on this one budget.
    #[arg(
        long,
        value_name = "SIZE",
        value_parser = parsers::memory,
        default_value = "64MiB",
        help_heading = "Limits"
    )]
    pub(crate) memory: u64,

    /// Prints one JSON document on stdout instead of the table.
    ///
    /// It has `schema` 1, also on failure: then `ok` is false and `error` has `kind` and `message`.
    #[arg(long, help_heading = "What happened")]
    pub(crate) json: bool,

    /// No progress and no table; errors are always said.
    ///
    /// A document of --json is printed all the same.
    #[arg(short, long, help_heading = "What happened")]
    pub(crate) quiet: bool,
}

/// How long to wait for something to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Patience(pub(crate) Option<Duration>);

fn patience(text: &str) -> Result<Patience, String> {
    if text.trim() == "0" {
        return Ok(Patience(None));
    }
    parsers::duration(text).map(|time| Patience(Some(time))).map_err(|error| error.to_string())
}

fn rate(text: &str) -> Result<Rate, String> {
    match parse_rate(text) {
        Ok(0) => Err("a limit of 0 lets nothing through: leave it out, or give one".to_owned()),
        Ok(bytes) => Ok(Rate(bytes)),
        Err(error) => Err(error.to_string()),
    }
}

fn bind(text: &str) -> Result<Bind, String> {
    Bind::parse(text).map_err(|error| error.to_string())
}

fn pattern(text: &str) -> Result<Pattern, String> {
    Pattern::parse(text).map_err(|error| error.to_string())
}

/// A ratio in thousandths.
fn ratio(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is no ratio: write a number like 1.5, at most 1000000");
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || fraction.len() > 3 {
        return Err(wrong());
    }
    let whole: u64 = whole.parse().map_err(|_| wrong())?;
    let thousandths: u64 = format!("{fraction:0<3}").parse().map_err(|_| wrong())?;
    if whole > 1_000_000 { Err(wrong()) } else { Ok(whole * 1000 + thousandths) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios() {
        for (text, thousandths) in [("1.5", 1500), ("0", 0), ("2", 2000), ("0.125", 125)] {
            assert_eq!(ratio(text), Ok(thousandths), "{text}");
        }
        for text in ["", "-1", "1.", ".5", "1.2345", "x", "99999999999999999999", "1e3"] {
            assert!(ratio(text).is_err(), "{text}");
        }
    }

    #[test]
    fn waiting_for_ever() {
        assert_eq!(patience("0"), Ok(Patience(None)));
        assert_eq!(patience("2m"), Ok(Patience(Some(Duration::from_secs(120)))));
        assert!(patience("-1").is_err());
    }
}
