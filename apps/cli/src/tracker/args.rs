//! The command line of `tracker`.
#![allow(
    rustdoc::invalid_html_tags,
    rustdoc::broken_intra_doc_links,
    reason = "these doc comments are help texts for a terminal"
)]

use crate::parsers;
use clap::Args as ClapArgs;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// Options of `dunlin tracker`.
#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct TrackerArgs {
    /// Listens for HTTP at IP:PORT; repeatable.
    ///
    /// /announce and /scrape, with or without a passkey before them (which is ignored), /stats and
    /// /healthz. Port 0 takes any free one. [::]:PORT is IPv6 alone: give 0.0.0.0:PORT, too.
    #[arg(long, value_name = "ADDR", required_unless_present = "udp", help_heading = "Where")]
    pub(crate) http: Vec<SocketAddr>,

    /// Listens for UDP at IP:PORT; repeatable.
    ///
    /// Answers leave from the address that was asked. Port 0 takes any free one.
    #[arg(long, value_name = "ADDR", help_heading = "Where")]
    pub(crate) udp: Vec<SocketAddr>,

    /// Believes X-Forwarded-For and X-Real-IP of this host; repeatable.
    ///
    /// For a proxy before the tracker. Only the last address in the header counts: the one that the
    /// proxy has seen itself.
    #[arg(long, value_name = "IP", help_heading = "Where")]
    pub(crate) trust_proxy: Vec<IpAddr>,

    /// Time between two announces of a peer [default: 30m].
    ///
    /// From 1s to 24h. Peers that were not heard of for twice that are forgotten.
    #[arg(long, value_name = "TIME", value_parser = parsers::duration, help_heading = "Rules")]
    pub(crate) interval: Option<Duration>,

    /// Serves only the torrents in a file: one info-hash a line, in hex.
    ///
    /// 40 digits, or the 64 of version 2. What follows # does not count. SIGHUP reads it again.
    #[arg(long, value_name = "FILE", conflicts_with = "deny", help_heading = "Rules")]
    pub(crate) allow: Option<PathBuf>,

    /// Serves all torrents but those in a file: one info-hash a line, in hex.
    ///
    /// As --allow. Who takes part in one of them already is told so at its next announce.
    #[arg(long, value_name = "FILE", help_heading = "Rules")]
    pub(crate) deny: Option<PathBuf>,

    /// Torrents in memory at most [default: 2000000].
    ///
    /// About 250 bytes each. When it is full, a torrent with a single peer makes room, if its
    /// source has no fewer than the one that comes; otherwise further ones are refused until others
    /// end.
    #[arg(long, value_name = "N", help_heading = "Limits")]
    pub(crate) max_torrents: Option<usize>,

    /// Peers in memory at most [default: 10000000].
    ///
    /// 24 to 70 bytes each. When it is full, as with --max-torrents. One source (an IPv4 address, a
    /// /64 of IPv6) has 131072 entries at most, and further ones in the place of its own.
    #[arg(long, value_name = "N", help_heading = "Limits")]
    pub(crate) max_peers: Option<usize>,

    /// Connections over HTTP at a time [default: 4096].
    ///
    /// An eighth of them at most for one source (an IPv4 address, a /64 of IPv6). For a further one
    /// the one that was idle for longest makes room. Each needs a file descriptor: see `ulimit -n`.
    #[arg(long, value_name = "N", help_heading = "Limits")]
    pub(crate) max_connections: Option<usize>,

    /// Prints where it listens as one line of JSON on stdout.
    ///
    /// {"http":["127.0.0.1:6969"],"ok":true,"schema":1,"udp":[]}: the ports that it got. Printed
    /// when it is ready.
    #[arg(long, help_heading = "What happens")]
    pub(crate) json: bool,
}
