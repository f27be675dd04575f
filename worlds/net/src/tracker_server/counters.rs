//! What a tracker counts.

use dunlin_engine::tracker::Totals;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A number that only grows.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn increment(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What happened since the start.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) connections: Counter,
    pub(super) turned_away: Counter,
    pub(super) http_announces: Counter,
    pub(super) http_scrapes: Counter,
    pub(super) http_others: Counter,
    pub(super) http_wrong: Counter,
    pub(super) udp_connects: Counter,
    pub(super) udp_announces: Counter,
    pub(super) udp_scrapes: Counter,
    pub(super) udp_wrong: Counter,
    pub(super) udp_dropped: Counter,
    pub(super) udp_unsent: Counter,
    pub(super) refused: Counter,
}

impl Counters {
    pub(super) fn read(&self, uptime: Duration, totals: Totals) -> TrackerStats {
        TrackerStats {
            uptime,
            totals,
            connections: self.connections.get(),
            turned_away: self.turned_away.get(),
            http_announces: self.http_announces.get(),
            http_scrapes: self.http_scrapes.get(),
            http_others: self.http_others.get(),
            http_wrong: self.http_wrong.get(),
            udp_connects: self.udp_connects.get(),
            udp_announces: self.udp_announces.get(),
            udp_scrapes: self.udp_scrapes.get(),
            udp_wrong: self.udp_wrong.get(),
            udp_dropped: self.udp_dropped.get(),
            udp_unsent: self.udp_unsent.get(),
            refused: self.refused.get(),
        }
    }
}

/// A tracker at a glance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrackerStats {
    /// Time since it started.
    pub uptime: Duration,
    /// What is in its table now.
    pub totals: Totals,
    /// Connections that were accepted.
    pub connections: u64,
    /// Connections that were closed to make room for others.
    pub turned_away: u64,
    /// Valid announces over HTTP.
    pub http_announces: u64,
    /// Valid scrapes over HTTP.
    pub http_scrapes: u64,
    /// Other pages.
    pub http_others: u64,
    /// Malformed requests over HTTP.
    pub http_wrong: u64,
    /// Connection ids that were sent.
    pub udp_connects: u64,
    /// Announces over UDP with a valid connection id.
    pub udp_announces: u64,
    /// Scrapes over UDP with a valid connection id.
    pub udp_scrapes: u64,
    /// Packets with a valid connection id that break a rule, and got an error.
    pub udp_wrong: u64,
    /// Packets without an answer: they have no valid connection id.
    pub udp_dropped: u64,
    /// Answers that the system did not take.
    pub udp_unsent: u64,
    /// Announces that were refused: the torrent is not served, or the table is full.
    pub refused: u64,
}

impl TrackerStats {
    /// The page `/stats`: schema 1, fields may be added.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let peers = self.totals.peers_v4 + self.totals.peers_v6;
        json!({
            "schema": 1,
            "uptime_seconds": self.uptime.as_secs(),
            "torrents": self.totals.torrents,
            "peers": peers,
            "seeds": self.totals.seeds,
            "leechers": peers.saturating_sub(self.totals.seeds),
            "peers_ipv4": self.totals.peers_v4,
            "peers_ipv6": self.totals.peers_v6,
            "completed": self.totals.completed,
            "refused": self.refused,
            "http": {
                "connections": self.connections,
                "turned_away": self.turned_away,
                "announces": self.http_announces,
                "scrapes": self.http_scrapes,
                "others": self.http_others,
                "wrong": self.http_wrong,
            },
            "udp": {
                "connects": self.udp_connects,
                "announces": self.udp_announces,
                "scrapes": self.udp_scrapes,
                "wrong": self.udp_wrong,
                "dropped": self.udp_dropped,
                "unsent": self.udp_unsent,
            },
        })
    }
}
